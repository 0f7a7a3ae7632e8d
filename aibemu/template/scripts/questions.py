"""W36, W38, W95: commands that ask, and what is still busy at the first boot."""

from __future__ import annotations

import re

from aibemu.template.scripts.bashisms import SH_IS_BASH
from aibemu.template.scripts.commands import Command
from aibemu.template.scripts.judge import Judge
from aibemu.template.scripts.root_tables import SIMULATES, SUBCOMMANDS, words_after

_APT = {"install", "upgrade", "full-upgrade", "dist-upgrade", "remove", "purge", "autoremove", "build-dep", "reinstall"}
_DNF = {
    "install", "update", "upgrade", "remove", "erase", "autoremove", "reinstall", "downgrade", "distro-sync",
    "localinstall", "localupdate", "groupinstall", "groupremove", "swap", "group install", "group remove",
    "groups install", "module install", "module enable", "module disable", "module reset", "module switch-to",
    "copr enable",
}  # fmt: skip
_ASKING = {
    "apt": _APT, "apt-get": _APT, "aptitude": _APT, "yum": _DNF, "dnf": _DNF, "dnf5": _DNF, "tdnf": _DNF,
    "microdnf": _DNF, "zypper": {"install", "in", "update", "up", "remove", "rm", "dist-upgrade", "dup", "patch"},
}  # fmt: skip
_YES = ("--yes", "--assume-yes", "--assumeyes", "-qq", "--force-yes", "--quiet=2", "-q=2", "--non-interactive",
        "--no-confirm", "--assumeno", "-n")  # fmt: skip
# Settings that say yes to all that comes after them.
_APT_SAYS_YES = re.compile(
    r"APT::Get::Assume-Yes\b|APT::Get \{[^}]{0,200}Assume-Yes|alias apt(?:-get)?=[^\n]{0,60}-\w{0,9}y"
)
_DNF_SAYS_YES = re.compile(r"\bassumeyes\s*=\s*(?:1|[Tt]rue|[Yy]es)|alias (?:dnf|yum)=[^\n]{0,60}-\w{0,9}y")
_NONINTERACTIVE = re.compile(r"DEBIAN_FRONTEND=[\"']?noninteractive|debconf/frontend")
# Name -> what it must have so as not to ask, and what to write.
_ASKS = {
    "add-apt-repository": (re.compile(r"-\w*y|--yes|-L|--list|-r|--remove"), "add -y"),
    "dpkg-reconfigure": (re.compile(r"-f\w*|--frontend.*|-u"), "add `-f noninteractive`"),
    "adduser": (re.compile(r"--(?:disabled-password|disabled-login|system|group)"),
                'add `--disabled-password --gecos ""`, or use useradd'),
    "ssh-keygen": (re.compile(r"-N.*|-[ARFlyeivBDHLQGMTY]\w*|-q?N"), "add `-N '' -f FILE`"),
    "gpg": (re.compile(r"--batch|--yes|--passphrase.*"), "add --batch"),
    "passwd": (re.compile(r"-[ldueSnxwi]\w*|--.*"), "give it to chpasswd, from a key vault"),
    "az": (re.compile(r"--identity|-i|--service-principal|--federated-token|--help"), "add --identity"),
    "openssl": (re.compile(r"-subj|-batch|-config|-in|-x509toreq"), "add -subj or -batch"),
    "pip": (re.compile(r"-\w*y|--yes"), "add -y"),
    "parted": (re.compile(r"-\w*s|--script|-l|--list"), "add -s"),
    "conda": (re.compile(r"-\w*y|--yes|--json|-h"), "add -y"),
    "npm": (re.compile(r"-\w*y|--yes"), "add -y"),
}  # fmt: skip
_ONLY = {
    "gpg": re.compile(r"--(?:full-)?gen(?:erate)?-key|--edit-key|-c|--symmetric|--quick-gen(?:erate)?-key"),
    "az": re.compile(r"login"), "openssl": re.compile(r"req"), "pip": re.compile(r"uninstall"),
    "conda": re.compile(r"install|create|update|remove"), "npm": re.compile(r"init"),
}  # fmt: skip
_SAME = {"pip3": "pip", "gpg2": "gpg", "apt-add-repository": "add-apt-repository", "mamba": "conda"}
_ALWAYS = frozenset({"mysql_secure_installation", "whiptail", "dialog", "nano", "vi", "vim", "do-release-upgrade"})


def check_questions(judge: Judge) -> None:
    """W36: nobody answers; a package manager that asks gives up."""
    for command in judge.commands:
        if command.piped or command.opaque:
            continue
        if sub := _asking(judge, command):
            what = f"`{command.name} {sub}`"
            message = f"{what} asks before it does more than it was told, and nobody answers: it gives up then"
            hint = "add --non-interactive" if command.name == "zypper" else "add -y"
            judge.warn("W36", command.words[0].at, message, hint)
        elif instead := _asks(judge, command):
            message = f"`{command.name}` asks, and nobody answers"
            judge.warn("W36", command.words[0].at, message, instead)


