"""`aibemu run FILE FILE ...`: several templates in one call, with one view, one answer and one exit code.

All are read and judged first, and nothing is built when one of them cannot be. Then each is a run as any other.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from aibemu.cli.answers import annotate, annotating, announcer, as_typed, build_data, output_lines
from aibemu.cli.app import App
from aibemu.cli.cluster_options import on_cluster
from aibemu.cli.junit_file import built, refused, write_junit
from aibemu.cli.render import as_json, show
from aibemu.errors import AibemuError, BuildCancelled, UsageError, host_error
from aibemu.paths import safe_name
from aibemu.redact import Redactor
from aibemu.repository import from_root
from aibemu.text import counted, short

if TYPE_CHECKING:
    from aibemu.cluster.connecting import Where
    from aibemu.cluster.remote import Elsewhere
    from aibemu.engine.api import Prepared
    from aibemu.engine.places import ViewsOf
    from aibemu.engine.preparing.installation import Installation
    from aibemu.engine.preparing.options import BuildOptions
    from aibemu.engine.together import CancelAll, Ended
    from aibemu.reports.summary import RunSummary
    from aibemu.runs.store import Run
    from aibemu.settings import Settings
    from aibemu.views.several import Shared

# Of several exit codes the first of these is the call's: of builds, and of templates that cannot be built.
WORST = (70, 130, 4, 1, 5)
WORST_REFUSAL = (2, 3, 4)
# What is about one template.
_OF_ONE = {"name": "--name", "from_step": "--from", "pause_before": "--pause-before", "pause_after": "--pause-after"}
# Seconds for which a second Ctrl-C waits until the terminal is in order.
_LEAVING = 1.0
INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What was typed that is about all of them. at_once: 0 for as many as the host has CPUs."""

    files: tuple[Path, ...]
    at_once: int = 0
    fail_fast: bool = False
    junit: Path | None = None
    # The cluster that builds, if it is not this computer.
    where: Where | None = None


def for_all(files: Sequence[Path], **options: Any) -> dict[str, Any]:
    """The options for each of several templates. `UsageError` for one that can be about one template only."""
    given = [option for name, option in _OF_ONE.items() if options[name]]
    if given:
        raise UsageError(
            f"{' and '.join(given)} can only be about one template, and {len(files)} are given",
            hint="build that template by itself",
        )
    if options["on_error"] in ("ask", "shell"):
        raise UsageError(
            f"--on-error {options['on_error']} cannot be where several templates are built: who answers could not tell "
            "which of them asks",
            hint="take keep, to get into the machine afterwards, or build the template by itself",
        )
    return {**options, "on_error": options["on_error"] or "template"}


def build_several(app: App, call: Call, settings: Settings, options_of: Callable[[Path], BuildOptions]) -> None:
    """Build all, show it, and end with the verb's exit code. options_of: those of one file."""
    from aibemu.cli.signals import obey_signals
    from aibemu.engine.apart import check_apart
    from aibemu.engine.places import Here
    from aibemu.engine.preparing.installation import Installation
    from aibemu.engine.together import CancelAll, Together
    from aibemu.engine.turns import Turns
    from aibemu.views.console import shared_view
    from aibemu.views.stream import releasable

    installation = Installation(home=app.home, settings=settings, clock=app.clock)
    with (
        releasable(sys.stderr) as stream, obey_signals(cancels := CancelAll()),
        on_cluster(app, call.where, cancels) as place,
    ):  # fmt: skip
        prepared = _prepare_all(app, call, installation, options_of, cancels, stream, place)
        check_apart(prepared)
        turns = Turns(
            most=call.at_once or max(one.basis.host.cpus for one in prepared), fail_fast=call.fail_fast
        )  # fmt: skip
        shared = shared_view(
            stream, app.clock, [_name(one) for one in prepared], color=app.error_color, verbosity=app.verbosity,
            environ=os.environ,
        )  # fmt: skip
        together = Together(place=place or Here(turns=turns), fail_fast=call.fail_fast)
        try:
            ended = together.build(prepared, partial(_views, shared))
        except KeyboardInterrupt:
            _leave_at_once(app, shared)
            raise
        shared.close()
    _answer(app, [_over(app, one) for one in ended], call.junit)


def _name(prepared: Prepared) -> str:
    return prepared.plan.template.name


def _views(shared: Shared, prepared: Prepared) -> ViewsOf:
    from aibemu.views.console import annotating_views

    place = partial(from_root, here=Path.cwd(), environ=os.environ)

    def views(run: Run) -> Sequence[Any]:
        return [shared.member(run.id, _name(prepared)), *annotating_views(shared.stream, os.environ, place)]

    return views


def _leave_at_once(app: App, shared: Shared) -> None:
    """A second Ctrl-C: nobody waits for the builds any more, nor does Python for their threads. The next command finds
    dead runs, and cleans up."""
    closing = threading.Thread(target=shared.close, daemon=True)
    closing.start()
    closing.join(_LEAVING)
    if not closing.is_alive():
        app.complain("interrupted twice: the next aibemu command cleans up what these builds left")
    os._exit(INTERRUPTED)


# Before anything is built


class _OneOfSeveral(Redactor):
    """A build's own; the program learns its secrets, too."""

    def __init__(self, program: Redactor) -> None:
        self._program = program
        super().__init__()

    def learn(self, secrets: Iterable[str]) -> None:
        known = list(secrets)
        super().learn(known)
        self._program.learn(known)


