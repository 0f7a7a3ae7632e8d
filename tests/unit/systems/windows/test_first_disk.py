"""The disk of a machine before its first boot, on disks with NTFS and hives that others made: what is changed is read
by libhivex and ntfs-3g, and every other byte of the disk, and all of the image below it, is as before.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.disks import Unreadable
from aibemu.disks.convert import make_overlay
from aibemu.disks.hives import open_windows
from aibemu.disks.nbd import DiskBytes
from aibemu.errors import BuildCancelled, HostNotReady
from aibemu.images import windows_boot
from aibemu.images.windows_answers import ANSWERS, has_unused_settings
from aibemu.systems.findings import Prepared
from aibemu.systems.windows.sealing import seal_disk
from aibemu.systems.windows.system import WindowsSystem
from tests.unit.images.test_windows_needs import INFO
from tests.windows_disks import Registry, differing, hive_text, hives, make_disk, need_tools, ntfs_read

OFF = {"pci": 3, "storahci": 3}
SYSTEM = "Windows\\System32\\config\\SYSTEM"


def answers(passes: Sequence[str] = ("specialize", "oobeSystem"), more: str = "", used: bool = False) -> bytes:
    mark = ' wasPassProcessed="true"' if used else ""
    parts = "".join(
        f'<settings pass="{one}"{mark}><component name="Microsoft-Windows-Shell-Setup">{more}</component></settings>'
        for one in passes
    )
    return f'<?xml version="1.0"?><unattend xmlns="urn:schemas-microsoft-com:unattend">{parts}</unattend>'.encode()


@dataclass(kw_only=True)
class Lab:
    """An image, and the disk of a machine on it."""

    folder: Path
    image: Path
    disk: Path
    before: bytes
    # How often the machine was asked for its disk.
    asked: int = 0

    @contextmanager
    def given(self) -> Iterator[Path]:
        self.asked += 1
        yield self.disk

    def prepare(self, info: Any = INFO, deadline: Deadline | None = None) -> Prepared:
        try:
            return WindowsSystem().prepare(self.given, info, deadline=deadline or forever())
        finally:
            assert self.image.read_bytes() == self.before, "the image stays as it is"

    def raw(self, disk: Path) -> bytes:
        raw = self.folder / "as.raw"
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(disk), str(raw)], check=True)
        return raw.read_bytes()

    def read(self, disk: Path, name: str) -> bytes:
        """A file as ntfs-3g reads it."""
        self.raw(disk)
        return ntfs_read(self.folder / "as.raw", "gen2", name)

    def places(self, *names: str) -> list[tuple[int, int]]:
        """(first byte, byte after the last) of the pieces of these files on the disk."""
        found = []
        with open_windows(self.image, "qcow2", forever()) as windows:
            for name in names:
                file = windows._volume.file(name)
                assert file is not None
                found += [(one.at, one.at + one.length) for one in file.places(0, file.size) if one.at is not None]
        return found

    def changed_outside(self, *names: str) -> list[int]:
        """Bytes of the disk that are other than the image's and in none of these files."""
        places = self.places(*names)
        found = differing(self.raw(self.image), self.raw(self.disk))
        return [at for at in found if not any(first <= at < end for first, end in places)]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Lab]:
    need_tools()

    def made(*, files: Mapping[str, bytes] | None = None, without: Sequence[str] = (), **registry: Any) -> Lab:
        image = make_disk(
            tmp_path / "image.qcow2", hives=hives(Registry(**registry)), files=files, without=without, format="qcow2"
        )
        return lab_of(tmp_path, image)

    return made


def lab_of(folder: Path, image: Path) -> Lab:
    disk = folder / "disk.qcow2"
    make_overlay(image, disk, deadline=forever())
    return Lab(folder=folder, image=image, disk=disk, before=image.read_bytes())