def _asking(judge: Judge, command: Command) -> str | None:
    """The subcommand of a package manager that would ask."""
    operands = words_after(command)
    known = _ASKING.get(command.name, set())
    two = " ".join(operands[:2])
    sub = two if two in known else operands[0] if operands and operands[0] in known else None
    if sub is None or command.has_option("y", *_YES) or _quiet_twice(command):
        return None
    arguments = set(command.arguments)
    if (SIMULATES.get(command.name, frozenset()) | {"-s", "--dry-run", "--download-only", "-d"}) & arguments:
        return None
    says_yes = _APT_SAYS_YES if command.name.startswith("apt") else _DNF_SAYS_YES
    return None if judge.was_said(says_yes, command.at) or says_yes.search(" ".join(command.arguments)) else sub


def _asks(judge: Judge, command: Command) -> str | None:
    """What to write in place of another command that would ask; None when it does not."""
    name = _SAME.get(command.name, command.name)
    arguments = command.arguments
    if name in _ALWAYS and {"-c", "--cmd", "-es", "-Es", "-e"} & set(arguments):
        return None  # vim that is told what to do
    if name in _ALWAYS:
        return (
            "nobody is there: set what it asks for by a command or a file" if arguments[:1] != ("--version",) else None
        )
    if name not in _ASKS or (name in _ONLY and not any(_ONLY[name].fullmatch(one) for one in arguments[:3])):
        return None
    quiet, hint = _ASKS[name]
    if any(quiet.fullmatch(one) for one in arguments) or not arguments:
        return None
    if name == "dpkg-reconfigure" and (
        judge.was_said(_NONINTERACTIVE, command.at) or _NONINTERACTIVE.search(judge.parsed.text(command.node))
    ):
        return None
    # `adduser bob sudo` puts bob into a group; elsewhere than on Debian it is useradd.
    if name == "adduser" and (len(command.operands()) != 1 or judge.publisher in SH_IS_BASH):
        return None
    return hint


def _quiet_twice(command: Command) -> bool:
    """`-qq` says yes for apt-get, in one word or two."""
    if not command.name.startswith("apt"):
        return False
    quiet = sum(word.text.count("q") for word in command.words[1:] if re.fullmatch(r"-[a-zA-Z]+", word.text))
    return quiet > 1


_WAITS = re.compile(r"cloud-init status|DPkg::Lock|dpkg/lock|boot-finished")
WAIT = "cloud-init status --wait || [ $? -eq 2 ]"


def check_early_apt(judge: Judge) -> None:
    """W38: cloud-init and apt's own timers may hold the lock while the first customizer starts."""
    told = judge.outer is not None and "W38" in {id_ for id_, _ in judge.outer.said}
    if told or not judge.script.first or _WAITS.search(judge.whole):
        return
    for command in judge.commands:
        if command.name in ("apt", "apt-get") and set(words_after(command)[:1]) & SUBCOMMANDS["apt-get"]:
            if SIMULATES["apt"] & set(command.arguments):
                continue
            message = "apt in the first customizer: at first boot cloud-init or apt's timers may hold its lock still"
            hint = f"begin with `{WAIT}`, or add `-o DPkg::Lock::Timeout=300`"
            judge.note("W38", command.words[0].at, message, hint)
            return


_SET_E = re.compile(r"^\s*set\s+(?:-\w*e|-o\s+errexit)", re.MULTILINE)


def check_cloud_init(judge: Judge) -> None:
    """W95: since cloud-init 23.4 the status of a first boot with a harmless warning is 2."""
    strict = (
        judge.script.inline or judge.script.text.split("\n", 1)[0].endswith("-e") or _SET_E.search(judge.script.text)
    )
    if not strict:
        return
    for command in judge.commands:
        waits = command.name == "cloud-init" and command.arguments[:1] == ("status",)
        waits = waits and bool({"--wait", "-w"} & set(command.arguments))
        if waits and not command.condition and not _goes_on(judge, command):
            message = "`cloud-init status --wait` ends with 2 after a harmless warning, and the step fails"
            judge.warn("W95", command.words[0].at, message, f"write `{WAIT}`")


def _goes_on(judge: Judge, command: Command) -> bool:
    """Whether the status of the command is not that of its line: `set +e`, or part of a pipe."""
    parent = judge.parsed.parent(command.node)
    if parent is not None and parent.type == "redirected_statement":
        parent = judge.parsed.parent(parent)
    piped = parent is not None and parent.type == "pipeline" and "pipefail" not in judge.script.text
    return piped or re.search(r"\bset \+e", judge.script.text[: command.at][-2000:]) is not None
