"""Windows on disks that others made: read, and changed where it lies."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.disks import Unreadable
from aibemu.disks.hives import CONFIG, NoWindows, open_windows
from aibemu.disks.nbd import DiskBytes
from aibemu.disks.regf_changes import ChangingHive
from aibemu.processes import run_tool
from tests import windows_disks
from tests.unit.disks.test_regf import Bytes
from tests.windows_disks import LAYOUTS, MIB, Registry, differing

SERVICES, VERSION = "ControlSet001\\Services", "Microsoft\\Windows NT\\CurrentVersion"
FILES = {
    "Windows\\Panther\\unattend.xml": b"<unattend/>",
    "Windows\\Temp\\large.bin": bytes(range(256)) * 4096,
    **{f"Windows\\System32\\many\\File number {number}.dll": b"%d" % number for number in range(600)},
}
REGISTRY = Registry(control_sets=(1, 2), overrides={"pci": 3, "storahci": 3}, services=("RdAgent",))


@pytest.fixture(scope="module")
def hives() -> dict[str, bytes]:
    windows_disks.need_tools()
    return windows_disks.hives(REGISTRY)


@pytest.fixture(scope="module")
def made(hives: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw disk of generation 1; tests copy it."""
    return windows_disks.make_disk(tmp_path_factory.mktemp("made") / "disk.raw", "gen1", hives=hives, files=FILES)


@pytest.fixture
def disk(made: Path, tmp_path: Path) -> Iterator[Path]:
    copy = tmp_path / "disk.raw"
    shutil.copy(made, copy)
    yield copy


@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_is_found_in_each_layout(layout: str, hives: dict[str, bytes], tmp_path: Path) -> None:
    disk = windows_disks.make_disk(tmp_path / "disk.qcow2", layout, hives=hives, format="qcow2")
    with open_windows(disk, None, forever()) as windows:
        system = windows.hive("SYSTEM")
        assert system.control_sets() == ["ControlSet001", "ControlSet002"]
        assert system.value("controlset002\\services\\PCI\\startoverride", "0") == 3
        assert (
            windows.hive("SOFTWARE").value("Microsoft\\Windows NT\\CurrentVersion", "ProductName") == REGISTRY.product
        )
        assert not windows.dirty and not windows.asleep


def test_files_are_read_as_ntfs_3g_reads_them(disk: Path) -> None:
    with open_windows(disk, None, forever()) as windows:
        assert windows.list("") == ["Users", "Windows"]
        assert windows.list("Windows/System32/Many") == sorted(
            name.rpartition("\\")[2] for name in FILES if "many" in name
        )
        assert windows.list("Windows\\nothing") is None and windows.list("Windows\\explorer.exe") is None
        assert windows.exists("windows\\PANTHER") and not windows.exists("Windows\\Panther\\x")
        assert windows.read("Windows\\Panther") is None and windows.read("Windows\\Panther\\unattend.xml\\x") is None
        for name, content in FILES.items():
            if "many" not in name or name.endswith("7.dll"):
                assert windows.read(name) == content
        assert windows.read("Windows\\explorer.exe") == windows_disks.ntfs_read(disk, "gen1", "Windows\\explorer.exe")


