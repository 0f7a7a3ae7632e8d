"""`aibemu plan FILE`: what a build would do, what each part resolves to, and what is emulated differently."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aibemu.cli.app import App
from aibemu.cli.cache_options import FreezesAlways, cache_options, freeze_option, reuse_of
from aibemu.cli.template_options import MAPPINGS, VALUES, WHICH, request_of, template_options
from aibemu.errors import NotBuildable
from aibemu.text import counted

if TYPE_CHECKING:
    from aibemu.engine.preparing.options import BuildOptions
    from aibemu.engine.preparing.prepare import Planned
    from aibemu.hardware import Hardware
    from aibemu.plan.model import Plan, PlannedStep
    from aibemu.settings import Settings

# A driver that makes no machine can plan for any guest.
DRY = "dryrun"


@click.command("plan", cls=FreezesAlways, short_help="Show what a build would do.")
@template_options(WHICH, VALUES, MAPPINGS)
@click.option("--offline", is_flag=True, help="Fetch nothing: scripts must be local, mapped or fetched before.")
@click.option("--driver", metavar="NAME", help="What runs the machines (default: the setting, qemu).")
@click.option("--slow", is_flag=True, help="Plan for Windows images without KVM too.")
@cache_options
@freeze_option
@click.pass_obj
def command(app: App, /, file: Path, driver: str | None, **options: Any) -> None:
    """Resolve everything that FILE names, fetch its scripts, and show the steps of a build. No machine is started.

    Ends with 4, after the plan, when this aibemu cannot build the template.
    """
    prepared, missing = planned(app, file, driver, **options)
    from aibemu.cli.diagnostics import as_data, render

    plan = prepared.plan
    for line in render(prepared.diagnostics, mask=app.redactor.text, color=app.color):
        app.say(line)
    if missing and app.output != "human":  # an answer to programs is either data or an error
        raise missing
    app.result({**as_json(plan), "diagnostics": as_data(prepared.diagnostics)}, lines(plan))
    if missing:
        raise missing


def planned(app: App, file: Path, driver: str | None, **options: Any) -> tuple[Planned, NotBuildable | None]:
    """The plan for what was typed; and what this aibemu lacks, where the plan is that of a driver that makes no
    machine."""
    from aibemu.cli.drivers import check_driver
    from aibemu.engine.preparing.options import BuildOptions, DriverChoice, GuestOptions
    from aibemu.settings import Settings

    settings = Settings.load(app.home.config)
    check_driver(driver or settings.driver)
    wanted = BuildOptions(
        template=request_of(file, **options), subscription_id=settings.subscription_id,
        resource_group=settings.resource_group, driver=DriverChoice(name=driver or settings.driver),
        reuse=reuse_of(settings, os.environ, **options),
        guest=GuestOptions(offline=options["offline"], slow=options["slow"]),
    )  # fmt: skip
    return _prepared(app, wanted, settings)


def _prepared(app: App, wanted: BuildOptions, settings: Settings) -> tuple[Planned, NotBuildable | None]:
    from aibemu.clock import CancelToken
    from aibemu.engine.preparing.installation import Installation
    from aibemu.engine.preparing.options import DriverChoice
    from aibemu.engine.preparing.prepare import prepare_basis
    from aibemu.events import Kind

    def announce(kind: Kind, /, **fields: Any) -> None:
        if kind is Kind.NOTICE:
            app.warn(fields["message"])

    def prepare(options: BuildOptions) -> Planned:
        return prepare_basis(options, installation, emit=announce, cancel=CancelToken(), redactor=app.redactor)[1]

    installation = Installation(home=app.home, settings=settings, clock=app.clock)
    try:
        return prepare(wanted), None
    except NotBuildable as error:
        try:
            return prepare(replace(wanted, driver=DriverChoice(name=DRY))), error
        except NotBuildable:
            raise error from None


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan for programs."""
    return {
        "template": plan.template.name,
        "templateId": plan.template_id,
        "source": {
            "id": plan.source.source_id,
            "exactVersion": plan.source.exact_version,
            "known": plan.source.known,
            "image": plan.source.image.digest,
            "os": plan.source.image.info.os_name,
            "generation": plan.source.image.info.generation.value if plan.source.known else "",
            "planInfo": dict(plan.source.plan) if plan.source.plan else None,
        },
        "machine": {
            "vmSize": plan.machine.vm_size,
            "cpus": plan.machine.cpus,
            "memoryMiB": plan.machine.memory_mib,
            "diskBytes": plan.machine.disk_bytes,
            "firmware": plan.machine.firmware,
            "disk": plan.machine.devices.hardware.disk.value,
            "cdrom": plan.machine.devices.hardware.cdrom.value,
            "network": plan.machine.devices.hardware.nic.value,
            "secureBoot": plan.machine.devices.hardware.secure_boot,
            "tpm": plan.machine.devices.hardware.tpm,
        },
        "start": plan.start,
        "startBoots": plan.start is None or any(step.boots for step in plan.steps),
        "buildTimeoutInMinutes": plan.timeout_seconds / 60,
        "stagingResourceGroup": plan.staging_group,
        "customize": [_step_json(step) for step in plan.steps],
        "validate": [_step_json(step) for step in plan.validators],
        "distribute": [{"runOutputName": target.run_output_name, "type": target.kind} for target in plan.targets],
        "notes": list(plan.notes),
    }


