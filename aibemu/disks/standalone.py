"""Whether a VHDX or a VMDK is a disk by itself, by its own headers, read without any tool.

QEMU takes a differencing VHDX without its parent, and gives zeros for all that the parent has. A VMDK may be a list of
other files, which QEMU would open wherever they are.

Source: the VHDX format specification (MS-VHDX); "Virtual Disk Format" of VMware, as QEMU's block/vmdk.c reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

from aibemu.errors import UsageError

Read = Callable[[int, int], bytes]

_KIB = 1024
_VHDX_HEADERS, _VHDX_REGIONS = (64 * _KIB, 128 * _KIB), (192 * _KIB, 256 * _KIB)
_METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_HAS_PARENT = 2
_MOST_ENTRIES = 2047  # of a table of 64 KiB
_VMDK, _VMDK_CAPACITY, _COWD = b"KDMV", 12, b"COWD"
_DESCRIPTOR = b"# Disk DescriptorFile"


def check_alone(path: Path, references: Sequence[str]) -> None:
    """`UsageError` for an image that refers to other files of this host, before any tool has a reason to open them."""
    if references:
        raise UsageError(
            f"{path} refers to other files and is not taken as it is",
            details=list(references),
            hint="if you trust it, make one file of it first: qemu-img convert -O qcow2 IN OUT.qcow2",
        )


def check_vhdx(path: Path, read: Read) -> None:
    """`UsageError` for a differencing VHDX (AVHDX), and for one whose newest changes are only in its log."""
    if _has_parent(read):
        raise UsageError(
            f"{path} is a differencing VHDX (AVHDX): it needs the VHDX that it was made from",
            hint="merge the two where it was made: Merge-VHD, or Convert-VHD",
        )
    if _has_log(read):
        raise UsageError(
            f"{path} was not closed properly: its newest changes are only in its log (VHDX)",
            hint="open and close it where it was made (Mount-VHD, Dismount-VHD), or have a copy of it mended here: "
            "qemu-img check -r all COPY.vhdx",
        )


def check_vmdk(path: Path, read: Read) -> None:
    """`UsageError` for a VMDK that is only a list of other files."""
    head = read(0, 512)
    if head.startswith(_VMDK) and len(head) >= 20 and struct.unpack_from("<Q", head, _VMDK_CAPACITY)[0]:
        return
    if head.startswith(_COWD):
        return
    what = "is only a VMDK descriptor that names other files"
    if not head.lstrip().startswith((_VMDK, b"#", b"version=")):
        what = "cannot be read as vmdk: it does not begin as one"
    raise UsageError(f"{path} {what}", hint="make one file of it first: qemu-img convert -O qcow2 IN.vmdk OUT.qcow2")


def is_descriptor(head: bytes) -> bool:
    """Whether a file is the text that VMDKs of several files have beside them."""
    return head.startswith(_DESCRIPTOR)


def _has_log(read: Read) -> bool:
    """By the newer one of the two headers."""
    found = [read(at, 80) for at in _VHDX_HEADERS]
    heads = [head for head in found if len(head) == 80 and head.startswith(b"head")]
    newest = max(heads, key=lambda head: int(struct.unpack_from("<Q", head, 8)[0]), default=b"")
    return bool(newest[48:64].strip(b"\0"))


def _has_parent(read: Read) -> bool:
    for table in _VHDX_REGIONS:
        entry = dict(_entries(read, table, b"regi", 8, 16)).get(_METADATA)
        at = struct.unpack_from("<Q", entry, 16)[0] if entry else 0
        found = dict(_entries(read, at, b"metadata", 10, 32)).get(_FILE_PARAMETERS) if at else None
        if found is not None:
            parameters = read(at + struct.unpack_from("<I", found, 16)[0], 8)
            return len(parameters) == 8 and bool(parameters[4] & _HAS_PARENT)
    return False


def _entries(read: Read, at: int, magic: bytes, count_at: int, size: int) -> Iterator[tuple[UUID, bytes]]:
    """(id, bytes) of each entry of a table that begins at `at` with `size` bytes of its own."""
    head = read(at, size)
    if len(head) < size or not head.startswith(magic):
        return
    for number in range(min(struct.unpack_from("<H", head, count_at)[0], _MOST_ENTRIES)):
        entry = read(at + size + 32 * number, 32)
        if len(entry) < 32:
            return
        yield UUID(bytes_le=entry[:16]), entry
