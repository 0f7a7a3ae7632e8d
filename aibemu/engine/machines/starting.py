"""From an image to a machine that runs: its credentials, discs and platform are made, the driver creates and starts it.

Who may log in is in the record from here on, so that people get into a machine that never becomes ready, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from aibemu.clock import Clock, Deadline
from aibemu.communicators import Access, Communicator, Credentials, LoginHopeless, Refusal
from aibemu.communicators.factory import Connector, Watch, connector
from aibemu.engine.machines.boot_times import BootTimes, boot_key
from aibemu.engine.machines.console import ConsoleReader
from aibemu.engine.machines.devices import UNTRIED, Devices
from aibemu.engine.machines.fabric import start_platform
from aibemu.engine.machines.first_disk import prepare_disk
from aibemu.engine.machines.pictures import Pictures
from aibemu.engine.machines.progress import Progress
from aibemu.engine.machines.transfers import Transfers
from aibemu.engine.machines.watchdog import Watchdog
from aibemu.engine.preparing.prepare import Planned
from aibemu.engine.preparing.vm import describe_vm
from aibemu.engine.services import Services
from aibemu.errors import ProvisionFailed
from aibemu.events import Kind
from aibemu.fabric.handle import Platform
from aibemu.fabric.identity import Identity
from aibemu.fabric.vm import VirtualMachine
from aibemu.files import make_folder
from aibemu.hardware import Hardware
from aibemu.hypervisor import AZURE_SMBIOS, Firmware, HypervisorDriver, Machine, MachineSpec, Media, Wire
from aibemu.layers import Layer
from aibemu.plan.model import Plan
from aibemu.systems import GuestSystem, for_image

HELD = (
    "the script is over, but something that it started in the background still holds its output open; Packer, and so "
    "the service, waits for that until the build times out: redirect its output, e.g. `nohup daemon >/dev/null 2>&1 &`"
)


class Owner(Protocol):
    """Gets what was made as soon as it exists, so that it is destroyed even if the machine never comes up."""

    def machine_made(self, role: str, machine: Machine) -> None: ...

    def machine_started(self, role: str, started: Started) -> None: ...

    def platform_made(self, role: str, platform: Platform) -> None: ...


@dataclass(slots=True, kw_only=True)
class Started:
    """A machine that runs and cannot be talked to yet: the engine's `aibemu.systems.starting.StartingMachine`."""

    machine: Machine
    identity: Identity
    system: GuestSystem
    connector: Connector
    # How to get in, as the record has it.
    access: Access
    # None where the driver attaches no wires.
    platform: Platform | None
    watchdog: Watchdog
    # The run's own for this machine, secrets included; removed with it.
    folder: Path
    # Monotonic seconds at which it was switched on: from then on the record counts how long all its waits took.
    since: float
    # Tells people how far it is.
    progress: Progress = field(init=False)

    @property
    def credentials(self) -> Credentials:
        return self.access.credentials

    @property
    def clock(self) -> Clock:
        return self.watchdog.services.clock

    @property
    def awaits_first_boot(self) -> bool:
        return self.watchdog.services.settings.first_boot_wait

    @property
    def boots_guest(self) -> bool:
        return self.watchdog.services.driver.capabilities().boots_guests

    def console(self) -> Callable[[], str]:
        return ConsoleReader(self.machine).read

    def check(self) -> None:
        self.watchdog()

    def warn(self, message: str) -> None:
        self.watchdog.services.emit(Kind.NOTICE, level="warning", message=message)

    def await_server(self, bound: Deadline) -> None:
        with self.progress.awaiting(self.connector.title):
            self.connector.await_server(self.access, deadline=bound, alive=self.watchdog)

    def connect(self, bound: Deadline, credentials: Credentials | None = None) -> Communicator:
        """By whatever the driver offers, else by the system's communicator."""
        with self.progress.awaiting(self.connector.title):
            communicator = self._log_in(credentials or self.credentials, bound)
        self.watchdog.booting = False
        self.progress.logins.entered = True
        self.watchdog.services.emit(
            Kind.MACHINE_CONNECTED, machine=self.machine.id, banner=communicator.banner,
            seconds=self.clock.monotonic() - self.since,
        )  # fmt: skip
        return communicator

    def _log_in(self, credentials: Credentials, bound: Deadline) -> Communicator:
        services = self.watchdog.services
        if own := services.driver.communicator(self.machine, credentials, bound):
            self.watchdog()
            return own
        access = replace(self.access, credentials=credentials)
        watch = Watch(
            alive=self.watchdog, generation=lambda: len(self.machine.events()),
            on_held=lambda: services.emit(Kind.NOTICE, level="warning", message=HELD),
            on_silence=self.progress.silent, on_refused=self._refused,
            depot=self.platform.depot if self.platform else None, on_transfer=Transfers(services),
        )  # fmt: skip
        try:
            return self.connector.connect(access, deadline=bound, watch=watch)
        except LoginHopeless as error:
            raise self._hopeless(error.message, error.details, error.hint) from error

    def _refused(self, refusal: Refusal) -> None:
        """End the wait for a login that will never be accepted."""
        if self.progress.logins.hopeless(refusal):
            why = f"nobody can log in, and waiting is of no use: {refusal.answer}"
            raise self._hopeless(why, (), self.system.advice.refused)

    def _hopeless(self, why: str, details: Sequence[str], hint: str | None) -> ProvisionFailed:
        """The machine is lost to this build; what to do is another thing than with one that did not boot."""
        lost = self.watchdog.lost(why)
        return ProvisionFailed(lost.message, details=[*details, *lost.details], hint=hint or lost.hint)


