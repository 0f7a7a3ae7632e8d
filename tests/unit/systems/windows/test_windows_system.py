"""What is known of Windows guests: who logs in, what a person's words become, the last step."""

from __future__ import annotations

import base64
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.communicators import ExitStatus
from aibemu.customizers import StepSettings
from aibemu.errors import ProvisionFailed
from aibemu.hardware import CdromBus, Chipset, DiskBus, Hardware, NicModel
from aibemu.images import BaseImage, Generation, ImageInfo, Provisioning
from aibemu.images.windows import GENERALIZED, WindowsFacts
from aibemu.systems import runnable, unsupported
from aibemu.systems.windows import system as windows_system
from aibemu.systems.windows.commands import quote
from aibemu.systems.windows.deprovision import DEPROVISION_PATH, SYSPREP, default_script
from aibemu.systems.windows.login import CERTIFICATE, KEY, fresh_password
from aibemu.systems.windows.system import WindowsSystem
from aibemu.testing.clock import FakeClock
from aibemu.testing.guest import ScriptedCommunicator
from aibemu.testing.script import Script
from aibemu.testing.steps import ScriptedGuest
from aibemu.testing.systems import new_start, repeatable

INFO = ImageInfo(
    os_type="Windows", os_name="Windows Server 2022", generation=Generation.V2, provisioning=Provisioning.UNKNOWN,
    generalized=True, origin="test",
)  # fmt: skip


FACTS = WindowsFacts(
    product="Windows Server 2022 Datacenter", edition="ServerDatacenter", build=20348, installation="Server",
    evaluation=False, image_state="IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE",
)  # fmt: skip
KNOWN = replace(INFO, windows=FACTS)
CODES = "(0x1, 0x2, 0x3, 0x4)"


def image(info: ImageInfo) -> BaseImage:
    return BaseImage(digest="ab" * 32, path=Path("x"), virtual_size=1, file_size=1, created="", info=info)


def test_its_guests_run_whether_they_are_booted_or_up_already() -> None:
    for booted in (True, False):
        assert "Windows" in runnable(booted=booted) and unsupported("Windows", booted=booted) is None


def test_what_is_not_generalised_is_refused_and_what_is_wrong_else_is_told() -> None:
    assert WindowsSystem().objection(KNOWN) is None and WindowsSystem().doubts(image(KNOWN)) == []
    unsealed = replace(KNOWN, windows=replace(FACTS, image_state="IMAGE_STATE_COMPLETE"))
    assert "it is not generalised (IMAGE_STATE_COMPLETE)" in (WindowsSystem().objection(unsealed) or "")
    wrong = replace(KNOWN, windows=replace(FACTS, unprepared=("pci",), answer_files=("C:\\unattend.xml",)))
    doubts = WindowsSystem().doubts(image(wrong))
    assert len(doubts) == 2 and "switched on before the first boot" in doubts[1]


@pytest.mark.parametrize("info", [INFO, replace(KNOWN, windows=replace(FACTS, image_state=""))])
def test_an_image_of_which_nothing_was_read_is_doubted(info: ImageInfo) -> None:
    assert WindowsSystem().objection(info) is None
    (doubt,) = WindowsSystem().doubts(image(info))
    assert "its registry was not read" in doubt and "aibemu images show abababababab" in doubt


@pytest.mark.parametrize(
    ("build", "installation", "nic"),
    [
        (14393, "Server", NicModel.E1000), (17763, "Server Core", NicModel.E1000), (20348, "Server", NicModel.E1000),
        (26100, "Server", NicModel.E1000E), (19045, "Client", NicModel.E1000E), (22631, "Client", NicModel.E1000E),
        (0, "", NicModel.E1000),
    ],
)  # fmt: skip
def test_each_version_gets_the_network_card_that_it_has_a_driver_for(
    build: int, installation: str, nic: NicModel
) -> None:
    hardware = WindowsSystem().hardware(replace(KNOWN, windows=replace(FACTS, build=build, installation=installation)))
    assert hardware == Hardware(
        chipset=Chipset.Q35, disk=DiskBus.SATA, cdrom=CdromBus.SATA, nic=nic, usb_tablet=True, hyperv=True, nested=False
    )
    assert WindowsSystem().hardware(INFO).nic is NicModel.E1000


def test_a_user_whose_name_windows_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProvisionFailed, match="20 characters at most"):
        WindowsSystem().credentials(tmp_path, "a" * 21, repeatable(1))


