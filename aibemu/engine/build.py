"""A build, on one page: five phases in order, a policy for errors around them, and a record of all of it.

`BuildState` is what a phase leaves for the next one. Whatever ends the phases, `Beside` waits for the work that goes on
beside them, `Fleet` destroys every machine that the policy does not keep, `Room` gives the memory back that they had,
and the record says how the build ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aibemu.clock import CancelToken, Deadline
from aibemu.engine.attempts import ErrorPolicy, attempt
from aibemu.engine.dry_run import dry_run
from aibemu.engine.machines.fleet import Fleet
from aibemu.engine.machines.freezing import Freezer
from aibemu.engine.outcome import Ending
from aibemu.engine.phases.customize import customize
from aibemu.engine.phases.distribute import distribute
from aibemu.engine.phases.generalize import generalize
from aibemu.engine.phases.provision import provision
from aibemu.engine.phases.validate import validate
from aibemu.engine.preparing.prepare import Planned
from aibemu.engine.room import Room
from aibemu.engine.services import Services
from aibemu.engine.state import BuildState
from aibemu.engine.turns import Turn
from aibemu.errors import BuildCancelled
from aibemu.events import Kind

Phases = Callable[[BuildState], None]


def build(
    planned: Planned, services: Services, policy: ErrorPolicy, cancel: CancelToken, turn: Turn | None = None,
    phases: Phases | None = None,
) -> Ending:  # fmt: skip
    """Carry out the plan. Expected failures are in what is returned; only bugs raise.

    turn: what to wait for before the first machine; it is given back. phases: what is done, where that is not all five
    phases on this host.
    """
    state = _begin(planned, services, cancel, Room(services, turn))
    with _recorded(state), state.room, state.fleet, state.beside:
        attempt(state, policy, phases or (dry_run if services.dry_run else _phases))
        if turn:
            error = state.end.ended_by
            turn.failed = error is not None and not isinstance(error, BuildCancelled)
    return state.end


def _phases(state: BuildState) -> None:
    make_image(state)
    distribute(state)
    state.beside.join()


def make_image(state: BuildState) -> None:
    """All phases but the last: leave the finished disk in `state.disk`."""
    state.deadline = state.room.make(state.plan.machine.memory_mib, state.deadline)
    if state.room.waited:  # those that were before it may have left a better layer
        state.planned = state.choose(state.planned)
    provision(state)
    customize(state)
    generalize(state)
    validate(state)


def _begin(planned: Planned, services: Services, cancel: CancelToken, room: Room) -> BuildState:
    clock = services.clock
    deadline = Deadline(
        clock=clock, cancel=cancel, slowness=services.accelerator.slowness,
        build_ends=clock.monotonic() + planned.plan.timeout_seconds,
    )  # fmt: skip
    fleet = Fleet(services, Freezer(services, on=services.options.reuse.freeze, always=services.options.reuse.always))
    return BuildState(
        services=services, planned=planned, deadline=deadline, fleet=fleet, room=room,
        skipped=set(services.reuser.wish.skipped),
    )  # fmt: skip


@contextmanager
def _recorded(state: BuildState) -> Iterator[None]:
    """Say at last how it ended. A bug is recorded and goes on up. A build that nobody let clean up has no end: the next
    command takes it for dead, and cleans up."""
    started = state.services.clock.monotonic()
    try:
        yield
    except BaseException as error:
        state.end.error = error
        raise
    finally:
        end = state.conclude()
        if not state.fleet.abandoned:
            state.emit(
                Kind.RUN_FINISHED, state=end.state, sub_state=end.sub_state, message=end.message, error=end.error,
                seconds=state.services.clock.monotonic() - started,
            )  # fmt: skip
