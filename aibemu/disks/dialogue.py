"""A host program that is kept open and asked by its standard input: one start for hundreds of questions.

It ends at the end of its input, so also when aibemu is killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from aibemu.clock import Deadline
from aibemu.errors import Expired
from aibemu.processes import find_program, stop_group

# Milliseconds in one look for more of an answer; it ends at once when there is some.
_LOOK_MS = 20
_BLOCK = 1 << 20
_SAID = 4096  # bytes of complaints
# Bytes: an answer comes from a disk that may hold anything, a sparse file of a terabyte too.
MOST = 64 << 20


class NoAnswer(Exception):
    """The program ended, took too long or said too much: `why`. said, last: the beginning and the end of what it
    complained of since. hung: it may run still."""

    def __init__(self, why: str, said: str, *, last: str = "", hung: bool = False) -> None:
        super().__init__(f"{why}: {said}" if said else why)
        self.why = why
        self.said = said
        self.last = last
        self.hung = hung


class Dialogue:
    """One running program, for one thread. A context manager: leaving it ends the program."""

    def __init__(self, argv: Sequence[str | Path], *, patience: float, env: Mapping[str, str] | None = None) -> None:
        """patience: seconds that it gets to end by itself. `HostNotReady` when it is not installed."""
        self._patience = patience
        self._err = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        self._complaints = 0  # bytes of it that belong to earlier questions
        try:
            self._process = subprocess.Popen(
                [find_program(str(argv[0])), *argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=self._err, bufsize=0, start_new_session=True, env=None if env is None else dict(env),
            )  # fmt: skip
        except BaseException:
            self._err.close()
            raise

    def ask(self, command: bytes, answered: Callable[[bytearray], bool], deadline: Deadline) -> bytearray:
        """Write `command`; all that the program says from then on until it `answered`, as that judges what was heard.

        Raises `NoAnswer` when it ends before that, says more than `MOST` or `deadline`'s bound passes, and a cancel or
        the build's timeout.
        """
        exchange = _Exchange(self._process, command)
        try:
            deadline.poll(lambda: exchange.go_on() and answered(exchange.heard), every=0)
        except BrokenPipeError:
            raise self._no_answer("it ended") from None
        except Expired:
            raise self._no_answer("it does not answer", hung=True) from None
        except _Ended as error:
            raise self._no_answer(str(error)) from None
        self._complaints = os.fstat(self._err.fileno()).st_size
        return exchange.heard

    def _no_answer(self, why: str, *, hung: bool = False) -> NoAnswer:
        end = max(os.fstat(self._err.fileno()).st_size - _SAID, self._complaints)
        first, last = (
            os.pread(self._err.fileno(), _SAID, at).decode(errors="replace").strip() for at in (self._complaints, end)
        )
        return NoAnswer(why, first, last=last, hung=hung)

    def close(self) -> None:
        """By the end of its input, for then it removes its own temporary files; if it does not listen, by signals."""
        assert self._process.stdin is not None and self._process.stdout is not None
        if self._err.closed:
            return
        with self._err:
            self._process.stdin.close()
            self._process.stdout.close()  # or it would wait for somebody to read the rest of an answer
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._patience)
            stop_group(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Ended(Exception):
    """There will be no more of an answer; why."""


class _Exchange:
    """One question and what is said after it. It is written as far as it is read: neither side waits for the other."""

    def __init__(self, process: subprocess.Popen[bytes], command: bytes) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._input, self._output = process.stdin.fileno(), process.stdout.fileno()
        self._left = memoryview(command)
        self.heard = bytearray()
        os.set_blocking(self._input, False)
        self._ready = select.poll()
        self._ready.register(self._output, select.POLLIN)
        self._ready.register(self._input, select.POLLOUT)

    def go_on(self) -> bool:
        """Write and read what can be without waiting long; True once all is written."""
        for stream, _ in self._ready.poll(_LOOK_MS):
            if stream == self._output:
                self._read()
            else:
                self._write()
        return not self._left

    def _write(self) -> None:
        self._left = self._left[os.write(self._input, self._left) :]
        if not self._left:
            self._ready.unregister(self._input)

    def _read(self) -> None:
        block = os.read(self._output, _BLOCK)
        if not block:
            raise _Ended("it ended")
        self.heard.extend(block)
        if len(self.heard) > MOST:
            raise _Ended(f"it says more than {MOST >> 20} MiB")
