"""Views with threads of their own: nobody waits for them, and they miss nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import CancelToken, SystemClock
from aibemu.events import Event, Kind
from aibemu.runs.mailbox import watch
from aibemu.runs.record import RecordReader, read_events
from aibemu.runs.store import Run
from aibemu.telemetry import Telemetry
from aibemu.views import queued
from aibemu.views.ndjson import NdjsonView
from aibemu.views.queued import QueuedView

PATIENCE = 30  # seconds


class Reader:
    """A view that shows nothing until it is let go on. `began` is released with each event that it gets."""

    def __init__(self, *, blocked: bool = True) -> None:
        self.go_on = threading.Event()
        self.began = threading.Semaphore(0)
        self.events: list[Event] = []
        self.threads: set[threading.Thread] = set()
        self.closed = 0
        if not blocked:
            self.go_on.set()

    def on_event(self, event: Event) -> None:
        self.threads.add(threading.current_thread())
        self.began.release()
        assert self.go_on.wait(PATIENCE)
        self.events.append(event)

    def close(self) -> None:
        self.closed += 1

    @property
    def numbers(self) -> list[int]:
        return [event.seq for event in self.events]


class Patient(Reader):
    """One that can be given up."""

    def give_up(self) -> None:
        self.go_on.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.ndjson"


@pytest.fixture
def chain(path: Path) -> Callable[..., Telemetry]:
    def make(*shown: Any, record: bool = True) -> Telemetry:
        views = [NdjsonView(path)] if record else []
        read_on = lambda: RecordReader(path).after  # noqa: E731
        return Telemetry("r", views, SystemClock(), lambda value: value, shown=shown, read_on=read_on)

    return make


def say(chain: Telemetry, count: int) -> None:
    for number in range(count):
        chain.emit(Kind.NOTICE, level="note", message=f"é{number}")


def test_nobody_waits_for_a_view_that_is_blocked_and_it_misses_nothing(
    chain: Callable[..., Telemetry], path: Path
) -> None:
    blocked, free = Reader(), Reader(blocked=False)
    telemetry = chain(blocked, free)
    for view in telemetry._queued:
        view._room = 5
    say(telemetry, 1)
    assert blocked.began.acquire(timeout=PATIENCE)
    say(telemetry, 100)  # returns, though its view does not
    telemetry._queued[1].flush(PATIENCE)
    assert len(free.events) == 101 and blocked.events == []
    assert len(telemetry._queued[0]._waiting) == 5
    blocked.go_on.set()
    say(telemetry, 20)
    telemetry.close()
    assert blocked.events == free.events == list(read_events(path))
    assert blocked.numbers == list(range(1, 122))
    assert blocked.closed == free.closed == 1
    assert len(blocked.threads) == 1 and threading.current_thread() not in blocked.threads


def test_many_emitters_and_a_view_that_lags_behind(chain: Callable[..., Telemetry], path: Path) -> None:
    lagging = Reader()
    telemetry = chain(lagging)
    telemetry._queued[0]._room = 3
    threads = [threading.Thread(target=say, args=(telemetry, 50)) for _ in range(4)]
    for thread in threads:
        thread.start()
    lagging.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    telemetry.close()
    assert lagging.numbers == list(range(1, 201))
    assert lagging.events == list(read_events(path))


def test_the_queue_is_used_again_after_the_record_was_read(chain: Callable[..., Telemetry], path: Path) -> None:
    view = Reader()
    telemetry = chain(view)
    telemetry._queued[0]._room = 2
    say(telemetry, 10)
    view.go_on.set()
    telemetry.flush()
    path.unlink()  # from here on nothing can be read on
    say(telemetry, 1)
    telemetry.close()
    assert view.numbers == list(range(1, 12))


def test_what_is_not_in_the_record_either_is_counted(chain: Callable[..., Telemetry]) -> None:
    view = Reader()
    telemetry = chain(view, record=False)
    telemetry._queued[0]._room = 2
    say(telemetry, 1)
    assert view.began.acquire(timeout=PATIENCE)
    say(telemetry, 9)
    view.go_on.set()
    telemetry.flush()
    say(telemetry, 1)
    telemetry.close()
    assert [event.fields["message"] for event in view.events] == [
        "é0", "é0", "é1",
        "7 events are not shown: they came faster than they could be shown, and the record lacks them", "é0",
    ]  # fmt: skip
    assert view.events[3].fields["level"] == "warning"


def test_a_view_that_raises_is_switched_off_with_a_warning(chain: Callable[..., Telemetry], path: Path) -> None:
    class Broken(Reader):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            raise BrokenPipeError(32, "Broken pipe")

    broken, good = Broken(blocked=False), Reader(blocked=False)
    telemetry = chain(broken, good)
    say(telemetry, 1)
    telemetry.flush()
    say(telemetry, 3)
    telemetry.close()
    words = "Broken was switched off: BrokenPipeError: [Errno 32] Broken pipe"
    (warning,) = [event for event in read_events(path) if event.fields["message"] == words]
    assert warning.fields["level"] == "warning"
    assert good.events == list(read_events(path))
    assert (len(broken.events), broken.closed) == (1, 1)


def test_a_view_that_fails_at_the_very_end_is_told_too(chain: Callable[..., Telemetry], path: Path) -> None:
    class Late(Reader):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            raise ValueError("late")

    late = Late()
    telemetry = chain(late)
    say(telemetry, 1)
    closing = threading.Thread(target=telemetry.close)
    closing.start()
    late.go_on.set()
    closing.join(PATIENCE)
    assert [event.fields["message"] for event in read_events(path)] == ["é0", "Late was switched off: ValueError: late"]


def test_flush_waits_for_what_was_emitted_and_not_for_ever(
    chain: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    view = Reader()
    telemetry = chain(view)
    telemetry.flush()  # nothing to wait for
    say(telemetry, 3)
    monkeypatch.setattr("aibemu.telemetry.FLUSH", 0.05)
    telemetry.flush()
    assert view.events == []
    monkeypatch.undo()
    flushed = threading.Thread(target=telemetry.flush)
    flushed.start()
    view.go_on.set()
    flushed.join(PATIENCE)
    assert view.numbers == [1, 2, 3]
    telemetry.close()


@pytest.mark.parametrize("kind", [Reader, Patient])
def test_the_end_does_not_wait_for_a_view_that_is_blocked(
    chain: Callable[..., Telemetry], path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Reader]
) -> None:
    monkeypatch.setattr(queued, "STALLED", 0.05)
    monkeypatch.setattr(queued, "RELEASED", PATIENCE if kind is Patient else 0.05)
    view = kind()
    telemetry = chain(view)
    say(telemetry, 10)
    telemetry.close()
    assert len(list(read_events(path))) == 10
    assert view.closed == (1 if kind is Patient else 0)
    assert len(view.events) <= 1, "what it was blocked in, and nothing after"
    view.go_on.set()


def test_the_end_of_a_build_that_was_stopped_waits_for_no_view_for_long(
    chain: Callable[..., Telemetry], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much it still has to show, and although it goes on showing."""
    monkeypatch.setattr(queued, "STALLED_SOON", 0.05)
    over = threading.Event()

    class Slow(Patient):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            over.wait(0.1)

        def give_up(self) -> None:
            over.set()

    view = Slow(blocked=False)
    telemetry = chain(view)
    say(telemetry, 100)
    telemetry.close(soon=True)
    assert over.is_set() and len(view.events) < 100
    assert len(list(read_events(path))) == 100


