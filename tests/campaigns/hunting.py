"""One input after the other through a target, and what is a fault: an error that aibemu does not expect, more than 2 s
of work, more than 500 MB of memory."""

from __future__ import annotations

import contextlib
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType

from aibemu.errors import AibemuError
from tests.campaigns.mutation import mutated

SLOW = 2.0  # seconds of work for one input
GIVEN_UP = 20.0  # seconds of work after which the input is left alone
LARGEST_MEMORY = 500 << 20
CLEAR_PEAK = "5"  # proc(5), clear_refs: the peak of memory starts anew
_KEPT_ALIKE = 3  # inputs that are kept of faults at the same place


class Endless(BaseException):
    """An input was given up. No Exception: the code that is tried may catch these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is tried. run: with one input; what it raises is a fault, but for `expected`. words: what means something
    to who reads it."""

    name: str
    run: Callable[[bytes], object]
    seeds: Sequence[bytes]
    words: Sequence[bytes] = ()
    expected: tuple[type[Exception], ...] = (AibemuError,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """what: one line. place: the last line of aibemu's in the traceback, by which faults are told apart."""

    what: str
    place: str
    content: bytes
    trace: str


@dataclass(slots=True)
class Hunt:
    """Runs inputs, and keeps the faults, of those at the same place the first few."""

    target: Target
    inputs: int = 0
    work: float = 0.0  # seconds
    slowest: float = 0.0
    found: int = 0
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    _base: int = 0

    def go(self, rng: random.Random, *, seconds: float | None = None, inputs: int | None = None) -> None:
        """Seeds first, then damaged ones, for so many inputs, or seconds of work: on a busy host these take longer."""
        ends = None if seconds is None else time.process_time() + seconds
        for number in range(inputs if inputs is not None else 1 << 62):
            if ends is not None and time.process_time() >= ends:
                return
            seeds = self.target.seeds
            first = number < len(seeds) and inputs is None
            self.one(seeds[number] if first else mutated(rng, seeds, self.target.words))

    def one(self, content: bytes) -> None:
        """Run one input."""
        self.inputs += 1
        self._base = self._base or _memory("VmRSS")
        began = time.process_time()
        try:
            with _bounded():
                self.target.run(content)
        except self.target.expected:
            pass
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            self._note(f"{type(error).__name__}: {error}"[:300], _place(error.__traceback__), content, error)
        taken = time.process_time() - began
        self.work += taken
        self.slowest = max(self.slowest, taken)
        if taken > SLOW:
            self._note(f"{taken:.1f} s for {len(content)} bytes", "slow", content)
        if (grown := _memory("VmHWM") - self._base) > LARGEST_MEMORY:
            self._note(f"{grown >> 20} MiB more memory", "memory", content)
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
            self._base = _memory("VmRSS")

    def _note(self, what: str, place: str, content: bytes, error: BaseException | None = None) -> None:
        self.found += 1
        alike = self.faults.setdefault(place, [])
        if len(alike) < _KEPT_ALIKE:
            trace = "".join(traceback.format_exception(error)[-12:]) if error else ""
            alike.append(Fault(what=what, place=place, content=content, trace=trace))

    def lines(self) -> list[str]:
        """A line for each place where there were faults."""
        return [f"{self.target.name}: {alike[0].what} at {place}" for place, alike in self.faults.items()]


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    def give_up(_: int, __: FrameType | None) -> None:
        raise Endless(f"more than {GIVEN_UP:g} s")

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, GIVEN_UP)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _place(trace: TracebackType | None) -> str:
    """FILE:LINE of the last frame that is aibemu's."""
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if "/aibemu/" in frame.filename or "/aibemu_drivers/" in frame.filename]
    last = (own or frames)[-1]
    return f"{last.filename.rpartition('/aibemu')[2].removeprefix('/')}:{last.lineno}"


def _memory(what: str) -> int:
    """Bytes: `VmRSS` now, `VmHWM` at the most."""
    with Path("/proc/self/status").open() as stream:
        return next(int(line.split()[1]) << 10 for line in stream if line.startswith(what))
