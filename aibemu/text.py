"""Text for people: guest text without control characters, durations, ages.

Guest text reaches a terminal only through `harmless`: a script must not be able to move the cursor or set the title.
"""

from __future__ import annotations

import re
from datetime import timedelta

# Escape sequences with their arguments, then every other control character but the tab.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATIONS = (("day", 86_400_000_000), ("hour", 3_600_000_000), ("minute", 60_000_000), ("second", 1_000_000),
              ("millisecond", 1000), ("microsecond", 1))  # fmt: skip


def harmless(text: str) -> str:
    """`text` without anything that a terminal would obey."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text)).expandtabs(8)


def counted(count: int, noun: str) -> str:
    """`1 run`, `2 runs`: any noun that takes an s."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def short(seconds: float | None) -> str:
    """A duration: `0.4s`, `12s`, `3m13s`, `1h02m`; `-` for None."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def packer_words(seconds: float) -> str:
    """`3 minutes 13 seconds`: the two largest units that are not zero (facts: service 4.1; Packer uses durafmt)."""
    left = max(0, round(seconds * 1_000_000))
    parts: list[str] = []
    for unit, size in _DURATIONS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(parts[:2]) or "0 seconds"


def parse_age(text: str) -> timedelta | None:
    """`30m`, `12h`, `7d`, `2w`; None for anything else."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    return timedelta(seconds=int(match[1]) * _AGES[match[2]]) if match else None


def age_words(age: timedelta) -> str:
    """`8 s`, `5 min`, `3 h`, `2 d`: the largest unit that it fills."""
    seconds = max(0, int(age.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
