"""What libvirt makes of our domain XML: its own schema, and its words for QEMU beside those of the QEMU driver.

No machine is started, but libvirt asks each QEMU of the host what it can, which takes some seconds.
"""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from aibemu.hardware import CdromBus, Chipset, DiskBus, Hardware, NicModel, Video
from aibemu.hypervisor import AZURE_SMBIOS, Firmware, Frozen, MachineSpec, Wire
from aibemu.testing.contract import WINDOWS, make_spec
from aibemu_drivers.libvirt.addresses import parse_address
from aibemu_drivers.libvirt.connection import Connection, connection_to
from aibemu_drivers.libvirt.domain import Start, build_domain
from aibemu_drivers.qemu.arguments import SANDBOX, FirmwareFiles, Launch, build_arguments

PLACE = Path("/nowhere/a & b/m")
WIRE = Wire(
    nic=Path("/run/n,ic"), uplink=Path("/run/uplink"), subnet=IPv4Network("10.8.0.0/24"),
    address=IPv4Address("10.8.0.4"),
)  # fmt: skip
OVMF = FirmwareFiles(code=Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), variables=PLACE / "uefi-vars.fd")
BASE = replace(
    make_spec("golden", PLACE, Path("/nowhere/base.img")), smbios=AZURE_SMBIOS, wire=WIRE, cpus=2,
    cdroms=(Path("/nowhere/cd & more.iso"),),
)  # fmt: skip
LINUX_2 = replace(BASE, firmware=Firmware.UEFI)
WINDOWS_1 = replace(BASE, hardware=WINDOWS, sticks=(Path("/nowhere/stick"),))
WINDOWS_2 = replace(WINDOWS_1, firmware=Firmware.UEFI, hardware=replace(WINDOWS, tpm=True, secure_boot=True))
FROZEN = replace(BASE, frozen=Frozen(disks=(Path("/l/d.qcow2"),), memory=Path("/l/d.memory")))
SPECS = {
    "linux 1": BASE, "linux 2": LINUX_2, "windows 1": WINDOWS_1, "windows 2": WINDOWS_2, "frozen": FROZEN,
    "plain": make_spec("plain", PLACE, Path("/nowhere/base.img")),
}  # fmt: skip


def start(spec: MachineSpec, accelerator: str = "tcg", **more: Any) -> Start:
    return Start(
        accelerator=accelerator, uuid=UUID(int=5), disks=(PLACE / "top.qcow2", PLACE / "low.qcow2"),
        console=PLACE / "console.log", ports={22: 40022}, firmware=OVMF if spec.firmware is Firmware.UEFI else None,
        sticks=tuple(PLACE / f"stick-{number}.img" for number in range(len(spec.sticks))),
        tpm=PLACE / "tpm.sock" if spec.hardware.tpm else None, **more,
    )  # fmt: skip


def theirs(spec: MachineSpec, accelerator: str = "tcg") -> dict[str, list[str]]:
    """What the QEMU driver tells QEMU."""
    ours = start(spec, accelerator)
    launch = Launch(
        accelerator=accelerator, sandbox=True, disk=ours.disks[0], console=ours.console, socket=PLACE / "qmp.sock",
        ports=ours.ports, firmware=ours.firmware, sticks=ours.sticks, tpm=ours.tpm,
    )  # fmt: skip
    return options(build_arguments(spec, launch))


def options(words: list[str]) -> dict[str, list[str]]:
    """The values of each option, in their order."""
    found: dict[str, list[str]] = {}
    for word, after in itertools.pairwise([*words, ""]):
        if word.startswith("-"):
            found.setdefault(word, []).append("" if after.startswith("-") else after)
    return found


def to_native(connection: Connection, words: str) -> str:
    return str(connection.call(lambda virt: virt.domainXMLToNative("qemu-argv", words, 0)))


@pytest.fixture(scope="module")
def native(one_core: None, embedded_libvirt: str) -> Mapping[tuple[str, str], dict[str, list[str]]]:
    """What libvirt would tell QEMU, by the name of the machine and the accelerator."""
    connection = connection_to(parse_address(embedded_libvirt))
    made = {}
    for (name, spec), accelerator in itertools.product(SPECS.items(), ("tcg", "kvm")):
        said = to_native(connection, build_domain(spec, start(spec, accelerator)))
        made[name, accelerator] = options(shlex.split(said))
    return made


@pytest.mark.parametrize("name", list(SPECS))
def test_the_words_that_are_ours_come_through_as_they_are(native: Mapping[Any, Any], name: str) -> None:
    said, wanted = native[name, "tcg"], theirs(SPECS[name])
    assert said["-netdev"] == wanted["-netdev"]
    assert wanted["-serial"] == said["-serial"]
    assert {word for word in wanted["-chardev"] if "id=qmp" not in word} <= set(said["-chardev"])
    (nic,) = [word for word in wanted["-device"] if "netdev=net0" in word]
    assert f"{nic},addr=0x10" in said["-device"]
    assert said.get("-incoming") == wanted.get("-incoming")
    assert [word for word in said["-device"] if word.startswith("tpm")] == [
        word for word in wanted["-device"] if word.startswith("tpm")
    ]


