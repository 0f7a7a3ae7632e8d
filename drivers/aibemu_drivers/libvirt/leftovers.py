"""Machines whose record is gone: libvirt has them still, and the mark says whose they are."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibemu.files import remove
from aibemu_drivers.libvirt.connection import Connection
from aibemu_drivers.libvirt.domain import MARK
from aibemu_drivers.libvirt.failures import NO_DOMAIN, NO_MARK, Refused, is_gone
from aibemu_drivers.libvirt.machine import KILL_BOUND
from aibemu_drivers.qemu.leftovers import LeftProcess
from aibemu_drivers.qemu.tpm import left_tpms


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftDomain:
    """A domain that runs on although the record of its machine is gone. See `aibemu.hypervisor.Leftover`."""

    id: str
    directory: Path
    uuid: str
    connection: Connection

    def destroy(self) -> None:
        try:
            self.connection.call(lambda virt: virt.lookupByUUIDString(self.uuid).destroy(), seconds=KILL_BOUND)
        except Refused as error:
            if not is_gone(error):
                raise
        remove(self.directory)  # UEFI's variables with it


def find_left(
    connection: Connection, owner: str, folder: Path, *, known: Collection[Path]
) -> Iterator[LeftDomain | LeftProcess]:
    """The domains that are marked as the owner's and whose directory is, or was, inside `folder`, and the TPMs of such
    machines; without those of the `known` directories."""
    for uuid, mark in connection.call(_marked):
        directory = Path(os.path.normpath(mark.get("directory", "")))
        if mark.get("owner") == owner and folder in directory.parents and directory not in known:
            yield LeftDomain(id=mark.get("id", directory.name), directory=directory, uuid=uuid, connection=connection)
    for directory, sockets, process in left_tpms(folder):
        if directory not in known:
            yield LeftProcess(id=directory.name, directory=directory, sockets=sockets, process=process)


def _marked(virt: Any) -> list[tuple[str, ET.Element]]:
    """UUID and mark of each domain that aibemu made, whoever's."""
    from libvirt import VIR_DOMAIN_METADATA_ELEMENT, libvirtError

    found = []
    for domain in virt.listAllDomains(0):
        try:
            mark = ET.fromstring(domain.metadata(VIR_DOMAIN_METADATA_ELEMENT, MARK))  # noqa: S314 - libvirt's own words
        except libvirtError as error:
            if error.get_error_code() not in {NO_MARK, NO_DOMAIN}:  # somebody else's; one that ended just now
                raise
        else:
            found.append((domain.UUIDString(), mark))
    return found
