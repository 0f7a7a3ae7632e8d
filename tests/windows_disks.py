"""Disks as Windows images have them, made by others than aibemu: partition tables by sfdisk, NTFS by mkntfs, folders
and files by wimlib (as Windows' own Setup applies an image), registry hives by libhivex.

    make_disk(tmp_path / "disk.raw", "gen2", hives=hives(overrides={"pci": 3}), files={"Windows\\\\OEM\\\\x": b""})

What is not on it: boot loaders, drivers that are any, anything that could boot.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

import pytest

MIB = 1024 * 1024
PROGRAMS = ("mkntfs", "wimlib-imagex", "hivexregedit", "sfdisk", "mkfs.vfat", "mcopy", "qemu-img")
_ESP, _MSR, _DATA, _RECOVERY = (
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "E3C9E316-0B5C-4DB8-817D-F92DF00215AE",
    "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC",
)  # fmt: skip
# (what it is, MiB, type) of each partition; `c` has Windows. As Microsoft's images have them, only smaller.
LAYOUTS: Mapping[str, tuple[str, Sequence[tuple[str, int, str]]]] = {
    "gen1": ("dos", [("c", 40, "7")]),
    "gen1-reserved": ("dos", [("reserved", 8, "7"), ("c", 40, "7")]),
    "gen2": ("gpt", [("esp", 34, _ESP), ("msr", 16, _MSR), ("c", 40, _DATA)]),
    "gen2-recovery": ("gpt", [("esp", 34, _ESP), ("msr", 16, _MSR), ("c", 40, _DATA), ("recovery", 8, _RECOVERY)]),
    "gen2-old": ("gpt", [("recovery", 8, _RECOVERY), ("esp", 34, _ESP), ("msr", 16, _MSR), ("c", 40, _DATA)]),
}
# Drivers with their Start values as a Server 2022 has them, and their files.
DRIVERS = {
    "ACPI": 0, "pci": 0, "storahci": 0, "stornvme": 0, "intelide": 0, "pciide": 0, "atapi": 0, "disk": 0, "partmgr": 0,
    "volmgr": 0, "mountmgr": 0, "vmbus": 0, "storvsc": 0, "vpci": 0, "storflt": 0, "e1i65x64": 3, "netvsc": 3,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """What the hives of a disk say; `text(hive)` is that as a .reg file."""

    control_sets: Sequence[int] = (1,)
    # Start of drivers, over `DRIVERS`; None: no such driver.
    start: Mapping[str, int | None] = field(default_factory=dict)
    # StartOverride: driver -> its value 0; in every control set.
    overrides: Mapping[str, int] = field(default_factory=dict)
    product: str = "Windows Server 2022 Datacenter Evaluation"
    edition: str = "ServerDatacenterEval"
    build: int = 20348
    revision: int = 169
    installation: str = "Server"
    image_state: str = "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE"
    setup_type: int = 2
    # Services besides: agents and the like.
    services: Sequence[str] = ()
    # More of a .reg file, by hive: keys begin with [HKEY_LOCAL_MACHINE\SYSTEM\...].
    more: Mapping[str, str] = field(default_factory=dict)

    def text(self, hive: str) -> str:
        head = "Windows Registry Editor Version 5.00\r\n\r\n"
        body = self._system() if hive == "SYSTEM" else self._software() if hive == "SOFTWARE" else ""
        return head + (body + self.more.get(hive, "")).replace("\r\n", "\n").replace("\n", "\r\n")

    def _system(self) -> str:
        top = "HKEY_LOCAL_MACHINE\\SYSTEM"
        parts = [_key(f"{top}\\Select", Current=1, Default=1, Failed=0, LastKnownGood=1)]
        parts += [_key(f"{top}\\Setup", SetupType=self.setup_type, SystemSetupInProgress=1, OOBEInProgress=1)]
        drivers = DRIVERS | dict(self.start)
        for number in self.control_sets:
            services = f"{top}\\ControlSet{number:03}\\Services"
            for name, start in drivers.items():
                if start is not None:
                    path = f"System32\\drivers\\{name.lower()}.sys"
                    parts.append(_key(f"{services}\\{name}", Start=start, Type=1, ErrorControl=3, ImagePath=path))
            for name, value in self.overrides.items():
                parts.append(_key(f"{services}\\{name}\\StartOverride", **{"0": value}))
            parts += [_key(f"{services}\\{name}", Start=2, Type=16) for name in self.services]
            parts.append(_key(f"{services}\\Tcpip\\Parameters", Hostname="WIN-TEST", DataBasePath="%SystemRoot%"))
        return "".join(parts)

    def _software(self) -> str:
        top = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft"
        version: dict[str, str | int] = {
            "ProductName": self.product, "EditionID": self.edition, "CurrentBuild": str(self.build),
            "CurrentBuildNumber": str(self.build), "UBR": self.revision, "InstallationType": self.installation,
            "CurrentMajorVersionNumber": 10,
        }  # fmt: skip
        return _key(f"{top}\\Windows NT\\CurrentVersion", **version) + _key(
            f"{top}\\Windows\\CurrentVersion\\Setup\\State", ImageState=self.image_state
        )


def _key(path: str, **values: str | int) -> str:
    lines = [f"[{path}]"]
    for name, value in values.items():
        said = f"dword:{value:08x}" if isinstance(value, int) else '"' + value.replace("\\", "\\\\") + '"'
        lines.append(f'"{name}"={said}')
    return "\n".join([*lines, "", ""])


def _with_parents(text: str) -> str:
    """A .reg file in which each key comes after the one above it, as libhivex wants it."""
    known: set[str] = set()
    lines = []
    for line in text.splitlines():
        names = line.strip("[]").split("\\") if line.startswith("[HKEY") else []
        for end in range(3, len(names)):
            above = "\\".join(names[:end])
            if above.lower() not in known:
                lines += [f"[{above}]", ""]
                known.add(above.lower())
        known.add("\\".join(names).lower())
        lines.append(line)
    return "\r\n".join([*lines, ""])


def need_tools() -> None:
    """Skip the test where a program is missing that makes these disks."""
    for program in PROGRAMS:
        if shutil.which(program, path=_path()) is None:
            pytest.skip(f"{program} is not installed (./test.sh --setup-only)")


def make_hive(path: Path, name: str, text: str) -> Path:
    """Write a hive with what a .reg file says, by libhivex."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(empty_hive())
    edit_hive(path, name, text)
    return path


