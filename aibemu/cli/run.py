"""`aibemu run FILE`: the whole happy path, and a failure screen that says what to do next."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from aibemu.cli.answers import annotate, annotating, announcer, as_typed, build_data, output_lines
from aibemu.cli.app import App
from aibemu.cli.cache_options import FreezesAlways, cache_options, freeze_option, reuse_of
from aibemu.cli.cluster_options import cluster_options, on_cluster, where_of
from aibemu.cli.junit_file import built, check_junit, told_of_refusal, write_junit
from aibemu.cli.render import as_json
from aibemu.cli.template_options import FILES, MAPPINGS, VALUES, WHICH, request_of
from aibemu.cli.template_options import options as template_options
from aibemu.errors import UsageError
from aibemu.repository import from_root
from aibemu.text import nth

if TYPE_CHECKING:
    from aibemu.clock import CancelToken
    from aibemu.cluster.connecting import Where
    from aibemu.cluster.remote import Elsewhere
    from aibemu.engine.api import BuildReport, Installation, Prepared
    from aibemu.engine.asking import OnErrorMode
    from aibemu.engine.preparing.options import BuildOptions
    from aibemu.events import View
    from aibemu.runs.store import Run
    from aibemu.settings import Settings


@click.command("run", cls=FreezesAlways, short_help="Build the image of a template, for real.")
@template_options(FILES, WHICH, VALUES, MAPPINGS)
@click.option(
    "--offline", is_flag=True,
    help="Fetch nothing (scripts must be local, mapped or fetched before), and cut the machine off from the network.",
)  # fmt: skip
@click.option(
    "--identity", "identities", metavar="ID=COMMAND", multiple=True,
    help="Hand out real tokens of an identity of the build VM: COMMAND prints one for {resource}.",
)  # fmt: skip
@cache_options
@freeze_option
@click.option(
    "--on-error", type=click.Choice(["cleanup", "keep", "ask", "shell"]),
    help="What to do when a step fails (default: ask on a terminal, else what errorHandling says).",
)  # fmt: skip
@click.option("--pause-before", metavar="STEP", multiple=True, help="Wait for you before this step.")
@click.option("--pause-after", metavar="STEP", multiple=True, help="Wait for you after this step.")
@click.option("--slow", is_flag=True, help="Build Windows images without KVM too, which takes many hours.")
@click.option("--verify-boot", is_flag=True, help="Boot the generalised image once more, as another machine.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Also copy the finished outputs into DIR."
)
@click.option("--also", type=click.Choice(["qcow2"]), multiple=True, help="Write this format beside each output.")
@click.option("--compress", is_flag=True, help="With --also qcow2: compress it (zstd).")
@click.option("--driver", metavar="NAME", help="What runs the machines (default: the setting, qemu).")
@click.option("--driver-option", "driver_options", metavar="KEY=VALUE", multiple=True, help="An option of the driver.")
@click.option(
    "--log-format", type=click.Choice(["A", "B"]), help="customization.log as before (A) or since (B) late 2023."
)
@click.option("--junit", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write JUnit XML, too.")
@click.option(
    "--at-once", type=click.IntRange(min=1), metavar="N",
    help="Of several templates, how many are built at once (default: as many as this host has CPUs).",
)  # fmt: skip
@click.option("--fail-fast", is_flag=True, help="Of several templates: the first that fails stops the others.")
@cluster_options
@click.pass_obj
def command(
    app: App, /, files: tuple[Path, ...], junit: Path | None, at_once: int | None, fail_fast: bool, hosts: str | None,
    scheduler: str | None, **options: Any,
) -> None:  # fmt: skip
    """Build the template in each FILE: provision, customize, generalize, validate, distribute.

    Several are built at once, as far as memory and CPUs go; nothing is built when one of them is invalid.

    Ends with 0 when the image is built and every output written, 1 when the build failed, 3 when the template is
    invalid, 4 when this host or the source image is not ready, 5 when buildTimeoutInMinutes is over, 130 when
    interrupted.
    """
    from aibemu.cli.drivers import check_driver
    from aibemu.settings import Settings

    settings = Settings.load(app.home.config)
    check_driver(options["driver"] or settings.driver)
    check_junit(junit)
    where = where_of(settings, hosts, scheduler)
    if where:
        options["on_error"] = options["on_error"] or "cleanup"
    if len(files) == 1:
        build(app, options_of(app, settings, files[0], **options), settings, junit=junit, where=where)
        return
    from aibemu.cli.several import Call, build_several, for_all

    call = Call(files=files, at_once=at_once or settings.at_once, fail_fast=fail_fast, junit=junit, where=where)
    build_several(app, call, settings, partial(options_of, app, settings, **for_all(files, **options)))


def build(
    app: App, options: BuildOptions, settings: Settings, *, junit: Path | None = None, where: Where | None = None
) -> None:  # fmt: skip
    """Build, show it, and end with the verb's exit code. where: the cluster that builds, if it is not this computer."""
    report, prepared = carry_out(app, options, settings, junit=junit, where=where)
    write_junit(app, junit, [built(prepared, report.summary, report.error)])
    if report.error is not None:
        tell_failure(app, report, prepared)
    _answer(app, report, prepared)


