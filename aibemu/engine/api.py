"""The door for programs that want an image built: prepare, start, wait, cancel.

    prepared = prepare(options, installation, emit=emit, cancel=CancelToken())
    handle = start(prepared)
    report = handle.wait()

What fails before there is a run is an error of the options (the service refuses such a template at submission); what
fails after is a run that failed, and is told by its record. Any number of builds may go on in one process, started from
any thread; each has its own cancel. Nothing here obeys signals, reads the environment or knows a working directory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.clock import CancelToken, Deadline
from aibemu.engine.asking import Ask
from aibemu.engine.attempts import ErrorPolicy
from aibemu.engine.build import Phases, build
from aibemu.engine.opening import Said, open_record, sentence
from aibemu.engine.preparing.buildable import check_driver
from aibemu.engine.preparing.installation import Installation
from aibemu.engine.preparing.options import BuildOptions
from aibemu.engine.preparing.prepare import Basis, Planned, examine_and_plan, prepare_basis
from aibemu.engine.services import Services
from aibemu.engine.turns import Turn
from aibemu.errors import AibemuError, BuildTimedOut, UsageError
from aibemu.events import Emit, Kind, RunState, View
from aibemu.files import FileLock
from aibemu.hypervisor import Accelerator
from aibemu.plan.model import Plan
from aibemu.plan.planner import Host
from aibemu.readiness import require_ready
from aibemu.redact import Redactor
from aibemu.reports.summary import RunSummary
from aibemu.runs.admission import check_fits
from aibemu.runs.mailbox import Once, watch
from aibemu.runs.out import check_out, copy_outputs
from aibemu.runs.record import RecordReader
from aibemu.runs.store import Run, RunStore
from aibemu.telemetry import Telemetry
from aibemu.views.customization_log import CustomizationLog
from aibemu.views.folding import FoldingView
from aibemu.views.ndjson import NdjsonView

__all__ = ["BuildHandle", "BuildOptions", "BuildReport", "Installation", "Prepared", "prepare", "start"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A build that nothing stands in the way of; no run exists yet."""

    basis: Basis
    planned: Planned
    # What was emitted while it was prepared.
    said: Said
    # Pulling it ends the build.
    cancel: CancelToken

    @property
    def plan(self) -> Plan:
        return self.planned.plan

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Warnings and notes about the template."""
        return self.planned.diagnostics


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """A build that is over: what its record says, and the error that ended it, if any."""

    run: Run
    summary: RunSummary
    error: AibemuError | None


def prepare(
    options: BuildOptions, installation: Installation, *, emit: Emit, cancel: CancelToken,
    redactor: Redactor | None = None, host: Host | None = None,
) -> Prepared:  # fmt: skip
    """Check and fetch all that the build needs. `emit` hears what happens meanwhile: downloads, warnings.

    redactor: learns the secrets of the template as they become known, so that who calls can take them out of what it
    shows, errors included; one for each build. host: what gives the machines, where that is not this computer: then
    nothing is asked of this one, and `start` is told the `phases`.

    Raises `TemplateInvalid`, `UsageError`, `NotFoundError`, `HostNotReady` and `ArtifactError`: what a person can mend;
    `BuildCancelled` when `cancel` is pulled.
    """
    said: list[tuple[Kind, Mapping[str, Any]]] = []
    redactor = redactor or Redactor()

    def remember(kind: Kind, /, **fields: Any) -> None:
        said.append((kind, fields))
        emit(kind, **redactor(fields))

    if options.outputs.out:
        check_out(options.outputs.out)
    basis, planned = prepare_basis(options, installation, emit=remember, cancel=cancel, redactor=redactor, host=host)
    options.pauses.check(planned.plan.steps)
    for diagnostic in planned.diagnostics:
        if diagnostic.severity is Severity.WARNING:
            remember(Kind.NOTICE, level="warning", message=sentence(diagnostic))
    if basis.here:
        _check_host(basis, planned.plan, remember)
    return Prepared(basis=basis, planned=planned, said=tuple(said), cancel=cancel)


def _check_host(basis: Basis, plan: Plan, emit: Emit) -> None:
    check_driver(basis.driver, plan)
    if basis.driver.capabilities().boots_guests:
        reserve = basis.installation.settings.memory_reserve_mib
        for warning in require_ready(basis.installation.home):
            emit(Kind.NOTICE, level="warning", message=warning)
        check_fits(plan.machine.memory_mib, basis.driver.capacity(), reserve)


def start(
    prepared: Prepared,
    *,
    views: Callable[[Run], Sequence[View]] = lambda run: (),
    ask: Callable[[Run], Ask] | None = None,
    again: Callable[[], BuildOptions] | None = None,
    background: bool = True,
    turn: Turn | None = None,
    phases: Phases | None = None,
) -> BuildHandle:
    """Make the run and build it; once for each that was prepared.

    views: what shows it, made once there is a run. ask: a person to be asked, made likewise. again: the options for
    another attempt, where the template may have changed by then; None: those of the first one.
    background: build in a thread of its own. Otherwise `wait` builds, in the thread that calls it: an exception that a
    signal raises there (a second Ctrl-C) then ends the build.
    turn: among several builds; the build waits for it, and gives it back. phases: see `engine.build.build`.
    """
    run, lock = RunStore(prepared.basis.installation.home.runs).create()
    try:
        running = _Running(
            prepared=prepared, run=run, lock=lock, again=again or (lambda: prepared.basis.options),
            folding=FoldingView(), turn=turn, phases=phases,
        )  # fmt: skip
        running.open(views(run), ask(run) if ask else None)
    except BaseException:
        lock.release()
        raise
    return BuildHandle(running, background=background)


class BuildHandle:
    """A build that goes on. Its methods may be called from any thread."""

    def __init__(self, running: _Running, *, background: bool) -> None:
        self._running = running
        self._report: BuildReport | None = None
        self._bug: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._waiting = threading.Lock()
        if background:
            self._thread = threading.Thread(target=self._carry_out, name=f"build-{self.run.id}")
            self._thread.start()

    @property
    def run(self) -> Run:
        """Its run, whose record may be read at any time."""
        return self._running.run

    def cancel(self, reason: str = "cancelled") -> None:
        """End the build soon; its machines are destroyed. `wait` says when that is done."""
        self._running.prepared.cancel.cancel(reason)

    def wait(self) -> BuildReport:
        """Wait for the end. Raises what is a bug, came from a signal, or kept outputs from being copied to `out`."""
        if self._thread is not None:
            self._thread.join()
        else:
            with self._waiting:  # who comes second finds it built
                if self._report is None and self._bug is None:
                    self._carry_out()
        if self._bug is not None:
            raise self._bug
        assert self._report is not None
        return self._report

    def _carry_out(self) -> None:
        try:
            self._report = self._running.carry_out()
        except BaseException as error:  # noqa: BLE001 - raised again by `wait`
            self._bug = error


@dataclass(slots=True, kw_only=True)
class _Running:
    """One build with its run, from the opened record to the closed one."""

    prepared: Prepared
    run: Run
    # Held until the build is over: nobody takes the run for dead.
    lock: FileLock
    again: Callable[[], BuildOptions]
    folding: FoldingView
    turn: Turn | None
    phases: Phases | None
    services: Services = field(init=False)

    def open(self, views: Sequence[View], ask: Ask | None) -> None:
        """Make the record, and write how it begins."""
        basis, planned = self.prepared.basis, self.prepared.planned
        form = basis.options.outputs.log_format
        record: list[View] = [
            NdjsonView(self.run.events_file), CustomizationLog(self.run.log("customization.log"), form=form),
            CustomizationLog(self.run.log("validation.log"), form=form, validation=True), self.folding,
        ]  # fmt: skip
        clock = basis.installation.clock
        telemetry = Telemetry(
            self.run.id, record, clock, basis.redactor, shown=views,
            read_on=lambda: RecordReader(self.run.events_file).after,
        )  # fmt: skip
        try:
            self.services = Services(
                run=self.run, log_id=basis.log_id, options=basis.options, installation=basis.installation,
                redactor=basis.redactor, telemetry=telemetry, driver=basis.driver,
                accelerator=_accelerator(basis), stores=basis.stores, reuser=basis.reuser, rng=basis.rng,
                ask=ask,
            )  # fmt: skip
            open_record(self.services, planned, self.prepared.said, basis.host)
        except BaseException:
            telemetry.close()
            raise

    def carry_out(self) -> BuildReport:
        """Build, close the record, copy what came out to where it was asked for."""
        try:
            error = None
            try:
                error = self._build()
            finally:
                soon = bool(self.prepared.cancel) or isinstance(error, BuildTimedOut)
                self.services.telemetry.close(soon=soon)
            summary = self.folding.summary()
            if (out := self.prepared.basis.options.outputs.out) and not self.services.dry_run:
                self._copy_outputs(out, summary)
        finally:
            if self.folding.summary().ended:
                self.run.note_end()
            self.lock.release()
        return BuildReport(run=self.run, summary=summary, error=error)

    def _copy_outputs(self, out: Path, summary: RunSummary) -> None:
        """The build is over, but this can still be cancelled: of a build that was, the logs are copied."""
        basis, plan, cancel = self.prepared.basis, self.prepared.plan, self.prepared.cancel
        token = CancelToken() if cancel else cancel
        with watch(self.run, token, lambda: None):
            deadline = Deadline(clock=basis.installation.clock, cancel=token)
            copy_outputs(out, self.run, summary.outputs, plan.template_id, basis.stores.cloud, deadline)

    def _build(self) -> AibemuError | None:
        """Build while a thread looks for `aibemu cancel`."""
        template, options, emit = self.prepared.plan.template, self.prepared.basis.options, self.services.emit
        cancel = self.prepared.cancel

        @Once
        def canceling() -> None:
            emit(Kind.RUN_STATE, state=RunState.CANCELING.value, sub_state="", message="Canceling image build")

        policy = ErrorPolicy(
            customizer=template.on_customizer_error, validation=template.on_validation_error, mode=options.on_error,
            plan_again=self._plan_again, canceling=canceling,
        )  # fmt: skip
        with watch(self.run, cancel, canceling):
            error = build(self.prepared.planned, self.services, policy, cancel, self.turn, self.phases).ended_by
        return error if isinstance(error, AibemuError) else None

    def _plan_again(self) -> Planned:
        """The plan of the template as it is now, for another attempt of the same run."""
        before = self.prepared.planned
        deadline = Deadline(clock=self.services.clock, cancel=self.prepared.cancel)
        planned = examine_and_plan(self.prepared.basis, self.again(), emit=self.services.emit, deadline=deadline)
        # Other secrets do no harm: the run's redactor has learned them before anything of this attempt is shown.
        if planned.plan.template_id != before.plan.template_id:
            raise UsageError(
                "the template has another name now: that is another run",
                hint="give up, and start it anew with `aibemu run`",
            )
        return planned


def _accelerator(basis: Basis) -> Accelerator:
    if basis.here:
        return basis.driver.accelerator()
    return Accelerator(name="elsewhere", reason="the machines run on another computer", slowness=1.0)
