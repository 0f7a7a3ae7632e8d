"""A process of ours, beyond doubt: pid plus start time plus boot, so that a recycled pid is never taken for it.

Signals go through a pidfd (Linux 5.3): between looking and signalling, the pid cannot change hands.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_STATE = 0  # fields of /proc/PID/stat after the command's name, which may itself hold blanks and brackets
_START_TIME = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """Which process: its pid, when it started (clock ticks after boot) and in which boot of this host."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The living process `pid`; None when there is none or only its zombie."""
        try:
            stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat.rpartition(")")[2].split()
        if fields[_STATE] in "ZXx":
            return None
        return cls(pid=pid, started=int(fields[_START_TIME]), boot=boot_id())

    @classmethod
    def mine(cls) -> ProcessId:
        """This process."""
        found = cls.of(os.getpid())
        assert found is not None, "a process that asks is alive"
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ProcessId:
        return cls(pid=int(value["pid"]), started=int(value["started"]), boot=str(value["boot"]))

    def as_json(self) -> dict[str, Any]:
        return {"pid": self.pid, "started": self.started, "boot": self.boot}

    def mark(self) -> str:
        """Short text for names of files: `PID-START-BOOT`, the latter two in hexadecimal digits, the boot cut short."""
        return f"{self.pid}-{self.started:x}-{self.boot[:8]}"

    def started_at(self) -> float:
        """When it started, in seconds since 1970 by the clock as it is now: it may have been set meanwhile."""
        lines = (_PROC / "stat").read_text(encoding="ascii").splitlines()
        booted = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
        return booted + self.started / os.sysconf("SC_CLK_TCK")

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessId.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process and no other; no error if it has ended."""
        with self._handle() as handle, contextlib.suppress(ProcessLookupError):
            if handle is not None:
                signal.pidfd_send_signal(handle, number)

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended; False if it has not after `seconds`. A child of ours is reaped."""
        with self._handle() as handle:
            if handle is not None:
                poll = select.poll()
                poll.register(handle, select.POLLIN)
                poll.poll(seconds * 1000)
        if self.is_alive():
            return False
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return True

    @contextlib.contextmanager
    def _handle(self) -> Iterator[int | None]:
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return
        try:  # asked after opening: if it is ours now, the handle is ours for good
            yield handle if self.is_alive() else None
        finally:
            os.close(handle)


def boot_id() -> str:
    """What changes with each boot of this host."""
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def command_line(process: ProcessId) -> list[str]:
    """The program and its arguments; empty when it has ended, or is another user's whose words are hidden."""
    try:
        words = (_PROC / str(process.pid) / "cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []
    return [os.fsdecode(word) for word in words] if process.is_alive() else []


def find_processes(program: str, argument: str) -> list[ProcessId]:
    """Living processes whose program's name starts with `program` and that have `argument` inside one argument.

    For the instant between starting a process and noting its pid: the command line names the machine too.
    """
    wanted = os.fsencode(argument)
    return _find(program, lambda words: any(wanted in word for word in words))


def find_by_words(program: str, *arguments: str) -> list[ProcessId]:
    """The same for processes that have each of `arguments` as a whole argument."""
    wanted = set(map(os.fsencode, arguments))
    return _find(program, lambda words: wanted <= set(words))


def _find(program: str, named: Callable[[list[bytes]], bool]) -> list[ProcessId]:
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        name = os.path.basename(words[0]).decode(errors="replace")  # noqa: PTH119 (bytes)
        if name.startswith(program) and named(words[1:]) and (identity := ProcessId.of(int(entry.name))):
            found.append(identity)
    return found
