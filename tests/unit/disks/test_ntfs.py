"""NTFS that ntfs-3g and wimlib wrote, in shapes that real volumes have, and damaged."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu.disks import Unreadable, ntfs
from aibemu.disks.ntfs import Ntfs, NtfsFile
from aibemu.disks.ntfs_parts import Extents
from tests import windows_disks
from tests.windows_disks import MIB


def volume_of(path: Path) -> Ntfs:
    data = path.read_bytes()
    return Ntfs(lambda at, length: data[at : at + length], 0)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    windows_disks.need_tools()

    def made(files: dict[str, bytes], size: int = 8 * MIB, cluster: int = 4096, sector: int = 512) -> Path:
        volume = tmp_path / "volume.img"
        windows_disks.make_ntfs(volume, size, MIB, files, work=tmp_path, cluster=cluster, sector=sector)
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


@pytest.mark.parametrize(("cluster", "sector"), [(512, 512), (4096, 512), (65536, 512), (4096, 4096), (16384, 4096)])
def test_clusters_and_sectors_of_each_size(make: Callable[..., Path], cluster: int, sector: int) -> None:
    files = {"a\\small": b"x" * 300, "a\\large": content(1, 300_000), "a\\none": b"", "Ünïcode\\naïve ÿ.txt": b"1"}
    files |= {f"many\\{number:03} of them": b"x" for number in range(200)}
    volume = volume_of(make(files, 24 * MIB, cluster, sector))
    assert len(volume.names("many") or []) == 200 and not volume.dirty
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


CLEAN, NOBODY, SOMEBODY = 2, 0xFFFF, 0
RSTR, CHKD = b"RSTR", b"CHKD"


def restart_page(size: int, number: int, client: int, flags: int, magic: bytes = b"RSTR") -> bytes:
    """A page of a journal as Windows writes the first two. size: of the journal."""
    record = struct.pack("<QQHHH6xI64s", number, 0, 0xFFFF, 0xFFFF, 0, 8, "NTFS".encode("utf-16-le")).ljust(0xA0, b"\0")
    area = struct.pack(
        "<QHHHHIHHqIHHII", number, 1, 0xFFFF if client == SOMEBODY else 0, client, flags, 67 - size.bit_length(), 0xD0,
        0x30, size, 0, 0x30, 0x40, 1, 0,
    )  # fmt: skip
    page = bytearray(
        struct.pack("<4sHHQIIHHH", magic, 0x1E, 9, number * (magic == CHKD), 4096, 4096, 0x30, 1, 1).ljust(0x30, b"\0")
        + area
        + record
    )
    page += bytes(4096 - len(page))
    for end in range(510, 4096, 512):
        page[end : end + 2] = b"\x01\x00"
    page[0x1E:0x20] = b"\x01\x00"
    return bytes(page)


def write_journal(path: Path, *pages: tuple[int, int, int, bytes] | bytes) -> None:
    volume = volume_of(path)
    journal = volume.file("$LogFile")
    assert journal is not None
    with path.open("r+b") as stream:
        for index, page in enumerate(pages):
            content = page if isinstance(page, bytes) else restart_page(journal.size, *page)
            (place,) = journal.places(index * 4096, 4096)
            assert place.at is not None
            stream.seek(place.at)
            stream.write(content)


@pytest.mark.parametrize(
    ("pages", "dirty"),
    [
        ([(7, SOMEBODY, 0, RSTR), (7, SOMEBODY, 0, RSTR)], True),
        ([(7, SOMEBODY, CLEAN, RSTR), (7, SOMEBODY, CLEAN, RSTR)], False),
        ([(7, NOBODY, 0, RSTR), (7, NOBODY, 0, RSTR)], False),
        ([(7, SOMEBODY, CLEAN, RSTR), (8, SOMEBODY, 0, RSTR)], True),
        ([(9, SOMEBODY, CLEAN, RSTR), (8, SOMEBODY, 0, RSTR)], False),
    ],
)
def test_a_power_cut_leaves_the_journal_open_and_no_mark(
    pages: list[tuple[int, int, int, bytes]], dirty: bool, make: Callable[..., Path], tmp_path: Path
) -> None:
    path = make({"a": b"1", "hiberfil.sys": b"wake".ljust(5000)})
    write_journal(path, *pages)
    volume = volume_of(path)
    assert (volume.dirty, volume.asleep) == (dirty, dirty)
    (tmp_path / "new").write_bytes(b"1")
    if dirty:  # ntfs-3g thinks so, too
        with pytest.raises(subprocess.CalledProcessError) as refused:
            run("ntfscp", path, tmp_path / "new", "/new")
        assert b"unclean file system (0, 0)" in refused.value.stderr
    else:
        run("ntfscp", path, tmp_path / "new", "/new")


@pytest.mark.parametrize(
    ("pages", "dirty"),
    [
        ([bytes(4096), (7, SOMEBODY, CLEAN, RSTR)], False),  # the first was written in part, or is lost
        ([bytes(4096), (7, SOMEBODY, 0, RSTR)], True),
        ([bytes(4096), bytes(4096)], True),
        ([b"\xff" * 4096, b"\xff" * 4096], False),
        ([b"RSTR".ljust(4096, b"\xff"), b"RSTR".ljust(4096, b"\xff")], True),
        ([(7, SOMEBODY, 0, RSTR), (9, NOBODY, 0, CHKD)], False),
    ],
)
def test_journals_that_are_damaged_or_empty(
    pages: list[tuple[int, int, int, bytes] | bytes], dirty: bool, make: Callable[..., Path]
) -> None:
    path = make({"a": b"1"})
    write_journal(path, *pages)
    assert volume_of(path).dirty is dirty


@pytest.mark.parametrize(
    ("begin", "asleep"), [(b"wake", False), (b"HIBR", True), (b"hibr", True), (bytes(4), False), (b"", False)]
)
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


def record_of(data: bytearray, name: str) -> int:
    """Where the record of a file is."""
    at = data.index(name.encode("utf-16-le"), data.index(b"FILE"))
    return data.rindex(b"FILE", 0, at)


def attribute_of(data: bytearray, record: int, kind: int) -> int:
    at: int = record + struct.unpack_from("<H", data, record + 0x14)[0]
    while struct.unpack_from("<I", data, at)[0] != kind:
        at += struct.unpack_from("<I", data, at + 4)[0]
    return at


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (0x10, 1, "parts of it are missing"),  # the first part of the file is said to be the second
        (0x18, 100, "where a file lies is missing in part"),  # more clusters than are listed
        (0x40, 0, "where a file lies is missing in part"),  # none
        (0x40, 0x9111, "nobody writes"), (0x41, 0, "nobody writes"), (0x20, 0xFFF0, "missing in part"),
        (0x42, 0x7FFF, "lies beyond its end"),
        (0x04, 0x18, "too short"), (0x04, 0xFFFF, "does not fit in it"), (0x0A, 0xFFFF, None),
        (0x09, 0xFF, "does not fit in it"),
    ],
)  # fmt: skip
def test_a_file_whose_places_make_no_sense_is_not_read(
    place: int, value: int, why: str | None, make: Callable[..., Path]
) -> None:
    """Else zeros or the bytes of others would pass for its own, and somebody could write to them."""
    data = bytearray(make({"large": content(3, 50_000), "other": content(4, 50_000)}).read_bytes())
    at = attribute_of(data, record_of(data, "large"), 0x80) + place
    if place == 0x09:
        data[at] = value
    else:
        struct.pack_into("<H", data, at, value)
    volume = Ntfs(lambda at, length: bytes(data[at : at + length]), 0)
    if why is None:
        found = volume.file("large")
        assert found is not None and found.read(0, 50_000) == content(3, 50_000)
        return
    with pytest.raises(Unreadable, match=why):
        volume.file("large")
    other = volume.file("other")
    assert other is not None and other.read(0, 50_000) == content(4, 50_000)


def test_small_files_of_a_compressed_folder_are_read(make: Callable[..., Path]) -> None:
    data = bytearray(make({"small": b"answer"}).read_bytes())
    at = attribute_of(data, record_of(data, "small"), 0x80)
    for flags, readable in ((0x0001, True), (0x4000, False)):
        struct.pack_into("<H", data, at + 0xC, flags)
        volume = Ntfs(lambda at, length: bytes(data[at : at + length]), 0)
        if readable:
            found = volume.file("small")
            assert found is not None and found.read(0, 100) == b"answer"
        else:
            with pytest.raises(Unreadable, match="compressed or encrypted"):
                volume.file("small")


def test_what_was_never_written_is_no_place_to_write_to(make: Callable[..., Path]) -> None:
    data = bytearray(make({"large": content(3, 50_000)}).read_bytes())
    struct.pack_into("<Q", data, attribute_of(data, record_of(data, "large"), 0x80) + 0x38, 40_000)
    volume = Ntfs(lambda at, length: bytes(data[at : at + length]), 0)
    found = volume.file("large")
    assert found is not None and found.read(0, 50_000) == content(3, 50_000)[:40_000] + bytes(10_000)
    assert found.places(0, 40_000)
    with pytest.raises(Unreadable, match="never written"):
        found.places(39_999, 2)


@pytest.mark.parametrize(
    ("kind", "change", "why"),
    [
        ("folder", lambda data, at: struct.pack_into("<I", data, at, 0x91), "has no index"),
        ("blocks", lambda data, at: struct.pack_into("<I", data, at, 0xA1), "a part of its index only"),
        ("record", lambda data, at: struct.pack_into("<H", data, at + 0x16, 0), "says that it is not"),
    ],
)
def test_a_damaged_folder_is_not_an_empty_one(
    kind: str, change: Callable[[bytearray, int], None], why: str, damaged_source: bytes
) -> None:
    data = bytearray(damaged_source)
    names = Ntfs(lambda at, length: bytes(data[at : at + length]), 0).names("a")
    assert names is not None and len(names) == 201
    record = next(
        at for at in range(data.index(b"FILE"), len(data), 1024)
        if data[at : at + 4] == b"FILE" and data[at + 0x16] == 3 and "a".encode("utf-16-le") == _name(data, at)
    )  # fmt: skip
    places = {"folder": 0x90, "blocks": 0xA0}
    change(data, attribute_of(data, record, places[kind]) if kind in places else record)
    with pytest.raises(Unreadable, match=why):
        Ntfs(lambda at, length: bytes(data[at : at + length]), 0).names("a")


def test_a_block_of_another_folder_is_not_taken(damaged_source: bytes) -> None:
    data = bytearray(damaged_source)
    for at in range(0, len(data), 4096):
        if data[at : at + 4] == b"INDX":
            data[at + 0x10] ^= 1
    with pytest.raises(Unreadable, match="another one's"):
        Ntfs(lambda at, length: bytes(data[at : at + length]), 0).names("a")


def test_a_folder_has_a_largest_index(damaged_source: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = Ntfs(lambda at, length: damaged_source[at : at + length], 0)
    monkeypatch.setattr(ntfs, "_MOST_INDEX", 3 * 4096)
    assert volume.names("b\\c") == ["d"]
    with pytest.raises(Unreadable, match="a folder of it has no end"):
        volume.names("a")


def test_short_names_are_found_and_not_listed(damaged_source: bytes) -> None:
    """A file has one of its own for DOS beside the other, with an entry each."""
    data = bytearray(damaged_source)
    # Its length, whose name it is (POSIX), and the name, in the blocks of the folder's index; old copies too.
    name = b"\x03\x00" + "142".encode("utf-16-le")
    for block in range(0, len(data), 4096):
        if data[block : block + 4] == b"INDX":
            data[block : block + 4096] = data[block : block + 4096].replace(name, b"\x03\x02" + name[2:])
    volume = Ntfs(lambda at, length: bytes(data[at : at + length]), 0)
    names = volume.names("a")
    assert names is not None and "142" not in names and len(names) == 200
    found = volume.file("A\\142")
    assert found is not None and found.read(0, 10) == b"142"


def _name(data: bytearray, record: int) -> bytes:
    """The name of the file that has a record."""
    at = attribute_of(data, record, 0x30)
    value = at + struct.unpack_from("<H", data, at + 0x14)[0]
    return bytes(data[value + 0x42 : value + 0x42 + 2 * data[value + 0x40]])


def test_a_file_in_very_many_pieces_costs_no_more(make: Callable[..., Path]) -> None:
    """Reading its last byte does not look at all pieces before it, again and again."""
    extents = Extents()
    for number in range(200_000):
        extents.add(number * 1000, 512)
    file = NtfsFile(lambda at, length: at.to_bytes(length, "little"), "f", extents.end, extents.end, extents)
    started = time.process_time()
    for number in range(2000):
        at = extents.end - 512 * (number + 1)
        assert file.read(at, 8) == ((200_000 - number - 1) * 1000).to_bytes(8, "little")
    assert time.process_time() - started < 2


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


@pytest.mark.parametrize("size", [1, 100, 300, 500, 640])
def test_a_small_file_lies_in_its_record_and_can_be_changed_there(make: Callable[..., Path], size: int) -> None:
    """Across the end of a piece of it, too, whose last bytes are kept elsewhere."""
    path = make({"a\\small": content(4, size), "a\\other": content(5, size)})
    before, wanted = path.read_bytes(), content(6, size)
    file = volume_of(path).file("a\\small")
    assert file is not None and sum(place.length for place in file.places(0, size)) == size
    data, at = bytearray(before), 0
    for place in file.places(0, size):
        assert place.at is not None
        data[place.at : place.at + place.length] = wanted[at : at + place.length]
        at += place.length
    path.write_bytes(data)
    changed = volume_of(path).file("a\\small")
    assert changed is not None and changed.read(0, size) == wanted == run("ntfscat", path, "/a/small")
    assert run("ntfscat", path, "/a/other") == content(5, size)
    assert sum(one != other for one, other in zip(before, data, strict=True)) <= size
