"""VHDX and VMDK files that are no disks by themselves."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from aibemu.clock import Deadline
from aibemu.disks import convert
from aibemu.errors import UsageError

FILE_PARAMETERS = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")


def made(path: Path, kind: str, *options: str) -> bytearray:
    words = ["-o", ",".join(options)] if options else []
    raw = path.with_suffix(".raw")
    raw.write_bytes(b"disk".ljust(1 << 20, b"\1"))
    subprocess.run(["qemu-img", "convert", "-O", kind, *words, raw, path], check=True)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_a_vhdx_of_its_own(kind: str, tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "a.vhdx"
    made(path, "vhdx", f"subformat={kind}")
    assert convert.info(path, deadline=deadline).virtual_size == 1 << 20


def test_a_differencing_vhdx_is_refused(tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "a.avhdx"
    data = made(path, "vhdx")
    entry = data.index(FILE_PARAMETERS)
    table = data.rindex(b"metadata", 0, entry)
    at = table + struct.unpack_from("<I", data, entry + 16)[0]
    data[at + 4] |= 2
    path.write_bytes(data)
    for format_ in (None, "vhdx"):
        with pytest.raises(UsageError, match="is a differencing VHDX") as failed:
            convert.info(path, deadline=deadline, format=format_)
        assert "Merge-VHD" in (failed.value.hint or "")
    data[192 * 1024 : 192 * 1024 + 4] = b"gone"  # there is a copy of the table of regions
    path.write_bytes(data)
    with pytest.raises(UsageError, match="is a differencing VHDX"):
        convert.info(path, deadline=deadline)


def test_a_vhdx_whose_newest_changes_are_in_its_log(tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "a.vhdx"
    data = made(path, "vhdx")
    numbers = {at: struct.unpack_from("<Q", data, at + 8)[0] for at in (65536, 131072)}
    newest = max(numbers, key=lambda at: numbers[at])
    for at in numbers:
        changed = data.copy()
        changed[at + 48 : at + 64] = b"log".ljust(16, b"1")
        path.write_bytes(changed)
        if at != newest:
            convert.probe(path)
            continue
        with pytest.raises(UsageError, match="only in its log") as failed:
            convert.info(path, deadline=deadline)
        assert "qemu-img check -r all" in (failed.value.hint or "")


@pytest.mark.parametrize("kind", ["monolithicSparse", "streamOptimized"])
def test_a_vmdk_of_its_own(kind: str, tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "a.vmdk"
    made(path, "vmdk", f"subformat={kind}")
    found = convert.info(path, deadline=deadline)
    assert (found.virtual_size, found.references) == (1 << 20, ())


@pytest.mark.parametrize(
    "begin", ["# Disk DescriptorFile\n", "\n# Disk DescriptorFile\n", "version=1\n", "# x\nversion=1\n"]
)
def test_a_vmdk_that_names_other_files_is_never_opened(begin: str, tmp_path: Path, deadline: Deadline) -> None:
    """QEMU would open the extents, whatever they are, only to say what the image is."""
    path, secret = tmp_path / "a.vmdk", tmp_path / "secret"
    secret.write_bytes(bytes(1 << 20))
    text = (
        f'{begin}version=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "{secret}" 0\n'
    )
    path.write_text(text.ljust(2000))
    with pytest.raises(UsageError, match="only a VMDK descriptor"):
        convert.info(path, deadline=deadline, format="vmdk")
    head = struct.pack("<4sIIQQQQ", b"KDMV", 1, 3, 0, 128, 1, 4).ljust(512, b"\0")
    path.write_bytes(head + text.encode().ljust(2048, b"\0"))
    for format_ in (None, "vmdk"):
        with pytest.raises(UsageError, match="only a VMDK descriptor"):
            convert.info(path, deadline=deadline, format=format_)


def test_what_is_no_vmdk(tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "a.vmdk"
    path.write_bytes(b"MZ".ljust(4096, b"\0"))
    with pytest.raises(UsageError, match="cannot be read as vmdk"):
        convert.info(path, deadline=deadline, format="vmdk")


@pytest.mark.parametrize("at", [0, 64 * 1024, 192 * 1024, 256 * 1024, (2 << 20), (3 << 20)])
def test_damaged_tables_of_a_vhdx_end(at: int, tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    data = made(path, "vhdx")
    data[at + 8 : at + 4096] = b"\xff" * 4088
    path.write_bytes(data)
    try:
        assert convert.probe(path)[0] == "vhdx"
    except UsageError as error:
        assert "VHDX" in error.message
