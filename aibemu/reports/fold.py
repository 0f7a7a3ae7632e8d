"""From events to what a run looks like: the one place where status, failure screen, timings and live view come from.

A crash at any instant leaves a valid prefix of the record, and every prefix folds. `Folding` takes events one by one;
`fold` takes all of them. lastRunStatus is formed as the service forms it (facts: service 1.6, 1.7).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from aibemu.events import Event, Kind, Phase, RunState, RunSubState
from aibemu.reports.summary import MachineSummary, OutputSummary, PhaseSummary, RunSummary, StepSummary

# As many as the failure screen shows.
LAST_LINES = 20
STEP_ROLES = {"c": "customizer", "v": "validator"}


def fold(events: Iterable[Event]) -> RunSummary:
    """What the run looks like after these events."""
    folding = Folding()
    for event in events:
        folding.add(event)
    return folding.summary()


class Folding:
    """The same, one event at a time. Not thread-safe."""

    def __init__(self) -> None:
        self._run: dict[str, Any] = {}
        self._phases: dict[str, dict[str, Any]] = {phase.value: {"name": phase.value} for phase in Phase}
        self._steps: dict[str, dict[str, Any]] = {}
        self._tails: dict[str, deque[str]] = {}
        self._machines: dict[str, dict[str, Any]] = {}
        self._outputs: dict[str, dict[str, Any]] = {}
        self._places: dict[str, int] = {}  # of outputs in the template: they are written side by side
        self._notices: list[tuple[str, str]] = []
        self._waits_since = ""

    def add(self, event: Event) -> None:
        """Take one event in; what it lacks keeps its default, a kind that says nothing here is passed over."""
        self._run.setdefault("id", event.run)
        if handler := _HANDLERS.get(event.kind):
            handler(self, event, event.fields)

    def summary(self) -> RunSummary:
        """How things stand."""
        return RunSummary(
            **self._run,
            phases=tuple(PhaseSummary(**value) for value in self._phases.values()),
            steps=tuple(
                StepSummary(**value, last_lines=tuple(self._tails.get(key, ()))) for key, value in self._steps.items()
            ),
            machines=tuple(MachineSummary(**value) for value in self._machines.values()),
            outputs=tuple(OutputSummary(**self._outputs[name]) for name in sorted(self._outputs, key=self._place)),
            notices=tuple(self._notices),
        )

    # Runs

    def _run_started(self, event: Event, fields: Mapping[str, Any]) -> None:
        names = ("template", "template_id", "file", "image", "exact_version", "driver", "driver_options", "accelerator")
        self._run |= {
            name: fields[name]
            for name in (*names, "log_id", "timeout_minutes", "staging", "resumes")
            if fields.get(name)
        }
        # Records of earlier versions do not say it, but there was one driver of that kind.
        self._run["dry_run"] = bool(fields.get("dry_run", fields.get("driver") == "dryrun"))
        self._run |= {
            "started": _moment(event.at),
            "state": RunState.RUNNING.value,
            "sub_state": RunSubState.QUEUED.value,
        }
        self._plan(fields)

    def _plan(self, fields: Mapping[str, Any]) -> None:
        for list_name in ("steps", "validators"):
            for planned in fields.get(list_name) or ():
                step = self._step(planned["id"])
                step |= {
                    "kind": planned.get("kind", ""), "label": planned.get("label", ""),
                    "span": str(planned.get("span") or ""),
                }  # fmt: skip
        for step_id in fields.get("skipped") or ():
            if step_id in self._steps:
                self._steps[step_id]["status"] = "skipped"

    def _run_waiting(self, event: Event, fields: Mapping[str, Any]) -> None:
        self._run |= {
            "waiting": str(fields.get("title") or ""), "choices": tuple(fields.get("choices") or ()),
            "asked_about": fields.get("error"),
        }  # fmt: skip
        self._waits_since = event.at

    def _run_answered(self, event: Event, fields: Mapping[str, Any]) -> None:
        if self._waits_since:
            waited = datetime.fromisoformat(event.at) - datetime.fromisoformat(self._waits_since)
            where = self._phases.get(event.phase or "", self._run)
            where["waited"] = where.get("waited", 0.0) + max(0.0, waited.total_seconds())
        self._end_wait()

    def _end_wait(self) -> None:
        self._run |= {"waiting": "", "choices": (), "asked_about": None}
        self._waits_since = ""

    def _run_retried(self, event: Event, fields: Mapping[str, Any]) -> None:
        """All phases begin again; what a step did before counts until it runs again."""
        planned = {step["id"] for name in ("steps", "validators") for step in fields.get(name) or ()}
        done = {key: value for key, value in self._steps.items() if key in planned and value.get("status") == "ok"}
        self._steps = {key: dict(done.get(key) or self._fresh_again(key)) for key in sorted(planned)}
        self._tails = {key: tail for key, tail in self._tails.items() if key in done}
        self._phases = {
            name: {"name": name, "earlier_seconds": _all_of(phase), "waited": phase.get("waited", 0.0)}
            for name, phase in self._phases.items()
        }
        self._outputs = {}
        self._run["attempts"] = self._run.get("attempts", 1) + 1
        self._plan(fields)

    def _run_state(self, event: Event, fields: Mapping[str, Any]) -> None:
        self._run |= {name: fields[name] or "" for name in ("state", "sub_state", "message") if name in fields}

    def _run_finished(self, event: Event, fields: Mapping[str, Any]) -> None:
        self._run_state(event, fields)
        self._end_wait()
        self._run |= {"awaits": "", "ended": event.at, "error": fields.get("error"), "seconds": fields.get("seconds")}

    # Phases and steps

    def _phase_started(self, event: Event, fields: Mapping[str, Any]) -> None:
        if event.phase in self._phases:
            self._phases[event.phase] |= {"status": "running", "started": event.at}

    def _phase_not_run(self, event: Event, fields: Mapping[str, Any]) -> None:
        if event.phase in self._phases:
            self._phases[event.phase]["would"] = _would(fields)

    def _phase_finished(self, event: Event, fields: Mapping[str, Any]) -> None:
        if event.phase in self._phases:
            self._phases[event.phase] |= {"status": fields.get("status", "ok"), "seconds": fields.get("seconds")}

    def _step(self, step_id: str) -> dict[str, Any]:
        role = STEP_ROLES.get(step_id[:1], "hidden") if step_id[1:].isdigit() else "hidden"
        return self._steps.setdefault(step_id, {"id": step_id, "role": role})

    def _fresh_again(self, step_id: str) -> dict[str, Any]:
        """A step that is to run again, with how long it took before."""
        before = self._step(step_id)
        return {"id": step_id, "role": before["role"], "earlier_seconds": _all_of(before)}

    def _step_started(self, event: Event, fields: Mapping[str, Any]) -> None:
        if event.step is None:
            return
        step = self._step(event.step)
        if step.get("seconds") is not None:  # it was done in an earlier attempt
            step |= {"earlier_seconds": _all_of(step), "seconds": None}
        step |= {"status": "running", "started": event.at, "phase": event.phase or "", "attempt": self._attempt}
        step["kind"] = fields.get("step_kind") or step.get("kind", "")
        for name in ("label", "span", "source"):
            if fields.get(name):
                step[name] = fields[name]
        if fields.get("lines"):
            step["inline"] = tuple(fields["lines"])

    def _step_cached(self, event: Event, fields: Mapping[str, Any]) -> None:
        if event.step is None:
            return
        step = self._step(event.step)
        if step.get("status") not in {"ok", "failed"}:  # this run's own doing, before a retry, counts for more
            step |= {"status": "cached", "phase": event.phase or ""}
        step["attempt"] = self._attempt
        step["kind"] = fields.get("step_kind") or step.get("kind", "")

    def _step_not_run(self, event: Event, fields: Mapping[str, Any]) -> None:
        if event.step is not None:
            self._step(event.step).update(status="not run", phase=event.phase or "", would=_would(fields))

    def _step_output(self, event: Event, fields: Mapping[str, Any]) -> None:
        if event.step is not None:
            self._step(event.step)
            self._tails.setdefault(event.step, deque(maxlen=LAST_LINES)).append(fields.get("line", ""))

    def _step_finished(self, event: Event, fields: Mapping[str, Any]) -> None:
        if event.step is not None:
            step = self._step(event.step)
            step["status"] = fields.get("status", "ok")
            step |= {name: fields.get(name) for name in ("exit_code", "seconds", "error")}

    @property
    def _attempt(self) -> int:
        return int(self._run.get("attempts", 1))

    # Machines and outputs

    def _machine(self, event: Event, fields: Mapping[str, Any]) -> None:
        if not (name := fields.get("machine")):
            return
        machine = self._machines.setdefault(name, {"id": name})
        machine["state"] = event.kind.value.removeprefix("machine.")
        for key in ("role", "endpoint", "command", "why", "hostname"):
            if fields.get(key):
                machine[key] = fields[key]
        for key in ("console", "saved"):
            if fields.get(key):
                machine[key] = tuple(fields[key])

    def _machine_booting(self, event: Event, fields: Mapping[str, Any]) -> None:
        """Its state stays: it is not ready before it says so."""
        if name := fields.get("machine"):
            awaited = f"waiting for {fields['awaited']}" if fields.get("awaited") else ""
            parts = [part for part in (fields.get("stage"), awaited) if part]
            self._machines.setdefault(name, {"id": name})["boot"] = ", ".join(parts)

    def _output(self, event: Event, fields: Mapping[str, Any]) -> None:
        if not (name := fields.get("run_output_name")):
            return
        output = self._outputs.setdefault(name, {"run_output_name": name})
        if event.kind is Kind.OUTPUT_STARTED:
            output["started"] = event.at
            self._places[name] = self._index(fields)
        if event.kind is Kind.OUTPUT_NOT_WRITTEN:
            output |= {"status": "not written", "target": fields.get("target", ""), "would": _would(fields)}
            self._places[name] = self._index(fields)
            return
        output["status"] = fields.get("status", "running")
        output |= {key: fields[key] for key in ("target", "artifact", "seconds", "error") if key in fields}
        if fields.get("paths"):
            output["paths"] = tuple(str(path) for path in fields["paths"])

    def _index(self, fields: Mapping[str, Any]) -> int:
        """An output's place in the template; behind all that are known where a damaged record has no number."""
        index = fields.get("index")
        return index if isinstance(index, int) else len(self._places)

    def _place(self, name: str) -> int:
        return self._places.get(name, len(self._outputs))

    def _notice(self, event: Event, fields: Mapping[str, Any]) -> None:
        """Each once: a retry tells again what is still so."""
        notice = (fields.get("level", "note"), fields.get("message", ""))
        if "awaited" in fields:
            self._run["awaits"] = fields["awaited"] or ""
        if notice[0] != "ok" and notice not in self._notices:
            self._notices.append(notice)


