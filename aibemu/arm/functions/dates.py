"""Dates: what utcNow() and its like give, in the patterns of .NET that they take. How text is read: `date_reading`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from aibemu.arm.expressions.errors import CALLED, ExpressionError
from aibemu.arm.expressions.values import azure_type, described
from aibemu.arm.functions.date_reading import TICKS, Moment, read_moment
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.nodes import Node, NodeKind

DEFAULT = "yyyyMMddTHHmmssZ"
GENERAL = "yyyy-MM-ddTHH:mm:ssZ"  # without a format; the Z is a letter

# The standard patterns, one letter each, as the invariant culture of .NET: utcNow('d') is documented as 03/05/2019.
_STANDARD: Mapping[str, str] = {
    "d": "MM/dd/yyyy", "D": "dddd, dd MMMM yyyy", "f": "dddd, dd MMMM yyyy HH:mm", "F": "dddd, dd MMMM yyyy HH:mm:ss",
    "g": "MM/dd/yyyy HH:mm", "G": "MM/dd/yyyy HH:mm:ss", "m": "MMMM dd", "M": "MMMM dd",
    "o": "yyyy-MM-ddTHH:mm:ss.fffffffK", "O": "yyyy-MM-ddTHH:mm:ss.fffffffK", "r": "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
    "R": "ddd, dd MMM yyyy HH:mm:ss 'GMT'", "s": "yyyy-MM-ddTHH:mm:ss", "t": "HH:mm", "T": "HH:mm:ss",
    "u": "yyyy-MM-dd HH:mm:ssZ", "y": "yyyy MMMM", "Y": "yyyy MMMM",
}  # fmt: skip
_IN_UTC = frozenset("rRu")
_WITHOUT = "MM/dd/yyyy HH:mm:ss zzz"  # of an empty pattern
_TOKEN = re.compile(
    r"""(?P<part>y+|M+|d+|H+|h+|m+|s+|f+|F+|t+|z+|g+|K)|'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<double>(?:[^"\\]|\\.)*)\""""
    r"""|\\(?P<escaped>.)|%(?P<alone>[^%])|(?P<other>[^'"\\%])""",
    re.DOTALL,
)
_MOST_DECIMALS = 7
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DURATION = re.compile(
    r"(-)?P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d*)?)S)?)?", re.ASCII
)
_HIGHEST_PART = 2**31 - 1
_DAY = 24 * 3600 * TICKS

_PARTS: Mapping[str, Callable[[Moment, int], str]] = {
    "y": lambda moment, n: f"{moment.local.year % 100:0{n}}" if n < 3 else f"{moment.local.year:0{n}}",
    "M": lambda moment, n: _named(_MONTHS[moment.local.month - 1], moment.local.month, n),
    "d": lambda moment, n: _named(_DAYS[moment.local.weekday()], moment.local.day, n),
    "H": lambda moment, n: f"{moment.local.hour:0{min(n, 2)}}",
    "h": lambda moment, n: f"{moment.local.hour % 12 or 12:0{min(n, 2)}}",
    "m": lambda moment, n: f"{moment.local.minute:0{min(n, 2)}}",
    "s": lambda moment, n: f"{moment.local.second:0{min(n, 2)}}",
    "f": lambda moment, n: f"{moment.ticks:07}"[:n],
    "F": lambda moment, n: f"{moment.ticks:07}"[:n].rstrip("0"),
    "t": lambda moment, n: ("PM" if moment.local.hour >= 12 else "AM")[:n],
    "z": lambda moment, n: _zone(moment, n),
    "K": lambda moment, n: _zone(moment, 3),
    "g": lambda moment, n: "A.D.",
}


class _NoPattern(ValueError):
    """Not a pattern of dates."""


def _named(name: str, number: int, length: int) -> str:
    """`MMMM` is the name, `MMM` three letters of it, `MM` and `M` the number; likewise of days."""
    return f"{number:0{length}}" if length < 3 else name[:3] if length == 3 else name


def _zone(moment: Moment, length: int) -> str:
    minutes = int(moment.offset / timedelta(minutes=1))
    sign = "-" if minutes < 0 else "+"
    hours, rest = divmod(abs(minutes), 60)
    return f"{sign}{hours:0{min(length, 2)}}" if length < 3 else f"{sign}{hours:02}:{rest:02}"


def format_utc(moment: datetime, pattern: str) -> str:
    """A moment in UTC, in a standard (one letter) or custom pattern of .NET. Raises ExpressionError."""
    utc = moment.astimezone(UTC)
    try:
        return _formatted(
            Moment(local=utc.replace(microsecond=0, tzinfo=None), ticks=utc.microsecond * 10), pattern, zulu=True
        )
    except _NoPattern:
        raise ExpressionError(
            f"'{pattern}' is no date pattern",
            hint="like 'yyyy-MM-dd', or 'u'",
            azure=f"{_INVALID}. The format string '{pattern}' is not valid",
        ) from None


def _formatted(moment: Moment, pattern: str, *, zulu: bool = False) -> str:
    """zulu: the offset is Z, as of a time that is known to be UTC. Raises _NoPattern."""
    if len(pattern) == 1:
        if pattern not in _STANDARD:
            raise _NoPattern(pattern)
        moment = moment.utc if pattern in _IN_UTC else moment
        pattern = _STANDARD[pattern]
    pattern = pattern or _WITHOUT
    made: list[str] = []
    at = 0
    while at < len(pattern):
        match = _TOKEN.match(pattern, at)
        if match is None:
            raise _NoPattern(pattern)
        at = match.end()
        made = _with(made, match, moment, zulu)
    return "".join(made)


