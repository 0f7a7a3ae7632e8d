"""From a machine's description to QEMU's command line. Pure: values in, words out.

Block devices are given as JSON and every other path with its commas doubled, so that no character in a path means
anything to QEMU.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibemu.errors import ProvisionFailed
from aibemu.hardware import CdromBus, Chipset, DiskBus, NicModel
from aibemu.hypervisor import Firmware, MachineSpec, Smbios, Wire

# Before a machine's id, as QEMU's name for it.
PREFIX = "aibemu-"
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
# Translated code is cached in 512 MiB: a 1 GiB cache gained nothing sure (facts: host, "Time to SSH").
ACCELERATORS: Mapping[str, str] = {"kvm": "kvm", "tcg": "tcg,thread=multi,tb-size=512"}
# The same for guests and for the probe, or the probe would prove nothing: with KVM some hosts abort on it only.
CPU = "max"
# The node of the system disk that a machine starts with; each freeze puts another one over it.
FIRST_NODE = "os"
# A guest that shall take its machine for Hyper-V's may not see QEMU's or KVM's name in the CPU. Without KVM no
# hypervisor is announced at all, and guests go by SMBIOS (facts: guest-platform 1.1). KVM's part is untested.
CPU_AS_HYPERV: Mapping[str, str] = {
    "tcg": f"{CPU},hypervisor=off", "kvm": f"{CPU},hv_relaxed=on,hv_vapic=on,hv_spinlocks=0x1fff,hv_time=on",
}  # fmt: skip
# All that QEMU recommends for Windows, by name, for `hv_passthrough` freezes it with SeaBIOS (facts: windows-images 2).
# By `crash` a stop code reaches QEMU (`Machine.panic`).
_FOR_WINDOWS = (
    "relaxed", "vapic", "spinlocks=0xfff", "vpindex", "runtime", "time", "synic", "stimer", "tlbflush", "ipi",
    "frequencies", "crash",
)  # fmt: skip
CPU_FOR_WINDOWS: Mapping[str, str] = {
    "tcg": CPU_AS_HYPERV["tcg"],
    "kvm": ",".join([CPU, *(f"hv_{name}" if "=" in name else f"hv_{name}=on" for name in _FOR_WINDOWS)]),
}
_NICS: Mapping[NicModel, str] = {
    NicModel.VIRTIO: "virtio-net-pci", NicModel.E1000: "e1000", NicModel.E1000E: "e1000e",
}  # fmt: skip
_DISKS: Mapping[DiskBus, str] = {
    DiskBus.VIRTIO_SCSI: "scsi-hd", DiskBus.VIRTIO_BLK: "virtio-blk-pci", DiskBus.SATA: "ide-hd",
    DiskBus.IDE: "ide-hd", DiskBus.NVME: "nvme",
}  # fmt: skip
_CDROMS: Mapping[CdromBus, str] = {
    CdromBus.VIRTIO_SCSI: "scsi-cd", CdromBus.SATA: "ide-cd", CdromBus.IDE: "ide-cd",
}  # fmt: skip
# Only the firmware itself, in system management mode, may write its variables; it needs sleep (S3) to be off then.
_SECURE = ("-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1")
# Drives that a controller has room for: the ports of AHCI, two on each of the two cables of IDE.
_ROOM: Mapping[str, int] = {DiskBus.SATA: 6, DiskBus.IDE: 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareFiles:
    """OVMF: the code, shared and read-only, and the variable store (here: the template that machines copy)."""

    code: Path
    variables: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is decided at the moment of starting. ports: guest port -> port on 127.0.0.1. firmware: UEFI only. sticks:
    the machine's copies of `MachineSpec.sticks`. tpm: the socket of the machine's TPM.
    """

    accelerator: str
    sandbox: bool
    disk: Path
    console: Path
    socket: Path
    ports: Mapping[int, int]
    firmware: FirmwareFiles | None = None
    sticks: tuple[Path, ...] = ()
    tpm: Path | None = None


def build_arguments(spec: MachineSpec, launch: Launch) -> list[str]:
    """QEMU's arguments, without the program. The guest's CPUs stay stopped (-S) until QMP says `cont`."""
    return [
        "-name", f"{PREFIX}{spec.id}", "-uuid", str(spec.uuid),
        "-nodefaults", "-no-user-config", "-display", "none", "-S",
        *_machine(spec, launch),
        "-accel", ACCELERATORS[launch.accelerator], "-cpu", _cpu(spec, launch.accelerator),
        *(_smbios(spec.smbios) if spec.smbios else []),
        "-smp", str(spec.cpus), "-m", f"size={spec.memory_mib}M", "-rtc", "base=utc",
        # A screen for screenshots; no VNC, nothing listens.
        "-vga", spec.hardware.video.value,
        # A panic stops the guest where it is, so that its screen can still be saved; the engine ends it.
        "-action", "panic=pause",
        # Guests that know it seed their random numbers anew when they are taken up from a freeze; Hyper-V has it too.
        "-device", "vmgenid,guid=auto",
        "-device", "pvpanic", "-object", "rng-builtin,id=rng0", "-device", "virtio-rng-pci,rng=rng0",
        *_drives(spec, launch),
        *_usb(spec, launch), *(tpm_words(launch.tpm) if launch.tpm else []),
        *network_words(spec, launch.ports),
        *console_words(launch.console),
        "-chardev", f"socket,id=qmp,path={escape(launch.socket)},server=on,wait=off",
        "-mon", "chardev=qmp,mode=control",
        *(["-sandbox", SANDBOX] if launch.sandbox else []),
        *(["-incoming", "defer"] if spec.frozen and spec.frozen.memory else []),
    ]  # fmt: skip