def test_an_export_of_azure_with_answer_files_of_its_own(make: Callable[..., Lab]) -> None:
    """Everything at once, for a disk takes a second to make. One answer file lies in its own record, across the end of
    a piece of it, and one in clusters."""
    small, large = answers(more="x" * 250), answers(more="<Password>secret</Password>" * 200)
    used = answers(used=True)
    files = {ANSWERS[0]: large, ANSWERS[2]: small, ANSWERS[3]: used, "Windows\\Panther\\setupact.log": b"log"}
    named = '[HKEY_LOCAL_MACHINE\\SYSTEM\\Setup]\n"UnattendFile"="D:\\\\deploy\\\\answers.xml"\n\n'
    lab = make(files=files, overrides=OFF, control_sets=(1, 2), more={"SYSTEM": named})
    done = lab.prepare()
    assert lab.asked == 1 and done.notes == ()
    assert list(done.changes) == [
        *(f"SYSTEM\\ControlSet{number:03}\\Services\\{name}\\StartOverride: deleted (was 0=3)"
          for number in (1, 2) for name in OFF),
        "HKLM\\SYSTEM\\Setup, UnattendFile: deleted (was D:\\deploy\\answers.xml)",
        f"{ANSWERS[0]}: its settings are replaced by a mark that Setup has used them",
        f"{ANSWERS[2]}: its settings are replaced by a mark that Setup has used them",
    ]  # fmt: skip
    hive = lab.folder / "SYSTEM"
    hive.write_bytes(lab.read(lab.disk, SYSTEM))
    said = hive_text(hive)
    assert "StartOverride" not in said and "UnattendFile" not in said and '"SetupType"' in said
    for name, before in ((ANSWERS[0], large), (ANSWERS[2], small)):
        now = lab.read(lab.disk, name)
        assert len(now) == len(before) and not has_unused_settings(now) and has_unused_settings(before)
        assert b"secret" not in now and now.count(b'wasPassProcessed="true"') == 2
    assert b"secret" not in lab.raw(lab.disk), "nothing of what was in it is left on the disk"
    assert lab.changed_outside(SYSTEM, ANSWERS[0], ANSWERS[2]) == []
    assert lab.prepare() == Prepared(), "there is nothing left to do"


def test_a_disk_that_is_well_stays_as_it_is(make: Callable[..., Lab]) -> None:
    used = '[HKEY_LOCAL_MACHINE\\SYSTEM\\Setup]\n"UnattendFile"="%SystemRoot%\\\\Panther\\\\unattend.xml"\n\n'
    lab = make(files={ANSWERS[2]: answers(used=True)}, more={"SYSTEM": used})
    before = lab.disk.read_bytes()
    assert lab.prepare() == Prepared()
    assert lab.disk.read_bytes() == before


def test_a_file_that_cannot_be_read_is_told_and_the_rest_is_done(make: Callable[..., Lab]) -> None:
    lab = make(files={ANSWERS[2]: b"x" * (9 << 20)}, overrides=OFF)
    done = lab.prepare()
    assert len(done.changes) == 2
    assert [note.partition(":")[0] for note in done.notes] == [f"whether Setup has used {ANSWERS[2]} is not known"]


