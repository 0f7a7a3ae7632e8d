"""Disk image files: what they are, and turning one format into another. The one place that calls `qemu-img`.

A file from outside may name other files of this host (backing file, data file, extents), and qemu-img would open them:
so the header is read here first and `qemu-img` is told the format, always with the `file` driver, never left to guess.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibemu.clock import Deadline
from aibemu.disks.standalone import Read, check_vhdx, check_vmdk, is_descriptor
from aibemu.errors import HostNotReady, NotFoundError, UsageError
from aibemu.processes import ToolFailed, run_tool
from aibemu.reading import Unfit, hash_rest, open_file
from aibemu.records import parse_json

SECTOR = 512
FORMATS = ("qcow2", "raw", "vpc", "vhdx", "vmdk")
_NAMES = {"vhd": "vpc"}  # what people call them -> what QEMU does
# A VHD's footer, which a dynamic one has at its beginning, too: its magic, and where size and type of the disk are.
_VHD, _VHD_SIZE, _VHD_TYPE, _DIFFERENCING = b"conectix", 48, 60, 4
_DATA_FILE_BIT = 1 << 2  # qcow2 incompatible feature "external data file"
# A line of `qemu-img map`: where in the disk, how much, where in which file.
_MAPPED = re.compile(r"(?P<start>\w+) +(?P<length>\w+) +(?P<offset>\w+) +(?P<path>/.*)")
# Seconds that qemu-img may take to read the head of a file; and to look through all of its tables, which have hundreds
# of megabytes for the largest disks. A file that is made to be slow must not hold anybody up for ever.
_ASK_SECONDS, _LOOK_SECONDS = 120.0, 3600.0
_ROOM = 256 * 1024 * 1024  # kept free on the disk beyond what a write needs


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskInfo:
    """A disk image file. format as QEMU names it (a fixed VHD is `vpc` too); sizes in bytes, allocated being what it
    takes on the disk.

    references: other files it needs (backing file, data file, extents), as written in it.
    fixed_vhd: the bytes of the disk are the file without its last sector.
    """

    path: Path
    format: str
    virtual_size: int
    allocated: int
    references: tuple[str, ...]
    fixed_vhd: bool = False

    @property
    def flat(self) -> bool:
        """The file is the disk, byte by byte: it can be read without converting it."""
        return self.format == "raw" or self.fixed_vhd

    @property
    def spec(self) -> str:
        """How to name it to qemu-img: format and protocol pinned, so that no byte of its name or content is a hint."""
        file: dict[str, Any] = {"driver": "file", "filename": str(self.path.absolute())}
        value: dict[str, Any] = {"driver": "raw" if self.flat else self.format, "file": file}
        if self.fixed_vhd:
            value |= {"offset": 0, "size": self.virtual_size}
        elif self.format == "vpc":
            # The size Azure and Hyper-V go by, not the rounded one of the cylinders (facts: service, VHD).
            value["force_size_calc"] = "current_size"
        return f"json:{json.dumps(value)}"


def probe(path: Path, *, look: bool = True) -> tuple[str, tuple[str, ...], bool]:
    """(format, files it refers to as far as its header says, is it a fixed VHD), read without any tool.

    look False: it is raw whatever it looks like, only see that it can be read.
    """
    try:
        size = path.stat().st_size
        with open_file(path) as stream:
            head = (stream.read(4096) or b"").ljust(4096, b"\0")
            stream.seek(max(0, size - SECTOR))
            tail = stream.read(SECTOR) or b""
    except FileNotFoundError as error:
        raise NotFoundError(f"no such file: {path}") from error
    except Unfit as error:
        raise _no_image(path, error) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if not look:
        return "raw", (), False
    if head.startswith(b"QFI\xfb"):
        return "qcow2", _qcow2_references(head, path), False
    if head.startswith(b"vhdxfile"):
        _asked(path, check_vhdx)
        return "vhdx", (), False
    if head.startswith(b"KDMV") or is_descriptor(head):
        _asked(path, check_vmdk)
        return "vmdk", (), False
    for block, fixed in ((head, False), (tail, True)):
        if block.startswith(_VHD):
            if struct.unpack_from(">I", block, _VHD_TYPE)[0] == _DIFFERENCING:
                raise UsageError(
                    f"{path} is a differencing VHD: it needs the VHD that it was made from",
                    hint="merge the two where it was made: Merge-VHD, or Convert-VHD",
                )
            return "vpc", (), fixed
    return "raw", (), False


def _asked(path: Path, check: Callable[[Path, Read], None]) -> None:
    with open_file(path) as stream:
        size = path.stat().st_size

        def read(at: int, length: int) -> bytes:
            stream.seek(min(at, size))
            return stream.read(length)

        check(path, read)


def _no_image(path: Path, error: Unfit) -> UsageError:
    hint = "name the file of an image"
    if path.is_block_device():
        hint = f"copy it into a file first: qemu-img convert -O qcow2 {path} OUT.qcow2"
    return UsageError(f"{error}: no disk image can be read from it", hint=hint)


def _fixed_vhd_size(path: Path, size: int) -> int:
    """The bytes of the disk of a fixed VHD whose file has `size` bytes: `current_size` of its footer.

    Its cylinders say less, and QEMU before 9.2 believes them in what Azure makes (facts: windows-images 2).
    """
    with open_file(path) as stream:
        stream.seek(size - SECTOR)
        footer = stream.read(SECTOR)
    said = int(struct.unpack_from(">Q", footer, _VHD_SIZE)[0])
    if said > size - SECTOR:
        raise UsageError(
            f"{path} is cut off: its footer says that the disk has {said} bytes, and there are {size - SECTOR}",
            hint="fetch or copy it again, and compare its checksum",
        )
    # A footer without a size is not believed: nothing else of it matters.
    return said if said >= SECTOR else size - SECTOR


def is_cut_off(path: Path, format: str) -> bool:
    """Whether the end of a VHD is missing, by its name or its beginning: what is missing would read as zeros."""
    with open_file(path) as stream:
        begins = stream.read(len(_VHD)) == _VHD
        stream.seek(max(0, path.stat().st_size - SECTOR))
        ends = stream.read(len(_VHD)) == _VHD
    if format == "vpc":
        return begins and not ends
    return format == "raw" and path.suffix.lower() in (".vhd", ".vhdfixed")


def info(path: Path, *, deadline: Deadline, format: str | None = None) -> DiskInfo:
    """What `path` is. `format` (qcow2, raw, vpc or vhd, vhdx, vmdk) overrules what the file looks like.

    UsageError if the file cannot be read as that format.
    """
    wanted = _NAMES.get(format, format) if format else None
    if wanted is not None and wanted not in FORMATS:
        raise UsageError(f"unknown disk format {format}", hint=f"known: {', '.join(FORMATS)}")
    found, references, fixed = probe(path, look=wanted != "raw")
    wanted = wanted or found
    stat = path.stat()
    if wanted == "raw" or (wanted == "vpc" and fixed):
        if stat.st_size - (SECTOR if wanted == "vpc" else 0) <= 0:
            raise UsageError(f"{path} is empty")
        size = _fixed_vhd_size(path, stat.st_size) if wanted == "vpc" else stat.st_size
        return DiskInfo(
            path=path, format=wanted, virtual_size=-(-size // SECTOR) * SECTOR, allocated=stat.st_blocks * SECTOR,
            references=(), fixed_vhd=wanted == "vpc",
        )  # fmt: skip
    if wanted == "vmdk" and found != "vmdk":
        _asked(path, check_vmdk)
    draft = DiskInfo(path=path, format=wanted, virtual_size=0, allocated=0, references=references)
    if any(reference.startswith("data-file") for reference in references):
        # qemu-img would open the data file just to describe the image.
        return draft
    report = _report(draft, deadline)
    return DiskInfo(
        path=path, format=wanted, virtual_size=int(report["virtual-size"]), allocated=stat.st_blocks * SECTOR,
        references=references or _extents(report, path),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """`length` bytes of a disk from `start` on are those of the file `path` from `offset` on."""

    start: int
    length: int
    path: Path
    offset: int


def extents(source: DiskInfo, *, deadline: Deadline) -> list[Extent] | None:
    """Where what is not zeros of the disk is, backing files followed, in order; None when it is not to be found as it
    is in any file, being compressed or encrypted."""
    try:
        done = run_tool(["qemu-img", "map", source.spec], deadline=deadline, seconds=_LOOK_SECONDS)
    except ToolFailed:
        return None
    found = []
    for line in done.stdout.splitlines()[1:]:
        match = _MAPPED.fullmatch(line)
        if match is None or not Path(match["path"]).is_file():
            return None
        start, length, offset = (int(match[name], 16) for name in ("start", "length", "offset"))
        found.append(Extent(start=start, length=length, path=Path(match["path"]), offset=offset))
    return found


def to_raw(source: Path | DiskInfo, target: Path, *, deadline: Deadline) -> None:
    """Write the disk as a sparse raw file at `target`, following backing files."""
    disk = source if isinstance(source, DiskInfo) else info(source, deadline=deadline)
    run_tool(["qemu-img", "convert", "-O", "raw", "-S", "4k", disk.spec, target], deadline=deadline)


def to_qcow2(source: Path | DiskInfo, target: Path, *, compressed_zstd: bool = False, deadline: Deadline) -> None:
    """Write the disk as one qcow2 file without backing file; zstd takes a fifth of zlib's time (facts: host)."""
    disk = source if isinstance(source, DiskInfo) else info(source, deadline=deadline)
    options = ["-c", "-o", "compression_type=zstd"] if compressed_zstd else []
    run_tool(["qemu-img", "convert", "-O", "qcow2", *options, disk.spec, target], deadline=deadline)


