"""Reading records: how much of them is read and parsed, and that what is left out makes no difference."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibemu.clock import SystemClock
from aibemu.events import Event, Kind
from aibemu.paths import Home
from aibemu.records import parse_json
from aibemu.reports.fold import LAST_LINES, fold
from aibemu.runs.record import TAIL, RecordReader, has_end, read_events, read_outline
from aibemu.runs.store import Run, RunStore
from aibemu.runs.sweep import sweep
from aibemu.telemetry import Telemetry
from aibemu.views.ndjson import NdjsonView

LINES = 3000
END: Mapping[str, Any] = {"state": "Succeeded", "sub_state": "", "message": "", "seconds": 1.0, "error": None}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """Every line that was parsed."""
    seen: list[Mapping[str, Any]] = []

    def note(text: Any) -> Any:
        seen.append(parse_json(text))
        return seen[-1]

    monkeypatch.setattr("aibemu.runs.record.parse_json", note)
    return seen


def long_run(store: RunStore, *, end: bool = True, after: int = 0) -> Run:
    """A run whose steps printed `LINES` lines. after: notices after its end."""
    run, lock = store.create()
    lock.release()
    view = NdjsonView(run.events_file)
    chain = Telemetry(run.id, [view], SystemClock(), lambda value: value)
    step = {"id": "c1", "kind": "Shell", "label": "Install"}
    chain.emit(Kind.RUN_STARTED, template="demo", file="t.json", driver="scripted", steps=[step], targets=[])
    with chain.phase("customize"):
        chain.emit(Kind.PHASE_STARTED)
        with chain.step("c1"):
            chain.emit(Kind.STEP_STARTED, step_kind="Shell", label="Install", index=0, total=1)
            for number in range(LINES):
                chain.emit(Kind.STEP_OUTPUT, stream="stdout", line=f'line {number} {{"kind":"run.finished"}}')
    if end:
        chain.emit(Kind.RUN_FINISHED, **END)
    for number in range(after):
        chain.emit(Kind.NOTICE, level="warning", message=f"after {number}")
    chain.close()
    return run


def test_verbs_that_list_runs_parse_few_lines_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    parsed: list[Mapping[str, Any]],
) -> None:  # fmt: skip
    from aibemu.cli import main

    store = RunStore(Home.at(tmp_path).runs)
    made = [long_run(store) for _ in range(3)]
    monkeypatch.setenv("AIBEMU_HOME", str(tmp_path))
    parsed.clear()
    assert main.run(["status"]) == 0
    assert capsys.readouterr().out.count("Succeeded") == len(made)
    assert 0 < len(parsed) <= len(made) * (LAST_LINES + 10)


@pytest.mark.parametrize("after", [0, 3])
def test_a_finished_run_is_known_by_the_end_of_its_record(
    home: Home, monkeypatch: pytest.MonkeyPatch, parsed: list[Mapping[str, Any]], after: int
) -> None:
    run = long_run(RunStore(home.runs), after=after)
    assert run.events_file.stat().st_size > 2 * TAIL
    # So that whoever goes over all of it finds nothing.
    with run.events_file.open("r+b") as stream:
        stream.write(bytes(run.events_file.stat().st_size - TAIL))
    parsed.clear()
    assert run.finished()
    assert [value["kind"] for value in parsed] == ["run.finished"]
    assert sweep(home, SystemClock()) == []


def test_an_end_far_from_the_end_is_found_and_one_that_was_printed_is_none(home: Home) -> None:
    """A later version may write more after it, and a step may print what looks like it."""
    store = RunStore(home.runs)
    assert not long_run(store, end=False).finished()
    run = long_run(store, after=LINES)
    assert b'"run.finished"' not in run.events_file.read_bytes()[-TAIL:]
    assert run.finished()


def test_half_an_end_is_none(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    assert not has_end(path)
    line = json.dumps({"v": 1, "seq": 2, "at": "t", "run": "r", "kind": "run.finished", **END}).encode()
    for cut in range(len(line)):
        path.write_bytes(b'{"v": 1}\n' + line[:cut])
        assert not has_end(path), cut
    path.write_bytes(b'{"v": 1}\n' + line)
    assert has_end(path)


def test_a_run_that_died_is_ended_once_and_then_known_by_its_end(home: Home, parsed: list[Mapping[str, Any]]) -> None:
    run = long_run(RunStore(home.runs), end=False)
    (said,) = sweep(home, SystemClock())
    assert said.startswith(f"run {run.id} had died")
    parsed.clear()
    assert sweep(home, SystemClock()) == []
    assert len(parsed) <= 1


WRITTEN = st.lists(
    st.tuples(
        st.sampled_from(["output", "start", "finish", "torn", "notice", "spaced"]), st.sampled_from(["c1", "c2", "v1"]),
        st.integers(0, 30),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(story=WRITTEN, tail=st.integers(1, 25))
def test_an_outline_folds_to_the_same(tmp_path_factory: pytest.TempPathFactory, story: list[Any], tail: int) -> None:
    path = tmp_path_factory.mktemp("r") / "events.ndjson"
    number = 0

    def line(step: str, kind: str, compact: bool = True, **fields: Any) -> str:
        nonlocal number
        number += 1
        event = Event(
            seq=number, at=f"t{number}", run="r", kind=Kind(kind), phase="customize", step=step, fields=fields
        )
        return json.dumps(event.as_json(), separators=(",", ":") if compact else None)

    write: dict[str, Callable[[str, int], str]] = {
        "output": lambda s, n: "".join(
            line(s, "step.output", stream="stdout", line=f"{i}é}}") + "\n" for i in range(n)
        ),
        "spaced": lambda s, n: line(s, "step.output", compact=False, stream="stdout", line=f"spaced {n}") + "\n",
        "start": lambda s, n: line(s, "step.started", step_kind="Shell", label=s, index=0, total=1) + "\n",
        "finish": lambda s, n: line(s, "step.finished", status="ok" if n % 2 else "failed", exit_code=n) + "\n",
        "torn": lambda s, n: line(s, "step.output", stream="stdout", line="x" * 40)[: 60 + n] + "\n",
        "notice": lambda s, n: line(s, "notice", level="note", message=str(n)) + "\n",
    }
    path.write_text("".join(write[what](step, count) for what, step, count in story))
    assert fold(read_outline(path, LAST_LINES)) == fold(read_events(path))
    whole = [event for event in read_events(path) if event.kind is not Kind.STEP_OUTPUT]
    outline = list(read_outline(path, tail))
    assert [event for event in outline if event.kind is not Kind.STEP_OUTPUT] == whole


def test_a_record_is_read_on_as_it_grows(tmp_path: Path, parsed: list[Mapping[str, Any]]) -> None:
    path = tmp_path / "events.ndjson"
    reader = RecordReader(path)
    assert list(reader.after(0)) == []

    def event(seq: int) -> bytes:
        made = Event(seq=seq, at="t", run="r", kind=Kind.NOTICE, phase=None, step=None, fields={"message": "é"})
        return json.dumps(made.as_json(), separators=(",", ":")).encode() + b"\n"

    path.write_bytes(event(1) + event(2) + event(3)[:20])
    assert [one.seq for one in reader.after(1)] == [2]
    assert [value["seq"] for value in parsed] == [2], "what is not wanted is not parsed"
    with path.open("ab") as stream:
        stream.write(event(3)[20:] + b'{"v":1,"kind":"brand.new"}\n' + event(4))
    assert next(reader.after(2)).seq == 3
    assert [one.seq for one in reader.after(3)] == [4], "it goes on where the last reading was left"
    assert list(reader.after(0)) == []
