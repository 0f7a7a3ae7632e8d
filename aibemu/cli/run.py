"""`aibemu run FILE`: the whole happy path, and a failure screen that says what to do next."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aibemu.cli.app import App
from aibemu.cli.cache_options import cache_options
from aibemu.cli.render import as_json
from aibemu.cli.template_options import MAPPINGS, VALUES, WHICH, request_of, template_options
from aibemu.errors import UsageError
from aibemu.images import stored_digest

if TYPE_CHECKING:
    from aibemu.engine.api import JobOptions
    from aibemu.engine.build import RunReport
    from aibemu.engine.preparing.prepare import Prepared
    from aibemu.events import Event, Kind, View
    from aibemu.reports.summary import RunSummary
    from aibemu.runs.store import Run

LOGS = ("customization", "validation")


@click.command("run", short_help="Build the image of a template, for real.")
@template_options(WHICH, VALUES, MAPPINGS)
@click.option(
    "--offline", is_flag=True,
    help="Fetch nothing (scripts must be local, mapped or fetched before), and cut the machine off from the network.",
)  # fmt: skip
@click.option(
    "--identity", "identities", metavar="ID=COMMAND", multiple=True,
    help="Hand out real tokens of an identity of the build VM: COMMAND prints one for {resource}.",
)  # fmt: skip
@cache_options
@click.option("--freeze/--no-freeze", default=True, help="Make layers for later builds (default: yes, but not in CI).")
@click.option(
    "--on-error", type=click.Choice(["cleanup", "keep", "ask", "shell"]),
    help="What to do when a step fails (default: ask on a terminal, else what errorHandling says).",
)  # fmt: skip
@click.option("--pause-before", metavar="STEP", multiple=True, help="Wait for you before this step.")
@click.option("--pause-after", metavar="STEP", multiple=True, help="Wait for you after this step.")
@click.option("--verify-boot", is_flag=True, help="Boot the generalised image once more, as another machine.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Also link the finished outputs into DIR."
)
@click.option("--also", type=click.Choice(["qcow2"]), multiple=True, help="Write this format beside each output.")
@click.option("--compress", is_flag=True, help="With --also qcow2: compress it (zstd).")
@click.option("--driver", metavar="NAME", help="What runs the machines (default: the setting, qemu).")
@click.option("--driver-option", "driver_options", metavar="KEY=VALUE", multiple=True, help="An option of the driver.")
@click.option(
    "--log-format", type=click.Choice(["A", "B"]), help="customization.log as before (A) or since (B) late 2023."
)
@click.pass_obj
def command(app: App, /, file: Path, **options: Any) -> None:
    """Build the template in FILE: provision, customize, generalize, validate, distribute.

    Ends with 0 when the image is built and every output written, 1 when the build failed, 3 when the template is
    invalid, 4 when this host or the source image is not ready, 5 when buildTimeoutInMinutes is over, 130 when
    interrupted.
    """
    build(app, _options(file, **options))


def build(app: App, job: JobOptions) -> None:
    """Build, show it, and end with the verb's exit code."""
    from aibemu.cli.drivers import check_driver
    from aibemu.cli.signals import obey_signals
    from aibemu.clock import CancelToken
    from aibemu.engine.api import execute
    from aibemu.events import Kind
    from aibemu.redact import Redactor
    from aibemu.settings import Settings
    from aibemu.views.console import console_views

    redact = Redactor().text
    said: list[Kind] = []
    shown: list[View] = []

    def announce(kind: Kind, /, **fields: Any) -> None:
        """Downloads and warnings come before there is a run: a person sees them at once."""
        said.append(kind)
        if kind is Kind.NOTICE:
            app.warn(redact(fields["message"]))
        elif kind is Kind.ARTIFACT_FETCHED:
            how = ", from the cache" if fields["cached"] else ""
            app.say(redact(f"fetched {fields['uri']} ({fields['size']} bytes{how})"))

    def views(run: Run) -> list[View]:
        made = console_views(
            sys.stderr, app.clock, color=app.error_color, verbosity=app.verbosity, environ=os.environ
        )  # fmt: skip
        # The first is for the person; GitHub's annotations, if any, want all of it.
        shown.extend(made)
        return [SaidBefore(made[0], said), *made[1:]]

    settings = Settings.load(app.home.config)
    check_driver(job.driver or settings.driver)
    with obey_signals(token := CancelToken()):
        found, report, prepared = execute(
            with_person(app, job, shown), home=app.home, settings=settings, clock=app.clock, cancel=token,
            views=views, announce=announce,
        )  # fmt: skip
    _answer(app, found, report, prepared, job.out)


