"""GitHub Actions annotations: a failed step, a failed output and warnings show up at the template's line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TextIO

from aibemu.events import Event, Kind
from aibemu.reports.annotations import command
from aibemu.views.screen import Screen
from aibemu.views.stream import give_up

# Errors that are no fault to look for.
WANTED = frozenset({"CANCELLED"})


class GithubView:
    """Writes `::error` and `::warning` commands to `stream`, which must be the job's standard output or error.

    Each cause is annotated once: a lost machine with the step that it took along, the end of the run only when nothing
    said before why. place: a file's name in its repository.
    """

    def __init__(self, stream: TextIO, place: Callable[[str], str] = str) -> None:
        self._stream = stream
        self._place = place
        self._spans: dict[str, tuple[str, str]] = {}
        self._said: set[tuple[str, str]] = set()
        # What took the machine away in the midst of a step.
        self._lost = ""
        self._blamed = False

    def on_event(self, event: Event) -> None:
        fields, step = event.fields, str(event.step)
        if event.kind is Kind.STEP_STARTED:
            self._spans[step] = (str(fields.get("label") or step), str(fields.get("span") or ""))
        elif event.kind is Kind.STEP_FINISHED:
            self._step_finished(step, fields)
        elif event.kind is Kind.OUTPUT_FINISHED and fields.get("status") == "failed":
            self._command("error", f"{fields.get('run_output_name')}: {fields.get('error')}")
        elif event.kind is Kind.MACHINE_LOST and event.step:
            self._lost = str(fields.get("why"))
        elif event.kind is Kind.MACHINE_LOST:
            self._command("error", str(fields.get("why")))
        elif event.kind is Kind.NOTICE and fields.get("level") in {"warning", "error"}:
            self._command(str(fields["level"]), str(fields.get("message")))
        elif event.kind is Kind.FINDING and fields.get("level") == "error":
            # It does not fail the run: the service would not notice it either.
            self._command("warning", f"{fields.get('problem') or fields.get('check')}: {fields.get('message')}")
        elif event.kind is Kind.RUN_RETRIED:
            self._blamed = False
        elif event.kind is Kind.RUN_FINISHED and not self._blamed:
            self._run_finished(fields.get("error") or {})

    def give_up(self) -> None:
        """End what waits for the reader of the stream."""
        give_up(self._stream)

    def close(self) -> None:
        """Nothing is held."""

    def _step_finished(self, step: str, fields: Mapping[str, Any]) -> None:
        label, span = self._spans.get(step, (step, ""))
        lost, self._lost = self._lost, ""
        if fields.get("status") == "failed":
            self._command("error", f"{label}: {fields.get('error')}", span)
        elif lost:
            self._command("error", f"{label}: {lost}", span)

    def _run_finished(self, error: Mapping[str, Any]) -> None:
        if error and error.get("code") not in WANTED:
            self._command("error", str(error.get("message")), str(error.get("span") or ""))

    def _command(self, level: str, message: str, span: str = "") -> None:
        self._blamed = self._blamed or level == "error"
        if (level, message) in self._said:
            return
        self._said.add((level, message))
        place = span.rsplit(":", 2)
        where = {"file": self._place(place[0]), "line": place[1], "col": place[2]} if len(place) == 3 else {}
        screen = Screen(stream=self._stream, pipeline=True)
        screen.command(command(level, message, **where))
        screen.flush()
