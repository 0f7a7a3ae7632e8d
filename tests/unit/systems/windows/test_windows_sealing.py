"""Sealing and the proof on disks with NTFS and hives, made by others' tools; libhivex reads what was changed."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Mapping
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import forever
from aibemu.disks import Unreadable
from aibemu.disks.hives import open_windows
from aibemu.errors import GeneralizeFailed
from aibemu.hypervisor import Level
from aibemu.systems.findings import Sealed
from aibemu.systems.windows.generalized import judge
from aibemu.systems.windows.sealing import look_at, seal_disk
from aibemu.systems.windows.seeing import Seen
from aibemu.systems.windows.system import WindowsSystem
from tests.windows_disks import Registry, hive_text, hives, make_disk, need_tools, ntfs_read

TOP = "HKEY_LOCAL_MACHINE\\SOFTWARE"
THUMB = "0123456789ABCDEF0123456789ABCDEF01234567"
# Of somebody else, who was there before.
OTHER = "FEDCBA9876543210FEDCBA9876543210FEDCBA98"
TASK = "{01234567-89AB-CDEF-0123-456789ABCDEF}"
CACHE = f"{TOP}\\Microsoft\\Windows NT\\CurrentVersion\\Schedule\\TaskCache"
# The build's certificate, as far as it is looked at: its subject.
BLOB = "hex:03,00,00,00,0c,06,61,69,62,65,6d,75,30"
TRACES = f"""[{TOP}\\Microsoft\\SystemCertificates\\MY\\Certificates\\{THUMB}]
"Blob"={BLOB}

[{TOP}\\Microsoft\\SystemCertificates\\MY\\Certificates\\{OTHER}]
"Blob"=hex:03,00,00,00,0c,06,6d,79,62,6f,78,30

[{TOP}\\Microsoft\\Windows\\CurrentVersion\\WSMAN\\Listener\\*+HTTPS]
"certThumbprint"="{THUMB.lower()}"

[{TOP}\\Microsoft\\Windows\\CurrentVersion\\Policies\\System]
"LocalAccountTokenFilterPolicy"=dword:00000001
"EnableLUA"=dword:00000001
"Large"=dword:00000001

[{CACHE}\\Tree\\aibemu-setup]
"Id"="{TASK}"

[{CACHE}\\Tree\\aibemu-leave]
"Id"="\\\\"

[{CACHE}\\Tasks\\{TASK}]
"Path"="\\\\aibemu-setup"

[{CACHE}\\Boot\\{TASK}]
"Path"="\\\\aibemu-setup"

[{CACHE}\\Tasks\\{{1}}]
"Path"="\\\\theirs"

[{TOP}\\aibemu]
"user"="packer"
"number:HKLM:\\\\SOFTWARE\\\\Microsoft\\\\Windows\\\\CurrentVersion\\\\Policies\\\\System!LocalAccountTokenFilterPolicy"=""
"number:HKLM:\\\\SYSTEM\\\\CurrentControlSet\\\\Services\\\\WinRM!Start"="3"
"number:HKLM:\\\\SYSTEM\\\\CurrentControlSet\\\\Services\\\\Nothing!Start"="3"
"number:HKLM:\\\\SOFTWARE\\\\Microsoft!Odd"="many"
"number:HKLM:\\\\SOFTWARE\\\\Microsoft\\\\Windows\\\\CurrentVersion\\\\Policies\\\\System!EnableLUA"="1"
"number:HKLM:\\\\SOFTWARE\\\\Microsoft\\\\Windows\\\\CurrentVersion\\\\Policies\\\\System!Large"="99999999999"
"left:the listener"="it is in use"
"left:the build user"="he is logged in"

