"""`machine.json`, the drivers' database: one file per machine, replaced as a whole, written before all else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from uuid import UUID

from aibemu.errors import ProvisionFailed
from aibemu.files import write_json
from aibemu.hardware import CdromBus, Chipset, DiskBus, Hardware, NicModel, Video
from aibemu.holes import KEPT
from aibemu.hypervisor import Firmware, Frozen, MachineSpec, Smbios, Wire
from aibemu.records import SHAPE_ERRORS, read_json

FILE = "machine.json"


def write_record(directory: Path, record: Mapping[str, Any]) -> None:
    """Replace the record of the machine in `directory`."""
    write_json(directory / FILE, dict(record))


def read_record(directory: Path, driver: str) -> dict[str, Any] | None:
    """The record in `directory`; None if there is none; `ProvisionFailed` if it is not one of `driver`'s."""
    try:
        record = read_json(directory / FILE)
    except NotADirectoryError:
        return None
    except ValueError as error:
        raise damaged(directory, str(error)) from None
    if record is None:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("spec"), dict):
        raise damaged(directory, "it is not a machine's record")
    if record.get("driver") != driver:
        raise ProvisionFailed(
            f"the machine in {directory} belongs to the driver {record.get('driver')!r}, not to {driver!r}",
            hint="use the driver that made it",
        )
    return record


def damaged(directory: Path, why: str) -> ProvisionFailed:
    """What is said of a record that is none."""
    return ProvisionFailed(
        f"{directory / FILE} cannot be read",
        details=[why],
        hint="end the machine's process if there is one, then remove its directory",
    )


def spec_to_json(spec: MachineSpec) -> dict[str, Any]:
    """`spec` as JSON values."""
    return {
        "id": spec.id, "owner": spec.owner, "directory": str(spec.directory), "base": str(spec.base),
        "base_format": spec.base_format, "disk_bytes": spec.disk_bytes, "firmware": spec.firmware.value,
        "cpus": spec.cpus, "memory_mib": spec.memory_mib, "uuid": str(spec.uuid), "mac": spec.mac,
        "cdroms": [str(path) for path in spec.cdroms], "sticks": [str(path) for path in spec.sticks],
        "hardware": _hardware_json(spec.hardware),
        "wire": None if spec.wire is None else {name: str(value) for name, value in asdict(spec.wire).items()},
        "smbios": None if spec.smbios is None else asdict(spec.smbios), "labels": dict(spec.labels),
        "frozen": spec.frozen and {
            "disks": [str(path) for path in spec.frozen.disks],
            "memory": None if spec.frozen.memory is None else str(spec.frozen.memory),
        },
        "console_bytes": spec.console_bytes,
    }  # fmt: skip


def spec_from_json(value: Mapping[str, Any], directory: Path) -> MachineSpec:
    """Read one back. `directory` is where it was found, which is the truth if the folder was moved."""
    try:
        return MachineSpec(
            id=value["id"], owner=value["owner"], directory=directory, base=Path(value["base"]),
            base_format=value["base_format"], disk_bytes=value["disk_bytes"], firmware=Firmware(value["firmware"]),
            cpus=value["cpus"], memory_mib=value["memory_mib"], uuid=UUID(value["uuid"]), mac=value["mac"],
            cdroms=tuple(Path(path) for path in value["cdroms"]),
            sticks=tuple(Path(path) for path in value.get("sticks", ())), hardware=_hardware(value),
            wire=_wire(value["wire"]), smbios=Smbios(**value["smbios"]) if value["smbios"] else None,
            frozen=_frozen(value.get("frozen")), labels=dict(value["labels"]),
            console_bytes=int(value.get("console_bytes", KEPT)),
        )  # fmt: skip
    except SHAPE_ERRORS as error:
        raise damaged(directory, f"bad or missing field: {error}") from None


def _hardware_json(hardware: Hardware) -> dict[str, Any]:
    return asdict(hardware) | {"guest_ports": list(hardware.guest_ports)}


def _hardware(spec: Mapping[str, Any]) -> Hardware:
    value = spec.get("hardware")
    if value is None:  # written before there was a choice
        return Hardware(guest_ports=tuple(spec["guest_ports"]))
    return Hardware(
        chipset=None if value["chipset"] is None else Chipset(value["chipset"]), disk=DiskBus(value["disk"]),
        cdrom=CdromBus(value["cdrom"]), nic=NicModel(value["nic"]), video=Video(value["video"]),
        usb_tablet=value["usb_tablet"], hyperv=value["hyperv"], nested=value["nested"],
        tpm=value.get("tpm", False), secure_boot=value.get("secure_boot", False),
        guest_ports=tuple(value["guest_ports"]),
    )  # fmt: skip


def _frozen(value: Mapping[str, Any] | None) -> Frozen | None:
    if value is None:
        return None
    memory = value["memory"]
    return Frozen(
        disks=tuple(Path(path) for path in value["disks"]), memory=None if memory is None else Path(memory)
    )  # fmt: skip


def _wire(value: Mapping[str, str] | None) -> Wire | None:
    if value is None:
        return None
    return Wire(
        nic=Path(value["nic"]), uplink=Path(value["uplink"]), subnet=IPv4Network(value["subnet"]),
        address=IPv4Address(value["address"]),
    )  # fmt: skip
