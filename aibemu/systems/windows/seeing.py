"""What is looked at on the disk of a Windows that is off: plain values, for `generalized` to judge.

One opening of the disk is for all of it. What cannot be read is None, with the reason, and judged by nobody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from aibemu.disks import Unreadable
from aibemu.images.windows_answers import ANSWERS, has_unused_settings
from aibemu.text import clean

if TYPE_CHECKING:
    from aibemu.disks.hives import WindowsDisk
    from aibemu.disks.regf_changes import ChangingHive

T = TypeVar("T")
CERTIFICATES = "Microsoft\\SystemCertificates\\MY\\Certificates"
LISTENER = "Microsoft\\Windows\\CurrentVersion\\WSMAN\\Listener\\*+HTTPS"
_TASK_CACHE = "Microsoft\\Windows NT\\CurrentVersion\\Schedule\\TaskCache"
TASKS = f"{_TASK_CACHE}\\Tree"
# setup.ps1 notes here what it changes.
NOTES = "aibemu"
FIREWALL = "Services\\SharedAccess\\Parameters\\FirewallPolicy\\FirewallRules"
RULE = "aibemu-winrm"
OUR_TASKS = ("aibemu-setup", "aibemu-leave")
_TASK_ID = re.compile(r"\{[0-9A-Fa-f-]{36}\}")
# What leave.ps1 could not take out: `left:WHAT` = why.
_LEFT = "left:"
# So much is told of that, and so many characters of each: whoever is an administrator of the guest can write it.
_MOST_LEFT, _LONGEST_LEFT = 20, 300
_NUMBER = re.compile(r"number:HKLM:\\(?P<hive>SOFTWARE|SYSTEM)\\(?P<path>[^!]+)!(?P<name>[^!]+)", re.IGNORECASE)
_STATE = "Microsoft\\Windows\\CurrentVersion\\Setup\\State"
_PROFILES = "Microsoft\\Windows NT\\CurrentVersion\\ProfileList"
_SETUP_NAMES = ("SetupType", "SystemSetupInProgress", "OOBEInProgress")
# The subject of a certificate that `login.py` made: CN=aibemu, as UTF8String.
_OURS = b"\x0c\x06aibemu"
_FILES = (
    "Windows\\Setup\\Scripts\\aibemu", "Windows\\Temp\\aibemu-setup.log", "Windows\\System32\\Tasks\\aibemu-setup",
    "Windows\\System32\\Tasks\\aibemu-leave", "Windows\\Temp\\aibemu-leave.ps1", "Windows\\Temp\\aibemu-setup.lock",
    "Windows\\Setup\\Scripts\\SetupComplete.aibemu-kept",
)  # fmt: skip
_HOOK = "Windows\\Setup\\Scripts\\SetupComplete.cmd"
# All that Setup takes without removable media: those that it takes before them, and one that it takes after them.
_ANSWERS = (*ANSWERS, "Windows\\System32\\Sysprep\\Unattend.xml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """None: it could not be looked at. Tuples: what is there and should not be, as people read it."""

    image_state: str | None = None
    # SYSTEM\Setup: by name; None for a value that is not there.
    setup: Mapping[str, int | None] | None = None
    # Whether Sysprep left its mark.
    succeeded: bool | None = None
    # Answer files with settings for a first boot that nobody has used.
    answers: tuple[str, ...] | None = None
    # Drivers without which Azure does not boot it, and that are switched off.
    unprepared: tuple[str, ...] | None = None
    certificates: tuple[str, ...] | None = None
    # Of the registry, what lets somebody in who was let in for the build.
    access: tuple[str, ...] | None = None
    # Files and tasks.
    leftovers: tuple[str, ...] | None = None
    profiles: tuple[str, ...] | None = None
    deprovision: bool | None = None
    # Why something was not looked at, in sentences.
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number of the registry. path: below the hive's root."""

    hive: str
    path: str
    name: str


@dataclass(slots=True, kw_only=True)
class Looker:
    """Asks one thing after the other; a trouble costs what was asked for."""

    windows: WindowsDisk
    troubles: list[str] = field(default_factory=list)

    def ask(self, question: Callable[[], T]) -> T | None:
        try:
            return question()
        except Unreadable as error:
            if error.message not in self.troubles:
                self.troubles.append(error.message)
            return None

    def hive(self, name: str) -> ChangingHive:
        """Raises `Unreadable` for one whose newest changes are elsewhere: what it says may be out of date."""
        hive = self.windows.hive(name)
        if hive.dirty:
            raise Unreadable(
                f"the registry hive {name} was not closed properly: its newest changes are only in its log"
            )
        return hive


def see(windows: WindowsDisk, user: str, drivers: Callable[[], Sequence[str]]) -> Seen:
    """Look at all of it. user: the build user. drivers: gives those of `Seen.unprepared`, or raises `Unreadable`."""
    looker = Looker(windows=windows)
    ask = looker.ask
    seen = {
        "image_state": ask(lambda: looker.hive("SOFTWARE").text(_STATE, "ImageState")),
        "setup": ask(lambda: {name: looker.hive("SYSTEM").number("Setup", name) for name in _SETUP_NAMES}),
        "succeeded": ask(lambda: windows.exists("Windows\\System32\\Sysprep\\Sysprep_succeeded.tag")),
        "answers": ask(lambda: tuple(path for path in _ANSWERS if _waits(windows.read(path)))),
        "unprepared": ask(lambda: tuple(drivers())),
        "certificates": ask(lambda: tuple(f"HKLM\\SOFTWARE\\{CERTIFICATES}\\{one}" for one in ours(looker))),
        "access": ask(lambda: tuple(_access(looker))),
        "leftovers": ask(lambda: tuple(_leftovers(looker))),
        "profiles": ask(lambda: tuple(_profiles(looker, user))),
        "deprovision": ask(lambda: windows.exists("DeprovisioningScript.ps1")),
    }
    return Seen(**seen, troubles=tuple(looker.troubles))  # type: ignore[arg-type]


