"""QEMU through libvirt: in the inventory of its users, seen by `virsh` and virt-manager, confined as libvirt confines.

Options: `uri` = qemu:///session (the default) and others (`addresses`); those of the QEMU driver, which mean the same.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Credentials
from aibemu.errors import ProvisionFailed
from aibemu.files import make_folder
from aibemu.hardware import Chipset, DiskBus
from aibemu.hypervisor import (
    Accelerator,
    Capabilities,
    Capacity,
    DriverFolders,
    Finding,
    Firmware,
    Leftover,
    Machine,
    MachineSpec,
)
from aibemu.records import SHAPE_ERRORS
from aibemu.sockets import make_socket_directory, socket_directory
from aibemu_drivers.libvirt.addresses import DEFAULT, parse_address
from aibemu_drivers.libvirt.connection import Connection, connection_to
from aibemu_drivers.libvirt.domain import TYPES, check_machine
from aibemu_drivers.libvirt.leftovers import find_left
from aibemu_drivers.libvirt.machine import DRIVER, LibvirtHost, LibvirtMachine
from aibemu_drivers.local import known_options, local_capacity, machines_folder, recorded
from aibemu_drivers.overlay import check_id, prepare_disk
from aibemu_drivers.qemu.accelerator import Probed, host_cpu, probe, qemu_version
from aibemu_drivers.qemu.arguments import CPU
from aibemu_drivers.qemu.firmware import find_firmware
from aibemu_drivers.qemu.own_files import copy_sticks
from aibemu_drivers.qemu.tpm import SOCKET, can_be_trusted, check_tpm
from aibemu_drivers.records import FILE, damaged, read_record, write_record

# Name -> whether it is a path.
_OPTIONS = {
    "uri": False, "accelerator": False, "ovmf_code": True, "ovmf_vars": True, "ovmf_secure_code": True,
    "ovmf_secure_vars": True, "cache": True,
}  # fmt: skip
ARCHITECTURE = "x86_64"


class LibvirtDriver:
    """See `aibemu.hypervisor.HypervisorDriver`."""

    name = DRIVER

    def __init__(self, options: Mapping[str, str], folders: DriverFolders) -> None:
        self.options = known_options(DRIVER, options, _OPTIONS)
        self.folders = folders
        self.connection = connection_to(parse_address(self.options.get("uri", DEFAULT)))
        self.host = LibvirtHost(
            connection=self.connection, probed=lambda: self.probed, firmware=lambda: find_firmware(self.options),
            secure_firmware=lambda: find_firmware(self.options, secure=True),
        )  # fmt: skip

    @cached_property
    def cache(self) -> Path:
        """Where the probe's answer is kept."""
        return Path(self.options["cache"]) if self.options.get("cache") else self.folders.cache

    @cached_property
    def probed(self) -> Probed:
        """How guests run on this host (probed or remembered)."""
        return probe(self.options, self.cache)

    def capabilities(self) -> Capabilities:
        return Capabilities(
            boots_guests=True, screenshots=True, firmwares=frozenset(Firmware), wires=True, freezes=True,
            disks=frozenset(DiskBus) - {DiskBus.NVME}, trusted=can_be_trusted(self.options),
        )  # fmt: skip

    def accelerator(self) -> Accelerator:
        return self.probed.accelerator

    def capacity(self) -> Capacity:
        return local_capacity()

    def check(self) -> Sequence[Finding]:
        from aibemu_drivers.libvirt.checks import Subject, check_libvirt
        from aibemu_drivers.qemu.checks import Examined

        examined = Examined(options=self.options, cache=self.cache, runs=self.folders.runs, create=self.create)
        subject = Subject(
            examined=examined, connection=self.connection, folder=self.folders.cache, machine_type=self.machine_type
        )
        return check_libvirt(subject)

    def freezing_key(self) -> Sequence[str]:
        name = self.accelerator().name
        # KVM shows the guest the host's own CPU; TCG always the same one.
        cpu = host_cpu() if name == "kvm" else ""
        version = self.connection.call(lambda virt: str(virt.getLibVersion()))
        return (DRIVER, version, qemu_version(), name, CPU, cpu, *(self.machine_type(one) for one in Chipset))

    def machine_type(self, chipset: Chipset) -> str:
        """What libvirt and QEMU make of this chipset, e.g. `pc-i440fx-7.2`. `ProvisionFailed` when they make none."""
        return domain_capabilities(self.connection, chipset, TYPES[self.accelerator().name]).findtext("machine", "")

    def create(self, spec: MachineSpec) -> Machine:
        check_id(spec)
        check_machine(spec)
        if spec.hardware.tpm:
            check_tpm(spec)
        if spec.hardware.secure_boot:
            self.host.secure_firmware()
        directory = spec.directory.resolve()
        make_folder(directory, mode=0o700)
        if (directory / FILE).exists():
            raise ProvisionFailed(f"there is a machine in {directory} already", hint="destroy it first: aibemu clean")
        sockets = socket_directory(directory, SOCKET) if spec.hardware.tpm else directory
        record = LibvirtMachine.first_record(spec, sockets)
        write_record(directory, record)
        if sockets != directory:
            make_socket_directory(sockets)
        copy_sticks(spec, directory)
        prepare_disk(spec, directory / record["disk"])
        return LibvirtMachine(directory, record, self.host)

    def find(self, directory: Path) -> Machine | None:
        directory = directory.resolve()
        record = read_record(directory, DRIVER)
        if record is None:
            return None
        try:
            return LibvirtMachine(directory, record, self.host)
        except SHAPE_ERRORS as error:
            raise damaged(directory, f"bad or missing field: {error}") from None

    def list(self, owner: str) -> Sequence[Leftover]:
        """Recorded machines, then domains that are marked as the owner's and whose record is gone."""
        folder = machines_folder(self.folders, owner)
        machines = [machine for one in recorded(self.folders, owner) if (machine := self.find(one)) is not None]
        known = {machine.directory for machine in machines}
        return [*machines, *find_left(self.connection, owner, folder, known=known)]

    def communicator(self, machine: Machine, credentials: Credentials, deadline: Deadline) -> Communicator | None:
        return None


def domain_capabilities(connection: Connection, chipset: Chipset, kind: str) -> ET.Element:
    """What libvirt can make with this chipset; kind: qemu or kvm. `Refused` when it can make nothing."""

    def ask(virt: Any) -> str:
        said: str = virt.getDomainCapabilities(None, ARCHITECTURE, chipset.value, kind)
        return said

    return ET.fromstring(connection.call(ask))  # noqa: S314 - libvirt's own words