def check_hardware(spec: MachineSpec) -> None:
    """`ProvisionFailed` for drives that the machine has no controller, or not enough room, for; and for what is not
    made at all."""
    hardware = spec.hardware
    if hardware.secure_boot and (spec.firmware is not Firmware.UEFI or chipset(spec) is not Chipset.Q35):
        raise ProvisionFailed("Secure Boot needs UEFI firmware and the chipset q35")
    if hardware.tpm and spec.frozen:
        raise ProvisionFailed("a machine with a TPM cannot go on from a frozen one: what the TPM held was not frozen")
    buses = [hardware.disk.value, *[hardware.cdrom.value] * len(spec.cdroms)]
    if DiskBus.IDE in buses and chipset(spec) is not Chipset.PC:
        raise ProvisionFailed("the chipset q35 has no IDE controller", hint="choose the bus sata, or the chipset pc")
    for bus, room in _ROOM.items():
        if buses.count(bus) > room:
            raise ProvisionFailed(f"there is no room for {buses.count(bus)} drives on the bus {bus}: it has {room}")


def escape(path: Path) -> str:
    """A path inside an option list: a comma is written twice."""
    return _value(str(path))


def _value(text: str) -> str:
    return text.replace(",", ",,")


def chipset(spec: MachineSpec) -> Chipset:
    """The one asked for; else `pc` boots faster than q35 (facts: host, "Time to SSH"); UEFI wants q35."""
    return spec.hardware.chipset or (Chipset.PC if spec.firmware is Firmware.BIOS else Chipset.Q35)


def _machine(spec: MachineSpec, launch: Launch) -> list[str]:
    board = chipset(spec).value
    if spec.firmware is Firmware.BIOS:
        # graphics=off: SeaBIOS writes to the serial console too, so "No bootable device" is seen at once.
        return ["-machine", f"{board},graphics=off"]
    if launch.firmware is None:
        raise ValueError("UEFI needs firmware files")
    secure = spec.hardware.secure_boot
    return [
        "-blockdev", _node("code", {"driver": "raw", "read-only": True, "file": _file(launch.firmware.code)}),
        "-blockdev", _node("vars", {"driver": "raw", "file": _file(launch.firmware.variables)}),
        "-machine", f"{board}{',smm=on' if secure else ''},pflash0=code,pflash1=vars", *(_SECURE if secure else []),
    ]  # fmt: skip


def _cpu(spec: MachineSpec, accelerator: str) -> str:
    as_asked = CPU_AS_HYPERV[accelerator] if spec.smbios else CPU
    cpu = CPU_FOR_WINDOWS[accelerator] if spec.hardware.hyperv else as_asked
    # Not on emulated CPUs: with svm=off QEMU 7.2's give Linux garbage, what a system call copies to a program is lost.
    return cpu if spec.hardware.nested or accelerator == "tcg" else f"{cpu},vmx=off,svm=off"


def overlay_node(name: str, path: Path) -> dict[str, Any]:
    """A block node for a qcow2 overlay that the guest writes, as `-blockdev` and `blockdev-add` want it."""
    # cache=unsafe: the guest's flushes are ignored, which makes dpkg several times faster. The overlay is thrown away
    # after a crash of the host anyway; what is distributed is synced then (facts: provisioners 5.2).
    unsafe = {"cache": {"direct": False, "no-flush": True}, "discard": "unmap"}
    return {"node-name": name, "driver": "qcow2", **unsafe, "file": _file(path) | unsafe}


def _drives(spec: MachineSpec, launch: Launch) -> list[str]:
    """The disk first, then the CD-ROM drives, each in the next place of its bus."""
    disk, cdrom = spec.hardware.disk, spec.hardware.cdrom
    words = _controllers(spec)
    taken = dict.fromkeys(DiskBus, 0)

    def place(bus: DiskBus | CdromBus) -> str:
        number = taken[DiskBus(bus)]
        taken[DiskBus(bus)] += 1
        return _place(spec, DiskBus(bus), number)

    words += [
        "-blockdev", json.dumps(overlay_node(FIRST_NODE, launch.disk), ensure_ascii=False),
        "-device", f"{_DISKS[disk]},{place(disk)},drive={FIRST_NODE},bootindex=0",
    ]  # fmt: skip
    for index, path in enumerate(spec.cdroms):
        node = {"driver": "raw", "read-only": True, "file": _file(path.absolute())}
        words += [
            "-blockdev", _node(f"cd{index}", node), "-device", f"{_CDROMS[cdrom]},{place(cdrom)},drive=cd{index}"
        ]  # fmt: skip
    return words


