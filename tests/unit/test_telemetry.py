"""One chain: vocabulary, redaction, numbers without gaps, one order for all views, broken views switched off."""

from __future__ import annotations

import contextvars
import errno
import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibemu.clock import SystemClock
from aibemu.events import Event, Kind
from aibemu.telemetry import Telemetry, UnknownEvent
from aibemu.views.ndjson import MOST_OUTPUT, NdjsonView


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.closed = 0

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        self.closed += 1


class Fixed(SystemClock):
    def now(self) -> datetime:
        return datetime(2026, 11, 23, 10, 0, 0, 5, tzinfo=UTC)


def telemetry(*views: Any, redactor: Callable[[Any], Any] = lambda value: value, first: int = 1) -> Telemetry:
    return Telemetry("3f2c9a1b", list(views), Fixed(), redactor, first=first)


def test_an_event_has_run_time_number_phase_and_step() -> None:
    seen = Recorder()
    chain = telemetry(seen, first=7)
    with chain.phase("customize"), chain.step("c1"):
        chain.emit(Kind.STEP_OUTPUT, stream="stdout", line="hello")
    chain.emit(Kind.NOTICE, level="note", message="m")
    assert [event.as_json() for event in seen.events] == [
        {
            "v": 1, "seq": 7, "at": "2026-11-23T10:00:00.000005Z", "run": "3f2c9a1b", "kind": "step.output",
            "phase": "customize", "step": "c1", "stream": "stdout", "line": "hello",
        },
        {
            "v": 1, "seq": 8, "at": "2026-11-23T10:00:00.000005Z", "run": "3f2c9a1b", "kind": "notice",
            "level": "note", "message": "m",
        },
    ]  # fmt: skip


def test_the_vocabulary_is_closed() -> None:
    seen = Recorder()
    chain = telemetry(seen)
    with pytest.raises(UnknownEvent, match="no field colour, size"):
        chain.emit(Kind.NOTICE, message="m", size=1, colour="red")
    with pytest.raises(UnknownEvent, match=r"unknown event kind 'notice\.loud'"):
        chain.emit("notice.loud", message="m")  # type: ignore[arg-type]
    chain.emit(Kind.NOTICE, level="note", message="after")
    assert [event.seq for event in seen.events] == [1]


def test_every_view_gets_redacted_fields_only() -> None:
    one, two = Recorder(), Recorder()
    chain = telemetry(one, two, redactor=lambda fields: dict.fromkeys(fields, "***"))
    chain.emit(Kind.NOTICE, level="note", message="password hunter2")
    assert one.events == two.events
    assert one.events[0].fields["message"] == "***"


def test_a_view_that_raises_is_switched_off_and_the_others_are_told() -> None:
    class Broken(Recorder):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            raise OSError("disk full")

    broken, good = Broken(), Recorder()
    chain = telemetry(broken, good)
    chain.emit(Kind.NOTICE, level="note", message="one")
    chain.emit(Kind.NOTICE, level="note", message="two")
    assert [event.fields["message"] for event in good.events] == [
        "one", "Broken was switched off: OSError: disk full", "two",
    ]  # fmt: skip
    assert good.events[1].fields["level"] == "warning"
    assert [event.seq for event in good.events] == [1, 2, 3]
    assert (len(broken.events), broken.closed) == (1, 1)


def test_ctrl_c_in_a_view_reaches_the_caller_after_the_others_saw_the_event() -> None:
    class Interrupted(Recorder):
        def on_event(self, event: Event) -> None:
            raise KeyboardInterrupt

    good = Recorder()
    with pytest.raises(KeyboardInterrupt):
        telemetry(Interrupted(), good).emit(Kind.NOTICE, level="note", message="m")
    assert len(good.events) == 1


def test_a_view_that_emits_is_a_bug_not_a_deadlock() -> None:
    good = Recorder()

    class Echo(Recorder):
        def on_event(self, event: Event) -> None:
            chain.emit(Kind.NOTICE, level="note", message="echo")

    chain = telemetry(Echo(), good)
    chain.emit(Kind.NOTICE, level="note", message="m")
    assert "Echo was switched off: UnknownEvent" in good.events[1].fields["message"]


