"""Which run may have its machine now: several on one host must not each count on the same memory.

A run asks before it makes a machine, and records what it takes in `admission.json` of its directory. One run at a time
looks, decides and records, under a lock. What a run takes is the memory of one machine: it never has two at once, for
the build machine is off before another one boots from its disk.

The rule. A guest's memory is taken from the host when the guest first touches it, so what is free now does not say what
is left: the guests of other runs may still touch what those runs have recorded. So

    left = free - reserve - what the other runs have recorded and their guests have not touched yet

What they have touched is not free any more, and is not counted a second time. How much that is, the processes of their
machines tell. It is read before `free` is: what a guest touches in between is counted twice for a moment, never not at
all. A hypervisor's own memory (QEMU's, some 100 MiB, more under emulation) is what the reserve is for.

A run that does not fit waits while another run that holds memory is being built, for that one ends by itself. It does
not wait for a run that asks a person something, for a kept machine, which only a person destroys, nor for other
programs: then it goes on and warns, as a build on a busy host always could. The first that fits goes: there is no
queue. Runs of another home are other programs.

CPUs are not counted: the host's scheduler shares them, and a machine that gets less of them is slower and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Protocol

from aibemu.clock import Deadline
from aibemu.errors import HostNotReady
from aibemu.events import Emit, Kind
from aibemu.files import FileLock, write_json
from aibemu.process_id import find_processes
from aibemu.records import read_json
from aibemu.runs.store import Run, RunStore
from aibemu.text import short

FILE = "admission.json"
LOCK = ".admission.lock"
# Seconds between two looks of a run that waits.
LOOK_EVERY = 1.0
# Seconds between two tries to get the lock, which is held for milliseconds.
_LOCK_EVERY = 0.02
_REMEDY = "set memory_cap_mib lower, or choose a smaller vmSize"


class Capacity(Protocol):
    """What the host of the machines has, in MiB: in all, and free for machines now (what `HypervisorDriver.capacity`
    gives)."""

    @property
    def memory_mib(self) -> int: ...

    @property
    def free_mib(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Memory that another run has for its machine."""

    run: str
    # What it recorded, and what its machine has touched of that.
    memory_mib: int
    used_mib: int
    # Whether a process builds that run. If not, its machine was kept.
    building: bool = True
    # Whether it asks a person something meanwhile.
    asking: bool = False

    def __str__(self) -> str:
        if self.asking:
            return f"run {self.run}, which waits for an answer, holds {self.memory_mib} MiB (aibemu resume {self.run})"
        if self.building:
            return f"run {self.run} holds {self.memory_mib} MiB"
        return f"the kept machine of run {self.run} holds {self.memory_mib} MiB (aibemu destroy {self.run})"


class Verdict(Enum):
    """FITS: go. BUSY: go, though it may get tight, for nothing that ends by itself holds the rest. WAIT: do."""

    FITS = "fits"
    BUSY = "busy"
    WAIT = "wait"


def memory_left(free_mib: int, reserve_mib: int, held: Sequence[Held]) -> int:
    """MiB that one more machine may have; less than 0 where too much was promised already."""
    return free_mib - reserve_mib - sum(max(0, one.memory_mib - one.used_mib) for one in held)


def decide(need_mib: int, left_mib: int, held: Sequence[Held]) -> Verdict:
    """What a run does that needs a machine of `need_mib`, beside those who hold memory."""
    if need_mib <= left_mib:
        return Verdict.FITS
    return Verdict.WAIT if any(one.building and not one.asking for one in held) else Verdict.BUSY


def check_fits(need_mib: int, capacity: Capacity, reserve_mib: int) -> None:
    """`HostNotReady` for a machine that can never have what it needs on this host. To be asked before there is a run,
    too: then nothing was begun."""
    most = capacity.memory_mib - reserve_mib
    if need_mib > most:
        raise HostNotReady(
            f"the machine needs {need_mib} MiB of memory, but this host has only {capacity.memory_mib} MiB, "
            f"of which {reserve_mib} MiB are kept for the host itself",
            hint=f"{_REMEDY}: at most {max(0, most)} MiB",
        )


def memory_in_use(run: Run) -> int | None:
    """MiB that the machines of a run have touched on this host; None if no process of theirs is there.

    Known by the machine's id, which the hypervisor's command line has: of any driver whose hypervisor runs here.
    """
    found = find_processes("", f"{run.id}-")
    return sum(_resident_kib(one.pid) for one in found) // 1024 if found else None