def with_person(app: App, job: JobOptions, views: Sequence[View]) -> JobOptions:
    """The job with somebody to ask: whoever sits at the terminal, else whoever answers from another one."""
    from aibemu.cli.prompt import Prompter
    from aibemu.engine.asking import OnErrorMode

    here = sys.stdin.isatty() and sys.stderr.isatty() and app.output == "human" and not os.environ.get("CI")
    terminal = sys.stdin if here else None
    mode = job.on_error or (OnErrorMode.ASK if here else OnErrorMode.TEMPLATE)
    return replace(job, on_error=mode, ask=lambda run: Prompter(run, terminal, sys.stderr, views, app.home))


class SaidBefore:
    """A view without the events that a person was told already: the first of each kind, as many as were `said`."""

    def __init__(self, view: View, said: Sequence[Kind]) -> None:
        self._view = view
        self._left = Counter(said)

    def on_event(self, event: Event) -> None:
        if self._left[event.kind] > 0:
            self._left[event.kind] -= 1
        else:
            self._view.on_event(event)

    def close(self) -> None:
        self._view.close()


def _answer(app: App, found: Run, report: RunReport, prepared: Prepared, out: Path | None) -> None:
    from aibemu.cli.diagnostics import as_data
    from aibemu.reports.failure import failure
    from aibemu.reports.fold import fold
    from aibemu.reports.timings import timings

    summary = fold(found.events())
    for line in ["", *timings(summary)] if app.output == "human" else ():
        app.say(line)
    data: dict[str, Any] = {
        "run": found.id,
        "directory": str(found.directory),
        "lastRunStatus": summary.last_run_status(),
        "logs": {name: str(found.log(f"{name}.log")) for name in LOGS if found.log(f"{name}.log").exists()},
        "outputs": [asdict(output) for output in summary.outputs],
        "out": str(out.absolute()) if out else None,
        "diagnostics": as_data(prepared.diagnostics),
    }
    if report.error is None:
        logs = [f"log: {path}" for path in data["logs"].values()]
        linked = [f"all of it: {out}"] if out else []
        app.result(data, [*_outputs(summary), *logs, *linked, f"run {found.id}: Succeeded"])
        return
    if app.output == "json":
        app.envelope("error", data=data, error=as_json(report.error))
    else:
        for line in ["", *failure(summary)]:
            app.complain(line)
        for line in _outputs(summary):
            print(line)
    sys.exit(report.error.exit_code)


def _outputs(summary: RunSummary) -> list[str]:
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


def _options(file: Path, **options: Any) -> JobOptions:
    from aibemu.engine.api import JobOptions
    from aibemu.engine.asking import OnErrorMode, Pauses

    pairs = {}
    for text in options.pop("driver_options"):
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(f"--driver-option {text!r} is not KEY=VALUE")
        pairs[key] = value
    if options["compress"] and not options["also"]:
        raise UsageError("--compress needs --also qcow2", hint="add --also qcow2: VHDs for Azure are never compressed")
    options["on_error"] = OnErrorMode(options["on_error"]) if options["on_error"] else None
    options["pauses"] = Pauses(before=options.pop("pause_before"), after=options.pop("pause_after"))
    template = request_of(file, **options)
    own = {name: value for name, value in options.items() if name in JobOptions.__dataclass_fields__}
    return JobOptions(template=template, driver_options=pairs, **own)
