"""The beginning of a run's record: the files beside it, and the events that come before the first phase."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aibemu.arm.diagnostics import Diagnostic
from aibemu.cloud.ids import parse_id, staging_tags
from aibemu.engine.preparing.prepare import Planned
from aibemu.engine.services import Services
from aibemu.events import Kind, RunState, RunSubState
from aibemu.files import write_json, write_private_json
from aibemu.plan.model import Plan, step_json
from aibemu.plan.planner import Host
from aibemu.template.model import Target

# Events that came before there was a run.
Said = Sequence[tuple[Kind, Mapping[str, Any]]]


def open_record(services: Services, planned: Planned, said: Said, host: Host) -> None:
    """Write what a run is begun with. said: what people have heard already. host: what the plan was made for."""
    run, plan = services.run, planned.plan
    write_json(run.directory / "template.json", services.redactor.document(dict(plan.template.document)))
    write_private_json(run.request_file, _request(services))
    services.emit(Kind.RUN_STARTED, **_started(services, plan, host))
    services.emit(Kind.RUN_STATE, state=RunState.RUNNING.value, sub_state=RunSubState.QUEUED.value, message="")
    for kind, fields in said:
        services.telemetry.keep(kind, **fields)
    if services.dry_run:
        message = f"dry run: the driver {services.driver.name} starts no machine; no step is run and nothing is written"
        # No warning: it is what was asked for, and pull requests would have one at each check.
        services.emit(Kind.NOTICE, level="note", message=message)
    elif not services.driver.capabilities().boots_guests:
        listens = services.driver.capabilities().listens
        outputs = "hold what a stand-in left" if listens else "be a copy of the source image"
        message = f"the driver {services.driver.name} only plays guests: every output will {outputs}"
        services.emit(Kind.NOTICE, level="warning", message=message)
    for note in plan.notes:
        services.emit(Kind.NOTICE, level="note", message=note)
    if not services.dry_run:
        _record_staging(services, plan)


def _request(services: Services) -> dict[str, Any]:
    """The options as `request.json` has them: the template's text is left out where it is in a file, for that is read
    again, and may hold secrets; paths in the driver's options are absolute, for `resume` may be typed elsewhere."""
    value = services.options.to_json()
    if services.options.template.document.in_file:
        value["document"]["text"] = ""
    value["driver"]["options"] = dict(services.driver.options)
    return value


def sentence(diagnostic: Diagnostic) -> str:
    """A finding about the template, in one line."""
    hint = f" ({diagnostic.hint})" if diagnostic.hint else ""
    return f"{diagnostic.span}: {diagnostic.id}: {diagnostic.message}{hint}"


def _started(services: Services, plan: Plan, host: Host) -> dict[str, Any]:
    template, image, accelerator = plan.template, plan.source.image, services.accelerator
    earlier = services.options.continues
    return {
        "template": template.name,
        "template_id": plan.template_id,
        "file": template.file,
        "image": {
            "digest": image.digest, "os_name": image.info.os_name, "os_type": image.info.os_type,
            "generation": image.info.generation.value if plan.source.known else "",
        },
        "exact_version": plan.source.exact_version,
        "driver": services.driver.name,
        "driver_options": dict(services.driver.options),
        "accelerator": {
            "name": accelerator.name, "reason": accelerator.reason, "slowness": accelerator.slowness
        },
        "log_id": services.log_id,
        "steps": [step_json(step) for step in plan.steps],
        "validators": [step_json(step) for step in plan.validators],
        "targets": [_target_json(plan, target) for target in plan.targets],
        "timeout_minutes": plan.timeout_seconds / 60,
        "staging": plan.staging_group.rsplit("/", 1)[-1],
        "pid": os.getpid(),
        "resumes": earlier.run if earlier else "",
        "skipped": sorted(services.reuser.wish.skipped),
        "host": asdict(host),
        "dry_run": services.dry_run,
    }  # fmt: skip


def _target_json(plan: Plan, target: Target) -> dict[str, Any]:
    """path: the local file that a VHD's `uri` names, for cleaning up after a crash."""
    from aibemu.distributors.destinations import LocalDestination, parse_destination

    described: dict[str, Any] = {"run_output_name": target.run_output_name, "kind": target.kind}
    uri = target.options.get("uri")
    if target.kind == "VHD" and isinstance(uri, str):
        place = parse_destination(
            uri, directory=Path(plan.template.directory), name=target.run_output_name, span=target.span
        )  # fmt: skip
        if isinstance(place, LocalDestination):
            described["path"] = str(place.path)
    return described


def _record_staging(services: Services, plan: Plan) -> None:
    """The staging group as the service would make or use it: its tags and the template's managedResourceTags."""
    template = plan.template
    tags = staging_tags(parse_id(plan.template_id), user_supplied=bool(template.staging_resource_group))
    services.stores.cloud.put_staging_group(
        plan.staging_group, location=template.location, tags={**tags, **template.managed_resource_tags}
    )
