"""A template that is valid and that this aibemu cannot build: told as that, with all that is missing, exit 4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aibemu import plugins
from aibemu.cli.main import run

IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/aib"
WINDOWS = {
    "type": "PlatformImage", "publisher": "MicrosoftWindowsServer", "offer": "WindowsServer",
    "sku": "2022-datacenter-azure-edition", "version": "latest",
}  # fmt: skip
DEBIAN = {"type": "PlatformImage", "publisher": "Debian", "offer": "debian-12", "sku": "12", "version": "latest"}
STEPS: list[dict[str, Any]] = [
    {"type": "PowerShell", "name": "Web", "inline": ["Install-WindowsFeature Web-Server"]},
    {"type": "WindowsRestart", "name": "Again"},
    {"type": "WindowsUpdate", "name": "Updates"},
]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIBEMU_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(work: Path, source: dict[str, Any], steps: list[dict[str, Any]]) -> None:
    target = {"type": "VHD", "runOutputName": "disk"}
    (work / "t.json").write_text(
        json.dumps({
            "location": "westeurope", "identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}},
            "properties": {
                "source": source, "customize": steps, "distribute": [target], "vmProfile": {"vmSize": "Standard_D2_v3"},
            },
        })
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_it_ends_with_4_and_names_what_is_missing(work: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    write(work, WINDOWS, STEPS)
    assert run([verb, "t.json", "--driver", "qemu", "-o", "json"]) == 4
    answer = json.loads(capsys.readouterr().out)
    assert answer["error"]["code"] == "NOT_BUILDABLE"
    assert "is valid, but not buildable here: this aibemu has no Windows guests" in answer["error"]["message"]
    assert "Windows guests (only Linux guests are run so far)" in "\n".join(answer["error"]["details"]["lines"])
    assert not list((work / "home").rglob("events.ndjson"))


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_driver_that_boots_nothing_plans_it(work: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    write(work, WINDOWS, STEPS)
    assert run([verb, "t.json", "--driver", "dryrun", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "success"


def test_a_step_that_nothing_runs_is_named_with_its_place(
    monkeypatch: pytest.MonkeyPatch, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(work, WINDOWS, STEPS)
    there = plugins.names
    monkeypatch.setattr(plugins, "names", lambda group: there(group) - {"PowerShell", "WindowsUpdate"})
    assert run(["run", "t.json", "--driver", "dryrun"]) == 4
    said = capsys.readouterr().err
    assert "PowerShell (Web at " in said and "WindowsUpdate (Updates at " in said


def test_validate_says_that_it_is_valid_and_what_is_missing(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(work, WINDOWS, STEPS)
    assert run(["validate", "t.json"]) == 0
    said = capsys.readouterr().out
    assert "valid, not buildable here (no Windows guests)" in said
    assert run(["validate", "t.json", "-o", "json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert data["buildable"] is False and len(data["missing"]) == 1


def test_a_windows_image_with_no_windows_steps_is_not_buildable_either(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(work, WINDOWS, [])
    assert run(["plan", "t.json"]) == 4
    assert "not buildable here" in capsys.readouterr().err


def test_what_is_wrong_for_azure_too_stays_invalid(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(work, DEBIAN, STEPS)
    assert run(["run", "t.json"]) == 3
    assert "E23" in capsys.readouterr().err


def test_what_can_be_built_is_called_valid(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(work, DEBIAN, [{"type": "Shell", "inline": ["true"]}])
    assert run(["validate", "t.json", "-o", "json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert (data["buildable"], data["missing"]) == (True, [])
