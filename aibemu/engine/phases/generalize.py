"""Generalize: run the deprovision script last and as root, power off, prove offline that the image is generalised."""

from __future__ import annotations

from aibemu.engine.boot import Booted
from aibemu.engine.context import RunContext
from aibemu.engine.steps import StepRun, run_step
from aibemu.errors import Expired, GeneralizeFailed
from aibemu.events import Kind, Phase, RunSubState
from aibemu.generalizers.check import check_generalized
from aibemu.generalizers.linux import Deprovision
from aibemu.hypervisor import Level, MachineState


def generalize(ctx: RunContext) -> None:
    """Leave `ctx.disk`: the system disk of a machine that is off."""
    if ctx.plan.source_validation_only:
        ctx.disk = ctx.plan.source.image.path
        ctx.skip(Phase.GENERALIZE)
        return
    with ctx.phase(Phase.GENERALIZE, None):
        build = ctx.build
        _deprovision(ctx, build)
        _power_off(ctx, build)
        ctx.disk = build.machine.disk()
        if ctx.ports.driver.capabilities().boots_guests:
            _prove(ctx, build)
    if ctx.plan.template.optimize_vm_boot:
        ctx.enter(RunSubState.OPTIMIZING)
        ctx.emit(
            Kind.NOTICE,
            level="note",
            message="optimize.vmBoot: emulated as a state only, the image is the same with and without it",
        )


def _deprovision(ctx: RunContext, build: Booted) -> None:
    run = StepRun(
        id="deprovision", kind="Shell", label="deprovision script", index=0, total=1,
        step=Deprovision(ctx.step_settings), hidden=True,
    )  # fmt: skip
    outcome = run_step(ctx, build, run)
    if outcome.error:
        raise GeneralizeFailed(
            f"the deprovision script failed: {outcome.error}",
            hint="its output is above; a customizer may have removed it (cleaning /tmp does), or the Azure agent",
            commands=[f"aibemu logs {ctx.ports.run.id}"],
        )


def _power_off(ctx: RunContext, build: Booted) -> None:
    """By the power button, bounded; a guest that does not listen loses its power, as Azure's deallocation takes it."""
    started = ctx.ports.clock.monotonic()
    build.communicator.close()
    machine = build.machine
    how = "power-button"
    bound = ctx.deadline.within(ctx.ports.settings.poweroff_timeout)

    def is_off() -> bool:
        build.vigil.check()
        return machine.state() is not MachineState.RUNNING

    machine.press_power_button()
    try:
        bound.poll(is_off)
        build.vigil.check()  # what it could not write with its last breath
    except Expired:
        how = "killed"
        machine.kill()
        ctx.emit(Kind.NOTICE, level="warning", message="the guest ignored the power button: its power was cut")
    seconds = ctx.ports.clock.monotonic() - started
    ctx.emit(Kind.MACHINE_STOPPED, machine=machine.id, how=how, seconds=seconds)


def _prove(ctx: RunContext, build: Booted) -> None:
    from aibemu.images.guestfs import GuestFiles

    assert ctx.disk is not None
    files = GuestFiles.open_disk(ctx.disk, "qcow2", ctx.ports.run.work, ctx.deadline)
    if files is None:
        message = "the disk's root file system cannot be read here: not checked"
        ctx.emit(Kind.FINDING, level=Level.NOTE.value, check="generalized", message=message)
        return
    with files:
        for finding in check_generalized(files, build.identity.user):
            if finding.level is not Level.OK:
                ctx.emit(Kind.FINDING, level=finding.level.value, check=finding.check, message=finding.message)
