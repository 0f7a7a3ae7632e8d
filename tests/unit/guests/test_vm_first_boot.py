"""The first boot of the machine that stands in for Windows, without the machine: aibemu's own media in folders for
drives, the answer file's commands and SetupComplete.cmd really run, and what is put in is taken out again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.systems.windows import leaving, media
from aibemu.systems.windows.answers import Answers
from aibemu.systems.windows.login import CERTIFICATE, PASSWORD, fresh_credentials
from fixtures.guests.machine import Settings, WindowsMachine
from fixtures.guests.vm import answers, first_boot, setup
from fixtures.guests.vm.account import KeptAccount
from fixtures.guests.vm.media import Medium
from tests.guest_calls import call, until
from tests.stand_in_vm import own_texts

WANTED = Answers(computer="aib-build-1", user="packer", password="", facts=None, locale="en-US")


@pytest.fixture
def machine() -> Iterator[WindowsMachine]:
    with WindowsMachine(engine=None, settings=Settings(going_down=0.1)) as made:
        (made.guest.base / "known.json").write_text(json.dumps(own_texts()), encoding="utf-8")
        yield made


@pytest.fixture
def medium(machine: WindowsMachine, tmp_path: Path) -> Medium:
    """What aibemu writes for a machine, as drive D:."""
    fresh_credentials(tmp_path, "packer")
    password = (tmp_path / PASSWORD).read_text()
    folder = machine.guest.base / "volumes" / "d"
    for name, content in media.contents(tmp_path, replace(WANTED, password=password)).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return Medium(kind="stick", device="sdb", folder=folder)


def boot(machine: WindowsMachine, medium: Medium, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_boot, "mount_all", lambda _: [medium])
    first_boot.first_boot(machine.guest)


def test_it_comes_up_as_the_media_want_it(
    machine: WindowsMachine, medium: Medium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot(machine, medium, monkeypatch)
    made = machine.guest.read(setup.SERVER)
    assert (made["user"], made["computer"]) == ("packer", "aib-build-1")
    assert made["certificate"] == (tmp_path / CERTIFICATE).read_text()
    password = (tmp_path / PASSWORD).read_text()
    account = KeptAccount(made["user"], made["password"])
    assert account.is_right("packer", password) and not account.is_right("packer", password + "x")
    holding = [f for f in machine.guest.base.rglob("*") if f.is_file() and password.encode() in f.read_bytes()]
    assert [f for f in holding if not f.is_relative_to(medium.folder)] == []
    assert not (machine.guest.drive / setup.PLACE / "SetupComplete.cmd").exists()


def test_all_of_it_goes_again(machine: WindowsMachine, medium: Medium, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(machine)
    boot(machine, medium, monkeypatch)
    assert "REG_SZ" in call(machine, leaving.NOTED).stdout
    machine.host(leaving.SCRIPT).write_bytes(media.script("leave.ps1"))
    went: list[str] = []
    machine.on_power(lambda kind, seconds: went.append(kind))
    for command in (leaving.CREATE, leaving.RUN):
        assert call(machine, command).code == 0
    until(lambda: went == ["off"])
    assert files(machine) - before == set()
    assert call(machine, leaving.NOTED).code == 1


def files(machine: WindowsMachine) -> set[str]:
    drive = machine.guest.drive
    return {str(file.relative_to(drive)) for file in drive.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("name", "old", "new", "why"),
    [
        ("Autounattend.xml", b"HideEULAPage", b"ShowEULAPage", "leaves a question to a person: HideEULAPage"),
        ("Autounattend.xml", b"aib-build-1", b"aib-build-2", "names the computer"),
        ("Autounattend.xml", b"</unattend>", b"", "no element found"),
        ("aibemu/settings.json", b'"readyUrl"', b'"other"', "lacks readyUrl"),
        ("Autounattend.xml", b"oobeSystem", b"auditSystem", "it has the passes"),
    ],
)  # fmt: skip
def test_it_stands_still_where_windows_would(
    machine: WindowsMachine, medium: Medium, monkeypatch: pytest.MonkeyPatch, name: str, old: bytes, new: bytes,
    why: str,
) -> None:  # fmt: skip
    for file in (name, "Unattend.xml") if name.endswith(".xml") else (name,):
        content = (medium.folder / file).read_bytes()
        assert old in content
        (medium.folder / file).write_bytes(content.replace(old, new))
    with pytest.raises(first_boot.GaveUp, match=why):
        boot(machine, medium, monkeypatch)


def test_answer_files_hide_passwords_as_windows_does(tmp_path: Path) -> None:
    """Windows' own tools write them so; aibemu does not."""
    file = tmp_path / "a.xml"
    file.write_text(
        '<unattend xmlns="urn:schemas-microsoft-com:unattend"><settings pass="specialize"/><settings pass="oobeSystem">'
        "<UserAccounts><AdministratorPassword><Value>cwBlAGMAcgBlAHQAQQBkAG0AaQBuAGkAcwB0AHIAYQB0AG8AcgBQAGEAcwBzAHcA"
        "bwByAGQA</Value><PlainText>false</PlainText></AdministratorPassword></UserAccounts></settings></unattend>"
    )
    assert answers.read(file).administrators == {"Administrator": "secret"}