"""
RULES = "Services\\SharedAccess\\Parameters\\FirewallPolicy\\FirewallRules"
RULE = "".join(
    f'[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet{number:03}\\{RULES}]\n"aibemu-winrm"="v2.29|Action=Allow"\n'
    '"RemoteDesktop"="v2.29|Action=Allow"\n\n' for number in (1, 2)
)  # fmt: skip
CLEAN_FILES: Mapping[str, bytes] = {
    "Windows\\System32\\Sysprep\\Sysprep_succeeded.tag": b"",
    "Users\\Administrator\\x": b"x",
}
LEFT_FILES: Mapping[str, bytes] = {
    **CLEAN_FILES, "DeprovisioningScript.ps1": b"#", "Users\\packer\\NTUSER.DAT": b"x",
    "Users\\packer.BOX\\NTUSER.DAT": b"x", "Users\\packers\\x": b"x",
    "Windows\\Temp\\script-01234567-89ab-cdef-0123-456789abcdef.ps1": b"#", "Windows\\Temp\\script-of-theirs.ps1": b"#",
    "Windows\\System32\\Sysprep\\Unattend.xml": b'<unattend><settings pass="specialize"/></unattend>',
    "Windows\\Setup\\Scripts\\aibemu\\setup.ps1": b"#",
    "Windows\\Setup\\Scripts\\SetupComplete.cmd": b"powershell C:\\Windows\\Setup\\Scripts\\aibemu\\setup.ps1",
    "Windows\\Panther\\unattend.xml": b'<unattend><settings pass="oobeSystem">secret</settings></unattend>',
}  # fmt: skip


@pytest.fixture(autouse=True)
def _tools() -> None:
    need_tools()


def disk(folder: Path, *, files: Mapping[str, bytes] = CLEAN_FILES, without: Any = (), **registry: Any) -> Path:
    made = hives(Registry(**registry))
    for name in without:
        del made[name]
    return make_disk(folder / "disk.qcow2", hives=made, files=files, format="qcow2")


def software(qcow2: Path, name: str = "SOFTWARE") -> str:
    """A hive of the disk as libhivex reads it, from the file that ntfs-3g reads."""
    raw = qcow2.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(qcow2), str(raw)], check=True)
    hive = qcow2.with_name(name)
    hive.write_bytes(ntfs_read(raw, "gen2", f"Windows\\System32\\config\\{name}"))
    return hive_text(hive)


def test_a_disk_as_a_build_leaves_it(tmp_path: Path) -> None:
    """Everything at once, for a disk takes a second to make."""
    made = disk(
        tmp_path, files=LEFT_FILES, services=("WinRM",), control_sets=(1, 2), overrides={"storvsc": 3, "pci": 3},
        more={"SOFTWARE": TRACES, "SYSTEM": RULE},
    )  # fmt: skip
    before = look_at(made, "packer", forever())[0]
    wrong = {one.check: one for one in before if one.level is not Level.OK}
    assert "storvsc" in wrong["drivers of Azure's disks are loaded"].message
    assert THUMB in wrong["no certificate of the build"].message and OTHER not in str(before)
    assert "LocalAccountTokenFilterPolicy" in wrong["WinRM is as it was"].message
    assert "aibemu-winrm" in wrong["WinRM is as it was"].message

    sealed = WindowsSystem().seal(made, "packer", deadline=forever())
    assert len(sealed.notes) == 2 and "the key of the build's certificate is still in" in sealed.notes[1]
    assert sealed.notes[0] == (
        "the build user stays as the build left it: the guest could not take it out (he is logged in)"
    )
    text = "\n".join(sealed.changes)
    for what in (f"Certificates\\{THUMB}", "*+HTTPS", "LocalAccountTokenFilterPolicy", "aibemu-setup", "aibemu-winrm",
                 "ControlSet001\\Services\\storvsc", "ControlSet002\\Services\\storvsc"):  # fmt: skip
        assert what in text
    after = {one.check: one for one in sealed.findings if one.level is not Level.OK}
    assert set(after) == {
        "no answer file waits",
        "no scripts of the build",
        "no profile of the build user",
        "no deprovision script",
    }, "files stay, and are told"
    assert after["no answer file waits"].level is Level.ERROR
    assert after["no answer file waits"].message == (
        "Windows\\Panther\\Unattend.xml, Windows\\System32\\Sysprep\\Unattend.xml"
    )
    assert after["no scripts of the build"].message == (
        "Windows\\Setup\\Scripts\\aibemu, Windows\\Setup\\Scripts\\SetupComplete.cmd, "
        "Windows\\Temp\\script-01234567-89ab-cdef-0123-456789abcdef.ps1"
    )
    assert after["no profile of the build user"].message == "Users\\packer, Users\\packer.BOX"
    assert after["no deprovision script"].level is Level.NOTE

    said = software(made)
    assert THUMB not in said and OTHER in said and "*+HTTPS" not in said and "\\aibemu]" not in said
    assert TASK not in said and "TaskCache\\Tasks\\{1}" in said and "aibemu-leave" not in said
    assert '"EnableLUA"' in said and "LocalAccountTokenFilterPolicy" not in said
    system = software(made, "SYSTEM")
    assert "EnableLUA" not in text and "Large" not in text, "as it was, and no number of the registry"
    assert "Services\\WinRM, Start: 2 -> 3, as it was before the build" in text
    with open_windows(made, "qcow2", forever()) as windows:
        starts = [windows.hive("SYSTEM").number(f"ControlSet{n:03}\\Services\\WinRM", "Start") for n in (1, 2)]
    assert starts == [3, 2], "setup.ps1 changed the control set that is in use"
    assert "aibemu-winrm" not in system and system.count('"RemoteDesktop"') == 2
    assert "StartOverride" not in system, "pci too: Azure's newer machines need it"
    assert list(WindowsSystem().seal(made, "packer", deadline=forever()).changes) == [], "there is nothing left to do"


def test_a_listener_whose_certificate_is_gone_already_is_known_by_the_notes(tmp_path: Path) -> None:
    """leave.ps1 could remove the certificate alone."""
    without = TRACES[TRACES.index(f"[{TOP}\\Microsoft\\SystemCertificates\\MY\\Certificates\\{OTHER}]") :]
    traces = without.replace('"user"="packer"', f'"user"="packer"\n"certificate"="{THUMB}"')
    made = disk(tmp_path, services=("WinRM",), more={"SOFTWARE": traces})
    text = "\n".join(WindowsSystem().seal(made, "packer", deadline=forever()).changes)
    assert "*+HTTPS: deleted, the listener of the build" in text and OTHER not in text


def test_a_disk_that_is_as_it_should_be_is_proven_and_not_touched(tmp_path: Path) -> None:
    made = disk(tmp_path)
    before = made.read_bytes()
    told: list[str] = []
    found = list(WindowsSystem().generalized(made, "packer", scratch=tmp_path, deadline=forever(), tell=told.append))
    assert [one.check for one in found if one.level is not Level.OK] == [] and len(found) == 10 and told == []
    assert seal_disk(made, "packer", forever()) == Sealed(findings=tuple(found))
    assert made.read_bytes() == before


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        ({"SetupType": 2, "SystemSetupInProgress": 1, "OOBEInProgress": 1}, ""),
        ({"SetupType": 2, "SystemSetupInProgress": 0, "OOBEInProgress": 1}, "SystemSetupInProgress is 0"),
        ({"SetupType": 0, "SystemSetupInProgress": 1}, "SetupType is 0, OOBEInProgress is None"),
    ],
)
def test_what_says_that_the_next_boot_sets_windows_up(setup: dict[str, int], message: str) -> None:
    (finding,) = judge(Seen(setup=setup))
    assert (finding.level, finding.message) == (Level.ERROR if message else Level.OK, message)


@pytest.mark.parametrize("state", ["IMAGE_STATE_COMPLETE", "IMAGE_STATE_UNDEPLOYABLE", ""])
def test_one_that_is_not_generalised(tmp_path: Path, state: str) -> None:
    made = disk(tmp_path, files={}, image_state=state, setup_type=0)
    wrong = {one.check: one.message for one in look_at(made, "packer", forever())[0] if one.level is not Level.OK}
    assert wrong["Windows is generalised"] == f"ImageState is {state or 'not set'}"
    assert wrong["the next boot sets Windows up"] == "SetupType is 0"
    assert "Sysprep_succeeded.tag" in wrong["Sysprep says that it succeeded"]


@pytest.mark.parametrize("name", ["SYSTEM", "SOFTWARE"])
def test_a_missing_hive_ends_the_build(tmp_path: Path, name: str) -> None:
    with pytest.raises(GeneralizeFailed, match=f"no image that boots: the registry hive {name} is missing"):
        seal_disk(disk(tmp_path, without=(name,)), "packer", forever())


def test_a_damaged_hive_ends_the_build_and_is_no_proof(tmp_path: Path) -> None:
    broken = {**hives(Registry()), "SOFTWARE": b"regf" + b"\xff" * 8188}
    made = make_disk(tmp_path / "disk.qcow2", hives=broken, files=CLEAN_FILES, format="qcow2")
    with pytest.raises(GeneralizeFailed, match=r"no image that boots: .*SOFTWARE"):
        seal_disk(made, "packer", forever())
    found, why = look_at(made, "packer", forever())
    checks = {one.check for one in found}
    assert "Windows is generalised" not in checks and "the next boot sets Windows up" in checks
    assert "not proven: Windows is generalised" in why and "SOFTWARE" in why


def test_a_disk_that_is_not_windows_ends_the_build(tmp_path: Path) -> None:
    made = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(made), "64M"], check=True)
    with pytest.raises(GeneralizeFailed, match="the captured disk is no image: there is no Windows on"):
        seal_disk(made, "packer", forever())
    with pytest.raises(Unreadable):
        look_at(made, "packer", forever())


def test_a_hive_that_was_not_closed_proves_nothing_and_is_not_changed(tmp_path: Path) -> None:
    """As a machine leaves it whose power was cut: the newest changes are in a log beside it."""
    made = hives(Registry(overrides={"storvsc": 3}))
    for name, data in made.items():
        head = bytearray(data[:508])
        head[4:8] = b"\x09\0\0\0"  # the first of two numbers that are the same in a hive that was closed
        checksum = reduce(xor, (word for (word,) in struct.iter_unpack("<I", head)))
        made[name] = bytes(head) + struct.pack("<I", checksum) + data[512:]
    open_ = make_disk(tmp_path / "disk.qcow2", hives=made, files=CLEAN_FILES, format="qcow2")
    before = open_.read_bytes()
    found, why = look_at(open_, "packer", forever())
    assert "Windows is generalised" not in {one.check for one in found}
    assert "not proven: Windows is generalised" in why and "only in its log" in why
    with pytest.raises(Unreadable):
        seal_disk(open_, "packer", forever())
    assert open_.read_bytes() == before
