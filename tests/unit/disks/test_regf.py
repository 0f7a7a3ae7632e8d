"""Registry hives that libhivex wrote, and in shapes that only Windows writes; changed, and damaged."""

from __future__ import annotations

import contextlib
import random
import struct
from pathlib import Path

import pytest

from aibemu.disks import Unreadable, regf
from aibemu.disks.regf import MULTI_SZ, SZ, Hive
from aibemu.disks.regf_changes import ChangingHive
from tests import windows_disks

TEXT = (
    "Windows Registry Editor Version 5.00\r\n\r\n"
    "[HKEY_LOCAL_MACHINE\\SYSTEM\\A]\r\n"
    '@="default"\r\n"text"=hex(1):74,00,e4,00,78,00,74,00,00,00\r\n"number"=dword:0000002a\r\n"long"=hex(b):01,00,00,00,02,00,00,00\r\n'
    '"bytes"=hex:01,02,03,04,05\r\n"several"=hex(7):61,00,00,00,62,00,63,00,00,00,00,00\r\n'
    '"path"=hex(2):25,00,61,00,25,00,00,00\r\n"empty"=hex(7):\r\n'
    f'"large"=hex:{",".join(["ab"] * 40000)}\r\n\r\n'
    "[HKEY_LOCAL_MACHINE\\SYSTEM\\A\\B]\r\n\r\n[HKEY_LOCAL_MACHINE\\SYSTEM\\A\\B\\C]\r\n"
    '"x"=dword:00000001\r\n"y"="why"\r\n\r\n'
    "[HKEY_LOCAL_MACHINE\\SYSTEM\\D]\r\n\r\n"
)


class Bytes:
    """A hive in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, at: int, length: int) -> bytes:
        return bytes(self.data[max(at, 0) : max(at + length, 0)])

    def write(self, at: int, data: bytes) -> None:
        assert at >= 0 and at + len(data) <= len(self.data)
        self.data[at : at + len(data)] = data


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    windows_disks.need_tools()
    return windows_disks.make_hive(tmp_path_factory.mktemp("hive") / "H", "SYSTEM", TEXT).read_bytes()


def exported(hive: Bytes, tmp_path: Path) -> str:
    """What libhivex reads."""
    (tmp_path / "hive").write_bytes(hive.data)
    return windows_disks.hive_text(tmp_path / "hive")


def test_values_of_each_kind(source: bytes) -> None:
    hive = Hive("H", Bytes(source))
    expected: dict[str, object] = {
        "": "default", "text": "t\u00e4xt", "number": 42, "long": 1 | 2 << 32, "bytes": b"\1\2\3\4\5",
        "several": ["a", "bc"], "path": "%a%", "empty": [], "large": b"\xab" * 40000,
    }  # fmt: skip
    assert {name: hive.value("a", name) for name in hive.names("A") or ()} == expected
    assert hive.keys("") == ["A", "D"] and hive.keys("a\\b") == ["C"] and hive.keys("D") == []
    assert hive.keys("A\\none") is None and hive.names("none") is None and hive.value("D", "x") is None
    assert hive.text("A", "NUMBER") == "" and hive.number("A", "text") is None
    assert not hive.dirty and hive.exists("") and hive.exists("\\A\\B\\") and not hive.exists("B")


def test_changes_are_what_libhivex_reads(source: bytes, tmp_path: Path) -> None:
    data = Bytes(source)
    before = exported(data, tmp_path)
    hive = ChangingHive("H", data)
    hive.set("A", "number", 7)
    hive.set("A", "text", "abc")
    hive.set("A", "several", ["x"])
    assert hive.delete("A", "bytes") and not hive.delete("A", "bytes") and not hive.delete("none", "x")
    assert hive.delete("A\\B\\C", "x")
    expected = before.replace("dword:0000002a", "dword:00000007").replace('"bytes"=hex(3):01,02,03,04,05\n', "")
    expected = expected.replace('"x"=dword:00000001\n', "")
    assert '"bytes"=hex(3):' in before
    now = exported(data, tmp_path)
    for name in ("text", "several"):
        assert _line(now, name) != _line(before, name)
        expected = expected.replace(_line(before, name), _line(now, name))
    assert now == expected and len(data.data) == len(source)
    assert (hive.value("A", "text"), hive.value("A", "several")) == ("abc", ["x"])


def _line(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f'"{name}"='))


def test_keys_that_are_deleted_are_gone_with_all_below(source: bytes, tmp_path: Path) -> None:
    data = Bytes(source)
    hive = ChangingHive("H", data)
    assert not hive.delete("") and not hive.delete("A\\none")
    assert hive.delete("a\\B")
    assert hive.keys("A") == [] and "large" in (hive.names("A") or [])
    assert hive.delete("A") and hive.keys("") == ["D"]
    assert exported(data, tmp_path).split("\n\n")[1:] == ["[\\]", "[\\D]", ""]
    assert hive.delete("D") and hive.keys("") == []
    windows_disks.edit_hive(tmp_path / "hive", "SYSTEM", TEXT)  # it is whole: libhivex goes on with it


def test_a_security_descriptor_knows_how_many_keys_have_it(source: bytes) -> None:
    """Windows frees one that nobody has; the last key's stays, for nothing else of the hive is looked at."""
    data = Bytes(source)
    at = next(place for place in range(4096, len(source), 8) if source[place + 4 : place + 6] == b"sk")

    def users() -> int:
        return int(struct.unpack_from("<I", data.data, at + 4 + 12)[0])

    hive = ChangingHive("H", data)
    assert users() == 5, "the root, A, B, C, D"
    assert hive.delete("A", "bytes") and users() == 5
    assert hive.delete("A") and users() == 2
    struct.pack_into("<I", data.data, at + 4 + 12, 1)
    assert hive.delete("D") and users() == 1


