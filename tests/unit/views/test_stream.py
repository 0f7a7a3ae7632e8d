"""Standard error that can be given up: on real pipes, sockets and terminals."""

from __future__ import annotations

import io
import os
import pty
import socket
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

from aibemu.clock import SystemClock
from aibemu.events import Event
from aibemu.views import queued
from aibemu.views.live import LiveView
from aibemu.views.plain import PlainView
from aibemu.views.queued import QueuedView
from aibemu.views.stream import SHOW_CURSOR, ReleasableStream, give_up, releasable
from tests.unit.views.test_console_views import STORY

PATIENCE = 30


class Other:
    """The other end of a stream: `stream` is what the program has as its standard error."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader, self.stream = reader, os.fdopen(writer, "w", encoding="utf-8", errors="backslashreplace")

    def read(self, end: str) -> str:
        """Everything up to `end`."""
        seen = b""
        while not seen.endswith(end.encode()):
            seen += os.read(self.reader, 65536)
        return seen.decode()


def _pipe() -> Other:
    return Other(*os.pipe())


def _socket() -> Other:
    ours, theirs = socket.socketpair()
    return Other(ours.detach(), theirs.detach())


def _terminal() -> Other:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    return Other(ours, theirs)


@pytest.fixture(params=[_pipe, _socket, _terminal], ids=["pipe", "socket", "terminal"])
def other(request: pytest.FixtureRequest) -> Iterator[Other]:
    made = request.param()
    yield made
    os.close(made.reader)


@pytest.fixture
def terminal() -> Iterator[Other]:
    made = _terminal()
    yield made
    os.close(made.reader)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def ended(thread: threading.Thread) -> bool:
    thread.join(PATIENCE)
    return not thread.is_alive()


def test_what_is_written_arrives_whole_however_slowly_it_is_read(other: Other) -> None:
    text = "é" * 200_000 + "\udcff.\n"
    with releasable(other.stream) as stream:
        assert isinstance(stream, ReleasableStream)
        assert stream.encoding == "utf-8" and stream.isatty() is other.stream.isatty()
        writing = in_thread(lambda: stream.write(text))
        assert other.read(".\n") == "é" * 200_000 + "\\udcff.\n"
        assert ended(writing)
    other.stream.write("later\n")
    other.stream.flush()
    assert other.read("later\n") == "later\n"


def test_the_shells_own_description_stays_as_it_is(other: Other) -> None:
    with releasable(other.stream) as stream:
        stream.write("x")
        assert os.get_blocking(other.stream.fileno())


def test_a_write_that_waits_is_released(other: Other) -> None:
    began = threading.Event()

    def work() -> None:
        with releasable(other.stream) as stream:
            give.append(stream)
            began.set()
            stream.write("x" * (4 << 20))
            stream.write("nothing more")

    give: list[TextIO] = []
    writing = in_thread(work)
    assert began.wait(PATIENCE)
    os.read(other.reader, 1)
    writing.join(0.1)
    assert writing.is_alive()
    give_up(give[0])
    if other.stream.isatty():  # it is told to who sits there, once there is room
        assert other.read("in the logs of the run\n").endswith(
            SHOW_CURSOR + "\nthe terminal was stopped: what it did not show is in the logs of the run\n"
        )
    assert ended(writing)
    if not other.stream.isatty():
        assert ended(in_thread(lambda: print("y" * (4 << 20), file=other.stream, flush=True)))


def test_a_reader_that_has_left_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    made = _pipe()
    with releasable(made.stream) as stream:
        os.close(made.reader)
        with pytest.raises(BrokenPipeError):
            stream.write("x")


def test_other_streams_are_left_alone(tmp_path: Path) -> None:
    text = io.StringIO()
    with releasable(text) as stream:
        assert stream is text
        give_up(stream)
    with (tmp_path / "log").open("w") as file, releasable(file) as stream:
        assert stream is file


def later(stopped: Other, view: LiveView | PlainView, events: list[Event]) -> QueuedView:
    made = QueuedView(view, read_on=lambda after: (), failed=lambda view, error: None)
    for event in events:
        made.on_event(event)
    return made


def test_a_live_view_on_a_terminal_that_was_stopped_ends_and_leaves_it_in_order(
    terminal: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(queued, "STALLED", 0.05)
    monkeypatch.setattr(queued, "RELEASED", PATIENCE)
    made: list[QueuedView] = []
    closed = threading.Event()

    def build() -> None:
        with releasable(terminal.stream) as stream:
            made.append(later(terminal, LiveView(stream, SystemClock()), STORY[:2]))
            made[0].flush(PATIENCE)
            termios.tcflow(terminal.stream.fileno(), termios.TCOOFF)  # Ctrl-S
            for event in STORY[2:]:
                made[0].on_event(event)
            made[0].close()
            closed.set()

    building = in_thread(build)
    assert closed.wait(PATIENCE), "the end of the run waits for the terminal"
    assert made[0]._thread is not None and not made[0]._thread.is_alive()
    termios.tcflow(terminal.stream.fileno(), termios.TCOON)  # Ctrl-Q
    text = terminal.read("in the logs of the run\n")
    assert ended(building)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_what_two_write_at_once_is_not_torn() -> None:
    """Two views have a thread each: an annotation in the midst of a line is none for GitHub."""
    other = _pipe()
    with releasable(other.stream) as stream:
        long, short = "x" * 20_000 + "\n", "::error::y\n"
        writers = [in_thread(lambda text=text, times=times: [stream.write(text) for _ in range(times)])  # type: ignore[misc]
                   for text, times in ((long, 20), (short, 500))]  # fmt: skip
        seen = b""
        while len(seen) < 20 * len(long) + 500 * len(short):
            seen += os.read(other.reader, 65536)
        assert all(ended(writer) for writer in writers)
    os.close(other.reader)
    assert set(seen.decode().splitlines(keepends=True)) == {long, short}
