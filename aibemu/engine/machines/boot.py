"""From an image to a machine that a step can use: create, start, hear that it is ready, log in, await the first boot.

An image for Azure says itself that it is provisioned, to the wire server, or that it failed. Then, and for other images
at once: an `SSH-` banner, a login, and cloud-init has finished. A boot that hangs or panics ends early, with the
console and a screenshot saved.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Login
from aibemu.communicators.ssh.keys import KeyPair
from aibemu.engine.machines.console import ConsoleReader
from aibemu.engine.machines.fabric import start_platform
from aibemu.engine.machines.watchdog import Watchdog
from aibemu.engine.preparing.prepare import Planned
from aibemu.engine.preparing.vm import describe_vm
from aibemu.engine.services import Services
from aibemu.errors import Expired
from aibemu.events import Kind
from aibemu.fabric.handle import Platform
from aibemu.fabric.identity import Identity, fresh_identity
from aibemu.fabric.vm import VirtualMachine
from aibemu.hardware import Hardware
from aibemu.hypervisor import AZURE_SMBIOS, Firmware, Frozen, HypervisorDriver, Machine, MachineSpec, Wire
from aibemu.images import Provisioning
from aibemu.plan.model import Plan
from aibemu.systems.linux.discs import for_azure, write_discs
from aibemu.systems.linux.first_boot import ENDED, LAST_STAGE, await_on_console, wait_for_first_boot

REBOOT_BOUND = 300.0  # seconds, before scaling: Packer's start_retry_timeout
# How long a machine may take to show that it is rebooting after a connection was lost, seconds before scaling.
NOTICE_BOUND = 10.0
SSH = 22
# The role of a machine that only shows that an image comes up as a new one; its user is nobody the image has seen.
VERIFY = "verify"
VERIFY_USER = "another"
HELD = (
    "the script is over, but something that it started in the background still holds its output open; Packer, and so "
    "the service, waits for that until the build times out: redirect its output, e.g. `nohup daemon >/dev/null 2>&1 &`"
)


@dataclass(slots=True, kw_only=True)
class Booted:
    """A machine that is up and can be talked to. first_boot: how that ended (`engine.first_boot`), "" if not here."""

    machine: Machine
    role: str
    identity: Identity
    communicator: Communicator
    watchdog: Watchdog
    boot_id: str = ""
    first_boot: str = ""

    def rebooted(self, deadline: Deadline) -> bool:
        """After a lost connection: wait until the guest answers again; True if it is another boot."""
        bound = deadline.within(REBOOT_BOUND)
        settle = deadline.within(NOTICE_BOUND)
        try:
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

    def _boot_id_now(self, bound: Deadline) -> str | None:
        try:
            self.communicator.reconnect(bound)
            return self.communicator.boot_id(deadline=bound)
        except OSError:
            return None

    def wait_for_reboot(self, deadline: Deadline) -> None:
        """After a step that set a restart going: wait for the next boot; raises if there is none."""
        bound = deadline.within(REBOOT_BOUND)
        before = self.boot_id
        try:
            while self.boot_id == before:
                self.watchdog()
                current = self._boot_id_now(bound)
                if current:
                    self.boot_id = current
                bound.sleep(0.5)
        except Expired:
            raise self.watchdog.lost("the machine did not come back after a restart") from None


class Owner(Protocol):
    """Gets what was made as soon as it exists, so that it is destroyed even if the machine never comes up."""

    def machine_made(self, role: str, machine: Machine) -> None: ...

    def machine_started(self, role: str, started: Started) -> None: ...

    def platform_made(self, role: str, platform: Platform) -> None: ...


def boot(services: Services, role: str, *, planned: Planned, base: Path, deadline: Deadline, owner: Owner) -> Booted:
    """Boot a fresh overlay of `base`, with its own identity. role (also its directory): build, validate, VERIFY."""
    identity = fresh_identity(VERIFY_USER if role == VERIFY else services.settings.build_user, services.rng)
    started = start(
        services, role, identity, planned=planned, base=base, deadline=deadline, owner=owner
    )  # fmt: skip
    bound = deadline.within(services.settings.boot_timeout)
    try:
        if started.platform and planned.plan.source.image.info.provisioning is Provisioning.AZURE:
            _hear(started.watchdog, started.platform, bound)
        return _ready(started, bound)
    except Expired:
        raise started.watchdog.lost("the machine did not become ready in time") from None
    except ConnectionError as error:
        raise started.watchdog.lost(f"the connection was lost before the machine was ready: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A machine that runs and cannot be talked to yet."""

    machine: Machine
    identity: Identity
    pair: KeyPair
    platform: Platform | None
    watchdog: Watchdog

    @property
    def login(self) -> Login:
        return Login(user=self.identity.user, key_file=self.pair.private)