def test_a_value_that_does_not_fit_is_refused(source: bytes, tmp_path: Path) -> None:
    data = Bytes(source)
    hive = ChangingHive("H", data)
    for name, value in (("text", "x" * 100), ("none", 1), ("number", "12345")):
        with pytest.raises(Unreadable):
            hive.set("A", name, value)
    assert data.data == source
    hive.set("A", "path", ["y"], MULTI_SZ)
    hive.set("A", "number", "", SZ)
    assert hive.value("A", "path") == ["y"] and hive.value("A", "number") == ""
    assert '"number"=hex(1):00,00\n' in exported(data, tmp_path)


@pytest.mark.parametrize("kind", [b"li", b"ri"])
def test_lists_that_only_windows_writes(kind: bytes, tmp_path: Path) -> None:
    """`li` without hashes; `ri`, a list of lists, which a key with many keys below it has."""
    windows_disks.need_tools()
    keys = "".join(f"[HKEY_LOCAL_MACHINE\\SYSTEM\\S\\k{number:03}]\r\n\r\n" for number in range(60))
    made = windows_disks.make_hive(tmp_path / "H", "SYSTEM", f"Windows Registry Editor Version 5.00\r\n\r\n{keys}")
    data = Bytes(relisted(made.read_bytes(), kind))
    assert len(ChangingHive("H", data).keys("S") or []) == 60
    assert exported(data, tmp_path).count("[\\S\\k") == 60, "libhivex takes it, too"
    hive = ChangingHive("H", data)
    for number in (0, 59, 30, 31):
        assert hive.delete(f"S\\K{number:03}")
    assert len(hive.keys("S") or []) == 56 == exported(data, tmp_path).count("[\\S\\k")
    for number in range(31):
        hive.delete(f"S\\k{number:03}")
    if kind == b"ri":  # the list of these is free, and no list of nothing is listed
        first = len(made.read_bytes()) + 32
        assert struct.unpack_from("<i", data.data, first)[0] > 0
        at = data.data.index(b"ri", first)
        assert struct.unpack_from("<i2sH", data.data, at - 4)[1:] == (b"ri", 1)
    for number in range(60):
        hive.delete(f"S\\k{number:03}")
    assert hive.keys("S") == [] and exported(data, tmp_path).count("[\\S\\k") == 0


