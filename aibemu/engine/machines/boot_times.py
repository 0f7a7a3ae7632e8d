"""How long machines took to boot the last time: by image, shape and accelerator, a few lines in the home.

Nothing depends on it but what people are told, so a file that is damaged or cannot be written is as good as none.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

from aibemu.files import read_json, write_json
from aibemu.hypervisor import Accelerator
from aibemu.plan.model import Plan

FILE = "boot-times.json"
# How many are kept: the newest.
MOST = 100
# A file that is larger is none of ours.
LARGEST = 64 * 1024


def boot_key(plan: Plan, accelerator: Accelerator) -> str:
    """What two boots must have in common to take about as long."""
    shape = plan.machine
    machine = f"{shape.cpus} CPU {shape.memory_mib} MiB {shape.firmware}"
    return f"{plan.source.image.digest[:24]} {machine} {accelerator.name}"


class BootTimes:
    """The file in the folder `cache`. For several processes: whoever writes last wins."""

    def __init__(self, cache: Path) -> None:
        self._path = cache / FILE

    def last(self, key: str) -> float | None:
        """Seconds that the last boot like this took until steps could run; None if there was none."""
        return self._read().get(key)

    def note(self, key: str, seconds: float) -> None:
        """Keep how long this one took."""
        times = self._read()
        times.pop(key, None)
        times[key] = round(seconds, 1)
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, dict(list(times.items())[-MOST:]))

    def _read(self) -> dict[str, float]:
        try:
            value = read_json(self._path) if self._path.stat().st_size <= LARGEST else {}
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(value, dict):
            return {}
        return {
            key: float(seconds) for key, seconds in value.items()
            if isinstance(seconds, int | float) and not isinstance(seconds, bool) and _is_time(seconds)
        }  # fmt: skip


def _is_time(seconds: float) -> bool:
    return 0 < seconds < 1e6 and math.isfinite(seconds)