def _prepare_all(
    app: App, call: Call, installation: Installation, options_of: Callable[[Path], BuildOptions], cancels: CancelAll,
    stream: TextIO, place: Elsewhere | None,
) -> list[Prepared]:  # fmt: skip
    """All templates, ready to be built. Ends the program when one cannot be: with what is wrong with each of them."""
    from aibemu.engine.api import prepare

    prepared: list[Prepared] = []
    found: list[tuple[Path, AibemuError]] = []
    for file in call.files:
        try:
            options = place.options(options_of(file)) if place else options_of(file)
            with annotating(options, stream):
                made = prepare(
                    options, installation, emit=announcer(app, f"{file}: "), cancel=cancels.one(),
                    redactor=_OneOfSeveral(app.redactor), host=place.host if place else None,
                )  # fmt: skip
        except BuildCancelled:
            raise
        except AibemuError as error:
            found.append((file, error))
            continue
        annotate(made.diagnostics, options, stream, made.planned.secrets)
        prepared.append(_with_a_folder_of_its_own(made))
    if found:
        valid = [built(one, None, None, "nothing was built: another template cannot be") for one in prepared]
        write_junit(app, call.junit, [*(refused(str(file), error) for file, error in found), *valid])
        _refuse(app, found, len(call.files))
    return prepared


def _with_a_folder_of_its_own(prepared: Prepared) -> Prepared:
    """Each template's outputs in a folder of `--out` that is called like it."""
    options = prepared.basis.options
    if options.outputs.out is None:
        return prepared
    outputs = replace(options.outputs, out=options.outputs.out / safe_name(_name(prepared)))
    return replace(prepared, basis=replace(prepared.basis, options=replace(options, outputs=outputs)))


def _refuse(app: App, found: Sequence[tuple[Path, AibemuError]], count: int) -> None:
    worst = min((error for _, error in found), key=lambda error: _rank(error.exit_code, WORST_REFUSAL))
    if app.output == "json":
        data = {"refused": [{"file": str(file), "error": as_json(error)} for file, error in found]}
        app.envelope("error", data=data, error=as_json(worst))
    else:
        for file, error in found:
            app.complain(f"{file}:")
            show(app, error)
            app.complain("")
        names = ", ".join(str(file) for file, _ in found)
        app.complain(f"nothing was built: {len(found)} of {counted(count, 'template')} cannot be built ({names})")
    sys.exit(worst.exit_code)


# When all are over


@dataclass(frozen=True, slots=True, kw_only=True)
class _Over:
    """A build as it is told. error: what ended it, for people; None when it succeeded, or was stopped for another."""

    name: str
    ended: Ended
    summary: RunSummary | None
    error: AibemuError | None

    @property
    def state(self) -> str:
        if self.summary is None:
            return "not begun"
        return self.summary.shown_state


def _over(app: App, ended: Ended) -> _Over:
    """A bug becomes the error that says where its traceback is."""
    from aibemu.cli.bug import report_bug
    from aibemu.cli.runs import summarize

    error = ended.error
    if isinstance(error, OSError):
        error = host_error(error) or error
    if error is not None and not isinstance(error, AibemuError):
        error = report_bug(app, error)
    summary = ended.report.summary if ended.report else summarize(ended.run) if ended.run else None
    return _Over(name=_name(ended.prepared), ended=ended, summary=summary, error=error)


def _answer(app: App, all_of_them: Sequence[_Over], junit: Path | None) -> None:
    write_junit(app, junit, [
        built(one.ended.prepared, one.summary, one.error, str(one.error) if one.ended.stopped else "")
        for one in all_of_them
    ])  # fmt: skip
    errors = [one.error for one in all_of_them if one.error and not one.ended.stopped]
    worst = min(errors, key=lambda error: _rank(error.exit_code, WORST), default=None)
    if app.output == "json":
        status = "error" if worst else "success"
        app.envelope(status, data={"builds": list(map(_data, all_of_them))}, error=worst and as_json(worst))
    else:
        for one in all_of_them:
            _tell(app, one)
        app.show(_count(all_of_them))
    if worst:
        sys.exit(worst.exit_code)


def _rank(code: int, order: Sequence[int]) -> int:
    return order.index(code) if code in order else len(order)


def _data(one: _Over) -> dict[str, Any]:
    prepared, run = one.ended.prepared, one.ended.run
    told = build_data(run, one.summary, prepared) if run and one.summary else {}
    return {
        "template": one.name, "file": prepared.basis.options.template.document.name, "stopped": one.ended.stopped,
        "error": as_json(one.error) if one.error else None, **told,
    }  # fmt: skip


def _tell(app: App, one: _Over) -> None:
    """Why it failed, on standard error; what it made, and how it ended."""
    summary, error = one.summary, one.error
    if error and not one.ended.stopped:
        _complain(app, one, error)
    if summary is None or one.ended.run is None:
        app.show(f"{one.name}: {one.state}")
        return
    why = f": {error}" if error and one.ended.stopped else ""
    app.show(f"{one.name}: {one.state} after {short(summary.seconds)} (run {one.ended.run.id}){why}")
    lines = output_lines(summary)
    out = one.ended.prepared.basis.options.outputs.out
    if out and error is None and not summary.dry_run:
        lines.append(f"outputs in: {as_typed(out)}")
    for line in lines:
        app.show(f"  {line}")


def _complain(app: App, one: _Over, error: AibemuError) -> None:
    from aibemu.reports.failure import failure

    app.complain("")
    app.complain(f"{one.name}:")
    if one.summary and one.summary.error:
        for line in failure(one.summary):
            app.complain(line)
    else:
        show(app, error)


def _count(all_of_them: Sequence[_Over]) -> str:
    states = [one.state for one in all_of_them]
    # All states are said of a build, but for "dry run", which is one.
    counts = ", ".join(
        counted(states.count(state), state) if state == "dry run" else f"{states.count(state)} {state}"
        for state in dict.fromkeys(states)
    )
    return f"{counted(len(all_of_them), 'template')}: {counts}"
