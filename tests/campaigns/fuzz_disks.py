"""Targets: disk images and their partition tables."""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import struct
import tarfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal
from uuid import UUID

from aibemu.clock import forever
from aibemu.disks import convert
from aibemu.disks import partitions as tables
from aibemu.distributors.vhd_format import build_footer, checksum, read_footer
from aibemu.images import Generation, ImageInfo, Provisioning, page_blob, set_format
from aibemu.images.unpacking import packed_as, unpack
from tests.campaigns.hunting import Target

_SECTOR = 512


def disks(folder: Path) -> Target:
    """Headers and footers: of VHDs, fixed and dynamic, qcow2, VHDX and VMDK, as far as aibemu itself reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "disk"

    def run(content: bytes) -> None:
        path.write_bytes(content)
        read_footer(content[-_SECTOR:])
        footer = bytearray(content[-_SECTOR:])
        if len(footer) == _SECTOR:  # with a sum that is right, so that what is behind it is read
            footer[64:68] = checksum(footer).to_bytes(4, "big")
            read_footer(bytes(footer))
        found, references, fixed = convert.probe(path)
        draft = convert.DiskInfo(
            path=path, format=found, virtual_size=len(content), allocated=0, references=references, fixed_vhd=fixed
        )  # fmt: skip
        assert draft.spec() if callable(draft.spec) else draft.spec

    footer = build_footer(size=1 << 20, unique_id=UUID(int=7), created=datetime(2026, 1, 1, tzinfo=UTC))
    dynamic = footer[:60] + b"\0\0\0\3" + footer[64:]
    header = b"cxsparse" + b"\xff" * 8 + struct.pack(">QIII", 1536, 0x10000, 2, 2 << 20) + bytes(988)
    qcow2 = struct.pack(
        ">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 112, 8, 16, 1 << 20, 0, 1, 0, 0, 1, 0, 0, 4, 0, 0, 4, 112
    )
    extension = struct.pack(">II", 0x44415441, 8) + b"data.raw" + bytes(8)
    seeds = [
        bytes(4096) + footer, footer + header + bytes(2048) + footer, dynamic + header + dynamic,
        qcow2 + extension + b"base.img", qcow2 + bytes(400), b"vhdxfile" + bytes(600), b"KDMV" + bytes(600),
        b"# Disk DescriptorFile\n",
    ]  # fmt: skip
    words = (b"conectix", b"cxsparse", b"QFI\xfb", b"\xe2\x79\x2a\xca", b"DATA", b"\0\0\0\2", b"\0\0\0\3", b"win ")
    return Target(name="disks", run=run, seeds=seeds, words=words)


def partitions(folder: Path) -> Target:
    """Tables of raw disks, and which file system begins where they say."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "raw"

    def run(content: bytes) -> None:
        path.write_bytes(content)
        table = tables.partitions(path)
        for part in table.candidates:
            tables.file_system(path, part.start)

    words = (
        b"\x55\xaa", b"EFI PART", b"\xee", b"\xef", b"\x83", b"\x05", tables.EFI_SYSTEM.bytes_le,
        tables.LINUX_ROOT.bytes_le, b"XFSB",
        b"NTFS    ", b"\x53\xef", b"LABELONE", b"FAT32", b"\xff" * 8, b"\0\0\0\x80", b"\0\0\0\1", b"\xff\xff\xff\x7f",
    )  # fmt: skip
    return Target(name="partitions", run=run, seeds=[_mbr(), _gpt(128), _gpt(256), _mbr()[:1024]], words=words)


def image_sets(folder: Path) -> Target:
    """What `images export` writes, as far as it is read before an image is compared with its digest."""
    path = folder / "set"

    def run(content: bytes) -> None:
        stream = io.BytesIO(content)
        if set_format.is_tar(content[: set_format.BLOCK]):
            for image in set_format.read_index(stream, path, size=len(content), limit=1 << 30):
                set_format.check_header(stream, path, image)
                assert sum(map(len, set_format.blocks_of(stream, path, image, block=512))) == image.file_size

    words = (
        b"ustar",
        b"aibemu-images.json",
        b".qcow2",
        b"QFI\xfb",
        b'"v": 1',
        b'"fileSize": ',
        b"\x80\0\0",
        b"../",
        b"\0" * 512,
    )
    return Target(
        name="image_sets", run=run, seeds=[_set(b"one"), _set(b"one", b"two"), _set(b"one")[:2048]], words=words
    )


