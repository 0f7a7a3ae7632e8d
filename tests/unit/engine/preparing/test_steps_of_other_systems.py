"""Steps for the other system than that of an image of one's own are refused before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aibemu.cli.main import run
from aibemu.engine.preparing import prepare
from aibemu.images import BaseImage, Generation, ImageInfo, Provisioning
from aibemu.plan.model import ResolvedImage

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers"
IDENTITY = f"{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/aib"
OWN = {"type": "ManagedImage", "imageId": f"{GROUP}/Microsoft.Compute/images/mine"}


def resolved(system: str, known: bool = True) -> ResolvedImage:
    info = ImageInfo(
        os_type=system, os_name="its name", generation=Generation.V2, provisioning=Provisioning.UNKNOWN,
        generalized=True, origin="",
    )  # fmt: skip
    image = BaseImage(digest="d" * 64, path=Path(), virtual_size=1, file_size=1, created="", info=info)
    return ResolvedImage(image=image, exact_version="", source_id="mine", plan=None, known=known)


def answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: ResolvedImage,
    *steps: dict[str, Any], validators: tuple[dict[str, Any], ...] = (),
) -> tuple[int, str]:  # fmt: skip
    monkeypatch.setenv("AIBEMU_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prepare, "resolve", lambda *_, **__: found)
    monkeypatch.setattr(prepare, "check_buildable", lambda *_, **__: None)
    (tmp_path / "t.json").write_text(
        json.dumps({
            "location": "westeurope", "identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}},
            "properties": {
                "source": OWN, "customize": list(steps), "distribute": [{"type": "VHD", "runOutputName": "disk"}],
                "validate": {"inVMValidations": list(validators)},
            },
        }, indent=1)
    )  # fmt: skip
    return run(["plan", "t.json", "--driver", "dryrun", "-o", "json"]), capsys.readouterr().out


SHELL = {"type": "Shell", "name": "sh", "inline": ["true"]}
RESTART = {"type": "WindowsRestart", "name": "again", "restartTimeout": "15m"}
UPDATE = {"type": "WindowsUpdate", "name": "updates"}


def test_shell_on_a_windows_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = answer(tmp_path, monkeypatch, capsys, resolved("Windows"), SHELL, validators=(SHELL,))
    assert code == 3
    assert said.count('"E23"') == 2
    assert "'Shell' is for Linux, and the source is a Windows image (its name)" in said
    assert "customize[0]" in said and "inVMValidations[0]" in said
    assert not list((tmp_path / "home").rglob("events.ndjson"))


def test_windows_steps_on_a_linux_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    powershell = {"type": "PowerShell", "name": "ps", "inline": ["Get-Date"]}
    code, said = answer(tmp_path, monkeypatch, capsys, resolved("Linux"), powershell, RESTART, UPDATE)
    assert code == 3
    assert said.count('"E23"') == 3
    assert "use Shell, or another source" in said


def test_what_fits_and_what_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for found in (resolved("Linux"), resolved("Windows", known=False), resolved("")):
        assert "E23" not in answer(tmp_path, monkeypatch, capsys, found, SHELL)[1]
