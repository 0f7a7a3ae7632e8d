"""One `aibemu run` from request to report: prepare, open the record, build, link what came out.

What fails before the record is open is an error of the request (the service refuses such a template at submission);
what fails after is a run that failed, and is told by its record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.clock import CancelToken, Clock, Deadline
from aibemu.cloud.ids import parse_id, staging_tags
from aibemu.engine.asking import Ask, OnErrorMode, Pauses
from aibemu.engine.attempts import OnErrorPolicy
from aibemu.engine.build import RunReport, run
from aibemu.engine.preparing.host import Continued
from aibemu.engine.preparing.prepare import Prepared, Request, prepare, prepare_again
from aibemu.engine.preparing.starts import make_wish, uses_layers
from aibemu.engine.request_file import request_json
from aibemu.engine.services import Services
from aibemu.errors import HostNotReady, UsageError
from aibemu.events import Emit, Kind, RunState, RunSubState, View
from aibemu.files import write_json, write_private_json
from aibemu.hypervisor import Accelerator, Firmware, HypervisorDriver
from aibemu.images import Provisioning
from aibemu.paths import Home
from aibemu.plan.model import Plan, step_json
from aibemu.plan.planner import Host
from aibemu.plan.reuse import Wish
from aibemu.redact import Redactor
from aibemu.runs.links import check_out, link_outputs
from aibemu.runs.mailbox import Once, watch
from aibemu.runs.store import Run, RunStore
from aibemu.settings import Settings
from aibemu.submission.request import TemplateRequest
from aibemu.telemetry import Telemetry
from aibemu.template.model import Target
from aibemu.views.customization_log import CustomizationLog
from aibemu.views.ndjson import NdjsonView

Pending = list[tuple[Kind, Mapping[str, Any]]]
MakeViews = Callable[[Run], Sequence[View]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What the command line asked for; None means: as the settings say.

    resumes, own, continues: the run that is gone on with; it and those that it continued; what it left. begin: called
    when nothing can be refused any more.
    """

    template: TemplateRequest
    offline: bool = False
    identities: tuple[str, ...] = ()
    verify_boot: bool = False
    out: Path | None = None
    also: tuple[str, ...] = ()
    compress: bool = False
    driver: str | None = None
    driver_options: Mapping[str, str] = field(default_factory=dict)
    log_format: str | None = None
    cold: bool = False
    cache: bool | None = None
    freeze: bool = True
    from_step: str | None = None
    max_age: timedelta | None = None
    on_error: OnErrorMode | None = None
    ask: Callable[[Run], Ask] | None = None
    pauses: Pauses = field(default_factory=Pauses)
    resumes: str | None = None
    own: frozenset[str] = frozenset()
    continues: Continued = field(default_factory=Continued)
    begin: Callable[[], None] = lambda: None


def execute(
    options: JobOptions, *, home: Home, settings: Settings, clock: Clock, cancel: CancelToken, views: MakeViews,
    announce: Emit,
) -> tuple[Run, RunReport, Prepared]:  # fmt: skip
    """Build. `announce` hears what happens before there is a run (downloads); `views` are the caller's own.

    Raises what `prepare` raises, `HostNotReady` for a driver that cannot do it, and bugs; a failed build is a report.
    """
    pending: Pending = []

    def remember(kind: Kind, /, **fields: Any) -> None:
        pending.append((kind, fields))
        announce(kind, **fields)

    if options.out:
        check_out(options.out)
    with_these: dict[str, Any] = {
        "home": home, "settings": settings, "clock": clock, "deadline": Deadline(clock=clock, cancel=cancel),
    }  # fmt: skip
    request = _request(options, settings)
    prepared = prepare(request, emit=remember, **with_these)
    options.pauses.check(prepared.plan.steps)
    _say_warnings(prepared, remember)
    driver = prepared.driver
    _check_driver(driver, prepared.plan)
    job = _Job(
        options=options, prepared=prepared, driver=driver, accelerator=driver.accelerator(), settings=settings,
        clock=clock, token=cancel, pending=pending,
        prepare_again=partial(prepare_again, request, host=prepared.host, **with_these),
    )  # fmt: skip
    options.begin()
    found, lock = RunStore(home.runs).create()
    try:
        report = job.record(found, views(found))
        if options.out:
            link_outputs(options.out, found, prepared.plan, prepared.cloud)
    finally:
        lock.release()
    return found, report, prepared


