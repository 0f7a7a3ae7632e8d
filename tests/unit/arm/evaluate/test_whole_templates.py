"""Whole templates of our own, in the two manners that people have: by hand, and as Bicep compiles types and modules.

What is expected (`*.expected.json`) was written by hand from the templates, not taken from the program.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aibemu.arm.evaluate.deployment import evaluate, open_template
from aibemu.arm.expressions.surroundings import Surroundings
from aibemu.arm.findings import Findings
from aibemu.arm.places import Places
from aibemu.arm.reader import read
from aibemu.submission.parameters import Values, read_parameters
from aibemu.template.loader import Inputs, load
from tests.unit.arm.evaluate.workbench import Result

FOLDER = Path(__file__).parents[4] / "fixtures" / "templates" / "expressions"
AROUND = Surroundings(now=datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC))
KINDS = frozenset({"Shell", "File", "PowerShell", "WindowsRestart", "WindowsUpdate"})


def values(*arguments: str) -> Values:
    read_ = Values()
    for argument in arguments:
        read_parameters(argument, read_, Path.cwd())
    return read_


def result(name: str, *arguments: str) -> Result:
    text = (FOLDER / f"{name}.json").read_text()
    root = read(text, name).root
    assert root is not None
    given = values(str(FOLDER / f"{name}.parameters.json"), *arguments)
    findings = Findings(name)
    scope = open_template(root, findings, Places({**given.texts, name: text}), AROUND, given.given)
    return Result(text=text, scope=scope, evaluated=evaluate(scope), findings=findings.sorted())


@pytest.mark.parametrize("name", ["classic", "modules"])
def test_what_its_author_meant(name: str) -> None:
    expected = json.loads((FOLDER / f"{name}.expected.json").read_text())
    found = result(name)
    # `[[ -e FILE ]]` of its steps, of which ARM leaves half.
    assert [one.id for one in found.findings] == (["X12"] if name == "classic" else [])
    assert found.resources == expected["resources"]
    assert found.outputs == expected["outputs"]


@pytest.mark.parametrize(("name", "template"), [("classic", "team-web"), ("classic", "TEAM-AD"), ("modules", None)])
def test_it_is_a_template_for_the_service_too(name: str, template: str | None) -> None:
    given = values(str(FOLDER / f"{name}.parameters.json"))
    inputs = Inputs(name=template, given=given.given, texts=given.texts, surroundings=AROUND)
    loaded = load(FOLDER / f"{name}.json", known_kinds=KINDS, inputs=inputs, build=False)
    assert loaded.template.customize
    assert {"comments", "dependsOn", "copy", "resources"}.isdisjoint(loaded.template.document)


def test_the_trigger_written_inside_of_a_template_is_a_resource() -> None:
    kinds = result("classic", "withTrigger=true").evaluated.held
    assert kinds.count("Microsoft.VirtualMachineImages/imageTemplates/triggers") == 2
    assert "trigger" in result("classic", "withTrigger=true").outputs


def test_its_secret_is_known_as_one() -> None:
    assert result("classic").evaluated.secrets == {"s3cr3t-key"}


WRONG: list[tuple[str, str, str, str]] = [
    ("classic", "prefix=x", "parameter 'prefix' must be at least 2 characters long, not 1", "--parameters"),
    ("classic", "api-version=2023-01-01", "parameter 'api-version' is not one of the allowed values: ", "--parameters"),
    ("modules", "timeout=5", "parameter 'timeout' must be at least 6, not 5", "--parameters"),
    ("modules", 'steps=[{"kind": "package"}]', "'steps'[0].kind must be 'packages' or 'script', not 'package'", ""),
    ("modules", 'steps=[{"kind": "script"}]', "parameter 'steps'[0]: the property 'uri' is missing", ""),
    ("modules", 'steps=[{"kind": "packages", "names": []}]', "'steps'[0].names must be at least 1 items long", ""),
    ("modules", 'steps=[{"kind": "script", "uri": "x", "url": "y"}]', "'steps'[0] has no property 'url'", ""),
    ("modules", 'network={"subnet": 5}', "parameter 'network'.subnet must be text", ""),
]


@pytest.mark.parametrize(("name", "argument", "words", "file"), WRONG)
def test_wrong_values_are_refused(name: str, argument: str, words: str, file: str) -> None:
    (found,) = (one for one in result(name, argument).findings if one.id != "X12")
    assert found.id == "X06"
    assert words in found.message
    assert found.span.file == (file or "--parameters")


def test_wrong_values_are_shown_where_they_stand_in_the_file(tmp_path: Path) -> None:
    """Each problem in the parameters file, not in the template."""
    given: dict[str, Any] = json.loads((FOLDER / "modules.parameters.json").read_text())
    given["parameters"]["steps"]["value"][1]["nmaes"] = given["parameters"]["steps"]["value"][1].pop("names")
    given["parameters"]["timeout"]["value"] = "ten"
    given["parameters"]["regoins"] = given["parameters"].pop("regions")
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(given, indent=2))

    lines = file.read_text().splitlines()
    placed = []
    for found in result("modules", str(file)).findings:
        assert found.id == "X06"
        assert found.span.file == str(file)
        placed.append((lines[found.span.line - 1][found.span.column - 1 :].rstrip(" {["), found.hint))
    assert placed == [
        ('"ten"', None),
        ("", None),  # the step itself, where `names` is missing
        ('"nmaes":', "did you mean 'names'?"),
        ('"regoins":', "did you mean 'regions'?"),
    ]