def edit_hive(path: Path, name: str, text: str) -> None:
    """Merge a .reg file into a hive, by libhivex."""
    with tempfile.TemporaryDirectory() as folder:
        changes = Path(folder) / "changes.reg"
        changes.write_text(_with_parents(text), newline="")
        run("hivexregedit", "--merge", "--prefix", f"HKEY_LOCAL_MACHINE\\{name}", path, changes)


def hive_text(path: Path, key: str = "\\") -> str:
    """What libhivex reads out of a hive, as a .reg file."""
    return run("hivexregedit", "--export", path, key)


def hives(registry: Registry | None = None, **changes: object) -> dict[str, bytes]:
    """The hives of a Windows, by name: `hives(build=26100)`."""
    registry = registry or Registry(**changes)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        paths = [make_hive(Path(folder) / name, name, registry.text(name)) for name in ("SYSTEM", "SOFTWARE")]
        return {path.name: path.read_bytes() for path in paths}


def make_disk(
    path: Path, layout: str = "gen2", *, hives: Mapping[str, bytes], files: Mapping[str, bytes] | None = None,
    without: Sequence[str] = (), format: str = "raw",
) -> Path:  # fmt: skip
    """A disk image at `path`. hives: by name. files: by Windows path without a drive. The drivers of `DRIVERS` are
    there anyway, unless `without` has their paths."""
    content = {f"Windows\\System32\\drivers\\{name.lower()}.sys": b"MZ" for name in DRIVERS}
    content |= {f"Windows\\System32\\config\\{name}": data for name, data in hives.items()}
    content |= {"Windows\\Panther\\": b"", "Users\\Public\\": b"", "Windows\\explorer.exe": b"MZ" * 3000}
    content |= dict(files or {})
    for name in without:
        del content[name]
    label, parts = LAYOUTS[layout]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        work = Path(folder)
        raw = work / "disk.raw"
        starts = write_table(raw, label, [(size, kind) for _, size, kind in parts])
        for (what, size, _), start in zip(parts, starts, strict=True):
            if what != "msr":
                volume = _volume(work, what, size * MIB, start, content if what == "c" else {})
                put(raw, start, volume)
        if format == "raw":
            raw.rename(path)
        else:
            run("qemu-img", "convert", "-O", format, raw, path)
    return path


def write_table(raw: Path, label: str, parts: Sequence[tuple[int, str]]) -> list[int]:
    """Make a raw disk with a partition table; where each partition begins, in bytes."""
    starts: list[int] = []
    at = 1
    rows = [f"label: {label}", "unit: sectors"]
    for size, kind in parts:
        bootable = ", bootable" if label == "dos" and not starts else ""
        rows.append(f"start={at * MIB // 512}, size={size * MIB // 512}, type={kind}{bootable}")
        starts.append(at * MIB)
        at += size
    with raw.open("wb") as stream:
        stream.truncate((at + 2) * MIB)
    run("sfdisk", "--quiet", "--no-reread", raw, given="\n".join([*rows, ""]))
    return starts