def _usb(spec: MachineSpec, launch: Launch) -> list[str]:
    """xHCI, which Windows knows since 8 and Server 2012. A stick says that it can be removed: else Windows looks for no
    answer file on it (facts: windows-images 3)."""
    words = ["-device", "usb-tablet,bus=usb.0"] if spec.hardware.usb_tablet else []
    for index, path in enumerate(launch.sticks):
        words += [
            "-blockdev", _node(f"stick{index}", {"driver": "raw", "file": _file(path)}),
            "-device", f"usb-storage,bus=usb.0,drive=stick{index},removable=on",
        ]  # fmt: skip
    # strict: no firmware tries to boot from a stick, whose own words would hide that the disk does not boot.
    strict = ["-boot", "strict=on"] if launch.sticks else []
    return ["-device", "qemu-xhci,id=usb", *words, *strict] if words else []


def console_words(console: Path) -> list[str]:
    """The serial console, written into a file."""
    return ["-chardev", f"file,id=console,path={escape(console)}", "-serial", "chardev:console"]


def tpm_words(socket: Path) -> list[str]:
    """The TPM whose process listens at `socket`."""
    return [
        "-chardev", f"socket,id=tpm,path={escape(socket)}", "-tpmdev", "emulator,id=tpm0,chardev=tpm",
        "-device", "tpm-tis,tpmdev=tpm0",
    ]  # fmt: skip


def _controllers(spec: MachineSpec) -> list[str]:
    """Those that the chipset has not anyway. virtio-scsi by default: cloud kernels have no AHCI (facts: host)."""
    buses = {spec.hardware.disk.value, *([spec.hardware.cdrom.value] if spec.cdroms else [])}
    words = []
    if DiskBus.VIRTIO_SCSI in buses:
        words += ["-device", "virtio-scsi-pci,id=scsi0"]
    if DiskBus.SATA in buses and chipset(spec) is Chipset.PC:
        words += ["-device", "ahci,id=sata"]
    return words


def _place(spec: MachineSpec, bus: DiskBus, number: int) -> str:
    """Where the drive goes that is the `number`th of its bus, from 0."""
    if bus is DiskBus.SATA:
        return f"bus={'ide' if chipset(spec) is Chipset.Q35 else 'sata'}.{number}"
    if bus is DiskBus.IDE:
        return f"bus=ide.{number // 2},unit={number % 2}"
    return "bus=scsi0.0" if bus is DiskBus.VIRTIO_SCSI else "serial=aibemu"


def _smbios(smbios: Smbios) -> list[str]:
    maker = f"manufacturer={_value(smbios.manufacturer)}"
    product = f"{maker},product={_value(smbios.product)}"
    return [
        "-smbios", f"type=1,{product},version={_value(smbios.version)}",
        "-smbios", f"type=2,{product}",
        "-smbios", f"type=3,{maker},asset={_value(smbios.asset_tag)}",
    ]  # fmt: skip


def network_words(spec: MachineSpec, ports: Mapping[int, int], more: str = "") -> list[str]:
    """The network card and what it hangs on. ports: guest port -> port on 127.0.0.1. more: options of the card."""
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for guest, host in ports.items())
    # romfile=: no PXE boot, so no ROM to load.
    nic = ["-device", f"{_NICS[spec.hardware.nic]},netdev=net0,mac={spec.mac},romfile={more}"]
    if spec.wire is None:
        # ipv6=off: guests would try addresses that lead nowhere first.
        return ["-netdev", f"user,id=net0,ipv6=off{forwards}", *nic]
    return [*_wired(spec.wire, forwards), *nic]


def _wired(wire: Wire, forwards: str) -> list[str]:
    """The NIC's frames go out by one socket; what comes back by the other reaches the user network, through a hub, for
    two backends cannot be joined otherwise. dhcpstart is where forwarded connections go.

    Streams, not datagrams: QEMU reads one datagram per turn of its main loop, but many frames of a stream.
    """
    net = wire.subnet
    host, dns = net.network_address + 1, net.network_address + 3
    return [
        "-netdev", f"stream,id=net0,server=off,addr.type=unix,addr.path={escape(wire.nic)}",
        "-netdev", f"user,id=outside,ipv6=off,net={net},host={host},dns={dns},dhcpstart={wire.address}{forwards}",
        "-netdev", f"stream,id=uplink,server=off,addr.type=unix,addr.path={escape(wire.uplink)}",
        "-netdev", "hubport,id=hub0,hubid=0,netdev=outside", "-netdev", "hubport,id=hub1,hubid=0,netdev=uplink",
    ]  # fmt: skip


def _file(path: Path) -> dict[str, Any]:
    return {"driver": "file", "filename": str(path)}


def _node(name: str, options: Mapping[str, Any]) -> str:
    return json.dumps({"node-name": name, **options}, ensure_ascii=False)
