"""The scripts of a published Windows template on the test machine: each ends with 0 and has done what it says.

Whole templates, with what happens between scripts, are in scenarios/windows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.guests.machine import Settings, WindowsMachine
from fixtures.guests.noted import CMDLETS, PROGRAMS
from fixtures.guests.web import Web
from tests.guest_calls import call
from tests.judges import need_engine
from tests.windows_scripts import NET, PACKAGE, RELEASES, WEB, script


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with Web(files=WEB, folder=tmp_path_factory.mktemp("web")) as made:
        yield made


@pytest.fixture(scope="module")
def machine(web: Web) -> Iterator[WindowsMachine]:
    with WindowsMachine(need_engine(), Settings(noted=(*CMDLETS, *PROGRAMS), web=web.variables)) as made:
        yield made


def run(machine: WindowsMachine, name: str) -> str:
    """What a script prints; it must end with 0 and write no error."""
    file = machine.host("C:\\Windows\\Temp") / Path(name).name
    file.write_bytes(script(name))
    done = call(machine, f"powershell -File C:\\Windows\\Temp\\{file.name}")
    assert (done.code, done.stderr) == (0, ""), done
    return done.stdout


def test_a_task_that_every_server_has_is_disabled_and_a_key_is_made(machine: WindowsMachine) -> None:
    run(machine, "common/Initialize-VM.ps1")
    assert machine.guest.read("tasks/ServerManager")["state"] == 1
    assert machine.registry.exists("HKLM\\SYSTEM\\CurrentControlSet\\Control\\Network\\NewNetworkWindowOff")


def test_an_installer_from_an_https_address_is_started(machine: WindowsMachine, web: Web) -> None:
    assert "Installation successful" in run(machine, "Windows2025/Install-NET481.ps1")
    assert NET in web.asked
    assert json.loads(machine.noted()[-1]) == ["NDP481-x86-x64-AllOS-ENU.exe", "Setup", "/passive", "/norestart"]


def test_a_signed_package_brings_its_program(machine: WindowsMachine, web: Web) -> None:
    said = run(machine, "common/Install-PowerShellCore-GitHub.ps1")
    assert "PowerShell installation completed successfully" in said
    assert web.asked[-2:] == [RELEASES, PACKAGE]


def test_a_language_is_made_the_default(machine: WindowsMachine) -> None:
    assert "ja-JP has been configured" in run(machine, "Windows2025/install-languagepack.ps1")
    region = machine.guest.read("region")
    assert (region["locale"], region["newuser"], region["welcome"]) == ("ja-JP", ["ja-JP"], ["ja-JP"])


def test_a_script_that_empties_the_folder_for_temporary_files_leaves_the_folder(machine: WindowsMachine) -> None:
    assert "Setting local execution policy" in run(machine, "common/Finalize-VM.ps1")
    assert machine.host("C:\\Windows\\Temp").is_dir()
    assert machine.guest.read("tasks/ServerManager")["state"] == 3
