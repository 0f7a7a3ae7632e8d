"""The files of one machine's system disk: the overlay that the guest writes, and those under it that were frozen."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aibemu.clock import Deadline
from aibemu.errors import ProvisionFailed
from aibemu_drivers.libvirt import library
from aibemu_drivers.libvirt.connection import Connection
from aibemu_drivers.libvirt.devices import add
from aibemu_drivers.libvirt.failures import Refused
from aibemu_drivers.qemu.freezing import MachineLost


class Disks:
    """Kept in the machine's record; `save` writes it."""

    def __init__(self, machine_id: str, directory: Path, record: Mapping[str, Any], save: Callable[[], None]) -> None:
        self._machine_id, self._directory, self._save = machine_id, directory, save
        # Those under the one that is written, frozen by this machine or others, oldest first; and that one, or None
        # when libvirt did not say which.
        self._frozen: list[str] = list(record["frozen_disks"])
        self._disk: str | None = record["disk"]

    def as_json(self) -> dict[str, Any]:
        """The fields of the record."""
        return {"disk": self._disk, "frozen_disks": self._frozen}

    @property
    def written(self) -> Path:
        """The file that the guest writes; `MachineLost` when libvirt did not say which."""
        if self._disk is None:
            raise MachineLost(
                f"the machine {self._machine_id} has no disk that can be trusted: "
                "libvirt did not say which file is its own"
            )
        return self._directory / self._disk

    @property
    def frozen(self) -> list[Path]:
        """Those under it, oldest first."""
        return [self._directory / name for name in self._frozen]

    @property
    def chain(self) -> tuple[Path, ...]:
        """All of them, the one that is written first."""
        return (self.written, *reversed(self.frozen))

    def write_to(self, fresh: Path, connection: Connection, uuid: str, target: str, deadline: Deadline) -> None:
        """Let the guest write to `fresh`, an empty overlay on the file that it writes now. target: libvirt's name of
        the disk. When libvirt does not say that it does, its disk is not known.

        By libvirt's own call, not in QEMU's words, so that libvirt knows the disk and lets QEMU open it.
        """
        before, self._disk = self.written.name, None
        flags = library.load()
        wanted = (
            flags.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | flags.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
            | flags.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT | flags.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
        )  # fmt: skip
        others = self._other_drives(connection, uuid, target, deadline)
        words = snapshot_words(target, fresh, others)
        try:
            connection.call(
                lambda virt: virt.lookupByUUIDString(uuid).snapshotCreateXML(words, wanted), deadline=deadline
            )
        except Refused:
            self._disk = before
            raise
        except BaseException as error:
            with contextlib.suppress(OSError):
                self._save()
            if isinstance(error, ProvisionFailed):
                raise MachineLost(
                    f"libvirt did not say which file is the disk of the machine {self._machine_id} now",
                    details=error.details,
                ) from error
            raise
        self._frozen, self._disk = [*self._frozen, before], fresh.name
        self._save()

    def _other_drives(self, connection: Connection, uuid: str, target: str, deadline: Deadline) -> list[str]:
        """libvirt's names of the machine's other drives, which are to be left alone."""
        said = connection.call(lambda virt: virt.lookupByUUIDString(uuid).XMLDesc(0), deadline=deadline)
        top = ET.fromstring(said)  # noqa: S314 - libvirt's own words
        return [one.get("dev", "") for one in top.iterfind("devices/disk/target") if one.get("dev") != target]


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
