"""The last step in the guest, and switching it off.

A generalised guest is never started again. One that goes off by itself while the step runs (`sysprep /shutdown`) may be
generalised: its disk is asked. One that restarts meanwhile is no image any more.
"""

from __future__ import annotations

from aibemu.communicators import UploadFailed
from aibemu.engine.machines.boot import NOTICE_BOUND, Booted
from aibemu.engine.machines.watchdog import WentOff
from aibemu.engine.phases.steps import StepRun, run_step
from aibemu.engine.state import BuildState
from aibemu.errors import Expired, GeneralizeFailed
from aibemu.events import Kind
from aibemu.hypervisor import MachineEventKind, MachineState

# Seconds, before scaling, for the guest to take the order to leave.
ASK_BOUND = 60.0
# How a machine went off whose power was cut.
KILLED = "killed"


def deprovision(state: BuildState, build: Booted) -> bool:
    """Run the hidden last step. True when the machine went off by itself meanwhile: only its disk can say then how the
    step ended. `GeneralizeFailed` when it failed."""
    step = build.system.deprovision(state.services.step_settings)
    run = StepRun(
        id="deprovision", kind=step.kind, label="deprovision script", index=0, total=1, step=step, hidden=True
    )  # fmt: skip
    before = _resets(build)
    build.watchdog.may_go_off = True
    try:
        outcome = run_step(state, build, run).outcome
        if outcome.lost:
            _await_its_end(state, build, before)
    except WentOff:
        return True
    if not outcome.error:
        return False
    why = f"the deprovision script failed: {outcome.error}"
    if _resets(build) != before:
        why = "the machine restarted while its last step ran: it must go off after it, and never start again"
    raise GeneralizeFailed(
        why, details=outcome.details, hint=outcome.hint, commands=[f"aibemu logs {state.services.run.id}"]
    )


def _await_its_end(state: BuildState, build: Booted, before: int) -> None:
    """After a lost connection: give the machine time to go off, which raises `WentOff`, or to show that it restarts."""
    bound = state.deadline.within(NOTICE_BOUND * build.system.booting.off_patience)
    try:
        while _resets(build) == before:
            build.watchdog()
            bound.sleep(0.1)
    except Expired:
        return


def _resets(build: Booted) -> int:
    return build.machine.events().count(MachineEventKind.RESET)


def power_off(state: BuildState, build: Booted) -> None:
    """By the guest itself where its system asks it to, else by the power button, bounded; a guest that does not listen
    loses its power, as Azure's deallocation takes it. Nothing to do where it went off by itself."""
    started = state.services.clock.monotonic()
    how = "guest"
    if build.machine.state() is MachineState.RUNNING:
        how = _switch_off(state, build)
    build.communicator.close()
    build.watchdog.check()  # what it could not write with its last breath
    if how != KILLED:
        build.watchdog.check_off()
    seconds = state.services.clock.monotonic() - started
    state.emit(Kind.MACHINE_STOPPED, machine=build.machine.id, how=how, seconds=seconds)


def _switch_off(state: BuildState, build: Booted) -> str:
    """How it went off, as in `Kind.MACHINE_STOPPED`."""
    leaves = _leave(state, build)
    build.communicator.close()
    if leaves and _is_off_in_time(state, build):
        return "guest"
    if leaves:
        state.emit(Kind.NOTICE, level="warning", message="the guest did not power itself off when it was asked to")
    build.machine.press_power_button()
    if _is_off_in_time(state, build):
        return "power-button"
    build.machine.kill()
    state.emit(Kind.NOTICE, level="warning", message="the guest ignored the power button: its power was cut")
    return KILLED


def _leave(state: BuildState, build: Booted) -> bool:
    """Whether the guest was asked to take out what let this run in, and to power itself off."""
    try:
        return build.system.leave(build.communicator, state.deadline.within(ASK_BOUND))
    except (OSError, UploadFailed, Expired) as error:
        state.deadline.check()
        what = "what aibemu put into the guest, to get in, stays in the image"
        state.emit(Kind.NOTICE, level="warning", message=f"{what}: the guest could not be asked to remove it: {error}")
        return False


def _is_off_in_time(state: BuildState, build: Booted) -> bool:
    def is_off() -> bool:
        build.watchdog.check()
        return build.machine.state() is not MachineState.RUNNING

    seconds = state.services.settings.poweroff_timeout * build.system.booting.off_patience
    try:
        state.deadline.within(seconds).poll(is_off)
    except Expired:
        return False
    return True
