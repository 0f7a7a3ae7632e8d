"""The fold: any prefix of a record is a valid run; lastRunStatus reads as the service's; the screens are made of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aibemu.events import FIELDS, Event, Kind
from aibemu.reports.failure import MOST_COMMANDS, failure
from aibemu.reports.fold import LAST_LINES, Folding, fold
from aibemu.reports.summary import done_steps
from aibemu.reports.timings import MARK, timings

START = "2026-11-23T10:00:00.000000Z"


def record(*entries: tuple[Any, ...]) -> list[Event]:
    """Entries are (kind, phase, step, fields)."""
    return [
        Event(seq=number, at=f"2026-11-23T10:00:{number:02}.123456Z", run="3f2c9a1b", kind=kind, phase=phase, step=step,
              fields=fields)
        for number, (kind, phase, step, fields) in enumerate(entries)
    ]  # fmt: skip


STARTED = (Kind.RUN_STARTED, None, None, {
    "template": "demo", "log_id": "guid", "driver": "scripted", "timeout_minutes": 240,
    "steps": [{"id": "c1", "kind": "Shell", "label": "Install", "span": "t.json:4:9"},
              {"id": "c2", "kind": "File", "label": "File #2", "span": "t.json:9:9"}],
    "validators": [{"id": "v1", "kind": "Shell", "label": "Check", "span": "t.json:20:9"}], "targets": [],
})  # fmt: skip
FAILED: Sequence[tuple[Any, ...]] = (
    STARTED,
    (Kind.PHASE_STARTED, "provision", None, {}),
    (Kind.RUN_STATE, "provision", None, {"state": "Running", "sub_state": "Building", "message": ""}),
    (Kind.MACHINE_STARTED, "provision", None, {"machine": "m-build", "role": "build", "endpoint": "127.0.0.1:4"}),
    (Kind.MACHINE_READY, "provision", None, {"machine": "m-build", "first_boot": "done", "seconds": 40.0}),
    (Kind.PHASE_FINISHED, "provision", None, {"status": "ok", "seconds": 41.0}),
    (Kind.PHASE_STARTED, "customize", None, {}),
    (Kind.RUN_STATE, "customize", None, {"state": "Running", "sub_state": "Customizing", "message": ""}),
    (Kind.STEP_STARTED, "customize", "c1", {"step_kind": "Shell", "label": "Install", "span": "t.json:4:9",
                                            "lines": ["apt-get install nginx", "true"]}),
    *((Kind.STEP_OUTPUT, "customize", "c1", {"stream": "stdout", "line": f"line {n}"}) for n in range(30)),
    (Kind.STEP_OUTPUT, "customize", "c1", {"stream": "stderr", "line": "E: Unable to locate package nginx"}),
    (Kind.STEP_FINISHED, "customize", "c1", {"status": "failed", "exit_code": 100, "seconds": 3.0,
        "error": "Script exited with non-zero exit status: 100. Allowed exit codes are: [0]"}),
    (Kind.PHASE_FINISHED, "customize", None, {"status": "failed", "seconds": 3.5}),
    (Kind.MACHINE_KEPT, None, None, {"machine": "m-build", "command": "ssh -p 4 packer@127.0.0.1"}),
    (Kind.RUN_FINISHED, None, None, {"state": "Failed", "sub_state": "Customizing", "message": "service words",
        "seconds": 45.0, "error": {"code": "CUSTOMIZER_FAILED", "message": "customizer Install failed: Script exited "
        "with non-zero exit status: 100. Allowed exit codes are: [0]", "hint": None, "details": [],
        "span": "t.json:4:9", "commands": ["aibemu logs 3f2c9a1b"]}}),
)  # fmt: skip


def test_last_run_status_as_the_service_writes_it() -> None:
    events = record(*FAILED)
    assert fold(events[:1]).last_run_status() == {
        "startTime": "2026-11-23T10:00:00.123456000Z", "endTime": "0001-01-01T00:00:00Z", "runState": "Running",
        "runSubState": "Queued", "message": "",
    }  # fmt: skip
    assert fold(events[:8]).last_run_status()["runSubState"] == "Customizing"
    assert fold(events).last_run_status() == {
        "startTime": "2026-11-23T10:00:00.123456000Z", "endTime": f"2026-11-23T10:00:{len(events) - 1}.123456000Z",
        "runState": "Failed", "runSubState": "Customizing", "message": "service words",
    }  # fmt: skip


def test_sub_state_is_absent_while_canceling() -> None:
    state = {"state": "Canceling", "sub_state": "Building", "message": "Canceling image build"}
    assert fold(record(STARTED, (Kind.RUN_STATE, None, None, state))).last_run_status() == {
        "startTime": "2026-11-23T10:00:00.123456000Z", "endTime": "0001-01-01T00:00:00Z", "runState": "Canceling",
        "message": "Canceling image build",
    }  # fmt: skip


def test_steps_phases_and_machines() -> None:
    summary = fold(record(*FAILED))
    assert [(step.id, step.role, step.status) for step in summary.steps] == [
        ("c1", "customizer", "failed"), ("c2", "customizer", "pending"), ("v1", "validator", "pending"),
    ]  # fmt: skip
    step = summary.steps[0]
    assert (step.exit_code, len(step.last_lines)) == (100, LAST_LINES)
    assert step.last_lines[-1] == "E: Unable to locate package nginx"
    assert [(phase.name, phase.status, phase.seconds) for phase in summary.phases] == [
        ("provision", "ok", 41.0), ("customize", "failed", 3.5), ("generalize", "pending", None),
        ("validate", "pending", None), ("distribute", "pending", None),
    ]  # fmt: skip
    assert [machine.command for machine in summary.kept] == ["ssh -p 4 packer@127.0.0.1"]
    json.dumps(summary.as_json())


def test_failure_screen() -> None:
    lines = failure(fold(record(*FAILED)))
    assert lines[:6] == [
        "FAILED in phase customize after 45s: Install",
        "  at:    t.json:4:9",
        "  step:  customizer c1 (Shell): 2 inline commands",
        "  exit:  status 100",
        "  why:   customizer Install failed: Script exited with non-zero exit status: 100. Allowed exit codes are: [0]",
        "  its last 20 lines:",
    ]
    assert lines[25] == "    | E: Unable to locate package nginx"
    assert lines[27].startswith("  likely remedy: apt has no package lists yet: run `sudo apt-get update`")
    assert lines[29:] == [
        "  type next:",
        "    aibemu shell 3f2c9a1b",
        "    aibemu destroy 3f2c9a1b",
        "    aibemu logs 3f2c9a1b --step c1",
    ]
    assert len(lines[30:]) <= MOST_COMMANDS


@pytest.mark.parametrize(
    ("kind", "message", "said"),
    [
        ("File", "customizer Page failed: Upload failed: no such folder", None),
        ("File", "customizer Page failed", "  error: Upload failed: no such folder"),
        ("Shell", "customizer Page failed: Upload failed: no such folder", "  it printed no output"),
    ],
)
def test_a_step_without_output_is_told_by_its_error(kind: str, message: str, said: str | None) -> None:
    events = record(
        STARTED,
        (Kind.PHASE_STARTED, "customize", None, {}),
        (Kind.STEP_STARTED, "customize", "c2", {"step_kind": kind, "label": "Page"}),
        (Kind.STEP_FINISHED, "customize", "c2", {"status": "failed", "error": "Upload failed: no such folder"}),
        (
            Kind.RUN_FINISHED,
            None,
            None,
            {"state": "Failed", "error": {"code": "CUSTOMIZER_FAILED", "message": message}},
        ),
    )
    lines = failure(fold(events))
    told = lines[lines.index(f"  why:   {message}") + 1]
    assert told == (said or "")


def test_failure_without_a_step_says_what_the_error_says() -> None:
    error = {"code": "PROVISION_FAILED", "message": "the kernel panicked", "hint": "look at it",
             "details": ["console:"], "span": None, "commands": []}  # fmt: skip
    events = record(
        STARTED,
        (Kind.PHASE_STARTED, "provision", None, {}),
        (Kind.PHASE_FINISHED, "provision", None, {"status": "failed", "seconds": 9.0}),
        (Kind.RUN_FINISHED, None, None, {"state": "Failed", "error": error, "seconds": 9.1}),
    )
    lines = failure(fold(events))
    assert lines[:3] == ["FAILED in phase provision after 9.1s", "  why:   the kernel panicked", "  console:"]
    assert "  likely remedy: look at it" in lines


def test_no_failure_no_screen() -> None:
    assert failure(fold(record(STARTED))) == []


def test_timings_mark_the_slowest() -> None:
    lines = timings(fold(record(*FAILED)))
    assert lines == [
        "provision      41s  ok  <- slowest",
        "customize     3.5s  failed",
        "  Install     3.0s  failed",
        "total          45s",
    ]
    assert sum(MARK in line for line in lines) == 1
    assert timings(fold([])) == []


@given(st.integers(min_value=0, max_value=len(FAILED)))
def test_every_prefix_folds_and_one_by_one_is_the_same(cut: int) -> None:
    events = record(*FAILED)[:cut]
    folding = Folding()
    for event in events:
        folding.add(event)
        folding.summary()
    summary = fold(events)
    assert folding.summary() == summary
    assert summary.finished == (cut == len(FAILED))
    assert summary.last_run_status()["runState"] in {"Running", "Failed"}
    failure(summary)
    timings(summary)
    json.dumps(summary.as_json())


_TEXT = st.sampled_from(["", "ok", "failed", "x"])
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "seconds": st.none() | st.floats(min_value=0, max_value=1e6), "exit_code": st.none() | st.integers(),
    "steps": st.just([{"id": "c1", "kind": "Shell", "label": "a", "span": ""}]), "validators": st.just([]),
    "paths": st.lists(_TEXT), "console": st.lists(_TEXT), "saved": st.lists(_TEXT),
    "lines": st.none() | st.lists(_TEXT), "timeout_minutes": st.integers(),
    "image": st.just({"digest": "d"}), "accelerator": st.just({"name": "tcg"}),
    "error": st.none() | st.just({"code": "X", "message": "m"}),
}  # fmt: skip


@st.composite
def any_event(draw: st.DrawFn) -> tuple[Any, ...]:
    kind = draw(st.sampled_from(list(Kind)))
    names = draw(st.sets(st.sampled_from(sorted(FIELDS[kind])))) if FIELDS[kind] else set()
    fields = {name: draw(_VALUES.get(name, _TEXT)) for name in sorted(names)}
    if kind in {Kind.STEP_FINISHED, Kind.OUTPUT_FINISHED} and "error" in fields:
        fields["error"] = "words"
    return kind, draw(st.sampled_from([None, "customize", "new"])), draw(st.sampled_from([None, "c1", "zz"])), fields


@settings(max_examples=60, deadline=None)
@given(st.lists(any_event(), max_size=15))
@example([
    (Kind.OUTPUT_STARTED, None, None, {"run_output_name": "ok"}),
    (Kind.OUTPUT_STARTED, None, None, {"index": "", "run_output_name": "failed"}),
])  # fmt: skip
def test_no_order_of_events_breaks_it(entries: list[tuple[Any, ...]]) -> None:
    summary = fold(record(*entries))
    failure(summary)
    timings(summary)
    json.dumps(summary.as_json())
    summary.last_run_status()


def at(after: float, kind: Kind, phase: str | None = None, step: str | None = None, /, **fields: Any) -> Event:
    minutes, rest = divmod(after, 60)
    when = f"2026-11-23T10:{minutes:02.0f}:{rest:09.6f}Z"
    return Event(seq=0, at=when, run="3f2c9a1b", kind=kind, phase=phase, step=step, fields=fields)


def attempt(start: float, *steps: tuple[str, str, float], provision: float) -> list[Event]:
    """Provision and customize. steps: (id, status, seconds)."""
    end = "ok" if all(status in ("ok", "cached") for _, status, _ in steps) else "failed"
    events = [
        at(start, Kind.PHASE_STARTED, "provision"),
        at(start + provision, Kind.PHASE_FINISHED, "provision", status="ok", seconds=provision),
        at(start + provision, Kind.PHASE_STARTED, "customize"),
    ]
    for name, status, seconds in steps:
        if status == "cached":
            events.append(at(start, Kind.STEP_CACHED, "customize", name, how="cached", step_kind="Shell"))
            continue
        events.append(at(start, Kind.STEP_STARTED, "customize", name, step_kind="Shell"))
        events.append(at(start, Kind.STEP_FINISHED, "customize", name, status=status, seconds=seconds, exit_code=0))
    took = sum(seconds for *_, seconds in steps)
    return [*events, at(start + took, Kind.PHASE_FINISHED, "customize", status=end, seconds=took)]


PLANNED = [{"id": f"c{n}", "kind": "Shell", "label": f"step {n}", "span": ""} for n in (1, 2, 3)]
BEGUN = at(0, Kind.RUN_STARTED, template="demo", steps=PLANNED, validators=[])


def retried_run() -> list[Event]:
    """40 s of boot, c1 10 s, c2 fails after 5 s, a person thinks for 60 s, a restore of 2 s, c2 7 s, c3 20 s."""
    return [
        BEGUN,
        *attempt(0, ("c1", "ok", 10.0), ("c2", "failed", 5.0), provision=40.0),
        at(55, Kind.RUN_WAITING, title="customizer step 2 failed", choices=["retry"], error={"code": "X"}),
        at(115, Kind.RUN_ANSWERED, answer="retry"),
        at(115, Kind.RUN_RETRIED, steps=PLANNED, validators=[], skipped=[]),
        *attempt(115, ("c1", "cached", 0.0), ("c2", "ok", 7.0), ("c3", "ok", 20.0), provision=2.0),
        at(149, Kind.RUN_FINISHED, state="Succeeded", sub_state="", message="", seconds=149.0, error=None),
    ]


def test_the_table_of_a_run_that_was_tried_again_sums_up() -> None:
    assert timings(fold(retried_run())) == [
        "provision                   42s  ok  <- slowest",
        "customize                   42s  ok",
        "  step 1                    10s  ok",
        "  step 2                    12s  ok",
        "  step 3                    20s  ok  <- slowest",
        "waiting for an answer     1m00s",
        "between and after them     5.0s",
        "total                     2m29s  2 attempts",
    ]


def test_the_counter_counts_what_need_not_run_any_more() -> None:
    events = retried_run()
    again = next(number for number, event in enumerate(events) if event.kind is Kind.RUN_RETRIED)
    cached = next(n for n, event in enumerate(events) if event.kind is Kind.STEP_CACHED)
    assert done_steps(fold(events[: again + 1]), "customizer") == (0, 3), "nothing was done in the second attempt yet"
    assert done_steps(fold(events[: cached + 1]), "customizer") == (1, 3)
    assert done_steps(fold(events), "customizer") == (3, 3)
    resumed = [BEGUN, *attempt(0, ("c1", "cached", 0), ("c2", "cached", 0), ("c3", "ok", 1.0), provision=2.0)]
    assert done_steps(fold(resumed), "customizer") == (3, 3)
    left_out = at(0, Kind.RUN_STARTED, template="demo", steps=PLANNED, validators=[], skipped=["c2"])
    assert done_steps(fold([left_out]), "customizer") == (1, 3)
    assert [step.status for step in fold([left_out]).steps] == ["pending", "skipped", "pending"]


def test_a_pause_inside_a_phase_is_told_there() -> None:
    events = [
        BEGUN,
        at(0, Kind.PHASE_STARTED, "customize"),
        at(1, Kind.RUN_WAITING, "customize", title="paused", choices=["go-on"]),
        at(31, Kind.RUN_ANSWERED, "customize", answer="go-on"),
        at(35, Kind.PHASE_FINISHED, "customize", status="ok", seconds=35.0),
    ]
    assert timings(fold(events)) == ["customize                    35s  ok", "  waiting for an answer      30s"]


def test_a_run_waits_until_it_is_answered_or_over() -> None:
    asked, ended = retried_run()[:-1], at(200, Kind.RUN_FINISHED, state="Canceled", seconds=200.0)
    waits = next(number for number, event in enumerate(asked) if event.kind is Kind.RUN_WAITING)
    summary = fold(asked[: waits + 1])
    assert (summary.waiting, summary.choices) == ("customizer step 2 failed", ("retry",))
    assert summary.asked_about == {"code": "X"} and summary.error is None
    for rest in (asked[waits + 1], ended):
        after = fold([*asked[: waits + 1], rest])
        assert (after.waiting, after.choices, after.asked_about) == ("", (), None)


def test_a_notice_that_is_told_again_by_a_retry_is_one() -> None:
    again = at(1, Kind.NOTICE, level="warning", message="cached, with a warning")
    assert fold([again, again, at(2, Kind.NOTICE, level="note", message="x")]).notices == (
        ("warning", "cached, with a warning"), ("note", "x"),
    )  # fmt: skip
