"""From a machine's description to libvirt's domain XML. Pure: values in, text out.

What libvirt has words for is said in them. The network card on the wire, the console and the SMBIOS UUID are given to
QEMU in its own words (`qemu:commandline`), the same as the QEMU driver's; the reasons are at `_own_words`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from aibemu.errors import ProvisionFailed
from aibemu.hardware import DiskBus, Video
from aibemu.hypervisor import Firmware, MachineSpec, Smbios
from aibemu_drivers.libvirt.devices import add, add_drives, add_usb
from aibemu_drivers.qemu.arguments import (
    PREFIX,
    FirmwareFiles,
    check_hardware,
    chipset,
    console_words,
    network_words,
    tpm_words,
)

QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
# Of our element in <metadata>, which libvirt keeps as it is. No address of anything.
MARK = "urn:aibemu:machine:1"
# libvirt's name for how guests are executed, by that of `Accelerator`.
TYPES: Mapping[str, str] = {"kvm": "kvm", "tcg": "qemu"}
# Where the network card is on the PCI bus. Devices in plain words are made before libvirt's own and would take the
# place of one of them; and it must be the same one again for a machine that goes on from a frozen one.
NIC_ADDRESS = ",addr=0x10"
# MiB; see ACCELERATORS in the QEMU driver.
_TRANSLATED = 512
# What Hyper-V shows to all guests, and what Windows is given besides: as CPU_AS_HYPERV and CPU_FOR_WINDOWS of the QEMU
# driver. The clock is a timer in libvirt's words, `crash` a panic device.
_HYPERV: Mapping[str, Mapping[str, str]] = {"relaxed": {}, "vapic": {}, "spinlocks": {"retries": "8191"}}
_FOR_WINDOWS: Mapping[str, Mapping[str, str]] = {
    "relaxed": {}, "vapic": {}, "spinlocks": {"retries": "4095"}, "vpindex": {}, "runtime": {}, "synic": {},
    "stimer": {}, "frequencies": {}, "tlbflush": {}, "ipi": {},
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What is decided at the moment of starting."""

    # kvm or tcg.
    accelerator: str
    # libvirt's UUID of the machine, which no other one may have: the guest sees `MachineSpec.uuid`.
    uuid: UUID
    # The files of the system disk, the one that the guest writes first; the image is not among them.
    disks: tuple[Path, ...]
    console: Path
    # Guest port -> port on 127.0.0.1.
    ports: Mapping[int, int]
    # UEFI only.
    firmware: FirmwareFiles | None = None
    # The machine's copies of `MachineSpec.sticks`.
    sticks: tuple[Path, ...] = ()
    # The socket of the machine's TPM.
    tpm: Path | None = None
    # User and group that QEMU runs as, where the daemon would choose others.
    user: tuple[int, int] | None = None


def check_machine(spec: MachineSpec) -> None:
    """`ProvisionFailed` for hardware that the QEMU driver refuses too, and for what libvirt cannot make."""
    check_hardware(spec)
    if spec.hardware.disk is DiskBus.NVME:
        raise ProvisionFailed(
            "the driver libvirt has no NVMe disks: libvirt gives guests only those of the host",
            hint="choose another disk, or the driver qemu",
        )


def domain_name(spec: MachineSpec) -> str:
    """As `virsh list` shows it."""
    return f"{PREFIX}{spec.id}"


def build_domain(spec: MachineSpec, start: Start) -> str:
    """The domain's XML. It boots, or with `MachineSpec.frozen` waits for its memory."""
    ET.register_namespace("qemu", QEMU)
    ET.register_namespace("aibemu", MARK)
    top = ET.Element("domain", type=TYPES[start.accelerator])
    add(top, "name", domain_name(spec))
    add(top, "uuid", str(start.uuid))
    # Guests that know it seed their random numbers anew when they are taken up from a freeze; Hyper-V has it too.
    add(top, "genid")
    add(add(top, "metadata"), f"{{{MARK}}}machine", id=spec.id, owner=spec.owner, directory=str(spec.directory))
    add(top, "memory", str(spec.memory_mib), unit="MiB")
    add(top, "vcpu", str(spec.cpus))
    _add_firmware(top, spec, start)
    _add_features(top, spec, start)
    _add_cpu(top, spec, start)
    clock = add(top, "clock", offset="utc")
    if _hyperv(spec, start):
        add(clock, "timer", name="hypervclock", present="yes")
    add(top, "on_poweroff", "destroy")
    add(top, "on_reboot", "restart")
    # The guest stands where it is, so that its screen can still be saved; the engine ends it.
    add(top, "on_crash", "preserve")
    if spec.hardware.secure_boot:
        add(add(top, "pm"), "suspend-to-mem", enabled="no")
    _add_devices(top, spec, start)
    if start.user:
        label = add(top, "seclabel", type="static", model="dac", relabel="no")
        add(label, "label", "+{}:+{}".format(*start.user))
    line = add(top, f"{{{QEMU}}}commandline")
    for word in _own_words(spec, start):
        add(line, f"{{{QEMU}}}arg", value=word)
    ET.indent(top)
    return ET.tostring(top, encoding="unicode")