def make_ntfs(
    volume: Path,
    size: int,
    start: int,
    files: Mapping[str, bytes],
    *,
    work: Path,
    cluster: int = 4096,
    sector: int = 512,
) -> None:
    """A file with an NTFS volume of `size` bytes that has these files; folders end with a backslash."""
    with volume.open("wb") as stream:
        stream.truncate(size)
    run(
        "mkntfs",
        "-q",
        "-Q",
        "-F",
        "-c",
        str(cluster),
        "-s",
        str(sector),
        "-p",
        str(start // sector),
        "-H",
        "255",
        "-S",
        "63",
        volume,
    )
    if not files:
        return
    tree = work / f"{volume.name}.tree"
    for name, data in files.items():
        target = tree.joinpath(*PureWindowsPath(name).parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("\\"):
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(data)
    # Without a list of its own wimlib leaves out what Windows' imaging does: hiberfil.sys, pagefile.sys ...
    (work / "wim.ini").write_text("[ExclusionList]\n")
    options = ["--compress=none", "--no-acls", f"--config={work / 'wim.ini'}"]
    run("wimlib-imagex", "capture", tree, work / "tree.wim", *options)
    run("wimlib-imagex", "apply", work / "tree.wim", "1", volume)
    shutil.rmtree(tree)


def put(raw: Path, start: int, volume: Path) -> None:
    """Copy what is not zeros of a volume to its place on the disk."""
    with volume.open("rb") as source, raw.open("r+b") as target:
        at = start
        while block := source.read(64 * 1024):
            if block.strip(b"\0"):
                target.seek(at)
                target.write(block)
            at += len(block)


def ntfs_start(layout: str) -> int:
    """Where the volume with Windows begins on a disk of `make_disk`, in bytes."""
    _, parts = LAYOUTS[layout]
    at = 1
    for what, size, _ in parts:
        if what == "c":
            return at * MIB
        at += size
    raise ValueError(layout)


def ntfs_read(disk: Path, layout: str, name: str) -> bytes:
    """A file of the volume with Windows, as ntfs-3g reads it. disk: raw."""
    _, parts = LAYOUTS[layout]
    size = next(size for what, size, _ in parts if what == "c")
    with tempfile.TemporaryDirectory() as folder:
        volume = Path(folder) / "c.img"
        with disk.open("rb") as source, volume.open("wb") as target:
            source.seek(ntfs_start(layout))
            target.write(source.read(size * MIB))
        done = subprocess.run(
            ["ntfscat", volume, name.replace("\\", "/")], capture_output=True, check=True, timeout=60,
            env=os.environ | {"PATH": _path()},
        )  # fmt: skip
    return done.stdout


def differing(one: bytes, other: bytes) -> list[int]:
    """Where two files of the same size differ."""
    assert len(one) == len(other)
    pages = [at for at in range(0, len(one), 4096) if one[at : at + 4096] != other[at : at + 4096]]
    return [place for at in pages for place in range(at, min(at + 4096, len(one))) if one[place] != other[place]]


def empty_hive() -> bytes:
    """A hive with nothing but its root and the root's security descriptor: what libhivex needs to add to."""
    root = struct.pack(
        "<2sHQIIIIIIIIIIIIIIIHH", b"nk", 0x2C, 0, 0, 0xFFFFFFFF, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0x80,
        0xFFFFFFFF, 0, 0, 0, 0, 0, 4, 0,
    ) + b"ROOT"  # fmt: skip
    descriptor = struct.pack("<BBHIIII", 1, 0, 0x8000, 0, 0, 0, 0)
    security = struct.pack("<2sHIIII", b"sk", 0, 0x60, 0x60, 1, len(descriptor)) + descriptor
    cells = bytearray(4096 - 32)
    for at, cell, size in ((0x20, root, 0x60), (0x80, security, 0x30)):
        cells[at - 32 : at - 32 + 4 + len(cell)] = struct.pack("<i", -size) + cell
    cells[0xB0 - 32 : 0xB4 - 32] = struct.pack("<i", 4096 - 0xB0)
    # The first cell begins right after the header of the bin.
    bin_ = struct.pack("<4sIIQQI", b"hbin", 0, 4096, 0, 0, 0) + bytes(cells)
    head = struct.pack("<4sIIQIIIIIII", b"regf", 1, 1, 0, 1, 5, 0, 1, 0x20, 4096, 1).ljust(508, b"\0")
    checksum = 0
    for (word,) in struct.iter_unpack("<I", head):
        checksum ^= word
    return (head + struct.pack("<I", checksum)).ljust(4096, b"\0") + bin_


def _volume(work: Path, what: str, size: int, start: int, files: Mapping[str, bytes]) -> Path:
    volume = work / f"{what}.img"
    if what == "esp":
        with volume.open("wb") as stream:
            stream.truncate(size)
        run("mkfs.vfat", "-F", "32", volume)
        loader = work / "BOOTX64.EFI"
        loader.write_bytes(b"MZ")
        run("mmd", "-i", volume, "::/EFI", "::/EFI/BOOT")
        run("mcopy", "-i", volume, loader, "::/EFI/BOOT/BOOTX64.EFI")
    else:
        make_ntfs(volume, size, start, files, work=work)
    return volume


def run(*words: str | Path, given: str | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in words], input=given, capture_output=True, text=True, timeout=120,
        env=os.environ | {"PATH": _path(), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, f"{words[0]}: {done.stdout}{done.stderr}"
    return done.stdout


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