def carry_out(
    app: App, options: BuildOptions, settings: Settings, *, junit: Path | None = None, where: Where | None = None
) -> tuple[BuildReport, Prepared]:  # fmt: skip
    """Build and show it, until it is over."""
    from aibemu.cli.prompt import Prompter
    from aibemu.cli.request_file import reread
    from aibemu.cli.signals import obey_signals
    from aibemu.clock import CancelToken
    from aibemu.engine.api import Installation, start
    from aibemu.views.console import console_views
    from aibemu.views.stream import releasable

    shown: list[View] = []

    def views(run: Run) -> Sequence[View]:
        shown.extend(
            console_views(
                stream, app.clock, color=app.error_color, verbosity=app.verbosity, environ=os.environ,
                place=partial(from_root, here=Path.cwd(), environ=os.environ),
            )
        )  # fmt: skip
        return shown

    installation = Installation(home=app.home, settings=settings, clock=app.clock)
    with (
        releasable(sys.stderr) as stream, obey_signals(cancel := CancelToken()),
        on_cluster(app, where, cancel) as place,
    ):  # fmt: skip
        with annotating(options, stream), told_of_refusal(app, junit, options):
            prepared = _prepare(app, options, installation, cancel, place)
        annotate(prepared.diagnostics, options, stream, prepared.planned.secrets)
        # Not in the background: a second Ctrl-C must reach what builds.
        handle = start(
            prepared, views=views,
            ask=lambda run: Prompter(run, _terminal(app), sys.stderr, shown, app.home, mask=app.redactor.text),
            again=lambda: reread(options), background=False, phases=place.phases(prepared) if place else None,
        )  # fmt: skip
        return handle.wait(), prepared


def _prepare(
    app: App, options: BuildOptions, installation: Installation, cancel: CancelToken, place: Elsewhere | None
) -> Prepared:  # fmt: skip
    from aibemu.engine.api import prepare

    return prepare(
        place.options(options) if place else options, installation, emit=announcer(app), cancel=cancel,
        redactor=app.redactor, host=place.host if place else None,
    )  # fmt: skip


def on_error_of(app: App, given: str | None) -> OnErrorMode:
    """What to do when a step fails: as asked, else ask whoever sits at the terminal."""
    from aibemu.engine.asking import OnErrorMode

    return OnErrorMode(given) if given else OnErrorMode.ASK if _terminal(app) else OnErrorMode.TEMPLATE


def _terminal(app: App) -> TextIO | None:
    """Where somebody sits who can be asked; without one, an answer can come from another terminal."""
    here = sys.stdin.isatty() and sys.stderr.isatty() and app.output == "human" and not os.environ.get("CI")
    return sys.stdin if here else None


def tell_failure(app: App, report: BuildReport, prepared: Prepared) -> NoReturn:
    """Answer with a build that failed, and end with its exit code."""
    from aibemu.reports.failure import failure

    assert report.error is not None
    _show_timings(app, report)
    if app.output == "json":
        data = build_data(report.run, report.summary, prepared)
        app.envelope("error", data=data, error=as_json(report.error))
    else:
        for line in ["", *failure(report.summary)]:
            app.complain(line)
        for line in output_lines(report.summary):
            app.show(line)
    sys.exit(report.error.exit_code)


def _answer(app: App, report: BuildReport, prepared: Prepared) -> None:
    run, summary, out = report.run, report.summary, prepared.basis.options.outputs.out
    _show_timings(app, report)
    data = build_data(run, summary, prepared)
    logs = [f"log: {path}" for path in data["logs"].values()]
    copied = [f"outputs in: {as_typed(out)}"] if data["out"] and out else []
    end = f"{summary.noun}: nothing was run, nothing was written" if summary.dry_run else f"run {run.id}: Succeeded"
    app.result(data, [*output_lines(summary), *logs, *copied, end])


def _show_timings(app: App, report: BuildReport) -> None:
    from aibemu.reports.timings import timings

    for line in ["", *timings(report.summary)] if app.output == "human" else ():
        app.say(line)


def options_of(app: App, settings: Settings, file: Path, **options: Any) -> BuildOptions:
    """What was typed, as values. Raises `UsageError` for what makes no sense, and when FILE cannot be read."""
    from aibemu.engine.asking import Pauses
    from aibemu.engine.preparing.options import BuildOptions, DriverChoice, GuestOptions, OutputOptions

    if options["compress"] and not options["also"]:
        raise UsageError("--compress needs --also qcow2", hint="add --also qcow2: VHDs for Azure are never compressed")
    driver = DriverChoice(
        name=options["driver"] or settings.driver, options=_driver_options(options["driver_options"])
    )  # fmt: skip
    return BuildOptions(
        template=request_of(file, **options),
        subscription_id=settings.subscription_id,
        resource_group=settings.resource_group,
        driver=driver,
        reuse=reuse_of(settings, os.environ, **options),
        guest=GuestOptions(
            offline=options["offline"], identities=options["identities"], verify_boot=options["verify_boot"],
            slow=options["slow"],
        ),
        outputs=OutputOptions(
            out=options["out"] and options["out"].absolute(), also=options["also"], compress=options["compress"],
            log_format=options["log_format"] or settings.customization_log,
        ),
        on_error=on_error_of(app, options["on_error"]),
        pauses=Pauses(before=options["pause_before"], after=options["pause_after"]),
    )  # fmt: skip


def _driver_options(texts: Sequence[str]) -> Mapping[str, str]:
    pairs = {}
    for number, text in enumerate(texts, 1):
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(f"--driver-option is not KEY=VALUE ({nth(number, texts)})")
        pairs[key] = value
    return pairs