def packed(folder: Path) -> Target:
    """Archives with a disk in them: what tar, gzip, xz and zstd say."""
    folder.mkdir(parents=True, exist_ok=True)
    path, out = folder / "archive", folder / "out"

    def run(content: bytes) -> None:
        path.write_bytes(content)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        if packed_as(path):
            disk = unpack(path, out, limit=1 << 30, deadline=forever())
            assert disk.parent == out and len(list(out.iterdir())) == 1

    plain = _tar(1, {}) + bytes(1024)
    holes = {"GNU.sparse.map": "0,512,4096,512", "GNU.sparse.size": "8192", "GNU.sparse.name": "disk.raw"}
    seeds = [
        plain, _tar(2, holes) + bytes(1024), gzip.compress(plain), lzma.compress(plain),
        lzma.compress(bytes(5000)), plain[:900], gzip.compress(plain)[:60],
    ]  # fmt: skip
    words = (
        b"ustar", b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"GNU.sparse.major=1", b"GNU.sparse.offset=0",
        b"../", b"/etc", b"S", b"x", b"L", b"2", b"77777777777", b"\x80\0\0\0\xff", b"99999999999999999999", bytes(512),
    )  # fmt: skip
    return Target(name="packed", run=run, seeds=seeds, words=words)


def _tar(form: Literal[1, 2], headers: dict[str, str]) -> bytes:
    """form: tarfile's number of GNU's own, 1, or of POSIX, 2."""
    member = tarfile.TarInfo("disk.raw")
    member.size, member.pax_headers = 1024, headers
    return member.tobuf(form) + b"\xa5" * 1024


def page_lists(folder: Path) -> Target:
    """Azure's lists of the pages of a disk."""

    def run(content: bytes) -> None:
        parts, _ = page_blob.parsed(content.decode(errors="replace"))
        for start, end in page_blob.pieces(page_blob.checked(parts, 0, 1 << 24), 1 << 20):
            assert 0 <= start < end <= 1 << 24

    item = b"<PageRange><Start>0</Start><End>511</End></PageRange>"
    other = b"<PageRange><Start>1024</Start><End>99999</End></PageRange>"
    seeds = [
        b"<?xml version='1.0'?><PageList>" + items + b"</PageList>"
        for items in (item, item + other, other + b"<NextMarker>a&amp;b</NextMarker>", b"")
    ]
    words = (b"<Start>", b"</End>", b"<PageList", b"&lt;", b"&#0;", b"9" * 18, b"-1", b"<!ENTITY")
    return Target(name="page_lists", run=run, seeds=seeds, words=words)


def _set(*contents: bytes) -> bytes:
    info = ImageInfo(
        os_type="Linux", os_name="Debian", generation=Generation.V1, provisioning=Provisioning.NOCLOUD,
        generalized=True, origin="fuzz",
    )  # fmt: skip
    files = sorted((sha256(data).hexdigest(), data) for data in (b"QFI\xfb" + content for content in contents))
    images = [
        set_format.SetImage(
            digest=digest, file_size=len(data), virtual_size=512, info=info, aliases=(f"alias-{digest[:4]}x",)
        )
        for digest, data in files
    ]  # fmt: skip
    index = set_format.index_of(images)
    pairs = zip(images, files, strict=True)
    body = b"".join(image.header + data + set_format.padding(len(data)) for image, (_, data) in pairs)
    return index + body + set_format.end_of(len(index), images)


def _mbr(kind: int = 0x83) -> bytes:
    entry = struct.pack("<4xB3xII", kind, 2, 8) + struct.pack("<4xB3xII", 0x05, 20, 8)
    return bytes(446) + entry + bytes(32) + b"\x55\xaa" + bytes(512) + b"XFSB" + bytes(4096)


def _gpt(length: int) -> bytes:
    protective = bytes(446) + struct.pack("<4xB3xII", 0xEE, 1, 60) + bytes(48) + b"\x55\xaa"
    header = (b"EFI PART" + bytes(64) + struct.pack("<QII", 2, 4, length)).ljust(_SECTOR, b"\0")
    kinds = ((tables.EFI_SYSTEM, 4, 5), (tables.LINUX_ROOT, 6, 12))
    entries = [(kind.bytes_le + bytes(16) + struct.pack("<QQ", *ends)).ljust(length, b"\0") for kind, *ends in kinds]
    return protective + header + b"".join(entries) + bytes(6000)