@pytest.mark.parametrize("name", list(SPECS))
def test_what_libvirt_says_means_the_same(native: Mapping[Any, Any], name: str) -> None:
    spec, said, wanted = SPECS[name], native[name, "tcg"], theirs(SPECS[name])
    assert said["-cpu"] == wanted["-cpu"]
    assert said["-accel"] == ["tcg,tb-size=512"] and said["-sandbox"] == [SANDBOX]
    assert said["-smp"][0].split(",")[0] == wanted["-smp"][0] and f"cores={spec.cpus}" in said["-smp"][0]
    assert said["-rtc"] == wanted["-rtc"] and said["-m"] == [str(spec.memory_mib)]
    assert {"-S", "-nodefaults", "-no-user-config"} <= said.keys()
    assert said["-display"] == ["none"] and not {"-vnc", "-spice"} & said.keys()
    assert said.get("-smbios", []) == [*wanted.get("-smbios", []), f"type=1,uuid={spec.uuid}"]
    machine = ",".join(said["-machine"])
    assert machine.startswith("pc-q35-" if "q35" in wanted["-machine"][0] else "pc-i440fx-")
    for word in ("graphics=off", "smm=on"):
        assert (word in machine) is (word in wanted["-machine"][0])
    assert set(wanted.get("-global", [])) <= set(said.get("-global", []))


@pytest.mark.parametrize("name", list(SPECS))
def test_processors_with_kvm_have_the_same_features(native: Mapping[Any, Any], name: str) -> None:
    def features(words: list[str]) -> set[str]:
        return set(words[0].replace("hv_", "hv-").replace("=on", "").replace("0x1fff", "8191").split(","))

    assert features(native[name, "kvm"]["-cpu"]) == features(
        [word.replace("0x1fff", "8191") for word in theirs(SPECS[name], "kvm")["-cpu"]]
    )
    assert native[name, "kvm"]["-accel"] == ["kvm"]


def test_the_disk_is_written_without_flushes_and_what_is_below_it_only_read(native: Mapping[Any, Any]) -> None:
    nodes = [json.loads(word) for word in native["linux 1", "tcg"]["-blockdev"]]
    written = [node for node in nodes if node.get("read-only") is False]
    assert len(written) == 1 and written[0]["cache"]["no-flush"] is True and written[0]["driver"] == "qcow2"
    assert [node["driver"] for node in nodes if node.get("read-only") is True] == ["raw", "qcow2", "raw"]
    assert all(node.get("backing", "named") for node in nodes)


HARDWARE = [
    Hardware(chipset=chipset, disk=disk, cdrom=cdrom, nic=nic, video=video)
    for (chipset, disk, cdrom), nic, video in zip(
        [
            (Chipset.PC, DiskBus.VIRTIO_SCSI, CdromBus.IDE), (Chipset.PC, DiskBus.IDE, CdromBus.SATA),
            (Chipset.PC, DiskBus.VIRTIO_BLK, CdromBus.IDE), (Chipset.Q35, DiskBus.VIRTIO_BLK, CdromBus.SATA),
            (Chipset.PC, DiskBus.SATA, CdromBus.VIRTIO_SCSI), (Chipset.Q35, DiskBus.SATA, CdromBus.SATA),
            (Chipset.Q35, DiskBus.VIRTIO_SCSI, CdromBus.SATA), (None, DiskBus.VIRTIO_SCSI, CdromBus.VIRTIO_SCSI),
        ],
        itertools.cycle(NicModel), itertools.cycle(Video), strict=False,
    )
]  # fmt: skip


@pytest.mark.parametrize("hardware", HARDWARE, ids=lambda one: f"{one.chipset}-{one.disk}-{one.cdrom}")
def test_every_hardware_is_valid_and_taken(embedded_libvirt: str, tmp_path: Path, hardware: Hardware) -> None:
    spec = replace(BASE, hardware=hardware, sticks=(Path("/nowhere/stick"),))
    validate(build_domain(spec, start(spec)), tmp_path)
    connection = connection_to(parse_address(embedded_libvirt))
    assert "qemu-system" in to_native(connection, build_domain(spec, start(spec)))


@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
@pytest.mark.parametrize("name", list(SPECS))
def test_the_schema_has_nothing_against_it(tmp_path: Path, name: str, accelerator: str) -> None:
    validate(build_domain(SPECS[name], start(SPECS[name], accelerator, user=(1000, 1000))), tmp_path)


def validate(words: str, folder: Path) -> None:
    """By libvirt's own program and schema."""
    if shutil.which("virt-xml-validate") is None or shutil.which("xmllint") is None:
        pytest.skip("virt-xml-validate and xmllint are not installed: ./test.sh installs them")
    (folder / "domain.xml").write_text(words)
    done = subprocess.run(
        ["virt-xml-validate", folder / "domain.xml", "domain"], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
