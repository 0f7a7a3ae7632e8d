"""What is known of Windows guests: who logs in, what a person's words become, the last step."""

from __future__ import annotations

import base64
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.customizers import StepSettings
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.systems import runnable, unsupported
from aibemu.systems.windows import system as windows_system
from aibemu.systems.windows.commands import quote
from aibemu.systems.windows.deprovision import DEPROVISION_PATH, GENERALIZED, SYSPREP, default_script
from aibemu.systems.windows.login import CERTIFICATE, KEY, fresh_password
from aibemu.systems.windows.system import WindowsSystem
from aibemu.testing.clock import FakeClock
from aibemu.testing.guest import ScriptedCommunicator
from aibemu.testing.script import Script
from aibemu.testing.steps import ScriptedGuest
from aibemu.testing.systems import repeatable

INFO = ImageInfo(
    os_type="Windows", os_name="Windows Server 2022", generation=Generation.V2, provisioning=Provisioning.UNKNOWN,
    generalized=True, origin="test",
)  # fmt: skip


def test_its_guests_run_only_where_they_are_up_already() -> None:
    assert "Windows" in runnable(booted=False) and "Windows" not in runnable(booted=True)
    assert unsupported("Windows", booted=False) is None
    assert unsupported("Windows", booted=True) == "it is a Windows image, and only Linux guests are run so far"


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
        ('say "x"', '"say \\"x\\""'), ("C:\\a b\\", '"C:\\a b\\\\"'), ('\\"', '"\\\\\\""'),
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
    assert WindowsSystem().key() != first != before and len(first) == 2


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


def test_a_disk_without_a_system_is_told() -> None:
    assert WindowsSystem().fatal("\nNo bootable device.\n") == "the disk is not bootable"
