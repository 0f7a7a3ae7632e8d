"""Dates and times as text, as .NET's DateTimeOffset reads them: ISO 8601, RFC 1123, American and loose forms.

Not read: what .NET completes with today's date (`13:05`), and its guesses (`29 Feb` is February 2029 to it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

TICKS = 10_000_000  # a second, in units of 100 ns
_MOST_MINUTES = 14 * 60  # of an offset
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
           "november", "december")  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTH = r"(?P<name>[a-z]{3,9})"
_DATES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?P<year>\d{4})\s*(?P<mark>[-/.\s,])\s*(?P<month>\d{1,2})\s*[-/.\s,]\s*(?P<day>\d{1,2})(?!\d)",
        r"(?P<month>\d{1,2})\s*(?P<mark>[-/.\s,])\s*(?P<day>\d{1,2})\s*[-/.\s,]\s*(?P<year>\d{4}|\d{2})(?!\d)",
        r"(?P<year>\d{4})[-/](?P<month>\d{1,2})(?!\d)",
        r"(?P<month>\d{1,2})/(?P<year>\d{4})(?!\d)",
        rf"(?P<day>\d{{1,2}})[-\s]*{_MONTH}[-\s,]*(?P<year>\d{{4}}|\d{{2}})(?!\d)",
        rf"{_MONTH}[-\s]*(?P<day>\d{{1,2}})(?:\s*,\s*|\s+|-)(?P<year>\d{{4}})(?!\d)",
        rf"(?P<year>\d{{4}})[-\s]*{_MONTH}[-\s]*(?P<day>\d{{1,2}})(?!\d)",
        rf"{_MONTH}[-\s,]*(?P<year>\d{{4}})(?!\d)",
    )
)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z")
_WEEKDAY = re.compile(r"([a-z]{3,9})[\s,]+")
_CLOCK = re.compile(
    r"(?P<join>t|\s+)(?P<hour>\d{1,2})(?::(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:[.,](?P<part>\d+))?)?)?"
    r"(?:\s*(?P<half>am|pm|a|p)(?![a-z]))?"
)
_ZONE = re.compile(r"\s*(?P<zulu>z|gmt)?(?:(?P<sign>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d{2}))?)?\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A date and time with an offset. local: as the clock there shows it, to the second; ticks: of 100 ns beyond it;
    offset: from UTC."""

    local: datetime
    ticks: int = 0
    offset: timedelta = timedelta()

    @property
    def utc(self) -> Moment:
        """The same moment by the clock of UTC. Raises OverflowError."""
        return Moment(local=self.local - self.offset, ticks=self.ticks)

    @property
    def epoch(self) -> int:
        """Whole seconds since 1970."""
        return int((self.local - self.offset - datetime(1970, 1, 1)) / timedelta(seconds=1))  # noqa: DTZ001 - UTC

    def plus(self, duration: int) -> Moment:
        """The moment so many ticks later. Raises OverflowError."""
        seconds, ticks = divmod(self.ticks + duration, TICKS)
        return Moment(local=self.local + timedelta(seconds=seconds), ticks=ticks, offset=self.offset)


def read_moment(text: str) -> Moment:
    """The moment; without a zone it is UTC. Raises ValueError."""
    if compact := _COMPACT.fullmatch(text):
        year, month, day, hour, minute, second = map(int, compact.groups())
        return Moment(local=datetime(year, month, day, hour, minute, second))  # noqa: DTZ001 - UTC
    folded = text.strip().lower()
    if len(folded) > 100 or not folded.isascii():
        raise ValueError(text)
    weekday = _WEEKDAY.match(folded)
    day_name = weekday.group(1) if weekday and _named(weekday.group(1), _DAYS) is not None else None
    rest = folded[weekday.end() :] if weekday and day_name else folded
    for pattern in _DATES:
        match = pattern.match(rest)
        if match is None:
            continue
        try:
            return _moment(match, rest[match.end() :], day_name)
        except ValueError:
            continue
    raise ValueError(text)


def _moment(match: re.Match[str], rest: str, day_name: str | None) -> Moment:
    found = match.groupdict()
    name = found.get("name")
    month = _named(name, _MONTHS) if name else int(found["month"]) - 1
    if month is None:
        raise ValueError(name)
    year = int(found["year"])
    if len(found["year"]) == 2:
        year += 2000 if year < 50 else 1900
    date = datetime(year, month + 1, int(found.get("day") or 1))  # noqa: DTZ001 - the offset stands beside it
    if day_name is not None and date.weekday() != _named(day_name, _DAYS):
        raise ValueError(day_name)
    clock = _CLOCK.match(rest)
    time, ticks = _time(clock) if clock else (timedelta(), 0)
    zone = _ZONE.fullmatch(rest[clock.end() :] if clock else rest)
    iso = clock is not None and clock["join"] == "t"
    if zone is None or (zone["zulu"] and zone["sign"]) or (iso and zone["zulu"] == "gmt"):
        raise ValueError(rest)
    seconds, ticks = divmod(ticks, TICKS)
    return Moment(local=date + time + timedelta(seconds=seconds), ticks=ticks, offset=_offset(zone))


def _named(name: str, names: tuple[str, ...]) -> int | None:
    """The number of a name, or of its first three letters."""
    return next((at for at, full in enumerate(names) if name in (full, full[:3])), None)


def _time(clock: re.Match[str]) -> tuple[timedelta, int]:
    half, minute = clock["half"], clock["minute"]
    iso = clock["join"] == "t"
    if half not in (None, "am", "pm") or (minute is None and half is None) or (iso and half):
        raise ValueError(clock.group())
    if iso and any(len(clock[name]) != 2 for name in ("hour", "minute", "second") if clock[name]):
        raise ValueError(clock.group())
    hour, minutes, seconds = int(clock["hour"]), int(minute or 0), int(clock["second"] or 0)
    if hour > 23 or minutes > 59 or seconds > 59 or (half == "am" and hour > 12):
        raise ValueError(clock.group())
    if half:
        hour = hour % 12 + 12 if half == "pm" else hour % 12
    part = (clock["part"] or "").ljust(8, "0")  # one digit more than counts, to round by
    ticks = int(part[:7]) + (part[7] >= "5")
    return timedelta(hours=hour, minutes=minutes, seconds=seconds), ticks


def _offset(zone: re.Match[str]) -> timedelta:
    hours, minutes = int(zone["hours"] or 0), int(zone["minutes"] or 0)
    if hours * 60 + minutes > _MOST_MINUTES or minutes > 59:
        raise ValueError(zone.group())
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if zone["sign"] == "-" else offset