def _with(made: list[str], match: re.Match[str], moment: Moment, zulu: bool) -> list[str]:
    part = match["part"] or (match["alone"] if match["alone"] in _PARTS else None)
    if part:
        if part[0] in "fF" and len(part) > _MOST_DECIMALS:
            raise _NoPattern(part)
        text = "Z" if zulu and part == "K" else _PARTS[part[0]](moment, len(part))
        # A point before decimals that are not written goes, too.
        return [*(made[:-1] if part[0] == "F" and not text and made and made[-1] == "." else made), text]
    quoted = match["single"] if match["single"] is not None else match["double"]
    if quoted is not None:
        return [*made, re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)]
    return [*made, match["escaped"] or match["alone"] or match["other"] or ""]


def _read(text: str, azure: str) -> Moment:
    try:
        return read_moment(text)
    except (ValueError, OverflowError):
        raise ExpressionError(
            f"'{text}' is not a date and time", hint="like 2026-01-31T12:00:00Z", azure=f"{_INVALID}. {azure}"
        ) from None


def _duration(text: str) -> int:
    """In ticks. As documented: P1Y is P365D, P1M is P30D, leap years or not."""
    stripped = text.strip()
    match = _DURATION.fullmatch(stripped)
    groups = match.groups() if match else ()
    wrong = match is None or stripped.endswith(("P", "T", ".S"))
    if wrong or any(part and int(part.partition(".")[0]) > _HIGHEST_PART for part in groups[1:]):
        raise ExpressionError(
            f"'{text}' is not a duration",
            hint="as ISO 8601 has it, without weeks: P3Y, -P9D, PT1H30M",
            azure=f"{_INVALID}. The second parameter '{text}' is not a valid ISO8601 Duration string",
        )
    years, months, days, hours, minutes = (int(part or 0) for part in groups[1:6])
    whole, _, fraction = (groups[6] or "0").partition(".")
    seconds = int(whole) * TICKS + int(fraction.ljust(7, "0")[:7])
    ticks = (years * 365 + months * 30 + days) * _DAY + (hours * 3600 + minutes * 60) * TICKS + seconds
    if ticks >= 2**63:
        azure = (
            f"{_INVALID}. The second parameter '{text}' is either too large or too small for TimeSpan, the value must "
            "be between '-10675199.02:48:05.4775808' and '10675199.02:48:05.4775807'"
        )
        raise ExpressionError(
            f"'{text}' is too long a duration: it makes no date between the years 1 and 9999", azure=azure
        )
    return -ticks if groups[0] else ticks


def _add(base: str, duration: str, pattern: str = GENERAL) -> str:
    moment = _read(base, f"The first parameter '{base}' is not a valid ISO8601 DateTime string")
    ticks = _duration(duration)
    try:
        return _formatted(moment.plus(ticks), pattern)
    except (OverflowError, OSError):
        raise ExpressionError(f"{base} and {duration} make no date between the years 1 and 9999") from None
    except _NoPattern:
        azure = f"{_INVALID}. The third parameter '{pattern}' is not a valid DateTime format string"
        raise ExpressionError(
            f"'{pattern}' is no date pattern", hint="like 'yyyy-MM-dd', or 'u'", azure=azure
        ) from None


def _from_epoch(seconds: Node) -> str:
    """Of a whole number, as text too."""
    azure = f"{_INVALID}. The parameter is not a valid epoch time integer"
    value = seconds.value
    whole = str(value).strip() if seconds.kind is NodeKind.STRING else str(value)
    if isinstance(value, float) and value.is_integer():
        whole = str(int(value))
    if seconds.kind not in (NodeKind.STRING, NodeKind.NUMBER):
        azure = (
            f"The template language function '{CALLED}' expects its parameter to be of type 'Integer'. "
            f"The provided value is of type '{azure_type(seconds)}'"
        )
        message = f"dateTimeFromEpoch takes a whole number as argument 1, not {described(seconds)}"
        raise ExpressionError(message, id_="X02", at=0, azure=azure)
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", whole):
        message = f"dateTimeFromEpoch takes a whole number as argument 1, not '{whole[:40]}'"
        raise ExpressionError(message, id_="X02", at=0, azure=azure)
    try:
        moment = Moment(local=datetime(1970, 1, 1) + timedelta(seconds=int(whole)))  # noqa: DTZ001 - UTC
    except (OverflowError, ValueError, OSError):
        raise ExpressionError(f"{whole} seconds make no date between the years 1 and 9999", azure=azure) from None
    return _formatted(moment, GENERAL)


def _to_epoch(text: str) -> int:
    return _read(text, "The parameter is not a valid ISO8601 DateTime string").epoch


_INVALID = f"The template function '{CALLED}' has an invalid parameter"

TABLE: tuple[Function, ...] = (
    fn("dateTimeAdd", "string string [string]", _add),
    fn("dateTimeFromEpoch", "any", _from_epoch),
    fn("dateTimeToEpoch", "string", _to_epoch),
)