def make_overlay(base: Path, target: Path, *, deadline: Deadline) -> None:
    """A qcow2 file whose content is that of the qcow2 file `base`, which is only read, until it is written."""
    words: list[str | Path] = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base.absolute(), "-F", "qcow2", target]
    run_tool(words, deadline=deadline, seconds=_ASK_SECONDS)


def hash_file(path: Path, method: str, deadline: Deadline) -> str:
    """The hex digest of a file by `sha256`, `sha512`...; stops between two blocks when `deadline` says so, for a disk
    takes minutes to read."""
    with open_file(path) as stream:
        return hash_rest(stream, path, method=method, check=deadline.check)


def flush(path: Path, *, deadline: Deadline) -> None:
    """fsync in a process of its own: it may take longer than a cancelled build may."""
    run_tool(["sync", path.absolute()], deadline=deadline)


def flush_and_hash(path: Path, *, deadline: Deadline) -> str:
    """The sha256 of a file that was just written, read while it goes to the disk; both are over afterwards."""
    with ThreadPoolExecutor(1, thread_name_prefix="flush") as pool:
        flushed = pool.submit(flush, path, deadline=deadline)
        digest = hash_file(path, "sha256", deadline)
        flushed.result()
    return digest


# Formats whose metadata `qemu-img check` can judge; the others have none that could be wrong.
_CHECKED = frozenset({"qcow2", "vmdk", "vhdx"})
_CHECK_UNSUPPORTED, _CHECK_LEAKS = 63, 3