@pytest.mark.parametrize("off", [True, False])
def test_a_hibernated_windows_is_refused(make: Callable[..., Lab], off: bool) -> None:
    """Whatever its drivers are: it would go on from its memory."""
    lab = make(files={"hiberfil.sys": b"HIBR" + bytes(5000)}, overrides=OFF if off else {})
    before = lab.disk.read_bytes()
    with pytest.raises(Unreadable, match=r"Windows is hibernated on this disk") as refused:
        lab.prepare()
    assert lab.disk.read_bytes() == before and "powercfg /h off" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("needed", "wrong"),
    [
        (True, {"overrides": OFF}), (True, {"files": {ANSWERS[2]: answers()}}), (False, {}),
        (False, {"overrides": {"stornvme": 3, "intelide": 3}}),
    ],
)  # fmt: skip
def test_a_windows_that_was_not_shut_down(
    make: Callable[..., Lab], needed: bool, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be changed on its disk; where nothing need be, it may come up all the same, as elsewhere: so may the
    disk of a build machine whose power was cut, in its validation."""
    monkeypatch.setattr("aibemu.disks.ntfs.Ntfs.dirty", True)
    lab = make(**wrong)
    before = lab.disk.read_bytes()
    if needed:
        with pytest.raises(Unreadable, match="was not shut down properly on this disk"):
            lab.prepare()
    else:
        done = lab.prepare()
        assert done.changes == () and len(done.notes) == 1 and "not shut down properly" in done.notes[0]
        assert "nothing is changed on it" in done.notes[0]
    assert lab.disk.read_bytes() == before


def damaged(hive: bytes) -> bytes:
    return hive[:4096] + b"\xff" * (len(hive) - 4096)


def unclosed(hive: bytes) -> bytes:
    """As a machine leaves it whose power was cut: the newest changes are in a log beside it."""
    made = bytearray(hive)
    made[4:8] = struct.pack("<I", struct.unpack_from("<I", made, 4)[0] + 1)
    checksum = 0
    for (word,) in struct.iter_unpack("<I", bytes(made[:508])):
        checksum ^= word
    made[508:512] = struct.pack("<I", checksum)
    return bytes(made)


@pytest.mark.parametrize("harm", [damaged, unclosed, lambda hive: b"", lambda hive: hive[:8192]])
@pytest.mark.parametrize("known", [True, False])
def test_a_hive_that_cannot_be_changed_is_refused(
    tmp_path: Path, harm: Callable[[bytes], bytes], known: bool
) -> None:  # fmt: skip
    """Whatever a person said of the image: Windows does not boot with it, or puts the old values back."""
    need_tools()
    made = hives(Registry(overrides=OFF))
    image = make_disk(tmp_path / "image.qcow2", hives=made | {"SYSTEM": harm(made["SYSTEM"])}, format="qcow2")
    lab = lab_of(tmp_path, image)
    before = lab.disk.read_bytes()
    with pytest.raises(Unreadable, match="the registry hive SYSTEM"):
        lab.prepare(INFO if known else replace(INFO, windows=None))
    assert lab.disk.read_bytes() == before


def test_a_driver_without_its_file_is_refused(make: Callable[..., Lab]) -> None:
    lab = make(overrides=OFF, without=["Windows\\System32\\drivers\\storahci.sys"])
    with pytest.raises(Unreadable, match="the driver storahci has no file"):
        lab.prepare()
    assert lab.changed_outside() == []


def test_an_image_that_a_person_took_unread_is_used_as_it_is(tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "64M"], check=True)
    lab = lab_of(tmp_path, image)
    before = lab.disk.read_bytes()
    done = lab.prepare(replace(INFO, windows=None))
    assert done.changes == () and "nothing was looked at: there is no Windows on" in done.notes[0]
    with pytest.raises(Unreadable, match="there is no Windows on"):
        lab.prepare()
    assert lab.disk.read_bytes() == before


def test_one_that_was_not_read_is_prepared_where_it_can_be_now(make: Callable[..., Lab]) -> None:
    assert len(make(overrides=OFF).prepare(replace(INFO, windows=None)).changes) == 2


def test_a_full_disk_is_told_as_that(make: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the number that the server answers a write with when its disk is full."""
    lab = make(overrides=OFF)
    asked: list[int] = []
    receive = DiskBytes._receive

    def answered(self: DiskBytes, length: int) -> bytes:
        said = receive(self, length)
        magic, _, handle = struct.unpack(">IIQ", said) if length == 16 else (0, 0, 0)
        if magic != 0x67446698 or not asked:
            return said
        return struct.pack(">IIQ", magic, asked.pop(), handle)

    write = DiskBytes.write

    def written(self: DiskBytes, at: int, data: bytes) -> None:
        asked.append(28)
        write(self, at, data)

    monkeypatch.setattr(DiskBytes, "_receive", answered)
    monkeypatch.setattr(DiskBytes, "write", written)
    with pytest.raises(HostNotReady, match="the disk is full") as full:
        lab.prepare()
    assert "free some space" in str(full.value.hint)


def test_a_cancel_ends_it_before_anything_is_written(make: Callable[..., Lab]) -> None:
    lab = make(overrides=OFF)
    before = lab.disk.read_bytes()
    cancel = CancelToken()
    cancel.cancel("enough")
    with pytest.raises(BuildCancelled):
        lab.prepare(deadline=Deadline(clock=SystemClock(), cancel=cancel))
    assert lab.disk.read_bytes() == before


def test_a_sealed_disk_boots_here_too(make: Callable[..., Lab]) -> None:
    """Sealing switches Azure's drivers on, and none off that machines here need: the machines of validation and of
    --verify-boot find nothing to do, whichever the build's Windows had switched off."""
    everything = dict.fromkeys(("pci", "storahci", "stornvme", "intelide", "vmbus", "storvsc", "vpci"), 3)
    lab = make(overrides=OFF)
    lab.prepare()
    seal_disk(lab.disk, "packer", forever())
    assert lab.prepare() == Prepared()
    lab = make(overrides=everything)
    seal_disk(lab.disk, "packer", forever())
    assert lab.prepare() == Prepared()


def test_a_layer_depends_on_what_is_done_to_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    key = WindowsSystem().key()
    for name, value in (("_MORE", ("storport",)), ("_VERSION", 2)):
        with monkeypatch.context() as other:
            other.setattr(windows_boot, name, value)
            assert WindowsSystem().key() != key
    monkeypatch.setattr("aibemu.systems.windows.first_disk._VERSION", 9)
    assert WindowsSystem().key() != key
