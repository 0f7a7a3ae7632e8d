"""Windows on a disk image that is off: its files and registry, read and changed where they lie.

`open_windows` takes any format and any layout; nothing is converted, mounted or installed for it, and it takes about a
tenth of a second. Changes keep the size of what they change and are written by `WindowsDisk.save`, and only then: all
other bytes of the disk stay as they are, so that nothing of NTFS need be known but where a file lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.disks import Unreadable, convert
from aibemu.disks.nbd import DiskBytes
from aibemu.disks.ntfs import Ntfs, NtfsFile
from aibemu.disks.partitions import BITLOCKER, NTFS, REFS, Table, file_system_at, table_of
from aibemu.disks.regf_changes import ChangingHive

CONFIG = "Windows\\System32\\config"
# A file that is read as a whole: answer files, logs. A hive has more, but only pieces of it are asked for.
MOST = 8 << 20
_PAGE = 4096


class NoWindows(Unreadable):
    """The disk was read, and there is no Windows on it."""


class Pending:
    """A file with changes that are not written yet: whoever reads sees them."""

    def __init__(self, file: NtfsFile, disk: DiskBytes) -> None:
        self._file = file
        self._disk = disk
        self._pages: dict[int, bytearray] = {}

    @property
    def size(self) -> int:
        return self._file.size

    def read(self, at: int, length: int) -> bytes:
        data = self._file.read(at, length)
        numbers = range(at // _PAGE, -(-(at + len(data)) // _PAGE))
        if not any(number in self._pages for number in numbers):
            return data
        found = b"".join(self._page(number) for number in numbers)
        begin = at - numbers[0] * _PAGE
        return found[begin : begin + len(data)]

    def write(self, at: int, data: bytes) -> None:
        if at + len(data) > self.size:
            raise Unreadable(f"{self._file.path} ends before byte {at + len(data)}")
        for number in range(at // _PAGE, -(-(at + len(data)) // _PAGE)):
            begin = number * _PAGE
            page = self._pages.setdefault(number, bytearray(self._file.read(begin, _PAGE)))
            first, last = max(at, begin), min(at + len(data), begin + len(page))
            page[first - begin : last - begin] = data[first - at : last - at]

    def changed(self) -> list[tuple[int, bytes]]:
        """(place in the file, bytes) of what has become other than it is on the disk."""
        found: list[tuple[int, bytes]] = []
        for number, page in sorted(self._pages.items()):
            known = self._file.read(number * _PAGE, len(page))
            differ = [place for place, byte in enumerate(page) if byte != known[place]]
            if differ:
                found.append((number * _PAGE + differ[0], bytes(page[differ[0] : differ[-1] + 1])))
        return found

    def places(self) -> list[tuple[int, bytes]]:
        """(byte of the disk, bytes) of the same. Raises `Unreadable` for what has no place on the disk."""
        found: list[tuple[int, bytes]] = []
        for at, data in self.changed():
            for place in self._file.places(at, len(data)):
                if place.at is None:
                    raise Unreadable(f"{self._file.path} has a hole where it would change")
                found.append((place.at, data[: place.length]))
                data = data[place.length :]
        return found

    def forget(self) -> None:
        self._pages.clear()

    def _page(self, number: int) -> bytes:
        return bytes(self._pages.get(number) or self._file.read(number * _PAGE, _PAGE))


class WindowsDisk:
    """The volume that has Windows. Paths have `\\` or `/` between their names and no drive: `Windows\\Panther`."""

    def __init__(self, disk: DiskBytes, volume: Ntfs, table: Table) -> None:
        self._disk = disk
        self._volume = volume
        self._hives: dict[str, tuple[ChangingHive, Pending]] = {}
        self._files: dict[str, Pending] = {}
        self.table = table

    @property
    def dirty(self) -> bool:
        """Whether Windows did not close the volume; it may have changes that only its journal knows."""
        return self._volume.dirty

    @property
    def asleep(self) -> bool:
        """Whether Windows is hibernated (fast startup)."""
        return self._volume.asleep

    def read(self, path: str) -> bytes | None:
        """What is in a file; None if there is none. `Unreadable` for one above 8 MiB, a compressed or encrypted one."""
        file = self._files.get(path.lower()) or self._volume.file(path)
        if file is not None and file.size > MOST:
            raise Unreadable(f"{path} has {file.size} bytes, more than are read")
        return None if file is None else file.read(0, file.size)

    def overwrite(self, path: str, content: bytes) -> None:
        """Let a file of as many bytes as `content` has have that in it; `save` writes it. `Unreadable` for another."""
        file = self._volume.file(path)
        if file is None or file.size != len(content):
            raise Unreadable(f"there is no {path} of {len(content)} bytes")
        pending = self._files[path.lower()] = Pending(file, self._disk)
        pending.write(0, content)

    def file(self, path: str) -> NtfsFile | None:
        """A file that is read in pieces, of any size; None if there is none."""
        return self._volume.file(path)

    def exists(self, path: str) -> bool:
        return self._volume.exists(path)

    def list(self, path: str) -> list[str] | None:
        """Sorted names in a folder; None if there is none."""
        return self._volume.names(path)

    def hive(self, name: str) -> ChangingHive:
        """`SYSTEM`, `SOFTWARE`, ... Raises `Unreadable` for one that is missing or damaged."""
        if name.upper() not in self._hives:
            file = self._volume.file(f"{CONFIG}\\{name}")
            if file is None:
                raise Unreadable(f"the registry hive {name} is missing: there is no \\{CONFIG}\\{name}")
            pending = Pending(file, self._disk)
            self._hives[name.upper()] = (ChangingHive(name, pending), pending)
        return self._hives[name.upper()][0]

    @property
    def changed(self) -> bool:
        """Whether `save` would write anything."""
        return any(pending.changed() for pending in self._pending())

    def save(self) -> None:
        """Write all changes, and have them on the host's disk. Raises `Unreadable`, and writes nothing, when a hive or
        the volume has changes of its own that are only in a journal: they would win at the next boot."""
        self.check_closed()
        places = [place for pending in self._pending() for place in pending.places()]
        for at, data in places:
            self._disk.write(at, data)
        for pending in self._pending():
            pending.forget()
        if places:
            self._disk.flush()

    def _pending(self) -> tuple[Pending, ...]:
        return (*(pending for _, pending in self._hives.values()), *self._files.values())

    def check_closed(self) -> None:
        """Raise `Unreadable` unless Windows was shut down for good: only then may anybody else change its disk."""
        if self.asleep:
            raise Unreadable(
                "Windows is hibernated on this disk (hiberfil.sys): its memory would overwrite what is changed",
                hint="boot it where it was made and run there: powercfg /h off, then: shutdown /s /t 0",
            )
        if self.dirty:
            raise Unreadable(
                "Windows was not shut down properly on this disk: its NTFS volume was not closed",
                hint="boot it where it was made, let it check its disk, and shut it down",
            )
        for hive, pending in self._hives.values():
            if hive.dirty and pending.changed():
                raise Unreadable(
                    f"the registry hive {hive.name} was not closed properly: its newest changes are only in its log",
                    hint="boot it where it was made and shut it down",
                )


@contextmanager
def open_windows(
    disk: Path, format: str | None, deadline: Deadline, *, writable: bool = False, unclosed: bool = False
) -> Iterator[WindowsDisk]:
    """The Windows on a disk image (format None: by its content) that no machine runs on.

    writable: `WindowsDisk.save` may be called; a Windows that was not shut down is refused then, and with `unclosed`
    only when there is something to save. Raises `Unreadable` with the reason, `NoWindows` when there is none,
    HostNotReady when qemu-nbd is missing, and what `deadline` does.
    """
    image = convert.info(disk, deadline=deadline, format=format)
    with DiskBytes(image, deadline, writable=writable) as opened:
        table = table_of(opened.read, opened.size)
        found = find_windows(opened, table)
        windows = WindowsDisk(opened, found, table)
        if writable and not unclosed:
            windows.check_closed()
        yield windows


def find_windows(disk: DiskBytes, table: Table) -> Ntfs:
    """The volume that has Windows' registry. Raises `Unreadable` when there is none or more than one, or none can be
    read."""
    why: list[str] = []
    found: list[Ntfs] = []
    without: list[Ntfs] = []  # the registry itself
    for part in table.candidates:
        kind = file_system_at(disk.read, part.start)
        if kind in _UNREAD:
            why.append(_UNREAD[kind])
        if kind != NTFS:
            continue
        try:
            volume = Ntfs(disk.read, part.start)
            if volume.exists(CONFIG):
                (found if volume.exists(f"{CONFIG}\\SYSTEM") else without).append(volume)
        except Unreadable as error:
            why.append(error.message)
    if len(found) > 1:
        raise Unreadable(
            f"there are {len(found)} Windows on {disk.image.path}, and which of them boots is not known",
            hint="make an image that has only one",
        )
    if found or without:
        return (found or without)[0]
    if reasons := [*why, *table.troubles]:
        raise Unreadable(f"no Windows can be read on {disk.image.path}: {reasons[0]}")
    raise NoWindows(f"there is no Windows on {disk.image.path}: no NTFS volume of it has \\{CONFIG}")


# What Windows may lie on and is not read here, and why.
_UNREAD = {
    BITLOCKER: "a volume of it is encrypted by BitLocker: decrypt it where it was made (manage-bde -off C:)",
    REFS: "a volume of it is of ReFS, which is not read: only NTFS is",
}
