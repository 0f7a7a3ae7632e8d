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

from aibemu.hypervisor import Firmware, MachineSpec

SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
# Translated code is cached in 512 MiB: a 1 GiB cache gained nothing sure (facts: host, "Time to SSH").
ACCELERATORS: Mapping[str, str] = {"kvm": "kvm", "tcg": "tcg,thread=multi,tb-size=512"}
# The same for guests and for the probe, or the probe would prove nothing: with KVM some hosts abort on it only.
CPU = "max"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareFiles:
    """OVMF: the code, shared and read-only, and the variable store (here: the template that machines copy)."""

    code: Path
    variables: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is decided at the moment of starting. ports: guest port -> port on 127.0.0.1. firmware: UEFI only."""

    accelerator: str
    sandbox: bool
    disk: Path
    console: Path
    socket: Path
    ports: Mapping[int, int]
    firmware: FirmwareFiles | None = None


def build_arguments(spec: MachineSpec, launch: Launch) -> list[str]:
    """QEMU's arguments, without the program. The guest's CPUs stay stopped (-S) until QMP says `cont`."""
    return [
        "-name", f"aibemu-{spec.id}", "-uuid", str(spec.uuid),
        "-nodefaults", "-no-user-config", "-display", "none", "-S",
        *_machine(spec, launch),
        "-accel", ACCELERATORS[launch.accelerator], "-cpu", CPU,
        "-smp", str(spec.cpus), "-m", f"size={spec.memory_mib}M", "-rtc", "base=utc",
        # A screen for screenshots; no VNC, nothing listens.
        "-vga", "std",
        # A panic stops the guest where it is, so that its screen can still be saved; the engine ends it.
        "-action", "panic=pause",
        "-device", "pvpanic", "-object", "rng-builtin,id=rng0", "-device", "virtio-rng-pci,rng=rng0",
        *_disks(spec, launch),
        *_network(spec, launch),
        "-chardev", f"file,id=console,path={escape(launch.console)}", "-serial", "chardev:console",
        "-chardev", f"socket,id=qmp,path={escape(launch.socket)},server=on,wait=off",
        "-mon", "chardev=qmp,mode=control",
        *(["-sandbox", SANDBOX] if launch.sandbox else []),
    ]  # fmt: skip


def escape(path: Path) -> str:
    """A path inside an option list: a comma is written twice."""
    return str(path).replace(",", ",,")


def _machine(spec: MachineSpec, launch: Launch) -> list[str]:
    """`pc` boots faster than q35 (facts: host, "Time to SSH"); UEFI wants q35."""
    if spec.firmware is Firmware.BIOS:
        # graphics=off: SeaBIOS writes to the serial console too, so "No bootable device" is seen at once.
        return ["-machine", "pc,graphics=off"]
    if launch.firmware is None:
        raise ValueError("UEFI needs firmware files")
    return [
        "-blockdev", _node("code", {"driver": "raw", "read-only": True, "file": _file(launch.firmware.code)}),
        "-blockdev", _node("vars", {"driver": "raw", "file": _file(launch.firmware.variables)}),
        "-machine", "q35,pflash0=code,pflash1=vars",
    ]  # fmt: skip


def _disks(spec: MachineSpec, launch: Launch) -> list[str]:
    # cache=unsafe: the guest's flushes are ignored, which makes dpkg several times faster. The overlay is thrown away
    # after a crash of the host anyway; what is distributed is synced then (facts: provisioners 5.2).
    unsafe = {"cache": {"direct": False, "no-flush": True}, "discard": "unmap"}
    words = [
        "-device", "virtio-scsi-pci,id=scsi0",
        "-blockdev", _node("os", {"driver": "qcow2", **unsafe, "file": _file(launch.disk) | unsafe}),
        "-device", "scsi-hd,bus=scsi0.0,drive=os,bootindex=0",
    ]  # fmt: skip
    for index, path in enumerate(spec.cdroms):
        # virtio-scsi: cloud kernels have no AHCI (facts: host).
        node = {"driver": "raw", "read-only": True, "file": _file(path.absolute())}
        words += ["-blockdev", _node(f"cd{index}", node), "-device", f"scsi-cd,bus=scsi0.0,drive=cd{index}"]
    return words


def _network(spec: MachineSpec, launch: Launch) -> list[str]:
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for guest, host in launch.ports.items())
    # ipv6=off: guests would try addresses that lead nowhere first. romfile=: no PXE boot, so no ROM to load.
    return [
        "-netdev", f"user,id=net0,ipv6=off{forwards}",
        "-device", f"virtio-net-pci,netdev=net0,mac={spec.mac},romfile=",
    ]  # fmt: skip


def _file(path: Path) -> dict[str, Any]:
    return {"driver": "file", "filename": str(path)}


def _node(name: str, options: Mapping[str, Any]) -> str:
    return json.dumps({"node-name": name, **options}, ensure_ascii=False)
