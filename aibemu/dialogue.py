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


class NoAnswer(Exception):
    """The program ended, or took too long. Its text: the beginning of what it complained of, or else what happened."""


class Dialogue:
    """One running program, for one thread. A context manager: leaving it ends the program."""

    def __init__(self, argv: Sequence[str | Path], *, patience: float, env: Mapping[str, str] | None = None) -> None:
        """patience: seconds that it gets to end by itself. `HostNotReady` when it is not installed."""
        self._patience = patience
        self._err = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
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

        Raises `NoAnswer` when it ends before that or `deadline`'s bound passes, and a cancel or the build's timeout.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        stream, heard = self._process.stdout.fileno(), bytearray()
        more = select.poll()
        more.register(stream, select.POLLIN)

        def listen() -> bool:
            if more.poll(_LOOK_MS):
                block = os.read(stream, _BLOCK)
                if not block:
                    raise NoAnswer(self._complaint() or "it ended")
                heard.extend(block)
            return answered(heard)

        try:
            self._process.stdin.write(command)
            deadline.poll(listen, every=0)
        except BrokenPipeError:
            raise NoAnswer(self._complaint() or "it ended") from None
        except Expired:
            raise NoAnswer(self._complaint() or "it does not answer") from None
        return heard

    def _complaint(self) -> str:
        return os.pread(self._err.fileno(), 4096, 0).decode(errors="replace").strip()

    def close(self) -> None:
        """By the end of its input, for then it removes its own temporary files; if it does not listen, by signals."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._err, self._process.stdout:
            self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._patience)
            stop_group(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
