"""One disk out of an archive: holes stay holes, nothing else is taken, nothing is read without an end."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import resource
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.compressed import Compression
from aibemu.errors import BuildCancelled, HostNotReady, UsageError
from aibemu.images.unpacking import Packed, packed_as, unpack

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB, GIB = 1 << 20, 1 << 30
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress, ".xz": lzma.compress,
    ".zst": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
}  # fmt: skip
# How GNU tar notes holes: its own way, and three that pax headers carry.
SPARSE = {
    "gnu": ["--format=gnu"], "pax 0.0": ["--format=posix", "--sparse-version=0.0"],
    "pax 0.1": ["--format=posix", "--sparse-version=0.1"], "pax 1.0": ["--format=posix", "--sparse-version=1.0"],
}  # fmt: skip


def sparse_disk(path: Path, size: int) -> Path:
    """Something at the beginning, in the middle and at the end."""
    with path.open("wb") as stream:
        for at in (0, size // 2 // 4096 * 4096, size - 4096):
            stream.seek(at)
            stream.write(os.urandom(4096))
    return path


def pieces(path: Path) -> list[tuple[int, bytes]]:
    """What is not a hole, in grains of 4096 bytes that are not zeros."""
    found = []
    with path.open("rb") as stream:
        size, at = path.stat().st_size, 0
        while at < size:
            try:
                at = os.lseek(stream.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(stream.fileno(), at, os.SEEK_HOLE)
            for start in range(at // 4096 * 4096, end, 4096):
                if grain := os.pread(stream.fileno(), 4096, start).strip(b"\0"):
                    found.append((start, grain))
            at = end
    return found


def take(path: Path, folder: Path, *, limit: int = 64 * GIB, deadline: Deadline | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    return unpack(path, folder, limit=limit, deadline=deadline or forever())


@pytest.mark.parametrize("how", SPARSE)
def test_the_holes_of_an_archive_are_neither_made_nor_read(how: str, tmp_path: Path) -> None:
    disk = sparse_disk(tmp_path / "disk.raw", 30 * GIB)
    archive = tmp_path / "disk.tar.gz"
    subprocess.run(
        ["tar", "--create", "--gzip", "--sparse", *SPARSE[how], "--file", archive, "disk.raw"], cwd=tmp_path, check=True
    )
    before = resource.getrusage(resource.RUSAGE_SELF)
    found = take(archive, tmp_path / "out")
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert (found.name, found.stat().st_size) == ("disk.raw", 30 * GIB)
    assert found.stat().st_blocks * 512 < MIB
    assert pieces(found) == pieces(disk)
    # 30 GB of zeros that pass through memory take seconds, whatever the machine does meanwhile.
    assert after.ru_utime - before.ru_utime < 2


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("tar", [False, True])
def test_each_compression_alone_and_around_an_archive(ending: str, tar: bool, tmp_path: Path) -> None:
    disk = sparse_disk(tmp_path / "disk.vhd", 24 * MIB + 512)
    content = disk.read_bytes()
    if tar:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.add(disk, "folder/disk.vhd")
        content = stream.getvalue()
    packed = tmp_path / f"disk.vhd{'.tar' * tar}{ending}"
    # In two parts, as parallel compressors write it, and the first with zeros behind it where that is allowed.
    half = len(content) // 2
    padding = b"" if ending == ".zst" else bytes(8)
    packed.write_bytes(PACKERS[ending](content[:half]) + padding + PACKERS[ending](content[half:]))
    kind = packed_as(packed)
    assert kind is not None and kind.tar == tar and kind.compression is not None
    found = take(packed, tmp_path / "out")
    assert found.read_bytes() == disk.read_bytes()
    assert found.stat().st_blocks * 512 <= 4 * 64 * 1024
    assert found.suffix == ".vhd"


def test_what_is_no_archive_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(bytes(4096))
    (tmp_path / "empty").touch()
    for name in ("disk.raw", "empty", "none"):
        assert packed_as(tmp_path / name) is None
    (tmp_path / "x.gz").write_bytes(b"\x1f\x8b\x08 and nothing that can be unpacked")
    assert packed_as(tmp_path / "x.gz") == Packed(compression=Compression.GZIP, tar=False)


@pytest.mark.parametrize(
    ("magic", "text", "hint"),
    [
        (b"PK\x03\x04", "is a ZIP archive", "unzip disk.vhd"),
        (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive", "7z x disk.vhd"),
        (b"BZh9", "compressed with bzip2", "bunzip2 --keep disk.vhd"),
    ],
)
def test_other_archives_are_named(magic: bytes, text: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / "disk.vhd").write_bytes(magic.ljust(600, b"x"))
    with pytest.raises(UsageError, match=text) as caught:
        packed_as(tmp_path / "disk.vhd")
    assert hint in str(caught.value.hint)


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, *, size: int | None = None) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content) if size is None else size, "/etc/passwd"
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


END = bytes(10240)
DISK = member("disk.raw", b"\xa5" * 4096)
HOSTILE = {
    "a second file": (DISK + member("other.raw", b"x") + END, "beside 'disk.raw' there is 'other.raw' in it"),
    "a second folder": (DISK + member("more", kind=tarfile.DIRTYPE) + END, "there is 'more' in it"),
    "a symbolic link": (member("disk.raw", kind=tarfile.SYMTYPE) + END, "'disk.raw' in it is a symbolic link"),
    "a link": (member("disk.raw", kind=tarfile.LNKTYPE) + END, "is a link"),
    "a device": (member("disk.raw", kind=tarfile.BLKTYPE) + END, "is a device"),
    "a pipe": (member("disk.raw", kind=tarfile.FIFOTYPE) + END, "is a pipe"),
    "something unknown": (member("disk.raw", b"x", kind=b"Z") + END, "is no file"),
    "a path": (member("/etc/cron.d/x", b"x") + END, "would lie outside of the folder"),
    "a way out": (member("a/../../x", b"x") + END, "would lie outside of the folder"),
    "a folder of that": (member("..", kind=tarfile.DIRTYPE) + DISK + END, "would lie outside of the folder"),
    "nothing": (member("folder", kind=tarfile.DIRTYPE) + END, "there is no file in it"),
    "only folders": (member("folder", kind=tarfile.DIRTYPE) * 200 + END, "more than 100 folders"),
    "something behind": (DISK + END + b"x", "something follows after the end"),
    "an end too early": (member("disk.raw", b"x" * 512, size=4096), "its end is missing"),
    "an archive in it": (member("disk.tar.gz", gzip.compress(b"x")) + END, "'disk.tar.gz' in it is an archive again"),
    "a larger disk": (member("disk.raw", b"x", size=65 * GIB) + END, "more than the 64 GiB that are taken"),
    "a size below zero": (member("disk.raw", size=-512) + END, "is damaged"),
    "endless headers": (member("././@LongLink", size=2 * GIB, kind=b"L") + END, "is damaged"),
    "many headers": (member("a", b"x" * 4096, kind=b"x") * 2200 + DISK + END, "is damaged"),
    "a long number": (member("a", b"9" * 8_000_000, kind=b"x") + DISK + END, "too many digits"),
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", HOSTILE)
def test_what_is_not_one_disk_is_refused(how: str, tmp_path: Path) -> None:
    content, text = HOSTILE[how]
    packed = tmp_path / "images.tar.gz"
    packed.write_bytes(gzip.compress(content, 1))
    with pytest.raises(UsageError, match=text) as caught:
        take(packed, tmp_path / "out")
    assert str(packed) in caught.value.message
    assert caught.value.hint
    assert {path.name for path in tmp_path.iterdir()} == {"images.tar.gz", "out"}


def old_sparse(parts: list[tuple[int, int]], stored: int, size: int) -> bytes:
    """A header of GNU tar's own form."""
    head = bytearray(member("disk.raw", size=stored, kind=tarfile.GNUTYPE_SPARSE))
    for at, (start, length) in enumerate(parts):
        struct.pack_into("12s12s", head, 386 + 24 * at, b"%011o" % start, b"%011o" % length)
    head[482] = 0
    struct.pack_into("12s", head, 483, b"%011o" % size)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


