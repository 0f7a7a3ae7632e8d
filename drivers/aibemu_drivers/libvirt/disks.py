"""The files of one machine's system disk, where libvirt must know which one the guest writes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aibemu.clock import Deadline
from aibemu_drivers.libvirt import library
from aibemu_drivers.libvirt.connection import Connection
from aibemu_drivers.libvirt.devices import add
from aibemu_drivers.libvirt.failures import Lost
from aibemu_drivers.qemu.disks import Disks
from aibemu_drivers.qemu.freezing import MachineLost
from aibemu_drivers.qemu.monitor import Monitor


class LibvirtDisks(Disks):
    """See `Disks`. uuid: libvirt's of the machine. target: libvirt's name of the disk."""

    def __init__(
        self, machine_id: str, directory: Path, record: Mapping[str, Any], save: Callable[[], None], *,
        connection: Connection, uuid: str, target: str,
    ) -> None:  # fmt: skip
        super().__init__(machine_id, directory, record, save)
        self._connection, self._uuid, self._target = connection, uuid, target

    @property
    def chain(self) -> tuple[Path, ...]:
        """All of them, the one that is written first."""
        return (self.written, *reversed(self.frozen))

    def _put_over(self, fresh: Path, monitor: Monitor, deadline: Deadline) -> None:
        """By libvirt's own call, not in QEMU's words, so that libvirt knows the disk and lets QEMU open it."""
        flags = library.load()
        wanted = (
            flags.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | flags.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
            | flags.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT | flags.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
        )  # fmt: skip
        words = snapshot_words(self._target, fresh, self._other_drives(deadline))
        try:
            self._connection.call(
                lambda virt: virt.lookupByUUIDString(self._uuid).snapshotCreateXML(words, wanted), deadline=deadline
            )
        except Lost as error:
            raise MachineLost(
                f"libvirt did not say which file is the disk of the machine {monitor.machine_id} now",
                details=error.details,
            ) from error

    def _other_drives(self, deadline: Deadline) -> list[str]:
        """libvirt's names of the machine's other drives, which are to be left alone."""
        said = self._connection.call(
            lambda virt: virt.lookupByUUIDString(self._uuid).XMLDesc(0), deadline=deadline
        )  # fmt: skip
        top = ET.fromstring(said)  # noqa: S314 - libvirt's own words
        return [one.get("dev", "") for one in top.iterfind("devices/disk/target") if one.get("dev") != self._target]


def snapshot_words(target: str, fresh: Path, others: list[str]) -> str:
    """What libvirt is told: the disk `target` goes on in the file `fresh`, which is there."""
    top = ET.Element("domainsnapshot")
    disks = add(top, "disks")
    one = add(disks, "disk", name=target, snapshot="external")
    add(one, "driver", type="qcow2")
    add(one, "source", file=str(fresh))
    for name in others:
        add(disks, "disk", name=name, snapshot="no")
    return ET.tostring(top, encoding="unicode")
