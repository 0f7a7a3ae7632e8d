"""Durations as Go writes them, which is how the service takes restartTimeout: `5m`, `1h30m`, `90s`, `1.5h`."""

from __future__ import annotations

import re

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_PART = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)"
_ALL = re.compile(rf"\+?(?:{_PART})+")


def seconds(text: str) -> float | None:
    """The length of a duration in seconds; None when it is none. `0` needs no unit; less than nothing is none here."""
    if text == "0":
        return 0.0
    if not _ALL.fullmatch(text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_PART, text))