def _resident_kib(pid: int) -> int:
    """Memory that nobody else can have as long as the process lives: neither files nor what was swapped out."""
    try:
        lines = Path("/proc", str(pid), "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # it has just ended
        return 0
    sizes = dict(line.split(":", 1) for line in lines if ":" in line)
    return sum(int(sizes[name].split()[0]) for name in ("RssAnon", "RssShmem") if name in sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Leave for one run to have a machine. As a context it ends with the block."""

    run: Run
    memory_mib: int
    # Seconds for which the run waited for it.
    waited: float
    used: Callable[[Run], int | None] = field(default=memory_in_use, repr=False)

    def release(self) -> None:
        """Give it back, once the run's machines are gone. What a kept machine may take stays recorded, and counts until
        the machine's process ends. May be called again."""
        if self.used(self.run) is None:
            _record(self.run).unlink(missing_ok=True)

    def __enter__(self) -> Admission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def admit(
    runs: RunStore, run: Run, need: int, *, capacity: Callable[[], Capacity], deadline: Deadline, emit: Emit,
    reserve: int = 0, used: Callable[[Run], int | None] = memory_in_use,
) -> Admission:  # fmt: skip
    """Let `run`, whose lock this process holds and which has no machine now, have one of `need` MiB; wait if it must.

    A run may ask again, for another attempt: what it had before is given back first. reserve: MiB that stay free for
    the host. `HostNotReady` if it can never fit; while it waits, what `deadline.check` raises (one without the build's
    end keeps the wait from being the build's time). `emit` hears of a wait, of its end, and of memory that may get
    tight.
    """
    check_fits(need, capacity(), reserve)
    asking = _Asking(runs=runs, run=run, need=need, reserve=reserve, capacity=capacity, used=used)
    clock = deadline.clock
    began = clock.monotonic()
    told = False
    while (answer := asking.ask()) is None or answer.verdict is Verdict.WAIT:
        if answer and not told:
            told = True
            emit(Kind.NOTICE, level="note", message=f"waiting for memory: {answer}", awaited=f"memory: {answer}")
        deadline.sleep(LOOK_EVERY if answer else _LOCK_EVERY)
    waited = clock.monotonic() - began
    if told:
        message = f"there is memory for the machine now ({need} MiB): going on after {short(waited)}"
        emit(Kind.NOTICE, level="note", message=message, awaited="")
    if answer.verdict is Verdict.BUSY:
        message = f"memory may get tight: {answer}; if the host gets slow or ends the machine, {_REMEDY}"
        emit(Kind.NOTICE, level="warning", message=message)
    return Admission(run=run, memory_mib=need, waited=waited, used=used)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What one look at the host and the other runs came to."""

    verdict: Verdict
    need_mib: int
    left_mib: int
    held: tuple[Held, ...]

    def __str__(self) -> str:
        who = "; ".join(map(str, self.held)) or "other programs use the rest"
        return f"the machine needs {self.need_mib} MiB, {max(0, self.left_mib)} MiB are left; {who}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """One run that wants a machine."""

    runs: RunStore
    run: Run
    need: int
    reserve: int
    capacity: Callable[[], Capacity]
    used: Callable[[Run], int | None]

    def ask(self) -> _Answer | None:
        """Look, decide, and record what is taken; None while another run does so."""
        lock = FileLock(self.runs.directory / LOCK)
        if not lock.acquire(blocking=False):
            return None
        try:
            held = self._held()
            left = memory_left(self.capacity().free_mib, self.reserve, held)
            verdict = decide(self.need, left, held)
            if verdict is Verdict.WAIT:
                # Two that wait and each hold what the other one waits for would wait for ever.
                _record(self.run).unlink(missing_ok=True)
            else:
                write_json(_record(self.run), {"memory_mib": self.need})
            return _Answer(verdict=verdict, need_mib=self.need, left_mib=left, held=held)
        finally:
            lock.release()

    def _held(self) -> tuple[Held, ...]:
        """What other runs have. A record counts while its run is being built or has a machine: one that died has
        neither."""
        found = []
        for file in sorted(self.runs.directory.glob(f"*/{FILE}")):
            other = Run(file.parent)
            taken, asking = _taken(file) if other.id != self.run.id else (0, False)
            if not taken:
                continue
            building, used = other.alive(), self.used(other)
            if building or used is not None:
                found.append(
                    Held(
                        run=other.id, memory_mib=taken, used_mib=used or 0, building=building,
                        asking=building and asking,
                    )
                )  # fmt: skip
        return tuple(found)


@contextmanager
def waiting_for_a_person(run: Run) -> Iterator[None]:
    """No other run waits for this one inside: it does not end by itself, and a person may be away overnight."""
    file = _record(run)
    memory_mib, _ = _taken(file)
    if memory_mib:
        write_json(file, {"memory_mib": memory_mib, "asking": True})
    try:
        yield
    finally:
        if memory_mib:
            write_json(file, {"memory_mib": memory_mib})


def forget(run: Run) -> None:
    """Its machines are gone."""
    _record(run).unlink(missing_ok=True)


def _record(run: Run) -> Path:
    return run.directory / FILE


def _taken(file: Path) -> tuple[int, bool]:
    """MiB, 0 for a file that is gone, or that is no such record; and whether a person is asked."""
    try:
        value = read_json(file)
    except (OSError, ValueError):
        return 0, False
    found = value.get("memory_mib") if isinstance(value, dict) else None
    return (max(0, found), value.get("asking") is True) if isinstance(found, int) else (0, False)
