"""QEMU as child processes, driven over QMP: no daemon, no root, no VNC; everything listens on 127.0.0.1 only.

Options: `accelerator` = auto, kvm or tcg; `ovmf_code` and `ovmf_vars`: UEFI firmware files;
`ovmf_secure_code` and `ovmf_secure_vars`: the same with Secure Boot and Microsoft's keys; `cache`: a folder for
what the probe found, instead of the driver's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Credentials
from aibemu.errors import ProvisionFailed
from aibemu.files import make_folder
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
from aibemu.sockets import make_socket_directory, socket_directory
from aibemu_drivers.local import known_options, local_capacity, machines_folder, recorded
from aibemu_drivers.overlay import check_id, prepare_disk
from aibemu_drivers.qemu.accelerator import Probed, host_cpu, probe, qemu_version
from aibemu_drivers.qemu.arguments import CPU, CPU_AS_HYPERV, check_hardware
from aibemu_drivers.qemu.firmware import find_firmware
from aibemu_drivers.qemu.leftovers import find_left_processes
from aibemu_drivers.qemu.local_machine import Host
from aibemu_drivers.qemu.machine import DRIVER, SOCKET, QemuMachine
from aibemu_drivers.qemu.own_files import copy_sticks
from aibemu_drivers.qemu.tpm import can_be_trusted, check_tpm
from aibemu_drivers.records import FILE, read_record, write_record

# Name -> whether it is a path.
_OPTIONS = {
    "accelerator": False, "ovmf_code": True, "ovmf_vars": True, "ovmf_secure_code": True, "ovmf_secure_vars": True,
    "cache": True,
}  # fmt: skip


class QemuDriver:
    """See `aibemu.hypervisor.HypervisorDriver`."""

    name = DRIVER

    def __init__(self, options: Mapping[str, str], folders: DriverFolders) -> None:
        self.options = known_options(DRIVER, options, _OPTIONS)
        self.folders = folders
        self.host = Host(
            probed=lambda: self.probed, firmware=lambda: find_firmware(self.options),
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
            boots_guests=True,
            screenshots=True,
            firmwares=frozenset(Firmware),
            wires=True,
            freezes=True,
            saves_disks=True,
            trusted=can_be_trusted(self.options),
        )

    def accelerator(self) -> Accelerator:
        return self.probed.accelerator

    def capacity(self) -> Capacity:
        return local_capacity()

    def check(self) -> Sequence[Finding]:
        from aibemu_drivers.qemu.checks import Examined, check_host

        return check_host(Examined(options=self.options, cache=self.cache, runs=self.folders.runs, create=self.create))

    def freezing_key(self) -> Sequence[str]:
        probed = self.probed
        # KVM shows the guest the host's own CPU; TCG always the same one.
        cpu = host_cpu() if probed.accelerator.name == "kvm" else ""
        return ("qemu", qemu_version(), probed.accelerator.name, CPU, CPU_AS_HYPERV[probed.accelerator.name], cpu)

    def create(self, spec: MachineSpec) -> Machine:
        check_id(spec)
        check_hardware(spec)
        if spec.hardware.tpm:
            check_tpm(spec)
        if spec.hardware.secure_boot:
            self.host.secure_firmware()
        directory = spec.directory.resolve()
        make_folder(directory, mode=0o700)
        if (directory / FILE).exists():
            raise ProvisionFailed(f"there is a machine in {directory} already", hint="destroy it first: aibemu clean")
        sockets = socket_directory(directory, SOCKET)
        record = QemuMachine.first_record(spec, sockets)
        write_record(directory, record)
        if sockets != directory:
            make_socket_directory(sockets)
        copy_sticks(spec, directory)
        prepare_disk(spec, directory / record["disk"])
        return QemuMachine(directory, record, self.host)

    def find(self, directory: Path) -> Machine | None:
        directory = directory.resolve()
        record = read_record(directory, DRIVER)
        if record is None:
            return None
        machine = QemuMachine(directory, record, self.host)
        machine.adopt()
        return machine

    def list(self, owner: str) -> Sequence[Leftover]:
        """Recorded machines, then QEMU processes whose command line names a directory of the owner's that is gone."""
        folder = machines_folder(self.folders, owner)
        machines = [machine for one in recorded(self.folders, owner) if (machine := self.find(one)) is not None]
        return [*machines, *find_left_processes(folder, known={machine.directory for machine in machines})]

    def communicator(self, machine: Machine, credentials: Credentials, deadline: Deadline) -> Communicator | None:
        return None