def relisted(source: bytes, kind: bytes) -> bytes:
    """The same hive with another kind of list below the key S, in a page of its own at the end."""
    data = bytearray(source)
    at = next(place for place in range(4096, len(data), 8) if data[place + 4 : place + 6] == b"nk"
              and data[place + 76 : place + 81] == b"\1\0\0\0S")  # fmt: skip
    offset = struct.unpack_from("<I", data, at + 4 + 28)[0]
    cell = 4096 + offset + 4
    count = struct.unpack_from("<H", data, cell + 2)[0]
    found = [struct.unpack_from("<I", data, cell + 4 + 8 * number)[0] for number in range(count)]
    page = len(data) - 4096
    lists: list[bytes] = []
    if kind == b"li":
        lists.append(struct.pack(f"<2sH{count}I", b"li", count, *found))
    else:
        places = [page + 32]
        for part in (found[:31], found[31:]):
            entries = b"".join(struct.pack("<I4s", one, b"hash") for one in part)
            lists.append(struct.pack("<2sH", b"lf", len(part)) + entries)
            places.append(places[-1] + len(_cell(lists[-1])))
        lists.append(struct.pack("<2sHII", b"ri", 2, *places[:2]))
    cells = b"".join(map(_cell, lists))
    struct.pack_into("<I", data, at + 4 + 28, page + 32 + len(cells) - len(_cell(lists[-1])))
    return with_bin(data, cells)


def with_bin(data: bytearray, cells: bytes) -> bytes:
    """A hive with these cells in a bin of their own at its end."""
    size = -(-(32 + len(cells) + 8) // 4096) * 4096
    rest = size - 32 - len(cells)
    head = struct.pack("<4sIIQQI", b"hbin", len(data) - 4096, size, 0, 0, 0)
    data += head + cells + struct.pack("<i", rest).ljust(rest, b"\0")
    struct.pack_into("<I", data, 40, len(data) - 4096)
    checksum = 0
    for (word,) in struct.iter_unpack("<I", data[:508]):
        checksum ^= word
    struct.pack_into("<I", data, 508, checksum)
    return bytes(data)


def in_parts(source: bytes, content: bytes) -> bytes:
    """The same hive whose value `large` is in several cells, as Windows writes what has more than 16344 bytes."""
    data = bytearray(source)
    at = next(place for place in range(4096, len(data), 8) if data[place + 4 : place + 6] == b"vk"
              and data[place + 24 : place + 29] == b"large")  # fmt: skip
    parts = [content[begin : begin + 16344] for begin in range(0, len(content), 16344)]
    cells, places = b"", []
    first = len(data) - 4096 + 32
    for part in parts:
        places.append(first + len(cells))
        cells += _cell(part + b"rest")
    listed = first + len(cells)
    cells += _cell(struct.pack(f"<{len(places)}I", *places))
    struct.pack_into("<II", data, at + 4 + 4, len(content), first + len(cells))
    cells += _cell(struct.pack("<2sHII", b"db", len(parts), listed, 0))
    return with_bin(data, cells)


def test_a_value_in_several_cells(source: bytes, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(40_000)
    data = Bytes(in_parts(source, content))
    first = len(source) + 32
    hive = ChangingHive("H", data)
    assert hive.value("A", "large") == content
    assert f'"large"=hex(3):{",".join(f"{byte:02x}" for byte in content)}\n' in exported(data, tmp_path)
    with pytest.raises(Unreadable, match="no room"):
        hive.set("A", "large", b"12345")
    assert hive.delete("A", "large")
    at, free = first, []
    while at < len(data.data):
        free.append(struct.unpack_from("<i", data.data, at)[0])
        at += abs(free[-1])
    assert len(free) == 6 and all(size > 0 for size in free), "three parts, their list, its head, the rest"
    assert "large" not in exported(data, tmp_path)


def _cell(data: bytes) -> bytes:
    size = -(-(len(data) + 4) // 8) * 8
    return struct.pack("<i", -size) + data.ljust(size - 4, b"\0")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: b"", "it is empty"),
        (lambda data: bytes(len(data)), "it is empty"),
        (lambda data: b"MZ" + data[2:], "does not begin as a hive"),
        (lambda data: data[:8192], "is cut off"),
        (lambda data: data[:300], "does not begin as a hive"),
        (lambda data: data[:40] + b"\xff" + data[41:], "its checksum is wrong"),
        (lambda data: data[:4096] + bytes(len(data) - 4096), "leads nowhere"),
    ],
)
def test_damage_is_told(change: object, why: str, source: bytes) -> None:
    with pytest.raises(Unreadable, match=f"the registry hive SYSTEM .*{why}"):
        ChangingHive("SYSTEM", Bytes(change(source))).keys("")  # type: ignore[operator]


