"""GitHub Actions annotations: a failed step, a failed output and warnings show up at the template's line."""

from __future__ import annotations

from typing import TextIO

from aibemu.events import Event, Kind
from aibemu.reports.annotations import command
from aibemu.views.screen import Screen
from aibemu.views.stream import give_up


class GithubView:
    """Writes `::error` and `::warning` commands to `stream`, which must be the job's standard output or error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._spans: dict[str, tuple[str, str]] = {}

    def on_event(self, event: Event) -> None:
        fields, step = event.fields, str(event.step)
        if event.kind is Kind.STEP_STARTED:
            self._spans[step] = (str(fields.get("label") or step), str(fields.get("span") or ""))
        elif event.kind is Kind.STEP_FINISHED and fields.get("status") == "failed":
            label, span = self._spans.get(step, (step, ""))
            self._command("error", f"{label}: {fields.get('error')}", span)
        elif event.kind is Kind.OUTPUT_FINISHED and fields.get("status") == "failed":
            self._command("error", f"{fields.get('run_output_name')}: {fields.get('error')}")
        elif event.kind is Kind.MACHINE_LOST:
            self._command("error", str(fields.get("why")))
        elif event.kind is Kind.NOTICE and fields.get("level") in {"warning", "error"}:
            self._command(str(fields["level"]), str(fields.get("message")))
        elif event.kind is Kind.FINDING and fields.get("level") == "error":
            # It does not fail the run: the service would not notice it either.
            self._command("warning", f"{fields.get('check')}: {fields.get('message')}")

    def give_up(self) -> None:
        """End what waits for the reader of the stream."""
        give_up(self._stream)

    def close(self) -> None:
        """Nothing is held."""

    def _command(self, level: str, message: str, span: str = "") -> None:
        place = span.rsplit(":", 2)
        where = {"file": place[0], "line": place[1], "col": place[2]} if len(place) == 3 else {}
        screen = Screen(stream=self._stream, pipeline=True)
        screen.command(command(level, message, **where))
        screen.flush()
