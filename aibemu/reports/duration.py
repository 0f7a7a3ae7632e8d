"""Seconds for people, and in Packer's words."""

from __future__ import annotations

_UNITS = (("day", 86_400_000_000), ("hour", 3_600_000_000), ("minute", 60_000_000), ("second", 1_000_000),
          ("millisecond", 1000), ("microsecond", 1))  # fmt: skip


def packer_words(seconds: float) -> str:
    """`3 minutes 13 seconds`: the two largest units that are not zero (facts: service 4.1; Packer uses durafmt)."""
    left = max(0, round(seconds * 1_000_000))
    parts: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(parts[:2]) or "0 seconds"


def counted(count: int, noun: str) -> str:
    """`1 run`, `2 runs`: any noun that takes an s."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def short(seconds: float | None) -> str:
    """`0.4s`, `12s`, `3m13s`, `1h02m`; `-` for None."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"
