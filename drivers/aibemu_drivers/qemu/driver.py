"""QEMU as child processes, driven over QMP: no daemon, no root, no VNC; everything listens on 127.0.0.1 only.

Options: `accelerator` = auto, kvm or tcg; `ovmf_code` and `ovmf_vars`: UEFI firmware files; `cache`: a folder for
what the probe found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Login
from aibemu.errors import ProvisionFailed, UsageError
from aibemu.hypervisor import Accelerator, Capabilities, Finding, Firmware, Machine, MachineSpec
from aibemu.sockets import make_socket_directory, socket_directory
from aibemu_drivers.overlay import check_id, prepare_disk
from aibemu_drivers.qemu.accelerator import Probed, host_cpu, probe, qemu_version
from aibemu_drivers.qemu.arguments import CPU, CPU_AS_HYPERV
from aibemu_drivers.qemu.firmware import find_firmware
from aibemu_drivers.qemu.machine import DRIVER, SOCKET, Host, QemuMachine
from aibemu_drivers.records import FILE, read_record, write_record

_OPTIONS = frozenset({"accelerator", "ovmf_code", "ovmf_vars", "cache"})


class QemuDriver:
    """See `aibemu.hypervisor.HypervisorDriver`."""

    name = DRIVER

    def __init__(self, options: Mapping[str, str]) -> None:
        if unknown := sorted(set(options) - _OPTIONS):
            raise UsageError(
                f"the driver qemu has no option {', '.join(unknown)}", hint=f"it has: {', '.join(sorted(_OPTIONS))}"
            )
        self.options = dict(options)
        self.host = Host(probed=lambda: self.probed, firmware=lambda: find_firmware(self.options))

    @cached_property
    def cache(self) -> Path:
        """Where the probe's answer is kept."""
        if given := self.options.get("cache"):
            return Path(given)
        from aibemu.paths import Home

        return Home.discover().cache / "qemu"

    @cached_property
    def probed(self) -> Probed:
        """How guests run on this host (probed or remembered)."""
        return probe(self.options, self.cache)

    def capabilities(self) -> Capabilities:
        return Capabilities(
            boots_guests=True, screenshots=True, firmwares=frozenset(Firmware), wires=True, freezes=True
        )

    def accelerator(self) -> Accelerator:
        return self.probed.accelerator

    def check(self) -> Sequence[Finding]:
        from aibemu_drivers.qemu.checks import check_host

        return check_host(self)

    def freezing_key(self) -> Sequence[str]:
        probed = self.probed
        # KVM shows the guest the host's own CPU; TCG always the same one.
        cpu = host_cpu() if probed.accelerator.name == "kvm" else ""
        return ("qemu", qemu_version(), probed.accelerator.name, CPU, CPU_AS_HYPERV[probed.accelerator.name], cpu)

    def create(self, spec: MachineSpec) -> Machine:
        check_id(spec)
        directory = spec.directory.resolve()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (directory / FILE).exists():
            raise ProvisionFailed(f"there is a machine in {directory} already", hint="destroy it first: aibemu clean")
        sockets = socket_directory(directory, SOCKET)
        record = QemuMachine.first_record(spec, sockets)
        write_record(directory, record)
        if sockets != directory:
            make_socket_directory(sockets)
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

    def communicator(self, machine: Machine, login: Login, deadline: Deadline) -> Communicator | None:
        return None