def test_the_end_waits_for_a_view_that_is_slow(chain: Callable[..., Telemetry]) -> None:
    """It is given up only when it showed nothing for a while: here it shows one event in each while."""
    turns, shown = threading.Semaphore(0), threading.Semaphore(0)

    class Slow(Patient):
        def on_event(self, event: Event) -> None:
            shown.release()  # the event before this one
            assert turns.acquire(timeout=PATIENCE)
            super().on_event(event)

    slow = Slow(blocked=False)
    telemetry = chain(slow)
    say(telemetry, 5)
    assert shown.acquire(timeout=PATIENCE)
    thread = telemetry._queued[0]._thread
    assert thread is not None

    def join(seconds: float) -> None:
        turns.release()
        if len(slow.events) < 4:
            assert shown.acquire(timeout=PATIENCE)
        else:
            threading.Thread.join(thread, PATIENCE)

    thread.join = join  # type: ignore[method-assign, assignment]
    telemetry.close()
    assert slow.numbers == [1, 2, 3, 4, 5]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    yield Run(tmp_path)


def test_a_cancel_is_heard_while_a_view_is_blocked(chain: Callable[..., Telemetry], run: Run) -> None:
    view, token, said = Reader(), CancelToken(), threading.Event()
    telemetry = chain(view)
    say(telemetry, 1)
    assert view.began.acquire(timeout=PATIENCE)

    def canceling() -> None:
        telemetry.emit(Kind.RUN_STATE, state="Canceling", sub_state="", message="")
        said.set()

    with watch(run, token, canceling):
        run.request_cancel()
        assert said.wait(PATIENCE)
    assert token
    assert '"Canceling"' in run.events_file.read_text()
    view.go_on.set()
    telemetry.close()


def test_a_view_that_got_nothing_is_closed(path: Path) -> None:
    view = Reader()
    QueuedView(view, read_on=lambda after: (), failed=lambda view, error: None).close()
    assert view.closed == 1 and view.threads == set()


def test_views_and_record_tell_the_same(chain: Callable[..., Telemetry], path: Path) -> None:
    view = Reader(blocked=False)
    telemetry = chain(view)
    with telemetry.phase("customize"), telemetry.step("c1"):
        telemetry.emit(Kind.STEP_OUTPUT, stream="stdout", line="x")
    telemetry.close()
    assert [event.as_json() for event in view.events] == [json.loads(path.read_text())]
