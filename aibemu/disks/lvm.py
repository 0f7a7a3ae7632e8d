"""The logical volumes of LVM2: their names, and which bytes of the disk they are.

LVM keeps this as a text beside the data, so neither the device mapper nor root is needed. A volume is read that is
linear, as all are that an installer makes unless somebody asks for more; of the others only the names are known.

Source: LVM2's lib/format_text/layout.h and lib/config; `man lvmsystemid`, `man vgcfgbackup` show the text.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from aibemu.disks import Unreadable
from aibemu.disks.nodes import Read

_SECTOR = 512
_LABEL, _KIND, _AREA = b"LABELONE", b"LVM2 001", b" LVM2 x[5A%r0N*>"
_LABEL_SECTORS = 4  # where a label may be
_MOST_TEXT, _MOST_VOLUMES, _MOST_SEGMENTS, _DEEPEST = 16 << 20, 1000, 100_000, 16
_MOST_AREAS = 16
_TOKEN = re.compile(rb'\s+|#[^\n]*|(?P<text>"(?:[^"\\]|\\.)*")|(?P<mark>[{}\[\]=,])|(?P<word>[^\s#"{}\[\]=,]+)')

Value: TypeAlias = "str | list[str] | dict[str, Value]"
Section: TypeAlias = "dict[str, Value]"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalVolume:
    """uuid: without dashes. text: the description of its volume group, b"" if there is none on it."""

    uuid: str
    text: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """`size` bytes from byte `start` of the physical volume `uuid` on."""

    uuid: str
    start: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalVolume:
    """group, name: as in /dev/GROUP/NAME. pieces: its bytes in their order. problem: why they are not known; else "".
    hidden: a part of another volume, which holds no file system of its own."""

    group: str
    name: str
    pieces: tuple[Piece, ...] = ()
    problem: str = ""
    hidden: bool = False

    @property
    def mapped(self) -> str:
        """Its name below /dev/mapper."""
        return f"{self.group.replace('-', '--')}-{self.name.replace('-', '--')}"


def physical_volume(read: Read) -> PhysicalVolume:
    """What `read(at, length)`, which gives bytes of a physical volume, says. Raises `Unreadable`."""
    for sector in range(_LABEL_SECTORS):
        label = read(sector * _SECTOR, _SECTOR)
        if label[:8] == _LABEL and label[24:32] == _KIND:
            offset = int.from_bytes(label[20:24], "little")
            uuid = label[offset : offset + 32].decode("ascii", "replace")
            return PhysicalVolume(uuid=uuid, text=_text(read, label[offset + 40 :]))
    raise Unreadable("its LVM label is damaged, or of LVM1")


def logical_volumes(text: bytes) -> list[LogicalVolume]:
    """The volumes of the group that `text` describes. Raises `Unreadable` where it is not understood."""
    try:
        (group, section), *_ = [
            (name, value) for name, value in _parse(text).items()
            if isinstance(value, dict) and "physical_volumes" in value
        ]  # fmt: skip
        extent = _number(section, "extent_size") * _SECTOR
        disks = {
            name: (_word(about, "id").replace("-", ""), _number(about, "pe_start") * _SECTOR)
            for name, about in _sections(section, "physical_volumes")
        }
        volumes = list(_sections(section, "logical_volumes")) if "logical_volumes" in section else []
        return [_volume(group, name, about, extent, disks) for name, about in volumes[:_MOST_VOLUMES]]
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise Unreadable(f"its LVM description is not understood: {error}") from None


def _volume(group: str, name: str, about: Section, extent: int, disks: Mapping[str, tuple[str, int]]) -> LogicalVolume:
    flags = about.get("status", [])
    hidden = isinstance(flags, list) and "VISIBLE" not in flags
    pieces: list[Piece] = []
    for number in range(1, min(_number(about, "segment_count"), _MOST_SEGMENTS) + 1):
        segment = _section(about, f"segment{number}")
        kind = _word(segment, "type")
        if kind != "striped" or _number(segment, "stripe_count") != 1:
            what = "striped" if kind == "striped" else f"of the type {kind}"
            return LogicalVolume(group=group, name=name, hidden=hidden, problem=f"it is {what}, not linear")
        place = segment["stripes"]
        if not isinstance(place, list) or len(place) != 2:
            raise ValueError("a segment is at no place")
        uuid, begin = disks[place[0]]
        size = _number(segment, "extent_count") * extent
        pieces.append(Piece(uuid=uuid, start=begin + int(place[1]) * extent, size=size))
    return LogicalVolume(group=group, name=name, hidden=hidden, pieces=tuple(pieces))


def _text(read: Read, header: bytes) -> bytes:
    """The newest description in the metadata areas that a physical volume's header lists."""
    at = 0
    areas: list[tuple[int, int]] = []
    for _ in range(2):  # the areas of data, then those of metadata; each list ends with zeros
        areas = []
        while at + 16 <= len(header) and len(areas) < _MOST_AREAS:
            area = struct.unpack_from("<QQ", header, at)
            at += 16
            if not any(area):
                break
            areas.append(area)
    found: list[bytes] = []
    for start, _ in areas:
        head = read(start, _SECTOR)
        if len(head) < _SECTOR or head[4:20] != _AREA:
            continue
        _, _, size = struct.unpack_from("<IQQ", head, 20)
        offset, length = struct.unpack_from("<QQ", head, 40)
        if not _SECTOR <= offset < size or length > min(size, _MOST_TEXT):
            continue
        first = read(start + offset, min(length, size - offset))
        # It is a ring, which begins anew behind the header.
        found.append((first + read(start + _SECTOR, length - len(first))).rstrip(b"\0"))
    return max(found, key=_sequence, default=b"")


