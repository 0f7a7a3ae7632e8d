"""XFS, btrfs, LVM and ext by their readers, one file system each: what mkfs and Linux itself wrote."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import forever
from aibemu.disks import Unreadable
from aibemu.disks.btrfs import BtrfsFiles
from aibemu.disks.debugfs import Debugfs, ExtFiles
from aibemu.disks.lvm import logical_volumes, physical_volume
from aibemu.disks.nodes import DEVICE, FILE, FOLDER, LINK, Nodes
from aibemu.disks.volumes import volumes
from aibemu.disks.xfs import XfsFiles
from tests.linux_disks import MIB, LinuxDisks, Part

# fixtures/disks/make.sh
SCATTERED = b"".join(b"%04d" % number * 1024 + bytes(4096) for number in range(0, 400, 2)) + bytes(100)
COUNTED = b"".join(b"%d\n" % number for number in range(1, 20001))
CONTENTS = {
    "etc/passwd": "root:x:0:0::/root:/bin/bash\n", "etc/link": "-> ../usr/lib/os-release",
    "usr/lib/os-release": "ID=x\n",
    "empty/": "", **{f"many/{number:04}": f"{number}\n" for number in range(200)}, "large": "0123456789" * 20_000,
}  # fmt: skip


@pytest.fixture
def disks(tmp_path: Path) -> LinuxDisks:
    return LinuxDisks(tmp_path)


def reader(path: Path) -> Callable[[int, int], bytes]:
    stream = path.open("rb")

    def read(at: int, length: int) -> bytes:
        stream.seek(at)
        return stream.read(length)

    return read


def xfs(path: Path) -> XfsFiles:
    return XfsFiles(reader(path))


def btrfs(path: Path) -> BtrfsFiles:
    return BtrfsFiles(reader(path))


def find(files: Nodes[Any], path: str) -> Any:
    node = files.root()
    for name in path.split("/"):
        node = files.entries(node)[name]
    return node


def walk(files: Nodes[Any], node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Path -> text, as LinuxDisks takes it."""
    for name, below in files.entries(node).items():
        kind, there = files.kind(below), f"{path}{name}"
        if kind == FILE:
            yield there, files.content(below, MIB).decode()
            assert files.size(below) == len(files.content(below, MIB))
        elif kind == LINK:
            yield there, f"-> {files.link(below)}"
        elif found := list(walk(files, below, f"{there}/")):
            yield from found
        else:
            yield f"{there}/", ""


@pytest.mark.parametrize(
    "options",
    [
        (), ("-m", "crc=0,finobt=0,rmapbt=0,reflink=0", "-n", "ftype=0"), ("-b", "size=1024", "-n", "size=8192"),
        ("-i", "size=2048"),
    ],
)  # fmt: skip
def test_what_mkfs_xfs_wrote(options: tuple[str, ...], disks: LinuxDisks) -> None:
    files = xfs(disks.xfs(CONTENTS, options=options))
    assert dict(walk(files, files.root())) == CONTENTS


def test_what_mkfs_btrfs_wrote(disks: LinuxDisks) -> None:
    files = btrfs(disks.btrfs(CONTENTS))
    assert dict(walk(files, files.root())) == CONTENTS
    assert files.subvolumes() == [5] and files.default() == 5 and not files.unfinished