@pytest.mark.parametrize(
    "parts", [[(4096, 512), (0, 512)], [(0, 512), (7 * MIB, 512)], [(0, 4096)], [(0, 512), (256, 512)]]
)
def test_a_list_of_holes_that_cannot_be_is_refused(parts: list[tuple[int, int]], tmp_path: Path) -> None:
    packed = tmp_path / "disk.tar"
    packed.write_bytes(old_sparse(parts, 1024, MIB) + b"x" * 1024 + END)
    with pytest.raises(UsageError, match=r"disk\.tar is damaged: its list of holes is wrong"):
        take(packed, tmp_path / "out")


@pytest.mark.parametrize("ending", PACKERS)
def test_damage_anywhere_is_told(ending: str, tmp_path: Path) -> None:
    whole = PACKERS[ending](os.urandom(MIB))
    packed = tmp_path / f"disk.raw{ending}"
    for damaged in (whole[: len(whole) // 2], whole[:-1], whole[:20] + b"????" + whole[24:], whole + b"more"):
        packed.write_bytes(damaged)
        out = tmp_path / f"out{len(damaged)}-{damaged[20]}"
        with pytest.raises(UsageError, match=f"disk.raw{ending} is damaged"):
            take(packed, out)


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path) -> None:
    """Zeros are no bomb: they become holes."""
    zeros, bomb = tmp_path / "zeros.raw.gz", tmp_path / "bomb.raw.gz"
    with gzip.open(zeros, "wb", 1) as stream:
        for _ in range(200):
            stream.write(bytes(MIB))
    assert take(zeros, tmp_path / "out").stat().st_blocks == 0
    with gzip.open(bomb, "wb", 1) as stream:
        for _ in range(100):
            stream.write(b"\xa5" * MIB)
    with pytest.raises(UsageError, match="unpacks to more than 200 times of its size"):
        take(bomb, tmp_path / "out")
    with pytest.raises(UsageError, match="more than the 64 MiB that are taken"):
        take(zeros, tmp_path / "out2", limit=64 * MIB)


def test_a_full_disk_is_told_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "disk.raw.zst"
    packed.write_bytes(zstd.compress(os.urandom(MIB) * 80))

    def usage(path: Path) -> object:
        taken = sum(file.stat().st_blocks * 512 for file in (tmp_path / "out").iterdir())
        return type("Usage", (), {"free": 320 * MIB - taken})

    monkeypatch.setattr("shutil.disk_usage", usage)
    with pytest.raises(HostNotReady, match="not enough disk space for unpacking") as caught:
        take(packed, tmp_path / "out")
    assert "aibemu clean" in caught.value.commands


def test_it_can_be_cancelled(tmp_path: Path) -> None:
    packed = tmp_path / "disk.raw.gz"
    packed.write_bytes(gzip.compress(os.urandom(4 * MIB), 1))
    token = CancelToken()
    seen: list[int] = []

    def progress(done: int, total: int | None) -> None:
        seen.append(done)
        if done > MIB:
            token.cancel("enough")

    (tmp_path / "out").mkdir()
    deadline = Deadline(clock=SystemClock(), cancel=token)
    with pytest.raises(BuildCancelled):
        unpack(packed, tmp_path / "out", limit=GIB, deadline=deadline, progress=progress)
    assert seen[-1] < 2 * MIB
