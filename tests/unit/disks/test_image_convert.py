"""Telling formats apart by their bytes, and never following what a file from outside refers to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.disks import convert
from aibemu.disks.convert import hash_file
from aibemu.distributors.vhd_format import checksum, geometry
from aibemu.errors import AibemuError, BuildCancelled, NotFoundError, UsageError
from aibemu.processes import ToolFailed

SIZE = 3 * (1 << 20) + 512


def data(path: Path) -> Path:
    path.write_bytes((b"0123456789abcde\n" * 4096).ljust(SIZE - 512, b"\0") + b"\x55" * 512)
    return path


def footer(size: int) -> bytes:
    """A fixed VHD's footer by a creator whose cylinders QEMU would believe."""
    geometry = struct.pack(">HBB", 90, 4, 17)
    head = struct.pack(">8sIIQI4sI4sQQ", b"conectix", 2, 0x10000, 2**64 - 1, 0, b"azur", 0x10000, b"Wi2k", size, size)
    body = head + geometry + struct.pack(">I", 2)
    total = ~sum(body + bytes(4) + bytes(428)) & 0xFFFFFFFF
    return (body + struct.pack(">I", total)).ljust(512, b"\0")


@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vhdx", "vpc"])
def test_formats_are_told_by_content_and_give_the_same_bytes(kind: str, tmp_path: Path, deadline: Deadline) -> None:
    source = data(tmp_path / "a.raw")
    # A name that would be an option, a protocol or a list element to qemu-img.
    target = tmp_path / "-nbd:x,file.filename=y.img"
    subprocess.run(["qemu-img", "convert", "-O", kind, source, f"file:{target}"], check=True)
    disk = convert.info(target, deadline=deadline)
    assert (disk.format, disk.references, disk.flat) == (kind, (), False)
    assert 0 <= disk.virtual_size - SIZE < (1 << 20)
    convert.to_raw(disk, tmp_path / "back.raw", deadline=deadline)
    assert (tmp_path / "back.raw").read_bytes()[:SIZE] == source.read_bytes()