def test_what_mke2fs_wrote_whatever_its_names(disks: LinuxDisks) -> None:
    names = {'a "quoted" name': "x", "two\nlines": "y", "dots..": "z", "<12>": "w", "latin-ä": "v", "x" * 200: "u"}
    deep = "/".join(["d" * 100] * 12)
    contents = names | {
        f"{deep}/f": "deep\n",
        "etc/link": "-> ../usr",
        "far": f"-> {'y' * 100}",
        "large": "0123456789" * 999,
    }
    debugfs = Debugfs(disks.ext4(contents), 0, deadline=forever())
    try:
        files = ExtFiles(debugfs)
        assert dict(walk(files, files.root())) == contents | {"lost+found/": ""}
        assert files.content(find(files, "large"), 10) == b"0123456789"
    finally:
        debugfs.close()


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_what_linux_wrote(kind: str, disks: LinuxDisks) -> None:
    """Holes, what was reserved and never written, folders of several blocks, lists of extents in a tree, long links."""
    path = disks.recorded(kind)
    files: Nodes[Any] = xfs(path) if kind == "xfs" else btrfs(path).seen_from("@")
    count = 300 if kind == "xfs" else 40
    assert sorted(files.entries(find(files, "big"))) == sorted(f"entry-number-{n}" for n in range(1, count + 1))
    assert files.content(find(files, "with blank/a \"quoted\" 'name'"), 100) == b"content\n"
    assert files.link(find(files, "small/link")) == "../big/entry-number-7"
    assert files.link(find(files, "small/long")) == "/" + "x" * 900 + "/end"
    assert files.kind(find(files, "small/pipe")) == DEVICE
    assert files.content(find(files, "scattered"), 2 * MIB) == SCATTERED
    assert files.content(find(files, "scattered"), 5000) == SCATTERED[:5000]
    assert files.content(find(files, "reserved"), MIB) == b"begin" + bytes(65536 - 5)


def test_subvolumes_and_what_they_compress(disks: LinuxDisks) -> None:
    top = btrfs(disks.recorded("btrfs"))
    assert sorted(top.entries(top.root())) == ["@", "@home", "before"]
    files = top.seen_from("@")
    assert files.content(find(files, "zstd"), MIB) == files.content(find(files, "zlib"), MIB) == COUNTED
    assert files.content(find(top.seen_from("/@/nested"), "file"), 100) == b"inside\n"
    with pytest.raises(Unreadable, match="lzo"):
        files.content(find(files, "lzo"), MIB)
    assert files.kind(find(top, "@home/mary")) == FOLDER
    for number in top.subvolumes():
        assert top.seen_from(number).entries(top.seen_from(number).root()) is not None
    for name in ("@none", 999, "@/big"):
        with pytest.raises(Unreadable, match="no subvolume"):
            top.seen_from(name)


def test_grub_reads_the_same(disks: LinuxDisks) -> None:
    """An independent reader, where there is one; it follows links, so those are not compared."""
    if (grub := shutil.which("grub-fstest")) is None:
        pytest.skip("grub-fstest is not installed (grub-common)")
    for path in (disks.recorded("xfs"), disks.xfs(CONTENTS, options=("-m", "crc=0,finobt=0,rmapbt=0,reflink=0"))):
        files = xfs(path)
        for name in ("large", "scattered"):
            if name in files.entries(files.root()):
                said = subprocess.run(
                    [grub, path, "cat", f"(loop0)/{name}"], capture_output=True, check=True, timeout=60
                )
                assert files.content(find(files, name), 2 * MIB) == said.stdout


def test_logical_volumes_are_where_lvm_put_them(disks: LinuxDisks) -> None:
    """`fixtures/disks/lvm.raw.xz` is what LVM wrote; the places are what `lvs` said of it."""
    read = reader(disks.group({}))
    held = physical_volume(read)
    found = {
        one.name: [(piece.start // MIB, piece.size // MIB) for piece in one.pieces]
        for one in logical_volumes(held.text)
    }
    assert found == {
        "rootlv": [(1, 160), (673, 160)], "varlv": [(161, 32), (833, 32)], "homelv": [(193, 320)],
        "app-data": [(513, 160)],
    }  # fmt: skip
    assert {one.mapped for one in logical_volumes(held.text)} == {
        "rootvg-rootlv", "rootvg-varlv", "rootvg-homelv", "rootvg-app--data",
    }  # fmt: skip
    assert {piece.uuid for one in logical_volumes(held.text) for piece in one.pieces} == {held.uuid}


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (b'type = "striped"', b'type = "thin"', "of the type thin"),
        (b"stripe_count = 1", b"stripe_count = 2", "striped"), (b'"pv0", 40', b'"pv7", 40', ""),
    ],
)  # fmt: skip
def test_volumes_that_are_not_linear_are_known_by_name(
    before: bytes, after: bytes, problem: str, disks: LinuxDisks
) -> None:
    text = physical_volume(reader(disks.group({}))).text
    assert before in text
    try:
        found = logical_volumes(text.replace(before, after))
    except Unreadable as error:
        assert not problem and "not understood" in error.message
        return
    assert [one.name for one in found] == ["rootlv", "varlv", "homelv", "app-data"]
    assert problem in found[0].problem and found[0].pieces == ()


