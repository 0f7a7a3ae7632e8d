"""Generalize: run the deprovision script last and as root, power off, prove offline that the image is generalised."""

from __future__ import annotations

from collections.abc import Sequence

from aibemu.disks.guestfs import DebugfsFailed
from aibemu.disks.libguestfs import Unreadable
from aibemu.engine.machines.boot import VERIFY, Booted
from aibemu.engine.phases.last_step import deprovision, power_off
from aibemu.engine.phases.sealing import seal
from aibemu.engine.state import BuildState
from aibemu.errors import GeneralizeFailed, HostNotReady, ProvisionFailed
from aibemu.events import Kind, Phase, RunSubState
from aibemu.hypervisor import Level
from aibemu.processes import ToolFailed
from aibemu.systems.findings import GeneralizeFinding, Sealed
from aibemu.text import counted


def generalize(state: BuildState) -> None:
    """Leave `state.disk`: the system disk of a machine that is off."""
    if state.plan.source_validation_only:
        state.disk = state.plan.source.image.path
        state.skip(Phase.GENERALIZE)
        return
    with state.phase(Phase.GENERALIZE, None):
        build = state.fleet.build
        by_itself = deprovision(state, build)
        power_off(state, build)
        state.disk = state.fleet.hold(build.machine.disk())
        real = state.services.driver.capabilities().boots_guests
        sealed = seal(state, build) if real else None
        if by_itself:
            _prove_or_fail(state, build, sealed, real=real)
        elif sealed is not None:
            _tell_unproven(state, sealed.unproven)
            _tell(state, [one for one in sealed.findings if one.level is not Level.OK])
        elif real:
            # Nothing waits for it: what it finds never fails a run.
            state.beside.start(lambda: _prove(state, build))
        if real and state.services.options.guest.verify_boot:
            _verify_boot(state)
    if state.plan.template.optimize_vm_boot:
        state.enter(RunSubState.OPTIMIZING)
        state.emit(
            Kind.NOTICE,
            level="note",
            message="optimize.vmBoot: emulated as a state only, the image is the same with and without it",
        )


def _prove_or_fail(state: BuildState, build: Booted, sealed: Sealed | None, *, real: bool) -> None:
    """The machine went off by itself while it was generalised: what its disk says decides. `GeneralizeFailed`."""
    off = "the machine powered itself off while its last step ran"
    hint = "let the deprovision script end, with the machine on (Sysprep: /quit, not /shutdown): aibemu switches it off"
    found: Sequence[GeneralizeFinding] = ()
    why = "no guest runs with this driver, so its disk says nothing"
    if sealed is not None:
        found, why = sealed.findings, sealed.unproven
    elif real:
        found, why = _look(state, build)
    _tell(state, [one for one in found if one.level is not Level.OK])
    if why or not found:
        why = why or "its disk was not looked at"
        raise GeneralizeFailed(f"{off}, and whether it is generalised is not known: {why}", hint=hint)
    if wrong := [one for one in found if one.level is Level.ERROR]:
        raise GeneralizeFailed(
            f"{off}, and it is not generalised: {wrong[0].message}", details=[one.message for one in wrong[1:]],
            hint=hint, commands=[f"aibemu logs {state.services.run.id} --findings"],
        )  # fmt: skip
    state.emit(Kind.NOTICE, level="warning", message=f"{off}; its disk says that it is generalised: in the service "
               "such a build may fail, for it loses the connection")  # fmt: skip


def _prove(state: BuildState, build: Booted) -> None:
    """Read the disk while it is off. What is found never fails a run: the service looks at none of it."""
    found, _ = _look(state, build)
    _tell(state, [one for one in found if one.level is not Level.OK])


def _tell_unproven(state: BuildState, why: str) -> None:
    if why:
        state.emit(Kind.NOTICE, level="note", message=f"it is not proven that the image is generalised: {why}")


def _look(state: BuildState, build: Booted) -> tuple[list[GeneralizeFinding], str]:
    """What the disk says, and why some or all of it was not looked at; people are told of that."""
    assert state.disk is not None
    reasons: list[str] = []

    def not_checked(why: str) -> None:
        reasons.append(why)
        _tell_unproven(state, why)

    try:
        found = build.system.generalized(
            state.disk, build.identity.user, scratch=state.services.run.work, deadline=state.deadline, tell=not_checked
        )  # fmt: skip
        return list(found), next(iter(reasons), "")
    except (HostNotReady, ToolFailed, Unreadable, DebugfsFailed) as error:
        not_checked(error.message)
        return [], error.message


def _tell(state: BuildState, found: Sequence[GeneralizeFinding]) -> None:
    """All of it to the record; to people what Azure would stumble over, and one sentence for the rest."""
    for one in found:
        state.emit(
            Kind.FINDING, level=one.level.value, check=one.check, problem=one.problem, message=one.message,
            azure=one.azure, review=one.review, fix=one.fix,
        )  # fmt: skip
        if one.said:
            state.emit(Kind.NOTICE, level="note", message=one.said)
    objections = [one.check for one in found if one.level is Level.WARNING]
    if objections:
        state.emit(
            Kind.NOTICE, level="note",
            message=f"{counted(len(objections), 'leftover')} of the build machine in the image (fine for Azure, not "
            f"for a security review); see: aibemu logs {state.services.run.id} --findings",
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
    if name.lower() != booted.identity.hostname.lower():  # to Windows they are the same
        raise GeneralizeFailed(
            f"the generalised image keeps its host name: {name} instead of {booted.identity.hostname}",
            hint=booted.system.advice.host_name,
        )
    message = f"the image comes up as another machine: host name {name}, user {booted.identity.user}"
    state.emit(Kind.NOTICE, level="note", message=message)
    state.fleet.release(VERIFY)
