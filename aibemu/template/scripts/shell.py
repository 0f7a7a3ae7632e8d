"""Rules about what the commands of a shell script do (facts: service 5 and 7.2)."""

from __future__ import annotations

import re

from aibemu.template.scripts.bashisms import check_bashisms
from aibemu.template.scripts.commands import Command, Word
from aibemu.template.scripts.judge import Check, Judge

# Where only root may write. Temporary folders and devices are not here, nor is what may be the user's own.
_ROOT_PATH = re.compile(r"/(?:etc|usr|opt|srv|root|boot|lib\d*|s?bin|var(?!/tmp))(?:/|$)")
_CHANGES = {
    "apt": {"install", "update", "upgrade", "full-upgrade", "remove", "purge", "autoremove"},
    "apt-get": {"install", "update", "upgrade", "dist-upgrade", "remove", "purge", "autoremove"},
    "yum": {"install", "update", "upgrade", "remove"}, "dnf": {"install", "update", "upgrade", "remove"},
    "tdnf": {"install", "update", "upgrade", "remove"}, "zypper": {"install", "in", "update", "up", "remove"},
    "snap": {"install", "remove"},
    "systemctl": {"enable", "disable", "start", "stop", "restart", "mask", "unmask", "daemon-reload"},
}  # fmt: skip
_ROOT_ONLY = frozenset(
    {"useradd", "userdel", "usermod", "groupadd", "add-apt-repository", "update-grub", "update-initramfs"}
)
# Programs that write to their last operand, or (True) to all of them.
_WRITERS = {"cp": False, "mv": False, "ln": False, "install": False, "mkdir": True, "touch": True, "tee": True,
            "rm": True, "chown": True, "chmod": True}  # fmt: skip
_ASKING = {
    "apt": {"install", "upgrade", "full-upgrade", "remove", "purge", "autoremove"},
    "apt-get": {"install", "upgrade", "dist-upgrade", "remove", "purge", "autoremove"},
    "yum": {"install", "update", "upgrade", "remove"}, "dnf": {"install", "update", "upgrade", "remove"},
    "tdnf": {"install", "update", "upgrade", "remove"},
}  # fmt: skip
_YES = ("--yes", "--assume-yes", "--assumeyes", "-qq", "--force-yes", "--quiet=2", "-q=2")
_FIREWALL_OPEN = re.compile(r"\b(?:22|ssh|openssh)\b", re.IGNORECASE)


def _sub(command: Command) -> str:
    """The subcommand of `apt-get -y install x`."""
    return next((word.text for word in command.operands()), "")


def check_root(judge: Judge) -> None:
    """W33: inline commands run as the build user, who is not root."""
    if judge.script.root:
        return
    for command in judge.commands:
        if command.privileged or command.condition:
            continue
        what = None
        if command.name in _ROOT_ONLY or _sub(command) in _CHANGES.get(command.name, ()):
            what = f"{command.name} {_sub(command)}".strip()
        elif target := _written(command):
            what = f"{command.name} {target.text}"
        if what is not None and not {"--user", "--version", "--help"} & set(command.arguments):
            message = f"`{what}` needs root, and inline commands run as the unprivileged build user"
            judge.warn("W33", command.words[0].at, message, "put `sudo` before it")
        for redirect in command.redirects:
            if redirect.operator in (">", ">>", "&>") and _is_roots(redirect.target):
                message = f"`{redirect.operator} {redirect.target.text}` needs root; inline commands do not run as it"
                judge.warn("W33", redirect.target.at, message, f"write `... | sudo tee {redirect.target.text}`")


def _written(command: Command) -> Word | None:
    """The operand that is written to, and is root's."""
    operands = command.operands()
    if command.name not in _WRITERS or not operands:
        return None
    candidates = operands if _WRITERS[command.name] else operands[-1:]
    if command.name in ("chown", "chmod"):
        candidates = operands[1:]
    top = command.name in ("mkdir", "touch", "tee")
    return next((word for word in candidates if _is_roots(word) or (top and _is_top(word))), None)


def _is_roots(word: Word) -> bool:
    return word.literal and _ROOT_PATH.match(word.text) is not None


def _is_top(word: Word) -> bool:
    """A name directly in the root folder."""
    return word.literal and re.fullmatch(r"/[\w.-]+/?", word.text) is not None and word.text.strip("/") != "tmp"


def check_redirect(judge: Judge) -> None:
    """W34: `sudo echo x > /etc/y` opens the file before sudo begins."""
    for command in judge.commands:
        for redirect in command.redirects:
            if command.privileged and not judge.script.root and redirect.operator in (">", ">>", "&>"):
                if not (_is_roots(redirect.target) or _is_top(redirect.target)):
                    continue
                message = f"sudo does not reach the redirection: {redirect.target.text} is opened by the build user"
                append = "-a " if redirect.operator == ">>" else ""
                judge.warn("W34", redirect.target.at, message, f"write `... | sudo tee {append}{redirect.target.text}`")


