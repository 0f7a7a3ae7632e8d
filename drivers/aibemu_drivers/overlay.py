"""A machine's system disk: a qcow2 overlay, made in milliseconds, on a base image that nobody ever writes to."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from aibemu.clock import Deadline, forever
from aibemu.errors import ProvisionFailed
from aibemu.files import link_or_copy
from aibemu.hypervisor import MachineSpec
from aibemu.processes import ToolFailed, run_tool
from aibemu.reading import open_file
from aibemu.records import parse_json

# Seconds; qemu-img only writes a header and a table, but the disk may be a slow one.
BOUND = 120.0
_ID = re.compile(r"[a-z0-9-]{1,40}")


def check_id(spec: MachineSpec) -> None:
    """Refuse an id that is not `[a-z0-9-]{1,40}`: it becomes part of names on the host."""
    if not _ID.fullmatch(spec.id):
        raise ProvisionFailed(f"{spec.id!r} is no machine id", details=["allowed: a-z, 0-9 and -, 1 to 40 of them"])


def new_name() -> str:
    """A file name for an overlay. No two are the same, for frozen ones of many machines come together in one folder."""
    return f"disk-{secrets.token_hex(8)}.qcow2"


def prepare_disk(spec: MachineSpec, overlay: Path) -> None:
    """Make the disk of a new machine: an overlay on the image, or on the frozen chain, which gets into its folder."""
    if spec.frozen is None:
        create_overlay(spec, overlay)
        return
    for disk in spec.frozen.disks:
        link_or_copy(disk, overlay.with_name(disk.name))
    stack_overlay(overlay.with_name(spec.frozen.disks[-1].name), overlay, spec.disk_bytes)


def stack_overlay(below: Path, overlay: Path, size: int, deadline: Deadline | None = None) -> None:
    """Make `overlay` on the overlay `below` of the same folder, named by its name alone; `below` may be in use.

    deadline: the build's. Raises `ProvisionFailed` with qemu-img's own words, `Expired` when it takes too long.
    """
    # -u: looking into a disk that QEMU writes is not possible, and not needed, for its size is known.
    words = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", below.name, "-F", "qcow2", str(overlay), str(size)]
    try:
        run_tool(words, deadline=(deadline or forever()).within(BOUND, scaled=False))
    except ToolFailed as error:
        raise ProvisionFailed(f"an overlay could not be made on {below}", details=error.details) from error


def create_overlay(spec: MachineSpec, overlay: Path) -> None:
    """Make `overlay` of `spec.disk_bytes` bytes on `spec.base`.

    The base's format is always given, never probed: a guest that wrote a qcow2 header into a raw image could otherwise
    name any file of the host as its disk. Raises `ProvisionFailed` with qemu-img's own words.
    """
    deadline = forever().within(BOUND)
    base = spec.base.absolute()
    try:
        with open_file(base):  # a pipe in its place would make qemu-img wait
            size = _virtual_size(base, spec.base_format)
        if spec.disk_bytes < size:
            raise ProvisionFailed(
                f"a disk of {spec.disk_bytes} bytes is smaller than its image ({size} bytes)",
                hint="osDiskSizeGB can only grow a disk: give a larger value or none",
            )
        run_tool(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", spec.base_format, overlay.absolute(),
             str(spec.disk_bytes)],
            deadline=deadline,
        )  # fmt: skip
    except ToolFailed as error:
        raise ProvisionFailed(
            f"the system disk of {spec.id} could not be made on {base}", details=error.details
        ) from error
    except OSError as error:
        raise ProvisionFailed(f"the image {base} cannot be read: {error.strerror}") from error


def _virtual_size(base: Path, base_format: str) -> int:
    said = run_tool(
        ["qemu-img", "info", "--output=json", "-f", base_format, base], deadline=forever().within(BOUND)
    ).stdout
    return int(parse_json(said)["virtual-size"])
