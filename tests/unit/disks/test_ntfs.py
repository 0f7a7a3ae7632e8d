"""NTFS that ntfs-3g and wimlib wrote, in shapes that real volumes have, and damaged."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu.disks import Unreadable
from aibemu.disks.ntfs import Ntfs
from tests import windows_disks
from tests.windows_disks import MIB


def volume_of(path: Path) -> Ntfs:
    data = path.read_bytes()
    return Ntfs(lambda at, length: data[at : at + length], 0)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    windows_disks.need_tools()

    def made(files: dict[str, bytes], size: int = 8 * MIB, cluster: int = 4096) -> Path:
        volume = tmp_path / "volume.img"
        windows_disks.make_ntfs(volume, size, MIB, files, work=tmp_path, cluster=cluster)
        return volume

    return made


def run(*words: object) -> bytes:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, check=True, timeout=60, env=os.environ | {"PATH": path}
    )
    return done.stdout


def content(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


@pytest.mark.parametrize("cluster", [512, 4096, 65536])
def test_clusters_of_each_size(make: Callable[..., Path], cluster: int) -> None:
    files = {"a\\small": b"x" * 300, "a\\large": content(1, 300_000), "a\\none": b"", "Ünïcode\\naïve ÿ.txt": b"1"}
    volume = volume_of(make(files, 24 * MIB, cluster))
    for name, data in files.items():
        file = volume.file(name.upper())
        assert file is not None and file.size == len(data) and file.read(0, 1 << 20) == data
    large = volume.file("a/large")
    assert large is not None
    assert large.read(299_990, 100) == files["a\\large"][299_990:] and large.read(300_000, 1) == b""
    assert large.read(65_000, 2000) == files["a\\large"][65_000:67_000] and large.read(-1, 5) == b""


def test_a_file_in_pieces(make: Callable[..., Path], tmp_path: Path) -> None:
    path = make({f"f{number:03}": content(number, 16_384) for number in range(300)}, 8 * MIB)
    little, large = tmp_path / "little", tmp_path / "large"
    little.write_bytes(b"1")
    for number in range(0, 300, 2):
        run("ntfscp", "-f", path, little, f"/f{number:03}")
    large.write_bytes(content(1000, 400_000))
    run("ntfscp", "-f", path, large, "/large")
    volume = volume_of(path)
    file = volume.file("large")
    assert file is not None and file.read(0, file.size) == large.read_bytes() == run("ntfscat", path, "/large")
    assert len(file.places(0, file.size)) > 1
    assert file.read(16_000, 20_000) == large.read_bytes()[16_000:36_000]
    kept = volume.file("f001")
    assert kept is not None and kept.read(0, 16_384) == content(1, 16_384)


def test_a_file_with_more_names_than_its_record_has_room_for(make: Callable[..., Path], tmp_path: Path) -> None:
    path = make({})
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "first").write_bytes(content(2, 5000))
    for number in range(20):
        (tree / f"{number:02}{'n' * 150}").hardlink_to(tree / "first")
    run("wimlib-imagex", "capture", tree, tmp_path / "linked.wim", "--compress=none", "--no-acls")
    run("wimlib-imagex", "apply", tmp_path / "linked.wim", "1", path)
    volume = volume_of(path)
    assert len(volume.names("") or []) == 21
    for name in ("first", f"19{'N' * 150}"):
        file = volume.file(name)
        assert file is not None and file.read(0, 5000) == content(2, 5000)


def test_a_volume_that_windows_did_not_close(make: Callable[..., Path]) -> None:
    path = make({"a": b"1"})
    assert not volume_of(path).dirty
    run("ntfsfix", path)  # it leaves the volume for Windows to check
    assert volume_of(path).dirty
    run("ntfsfix", "-d", path)
    assert not volume_of(path).dirty


@pytest.mark.parametrize(("begin", "asleep"), [(b"HIBR", True), (b"hibr", True), (bytes(4), False), (b"", False)])
def test_a_windows_that_is_hibernated(make: Callable[..., Path], begin: bytes, asleep: bool) -> None:
    volume = volume_of(make({"hiberfil.sys": begin.ljust(5000 if begin else 0, b"\0")}))
    assert volume.asleep is asleep and not volume.dirty


def test_a_compressed_file_is_told(make: Callable[..., Path]) -> None:
    path = make({"large": content(3, 50_000)})
    data = bytearray(path.read_bytes())
    at = data.index("large".encode("utf-16-le"), data.index(b"FILE"))
    record = data.rindex(b"FILE", 0, at)
    attribute = data.index(b"\x80\0\0\0", at)
    assert attribute < record + 1024
    data[attribute + 0xC] |= 1
    path.write_bytes(data)
    with pytest.raises(Unreadable, match="large is compressed or encrypted"):
        volume_of(path).file("large")


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_volume_gives_one_error(seed: int, damaged_source: bytes) -> None:
    """Whatever is damaged: an answer or `Unreadable`, and soon."""
    chance = random.Random(seed)
    data = bytearray(damaged_source)
    first = data.index(b"FILE")
    ranges = [(0, 84), (first, first + 64 * 1024), (0, len(data))]
    for _ in range(chance.choice([1, 5, 50, 500])):
        begin, end = chance.choice(ranges)
        data[chance.randrange(begin, end)] = chance.randrange(256)
    if seed % 5 == 0:
        del data[chance.randrange(len(data)) :]
    frozen = bytes(data)
    try:
        volume = Ntfs(lambda at, length: frozen[max(at, 0) : max(at, 0) + length], 0)
        for name in ("", "a", "a\\large", "a\\0", "b\\c\\d"):
            volume.names(name)
            if file := volume.file(name):
                file.read(0, 100_000)
        assert volume.dirty in (True, False) and volume.asleep in (True, False)
    except Unreadable:
        pass


@pytest.fixture(scope="module")
def damaged_source(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    windows_disks.need_tools()
    work = tmp_path_factory.mktemp("volume")
    files = {f"a\\{number}": b"%d" % number for number in range(200)} | {"a\\large": content(1, 50_000)}
    windows_disks.make_ntfs(work / "v", 4 * MIB, 0, files | {"b\\c\\d": b"1"}, work=work)
    return (work / "v").read_bytes()