def start(
    services: Services,
    role: str,
    identity: Identity,
    *,
    planned: Planned,
    base: Path,
    deadline: Deadline,
    owner: Owner,
    frozen: Frozen | None = None,
) -> Started:
    """Start a machine with its platform; with `frozen` it goes on from there, else it boots."""
    from aibemu.communicators.ssh.keys import generate

    _import_ahead()
    work = services.run.work / role
    work.mkdir(parents=True, exist_ok=True)
    pair = generate(work)
    settings, identities = services.settings, planned.identities
    vm = describe_vm(planned.plan, identity, pair.public_line, settings=settings, identities=identities)
    platform = _platform(services, role, vm, planned.secrets, owner)
    discs = write_discs(work, planned.plan.source.image.info.provisioning, identity, vm)
    spec = _spec(services, role, planned.plan, vm, platform, base=base, discs=discs, frozen=frozen)
    machine = _create(services.driver, spec, lambda made: owner.machine_made(role, made))
    if platform:  # it came up while the disks were made
        platform.await_listening(deadline)
    machine.start(deadline)
    started = Started(
        machine=machine, identity=identity, pair=pair, platform=platform,
        watchdog=Watchdog(machine, role, services, platform),
    )  # fmt: skip
    owner.machine_started(role, started)
    _say_started(services, role, machine, spec, started.login)
    return started


def _spec(
    services: Services,
    role: str,
    plan: Plan,
    vm: VirtualMachine,
    platform: Platform | None,
    *,
    base: Path,
    discs: tuple[Path, ...],
    frozen: Frozen | None,
) -> MachineSpec:
    shape, run = plan.machine, services.run
    as_azure = platform is not None and for_azure(plan.source.image.info.provisioning)
    return MachineSpec(
        id=f"{run.id}-{role}", owner=run.id, directory=run.machines / role, base=base, base_format="qcow2",
        disk_bytes=shape.disk_bytes, firmware=Firmware(shape.firmware), cpus=shape.cpus, memory_mib=shape.memory_mib,
        uuid=vm.smbios_uuid, mac=vm.nic.mac, cdroms=discs, hardware=Hardware(guest_ports=(SSH,)),
        wire=_wire(platform, vm) if platform else None, smbios=AZURE_SMBIOS if as_azure else None, frozen=frozen,
    )  # fmt: skip


def _import_ahead() -> None:
    """paramiko takes a quarter of a second to import; there is time while the machine is made."""
    threading.Thread(target=import_module, args=("aibemu.communicators.ssh.transport",), daemon=True).start()


def _platform(
    services: Services, role: str, vm: VirtualMachine, secrets: frozenset[str], owner: Owner
) -> Platform | None:
    if not services.driver.capabilities().wires:
        return None
    platform = start_platform(services, role, vm, secrets)
    owner.platform_made(role, platform)
    return platform


def _wire(platform: Platform, vm: VirtualMachine) -> Wire:
    link = platform.link
    return Wire(nic=link.nic, uplink=link.uplink, subnet=vm.nic.subnet, address=vm.nic.address)


def _hear(watchdog: Watchdog, platform: Platform, bound: Deadline) -> None:
    """Wait for the guest's own report that it is provisioned; one that it failed is the watchdog's to raise."""
    clock = watchdog.services.clock
    started = clock.monotonic()
    report = platform.wait_for_verdict(bound, watchdog)
    watchdog.services.emit(
        Kind.MACHINE_REPORTED, machine=watchdog.machine.id, state=report.state, by=report.by.value,
        message=report.message, seconds=clock.monotonic() - started,
    )  # fmt: skip
    watchdog()