def test_a_change_is_what_libhivex_reads_and_nothing_else_changes(disk: Path, made: Path, tmp_path: Path) -> None:
    with open_windows(disk, None, forever(), writable=True) as windows:
        hive = windows.hive("SYSTEM")
        assert not windows.changed
        assert hive.delete(f"{SERVICES}\\pci\\StartOverride")
        assert not hive.delete(f"{SERVICES}\\pci\\StartOverride") and not hive.delete(f"{SERVICES}\\no such\\key")
        hive.set(f"{SERVICES}\\e1i65x64", "Start", 0)
        assert hive.number(f"{SERVICES}\\E1I65X64", "start") == 0 and not hive.exists(f"{SERVICES}\\pci\\StartOverride")
        assert windows.changed
        assert disk.read_bytes() == made.read_bytes(), "nothing is written before save"
        windows.save()
        assert not windows.changed
    before, after = tmp_path / "before", tmp_path / "after"
    name = "Windows\\System32\\config\\SYSTEM"
    for path, image in ((before, made), (after, disk)):
        path.write_bytes(windows_disks.ntfs_read(image, "gen1", name))
    said = windows_disks.hive_text(before)
    section = '[\\ControlSet001\\Services\\pci\\StartOverride]\n"0"=dword:00000003\n\n'
    driver = said[said.index("[\\ControlSet001\\Services\\e1i65x64]") :].partition("\n\n")[0]
    switched_on = driver.replace('"Start"=dword:00000003', '"Start"=dword:00000000')
    assert section in said and switched_on != driver
    assert windows_disks.hive_text(after) == said.replace(section, "", 1).replace(driver, switched_on, 1)
    _same_but_for_file(made, disk, before, after)


def _same_but_for_file(made: Path, disk: Path, before: Path, after: Path) -> None:
    """Every byte of the disk is as it was, those of the one file excepted."""
    differ, inside = (differing(one.read_bytes(), other.read_bytes()) for one, other in ((made, disk), (before, after)))
    assert 0 < len(differ) == len(inside) < 80


@pytest.mark.parametrize("format", ["qcow2", "vpc", "vhdx"])
def test_other_formats_are_changed_where_they_are(format: str, disk: Path, tmp_path: Path) -> None:
    image = tmp_path / f"disk.{format}"
    run_tool(["qemu-img", "convert", "-O", format, disk, image], deadline=forever())
    with open_windows(image, None, forever(), writable=True) as windows:
        windows.hive("SYSTEM").delete(f"{SERVICES}\\pci\\StartOverride")
        windows.save()
    with open_windows(image, None, forever()) as windows:
        hive = windows.hive("SYSTEM")
        assert not hive.exists(f"{SERVICES}\\pci\\StartOverride") and hive.exists(
            f"{SERVICES}\\storahci\\StartOverride"
        )


def test_what_is_not_saved_is_not_written(disk: Path, made: Path) -> None:
    with open_windows(disk, None, forever(), writable=True) as windows:
        windows.hive("SYSTEM").delete("ControlSet002")
        windows.hive("SOFTWARE").set(VERSION, "UBR", 1)
    assert disk.read_bytes() == made.read_bytes()


def test_a_disk_without_windows_is_told(tmp_path: Path) -> None:
    windows_disks.need_tools()
    disk = windows_disks.make_disk(tmp_path / "disk.raw", "gen1", hives={}, files={f"{CONFIG}\\": b""})
    (tmp_path / "zeros").write_bytes(bytes(MIB))
    with (
        pytest.raises(NoWindows, match=r"there is no Windows on .*zeros"),
        open_windows(tmp_path / "zeros", "raw", forever()),
    ):
        pass
    with open_windows(disk, None, forever()) as windows, pytest.raises(Unreadable, match="hive SYSTEM is missing"):
        windows.hive("SYSTEM")


def test_of_two_windows_none_is_taken(hives: dict[str, bytes], tmp_path: Path) -> None:
    """Nobody but its boot loader knows which of them boots."""
    disk = windows_disks.make_disk(tmp_path / "disk.raw", "gen1-reserved", hives=hives)
    (start, size), work = (windows_disks.ntfs_start("gen1-reserved"), 40 * MIB), tmp_path / "work"
    work.mkdir()
    first = tmp_path / "two.raw"
    starts = windows_disks.write_table(first, "dos", [(40, "7"), (40, "7")])
    volume = work / "c"
    volume.write_bytes(disk.read_bytes()[start : start + size])
    for at in starts:
        windows_disks.put(first, at, volume)
    with pytest.raises(Unreadable, match="there are 2 Windows on"), open_windows(first, "raw", forever()):
        pass
    with first.open("r+b") as stream:  # of the second one nothing but its name is left
        stream.seek(starts[1] + 0x30)
        stream.write(b"\xff" * 8)
    with open_windows(first, "raw", forever()) as windows:
        assert windows.hive("SYSTEM").control_sets()