def test_a_hive_whose_newest_changes_are_in_its_log_is_known(source: bytes) -> None:
    data = bytearray(source)
    struct.pack_into("<I", data, 4, struct.unpack_from("<I", data, 8)[0] + 1)
    checksum = 0
    for (word,) in struct.iter_unpack("<I", data[:508]):
        checksum ^= word
    struct.pack_into("<I", data, 508, checksum)
    assert Hive("H", Bytes(bytes(data))).dirty


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_hive_gives_one_error(seed: int, source: bytes) -> None:
    """Whatever is damaged: an answer or `Unreadable`, soon, and never a byte beyond the file."""
    chance = random.Random(seed)
    data = bytearray(source)
    for _ in range(chance.choice([1, 5, 50, 500])):
        data[chance.randrange(4096, min(len(data), 4096 + 8192))] = chance.choice([0, 255, 1, chance.randrange(256)])
    hive = ChangingHive("H", Bytes(bytes(data)))
    for act in (
        lambda: [hive.value("A", name) for name in hive.names("A") or ()], lambda: hive.keys("A\\B\\C"),
        lambda: hive.delete("A", "large"), lambda: hive.delete("A\\B"), lambda: hive.delete("A"), hive.control_sets,
    ):  # fmt: skip
        with contextlib.suppress(Unreadable):
            act()


def test_a_circle_of_keys_ends(source: bytes) -> None:
    """A key that is below itself."""
    data = bytearray(source)
    at = next(
        place for place in range(4096, len(data), 8)
        if data[place + 4 : place + 6] == b"nk" and data[place + 80 : place + 81] == b"B"
    )  # fmt: skip
    listed = 4096 + struct.unpack_from("<I", data, at + 4 + 28)[0]
    struct.pack_into("<I", data, listed + 4 + 4, at - 4096)
    hive = ChangingHive("H", Bytes(bytes(data)))
    assert hive.keys("A\\B\\B\\B") == ["B"]
    with pytest.raises(Unreadable, match=r"nested without end|does not end"):
        hive.delete("A\\B")


def test_a_list_that_names_the_same_again_and_again_ends(source: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of 500 lists, which are all one that names D 500 times."""
    monkeypatch.setattr(regf, "_MOST_CELLS", 5000)
    data = bytearray(source)
    places = {
        name: next(at for at in range(4096, len(data), 8)
                   if data[at + 4 : at + 6] == b"nk" and data[at + 76 : at + 81] == b"\1\0\0\0" + name)
        for name in (b"A", b"D")
    }  # fmt: skip
    first = len(data) - 4096 + 32
    keys = _cell(struct.pack("<2sH", b"li", 500) + struct.pack("<I", places[b"D"] - 4096) * 500)
    lists = _cell(struct.pack("<2sH", b"ri", 500) + struct.pack("<I", first) * 500)
    struct.pack_into("<I", data, places[b"A"] + 4 + 28, first + len(keys))
    hive = ChangingHive("H", Bytes(with_bin(data, keys + lists)))
    for act in (lambda: hive.keys("A"), lambda: hive.delete("A"), lambda: hive.exists("A\\x")):
        with pytest.raises(Unreadable, match="does not end"):
            act()


class Endless:
    """A file of a terabyte that looks like a hive in each page."""

    size = 1 << 40

    def __init__(self, source: bytes) -> None:
        self.head = bytearray(source[:4096])
        struct.pack_into("<I", self.head, 40, 0xFFFFF000)
        checksum = 0
        for (word,) in struct.iter_unpack("<I", self.head[:508]):
            checksum ^= word
        struct.pack_into("<I", self.head, 508, checksum)
        self.rest = source[4096:]

    def read(self, at: int, length: int) -> bytes:
        if at < 4096:
            return bytes(self.head[at : at + length])
        place = (at - 4096) % len(self.rest)
        return (self.rest[place : place + length]).ljust(length, b"\1")


def test_a_giant_hive_costs_what_is_asked_of_it(source: bytes) -> None:
    hive = Hive("H", Endless(source))  # type: ignore[arg-type]
    assert hive.keys("") == ["A", "D"] and hive.number("A", "number") == 42