def test_close_closes_all() -> None:
    class Stubborn(Recorder):
        def close(self) -> None:
            raise OSError

    last = Recorder()
    telemetry(Stubborn(), last).close()
    assert last.closed == 1


@settings(max_examples=20, deadline=None)
@given(counts=st.lists(st.integers(min_value=0, max_value=20), min_size=1, max_size=5))
def test_numbers_are_gapless_and_the_order_is_the_same_in_all_views(counts: list[int]) -> None:
    views = [Recorder(), Recorder(), Recorder()]
    chain = telemetry(*views)

    def work(name: int, count: int) -> None:
        with chain.step(f"s{name}"):
            for number in range(count):
                chain.emit(Kind.STEP_OUTPUT, stream="stdout", line=str(number))

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(work, name, count))
        for name, count in enumerate(counts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.seq for event in views[0].events] == list(range(1, sum(counts) + 1))
    assert views[0].events == views[1].events == views[2].events
    for name, count in enumerate(counts):
        mine = [event.fields["line"] for event in views[0].events if event.step == f"s{name}"]
        assert mine == [str(number) for number in range(count)]


def test_the_record_takes_up_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "run" / "events.ndjson"
    view = NdjsonView(path)
    telemetry(view).emit(Kind.NOTICE, level="note", message="é\udcff\nx")
    view.close()
    view.close()
    with path.open("ab") as stream:
        stream.write(b'{"v": 1, "se')
    again = NdjsonView(path)
    telemetry(again, first=2).emit(Kind.RUN_FINISHED, state="Failed", sub_state="", message="", seconds=1.0, error=None)
    again.close()
    lines = path.read_bytes().split(b"\n")
    assert len(lines) == 4 and lines[3] == b""
    assert '"é?\\nx"' in lines[0].decode("utf-8")
    assert b'"seq":2' in lines[2]


def test_a_disk_that_is_full_for_a_while_costs_the_record_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.ndjson"
    view = NdjsonView(path)
    write = os.write

    def event(seq: int, kind: Kind = Kind.PHASE_STARTED) -> Event:
        return Event(seq=seq, at="", run="r", kind=kind, phase=None, step=None, fields={})

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 10:  # half a line fits
            return write(descriptor, bytes(data[:10]))
        raise OSError(errno.ENOSPC, "No space left on device")

    view.on_event(event(1))
    monkeypatch.setattr(os, "write", full)
    view.on_event(event(2))
    view.on_event(event(3))
    with pytest.raises(OSError, match="No space"):
        view.on_event(event(4, Kind.RUN_FINISHED))
    monkeypatch.undo()
    view.on_event(event(5))
    view.close()
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [1, 2, 3, 4, 5]


def test_a_disk_that_stays_full_costs_no_memory_and_the_record_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.ndjson"
    view = NdjsonView(path)

    def event(seq: int, kind: Kind = Kind.STEP_OUTPUT, **fields: Any) -> Event:
        return Event(seq=seq, at="", run="r", kind=kind, phase=None, step=None, fields=fields)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    view.on_event(event(1, line="first"))
    monkeypatch.setattr(os, "write", full)
    for seq in range(2, 40_002):
        view.on_event(event(seq, line="x" * 1000))
    view.on_event(event(40_002, Kind.PHASE_FINISHED, status="ok"))
    assert len(view._waiting) <= MOST_OUTPUT + 1000
    monkeypatch.undo()
    view.on_event(event(40_003, Kind.RUN_FINISHED))
    view.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    notice = next(line for line in lines if line["kind"] == "notice")
    kept = sum(line["kind"] == "step.output" for line in lines)
    assert notice["message"] == f"{40_001 - kept} events (lines of output) missing here: the disk was full"
    assert {"phase.finished", "run.finished"} <= {line["kind"] for line in lines}