def _waits(content: bytes | None) -> bool:
    return content is not None and has_unused_settings(content)


def ours(looker: Looker) -> list[str]:
    """Thumbprints of the certificates that aibemu made, as the registry has them."""
    hive = looker.hive("SOFTWARE")
    blobs = {one: hive.value(f"{CERTIFICATES}\\{one}", "Blob") for one in hive.keys(CERTIFICATES) or ()}
    return [one for one, blob in blobs.items() if isinstance(blob, bytes) and _OURS in blob]


def listens(software: ChangingHive, mine: Iterable[str]) -> bool:
    """Whether WinRM has the listener of the build. mine: thumbprints of its certificates; one that is gone is noted."""
    shown = _thumbprint(software.text(LISTENER, "certThumbprint"))
    return bool(shown) and shown in {_thumbprint(one) for one in (*mine, software.text(NOTES, "certificate"))}


def _thumbprint(text: str) -> str:
    return text.replace(" ", "").lower()


def task_keys(software: ChangingHive) -> Iterator[str]:
    """All keys of the tasks that are aibemu's. Windows goes by the ids."""
    for name in OUR_TASKS:
        yield f"{TASKS}\\{name}"
        number = software.text(f"{TASKS}\\{name}", "Id")
        if _TASK_ID.fullmatch(number):
            yield from (f"{_TASK_CACHE}\\{part}\\{number}" for part in ("Tasks", "Boot", "Plain"))


def left(software: ChangingHive) -> Iterator[tuple[str, str]]:
    """What the guest's own script could not take out, and why."""
    names = [name for name in software.names(NOTES) or () if name.startswith(_LEFT)]
    for name in names[:_MOST_LEFT]:
        what, why = name.removeprefix(_LEFT), software.text(NOTES, name)
        yield clean(what)[:_LONGEST_LEFT], clean(" ".join(why.split()))[:_LONGEST_LEFT]


def _access(looker: Looker) -> list[str]:
    software, system = looker.hive("SOFTWARE"), looker.hive("SYSTEM")
    found = []
    if listens(software, ours(looker)):
        found.append(f"HKLM\\SOFTWARE\\{LISTENER}")
    if software.exists(NOTES):
        found.append(f"HKLM\\SOFTWARE\\{NOTES}")
        found += [f"HKLM\\{one.hive}\\{one.path}, {one.name}" for one, _ in noted_numbers(software)]
    rules = [one for one in system.control_sets() if RULE in (system.names(f"{one}\\{FIREWALL}") or ())]
    return [*found, *(f"HKLM\\SYSTEM\\{one}\\{FIREWALL}, {RULE}" for one in rules)]


def noted_numbers(software: ChangingHive) -> Iterator[tuple[Number, int | None]]:
    """Numbers of the registry that setup.ps1 changed, and what they were before; None: not there. What it noted is
    `number:HKLM:\\HIVE\\PATH!NAME` = the number as a text."""
    for one in software.names(NOTES) or ():
        match = _NUMBER.fullmatch(one)
        before = software.text(NOTES, one)
        if match and (before == "" or (before.isascii() and before.isdigit() and int(before) < 2**32)):
            number = Number(hive=match["hive"].upper(), path=match["path"], name=match["name"])
            yield number, int(before) if before else None


def in_control_set(system: ChangingHive, path: str) -> str:
    """A path of SYSTEM with the control set that is in use in place of CurrentControlSet."""
    first, _, rest = path.partition("\\")
    return f"{system.control_set()}\\{rest}" if first.lower() == "currentcontrolset" else path


def _leftovers(looker: Looker) -> list[str]:
    software = looker.hive("SOFTWARE")
    found = [path for path in _FILES if looker.windows.exists(path)]
    if b"aibemu" in (looker.windows.read(_HOOK) or b""):
        found.append(_HOOK)
    tasks = [f"the task {task}" for task in OUR_TASKS if software.exists(f"{TASKS}\\{task}")]
    scripts = [
        f"Windows\\Temp\\{name}" for name in looker.windows.list("Windows\\Temp") or ()
        if re.match(r"(?:script|packer-(?:ps-env-vars|elevated-shell))-[0-9a-f-]{36}", name)
    ]  # fmt: skip
    return [*found, *tasks, *scripts]


def _profiles(looker: Looker, user: str) -> list[str]:
    hive = looker.hive("SOFTWARE")
    folders = [f"Users\\{name}" for name in looker.windows.list("Users") or () if _is_of(name, user)]
    paths = [(sid, hive.text(f"{_PROFILES}\\{sid}", "ProfileImagePath")) for sid in hive.keys(_PROFILES) or ()]
    named = [f"HKLM\\SOFTWARE\\{_PROFILES}\\{sid}" for sid, path in paths if _is_of(path.rpartition("\\")[2], user)]
    return [*folders, *named]


def _is_of(name: str, user: str) -> bool:
    """`packer`, and `packer.WINBOX` where another machine's was there."""
    return name.lower() == user.lower() or name.lower().startswith(f"{user.lower()}.")
