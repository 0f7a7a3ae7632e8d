"""Targets: what a disk holds: file systems, hives, an initramfs.

A volume is larger than an input may be. What is damaged are the blocks of it that say something (`Blocks`); the input
is these, one after the other.
"""

from __future__ import annotations

import io
import lzma
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aibemu.disks.btrfs import BtrfsFiles
from aibemu.disks.efi import loaders
from aibemu.disks.lvm import logical_volumes, physical_volume
from aibemu.disks.nodes import FOLDER, LINK, Nodes
from aibemu.disks.ntfs import Ntfs
from aibemu.disks.regf import BINS, Hive
from aibemu.disks.xfs import XfsFiles
from aibemu.images.initramfs import listing
from tests.campaigns.hunting import Target
from tests.campaigns.mutation import LONGEST
from tests.unit.images.initramfs_files import PACKERS, cpio, modules
from tests.windows_disks import MIB, Registry, hives, make_ntfs, run

FIXTURES = Path(__file__).parents[2] / "fixtures" / "disks"
_BLOCK = 1024


class Blocks:
    """A volume with changes. Reads beyond its end give what there is."""

    def __init__(self, path: Path, choose: Callable[[bytes], bool]) -> None:
        """choose: whether a block says something of where things are."""
        self._size = path.stat().st_size
        self._blocks: dict[int, bytes] = {}
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                if block.strip(b"\0"):
                    self._blocks[stream.tell() - len(block)] = block
        self._places = [at for at, block in self._blocks.items() if choose(block)][: LONGEST // _BLOCK]

    @property
    def seed(self) -> bytes:
        """The blocks as they are."""
        return b"".join(self._blocks[at] for at in self._places)

    def with_changes(self, content: bytes) -> Callable[[int, int], bytes]:
        """read(at, length) of the volume with other blocks."""
        pieces = (content[at : at + _BLOCK] for at in range(0, len(content), _BLOCK))
        changed = self._blocks | {
            at: piece.ljust(_BLOCK, b"\0") for at, piece in zip(self._places, pieces, strict=False)
        }

        def read(at: int, length: int) -> bytes:
            at, end = max(at, 0), min(at + length, self._size)
            first = at - at % _BLOCK
            whole = b"".join(changed.get(place, bytes(_BLOCK)) for place in range(first, end, _BLOCK))
            return whole[at - first : end - first]

        return read


class InMemory:
    """A hive's file."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def read(self, at: int, length: int) -> bytes:
        return self._content[at : at + length]

    def write(self, at: int, data: bytes) -> None:
        raise AssertionError("nothing is to be written")


def initramfs(folder: Path) -> Target:
    """The list of files in one."""
    early, late = cpio(["kernel/x86/microcode/a.bin"]), cpio(modules("6.1", "virtio_scsi", "nvme"))
    seeds = [early + bytes(512) + pack(late) for pack in PACKERS.values()]
    words = (b"070701", b"070702", b"TRAILER!!!\0", b"00000000", b"FFFFFFFF", b"\x02\x21\x4c\x18", b"\x1f\x8b\x08")
    return Target(name="initramfs", run=lambda content: listing(io.BytesIO(content)), seeds=seeds, words=words)


def registry(folder: Path) -> Target:
    """A hive, with a checksum that is right."""

    def tried(content: bytes) -> None:
        head = bytearray(content[:512].ljust(512, b"\0"))
        checksum = 0
        for (word,) in struct.iter_unpack("<I", head[:508]):
            checksum ^= word
        head[508:512] = struct.pack("<I", checksum)
        hive = Hive("SYSTEM", InMemory(bytes(head) + content[512:]))
        hive.control_sets()
        hive.control_set()
        for name in ("Select", "ControlSet001\\Services\\storahci", "ControlSet001\\Services"):
            for value in hive.names(name) or ():
                hive.value(name, value)
            hive.keys(name)

    whole = hives(Registry())["SYSTEM"]
    words = (
        b"nk",
        b"vk",
        b"lf",
        b"lh",
        b"li",
        b"ri",
        b"db",
        b"hbin",
        b"\xff" * 4,
        b"\0\0\0\x80",
        struct.pack("<I", BINS),
    )
    return Target(name="registry", run=tried, seeds=[whole[:LONGEST]], words=words)


def windows_volume(folder: Path) -> Target:
    """NTFS: records of the master file table and blocks of indexes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "volume"
    files = {f"Windows\\System32\\config\\name{number}": b"x" * 700 * number for number in range(12)}
    make_ntfs(path, 8 * MIB, MIB, files, work=folder)
    blocks = Blocks(path, lambda block: block[:4] in (b"FILE", b"INDX") or block[3:11] == b"NTFS    ")

    def tried(content: bytes) -> None:
        volume = Ntfs(blocks.with_changes(content), 0)
        assert volume.dirty in (True, False) and volume.asleep in (True, False)
        for name in volume.names("Windows\\System32\\config") or ():
            if file := volume.file(f"Windows\\System32\\config\\{name}"):
                file.read(0, 4096)

    words = (b"FILE", b"INDX", b"$I30", b"\x20\0\0\0", b"\x80\0\0\0", b"\xff" * 8, b"\0" * 7 + b"\x80", b"\x31\x01")
    return Target(name="windows_volume", run=tried, seeds=[blocks.seed], words=words)


def xfs(folder: Path) -> Target:
    """Inodes, folders and trees of extents."""
    magics = (b"XFSB", b"XDB3", b"XDD3", b"XDL3", b"BMA3", b"XSLM")
    blocks = Blocks(_fixture("xfs", folder), lambda block: block[:2] == b"IN" or block[:4] in magics)
    words = (
        *magics,
        b"IN\x41\xed",
        b"IN\x81\xa4",
        b"\x01",
        b"\x02",
        b"\x03",
        b"\xff" * 8,
        b"\0" * 8,
        b"\x7f" + b"\xff" * 7,
    )
    return Target(
        name="xfs", run=lambda content: _walk(XfsFiles(blocks.with_changes(content))), seeds=[blocks.seed], words=words
    )


def btrfs(folder: Path) -> Target:
    """The superblock and the beginnings of trees' blocks, whose checksums nobody looks at."""
    path = _fixture("btrfs", folder)
    with path.open("rb") as stream:
        stream.seek(0x10020)
        owner = stream.read(16)
    blocks = Blocks(path, lambda block: block[32:48] == owner or b"_BHRfS_M" in block)
    words = (b"_BHRfS_M", owner, b"\x01", b"\x0c", b"\x54", b"\x60", b"\x6c", b"\x84", b"\xe4", b"\xff" * 8, b"\0" * 8)
    return Target(
        name="btrfs", run=lambda content: _walk(BtrfsFiles(blocks.with_changes(content))), seeds=[blocks.seed],
        words=words,
    )  # fmt: skip


def lvm(folder: Path) -> Target:
    """The label, the header and the text of a physical volume."""
    blocks = Blocks(_fixture("lvm", folder), lambda block: True)

    def tried(content: bytes) -> None:
        found = physical_volume(blocks.with_changes(content))
        for volume in logical_volumes(found.text):
            assert volume.mapped

    words = (b"LABELONE", b"LVM2 001", b" LVM2 x[5A%r0N*>", b"segment1", b"stripes", b"{", b"}", b"[", b"]", b'"', b"=")
    return Target(name="lvm", run=tried, seeds=[blocks.seed], words=words)


def _fixture(name: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.raw"
    with lzma.open(FIXTURES / f"{name}.raw.xz") as packed, path.open("wb") as target:
        at = 0
        while block := packed.read(1 << 20):
            if block.strip(b"\0"):
                target.seek(at)
                target.write(block)
            at += len(block)
        target.truncate(at)
    return path


def _walk(files: Nodes[Any]) -> None:
    """All that is there, as far as a few hundred questions reach."""
    left = [files.root()]
    for _ in range(300):
        if not left:
            return
        node = left.pop()
        if (kind := files.kind(node)) == FOLDER:
            left += files.entries(node).values()
        elif kind == LINK:
            files.link(node)
        else:
            assert len(files.content(node, 4096)) <= 4096


def efi(folder: Path) -> Target:
    """The FAT of an EFI system partition, of each width."""
    folder.mkdir(parents=True, exist_ok=True)
    volumes = [_fat(folder / f"fat{width}", width, size) for width, size in ((12, 2), (16, 17), (32, 34))]
    found = [Blocks(volume, lambda block: True) for volume in volumes]

    def tried(content: bytes) -> None:
        for blocks in found:
            loaders(blocks.with_changes(content), 0)

    words = (b"EFI        ", b"BOOT       ", b"BOOTX64 EFI", b"\x55\xaa", b"\xf8\xff\xff\x0f", b"\xff" * 4, b"\x02\0")
    return Target(name="efi", run=tried, seeds=[blocks.seed for blocks in found], words=words)


def _fat(path: Path, width: int, megabytes: int) -> Path:
    with path.open("wb") as stream:
        stream.truncate(megabytes * MIB)
    run("mkfs.vfat", "-F", str(width), path)
    loader: Sequence[Path] = [path.with_suffix(".efi")]
    loader[0].write_bytes(b"MZ")
    run("mmd", "-i", path, "::/EFI", "::/EFI/BOOT", "::/EFI/debian")
    run("mcopy", "-i", path, *loader, "::/EFI/BOOT/BOOTX64.EFI")
    return path
