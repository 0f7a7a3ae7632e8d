"""Generalize: run the deprovision script last and as root, power off, prove offline that the image is generalised."""

from __future__ import annotations

from collections.abc import Sequence

from aibemu.communicators import UploadFailed
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


def generalize(state: BuildState) -> None:
    """Leave `state.disk`: the system disk of a machine that is off."""
    if state.plan.source_validation_only:
        state.disk = state.plan.source.image.path
        state.skip(Phase.GENERALIZE)
        return
    with state.phase(Phase.GENERALIZE, None):
        build = state.fleet.build
        _deprovision(state, build)
        _power_off(state, build)
        state.disk = state.fleet.hold(build.machine.disk())
        if state.services.driver.capabilities().boots_guests:
            # Nothing waits for it: what it finds never fails a run.
            state.beside.start(lambda: _prove(state, build))
            if state.services.options.guest.verify_boot:
                _verify_boot(state)
    if state.plan.template.optimize_vm_boot:
        state.enter(RunSubState.OPTIMIZING)
        state.emit(
            Kind.NOTICE,
            level="note",
            message="optimize.vmBoot: emulated as a state only, the image is the same with and without it",
        )


def _deprovision(state: BuildState, build: Booted) -> None:
    step = build.system.deprovision(state.services.step_settings)
    run = StepRun(
        id="deprovision", kind=step.kind, label="deprovision script", index=0, total=1, step=step, hidden=True
    )  # fmt: skip
    outcome = run_step(state, build, run).outcome
    if outcome.error:
        raise GeneralizeFailed(
            f"the deprovision script failed: {outcome.error}",
            hint=outcome.hint,
            commands=[f"aibemu logs {state.services.run.id}"],
        )


def _power_off(state: BuildState, build: Booted) -> None:
    """By the guest itself where its system asks it to, else by the power button, bounded; a guest that does not listen
    loses its power, as Azure's deallocation takes it."""
    started = state.services.clock.monotonic()
    leaves = _leave(state, build)
    build.communicator.close()
    how = "guest" if leaves and _is_off_in_time(state, build) else ""
    if not how:
        if leaves:
            state.emit(Kind.NOTICE, level="warning", message="the guest did not power itself off when it was asked to")
        build.machine.press_power_button()
        how = "power-button" if _is_off_in_time(state, build) else "killed"
    if how == "killed":
        build.machine.kill()
        state.emit(Kind.NOTICE, level="warning", message="the guest ignored the power button: its power was cut")
    seconds = state.services.clock.monotonic() - started
    state.emit(Kind.MACHINE_STOPPED, machine=build.machine.id, how=how, seconds=seconds)


def _leave(state: BuildState, build: Booted) -> bool:
    """Whether the guest was asked to take out what let this run in, and to power itself off."""
    try:
        return build.system.leave(build.communicator, state.deadline)
    except (OSError, UploadFailed) as error:
        what = "what aibemu put into the guest, to get in, stays in the image"
        state.emit(Kind.NOTICE, level="warning", message=f"{what}: the guest could not be asked to remove it: {error}")
        return False


def _is_off_in_time(state: BuildState, build: Booted) -> bool:
    def is_off() -> bool:
        build.watchdog.check()
        return build.machine.state() is not MachineState.RUNNING

    try:
        state.deadline.within(state.services.settings.poweroff_timeout).poll(is_off)
    except Expired:
        return False
    build.watchdog.check()  # what it could not write with its last breath
    return True


def _prove(state: BuildState, build: Booted) -> None:
    """Read the disk while it is off. What is found never fails a run: the service looks at none of it."""
    assert state.disk is not None

    def not_checked(why: str) -> None:
        state.emit(Kind.NOTICE, level="note", message=f"whether the image is generalised was not checked: {why}")

    try:
        found = build.system.generalized(
            state.disk, build.identity.user, scratch=state.services.run.work, deadline=state.deadline, tell=not_checked
        )  # fmt: skip
        _tell(state, [one for one in found if one.level is not Level.OK])
    except (HostNotReady, ToolFailed, Unreadable, DebugfsFailed) as error:
        not_checked(error.message)


def _tell(state: BuildState, found: Sequence[GeneralizeFinding]) -> None:
    """All of it to the record; to people what Azure would stumble over, and one sentence for the rest."""
    for one in found:
        state.emit(
            Kind.FINDING, level=one.level.value, check=one.check, message=one.message, azure=one.azure,
            review=one.review, fix=one.fix,
        )  # fmt: skip
    objections = [one.check for one in found if one.level is Level.WARNING]
    if objections:
        state.emit(
            Kind.NOTICE, level="note",
            message=f"a security review would object to {len(objections)} traces of the build machine that Azure "
            f"tolerates: aibemu logs {state.services.run.id} --findings",
        )  # fmt: skip


def _verify_boot(state: BuildState) -> None:
    """The strongest proof: a throw-away overlay of the image comes up as another machine, with another user."""
    assert state.disk is not None
    try:
        booted = state.fleet.boot(VERIFY, state.disk, state.planned, state.deadline)
        name = booted.system.host_name(booted.communicator, state.deadline)
    except ProvisionFailed as error:
        raise GeneralizeFailed(
            f"the generalised image does not come up as a new machine: {error.message}", details=error.details,
            hint="what deprovisioning left behind, or took away, is in: aibemu logs --findings",
            commands=[f"aibemu logs {state.services.run.id} --findings"],
        ) from error  # fmt: skip
    if name != booted.identity.hostname:
        raise GeneralizeFailed(
            f"the generalised image keeps its host name: {name} instead of {booted.identity.hostname}",
            hint=booted.system.advice.host_name,
        )
    message = f"the image comes up as another machine: host name {name}, user {booted.identity.user}"
    state.emit(Kind.NOTICE, level="note", message=message)
    state.fleet.release(VERIFY)