def _sequence(text: bytes) -> int:
    found = re.search(rb"\bseqno = (\d{1,18})\b", text)
    return int(found[1]) if found else 0


def _parse(text: bytes) -> Section:
    """Sections in braces, `name = value`, lists in brackets; a value is a text or a number, both given as texts."""
    top: Section = {}
    stack, name = [top], ""
    listed: list[str] | None = None
    for mark, word in _tokens(text):
        if mark == "{":
            if len(stack) > _DEEPEST:
                raise ValueError("sections in sections without end")
            inner: Section = {}
            stack[-1][name] = inner
            stack.append(inner)
        elif mark == "}":
            if len(stack) == 1:
                raise ValueError("a brace too many")
            stack.pop()
        elif mark == "[":
            listed = []
            stack[-1][name] = listed
        elif mark == "]":
            listed = None
        elif mark:
            continue
        elif listed is not None:
            listed.append(word)
        elif name and not isinstance(stack[-1].get(name), dict) and stack[-1].get(name) == "":
            stack[-1][name] = word
        else:
            name = word
            stack[-1].setdefault(name, "")
    return top


def _tokens(text: bytes) -> Iterator[tuple[str, str]]:
    """(mark, "") or ("", word)."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"at byte {at}")
        at = found.end()
        if found["mark"]:
            yield found["mark"].decode(), ""
        elif found["text"]:
            yield "", re.sub(rb"\\(.)", rb"\1", found["text"][1:-1]).decode(errors="replace")
        elif found["word"]:
            yield "", found["word"].decode(errors="replace")


def _sections(about: Section, name: str) -> Iterator[tuple[str, Section]]:
    for key, value in _section(about, name).items():
        if isinstance(value, dict):
            yield key, value


def _section(about: Section, name: str) -> Section:
    value = about[name]
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no section")
    return value


def _word(about: Section, name: str) -> str:
    value = about[name]
    if not isinstance(value, str):
        raise ValueError(f"{name} is no word")
    return value


def _number(about: Section, name: str) -> int:
    return int(_word(about, name))
