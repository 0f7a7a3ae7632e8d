"""Getting into a run's machine from outside of the build: which machine, where it listens, who may log in.

The record says so (`machine.started`), and the driver whether the machine runs. Nothing else is asked of it: QEMU's
monitor talks to one client at a time, and while a run is being built that is the builder.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibemu.clock import Clock, Deadline
from aibemu.communicators import Access, Communicator, Credentials, LoginHopeless
from aibemu.communicators.factory import Connector, Watch, connector, nothing
from aibemu.communicators.silence import telling_silence
from aibemu.errors import Expired, NotFoundError, ProvisionFailed, UsageError
from aibemu.events import Kind, RunState
from aibemu.fabric.handle import Platform
from aibemu.hypervisor import Machine, MachineState
from aibemu.paths import Home
from aibemu.reports.fold import Folding
from aibemu.reports.summary import MachineSummary, RunSummary
from aibemu.runs.drivers import driver_of
from aibemu.runs.store import Run
from aibemu.systems import GuestSystem, load

BUILD = "build"
ROLES = (BUILD, "validate", "verify")
# Seconds that a machine which was logged in to before may take to answer, before scaling: it may be rebooting. And
# after how many a person is told why nothing happens.
PATIENCE = 30.0
TELL_AFTER = 3.0
# Seconds between two looks at the record of a machine that still boots.
LOOK_EVERY = 0.5
Tell = Callable[[str], None]


class Unreachable(ProvisionFailed):
    """A machine runs and nobody gets in, or it went away while somebody was in. Ends with 255, as ssh does."""

    code = "UNREACHABLE"
    exit_code = 255
    retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """A machine that runs, and how to get in."""

    run: Run
    # build, validate or verify.
    role: str
    machine: Machine
    access: Access
    # Whether its builder has logged in since it was started.
    ready: bool
    # How many times longer than with KVM things take.
    slowness: float
    # Of the image, as in Azure. Records of earlier versions do not have it: there were no others.
    os_type: str = "Linux"

    @property
    def connector(self) -> Connector:
        """What knows how to use `access`; raises what `connector` does for a communicator that is not installed."""
        return connector(self.access.communicator)

    @property
    def system(self) -> GuestSystem:
        """The guest's operating system; raises what `load` does for one that is not installed."""
        return load(self.os_type)

    @property
    def address(self) -> str:
        """Where it listens, for people."""
        return f"{self.access.host} port {self.access.port}"

    def __str__(self) -> str:
        return f"the {self.role} machine of run {self.run.id}"

    def runs(self) -> bool:
        """Whether it still does."""
        return self.machine.state() is MachineState.RUNNING

    def check(self) -> None:
        """Raise `Unreachable` when it does not run any more."""
        if not self.runs():
            raise Unreachable(f"{self} does not run any more", commands=[f"aibemu status {self.run.id}"])

    def bound(self, clock: Clock) -> Deadline:
        """How long it may take to get in."""
        return Deadline(clock=clock, slowness=self.slowness).within(PATIENCE)


def find_machine(home: Home, run: Run, role: str | None = None) -> Reach:
    """The machine of `run` that can be got into: the one in `role`, else the one that was kept, else the newest.

    Raises `NotFoundError`, which says what became of it, when it does not run, and `UsageError` for a dry run.
    """
    summary, started = _read(run)
    driver = driver_of(summary, home)
    if summary.dry_run or (driver is not None and not driver.capabilities().lets_in):
        why = "is a dry run" if summary.dry_run else "has guests that a script plays"
        raise UsageError(
            f"run {run.id} {why}: no machine was started, and there is nothing to log in to",
            hint="build the template with a driver that boots machines, or read what this run did",
            commands=[f"aibemu logs {run.id}"],
        )
    machines = {name: driver.find(run.machines / name) for name in started} if driver is not None else {}
    running = {name: it for name, it in machines.items() if it and it.state() is MachineState.RUNNING}
    chosen = role or next((one.role for one in reversed(summary.kept) if one.role in running), None)
    chosen = chosen or next(reversed(running), "")
    if chosen not in running:
        raise _missing(run, summary, role, {name: machine is not None for name, machine in machines.items()}, running)
    fields = started[chosen]
    access = access_of(fields)
    if access is None:
        raise NotFoundError(
            f"the record of run {run.id} does not say who may log in: an older aibemu wrote it",
            details=[f"get in with: {machine.command}" for machine in summary.kept],
        )
    state = next((one.state for one in summary.machines if one.id == fields["machine"]), "started")
    return Reach(
        run=run, role=chosen, machine=running[chosen], access=access, ready=state != "started",
        slowness=float(summary.accelerator.get("slowness") or 1.0),
        os_type=str(summary.image.get("os_type") or "Linux"),
    )  # fmt: skip


def access_of(started: Mapping[str, Any]) -> Access | None:
    """How to get in, as the fields of a machine's `machine.started` have it; None when they do not say it.

    Records of earlier versions have endpoint, user and key alone: then it is SSH.
    """
    if (given := started.get("access")) is not None:
        try:
            return Access.from_json(given)
        except (KeyError, TypeError, ValueError):
            return None
    if not (started.get("user") and started.get("key")):
        return None
    host, _, port = str(started["endpoint"]).rpartition(":")
    credentials = Credentials(user=started["user"], key_file=Path(started["key"]))
    return Access(communicator="ssh", host=host, port=int(port), credentials=credentials)


def find_connector(run: Run) -> Connector:
    """What gets into the machines of `run`, as far as its record goes; before a machine was started, SSH."""
    communicator = "ssh"
    for event in run.events():
        if event.kind is Kind.MACHINE_STARTED and (access := access_of(event.fields)):
            communicator = access.communicator
    return connector(communicator)


