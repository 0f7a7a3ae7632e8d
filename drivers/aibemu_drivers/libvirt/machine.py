"""One machine: a directory with its record, its overlay and its logs, and a domain of libvirt's that runs it.

The domain is transient: it is there as long as the machine runs, and libvirt keeps nothing of it. It outlives aibemu;
whoever comes next finds it by the UUID in the record, which is written first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from aibemu.clock import Deadline, forever
from aibemu.errors import FreezeFailed, HostNotReady, ProvisionFailed
from aibemu.files import remove, replacing
from aibemu.hypervisor import (
    CONSOLE_FILE,
    ConsolePart,
    Firmware,
    Frozen,
    MachineEventKind,
    MachineSpec,
    MachineState,
)
from aibemu.sockets import remove_socket_directory
from aibemu_drivers.console import ConsoleFile
from aibemu_drivers.libvirt import library
from aibemu_drivers.libvirt.addresses import Kind
from aibemu_drivers.libvirt.connection import Connection
from aibemu_drivers.libvirt.devices import system_disk
from aibemu_drivers.libvirt.disks import LibvirtDisks
from aibemu_drivers.libvirt.domain import Start, build_domain
from aibemu_drivers.libvirt.failures import Refused, is_gone, not_started
from aibemu_drivers.libvirt.monitor import LibvirtMonitor
from aibemu_drivers.overlay import new_name
from aibemu_drivers.qemu.accelerator import Probed
from aibemu_drivers.qemu.arguments import FirmwareFiles
from aibemu_drivers.qemu.failures import PORT_TAKEN, explain_end
from aibemu_drivers.qemu.freezing import (
    MachineLost,
    collect,
    load_memory,
    memory_name,
    new_layer_disk,
    save_memory,
    standing_still,
)
from aibemu_drivers.qemu.own_files import check_cdroms, own_firmware, own_sticks
from aibemu_drivers.qemu.ports import LOOPBACK, choose_ports
from aibemu_drivers.qemu.tpm import Tpm
from aibemu_drivers.records import FILE, spec_from_json, spec_to_json, write_record

DRIVER = "libvirt"
TRIES = 5
# Seconds. A start takes half a second once libvirt has asked what each QEMU of the host can; where the host's cores are
# not alike it asks again at some starts, for half a minute.
START_BOUND = 240.0
KILL_BOUND = 60.0
PICTURE_BOUND = 30.0
PNG = "image/png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a machine asks of the host, and only when it is needed."""

    connection: Connection
    probed: Callable[[], Probed]
    firmware: Callable[[], FirmwareFiles]
    secure_firmware: Callable[[], FirmwareFiles]