@pytest.mark.parametrize("user", ["Administrator", "guest", "SYSTEM", "Users"])
def test_a_user_whom_windows_has_itself_is_refused(tmp_path: Path, user: str) -> None:
    with pytest.raises(ProvisionFailed, match=f"{user} cannot be made in Windows"):
        WindowsSystem().credentials(tmp_path, user, repeatable(1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("console", "stage", "over"),
    [
        ("BdsDxe: starting Boot0001", "firmware", False),
        ("BdsDxe: x\r\nComputer is booting, SAC started and initialized.", "Windows is starting", False),
        ("[aibemu] stage: specialize\r\n[aibemu] stage: files\r\n", "Windows' setup: first pass", False),
        ("[aibemu] stage: report\r\nSAC>\r\n[aibemu] stage: ready\r\n", "first boot over", True),
        ("[aibemu] stage: nothing of ours", "", False),
    ],
)  # fmt: skip
def test_how_far_a_boot_is(console: str, stage: str, over: bool) -> None:
    signs = WindowsSystem().boot_signs(console)
    assert (signs.stage, signs.first_boot_over, signs.troubles) == (stage, over, ())


@pytest.mark.parametrize(
    ("console", "why"),
    [
        ("\nNo bootable device.\n", "the disk is not bootable"),
        ("UEFI Interactive Shell v2.2", "the disk is not bootable"),
        ("[aibemu] failed: listener: New-WSManInstance: no (setup.ps1, line 7)\r\n", "failed at listener: New-WSMan"),
        ("[aibemu] failed: listener: New-WSManInst", None),
        (f"[aibemu] failed: listener: New-WSMan{'x' * 2000}\r\n", "failed at listener: New-WSManx"),
    ],
)
def test_what_ends_a_boot(console: str, why: str | None) -> None:
    said = WindowsSystem().fatal(console)
    assert said is None if why is None else said is not None and why in said


@pytest.mark.parametrize(
    ("console", "why"),
    [
        ("", "nothing says that Windows read the answer file"),
        ("BdsDxe: starting", "nothing says that Windows read the answer file"),
        ("[aibemu] stage: specialize\r\n", "came as far as: Windows' setup has read the answer file"),
        ("[aibemu] stage: network\r\n", "came as far as: waiting for the network"),
        ("Computer is booting, SAC started and initialized.\r\n", "Windows' own console (SAC) on the serial port"),
    ],
)
def test_a_boot_that_took_too_long_is_told_with_what_is_known(console: str, why: str) -> None:
    assert why in WindowsSystem().overdue(console)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (f"0x7B {CODES}", [f"the bugcheck 0x7B {CODES}, INACCESSIBLE_BOOT_DEVICE", "disk=ide"]),
        (f"0x0000007b {CODES}", ["INACCESSIBLE_BOOT_DEVICE"]),
        (f"0xC000021A {CODES}", ["WINLOGON_FATAL_ERROR"]),
        (f"0x1234 {CODES}", [f"the bugcheck 0x1234 {CODES}"]),
        ("nothing", ["the bugcheck nothing"]),
    ],
)
def test_a_bugcheck_is_told_with_its_name_and_what_it_means(said: str, words: list[str]) -> None:
    told = WindowsSystem().crash(said)
    assert all(word in told for word in words)


def test_it_is_ready_once_powershell_answers(tmp_path: Path) -> None:
    """WinRM takes logins before PowerShell's modules load."""
    start = new_start(WindowsSystem(), tmp_path / "work", "packer", 1)
    answers = iter([ExitStatus(code=1), ExitStatus(code=0)])
    start.communicator.output = lambda command, *, deadline: (next(answers), "2026")  # type: ignore[method-assign]
    ready = WindowsSystem().await_ready(start, forever(start.clock))
    assert (ready.boot_id, ready.first_boot) == ("2026", "absent")
    start.boots_guest = True
    start.communicator.output = lambda command, *, deadline: (ExitStatus(code=0), "2027")  # type: ignore[method-assign]
    assert WindowsSystem().await_ready(start, forever(start.clock)).first_boot == "done"


def test_a_guest_into_which_nothing_was_put_is_not_asked_to_leave() -> None:
    communicator = ScriptedCommunicator()
    assert WindowsSystem().leave(communicator, forever(FakeClock())) is False
    assert len(communicator.transcript) == 1 and communicator.files == {}


def test_a_guest_that_cannot_be_asked_to_leave_is_told() -> None:
    script = Script.parse([
        {"match": "reg.exe query", "stdout": ["    user    REG_SZ    packer"]}, {"match": "/create", "exit": 5}
    ])  # fmt: skip
    with pytest.raises(ConnectionError, match=r"schtasks\.exe /create /f /tn aibemu-leave .* ended with 5"):
        WindowsSystem().leave(ScriptedCommunicator(script), forever(FakeClock()))


