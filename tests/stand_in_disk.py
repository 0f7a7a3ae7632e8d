"""The system disk of a machine of the driver `stand-in`: what a guest of fixtures/guests has in its folder lies in the
image as an archive, so that outputs, validations and the next build see what a build left.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from fixtures.guests.installation import COMPLETE
from fixtures.guests.machine import WindowsMachine
from fixtures.guests.registry import SETUP_STATE

# Where on the disk: a sector with the mark and the archive's length, then the archive.
_AT, _SECTOR = 1 << 20, 512
_MARK = b"guest of fixtures/guests: "
_FOLDERS = ("c", "registry", "state")
# Of the state, what belongs to one machine, or to one start of it.
_OWN = ("boot", "power.json", "restart-wanted", "users.json", "noted", "noted.jsonl", "sysprep.json")


def store(machine: WindowsMachine, disk: Path) -> None:
    """Write the guest to the disk. A machine that is off calls it."""
    base = machine.guest.base
    starter = str(base / "starter")

    def keep(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        own = info.name.startswith("state/") and info.name.removeprefix("state/") in _OWN
        return None if own or (info.issym() and info.linkname == starter) else info

    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(_SECTOR))
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
            for name in _FOLDERS:
                archive.add(base / name, name, filter=keep)
        length = file.tell() - _SECTOR
        file.write(bytes(-length % _SECTOR))
        whole = file.tell()
        file.seek(0)
        file.write(_MARK + b"%d\n" % length)
        file.flush()
        _qemu(["qemu-io", "-f", "qcow2", "-c", f"write -q -s {file.name} {_AT} {whole}", str(disk)])


def load(machine: WindowsMachine, disk: Path) -> None:
    """Let a new guest be the one on its disk, if there is one: another machine that comes up from it."""
    head = _read(disk, _AT // _SECTOR, 1)
    if not head.startswith(_MARK):
        return
    length = int(head.removeprefix(_MARK).partition(b"\n")[0])
    guest = machine.guest
    _empty(guest.drive, str(guest.base / "starter"))
    shutil.rmtree(guest.base / "registry")
    with tempfile.TemporaryFile() as file:
        file.write(_read(disk, _AT // _SECTOR + 1, -(-length // _SECTOR))[:length])
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:gz") as archive:
            archive.extractall(guest.base, filter="fully_trusted")
    machine.registry.set(SETUP_STATE, "ImageState", COMPLETE)


def _empty(folder: Path, starter: str) -> None:
    """Remove all but the programs, which are links to this machine's own starter."""
    for entry in list(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            _empty(entry, starter)
            if not any(entry.iterdir()):
                entry.rmdir()
        elif not (entry.is_symlink() and os.readlink(entry) == starter):  # noqa: PTH115 (a text is compared)
            entry.unlink()


def _read(disk: Path, first: int, count: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "read"
        _qemu([
            "qemu-img", "dd", "-f", "qcow2", "-O", "raw", f"bs={_SECTOR}", f"skip={first}", f"count={first + count}",
            f"if={disk}", f"of={target}",
        ])  # fmt: skip
        return target.read_bytes()


def _qemu(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {done.stdout}{done.stderr}")
