"""Generalize: run the deprovision script last and as root, power off, prove offline that the image is generalised."""

from __future__ import annotations

from collections.abc import Sequence

from aibemu.disks.guestfs import DebugfsFailed
from aibemu.disks.libguestfs import Unreadable
from aibemu.engine.machines.boot import VERIFY, Booted
from aibemu.engine.phases.steps import StepRun, run_step
from aibemu.engine.state import BuildState
from aibemu.errors import Expired, GeneralizeFailed, HostNotReady, ProvisionFailed
from aibemu.events import Kind, Phase, RunSubState
from aibemu.hypervisor import Level, MachineState
from aibemu.processes import ToolFailed
from aibemu.systems.findings import GeneralizeFinding


def generalize(ctx: BuildState) -> None:
    """Leave `ctx.disk`: the system disk of a machine that is off."""
    if ctx.plan.source_validation_only:
        ctx.disk = ctx.plan.source.image.path
        ctx.skip(Phase.GENERALIZE)
        return
    with ctx.phase(Phase.GENERALIZE, None):
        build = ctx.fleet.build
        _deprovision(ctx, build)
        _power_off(ctx, build)
        ctx.disk = ctx.fleet.hold(build.machine.disk())
        if ctx.services.driver.capabilities().boots_guests:
            # Nothing waits for it: what it finds never fails a run.
            ctx.beside.start(lambda: _prove(ctx, build))
            if ctx.services.options.guest.verify_boot:
                _verify_boot(ctx)
    if ctx.plan.template.optimize_vm_boot:
        ctx.enter(RunSubState.OPTIMIZING)
        ctx.emit(
            Kind.NOTICE,
            level="note",
            message="optimize.vmBoot: emulated as a state only, the image is the same with and without it",
        )


def _deprovision(ctx: BuildState, build: Booted) -> None:
    step = build.system.deprovision(ctx.services.step_settings)
    run = StepRun(
        id="deprovision", kind=step.kind, label="deprovision script", index=0, total=1, step=step, hidden=True
    )  # fmt: skip
    outcome = run_step(ctx, build, run).outcome
    if outcome.error:
        raise GeneralizeFailed(
            f"the deprovision script failed: {outcome.error}",
            hint=outcome.hint,
            commands=[f"aibemu logs {ctx.services.run.id}"],
        )


def _power_off(ctx: BuildState, build: Booted) -> None:
    """By the power button, bounded; a guest that does not listen loses its power, as Azure's deallocation takes it."""
    started = ctx.services.clock.monotonic()
    build.communicator.close()
    machine = build.machine
    how = "power-button"
    bound = ctx.deadline.within(ctx.services.settings.poweroff_timeout)

    def is_off() -> bool:
        build.watchdog.check()
        return machine.state() is not MachineState.RUNNING

    machine.press_power_button()
    try:
        bound.poll(is_off)
        build.watchdog.check()  # what it could not write with its last breath
    except Expired:
        how = "killed"
        machine.kill()
        ctx.emit(Kind.NOTICE, level="warning", message="the guest ignored the power button: its power was cut")
    seconds = ctx.services.clock.monotonic() - started
    ctx.emit(Kind.MACHINE_STOPPED, machine=machine.id, how=how, seconds=seconds)


def _prove(ctx: BuildState, build: Booted) -> None:
    """Read the disk while it is off. What is found never fails a run: the service looks at none of it."""
    assert ctx.disk is not None

    def not_checked(why: str) -> None:
        ctx.emit(Kind.NOTICE, level="note", message=f"whether the image is generalised was not checked: {why}")

    try:
        found = build.system.generalized(
            ctx.disk, build.identity.user, scratch=ctx.services.run.work, deadline=ctx.deadline, tell=not_checked
        )  # fmt: skip
        _tell(ctx, [one for one in found if one.level is not Level.OK])
    except (HostNotReady, ToolFailed, Unreadable, DebugfsFailed) as error:
        not_checked(error.message)


def _tell(ctx: BuildState, found: Sequence[GeneralizeFinding]) -> None:
    """All of it to the record; to people what Azure would stumble over, and one sentence for the rest."""
    for one in found:
        ctx.emit(
            Kind.FINDING, level=one.level.value, check=one.check, message=one.message, azure=one.azure,
            review=one.review, fix=one.fix,
        )  # fmt: skip
    objections = [one.check for one in found if one.level is Level.WARNING]
    if objections:
        ctx.emit(
            Kind.NOTICE, level="note",
            message=f"a security review would object to {len(objections)} traces of the build machine that Azure "
            f"tolerates: aibemu logs {ctx.services.run.id} --findings",
        )  # fmt: skip


def _verify_boot(ctx: BuildState) -> None:
    """The strongest proof: a throw-away overlay of the image comes up as another machine, with another user."""
    assert ctx.disk is not None
    try:
        booted = ctx.fleet.boot(VERIFY, ctx.disk, ctx.planned, ctx.deadline)
        name = booted.system.host_name(booted.communicator, ctx.deadline)
    except ProvisionFailed as error:
        raise GeneralizeFailed(
            f"the generalised image does not come up as a new machine: {error.message}", details=error.details,
            hint="what deprovisioning left behind, or took away, is in: aibemu logs --findings",
            commands=[f"aibemu logs {ctx.services.run.id} --findings"],
        ) from error  # fmt: skip
    if name != booted.identity.hostname:
        raise GeneralizeFailed(
            f"the generalised image keeps its host name: {name} instead of {booted.identity.hostname}",
            hint=booted.system.advice.host_name,
        )
    message = f"the image comes up as another machine: host name {name}, user {booted.identity.user}"
    ctx.emit(Kind.NOTICE, level="note", message=message)
    ctx.fleet.release(VERIFY)