def check_reboot(judge: Judge) -> None:
    """W35: a reboot ends the SSH session, and with it the step."""
    for command in judge.commands:
        name, arguments = command.name, command.arguments
        reboots = name in ("reboot", "poweroff", "halt") or (name == "shutdown" and "-c" not in arguments)
        reboots = reboots or (name in ("init", "telinit") and arguments[:1] in (("0",), ("6",)))
        reboots = reboots or (name == "systemctl" and bool({"reboot", "poweroff", "halt"} & set(arguments)))
        if reboots:
            message = (
                f"`{name}` in a Shell step: there is no restart customizer for Linux, and the service fails or races"
            )
            judge.warn("W35", command.words[0].at, message, "leave it out: the image boots freshly wherever it is used")


def check_questions(judge: Judge) -> None:
    """W36: nobody answers; a package manager that asks gives up."""
    for command in judge.commands:
        sub = _sub(command)
        if sub not in _ASKING.get(command.name, ()) or command.piped:
            continue
        if command.has_option("y", *_YES) or {"-s", "--dry-run", "--download-only", "-d"} & set(command.arguments):
            continue
        if command.name.startswith("apt") and _quiet_twice(command):
            continue
        message = (
            f"`{command.name} {sub}` asks before it does more than it was told, and nobody answers: it gives up then"
        )
        judge.warn("W36", command.words[0].at, message, "add -y")


def _quiet_twice(command: Command) -> bool:
    """`-qq` says yes for apt-get, in one word or two."""
    quiet = sum(word.text.count("q") for word in command.words[1:] if re.fullmatch(r"-[a-zA-Z]+", word.text))
    return quiet > 1


def check_early_apt(judge: Judge) -> None:
    """W38: cloud-init and apt's own timers may hold the lock while the first customizer starts."""
    text = judge.script.text
    if not judge.script.first or "cloud-init status" in text or "DPkg::Lock" in text or "dpkg/lock" in text:
        return
    for command in judge.commands:
        if command.name in ("apt", "apt-get") and _sub(command) in _CHANGES["apt-get"]:
            message = "apt in the first customizer: at first boot cloud-init or apt's timers may hold its lock still"
            hint = "begin with `cloud-init status --wait`, or add `-o DPkg::Lock::Timeout=300`"
            judge.note("W38", command.words[0].at, message, hint)
            return


def check_access(judge: Judge) -> None:
    """W39: the build goes on over the SSH connection that this closes."""
    for command in judge.commands:
        name, arguments = command.name, command.arguments
        cuts = name == "ufw" and "enable" in arguments and not _FIREWALL_OPEN.search(judge.script.text)
        units = {"ssh", "sshd", "ssh.service", "sshd.service"} & set(arguments)
        cuts = cuts or (name == "systemctl" and bool({"stop", "disable", "mask"} & set(arguments)) and bool(units))
        cuts = cuts or (name == "iptables" and arguments[:3] == ("-P", "INPUT", "DROP"))
        if cuts:
            message = f"`{name} {' '.join(arguments[:3])}` may cut the SSH connection that the build needs to its end"
            judge.warn("W39", command.words[0].at, message, "allow SSH (port 22), or do it in the deprovision script")


def check_deletions(judge: Judge) -> None:
    """W40: /tmp holds the script that generalises the image."""
    if not judge.script.before_capture:
        return
    for command in judge.commands:
        targets = [word for word in command.operands() if word.text.rstrip("/") in ("/tmp", "/tmp/*")]
        deletes = (command.name == "rm" and command.has_option("r", "--recursive")) or (
            command.name == "rm" and any(word.text == "/tmp/*" for word in targets)
        )
        deletes = deletes or (command.name == "find" and "-delete" in command.arguments)
        if deletes and targets:
            message = "this deletes /tmp/DeprovisioningScript.sh too, and the image is then not generalised"
            judge.warn("W40", targets[0].at, message, "delete what you put there by name")


def check_deprovision(judge: Judge) -> None:
    """W41: the service generalises at the end; after an own call the following steps have no user any more."""
    if not judge.script.before_capture or "DeprovisioningScript" in judge.script.text:
        return
    for command in judge.commands:
        if command.name == "waagent" and any("deprovision" in argument for argument in command.arguments):
            message = (
                "the service deprovisions by itself after the last customizer; here it removes the build user early"
            )
            hint = "leave it out; to change how, write /tmp/DeprovisioningScript.sh"
            judge.warn("W41", command.words[0].at, message, hint)


CHECKS: tuple[Check, ...] = (
    check_bashisms,
    check_root,
    check_redirect,
    check_reboot,
    check_questions,
    check_early_apt,
    check_access,
    check_deletions,
    check_deprovision,
)
