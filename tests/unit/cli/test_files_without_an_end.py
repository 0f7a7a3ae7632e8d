"""A pipe, a device or a sparse file in the place of each file that somebody may name: an error that says what it is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from aibemu.cli.main import run

PLACES = [
    ["validate", "{}"],
    ["plan", "{}"],
    ["run", "{}", "--driver", "dryrun"],
    ["validate", "ok.json", "--parameters", "{}"],
    ["validate", "ok.json", "--parameters", "name=@{}"],
    ["validate", "{}.bicep"],
    ["images", "import", "{}"],
    ["images", "import", "{}", "--format", "raw"],
    ["images", "build", "{}.yaml"],
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIBEMU_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ok.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("place", PLACES, ids=" ".join)
@pytest.mark.parametrize("kind", ["device", "sparse"])
def test_it_is_refused(folder: Path, capsys: pytest.CaptureFixture[str], place: list[str], kind: str) -> None:
    for name in ("x", "x.bicep", "x.yaml"):
        if kind == "device":
            (folder / name).symlink_to("/dev/zero")
        else:
            with (folder / name).open("wb") as file:
                file.truncate(2 << 40)
    assert run([word.format("x") for word in place]) in (2, 4)
    said = capsys.readouterr().err
    assert ("is a device, not a file" if kind == "device" else "2 TiB") in said


@pytest.mark.parametrize("name", ["config.yaml", "catalogue.yaml"])
def test_settings_are_files(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    config = folder / "home/config"
    config.mkdir(parents=True)
    os.mkfifo(config / name)
    assert run(["images", "list", "--catalogue"] if "catalogue" in name else ["validate", "ok.json"]) == 2
    assert "is a pipe, not a file" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["file:///dev/zero", "pipe", "sparse", "circle"])
def test_scripts_of_a_template(folder: Path, capsys: pytest.CaptureFixture[str], script: str) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "circle").symlink_to("circle")
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    steps = [{"type": "Shell", "name": "a", "scriptUri": script}]
    (folder / "t.json").write_text(json.dumps({
        "type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01", "location": "westeurope",
        "properties": {"customize": steps},
    }))  # fmt: skip
    assert run(["validate", "t.json"]) == 3
    said = capsys.readouterr().err
    words = {"pipe": "is a pipe, not a file", "sparse": "has 1 TiB", "circle": "symbolic links"}
    assert words.get(script, "is a device, not a file") in said