def test_a_group_that_goes_on_on_another_disk(disks: LinuxDisks) -> None:
    group = disks.group({})
    uuid = physical_volume(reader(group)).uuid.encode()
    label = reader(group)(0, 4096).replace(uuid, b"x" * 32)
    with group.open("r+b") as stream:
        stream.write(label)
    disk = disks.disk(Part(content=group, kind="lvm"))
    found = volumes(reader(disk), disk.stat().st_size)
    assert {one.problem for one in found} == {"parts of it are on another disk"} and len(found) == 4


def test_a_log_that_was_not_replayed_is_seen(disks: LinuxDisks) -> None:
    """After a sync all is in XFS's log, and its folders may still be empty; an unmount, or one that only reads from
    then on, brings it where it belongs (seen with Linux 6.18). Here the record of the unmount is taken away."""
    path = disks.recorded("xfs")
    assert not xfs(path).unfinished and not xfs(disks.xfs(CONTENTS)).unfinished
    head = reader(path)(0, 512)
    block, first, blocks = (int.from_bytes(head[at : at + n], "big") for at, n in ((4, 4), (48, 8), (96, 4)))
    group, bits = int.from_bytes(head[84:88], "big"), head[124]
    start = ((first >> bits) * group + (first & ((1 << bits) - 1))) * block
    log = reader(path)(start, blocks * block)
    places = [at for at in range(0, len(log), 512) if log[at : at + 4] == b"\xfe\xed\xba\xbe"]
    last = max(places, key=lambda at: log[at + 16 : at + 24])
    with path.open("r+b") as stream:
        stream.seek(start + last)
        stream.write(bytes(512))
    assert len(places) > 1 and xfs(path).unfinished


@pytest.mark.parametrize("kind", ["xfs", "btrfs", "lvm"])
def test_damage_is_told_and_ends(kind: str, disks: LinuxDisks) -> None:
    """Bytes changed at random, where there are some: what is read may be wrong, but it has an end, and one error."""
    path = disks.group({}) if kind == "lvm" else disks.recorded(kind)
    with path.open("rb") as stream:
        data = stream.read(12 * MIB)
    places = [at for at in range(0, len(data), 4096) if any(data[at : at + 4096])]
    rng = random.Random(7)
    for _ in range(60):
        count = rng.choice((1, 4, 40))
        spoiled = {rng.choice(places) + rng.randrange(4096): rng.choice((0, 1, 255, 77)) for _ in range(count)}

        def read(at: int, length: int, spoiled: dict[int, int] = spoiled) -> bytes:
            found = bytearray(data[at : at + length])
            for place, value in spoiled.items():
                if at <= place < at + len(found):
                    found[place - at] = value
            return bytes(found)

        try:
            if kind == "lvm":
                logical_volumes(physical_volume(read).text)
                continue
            files: XfsFiles | BtrfsFiles = XfsFiles(read) if kind == "xfs" else BtrfsFiles(read)
            assert files.unfinished in (True, False)
            look(files, files.root(), 4)
        except Unreadable:
            pass


def look(files: Nodes[Any], node: Any, depth: int) -> None:
    for below in list(files.entries(node).values())[:50] if depth else ():
        try:
            files.link(below) if files.kind(below) == LINK else files.content(below, 10_000)
            look(files, below, depth - 1)
        except Unreadable:
            continue