def _step_json(step: PlannedStep) -> dict[str, Any]:
    return {
        "id": step.id,
        "type": step.spec.kind,
        "label": step.spec.label,
        "at": str(step.spec.span),
        "reason": step.reason,
        "cached": step.cached,
        "fingerprint": step.fingerprint,
        "files": [{"uri": file.uri, "sha256": file.sha256, "size": file.size} for file in step.files],
    }


def start_words(plan: Plan) -> str:
    """How the build machine comes to be."""
    if plan.start is None:
        return "boots the source image"
    last = plan.steps[plan.done - 1] if plan.done else None
    if last and last.boots:
        return f"from the restart after {last.spec.label}: boots the disk as it was then"
    return f"from the layer after {last.spec.label if last else 'provisioning'}"


def device_words(hardware: Hardware) -> str:
    """The devices of the machine that matter to a guest."""
    more = [word for word, there in (("Secure Boot", hardware.secure_boot), ("TPM", hardware.tpm)) if there]
    return ", ".join([f"disk {hardware.disk}", f"CD {hardware.cdrom}", f"network {hardware.nic}", *more])


def lines(plan: Plan) -> Iterator[str]:
    """The plan for people."""
    image, machine = plan.source.image, plan.machine
    yield f"{plan.template.name}  ({plan.template_id})"
    found = f"{image.short} {image.info.os_name}, {image.info.generation.value}" if plan.source.known else "not here"
    yield f"  source      {plan.source.source_id} -> {found}"
    if plan.source.plan:
        yield f"  planInfo    {', '.join(f'{name} {value}' for name, value in plan.source.plan.items())}"
    yield (
        f"  machine     {machine.vm_size}: {counted(machine.cpus, 'vCPU')}, {machine.memory_mib} MiB, "
        f"{f'{machine.disk_bytes / 2**30:g} GiB' if machine.disk_bytes else 'disk as the source'}, {machine.firmware}"
    )
    yield f"  devices     {device_words(plan.machine.devices.hardware)}"
    yield f"  start       {start_words(plan)}"
    yield f"  timeout     {plan.timeout_seconds / 60:g} minutes"
    for title, steps in (("customize", plan.steps), ("validate", plan.validators)):
        for step in steps:
            yield f"  {title:<10}  {step.id} {step.spec.kind}: {step.spec.label}  [{step.fingerprint[:12]}]"
            yield f"              {step.reason}"
            for file in step.files:
                yield f"              {file.uri} ({file.size} bytes, sha256 {file.sha256[:12]})"
    for target in plan.targets:
        yield f"  distribute  {target.kind}: {target.run_output_name}"
    for note in plan.notes:
        yield f"  note        {note}"
