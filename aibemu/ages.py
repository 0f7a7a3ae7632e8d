"""Ages as people type and read them: `12h`, `14d`; "5 min"."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_age(text: str) -> timedelta | None:
    """`30m`, `12h`, `7d`, `2w`; None for anything else."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]]) if match else None


def age_words(age: timedelta) -> str:
    """`8 s`, `5 min`, `3 h`, `2 d`: the largest unit that it fills."""
    seconds = max(0, int(age.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