def test_a_fixed_vhd_is_its_bytes_without_the_footer(tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "a.vhd"
    path.write_bytes(data(tmp_path / "a.raw").read_bytes() + footer(SIZE))
    disk = convert.info(path, deadline=deadline)
    assert (disk.format, disk.flat, disk.virtual_size) == ("vpc", True, SIZE)
    convert.to_qcow2(disk, tmp_path / "b.qcow2", compressed_zstd=True, deadline=deadline)
    convert.check(tmp_path / "b.qcow2", deadline=deadline)
    convert.to_raw(tmp_path / "b.qcow2", tmp_path / "back.raw", deadline=deadline)
    assert (tmp_path / "back.raw").read_bytes() == (tmp_path / "a.raw").read_bytes()


def test_raw_can_be_forced_on_what_looks_like_something_else(tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "a.img"
    path.write_bytes(b"QFI\xfb" + b"\xff" * 4092)
    assert convert.info(path, deadline=deadline, format="raw").virtual_size == 4096
    with pytest.raises(UsageError):
        convert.info(path, deadline=deadline)


def test_backing_files_are_seen_without_opening_them(tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "overlay.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", path, "1M"], check=True
    )
    assert convert.info(path, deadline=deadline).references == ("backing file /etc/shadow",)


def test_data_files_are_seen_without_opening_them(
    tmp_path: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.qcow2"
    option = f"data_file={tmp_path / 'x.raw'}"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", option, path, "1M"], check=True)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("qemu-img was asked")

    monkeypatch.setattr(convert, "run_tool", refuse)
    assert convert.info(path, deadline=deadline).references == ("data-file",)


def test_vmdk_extents_are_references(tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "flat.vmdk"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", path, "1M"], check=True)
    with pytest.raises(UsageError, match="descriptor"):
        convert.info(path, deadline=deadline)


def test_the_format_is_pinned_in_the_name_given_to_qemu(tmp_path: Path, deadline: Deadline) -> None:
    disk = convert.info(data(tmp_path / "a.raw"), deadline=deadline)
    value = json.loads(disk.spec.removeprefix("json:"))
    assert value["driver"] == "raw"
    assert value["file"] == {"driver": "file", "filename": str(tmp_path / "a.raw")}


def test_what_cannot_be_read(tmp_path: Path, deadline: Deadline) -> None:
    with pytest.raises(NotFoundError):
        convert.info(tmp_path / "none", deadline=deadline)
    with pytest.raises(UsageError, match="is a folder, not a file"):
        convert.info(tmp_path, deadline=deadline)
    (tmp_path / "empty").touch()
    with pytest.raises(UsageError, match="empty"):
        convert.info(tmp_path / "empty", deadline=deadline)
    (tmp_path / "cut.qcow2").write_bytes(b"QFI\xfb" + struct.pack(">I", 3) + bytes(96))
    with pytest.raises(UsageError, match="cannot be read as qcow2"):
        convert.info(tmp_path / "cut.qcow2", deadline=deadline)
    with pytest.raises(UsageError, match="unknown disk format"):
        convert.info(tmp_path / "empty", deadline=deadline, format="iso")


def test_check_finds_damage(tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "a.qcow2"
    convert.to_qcow2(data(tmp_path / "a.raw"), path, deadline=deadline)
    convert.check(path, deadline=deadline)
    with path.open("r+b") as stream:
        stream.seek(0x10000)
        stream.write(b"\xff" * 512)
    with pytest.raises(ToolFailed):
        convert.check(path, deadline=deadline)


def test_needed_counts_the_backing_files(tmp_path: Path, deadline: Deadline) -> None:
    base, overlay = tmp_path / "a.qcow2", tmp_path / "b.qcow2"
    convert.to_qcow2(data(tmp_path / "a.raw"), base, deadline=deadline)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", overlay], check=True)
    assert convert.needed(convert.info(overlay, deadline=deadline), deadline=deadline) > 65536


@given(st.binary(max_size=1024))
def test_any_header_is_answered_or_refused(head: bytes) -> None:
    import tempfile

    for prefix in (b"", b"QFI\xfb\0\0\0\3", b"KDMV", b"conectix", b"vhdxfile"):
        with tempfile.NamedTemporaryFile() as file:
            file.write(prefix + head)
            file.flush()
            with contextlib.suppress(AibemuError):
                convert.probe(Path(file.name))


def test_a_relative_backing_file_is_followed_when_asked_to(
    tmp_path: Path, deadline: Deadline, make_disk: Callable[..., Path]
) -> None:
    disk = make_disk()
    convert.to_qcow2(disk, tmp_path / "base.qcow2", deadline=forever())
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "o.qcow2"],
        check=True,
        cwd=tmp_path,
    )
    convert.to_raw(tmp_path / "o.qcow2", tmp_path / "o.raw", deadline=deadline)
    assert (tmp_path / "o.raw").read_bytes() == disk.read_bytes()


def test_hashing_a_disk_stops_when_it_is_cancelled(tmp_path: Path) -> None:
    disk = tmp_path / "big.raw"
    with disk.open("wb") as stream:
        stream.truncate(1 << 40)  # hours, if it were read to its end
    token = CancelToken()
    threading.Timer(0.3, token.cancel, ["stop"]).start()
    with pytest.raises(BuildCancelled):
        hash_file(disk, "sha256", Deadline(clock=SystemClock(), cancel=token))


def test_a_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 3_000_000)
    assert hash_file(tmp_path / "x", "sha256", forever()) == hashlib.sha256(b"abc" * 3_000_000).hexdigest()


MIB = 1 << 20


def vhd(path: Path, kind: str, size: int, creator: bytes) -> bytes:
    """A VHD that qemu-img wrote, with the creator and the geometry that Azure's have; what is on its disk."""
    raw = path.with_suffix(".content")
    raw.write_bytes(b"begin".ljust(size - 3, b"\0") + b"end")
    options = f"subformat={kind},force_size=on"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", options, raw, path], check=True)
    with path.open("r+b") as stream:
        for at in [path.stat().st_size - 512, *[0] * (kind == "dynamic")]:
            stream.seek(at)
            found = bytearray(stream.read(512))
            found[28:32], found[56:60] = creator, struct.pack(">HBB", *geometry(size // 512))
            found[64:68] = struct.pack(">I", checksum(found))
            stream.seek(at)
            stream.write(found)
    return raw.read_bytes()


@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
@pytest.mark.parametrize("creator", [b"wa\0\0", b"win ", b"vpc ", b"qem2", b"none"])
def test_the_size_of_a_vhd_is_what_azure_goes_by(kind: str, creator: bytes, tmp_path: Path, deadline: Deadline) -> None:
    """Not what its cylinders say, whoever made it and whatever version qemu-img has."""
    size = 5 * MIB
    cylinders, heads, sectors = geometry(size // 512)
    assert cylinders * heads * sectors * 512 < size, "the cylinders would cut it off"
    path = tmp_path / "disk.vhd"
    content = vhd(path, kind, size, creator)
    disk = convert.info(path, deadline=deadline)
    assert (disk.format, disk.virtual_size, disk.fixed_vhd) == ("vpc", size, kind == "fixed")
    for write, name in ((convert.to_raw, "raw"), (convert.to_qcow2, "qcow2")):
        write(disk, tmp_path / name, deadline=deadline)
    assert (tmp_path / "raw").read_bytes() == content
    assert convert.info(tmp_path / "qcow2", deadline=deadline).virtual_size == size
    assert not convert.is_cut_off(path, "vpc")


def test_a_vhd_without_its_end_is_told(tmp_path: Path, deadline: Deadline) -> None:
    fixed, dynamic = tmp_path / "fixed.vhd", tmp_path / "dynamic.VHD"
    vhd(fixed, "fixed", 5 * MIB, b"wa\0\0")
    vhd(dynamic, "dynamic", 5 * MIB, b"wa\0\0")
    last = fixed.read_bytes()[-512:]
    for path, missing in ((fixed, MIB // 2), (dynamic, 512)):
        with path.open("r+b") as stream:
            stream.truncate(path.stat().st_size - missing)
        assert convert.is_cut_off(path, convert.info(path, deadline=deadline).format)
    fixed.write_bytes(fixed.read_bytes() + last)
    with pytest.raises(UsageError, match="is cut off: its footer says that the disk has 5242880 bytes"):
        convert.info(fixed, deadline=deadline)
    padded = tmp_path / "padded.vhd"
    padded.write_bytes(bytes(6 * MIB) + last)
    assert convert.info(padded, deadline=deadline).virtual_size == 5 * MIB


def test_a_vhd_that_needs_another_one_is_refused(tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "disk.vhd"
    vhd(path, "dynamic", 5 * MIB, b"win ")
    content = bytearray(path.read_bytes())
    content[60:64] = struct.pack(">I", 4)
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is a differencing VHD"):
        convert.info(path, deadline=deadline)


def test_a_vhdx_under_the_name_of_a_vhd_is_known_by_its_content(tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "disk.vhd"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vhdx", path, "8M"], check=True)
    assert convert.info(path, deadline=deadline).format == "vhdx"
    with pytest.raises(UsageError, match="cannot be read as vpc") as caught:
        convert.info(path, deadline=deadline, format="vhd")
    assert "by its content it is vhdx" in str(caught.value.hint)