@pytest.mark.parametrize(("command", "begun"), [("/create", False), ("/run", True)])
def test_a_connection_that_is_lost_when_the_end_is_started_says_that_it_may_have_begun(
    command: str, begun: bool
) -> None:
    """Then nobody presses the power button, which would cut it short."""
    script = Script.parse([
        {"match": "reg.exe query", "stdout": ["    user    REG_SZ    packer"]}, {"match": command, "disconnect": True}
    ])  # fmt: skip
    communicator = ScriptedCommunicator(script)
    if begun:
        assert WindowsSystem().leave(communicator, forever(FakeClock())) is True
    else:
        with pytest.raises(ConnectionError, match=r"aibemu-leave .* lost its connection"):
            WindowsSystem().leave(communicator, forever(FakeClock()))


def test_the_server_shows_the_certificate_that_was_made(tmp_path: Path) -> None:
    made = WindowsSystem().credentials(tmp_path, "packer", repeatable(1))
    shown = subprocess.run(
        ["openssl", "x509", "-in", str(tmp_path / CERTIFICATE), "-noout", "-fingerprint", "-sha256"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert shown.strip().partition("=")[2].replace(":", "").lower() == made.certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / CERTIFICATE, tmp_path / KEY)
    assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600
    assert made.password() == (tmp_path / "password").read_text()


def test_passwords_are_what_windows_takes() -> None:
    made = {fresh_password() for _ in range(200)}
    assert len(made) == 200
    for password in made:
        assert any(c.isupper() for c in password) and any(c.islower() for c in password)
        assert any(c.isdigit() for c in password) and password[0] != "-"
        assert set(password) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("ipconfig", "ipconfig"), ("/all", "/all"), ("", '""'), ("a b", '"a b"'), ("a&b", '"a&b"'),
        ('say "x"', '"say \\"x\\""'), ("C:\\a b\\", '"C:\\a b\\\\"'), ('\\"', '\\\\\\"'),
    ],
)  # fmt: skip
def test_words_come_out_as_they_went_in(word: str, quoted: str) -> None:
    assert quote(word) == quoted


@pytest.mark.parametrize("words", [["ipconfig", "/all"], ["cmd", "/c", "dir C:\\a b"]])
def test_several_words_are_a_program(words: Sequence[str]) -> None:
    assert WindowsSystem().command(words, as_root=True) == " ".join(quote(word) for word in words)


def test_one_word_is_powershells() -> None:
    said = WindowsSystem().command(["Get-Item C:\\ | ft"], as_root=False)
    script = base64.b64decode(said.partition("-EncodedCommand ")[2]).decode("utf-16-le")
    assert "\nGet-Item C:\\ | ft\nif (-not $?)" in script


def test_the_deprovision_script_has_the_line_that_people_replace() -> None:
    """`-replace 'Sysprep.exe /oobe /generalize /quiet /quit', 'Sysprep.exe ... /mode:vm'` is in many templates."""
    assert default_script().count(SYSPREP) == 1 and GENERALIZED in default_script()
    assert "while ((Get-Service RdAgent)" not in default_script()


def test_a_layer_would_depend_on_all_that_is_put_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = WindowsSystem().key()
    assert [one.split()[0] for one in before if one.startswith("Deprov")] == ["DeprovisioningScript.ps1"]
    for name in ("DeprovisioningScript.ps1", "setup.ps1"):
        (tmp_path / name).write_text("one")
    monkeypatch.setattr(windows_system, "files", lambda package: tmp_path)
    monkeypatch.setattr(windows_system, "packaged", lambda package, name: (tmp_path / name).read_text())
    first = WindowsSystem().key()
    (tmp_path / "setup.ps1").write_text("two")
    assert WindowsSystem().key() != first != before and len(first) == 4, (
        "these two, the answer file, and what is done to the disk"
    )


def test_it_is_put_into_place_with_windows_line_ends() -> None:
    communicator = ScriptedCommunicator()
    WindowsSystem().after_boot(communicator, forever(FakeClock()))
    content = communicator.files[DEPROVISION_PATH]
    assert content.startswith(b"\xef\xbb\xbf#") and content.count(b"\n") == content.count(b"\r\n") > 20


def test_the_last_step_prints_the_script_and_runs_it() -> None:
    step = WindowsSystem().deprovision(StepSettings(rng=repeatable(1)))
    shown, run = step.describe().lines or ()
    assert shown.startswith(r"if( TEST-PATH c:\DeprovisioningScript.ps1 ){cat c:\DeprovisioningScript.ps1} else {echo ")
    guest = ScriptedGuest(WindowsSystem(), clock=FakeClock())
    assert step.apply(guest, ()).error is None
    script = guest.communicator.files[step.script.names.script].decode("utf-8-sig")
    assert script.startswith(f"{shown}\n{run}\n") and "ImageState" in script


def test_a_guest_that_says_nothing_has_no_boot_id() -> None:
    silent = ScriptedCommunicator(Script.parse([]))
    silent.machine.power_off()
    with pytest.raises(ConnectionError):
        WindowsSystem().boot_id(silent, forever(FakeClock()))
