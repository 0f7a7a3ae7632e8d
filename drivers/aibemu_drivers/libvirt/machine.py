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
    Frozen,
    MachineEventKind,
    MachineSpec,
)
from aibemu_drivers.libvirt import library
from aibemu_drivers.libvirt.addresses import Kind
from aibemu_drivers.libvirt.connection import Connection
from aibemu_drivers.libvirt.devices import system_disk
from aibemu_drivers.libvirt.disks import LibvirtDisks
from aibemu_drivers.libvirt.domain import Start, build_domain
from aibemu_drivers.libvirt.failures import Refused, is_gone, not_started
from aibemu_drivers.libvirt.monitor import LibvirtMonitor
from aibemu_drivers.overlay import new_name
from aibemu_drivers.qemu.failures import PORT_TAKEN, explain_end
from aibemu_drivers.qemu.freezing import (
    load_memory,
)
from aibemu_drivers.qemu.local_machine import Host, LocalMachine
from aibemu_drivers.qemu.own_files import check_cdroms, own_sticks
from aibemu_drivers.qemu.ports import choose_ports
from aibemu_drivers.records import spec_to_json, write_record

DRIVER = "libvirt"
TRIES = 5
# Seconds. A start takes half a second once libvirt has asked what each QEMU of the host can; where the host's cores are
# not alike it asks again at some starts, for half a minute.
START_BOUND = 240.0
KILL_BOUND = 60.0
PICTURE_BOUND = 30.0
PNG = "image/png"


@dataclass(frozen=True, slots=True, kw_only=True)
class LibvirtHost(Host):
    """What a machine asks of the host, and only when it is needed."""

    connection: Connection


class LibvirtMachine(LocalMachine):
    """See `aibemu.hypervisor.Machine`."""

    _disks: LibvirtDisks

    def __init__(self, directory: Path, record: Mapping[str, Any], host: LibvirtHost) -> None:
        super().__init__(directory, record, host)
        self._connection = host.connection
        # libvirt's; the guest sees that of `spec`.
        self.uuid = str(record["uuid"])
        # Whether libvirt may know of it.
        self._asked = bool(record["asked"])
        self._disks = LibvirtDisks(
            self.spec.id, directory, record, self._save, connection=host.connection, uuid=self.uuid,
            target=system_disk(self.spec),
        )  # fmt: skip
        self._monitor = LibvirtMonitor(self.spec.id, directory, host.connection, self.uuid)

    @classmethod
    def first_record(cls, spec: MachineSpec, sockets: Path) -> dict[str, Any]:
        """The record of a machine that was never started."""
        return {
            "driver": DRIVER, "version": 1, "spec": spec_to_json(spec), "sockets": str(sockets), "ports": {},
            "booted": False, "asked": False, "uuid": str(uuid4()), "disk": new_name(),
            "frozen_disks": [disk.name for disk in spec.frozen.disks] if spec.frozen else [],
        }  # fmt: skip

    def runs(self, deadline: Deadline | None = None) -> bool:
        """Whether libvirt has it. `ProvisionFailed` when libvirt does not say, `HostNotReady` when it is not there."""
        return self._asked and self._connection.domain(self.uuid, deadline=deadline) is not None

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
                user=(os.getuid(), os.getgid()) if self._connection.address.kind is Kind.SYSTEM else None,
            )  # fmt: skip
            try:
                self._launch(start, deadline)
                return
            except BaseException as error:
                self._end_tpm()
                taken = isinstance(error, ProvisionFailed) and any(PORT_TAKEN in line for line in error.details)
                if not (taken and left):
                    raise

    def events(self) -> tuple[MachineEventKind, ...]:
        if not self._monitor.connected:
            if self.runs():
                self._connect()
            else:
                self._monitor.drain()
        return self._monitor.events()

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

    def screenshot(self, target: Path) -> Path | None:
        if not self.runs():
            return None
        with contextlib.suppress(Refused), replacing(target) as temporary:
            if self._connection.call(lambda virt: self._picture(virt, temporary), seconds=PICTURE_BOUND) == PNG:
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

    def saving_at_reset(self, deadline: Deadline) -> contextlib.AbstractContextManager[Callable[[], bool]]:
        """See `Machine.saving_at_reset`. A QEMU that stops at its guest's reset is ended by libvirt."""
        raise FreezeFailed("the driver libvirt puts no disks aside while guests restart")

    def saved_disk(self, folder: Path, deadline: Deadline) -> Frozen:
        """See `Machine.saved_disk`."""
        raise FreezeFailed("the driver libvirt puts no disks aside while guests restart")

    def _call(self, what: Callable[[Any], object]) -> None:
        self._connection.call(lambda virt: what(virt.lookupByUUIDString(self.uuid)), seconds=KILL_BOUND)

    @contextlib.contextmanager
    def _unless_it_is_gone(self) -> Iterator[None]:
        """A machine that ends by itself meanwhile is off, and nothing is wrong."""
        try:
            yield
        except Refused as error:
            if not is_gone(error) and self.runs():
                raise

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
            self._connection.call(lambda one: one.createXML(words, flags), seconds=START_BOUND, deadline=deadline)
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
