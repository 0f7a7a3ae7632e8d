"""Dates: what utcNow() and its like give, in the patterns of .NET that they take."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from aibemu.arm.expressions.errors import ExpressionError
from aibemu.arm.functions.signature import Function, fn

DEFAULT = "yyyyMMddTHHmmssZ"
# What dateTimeAdd gives without a format, in the output that the documentation shows of a deployment.
GENERAL = "M/d/yyyy h:mm:ss tt"

# The standard patterns, one letter each, as the invariant culture of .NET: utcNow('d') is documented as 03/05/2019.
_STANDARD: Mapping[str, str] = {
    "d": "MM/dd/yyyy", "D": "dddd, dd MMMM yyyy", "f": "dddd, dd MMMM yyyy HH:mm", "F": "dddd, dd MMMM yyyy HH:mm:ss",
    "g": "MM/dd/yyyy HH:mm", "G": "MM/dd/yyyy HH:mm:ss", "m": "MMMM dd", "M": "MMMM dd",
    "o": "yyyy-MM-ddTHH:mm:ss.fffffffK", "O": "yyyy-MM-ddTHH:mm:ss.fffffffK", "r": "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
    "R": "ddd, dd MMM yyyy HH:mm:ss 'GMT'", "s": "yyyy-MM-ddTHH:mm:ss", "t": "HH:mm", "T": "HH:mm:ss",
    "u": "yyyy-MM-dd HH:mm:ssZ", "U": "dddd, dd MMMM yyyy HH:mm:ss", "y": "yyyy MMMM", "Y": "yyyy MMMM",
}  # fmt: skip
_TOKEN = re.compile(r"(y+|M+|d+|H+|h+|m+|s+|f+|F+|t+|z+|K)|'([^']*)'|\"([^\"]*)\"|\\(.)|%(?=.)|(.)", re.DOTALL)
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DURATION = re.compile(
    r"(-)?P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)
_READABLE = ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y", "%Y%m%dT%H%M%SZ", "%Y-%m-%d %H:%M:%SZ")

_PARTS: Mapping[str, Callable[[datetime, int], str]] = {
    "y": lambda moment, n: f"{moment.year % 100:0{n}}" if n < 3 else f"{moment.year:0{n}}",
    "M": lambda moment, n: _named(_MONTHS[moment.month - 1], moment.month, n),
    "d": lambda moment, n: _named(_DAYS[moment.weekday()], moment.day, n),
    "H": lambda moment, n: f"{moment.hour:0{min(n, 2)}}",
    "h": lambda moment, n: f"{moment.hour % 12 or 12:0{min(n, 2)}}",
    "m": lambda moment, n: f"{moment.minute:0{min(n, 2)}}",
    "s": lambda moment, n: f"{moment.second:0{min(n, 2)}}",
    "f": lambda moment, n: f"{moment.microsecond:06}0"[:n],
    "F": lambda moment, n: f"{moment.microsecond:06}0"[:n].rstrip("0"),
    "t": lambda moment, n: ("PM" if moment.hour >= 12 else "AM")[:n],
    "z": lambda moment, n: "+0" if n == 1 else "+00" if n == 2 else "+00:00",
    "K": lambda moment, n: "Z",
}


def _named(name: str, number: int, length: int) -> str:
    """`MMMM` is the name, `MMM` three letters of it, `MM` and `M` the number; likewise of days."""
    return f"{number:0{length}}" if length < 3 else name[:3] if length == 3 else name


def format_utc(moment: datetime, pattern: str) -> str:
    """A moment in UTC, in a standard (one letter) or custom pattern of .NET. Raises ExpressionError."""
    if len(pattern) == 1:
        if pattern not in _STANDARD:
            raise ExpressionError(f"'{pattern}' is no date pattern", hint="like 'yyyy-MM-dd', or 'u'")
        pattern = _STANDARD[pattern]
    moment = moment.astimezone(UTC)
    return "".join(_formatted(moment, match) for match in _TOKEN.finditer(pattern))


def _formatted(moment: datetime, match: re.Match[str]) -> str:
    token, single, double, escaped, other = match.groups()
    if token:
        return _PARTS[token[0]](moment, len(token))
    return next((text for text in (single, double, escaped, other) if text is not None), "")


def parse_moment(text: str) -> datetime:
    """A moment in any of the forms that these functions give; without a zone it is UTC. Raises ExpressionError."""
    stripped = text.strip()
    try:
        found = datetime.fromisoformat(stripped)
    except ValueError:
        found = None
    for pattern in _READABLE if found is None else ():
        try:
            found = datetime.strptime(stripped, pattern)  # noqa: DTZ007 - made UTC below
            break
        except ValueError:
            continue
    if found is None:
        raise ExpressionError(f"'{text}' is not a date and time", hint="like 2026-01-31T12:00:00Z")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _add(base: str, duration: str, pattern: str = GENERAL) -> str:
    match = _DURATION.fullmatch(duration)
    if match is None or duration.endswith(("P", "T")):
        raise ExpressionError(f"'{duration}' is not a duration", hint="as ISO 8601 has it: P3Y, -P9D, PT1H30M")
    sign = -1 if match.group(1) else 1
    years, months, weeks, days, hours, minutes = (sign * int(part or 0) for part in match.groups()[1:7])
    seconds = sign * float(match.group(8) or 0)
    try:
        # As documented: P1Y is P365D, P1M is P30D, leap years or not.
        days += 365 * years + 30 * months
        moment = parse_moment(base)
        moment += timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    except (OverflowError, ValueError):
        raise ExpressionError(f"{base} and {duration} make no date between the years 1 and 9999") from None
    return format_utc(moment, pattern)


def _from_epoch(seconds: int) -> str:
    try:
        return format_utc(datetime.fromtimestamp(seconds, UTC), "yyyy-MM-ddTHH:mm:ssZ")
    except (OverflowError, ValueError, OSError):
        raise ExpressionError(f"{seconds} seconds make no date between the years 1 and 9999") from None


TABLE: tuple[Function, ...] = (
    fn("dateTimeAdd", "string string [string]", _add),
    fn("dateTimeFromEpoch", "int", _from_epoch),
    fn("dateTimeToEpoch", "string", lambda text: int(parse_moment(text).timestamp())),
)