def _say_warnings(prepared: Prepared, say: Emit) -> None:
    for diagnostic in prepared.diagnostics:
        if diagnostic.severity is Severity.WARNING:
            say(Kind.NOTICE, level="warning", message=_sentence(diagnostic))


def _request(options: JobOptions, settings: Settings) -> Request:
    return Request(
        template=options.template, driver=options.driver or settings.driver, driver_options=options.driver_options,
        offline=options.offline, identities=options.identities, wish=_wish(options, settings),
        continues=options.continues,
    )  # fmt: skip


def _wish(options: JobOptions, settings: Settings) -> Wish:
    wish = make_wish(
        settings, cold=options.cold, cache=options.cache, from_step=options.from_step, max_age=options.max_age
    )  # fmt: skip
    return replace(wish, own=options.own)


def _sentence(diagnostic: Diagnostic) -> str:
    hint = f" ({diagnostic.hint})" if diagnostic.hint else ""
    return f"{diagnostic.span}: {diagnostic.id}: {diagnostic.message}{hint}"


def _check_driver(driver: HypervisorDriver, plan: Plan) -> None:
    firmware = Firmware(plan.machine.firmware)
    if firmware not in driver.capabilities().firmwares:
        raise HostNotReady(
            f"the driver {driver.name} cannot boot a generation {plan.source.image.info.generation.value} image here",
            hint="aibemu doctor says what is missing"
            + (" (OVMF for generation 2)" if firmware is Firmware.UEFI else ""),
            commands=["aibemu doctor"],
        )
    can = driver.capabilities()
    if plan.source.image.info.provisioning is Provisioning.AZURE and can.boots_guests and not can.wires:
        raise HostNotReady(
            f"the driver {driver.name} cannot boot an image that waits for Azure's platform",
            details=[f"{plan.source.source_id} is provisioned by Azure's data source only"],
            hint="use the driver qemu, or an image with cloud-init that accepts the NoCloud data source",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """Everything decided, nothing started."""

    options: JobOptions
    prepared: Prepared
    driver: HypervisorDriver
    accelerator: Accelerator
    settings: Settings
    clock: Clock
    token: CancelToken
    pending: Pending
    prepare_again: Callable[..., Prepared]

    def record(self, found: Run, views: Sequence[View]) -> RunReport:
        """Open the record, build, close it."""
        form = self.options.log_format or self.settings.customization_log
        record: list[View] = [
            NdjsonView(found.events_file),
            CustomizationLog(found.log("customization.log"), form=form),
            CustomizationLog(found.log("validation.log"), form=form, validation=True),
        ]
        redactor = Redactor(self.prepared.secrets)
        telemetry = Telemetry(found.id, [*record, *views], self.clock, redactor)
        plan = self.prepared.plan
        try:
            services = self._services(found, telemetry)
            write_json(found.directory / "template.json", redactor(dict(plan.template.document)))
            write_private_json(found.request_file, request_json(self.options))
            _open_record(services, plan, self.accelerator, self.pending, self.options.resumes, self.prepared.host)
            _record_staging(self.prepared)
            return _watched(services, plan, self.options.on_error or OnErrorMode.TEMPLATE)
        finally:
            telemetry.close()

    def _replan(self, emit: Emit) -> Plan:
        """The plan of the template as it is now, for another attempt of the same run."""
        again = self.prepare_again(emit=emit)
        if again.plan.template_id != self.prepared.plan.template_id or again.secrets != self.prepared.secrets:
            raise UsageError(
                "the template has another name or other secrets now: that is another run",
                hint="give up, and start it anew with `aibemu run`",
            )
        return again.plan

    def _services(self, found: Run, telemetry: Telemetry) -> Services:
        prepared, options = self.prepared, self.options
        return Services(
            run=found, driver=self.driver, accelerator=self.accelerator, clock=self.clock, cancel=self.token,
            telemetry=telemetry, store=prepared.store, cloud=prepared.cloud, settings=self.settings,
            distributor=prepared.distributor, log_id=str(uuid4()),
            template_directory=Path(prepared.plan.template.directory), identities=prepared.identities,
            reuser=prepared.reuser, freeze=uses_layers(self.settings, options.cache) and options.freeze,
            replan=lambda: self._replan(telemetry.emit), ask=options.ask(found) if options.ask else None,
            pauses=options.pauses,
            offline=options.offline, secrets=prepared.secrets, verify_boot=options.verify_boot, also=options.also,
            compress=options.compress,
        )  # fmt: skip


def _watched(services: Services, plan: Plan, mode: OnErrorMode) -> RunReport:
    """Run the plan while somebody looks for `aibemu cancel`."""

    @Once
    def canceling() -> None:
        services.emit(Kind.RUN_STATE, state=RunState.CANCELING.value, sub_state="", message="Canceling image build")

    template = plan.template
    policy = OnErrorPolicy(
        customizer=template.on_customizer_error, validation=template.on_validation_error, mode=mode,
        canceling=canceling,
    )  # fmt: skip
    with watch(services.run, services.cancel, canceling):
        return run(plan, services, policy)


def _open_record(
    services: Services, plan: Plan, accelerator: Accelerator, pending: Pending, resumes: str | None, host: Host
) -> None:
    template, image = plan.template, plan.source.image
    services.emit(
        Kind.RUN_STARTED,
        template=template.name,
        template_id=plan.template_id,
        file=template.file,
        image={"digest": image.digest, "os_name": image.info.os_name, "generation": image.info.generation.value},
        exact_version=plan.source.exact_version,
        driver=services.driver.name,
        driver_options=dict(services.driver.options),
        accelerator={"name": accelerator.name, "reason": accelerator.reason, "slowness": accelerator.slowness},
        log_id=services.log_id,
        steps=[step_json(step) for step in plan.steps],
        validators=[step_json(step) for step in plan.validators],
        targets=[_target_json(plan, target) for target in plan.targets],
        timeout_minutes=plan.timeout_seconds / 60,
        staging=plan.staging_group.rsplit("/", 1)[-1],
        pid=os.getpid(),
        resumes=resumes or "",
        skipped=sorted(services.reuser.wish.skipped),
        host=asdict(host),
    )
    services.emit(Kind.RUN_STATE, state=RunState.RUNNING.value, sub_state=RunSubState.QUEUED.value, message="")
    for kind, fields in pending:
        services.emit(kind, **fields)
    if not services.driver.capabilities().boots_guests:
        message = f"the driver {services.driver.name} runs nothing: every output will be a copy of the source image"
        services.emit(Kind.NOTICE, level="warning", message=message)
    for note in plan.notes:
        services.emit(Kind.NOTICE, level="note", message=note)


def _target_json(plan: Plan, target: Target) -> dict[str, Any]:
    """path: the local file that a VHD's `uri` names, for cleaning up after a crash."""
    from aibemu.distributors.places import LocalPlace, parse_place

    described: dict[str, Any] = {"run_output_name": target.run_output_name, "kind": target.kind}
    uri = target.options.get("uri")
    if isinstance(uri, str):
        place = parse_place(
            uri, directory=Path(plan.template.directory), name=target.run_output_name, span=target.span
        )  # fmt: skip
        if isinstance(place, LocalPlace):
            described["path"] = str(place.path)
    return described


def _record_staging(prepared: Prepared) -> None:
    """The staging group as the service would make or use it: its tags and the template's managedResourceTags."""
    plan = prepared.plan
    template = plan.template
    tags = staging_tags(parse_id(plan.template_id), user_supplied=bool(template.staging_resource_group))
    prepared.cloud.put_staging_group(
        plan.staging_group, location=template.location, tags={**tags, **template.managed_resource_tags}
    )
