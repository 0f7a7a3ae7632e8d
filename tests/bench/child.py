"""One aibemu command as a process of its own, timed, and how much memory it took at most."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Seconds between two looks at the process's memory; few enough to cost nothing.
LOOK_EVERY = 0.2
# Seconds that it gets to clean up when it is told to end.
GRACE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A process that is over. started: since the epoch. peak_bytes: the process's own, not that of QEMU, its child."""

    pid: int
    status: int
    started: float
    seconds: float
    peak_bytes: int
    said: str


def run(words: Sequence[str], environment: Mapping[str, str], folder: Path, bound: float) -> Ended:
    """Run `aibemu WORDS`; what it says goes to a file in `folder`. TimeoutError after `bound` seconds."""
    log = folder / "aibemu.log"
    with log.open("wb") as stream:
        wall, began = time.time(), time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "aibemu", *words], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            env=dict(environment), start_new_session=True,
        )  # fmt: skip
        try:
            peak = _watch(process.pid, began + bound)
            seconds = time.monotonic() - began
        finally:
            _end(process)
    return Ended(
        pid=process.pid, status=process.wait(), started=wall, seconds=seconds, peak_bytes=peak,
        said=log.read_text(errors="replace"),
    )  # fmt: skip


def _watch(pid: int, ends: float) -> int:
    """Wait for its end; the last high-water mark that was seen, at most `LOOK_EVERY` old."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        peak = 0
        while not poll.poll(LOOK_EVERY * 1000):
            peak = high_water(pid) or peak
            if time.monotonic() > ends:
                raise TimeoutError(f"process {pid} took too long")
        return peak
    finally:
        os.close(descriptor)


def high_water(pid: int) -> int:
    """VmHWM in bytes; 0 once the process is over."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmHWM:")), 0)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever happened: it does not outlive this, nor does its machine if it can help it."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