def await_machine(home: Home, run: Run, role: str | None, *, clock: Clock, tell: Tell) -> Reach:
    """Like `find_machine`; while another process still boots the machine, `tell` so once and wait for its first login.

    It has no bound of its own: the builder has one, and then the machine is gone.
    """
    never, told = threading.Event(), False
    while True:
        reach = find_machine(home, run, role)
        if reach.ready or not run.alive():
            return reach
        if not told:
            tell(f"{reach} is booting: waiting until somebody can log in")
            told = True
        clock.wait(never, LOOK_EVERY)


def await_server(reach: Reach, *, clock: Clock, tell: Tell) -> None:
    """Wait until its server answers; `Unreachable` if it does not in time, or if nothing listens there."""
    _look_for_listener(reach)
    _leave_mark(reach)
    try:
        with _telling(reach, tell):
            reach.connector.await_server(reach.access, deadline=reach.bound(clock), alive=reach.check)
    except Expired:
        raise unreachable(reach, f"no {reach.connector.title} server answered on {reach.address}") from None


def connect(
    reach: Reach, *, clock: Clock, tell: Tell, on_held: Callable[[], None], check: Callable[[], None] = nothing
) -> Communicator:
    """Log in; `Unreachable` says what the guest last answered. on_held: see `Watch`. check: asked beside the machine as
    long as somebody waits for the guest, and may raise."""

    def alive() -> None:
        reach.check()
        check()

    _look_for_listener(reach)
    _leave_mark(reach)
    try:
        with _telling(reach, tell):
            silence = telling_silence(tell, str(reach), reach.slowness)
            depot = Platform.depot_at(reach.run.platform / reach.role)
            watch = Watch(alive=alive, on_held=on_held, on_silence=silence, depot=depot)
            return reach.connector.connect(reach.access, deadline=reach.bound(clock), watch=watch)
    except (Expired, LoginHopeless) as error:
        raise unreachable(reach, ": ".join([error.message, *error.details])) from None


def unreachable(reach: Reach, why: str) -> Unreachable:
    """The error for a machine that runs and does not let anybody in."""
    return Unreachable(
        f"{reach} cannot be logged in to: {why}",
        hint=f"it may be rebooting, or a step changed its {reach.connector.title} server, its user or that user's keys",
        commands=[f"aibemu logs {reach.run.id}"],
    )


def _leave_mark(reach: Reach) -> None:
    """Before anybody gets in: what they change must not get into layers, which other builds start from."""
    if reach.role == BUILD and reach.run.alive():
        reach.run.leave_mark()


def _look_for_listener(reach: Reach) -> None:
    """A hypervisor listens from the machine's first instant; if nothing does now, nothing ever will.

    Found out by taking the port: a connection that says nothing would count against us in the guest's server.
    """
    family = socket.AF_INET6 if ":" in reach.access.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((reach.access.host, reach.access.port))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:  # in use, as it should be; or not for us to say
                return
    raise unreachable(reach, f"nothing listens on {reach.address}")


@contextmanager
def _telling(reach: Reach, tell: Tell) -> Iterator[None]:
    """Say why nothing happens if the block takes long."""
    timer = threading.Timer(TELL_AFTER, tell, [f"waiting for the {reach.connector.title} server of {reach}"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _read(run: Run) -> tuple[RunSummary, dict[str, Mapping[str, Any]]]:
    """The fold of the record, and how the machine in each role was last started, the newest last."""
    folding, started = Folding(), dict[str, Mapping[str, Any]]()
    for event in run.events():
        folding.add(event)
        if event.kind is Kind.MACHINE_STARTED:
            role = str(event.fields["role"])
            started.pop(role, None)
            started[role] = event.fields
    return folding.summary(), started


def _missing(
    run: Run, summary: RunSummary, role: str | None, there: Mapping[str, bool], running: Iterable[str]
) -> NotFoundError:
    """there: of each role that had a machine, whether the driver still has something of it."""
    if others := [name for name in running if name != role]:
        return NotFoundError(
            f"run {run.id} has no {role} machine that runs", hint=f"its {others[-1]} machine does: --role {others[-1]}"
        )
    details = [
        f"the {one.role} machine {_became(one, summary, there.get(one.role, False))}" for one in summary.machines
    ]
    if run.alive():
        phase = f": it is in phase {summary.current_phase.name}" if summary.current_phase else ""
        return NotFoundError(
            f"no machine of run {run.id} runs now{phase}", details=details,
            hint="look again while it customizes or validates", commands=[f"aibemu status {run.id}"],
        )  # fmt: skip
    state = summary.state if summary.finished else "its process died"
    message = f"run {run.id} ({state}) has no machine{' any more' if details else ': it ended before there was one'}"
    if summary.state == RunState.SUCCEEDED.value:
        return NotFoundError(
            message, details=details, hint="what it made is kept", commands=[f"aibemu outputs {run.id}"]
        )
    return NotFoundError(
        message, details=details, commands=[f"aibemu resume {run.id}"],
        hint="go on with it, or run it again with --on-error keep: then a machine that fails is kept",
    )  # fmt: skip


def _became(machine: MachineSummary, summary: RunSummary, there: bool) -> str:
    if machine.state == "kept":
        return "was kept, and is powered off now" if there else "was kept, and has been destroyed since"
    if machine.state == "lost":
        return f"was lost: {machine.why}"
    if there:
        return "is powered off"
    return "was destroyed when the run ended" if summary.finished else "is gone"
