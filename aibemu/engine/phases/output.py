"""What a step prints, on its way to the record: counted as Packer's log does, and bounded."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from aibemu.communicators import Stream
from aibemu.events import Emit, Kind
from aibemu.redact import AROUND, cut_by_shape
from aibemu.text import counted

# Bytes of a step's output that a layer keeps, for the log of a build that takes the step from it.
MOST_REMEMBERED = 4 * 2**20
# What each line takes in a layer besides its text; and in the record and the log.
OF_A_LINE = 40
OF_A_RECORDED_LINE = 200
# Of what is too much for the record its last lines are kept, for they say why a step failed; so much of each.
LAST_LINES, LAST_CHARACTERS = 200, 4000


class Lines(Protocol):
    """Takes what one step prints, and what is said of it."""

    def __call__(self, stream: Stream, line: str) -> None: ...

    def say(self, text: str) -> None: ...

    def command(self, command: str, exit_code: int | None) -> None: ...


class Unheard:
    """`Lines` of what was told when the step ran."""

    def __call__(self, stream: Stream, line: str) -> None:
        return None

    def say(self, text: str) -> None:
        return None

    def command(self, command: str, exit_code: int | None) -> None:
        return None


@dataclass(slots=True, kw_only=True)
class Output:
    """Takes each line of one step: an `aibemu.communicators.OnLine`. `finish` it before the step's end is recorded.

    most: bytes that the step's output may take in the record (setting `output_limit`), 0 for no bound. check: asked
    after each line, for whoever talks to the guest, and however, a step that prints without end can be stopped between
    two lines. passing: gets the text of a line that has no end yet. cut: see `aibemu.communicators.cut_of`.
    """

    emit: Emit
    most: int = 0
    check: Callable[[], object] = lambda: None
    passing: Callable[..., object] = lambda **_: None
    cut: Callable[[str, int], int] = cut_by_shape
    sent: Counter[str] = field(default_factory=Counter)
    # What a layer keeps of it, and how much memory that takes, roughly: empty lines take some, too.
    said: list[dict[str, str]] = field(default_factory=list)
    kept: int = 0
    recorded: int = 0
    left_out: int = 0
    _sent_before: dict[str, int] = field(default_factory=dict)
    _last: deque[tuple[Stream, str]] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    def __call__(self, stream: Stream, line: str) -> None:
        size = len(line.encode("utf-8", "replace"))
        self.sent[stream.value] += size + 1
        if self.kept < MOST_REMEMBERED:
            self.kept += size + OF_A_LINE
            self.said.append({"stream": stream.value, "line": line})
        if self._has_room(line):
            self.emit(Kind.STEP_OUTPUT, stream=stream.value, line=line)
        else:
            self._leave_out(stream, line)
        self.check()

    def say(self, text: str) -> None:
        """What Packer says of the step, in the midst of it. It is not the guest's, and counts as none of its bytes."""
        self.emit(Kind.STEP_OUTPUT, stream=Stream.STDOUT.value, line=text, by="packer")
        self.said.append({"stream": Stream.STDOUT.value, "line": text, "by": "packer"})
        self.check()

    def command(self, command: str, exit_code: int | None) -> None:
        """For the log: a command of a step that has several starts (None), or has ended."""
        sent = {stream.value: self.sent[stream.value] for stream in Stream}
        if exit_code is None:
            self._sent_before = sent
        this = {stream: size - self._sent_before.get(stream, 0) for stream, size in sent.items()}
        self.emit(Kind.STEP_COMMAND, command=command, exit_code=exit_code, bytes=this)

    def unfinished(self, stream: Stream, text: str) -> None:
        """See `aibemu.communicators.unfinished_of`. In the record there are whole lines only, as in Packer's log."""
        self.passing(text=text)

    def _leave_out(self, stream: Stream, line: str) -> None:
        if not self.left_out:
            text = f"this step has printed more than {self.most >> 20} MiB: of the rest only the last lines are kept"
            self._tell(f"{text} (setting output_limit)", 0)
        self.left_out += 1
        self._last.append((stream, line[: LAST_CHARACTERS + AROUND]))

    def finish(self) -> None:
        """No more comes: put the last lines into the record, after how many are left out before them."""
        if lost := self.left_out - len(self._last):
            self._tell(f"{counted(lost, 'line')} left out here", lost)
        for stream, line in self._last:
            self.emit(Kind.STEP_OUTPUT, stream=stream.value, line=line[: self.cut(line, LAST_CHARACTERS)])
        self._last.clear()

    def _has_room(self, line: str) -> bool:
        if not self.most:
            return True
        if self.left_out:
            return False
        self.recorded += len(json.dumps(line, ensure_ascii=False)) + OF_A_RECORDED_LINE
        return self.recorded <= self.most

    def _tell(self, text: str, lines: int) -> None:
        self.emit(Kind.STEP_OUTPUT, stream=Stream.STDERR.value, line=f"[aibemu: {text}]", left_out=lines)