def _would(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """What a dry run left undone."""
    return tuple(fields.get("would") or ())


def _all_of(timed: Mapping[str, Any]) -> float:
    """Seconds of a phase or a step so far, in all attempts."""
    return float(timed.get("earlier_seconds", 0.0)) + float(timed.get("seconds") or 0.0)


def _moment(at: str) -> str | None:
    """The time of an event, unless it is none: a record may be damaged."""
    try:
        return at if datetime.fromisoformat(at).tzinfo else None
    except ValueError:
        return None


_HANDLERS = {
    Kind.RUN_STARTED: Folding._run_started,
    Kind.RUN_STATE: Folding._run_state,
    Kind.RUN_WAITING: Folding._run_waiting,
    Kind.RUN_ANSWERED: Folding._run_answered,
    Kind.RUN_RETRIED: Folding._run_retried,
    Kind.RUN_FINISHED: Folding._run_finished,
    Kind.PHASE_STARTED: Folding._phase_started,
    Kind.PHASE_NOT_RUN: Folding._phase_not_run,
    Kind.PHASE_FINISHED: Folding._phase_finished,
    Kind.STEP_STARTED: Folding._step_started,
    Kind.STEP_CACHED: Folding._step_cached,
    Kind.STEP_NOT_RUN: Folding._step_not_run,
    Kind.STEP_OUTPUT: Folding._step_output,
    Kind.STEP_FINISHED: Folding._step_finished,
    Kind.MACHINE_STARTED: Folding._machine,
    Kind.MACHINE_BOOTING: Folding._machine_booting,
    Kind.MACHINE_RESTORED: Folding._machine,
    Kind.MACHINE_CONNECTED: Folding._machine,
    Kind.MACHINE_READY: Folding._machine,
    Kind.MACHINE_STOPPED: Folding._machine,
    Kind.MACHINE_KEPT: Folding._machine,
    Kind.MACHINE_LOST: Folding._machine,
    Kind.OUTPUT_STARTED: Folding._output,
    Kind.OUTPUT_FINISHED: Folding._output,
    Kind.OUTPUT_NOT_WRITTEN: Folding._output,
    Kind.FINDING: Folding._notice,
    Kind.NOTICE: Folding._notice,
}
