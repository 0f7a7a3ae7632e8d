from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aibemu.arm.reader import read
from aibemu.cli.init import KINDS, RUNS_HERE, next_commands, starter
from aibemu.hypervisor import Accelerator
from aibemu_drivers.qemu.driver import QemuDriver
from tests.unit.cli.conftest import Said

Aibemu = Callable[..., Said]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_a_starter_is_written_and_what_comes_next_is_said(aibemu: Aibemu, folder: Path) -> None:
    said = aibemu("init")
    assert said.code == 0
    assert (folder / "image-template.json").read_bytes() == starter("linux")
    assert said.out.splitlines() == [
        "image-template.json: Debian 12 to a managed image; builds here at once",
        "type next:",
        "  aibemu validate image-template.json",
        "  aibemu run image-template.json",
        "  az deployment group create --resource-group GROUP --template-file image-template.json",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_goes_where_it_is_told(aibemu: Aibemu, folder: Path, kind: str) -> None:
    assert aibemu("init", kind, "new/my image.json").code == 0
    assert (folder / "new" / "my image.json").read_bytes() == starter(kind)
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")], "nothing is left of the writing"


def test_the_answer_for_programs(aibemu: Aibemu) -> None:
    envelope = json.loads(aibemu("init", "windows", "it's.json", "--output", "json").out)
    assert (envelope["command"], envelope["status"], envelope["error"]) == ("init", "success", None)
    name = """'it'"'"'s.json'"""
    assert envelope["data"] == {
        "file": "it's.json",
        "kind": "windows",
        "commands": [
            f"aibemu validate {name}",
            f"az deployment group create --resource-group GROUP --template-file {name}",
        ],
    }


def test_nothing_is_overwritten_unless_told(aibemu: Aibemu, folder: Path) -> None:
    file = folder / "image-template.json"
    file.write_text("mine")
    said = aibemu("init")
    assert said.code == 2
    assert "image-template.json is there already" in said.err
    assert "--force" in said.err
    assert file.read_text() == "mine"
    assert aibemu("init", "--force").code == 0
    assert file.read_bytes() == starter("linux")


def test_a_link_that_leads_nowhere_is_not_replaced_either(aibemu: Aibemu, folder: Path) -> None:
    (folder / "t.json").symlink_to("gone.json")
    assert aibemu("init", "linux", "t.json").code == 2
    assert (folder / "t.json").is_symlink()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Linux",), "did you mean linux?"),
        (("galery",), "did you mean gallery?"),
        (("web.json",), "aibemu init linux web.json"),
        (("linux", "."), "name the file: image-template.json"),
        (("linux", "web.bicep"), "name it web.json"),
        (("linux", "file/web.json"), "file"),
    ],
)
def test_a_mistake_comes_with_advice(aibemu: Aibemu, folder: Path, arguments: tuple[str, ...], words: str) -> None:
    (folder / "file").write_text("")
    said = aibemu("init", *arguments)
    assert said.code == 2
    assert words in said.err
    assert [path.name for path in folder.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", KINDS)
def test_starters_are_strict_json_with_a_default_for_every_parameter(kind: str) -> None:
    text = starter(kind).decode("ascii")
    document = read(text, "t.json")
    assert document.diagnostics == ()
    assert json.dumps(json.loads(text), indent=2) + "\n" == text
    parameters = json.loads(text)["parameters"]
    assert all({"defaultValue", "metadata"} <= set(value) for value in parameters.values())
    for name in parameters:
        assert f"parameters('{name}')" in text


@pytest.mark.parametrize("kind", KINDS)
def test_starters_are_valid_without_error_or_warning(aibemu: Aibemu, kind: str) -> None:
    aibemu("init", kind)
    envelope = json.loads(aibemu("validate", "image-template.json", "--output", "json").out)
    assert envelope["status"] == "success", envelope
    assert [found for found in envelope["data"]["diagnostics"] if found["severity"] != "note"] == []
    resource = envelope["data"]["template"]["resource"]
    assert envelope["data"]["template"]["apiVersion"] >= "2024-02-01"
    assert resource["identity"]["type"] == "UserAssigned"


def test_the_gallery_starter_makes_the_next_version_everywhere() -> None:
    (target,) = properties("gallery")["distribute"]
    assert (target["type"], target["versioning"]) == ("SharedImage", {"scheme": "Latest"})
    assert target["targetRegions"]


def test_the_windows_starter_updates_between_restarts() -> None:
    kinds = [step["type"] for step in properties("windows")["customize"]]
    assert kinds == ["PowerShell", "WindowsRestart", "WindowsUpdate", "WindowsRestart"]


def test_nothing_is_found_in_the_windows_starter(aibemu: Aibemu) -> None:
    aibemu("init", "windows")
    envelope = json.loads(aibemu("validate", "image-template.json", "--output", "json").out)
    assert envelope["data"]["diagnostics"] == []


@pytest.mark.parametrize("kind", sorted(RUNS_HERE))
def test_what_builds_here_starts_from_the_offline_base_image(kind: str) -> None:
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((Path(__file__).parents[3] / "fixtures" / "images" / "debian-12.yaml").read_text())
    source = properties(kind)["source"]
    assert f"{source['publisher']}:{source['offer']}:{source['sku']}" in recipe["stands_for"]
    assert "aibemu run t.json" in next_commands(kind, Path("t.json"))


def properties(kind: str) -> Any:
    return json.loads(starter(kind))["resources"][0]["properties"]


def test_the_plan_of_what_cannot_be_built_here_is_shown_and_what_is_missing(
    aibemu: Aibemu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QemuDriver, "accelerator", lambda self: Accelerator(name="tcg", reason="no KVM", slowness=9.0))
    aibemu("init", "windows")
    seen = aibemu("plan", "image-template.json")
    assert seen.code == 4
    assert "c3 WindowsUpdate: InstallUpdates" in seen.out
    assert "not buildable here: this host has no hardware acceleration" in seen.err
    answer = json.loads(aibemu("plan", "image-template.json", "--output", "json").out)
    assert (answer["data"], answer["error"]["code"]) == (None, "NOT_BUILDABLE")