class LibvirtMachine:
    """See `aibemu.hypervisor.Machine`."""

    def __init__(self, directory: Path, record: Mapping[str, Any], host: Host) -> None:
        self._directory, self._host = directory, host
        self.spec = spec_from_json(record["spec"], directory)
        # libvirt's; the guest sees that of `spec`.
        self.uuid = str(record["uuid"])
        self._sockets = Path(record["sockets"])
        self._ports: dict[int, int] = {int(guest): port for guest, port in record["ports"].items()}
        self._booted = bool(record["booted"])
        # Whether libvirt may know of it.
        self._asked = bool(record["asked"])
        self._disks = LibvirtDisks(
            self.spec.id, directory, record, self._save, connection=host.connection, uuid=self.uuid,
            target=system_disk(self.spec),
        )  # fmt: skip
        self._console = ConsoleFile(directory / CONSOLE_FILE, self.spec.console_bytes)
        self._monitor = LibvirtMonitor(self.spec.id, directory, host.connection, self.uuid)
        self._tpm = Tpm(self.spec.id, directory, self._sockets) if self.spec.hardware.tpm else None

    @classmethod
    def first_record(cls, spec: MachineSpec, sockets: Path) -> dict[str, Any]:
        """The record of a machine that was never started."""
        return {
            "driver": DRIVER, "version": 1, "spec": spec_to_json(spec), "sockets": str(sockets), "ports": {},
            "booted": False, "asked": False, "uuid": str(uuid4()), "disk": new_name(),
            "frozen_disks": [disk.name for disk in spec.frozen.disks] if spec.frozen else [],
        }  # fmt: skip

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def directory(self) -> Path:
        return self._directory

    def runs(self, deadline: Deadline | None = None) -> bool:
        """Whether libvirt has it. `ProvisionFailed` when libvirt does not say, `HostNotReady` when it is not there."""
        return self._asked and self._host.connection.domain(self.uuid, deadline=deadline) is not None

    def start(self, deadline: Deadline | None = None) -> None:
        if self.runs(deadline):
            raise ProvisionFailed(f"the machine {self.id} runs already")
        if not self._directory.is_dir():
            raise ProvisionFailed(f"the machine {self.id} was destroyed")
        check_cdroms(self.spec)
        firmware = self._own_firmware()
        probed, deadline = self._host.probed(), deadline or forever()
        for left in reversed(range(TRIES)):
            self._ports = choose_ports(self.spec.hardware.guest_ports)
            start = Start(
                accelerator=probed.accelerator.name, uuid=UUID(self.uuid), disks=self._disks.chain,
                console=self._directory / CONSOLE_FILE, ports=self._ports, firmware=firmware,
                sticks=own_sticks(self.spec, self._directory), tpm=self._tpm.start(deadline) if self._tpm else None,
                user=(os.getuid(), os.getgid()) if self._host.connection.address.kind is Kind.SYSTEM else None,
            )  # fmt: skip
            try:
                self._launch(start, deadline)
                return
            except BaseException as error:
                self._end_tpm()
                taken = isinstance(error, ProvisionFailed) and any(PORT_TAKEN in line for line in error.details)
                if not (taken and left):
                    raise

    def state(self) -> MachineState:
        if not (self._directory / FILE).exists():
            return MachineState.GONE
        if self.runs():
            return MachineState.RUNNING
        return MachineState.STOPPED if self._booted else MachineState.CREATED

    def endpoint(self, guest_port: int) -> tuple[str, int]:
        if guest_port not in self._ports:
            raise ProvisionFailed(
                f"port {guest_port} of the machine {self.id} is not reachable",
                details=[f"reachable: {', '.join(map(str, self._ports)) or 'none, it was never started'}"],
            )
        return LOOPBACK, self._ports[guest_port]

    def events(self) -> tuple[MachineEventKind, ...]:
        if not self._monitor.connected:
            if self.runs():
                self._connect()
            else:
                self._monitor.drain()
        return self._monitor.events()

    def panic(self) -> str | None:
        self.events()  # hears what is new
        return self._monitor.panic()

    def press_power_button(self) -> None:
        if not self.runs():
            return
        button = library.load().VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
        with self._unless_it_is_gone():
            self._call(lambda domain: domain.shutdownFlags(button))

    def kill(self) -> None:
        if self.runs():
            with self._unless_it_is_gone():
                self._call(lambda domain: domain.destroy())
        self._end_tpm()
        self._monitor.drain()
        self._monitor.close()

    def console(self, since: int = 0) -> ConsolePart:
        return self._console.read(since)

    def screenshot(self, target: Path) -> Path | None:
        if not self.runs():
            return None
        with contextlib.suppress(Refused), replacing(target) as temporary:
            if self._host.connection.call(lambda virt: self._picture(virt, temporary), seconds=PICTURE_BOUND) == PNG:
                return target
            raise Refused(0, "before QEMU 7.1 there is no PNG")
        return None

    def _picture(self, virt: Any, target: Path) -> str:
        """Write the first screen to `target`; of which kind it is."""
        stream = virt.newStream()
        kind: str = virt.lookupByUUIDString(self.uuid).screenshot(stream, 0)
        with target.open("wb") as out:
            stream.recvAll(lambda _, data, file: file.write(data), out)
        stream.finish()
        return kind

    def freeze(self, folder: Path, deadline: Deadline) -> Frozen:
        """See `Machine.freeze`. A failure after the disk was frozen only leaves one overlay more under the next."""
        if not self.runs(deadline):
            raise FreezeFailed(f"the machine {self.id} was not frozen: it does not run")
        if self._tpm is not None:
            raise FreezeFailed(f"the machine {self.id} was not frozen: what its TPM holds cannot be frozen with it")
        frozen, fresh = self._disks.written, self._directory / new_name()
        new_layer_disk(frozen, fresh, self.spec, deadline)
        # Beside where it goes, so that memory is written once only. Many GiB, maybe.
        memory = memory_name(frozen, folder)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with standing_still(self._monitor, deadline):
                self._disks.write_to(fresh, self._monitor, deadline)
                save_memory(self._monitor, memory, deadline)
        except BaseException as error:
            with contextlib.suppress(OSError):
                memory.unlink()
            if isinstance(error, MachineLost) or not isinstance(error, OSError | ProvisionFailed):
                raise
            details = error.details if isinstance(error, ProvisionFailed) else []
            raise FreezeFailed(f"the machine was not frozen: {error}", details=details) from error
        return collect(self._disks.frozen, memory, folder, deadline)

    def saving_at_reset(self, deadline: Deadline) -> contextlib.AbstractContextManager[Callable[[], bool]]:
        """See `Machine.saving_at_reset`. A QEMU that stops at its guest's reset is ended by libvirt."""
        raise FreezeFailed("the driver libvirt puts no disks aside while guests restart")

    def saved_disk(self, folder: Path, deadline: Deadline) -> Frozen:
        """See `Machine.saved_disk`."""
        raise FreezeFailed("the driver libvirt puts no disks aside while guests restart")

    @contextlib.contextmanager
    def disk(self) -> Iterator[Path]:
        if self.runs():
            raise ProvisionFailed(f"the machine {self.id} runs: its disk is not finished")
        overlay = self._disks.written
        if not overlay.exists():
            raise ProvisionFailed(f"the machine {self.id} has no disk", details=[f"missing: {overlay}"])
        yield overlay

    def destroy(self) -> None:
        self.kill()
        remove_socket_directory(self._sockets, self._directory)
        if not self._directory.is_dir():
            return
        for entry in self._directory.iterdir():
            if entry.name != FILE:  # the record goes last: until then the rest can be found again
                remove(entry)
        remove(self._directory)

    def _call(self, what: Callable[[Any], object]) -> None:
        self._host.connection.call(lambda virt: what(virt.lookupByUUIDString(self.uuid)), seconds=KILL_BOUND)

    @contextlib.contextmanager
    def _unless_it_is_gone(self) -> Iterator[None]:
        """A machine that ends by itself meanwhile is off, and nothing is wrong."""
        try:
            yield
        except Refused as error:
            if not is_gone(error) and self.runs():
                raise

    def _own_firmware(self) -> FirmwareFiles | None:
        if self.spec.firmware is Firmware.BIOS:
            return None
        find = self._host.secure_firmware if self.spec.hardware.secure_boot else self._host.firmware
        return own_firmware(self._directory, find())

    def _end_tpm(self) -> None:
        if self._tpm is not None:
            self._tpm.end()

    def _launch(self, start: Start, deadline: Deadline) -> None:
        """Have libvirt make the domain, and let the guest go. On failure nothing is left running."""
        self._monitor.restart()
        remove(self._directory / CONSOLE_FILE)
        self._booted, self._asked = False, True
        self._save()
        try:
            self._create(build_domain(self.spec, start), deadline)
            self._let_go(deadline)
        except BaseException:
            with contextlib.suppress(ProvisionFailed, HostNotReady):
                self.kill()
            raise
        self._booted = True
        # From now on it is a machine like any other: when it is started again, it boots.
        self.spec = replace(self.spec, frozen=None)
        self._save()

    def _create(self, words: str, deadline: Deadline) -> None:
        virt = library.load()
        # Paused: who listens before the guest's first instruction misses no event.
        flags = virt.VIR_DOMAIN_START_PAUSED | virt.VIR_DOMAIN_START_VALIDATE
        try:
            self._host.connection.call(lambda one: one.createXML(words, flags), seconds=START_BOUND, deadline=deadline)
        except Refused as error:
            raise not_started(self.spec, error) from error

    def _let_go(self, deadline: Deadline) -> None:
        loading = False
        try:
            self._connect()
            if self.spec.frozen and self.spec.frozen.memory:
                loading = True
                load_memory(self._monitor, self.spec.frozen.memory, deadline)
            self._monitor.execute("cont", deadline=deadline)
        except ProvisionFailed as error:
            raise explain_end(self.spec, "", None, error, loading=loading) from error

    def _connect(self) -> None:
        try:
            self._monitor.connect()
        except OSError as error:
            if self.runs():
                raise ProvisionFailed(
                    f"the monitor of the machine {self.id} cannot be reached", details=[str(error)]
                ) from error

    def _save(self) -> None:
        write_record(
            self._directory,
            self.first_record(self.spec, self._sockets)
            | self._disks.as_json()
            | {"uuid": self.uuid, "ports": self._ports, "booted": self._booted, "asked": self._asked},
        )
