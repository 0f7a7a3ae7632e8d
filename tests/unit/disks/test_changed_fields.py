"""NTFS volumes and registry hives whose fields say something else: 0, 1, the most, or where they are themselves.

Random bytes (test_ntfs.py, test_regf.py) mostly hit what nobody looks at. Here each example changes one to three fields
that mean something. Whatever they say: an answer or `Unreadable`, after a bounded number of looks, and nobody is sent
beyond the volume or the hive.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aibemu.disks import Unreadable, regf
from aibemu.disks.ntfs import Ntfs
from aibemu.disks.regf_changes import ChangingHive
from tests import windows_disks
from tests.unit.disks.test_ntfs import content
from tests.unit.disks.test_regf import TEXT, Bytes, source
from tests.windows_disks import MIB

__all__ = ["source"]
RECORD, BLOCK, BINS = 1024, 4096, 4096
WANTED = ("", "a", "a\\large", "a\\0", "a\\199", "b\\c\\d", "linked")
# What is looked at of an undamaged volume takes some hundred readings.
MOST_READINGS = 60_000
Changes = Sequence[tuple[int, int, int]]  # which field, counted around; what becomes of it; how much


@dataclass(frozen=True, slots=True)
class Field:
    """`width` bytes from `at` on. own: how that place is written where such fields name places."""

    at: int
    width: int
    own: int


def changed(data: bytes, fields: Sequence[Field], changes: Changes) -> bytearray:
    mended = bytearray(data)
    for number, what, amount in changes:
        field = fields[number % len(fields)]
        most = (1 << 8 * field.width) - 1
        now = int.from_bytes(mended[field.at : field.at + field.width], "little")
        values = (0, 1, most, field.own, now + 1, now - 1, most // 2 + 1, amount)
        value = values[what % len(values)] & most
        mended[field.at : field.at + field.width] = value.to_bytes(field.width, "little")
    return mended


CHANGES = st.lists(
    st.tuples(st.integers(0, 1 << 20), st.integers(0, 7), st.integers(0, 1 << 16)), min_size=1, max_size=3
)


# NTFS


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A folder whose index is a tree, files inside and outside of their records, one with a list of attributes."""
    windows_disks.need_tools()
    work = tmp_path_factory.mktemp("volume")
    files = {f"a\\{number}": b"%d" % number for number in range(200)}
    files |= {"a\\large": content(1, 50_000), "b\\c\\d": b"1", "hiberfil.sys": bytes(5000)}
    tree = work / "tree"
    for name, data in files.items():
        path = tree.joinpath(*name.split("\\"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tree / "linked").write_bytes(content(2, 5000))
    for number in range(10):
        (tree / f"{number:02}{'n' * 150}").hardlink_to(tree / "linked")
    (work / "wim.ini").write_text("[ExclusionList]\n")
    image, wim = work / "v", work / "tree.wim"
    windows_disks.make_ntfs(image, 4 * MIB, 0, {}, work=work)
    options = ["--compress=none", "--no-acls", f"--config={work / 'wim.ini'}"]
    windows_disks.run("wimlib-imagex", "capture", tree, wim, *options)
    windows_disks.run("wimlib-imagex", "apply", wim, "1", image)
    return image.read_bytes()


@pytest.fixture(scope="module")
def volume_fields(volume: bytes) -> list[Field]:
    return list(fields_of_volume(volume))


def fields_of_volume(data: bytes) -> Iterator[Field]:
    cluster = 4096
    for at, width in ((0x0B, 2), (0x0D, 1), (0x28, 8), (0x30, 8), (0x40, 1), (0x44, 1)):
        yield Field(at, width, at)
    table = struct.unpack_from("<Q", data, 0x30)[0] * cluster
    for at in range(table, len(data), RECORD):
        number = (at - table) // RECORD
        if data[at : at + 4] != b"FILE":
            break
        if number in (0, 2, 3, 5) or (number > 23 and (number < 32 or number % 40 == 0)):
            yield from fields_of_record(data, at, number)
    for at in range(0, len(data), BLOCK):
        if data[at : at + 4] == b"INDX":
            yield from (
                Field(at + place, width, 0) for place, width in ((4, 2), (6, 2), (0x10, 8), (0x18, 4), (0x1C, 4))
            )
            yield from fields_of_index(data, at + 0x18)


def fields_of_record(data: bytes, record: int, number: int) -> Iterator[Field]:
    yield from (Field(record + place, 2, number) for place in (4, 6, 0x14, 0x16, 0x18))
    at = record + struct.unpack_from("<H", data, record + 0x14)[0]
    while (kind := struct.unpack_from("<I", data, at)[0]) != 0xFFFFFFFF:
        length = struct.unpack_from("<I", data, at + 4)[0]
        yield from (
            Field(at + place, width, at - record) for place, width in ((0, 4), (4, 4), (8, 1), (9, 1), (10, 2), (12, 2))
        )
        if data[at + 8]:
            yield from (
                Field(at + place, width, at - record)
                for place, width in ((0x10, 8), (0x18, 8), (0x20, 2), (0x28, 8), (0x30, 8), (0x38, 8))
            )
            begin = at + struct.unpack_from("<H", data, at + 0x20)[0]
            yield from (Field(place, 1, 0) for place in range(begin, at + length))
        else:
            size, value = struct.unpack_from("<IH", data, at + 0x10)
            yield from (Field(at + place, width, at - record) for place, width in ((0x10, 4), (0x14, 2)))
            if kind == 0x90:
                yield from fields_of_index(data, at + value + 0x10)
            if kind == 0x20:
                for entry in range(at + value, at + value + size, 32):
                    yield from (
                        Field(entry + place, width, number) for place, width in ((0, 4), (4, 2), (8, 8), (0x10, 6))
                    )
        at += length


def fields_of_index(data: bytes, header: int) -> Iterator[Field]:
    first, used = struct.unpack_from("<II", data, header)
    yield from (Field(header + place, 4, 0) for place in (0, 4, 8))
    at = header + first
    while at + 16 <= header + used:
        length, _, flags = struct.unpack_from("<HHH", data, at + 8)
        yield from (Field(at + place, width, 0) for place, width in ((0, 6), (8, 2), (10, 2), (12, 2), (16 + 0x40, 1)))
        if flags & 1:
            yield Field(at + length - 8, 8, 0)
        if flags & 2:
            return
        at += length


@given(changes=CHANGES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_volume(changes: Changes, volume: bytes, volume_fields: list[Field]) -> None:
    look_at_volume(bytes(changed(volume, volume_fields, changes)))


def look_at_volume(data: bytes) -> Mapping[str, object]:
    """What was found; an error is its message."""
    readings = 0

    def read(at: int, length: int) -> bytes:
        nonlocal readings
        readings += 1
        assert readings < MOST_READINGS and at >= 0 and 0 <= length <= len(data)
        return data[at : at + length]

    found: dict[str, object] = {}
    try:
        ntfs = Ntfs(read, 0)
    except Unreadable as error:
        return {"": error.message}
    for name in WANTED:
        try:
            found[f"{name}*"] = ntfs.names(name)
            if file := ntfs.file(name):
                found[name] = file.read(0, 60_000)
                with contextlib.suppress(Unreadable):  # in its record
                    assert all(
                        place.at is None or 0 <= place.at <= len(data) - place.length
                        for place in file.places(0, min(file.size, 60_000))
                    )
        except Unreadable as error:
            found[name] = error.message
    for flag in ("dirty", "asleep"):
        with contextlib.suppress(Unreadable):
            assert getattr(ntfs, flag) in (True, False)
    return found


def test_an_undamaged_volume_has_all_of_it(volume: bytes, volume_fields: list[Field]) -> None:
    found = look_at_volume(volume)
    assert found["a\\large"] == content(1, 50_000) and found["linked"] == content(2, 5000) and found["b\\c\\d"] == b"1"
    assert len(volume_fields) > 1500


# The registry


@pytest.fixture(scope="module")
def hive_fields(source: bytes) -> list[Field]:
    return list(fields_of_hive(source))


def fields_of_hive(data: bytes) -> Iterator[Field]:
    yield from (Field(place, 4, place) for place in (4, 36, 40))
    for page in range(BINS, len(data), 4096):
        if data[page : page + 4] != b"hbin":
            continue
        at, end = page + 32, page + struct.unpack_from("<I", data, page + 8)[0]
        while at < end:
            size = abs(struct.unpack_from("<i", data, at)[0])
            yield from fields_of_cell(data, at, size)
            at += size


def fields_of_cell(data: bytes, at: int, size: int) -> Iterator[Field]:
    own = at - BINS
    yield Field(at, 4, own)
    kinds: dict[bytes, Sequence[tuple[int, int]]] = {
        b"nk": [(0, 2), (2, 2), (16, 4), (20, 4), (28, 4), (36, 4), (40, 4), (44, 4), (72, 2)],
        b"vk": [(0, 2), (2, 2), (4, 4), (8, 4), (12, 4), (16, 2)],
        b"lf": [(0, 2), (2, 2), *((place, 4) for place in range(4, min(size - 8, 100), 8))],
        b"lh": [(0, 2), (2, 2), *((place, 4) for place in range(4, min(size - 8, 100), 8))],
        b"db": [(0, 2), (2, 2), (4, 4)],
        b"sk": [(4, 4), (8, 4), (12, 4)],
    }
    for place, width in kinds.get(data[at + 4 : at + 6], [(place, 4) for place in range(0, min(size - 8, 60), 4)]):
        yield Field(at + 4 + place, width, own)


class Headless(Bytes):
    """Takes nothing into its head: sequence numbers and checksum are there."""

    def write(self, at: int, data: bytes) -> None:
        assert at >= BINS
        super().write(at, data)


@given(changes=CHANGES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_hive(
    changes: Changes,
    source: bytes,
    hive_fields: list[Field],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(regf, "_MOST_CELLS", 5000)  # else a circle of keys takes seconds until it is known as one
    data = changed(source, hive_fields, changes)
    checksum = 0
    for (word,) in struct.iter_unpack("<I", data[:508]):
        checksum ^= word
    struct.pack_into("<I", data, 508, {0: 1, 0xFFFFFFFF: 0xFFFFFFFE}.get(checksum, checksum))
    file = Headless(bytes(data))
    try:
        hive = ChangingHive("H", file)
    except Unreadable:
        return
    for act in (
        lambda: [hive.value("A", name) for name in hive.names("A") or ()], lambda: hive.keys("A\\B\\C"),
        lambda: hive.set("A", "number", 5), lambda: hive.set("A", "text", "x"), lambda: hive.set("A", "several", ["y"]),
        lambda: hive.delete("A", "large"), lambda: hive.delete("A\\B"), lambda: hive.delete("A"),
        hive.control_sets, hive.control_set,
    ):  # fmt: skip
        with contextlib.suppress(Unreadable):
            act()
    assert len(file.data) == len(source) and file.data[:BINS] == data[:BINS]


def test_there_are_fields(hive_fields: list[Field]) -> None:
    assert len(hive_fields) > 80 and "[HKEY_LOCAL_MACHINE\\SYSTEM\\A\\B\\C]" in TEXT
