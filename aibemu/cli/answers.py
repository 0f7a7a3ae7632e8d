"""What `aibemu run` says of builds besides their views: before they begin, and when they are over."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from aibemu.cli.app import App
from aibemu.images import stored_digest
from aibemu.views.screen import Screen

if TYPE_CHECKING:
    from aibemu.arm.diagnostics import Diagnostic
    from aibemu.engine.api import Prepared
    from aibemu.engine.preparing.options import BuildOptions
    from aibemu.events import Emit
    from aibemu.reports.summary import RunSummary
    from aibemu.runs.store import Run

LOGS = ("customization", "validation")


@contextmanager
def annotating(options: BuildOptions, stream: TextIO) -> Iterator[None]:
    """What is wrong with the template is annotated at its place in GitHub Actions, as what goes wrong later is."""
    from aibemu.arm.diagnostics import TemplateInvalid

    try:
        yield
    except TemplateInvalid as error:
        annotate(error.diagnostics, options, stream, error.secrets)
        raise


def annotate(
    diagnostics: Sequence[Diagnostic], options: BuildOptions, stream: TextIO, secrets: Collection[str]
) -> None:
    """The same for findings; nothing outside of GitHub Actions."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    from aibemu.cli.diagnostics import as_data
    from aibemu.cli.formats import Report, render
    from aibemu.redact import Redactor

    shown = [one for one in as_data(diagnostics) if one["severity"] != "note"]
    report = Report(file=options.template.document.name, name=None, valid=True, findings=shown)
    screen = Screen(stream=stream, pipeline=True)
    for line in render("github", report, Redactor(secrets)):
        screen.command(line)
    screen.flush()


def announcer(app: App, head: str = "") -> Emit:
    """Downloads and warnings come before there is a run: a person sees them at once. head: before each line."""
    from aibemu.events import Kind

    def announce(kind: Kind, /, **fields: Any) -> None:
        if kind is Kind.NOTICE:
            app.warn(f"{head}{fields['message']}")
        elif kind is Kind.ARTIFACT_FETCHED:
            how = ", from the cache" if fields["cached"] else ""
            app.say(f"{head}fetched {fields['uri']} ({fields['size']} bytes{how})")

    return announce


def build_data(run: Run, summary: RunSummary, prepared: Prepared) -> dict[str, Any]:
    """A build that is over, for programs."""
    from aibemu.cli.diagnostics import as_data

    out = prepared.basis.options.outputs.out
    return {
        "run": run.id,
        "directory": str(run.directory),
        "lastRunStatus": summary.last_run_status(),
        "logs": {name: str(run.log(f"{name}.log")) for name in LOGS if run.log(f"{name}.log").exists()},
        "outputs": [asdict(output) for output in summary.outputs],
        "out": str(out) if out and not summary.dry_run else None,
        "dryRun": summary.dry_run,
        "diagnostics": as_data(prepared.diagnostics),
    }


def as_typed(out: Path) -> Path:
    """A folder below this one by its name from here."""
    here = Path.cwd()
    return out.relative_to(here) if out.is_relative_to(here) else out


def output_lines(summary: RunSummary) -> list[str]:
    """`name: artifact`, then its files; one that the image store holds is known by its id."""
    lines = []
    for output in summary.outputs:
        if output.status == "ok":
            lines.append(f"{output.run_output_name}: {output.artifact}")
            for path in output.paths:
                image = stored_digest(Path(path))
                if image:
                    lines.append(f"  image {image[:12]}: aibemu images show {image[:12]}")
                if f"file://{path}" != output.artifact:
                    lines.append(f"  {path}")
    return lines