@pytest.mark.parametrize(
    ("begin", "why"), [(b"ReFS\0\0\0\0", "ReFS, which is not read"), (b"-FVE-FS-", "encrypted by BitLocker")]
)
def test_what_is_not_ntfs_is_told(begin: bytes, why: str, disk: Path) -> None:
    with disk.open("r+b") as stream:
        stream.seek(windows_disks.ntfs_start("gen1") + 3)
        stream.write(begin)
    with pytest.raises(Unreadable, match=why) as told, open_windows(disk, "raw", forever()):
        pass
    assert not isinstance(told.value, NoWindows)


@pytest.mark.parametrize(("current", "expected"), [(2, "ControlSet002"), (3, None), (None, None)])
def test_the_control_set_that_is_in_use(current: int | None, expected: str | None, tmp_path: Path) -> None:
    windows_disks.need_tools()
    text = Registry(control_sets=(1, 2)).text("SYSTEM")
    wanted = f'"{"None" if current is None else "Current"}"=dword:{current or 1:08x}'
    path = windows_disks.make_hive(tmp_path / "H", "SYSTEM", text.replace('"Current"=dword:00000001', wanted))
    hive = ChangingHive("SYSTEM", Bytes(path.read_bytes()))
    if expected:
        assert hive.control_set() == expected
    else:
        with pytest.raises(Unreadable, match="which of its control sets is in use"):
            hive.control_set()


def test_what_is_saved_is_on_the_hosts_disk(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def heard(name: str) -> Callable[..., object]:
        real = getattr(DiskBytes, name)

        def call(*words: object) -> object:
            asked.append(name)
            return real(*words)

        return call

    for name in ("write", "flush"):
        monkeypatch.setattr(DiskBytes, name, heard(name))
    with open_windows(disk, None, forever(), writable=True) as windows:
        windows.save()
        assert asked == [], "nothing was changed"
        windows.hive("SYSTEM").delete(f"{SERVICES}\\pci\\StartOverride")
        windows.save()
    assert asked[-1] == "flush" and asked.count("flush") == 1 and len(asked) > 1


def test_a_hive_with_a_log_is_read_and_not_changed(disk: Path, made: Path, hives: dict[str, bytes]) -> None:
    """What Windows reads of its log at the next start would win, or break what was changed."""
    data = bytearray(disk.read_bytes())
    at = data.index(hives["SYSTEM"][:4096])
    data[at + 4] += 1
    checksum = 0
    for (word,) in struct.iter_unpack("<I", data[at : at + 508]):
        checksum ^= word
    struct.pack_into("<I", data, at + 508, checksum)
    disk.write_bytes(data)
    with open_windows(disk, None, forever(), writable=True) as windows:
        hive = windows.hive("SYSTEM")
        assert hive.dirty and hive.control_set() == "ControlSet001"
        windows.hive("SOFTWARE").set(VERSION, "UBR", 1)
        hive.delete(f"{SERVICES}\\pci\\StartOverride")
        with pytest.raises(Unreadable, match="hive SYSTEM was not closed properly"):
            windows.save()
    assert disk.read_bytes() == data


def test_a_file_is_overwritten_where_it_lies(disk: Path, made: Path) -> None:
    for name in ("Windows\\Panther\\unattend.xml", "Windows\\Temp\\large.bin"):
        wanted = FILES[name].swapcase()[::-1]
        with open_windows(disk, None, forever(), writable=True) as windows:
            with pytest.raises(Unreadable, match="there is no"):
                windows.overwrite(name, wanted + b"1")
            windows.overwrite(name, FILES[name])
            assert not windows.changed
            windows.overwrite(name, wanted)
            assert windows.changed and windows.read(name.upper()) == wanted, "who reads sees it"
            windows.save()
            assert not windows.changed and windows.read(name) == wanted
        assert windows_disks.ntfs_read(disk, "gen1", name) == wanted
    assert len(differing(made.read_bytes(), disk.read_bytes())) <= sum(map(len, FILES.values()))