def _create(driver: HypervisorDriver, spec: MachineSpec, created: Callable[[Machine], None]) -> Machine:
    try:
        machine = driver.create(spec)
    except BaseException:
        # Half made: what the driver recorded (a folder for sockets elsewhere) must go as a whole machine does.
        if half := driver.find(spec.directory):
            created(half)
        raise
    created(machine)
    return machine


def _say_started(services: Services, role: str, machine: Machine, spec: MachineSpec, login: Login) -> None:
    host, port = machine.endpoint(SSH)
    services.emit(
        Kind.MACHINE_STARTED, machine=machine.id, role=role, cpus=spec.cpus, memory_mib=spec.memory_mib,
        firmware=spec.firmware.value, disk_bytes=spec.disk_bytes, endpoint=f"{host}:{port}",
        user=login.user, key=str(login.key_file),
    )  # fmt: skip


def _ready(started: Started, bound: Deadline) -> Booted:
    """Banner, login, first boot; with the events that say so."""
    watchdog, machine, identity = started.watchdog, started.machine, started.identity
    services, clock = watchdog.services, watchdog.services.clock
    began = clock.monotonic()
    told = services.settings.first_boot_wait and _hears_of_last_stage(watchdog, bound)
    over = told and ENDED.search(ConsoleReader(machine).read()) is not None
    communicator, banner = connect(watchdog, started.login, bound)
    watchdog.booting = False
    services.emit(Kind.MACHINE_CONNECTED, machine=machine.id, banner=banner, seconds=clock.monotonic() - began)
    if told and not over:
        # A user's first session starts a service manager for him, seconds in an emulated guest: beside that stage.
        communicator.run("true", deadline=bound)
        await_on_console(ConsoleReader(machine).read, ENDED, watchdog, bound)
    first_boot = (
        wait_for_first_boot(communicator, services.emit, bound) if services.settings.first_boot_wait else "absent"
    )
    if not over:
        # The login was made while cloud-init still worked: a new one sees the locale and groups that it set.
        communicator.reconnect(bound)
    booted = Booted(
        machine=machine, role=watchdog.role, identity=identity, communicator=communicator, watchdog=watchdog,
        boot_id=communicator.boot_id(deadline=bound), first_boot=first_boot,
    )  # fmt: skip
    services.emit(
        Kind.MACHINE_READY, machine=machine.id, first_boot=first_boot, hostname=identity.hostname,
        seconds=clock.monotonic() - began,
    )  # fmt: skip
    return booted


def connect(watchdog: Watchdog, login: Login, bound: Deadline) -> tuple[Communicator, str]:
    """Log in, by whatever the driver offers; with the server's greeting."""
    machine, services = watchdog.machine, watchdog.services
    if own := services.driver.communicator(machine, login, bound):
        watchdog()
        return own, ""
    from aibemu.communicators.ssh.communicator import SshCommunicator

    host, port = machine.endpoint(SSH)

    def held() -> None:
        services.emit(Kind.NOTICE, level="warning", message=HELD)

    communicator = SshCommunicator.connect(
        host, port, login, deadline=bound, alive=watchdog, generation=lambda: len(machine.events()), on_held=held
    )
    return communicator, communicator.banner


def _hears_of_last_stage(watchdog: Watchdog, bound: Deadline) -> bool:
    """Where the console tells how far cloud-init is, wait until it is in its last stage, for a login before that takes
    time from it. True when it is, or is over."""
    if not watchdog.services.driver.capabilities().boots_guests:
        return False
    from aibemu.communicators.ssh.wait import wait_for_banner

    wait_for_banner(*watchdog.machine.endpoint(SSH), deadline=bound, alive=watchdog)
    return await_on_console(ConsoleReader(watchdog.machine).read, LAST_STAGE, watchdog, bound)
