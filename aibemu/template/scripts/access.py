"""W39, W41: what takes from the build what it needs to its end: SSH, the build user, sudo, a /tmp to run scripts in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from aibemu.template.scripts.commands import Command, Word
from aibemu.template.scripts.judge import Judge

_FIREWALL_OPEN = re.compile(r"\b(?:22|ssh|openssh)\b", re.IGNORECASE)
_ALLOWED = re.compile(
    r"\bufw\s[^\n]{0,60}\b(?:allow|limit)\b[^\n]{0,100}(?:\b(?:22|ssh|openssh)\b|\$)|\bufw\s+default\s+allow\s+incoming",
    re.IGNORECASE,
)
_ACCEPTED = re.compile(
    r"\biptables\s[^\n]{0,100}(?:--dports?\s{1,9}\S{0,20}\b(?:22|ssh)\b|ESTABLISHED)|iptables-restore", re.IGNORECASE
)
_UNITS = re.compile(r"sshd?(?:\.service|\.socket)?")
_NETWORK = re.compile(r"(?:NetworkManager|systemd-networkd|networking|network)(?:\.service)?")
_SUDO_RULES = ("/etc/sudoers", "/etc/sudoers.d", "/etc/sudoers.d/90-cloud-init-users", "/etc/sudoers.d/waagent")
# The service's name for the build user, and how a script names whom it runs as.
_USER = re.compile(r"packer|\$\{?(?:USER|LOGNAME|SUDO_USER)\}?|\$\((?:whoami|id -un|logname)\)")
_REQUIRETTY = re.compile(r"Defaults[ \t]+(?:\w+,[ \t]*)*requiretty")
_NOPASSWD = re.compile(r"s(?P<mark>[/|,#@])[^\n]{0,100}NOPASSWD|/[^/\n]{0,100}NOPASSWD[^/\n]{0,100}/[Id]*d\b")


def check_access(judge: Judge) -> None:
    """W39: the build goes on over the SSH connection, as the build user, with sudo."""
    if not judge.script.before_capture:
        return
    for command in judge.commands:
        for at, what in _cuts(judge, command):
            message = f"{what}: the build needs it until its end"
            judge.warn("W39", at, message, _hint(what))
    if "sudoers" in judge.script.text and (found := _REQUIRETTY.search(judge.script.text)):
        message = "`requiretty` lets sudo refuse whoever has no terminal, and no step of the build has one"
        judge.warn("W39", found.start(), message, "leave it out, or add `Defaults:USER !requiretty` for the build user")


def _hint(what: str) -> str:
    if "sudo" in what:
        return "leave it: the deprovisioning removes the build user with its sudo rule"
    if "user" in what or "home" in what:
        return "leave it: the deprovisioning removes the build user and its home"
    if "/tmp" in what:
        return "do it where the image is used, such as in /etc/fstab for the next boot"
    return "allow SSH (port 22), or do it in the deprovision script"


def _cuts(judge: Judge, command: Command) -> Iterator[tuple[int, str]]:
    """Where, and what is taken away."""
    name, arguments, at = command.name, command.arguments, command.words[0].at
    shown = " ".join((name, *arguments[:3]))
    if name in ("ufw", "iptables", "ip6tables", "nft", "firewall-cmd"):
        if _closes(judge, command):
            yield at, f"`{shown}` may cut the SSH connection"
    elif name == "systemctl" and {"stop", "disable", "mask"} & set(arguments):
        if any(_UNITS.fullmatch(one) for one in arguments):
            yield at, f"`{shown}` may cut the SSH connection"
        elif "stop" in arguments and any(_NETWORK.fullmatch(one) for one in arguments):
            yield at, f"`{shown}` cuts the network, and with it the SSH connection"
    elif name == "service" and len(arguments) > 1 and arguments[1] == "stop" and _UNITS.fullmatch(arguments[0]):
        yield at, f"`{shown}` may cut the SSH connection"
    elif name in ("ifdown", "ip") and re.search(r"\b(?:ifdown|down)\b.*", shown) and "lo" not in arguments:
        yield at, f"`{shown}` cuts the network, and with it the SSH connection"
    elif name in ("pkill", "killall") and any(re.fullmatch(r"sshd", one) for one in arguments):
        yield at, f"`{shown}` cuts the SSH connection"
    elif name in ("apt", "apt-get", "yum", "dnf") and {"remove", "purge", "erase"} & set(arguments) and (
        {"openssh-server", "sudo"} & set(arguments)
    ):  # fmt: skip
        yield at, f"`{shown}` takes SSH or sudo away"
    elif (
        name == "mount" and "noexec" in " ".join(arguments) and "remount" in " ".join(arguments) and "/tmp" in arguments
    ):
        yield at, "`mount` with noexec lets nothing run in /tmp, where the scripts of the build are"
    else:
        yield from _user(judge, command)


def _closes(judge: Judge, command: Command) -> bool:
    name, arguments, text = command.name, command.arguments, judge.script.text
    if name == "ufw":
        if "--dry-run" in arguments:
            return False
        denied = bool({"deny", "reject"} & set(arguments)) and bool({"22", "22/tcp", "ssh", "OpenSSH"} & set(arguments))
        enabled = "enable" in arguments and not (_FIREWALL_OPEN.search(text) or _ALLOWED.search(text))
        return denied or (enabled and not judge.was_said(_ALLOWED, command.at))
    if name == "firewall-cmd":
        return "--panic-on" in arguments or any(one.startswith("--remove-service=ssh") for one in arguments)
    drops = arguments[:3] in (("-P", "INPUT", "DROP"), ("--policy", "INPUT", "DROP")) and name == "iptables"
    return drops and not (_ACCEPTED.search(text) or judge.was_said(_ACCEPTED, command.at))


def _user(judge: Judge, command: Command) -> Iterator[tuple[int, str]]:
    """What takes away the build user, its home, its keys or its sudo rule."""
    name, operands = command.name, command.operands()
    if name in ("userdel", "deluser") and operands and _USER.fullmatch(operands[-1].text):
        yield command.words[0].at, f"`{name} {operands[-1].text}` removes the build user"
    elif name == "pkill" and "-u" in command.arguments and operands and _USER.fullmatch(operands[-1].text):
        yield command.words[0].at, "this ends what the build user runs"
    elif name in ("usermod", "passwd", "chage") and operands and _USER.fullmatch(operands[-1].text):
        if {"-L", "--lock", "-l", "--expiredate", "-e"} & set(command.arguments):
            yield command.words[0].at, f"`{name}` locks the build user"
    elif name in ("rm", "shred", "truncate", "unlink", "mv"):
        for word in operands[:-1] if name == "mv" else operands:
            if what := _removed(judge, command, word):
                yield word.at, what
    elif name == "sed" and any(re.match(r"-\w*i|--in-place", one) for one in command.arguments):
        rules = any(_is_sudo_rule(judge.folders.path(command, word)) for word in operands)
        if rules and (script := next((word for word in command.words if _NOPASSWD.search(word.text)), None)):
            yield script.at, "this changes the sudo rule of the build user: sudo then asks for a password"


def _is_sudo_rule(path: str | None) -> bool:
    return path is not None and any(fnmatchcase(rule, path.rstrip("/")[:300]) for rule in _SUDO_RULES[1:])


def _removed(judge: Judge, command: Command, word: Word) -> str | None:
    """What a deleted path is to the build."""
    text = word.text.rstrip("/")
    if _is_sudo_rule(judge.folders.path(command, word)):
        return f"`{command.name} {word.text}` removes the sudo rule of the build user"
    whole = command.has_option("r", "--recursive", "-R")
    if whole and text in ("/home", "/home/*", "/home/packer", "~", "$HOME", "${HOME}", "/home/$USER"):
        return f"`{command.name} {word.text}` removes the home of the build user, with the key that it is reached by"
    if re.fullmatch(r"(?:~|\$\{?HOME\}?|/home/(?:\*|packer|\$USER))/\.ssh(?:/(?:authorized_keys|\*))?", text):
        return f"`{command.name} {word.text}` removes the key that the build user is reached by"
    return None


def check_deprovision(judge: Judge) -> None:
    """W41: the service generalises at the end; after an own call the following steps have no user any more."""
    if not judge.script.before_capture or "DeprovisioningScript" in judge.whole:
        return
    for command in judge.commands:
        if command.name == "waagent" and any("deprovision" in argument for argument in command.arguments):
            message = (
                "the service deprovisions by itself after the last customizer; here it removes the build user early"
            )
            hint = "leave it out; to change how, write /tmp/DeprovisioningScript.sh"
            judge.warn("W41", command.words[0].at, message, hint)