def _add_firmware(top: ET.Element, spec: MachineSpec, start: Start) -> None:
    if spec.smbios:
        _add_smbios(top, spec.smbios)
    firmware = add(top, "os")
    add(firmware, "type", "hvm", arch="x86_64", machine=chipset(spec).value)
    if spec.firmware is Firmware.UEFI:
        if start.firmware is None:
            raise ValueError("UEFI needs firmware files")
        secure = {"secure": "yes"} if spec.hardware.secure_boot else {}
        add(firmware, "loader", str(start.firmware.code), readonly="yes", type="pflash", **secure)
        add(firmware, "nvram", str(start.firmware.variables))
    if spec.smbios:
        add(firmware, "smbios", mode="sysinfo")


def _add_smbios(top: ET.Element, smbios: Smbios) -> None:
    product = {"manufacturer": smbios.manufacturer, "product": smbios.product}
    info = add(top, "sysinfo", type="smbios")
    for part, entries in (
        ("system", product | {"version": smbios.version}), ("baseBoard", product),
        ("chassis", {"manufacturer": smbios.manufacturer, "asset": smbios.asset_tag}),
    ):  # fmt: skip
        block = add(info, part)
        for name, value in entries.items():
            add(block, "entry", value, name=name)


def _hyperv(spec: MachineSpec, start: Start) -> Mapping[str, Mapping[str, str]]:
    """Which of Hyper-V's interfaces the CPU shows; none where it is emulated (see the QEMU driver)."""
    if start.accelerator != "kvm":
        return {}
    if spec.hardware.hyperv:
        return _FOR_WINDOWS
    return _HYPERV if spec.smbios else {}


def _add_features(top: ET.Element, spec: MachineSpec, start: Start) -> None:
    features = add(top, "features")
    add(features, "acpi")
    add(features, "apic")
    if shown := _hyperv(spec, start):
        hyperv = add(features, "hyperv", mode="custom")
        for name, more in shown.items():
            add(hyperv, name, state="on", **more)
    if spec.hardware.secure_boot:
        add(features, "smm", state="on")
    if start.accelerator == "tcg":
        add(add(features, "tcg"), "tb-cache", str(_TRANSLATED), unit="MiB")


def _add_cpu(top: ET.Element, spec: MachineSpec, start: Start) -> None:
    cpu = add(top, "cpu", mode="maximum")
    add(cpu, "topology", sockets="1", dies="1", cores=str(spec.cpus), threads="1")
    emulated = start.accelerator == "tcg"
    hidden = ["hypervisor"] if emulated and (spec.smbios or spec.hardware.hyperv) else []
    if not emulated and not spec.hardware.nested:
        hidden += ["vmx", "svm"]
    for name in hidden:
        add(cpu, "feature", policy="disable", name=name)


def _add_devices(top: ET.Element, spec: MachineSpec, start: Start) -> None:
    devices = add(top, "devices")
    images = [*((path, "qcow2") for path in start.disks), (spec.base.absolute(), spec.base_format)]
    names = add_drives(devices, spec, images)
    add_usb(devices, spec, start.sticks, names)
    # A screen for screenshots; no <graphics>, so nothing listens.
    screen = "vga" if spec.hardware.video is Video.STD else "none"
    add(add(devices, "video"), "model", type=screen)
    add(add(devices, "rng", model="virtio"), "backend", model="builtin")
    add(devices, "panic", model="isa")
    if start.accelerator == "kvm" and spec.hardware.hyperv:
        add(devices, "panic", model="hyperv")
    add(devices, "memballoon", model="none")


def _own_words(spec: MachineSpec, start: Start) -> list[str]:
    """What QEMU is told in its own words.

    - The UUID that the guest sees: several machines may go on from a frozen one, with the UUID that it had, and libvirt
      has none with the UUID of another. QEMU takes the last that it is told.
    - The console: as a file of libvirt's a system daemon would make it root's own, and cut it.
    - SeaBIOS writes to the console too, so "No bootable device" is seen at once; libvirt asks for a device of its own
      for that.
    - The network card on the wire, which libvirt has no words for; and the memory of a frozen machine, which libvirt
      reads for one machine only.
    """
    return [
        "-smbios", f"type=1,uuid={spec.uuid}",
        *(["-machine", "graphics=off"] if spec.firmware is Firmware.BIOS else []),
        *console_words(start.console), *network_words(spec, start.ports, NIC_ADDRESS),
        *(tpm_words(start.tpm) if start.tpm else []),
        *(["-incoming", "defer"] if spec.frozen and spec.frozen.memory else []),
    ]  # fmt: skip
