"""Which number the next gallery image version gets. Pure: existing versions and the time in, a version out.

Four ways (facts: service 6): explicit in galleryImageId; `Latest` (highest + 1, optionally within a major); `Source`
(the source image's own number); and the automatic numbers of API versions before 2022-07-01.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from aibemu.errors import DistributeFailed, Span, UsageError

Version = tuple[int, int, int]

# The first number in an empty gallery is not published: this is a proposal (facts: service 6, 9), so a parameter.
FIRST: Version = (1, 0, 0)
VERSIONING_SINCE = "2022-07-01"
ANY_MAJOR = -1

_FORM = re.compile(r"[0-9]{1,10}\.[0-9]{1,10}\.[0-9]{1,10}\Z")
_LARGEST = 2**31 - 1


class Scheme(StrEnum):
    EXPLICIT = "Explicit"
    LATEST = "Latest"
    SOURCE = "Source"
    LEGACY = "Legacy"


class VersionTaken(Exception):
    """The only version that a scheme allows exists already."""

    def __init__(self, version: Version) -> None:
        super().__init__(f"version {format_version(version)} exists already")
        self.version = version


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """How a target numbers its versions. wanted: the number for EXPLICIT and SOURCE; major: for LATEST, -1 = any."""

    scheme: Scheme
    major: int = ANY_MAJOR
    wanted: Version | None = None
    first: Version = FIRST

    def choose(self, existing: Iterable[Version], now: datetime) -> Version:
        """The next version; raises `VersionTaken` when EXPLICIT or SOURCE ask for one that exists."""
        taken = frozenset(existing)
        if self.wanted is not None:
            if self.wanted in taken:
                raise VersionTaken(self.wanted)
            return self.wanted
        if self.scheme is Scheme.LEGACY:
            return next_legacy(taken, now)
        return next_latest(taken, major=self.major, first=self.first)


def parse_version(text: str, *, span: Span | None = None) -> Version:
    """Read `Major.Minor.Patch`, each a 32-bit integer; leading zeros are dropped. `UsageError` in Azure's words."""
    parts = tuple(int(part) for part in text.split(".")) if _FORM.match(text) else ()
    if len(parts) != 3 or max(parts) > _LARGEST:
        raise UsageError(
            f"'{text}' cannot be an image version: the image version name should follow"
            " Major(int).Minor(int).Patch(int) format, for e.g: 1.0.0, 2018.12.1 etc.",
            span=span,
        )
    return parts[0], parts[1], parts[2]


def format_version(version: Version) -> str:
    return ".".join(str(part) for part in version)


def legacy_version(now: datetime) -> Version:
    """`0.<unix seconds / 65536>.<the rest>`: what the service gave before versioning schemes."""
    seconds = int(now.timestamp())
    return 0, seconds >> 16, seconds & 0xFFFF


def next_legacy(existing: Iterable[Version], now: datetime) -> Version:
    """The time's own number, or the next free one when two builds end within a second."""
    taken = frozenset(existing)
    _, high, low = legacy_version(now)
    seconds = (high << 16) + low
    while (0, seconds >> 16, seconds & 0xFFFF) in taken:
        seconds += 1
    return 0, seconds >> 16, seconds & 0xFFFF


def next_latest(existing: Iterable[Version], *, major: int = ANY_MAJOR, first: Version = FIRST) -> Version:
    """The highest existing number (of `major`, unless -1) with its patch raised by one; compared as integers.

    `DistributeFailed` when the patch is the largest that there is. With nothing to raise: `first`, or `<major>.0.0` for
    a major that is not first's (not verified).
    """
    candidates = [version for version in existing if major in (ANY_MAJOR, version[0])]
    if not candidates:
        return first if major in (ANY_MAJOR, first[0]) else (major, 0, 0)
    highest = max(candidates)
    if highest[2] == _LARGEST:
        raise DistributeFailed(
            f"there is no version number after {format_version(highest)}",
            hint="end galleryImageId with a version, or give versioning another major number",
        )
    return highest[0], highest[1], highest[2] + 1


def scheme_of(versioning: Mapping[str, Any] | None, api_version: str) -> tuple[Scheme, int]:
    """Scheme and major of a SharedImage target without an explicit version.

    Absent versioning means the old automatic numbers before 2022-07-01 and Latest from then on.
    """
    if versioning is None:
        return (Scheme.LEGACY if api_version and api_version < VERSIONING_SINCE else Scheme.LATEST), ANY_MAJOR
    if str(versioning.get("scheme", "")).lower() == "source":
        return Scheme.SOURCE, ANY_MAJOR
    major = versioning.get("major")
    return Scheme.LATEST, ANY_MAJOR if major is None else int(major)
