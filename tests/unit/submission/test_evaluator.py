"""`aibemu doctor --evaluator FILE`: what Azure's own engine predicts, beside what aibemu makes of it."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import forever
from aibemu.errors import HostNotReady, UsageError
from aibemu.paths import Home
from aibemu.settings import Settings
from aibemu.submission.evaluator import Comparison, as_bicep, as_data, compare
from aibemu.submission.request import TemplateRequest
from aibemu.testing.clock import FakeClock

TEMPLATE = {
    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    "contentVersion": "1.0.0.0",
    "parameters": {
        "name": {"type": "string"},
        "size": {"type": "int", "defaultValue": 1},
        "token": {"type": "securestring", "defaultValue": ""},
    },
    "resources": [
        {
            "type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01",
            "name": "[parameters('name')]", "location": "[resourceGroup().location]",
            "tags": {"size": "[string(parameters('size'))]", "time": "[reference('x').y]"}, "properties": {},
        }
    ],
    "outputs": {"twice": {"type": "int", "value": "[mul(parameters('size'), 2)]"}},
}  # fmt: skip
ID = "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.VirtualMachineImages/imageTemplates/{}"
# Stands in for `bicep`: keeps what it is asked, and answers from files beside it.
PROGRAM = """import pathlib, shutil, sys
here = pathlib.Path(__file__).parent
if sys.argv[1] == "--version":
    print("Bicep CLI version 0.0.0 (test)")
    sys.exit()
asked = pathlib.Path(sys.argv[2])
(here / "asked.json").write_text((asked.parent / "main.json").read_text())
(here / "asked.bicepparam").write_text(asked.read_text())
(here / "arguments").write_text(" ".join(sys.argv[1:]))
sys.stderr.write((here / "errors").read_text().replace("<DIR>", str(asked.parent)))
if (here / "snapshot").exists():
    shutil.copy(here / "snapshot", asked.with_name("main.snapshot.json"))
else:
    sys.exit(1)
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a bin"
    folder.mkdir()
    (folder / "errors").write_text("")
    (folder / "bicep.py").write_text(PROGRAM)
    program = folder / "bicep"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(folder / "bicep.py"))} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def asked(tmp_path: Path, template: Any, *parameters: str) -> Comparison:
    file = tmp_path / "web.json"
    file.write_text(template if isinstance(template, str) else json.dumps(template))
    clock = FakeClock()
    request = TemplateRequest.of_file(file, tmp_path, parameters=parameters)
    return compare(
        request, home=Home.at(tmp_path / "home"), settings=Settings(), clock=clock, deadline=forever(clock)
    )  # fmt: skip


def predicted(**changes: Any) -> dict[str, Any]:
    settings = Settings()
    resource = {
        "id": ID.format(settings.subscription_id, settings.resource_group, "web"), "name": "web",
        "type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01",
        "location": settings.location, "tags": {"size": "7", "time": "[reference('x').y]"}, "properties": {},
    }  # fmt: skip
    return {"predictedResources": [{**resource, **changes}], "diagnostics": [], "outputs": {"twice": 14}}


def test_the_engine_is_asked_with_the_same_values(engine: Path, tmp_path: Path) -> None:
    (engine / "snapshot").write_text(json.dumps(predicted()))
    found = asked(tmp_path, TEMPLATE, "name=web", "size=7", "token=it's ${x}")
    assert found.differences == [] and (found.resources, found.outputs, found.open) == (1, 1, 1)
    assert found.bicep == "Bicep CLI version 0.0.0 (test)"
    assert json.loads((engine / "asked.json").read_text()) == TEMPLATE
    lines = (engine / "asked.bicepparam").read_text().splitlines()
    assert lines == ["using './main.json'", "param name = 'web'", "param size = 7", r"param token = 'it\'s \${x}'"]
    words = (engine / "arguments").read_text()
    assert f"--subscription-id {Settings().subscription_id}" in words and "--resource-group" in words
    assert found.secrets >= {"it's ${x}"}


def test_what_differs_is_told_with_its_place(engine: Path, tmp_path: Path) -> None:
    answer = predicted(location="mars", tags={"size": "7", "time": "[x()]", "more": 1}) | {"outputs": {"twice": 15}}
    (engine / "snapshot").write_text(json.dumps(answer))
    found = as_data(asked(tmp_path, TEMPLATE, "name=web", "size=7"))
    id_ = answer["predictedResources"][0]["id"]
    assert found["agrees"] is False
    assert found["differences"] == [
        {"where": f"{id_}.location", "azure": "mars", "aibemu": Settings().location},
        {"where": f"{id_}.tags.more", "azure": 1, "aibemu": None},
        {"where": "output twice", "azure": 15, "aibemu": 14},
    ]
    other = json.loads(json.dumps(predicted()).replace("imageTemplates/web", "imageTemplates/other"))
    (engine / "snapshot").write_text(json.dumps(other))
    (one,) = asked(tmp_path, TEMPLATE, "name=web", "size=7").differences
    assert (one.azure, one.aibemu) == ("deployed", "not deployed")


def test_refusals_are_compared(engine: Path, tmp_path: Path) -> None:
    (engine / "errors").write_text(
        "<DIR>/main.bicepparam(1,7) : Error BCP258: name is missing.\nFailed to generate snapshot for file x\n"
    )
    both = asked(tmp_path, TEMPLATE)
    assert both.differences == [] and "parameter 'name' has no value" in both.refused
    (one,) = asked(tmp_path, TEMPLATE, "name=web").differences
    assert (one.where, one.azure, one.aibemu) == ("", "name is missing.", "accepted")
    (engine / "snapshot").write_text(json.dumps(predicted()))
    (other,) = asked(tmp_path, TEMPLATE).differences
    assert other.azure == "accepted" and "has no value" in str(other.aibemu)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Unrecognized command or argument 'snapshot'.\n", "has no `snapshot`"),
        ("Unhandled exception: A.B: it broke\n   at A.B.C()\n", "crashed"),
        ("", "has no `snapshot`"),
    ],
)
def test_a_bicep_that_cannot_be_asked(engine: Path, tmp_path: Path, said: str, told: str) -> None:
    (engine / "errors").write_text(said)
    with pytest.raises(HostNotReady, match=told):
        asked(tmp_path, TEMPLATE, "name=web")


def test_answers_that_are_none(engine: Path, tmp_path: Path) -> None:
    for text in ("", "[]", "{}", "null"):
        (engine / "snapshot").write_text(text)
        with pytest.raises(HostNotReady, match="without a prediction"):
            asked(tmp_path, TEMPLATE, "name=web")


def test_without_bicep_or_a_template(engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no deployment template"):
        asked(tmp_path, {"properties": {}})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostNotReady, match="no `bicep` on PATH"):
        asked(tmp_path, TEMPLATE, "name=web")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("it's", r"'it\'s'"),
        ("a\\b${c}\n\u0007", r"'a\\b\${c}\u{a}\u{7}'"),
        ({"a b": [1, -2, True, None, 1.5]}, "{'a b': [1, -2, true, null, json('1.5')]}"),
    ],
)
def test_values_as_bicep_writes_them(value: Any, text: str) -> None:
    assert as_bicep(value) == text
