"""From an image to a machine that a step can use: start it, hear that it is provisioned, wait until it is ready.

A guest that reports to the platform says itself that it is provisioned, or that it failed. Then, and for others at
once, its operating system says when steps can run (`aibemu.systems`). A boot that hangs or fails ends early, with the
console and a screenshot saved.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Credentials, ExitStatus
from aibemu.customizers import Restart
from aibemu.engine.machines.boot_times import boot_key
from aibemu.engine.machines.devices import UNTRIED, Devices
from aibemu.engine.machines.progress import FIRST_BOOT, REPORT, Progress
from aibemu.engine.machines.saving import Look, RestartSaver, no_look
from aibemu.engine.machines.starting import Owner, Started, start
from aibemu.engine.machines.watchdog import Watchdog
from aibemu.engine.preparing.prepare import Planned
from aibemu.engine.services import Services
from aibemu.errors import Expired
from aibemu.events import Kind
from aibemu.fabric.handle import Platform
from aibemu.fabric.identity import Identity, fresh_identity
from aibemu.hypervisor import Machine
from aibemu.systems import GuestSystem, Ready

REBOOT_BOUND = 300.0  # seconds, before scaling: Packer's start_retry_timeout
# How long a machine may take to show that it is rebooting after a connection was lost, seconds before scaling.
NOTICE_BOUND = 10.0
# Seconds between two questions to a guest that restarts.
LOOK = 0.5
# The role of a machine that only shows that an image comes up as a new one; its user is nobody the image has seen.
VERIFY = "verify"
VERIFY_USER = "another"


@dataclass(slots=True, kw_only=True)
class Booted:
    """A machine that is up and can be talked to."""

    machine: Machine
    # build, validate or VERIFY.
    role: str
    identity: Identity
    # Who may log in.
    credentials: Credentials
    system: GuestSystem
    communicator: Communicator
    watchdog: Watchdog
    # What its system says of this boot; another one after each restart.
    boot_id: str
    # Tells people how far a restart is.
    progress: Progress | None = None
    # How its first boot ended (`aibemu.systems.Ready`); "" if that was not in this run.
    first_boot: str = ""

    def rebooted(self, deadline: Deadline) -> bool:
        """After a lost connection: wait until the guest answers again; True if it is another boot."""
        bound = deadline.within(REBOOT_BOUND)
        settle = deadline.within(NOTICE_BOUND)
        try:
            with self._awaiting("it to answer again"):
                while True:
                    self.watchdog()
                    current = self._boot_id_now(bound)
                    if current and current != self.boot_id:
                        self.boot_id = current
                        return True
                    if current and settle.remaining() == 0:
                        return False
                    bound.sleep(1.0)
        except Expired:
            raise self.watchdog.lost("the machine did not answer again after the connection was lost") from None

    def wait_for_reboot(self, deadline: Deadline) -> None:
        """After a step that set a restart going: wait for the next boot; raises if there is none."""
        try:
            self._await_next_boot(deadline.within(REBOOT_BOUND))
        except Expired:
            raise self.watchdog.lost("the machine did not come back after a restart") from None

    def restart(
        self, command: str, check: str | None, timeout: float, deadline: Deadline, *, accept: Collection[int] = (0,),
        saver: RestartSaver | None = None,
    ) -> Restart:  # fmt: skip
        """See `aibemu.customizers.Guest.restart`. saver: puts the disk aside meanwhile."""
        clock = deadline.clock
        began = clock.monotonic()
        bound = deadline.within(timeout)
        status, restarted, ready = ExitStatus(code=None), False, False
        try:
            with self._saving(saver, deadline) as look:
                status = self.communicator.run(command, deadline=bound)
                # Without a status it was cut off, by the restart that it asked for.
                if status.code is None or status.code in accept:
                    self._await_next_boot(bound, look)
                    restarted = True
            if restarted:
                if saver:
                    saver.restarted(self.boot_id)
                ready = check is None or self._await_success(check, bound)
        except Expired:
            deadline.check()
        return Restart(command=status, restarted=restarted, ready=ready, seconds=clock.monotonic() - began)

    @contextmanager
    def _saving(self, saver: RestartSaver | None, deadline: Deadline) -> Iterator[Look]:
        """The communicator, too, may be waiting when the guest resets: each look of the watchdog is one at that."""
        if saver is None:
            yield no_look
            return
        observe = self.watchdog.observe
        with saver.during_restart(deadline) as look:

            def look_first() -> None:
                look()
                observe()

            self.watchdog.observe = look_first
            try:
                yield look
            finally:
                self.watchdog.observe = observe

    def _await_next_boot(self, bound: Deadline, look: Look = no_look) -> None:
        before = self.boot_id
        with self._awaiting("its next boot"):
            while self.boot_id == before:
                look()
                self.watchdog()
                self.boot_id = self._boot_id_now(bound) or before
                if self.boot_id == before:
                    bound.sleep(LOOK)
        look()  # it may have been quicker than two looks

    def _awaiting(self, what: str) -> AbstractContextManager[None]:
        return self.progress.awaiting(what) if self.progress is not None else nullcontext()

    def _await_success(self, check: str, bound: Deadline) -> bool:
        while not self.communicator.run(check, deadline=bound).ok:
            self.watchdog()
            bound.sleep(LOOK)
        return True

    def _boot_id_now(self, bound: Deadline) -> str | None:
        self.watchdog.connecting()
        try:
            self.communicator.reconnect(bound)
            current = self.system.boot_id(self.communicator, bound)
        except OSError:
            return None
        self.watchdog.answered()
        return current


def booted_of(started: Started, ready: Ready, *, first_boot: str = "") -> Booted:
    """The machine, once its system says that it is ready."""
    return Booted(
        machine=started.machine, role=started.watchdog.role, identity=started.identity,
        credentials=started.credentials, system=started.system, communicator=ready.communicator,
        watchdog=started.watchdog, boot_id=ready.boot_id, progress=started.progress, first_boot=first_boot,
    )  # fmt: skip


def boot(
    services: Services,
    role: str,
    *,
    planned: Planned,
    base: Path,
    deadline: Deadline,
    owner: Owner,
    forgiving: bool = False,
    devices: Devices = UNTRIED,
) -> Booted:
    """Boot a fresh overlay of `base`, with its own identity. role (also its directory): build, validate, VERIFY.

    forgiving: see `Watchdog`; the caller gets a `StarvedBoot`, and boots it once more. devices: see `start`; the caller
    gets an `UnfitDevices`, and boots it with those.
    """
    identity = fresh_identity(VERIFY_USER if role == VERIFY else services.settings.build_user, services.rng)
    started = start(
        services, role, identity, planned=planned, base=base, deadline=deadline, owner=owner, devices=devices
    )
    started.watchdog.forgiving = forgiving
    bound = deadline.within(services.settings.boot_timeout * started.system.booting.patience)
    try:
        if started.platform and started.system.reports(planned.plan.source.image.info):
            with started.progress.awaiting(REPORT):
                _hear(started, started.platform, bound)
        booted = _ready(started, bound)
        started.watchdog.forgiving = False
    except Expired:
        raise started.watchdog.overdue() from None
    except ConnectionError as error:
        raise started.watchdog.lost(f"the connection was lost before the machine was ready: {error}") from error
    started.progress.booted(boot_key(planned.plan, services.accelerator))
    return booted


def _hear(started: Started, platform: Platform, bound: Deadline) -> None:
    """Wait for the guest's own report that it is provisioned; one that it failed is the watchdog's to raise."""
    watchdog = started.watchdog
    report = platform.wait_for_verdict(bound, watchdog)
    watchdog.services.emit(
        Kind.MACHINE_REPORTED, machine=watchdog.machine.id, state=report.state, by=report.by.value,
        message=report.message, seconds=started.clock.monotonic() - started.since,
    )  # fmt: skip
    watchdog()


def _ready(started: Started, bound: Deadline) -> Booted:
    """Wait as its system does, with the events that say so."""
    with started.progress.awaiting(FIRST_BOOT):
        ready = started.system.await_ready(started, bound)
    started.watchdog.services.emit(
        Kind.MACHINE_READY, machine=started.machine.id, first_boot=ready.first_boot, hostname=started.identity.hostname,
        seconds=started.clock.monotonic() - started.since,
    )  # fmt: skip
    return booted_of(started, ready, first_boot=ready.first_boot)