def start(
    services: Services, role: str, identity: Identity, *, planned: Planned, base: Path, deadline: Deadline,
    owner: Owner, layer: Layer | None = None, devices: Devices = UNTRIED,
) -> Started:  # fmt: skip
    """Start a machine with its platform; with `layer` it goes on from there, else it boots the image. devices: what the
    build knows of them."""
    info = planned.plan.source.image.info
    system = for_image(info)
    ways_in = connector(system.communicator)
    # Libraries take a quarter of a second to import; there is time while the machine is made.
    threading.Thread(target=ways_in.warm_up, daemon=True).start()
    identity, kept = _who(system, identity, layer)
    work = services.run.work / role
    make_folder(work, mode=0o700)  # keys, seeds
    credentials = _credentials(services, system, work, identity.user, kept)
    settings, identities = services.settings, planned.identities
    vm = describe_vm(planned.plan, identity, credentials.public_key, settings=settings, identities=identities)
    platform = _platform(services, role, vm, planned.secrets, owner)
    # Who has had his first boot, and goes on as who he is, needs nothing in his drives.
    media = Media() if kept and kept.boots else system.discs(work, info, identity, vm, settings.locale)
    devices = replace(devices, fixed=planned.plan.machine.devices.fixed)
    hardware = replace(devices.chosen(system, info), guest_ports=(ways_in.port,))
    spec = _spec(services, role, planned.plan, vm, platform, base=base, media=media, hardware=hardware, layer=layer)
    machine = _create(services.driver, spec, lambda made: owner.machine_made(role, made))
    if layer is None:
        prepare_disk(services, machine, role, system, info, deadline)
    if platform:  # it came up while the disks were made
        platform.await_listening(deadline)
    since = services.clock.monotonic()
    machine.start(deadline)
    host, port = machine.endpoint(ways_in.port)
    started = Started(
        machine=machine, identity=identity, system=system, connector=ways_in, platform=platform, folder=work,
        access=Access(communicator=system.communicator, host=host, port=port, credentials=credentials),
        watchdog=Watchdog(machine, role, services, platform, system=system), since=since,
    )  # fmt: skip
    started.watchdog.fitting.others = partial(devices.after, system, info)
    owner.machine_started(role, started)
    _say_started(started, spec, planned.plan)
    return started


def _who(system: GuestSystem, identity: Identity, layer: Layer | None) -> tuple[Identity, Layer | None]:
    """Who the machine is, and the layer whose guest keeps its name and its login, if it is one."""
    if layer is None or system.freezing is None or not system.freezing.keeps_identity:
        return identity, None
    return replace(identity, hostname=layer.state.identity.hostname), layer


def _credentials(
    services: Services, system: GuestSystem, work: Path, user: str, kept: Layer | None
) -> Credentials:  # fmt: skip
    """kept: the layer whose guest keeps its login."""
    if kept is None or system.freezing is None:
        made = system.credentials(work, user, services.rng)
    else:
        made = system.freezing.credentials(work, user, kept.state.system)
    if made.password_file is not None:
        services.redactor.add(made.password())
    return made


def _tell_progress(started: Started, plan: Plan, *, boots: bool, first: bool) -> None:
    """boots: whether it boots, an image or a layer. first: an image: of other boots nobody knows how long they take."""
    watchdog = started.watchdog
    services = watchdog.services
    boots = boots and services.driver.capabilities().boots_guests
    last = BootTimes(services.home.cache).last(boot_key(plan, services.accelerator)) if boots and first else None
    started.progress = progress = watchdog.observe = Progress(
        services, started.machine, watchdog.role, started.system.boot_signs, platform=started.platform, last_boot=last,
        boots=boots,
    )  # fmt: skip
    if boots and not started.system.booting.console_tells and services.driver.capabilities().screenshots:
        pictures = Pictures(services, started.machine, watchdog.role)

        def observe() -> None:
            progress()
            if watchdog.booting:
                pictures()

        watchdog.observe = observe


def _spec(
    services: Services,
    role: str,
    plan: Plan,
    vm: VirtualMachine,
    platform: Platform | None,
    *,
    base: Path,
    media: Media,
    hardware: Hardware,
    layer: Layer | None,
) -> MachineSpec:
    shape, run = plan.machine, services.run
    as_azure = platform is not None and plan.source.image.info.provisioning.for_azure
    return MachineSpec(
        id=f"{run.id}-{role}", owner=run.id, directory=run.machines / role, base=base, base_format="qcow2",
        disk_bytes=shape.disk_bytes, firmware=Firmware(shape.firmware), cpus=shape.cpus, memory_mib=shape.memory_mib,
        uuid=vm.smbios_uuid, mac=vm.nic.mac, cdroms=media.cdroms, sticks=media.sticks, hardware=hardware,
        wire=_wire(platform, vm) if platform else None, smbios=AZURE_SMBIOS if as_azure else None,
        frozen=layer.frozen if layer else None,
        console_bytes=services.settings.console_limit,
    )  # fmt: skip


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


def _say_started(started: Started, spec: MachineSpec, plan: Plan) -> None:
    _tell_progress(started, plan, boots=not (spec.frozen and spec.frozen.memory), first=spec.frozen is None)
    access, who = started.access, started.credentials
    started.watchdog.services.emit(
        Kind.MACHINE_STARTED, machine=started.machine.id, role=started.watchdog.role, cpus=spec.cpus,
        memory_mib=spec.memory_mib, firmware=spec.firmware.value, disk_bytes=spec.disk_bytes,
        endpoint=f"{access.host}:{access.port}", user=who.user, key=str(who.key_file or ""), access=access.as_json(),
        last_boot_seconds=started.progress.last_boot,
    )  # fmt: skip