def check(path: Path, *, deadline: Deadline, format: str = "qcow2") -> None:
    """Raise ToolFailed unless the file at `path` is consistent; space that is lost in it (a leak) does no harm. No
    other file is opened, whatever it refers to."""
    if format not in _CHECKED:
        return
    draft = DiskInfo(path=path, format=format, virtual_size=0, allocated=0, references=())
    spec = parse_json(draft.spec.removeprefix("json:")) | ({} if format == "vhdx" else {"backing": None})
    try:
        run_tool(["qemu-img", "check", "-q", f"json:{json.dumps(spec)}"], deadline=deadline, seconds=_LOOK_SECONDS)
    except ToolFailed as error:
        if error.status not in (_CHECK_UNSUPPORTED, _CHECK_LEAKS):
            raise


def needed(source: DiskInfo, *, deadline: Deadline) -> int:
    """Upper bound in bytes of `source` as an uncompressed qcow2 file (qemu-img measure; backing files included)."""
    done = run_tool(
        ["qemu-img", "measure", "--output=json", "-O", "qcow2", source.spec], deadline=deadline, check=False,
        seconds=_LOOK_SECONDS,
    )  # fmt: skip
    try:
        return int(parse_json(done.stdout)["required"])
    except (ValueError, KeyError, TypeError):
        return source.allocated + source.allocated // 10


def ensure_space(directory: Path, size: int, what: str) -> None:
    """HostNotReady when the disk that holds `directory` has no room for `size` bytes more."""
    free = shutil.disk_usage(directory).free
    if free < size + _ROOM:
        raise HostNotReady(
            f"not enough disk space for {what}",
            details=[f"{directory} has {free >> 20} MiB free; {(size + _ROOM) >> 20} MiB are needed"],
            hint="free some space, or move aibemu's folders to a larger disk with AIBEMU_HOME",
            commands=["aibemu clean", "aibemu images list"],
        )


def _report(disk: DiskInfo, deadline: Deadline) -> dict[str, Any]:
    argv = ["qemu-img", "info", "--output=json", disk.spec]
    done = run_tool(argv, deadline=deadline, check=False, seconds=_ASK_SECONDS)
    try:
        report = parse_json(done.stdout)
    except ValueError:
        report = None
    if not isinstance(report, dict) or "virtual-size" not in report:
        raise UsageError(
            f"{disk.path} cannot be read as {disk.format}",
            details=done.stderr.strip().splitlines()[-3:],
            hint=_other_format(disk) or "name the right format with --format, or check that the file is whole",
        )
    return report


def _other_format(disk: DiskInfo) -> str:
    """What to do about a file whose content is that of another format than was said."""
    found, _, _ = probe(disk.path)
    return f"by its content it is {found}: leave --format out" if found not in ("raw", disk.format) else ""


def _qcow2_references(head: bytes, path: Path) -> tuple[str, ...]:
    """Names of backing and data file from a qcow2 header (QEMU docs/interop/qcow2)."""
    version, offset, length = struct.unpack(">IQI", head[4:20])
    if version not in (2, 3):
        raise UsageError(f"{path} is a qcow image of version {version}; only qcow2 is read")
    found = []
    if offset:
        with open_file(path) as stream:
            stream.seek(min(offset, path.stat().st_size))
            found.append(f"backing file {stream.read(min(length, 1023)).decode(errors='replace')}")
    if version >= 3 and struct.unpack(">Q", head[72:80])[0] & _DATA_FILE_BIT:
        found.append("data-file")
    return tuple(found)


def _extents(report: dict[str, Any], path: Path) -> tuple[str, ...]:
    """Files other than itself that QEMU says the image is made of (VMDK extents, parents)."""
    found = []
    if backing := report.get("backing-filename"):
        found.append(f"backing file {backing}")
    data = (report.get("format-specific") or {}).get("data") or {}
    for extent in data.get("extents") or []:
        name = extent.get("filename") if isinstance(extent, dict) else None
        if name and Path(name) != path.absolute():
            found.append(f"extent {name}")
    return tuple(found)
