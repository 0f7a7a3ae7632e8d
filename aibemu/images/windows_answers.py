"""Answer files of Windows' setup that a disk has itself: where they lie, whether Setup will use them, and how it is
kept from that.

Setup takes the first file, in a fixed order of places, with settings for the pass that it is in and that it has not
marked as used; it goes past all others, but stops at one that it cannot read (facts: windows-images 3).
"""

from __future__ import annotations

import ntpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aibemu.disks import Unreadable

if TYPE_CHECKING:
    from aibemu.disks.hives import WindowsDisk

# Where Setup looks for an answer file before it looks at removable media; before these by a value of the registry.
ANSWERS = tuple(
    f"Windows\\Panther\\{name}"
    for name in ("Unattend\\Unattend.xml", "Unattend\\Autounattend.xml", "Unattend.xml", "Autounattend.xml")
)
_KEY, _VALUE = "Setup", "UnattendFile"
_LONGEST = 200  # letters that are told of the value
_SETTINGS = re.compile(r"<(?:\w+:)?settings\b([^<>]{0,2000})>", re.IGNORECASE)
# Passes that are run at the first boot of a generalised image.
_PASSES = ("specialize", "oobeSystem")
_FIRST_BOOT = re.compile(rf"""\bpass\s*=\s*["'](?:{"|".join(_PASSES)})["']""", re.IGNORECASE)
_PROCESSED = re.compile(r"""\bwasPassProcessed\s*=\s*["']true["']""", re.IGNORECASE)
_HEAD, _END = '<unattend xmlns="urn:schemas-microsoft-com:unattend">', "</unattend>"
# As Setup writes it of a pass that it has run.
_USED = "".join(f'<settings pass="{name}" wasPassProcessed="true"></settings>' for name in _PASSES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer file that Setup would take before those on removable media."""

    # Without the drive; "" for one that the registry names.
    path: str = ""
    # What the registry names, cut to what can be told.
    named: str = ""

    def __str__(self) -> str:
        return self.path or f"{self.named} (HKLM\\SYSTEM\\{_KEY}, {_VALUE})"


def waiting(windows: WindowsDisk) -> tuple[list[Answer], list[str]]:
    """(those that it would take, what could not be looked at, in sentences). `Unreadable` without a hive SYSTEM."""
    found, notes = [], []
    if (named := windows.hive("SYSTEM").text(_KEY, _VALUE)) and not _is_used(windows, named):
        found.append(Answer(named=named[:_LONGEST]))
    for path in ANSWERS:
        try:
            content = windows.read(path)
        except Unreadable as error:
            notes.append(f"whether Setup has used {path} is not known: {error.message}")
            continue
        if content is not None and has_unused_settings(content):
            found.append(Answer(path=path))
    return found, notes


def set_aside(windows: WindowsDisk, answer: Answer) -> str:
    """Keep Setup from taking it; `windows.save` writes it. What was changed, as people are told.

    A file stays where it is, as long as it was, and says that its settings were used: what was in it is gone, as it is
    after Setup has used one with passwords in it. Raises `Unreadable` when it cannot be done.
    """
    if not answer.path:
        windows.hive("SYSTEM").delete(_KEY, _VALUE)
        return f"HKLM\\SYSTEM\\{_KEY}, {_VALUE}: deleted (was {answer.named})"
    content = windows.read(answer.path)
    windows.overwrite(answer.path, used_up(len(content or b"")))
    return f"{answer.path}: its settings are replaced by a mark that Setup has used them"


def used_up(size: int) -> bytes:
    """An answer file of so many bytes from which Setup takes nothing: one with settings has room for the last of these,
    one that Setup can read for the others."""
    texts = (f"{_HEAD}{_USED}{_END}", f"{_HEAD}{_END}", "<unattend/>")
    return next(text for text in texts if len(text) <= size).ljust(size, "\n").encode("ascii")


def has_unused_settings(content: bytes) -> bool:
    """Whether an answer file has settings for the first boot that Setup has not marked as used."""
    first, *rest = content.decode(_encoding(content), "replace").split("<!--")
    text = first + "".join(part.partition("-->")[2] for part in rest)  # without comments
    return any(_FIRST_BOOT.search(one[1]) and not _PROCESSED.search(one[1]) for one in _SETTINGS.finditer(text))


def _encoding(content: bytes) -> str:
    """As XML finds it: by a byte-order mark, or by the zeros in UTF-16 that has none."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    return {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}.get(content[:2], "utf-8-sig")


def _is_used(windows: WindowsDisk, named: str) -> bool:
    """Whether the file that the registry names is on this volume, and has nothing left for Setup to use."""
    name = re.sub(r"(?i)%(?:systemroot|windir)%", r"C:\\Windows", named.strip('" '))
    drive, path = ntpath.splitdrive(ntpath.normpath(re.sub(r"(?i)%systemdrive%", "C:", name)))
    if drive.lower() != "c:":
        return False
    try:
        content = windows.read(path.lstrip("\\"))
    except Unreadable:
        return False
    return content is not None and not has_unused_settings(content)
