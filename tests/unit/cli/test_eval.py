"""`aibemu eval`: one expression, by itself or as in a template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aibemu.arm.diagnostics import TemplateInvalid
from aibemu.cli.app import App
from aibemu.cli.diagnostics import as_data
from aibemu.cli.eval import command
from aibemu.cli.render import human
from aibemu.errors import UsageError
from aibemu.paths import Home
from aibemu.redact import Redactor
from aibemu.testing.clock import FakeClock

TEMPLATE = {
    "parameters": {"who": {"type": "string"}, "key": {"type": "securestring", "defaultValue": "hush-hush"}},
    "variables": {"greeting": "[concat('hello ', parameters('who'))]"},
    "resources": [],
}


def run(home: Path, *arguments: str, output: str = "human") -> Result:
    app = App(home=Home.at(home), output=output, command="eval", clock=FakeClock())
    return CliRunner().invoke(command, list(arguments), obj=app)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(TEMPLATE))
    return str(path)


@pytest.mark.parametrize("text", ["[concat('a', 'b')]", "concat('a', 'b')"])
def test_by_itself_with_or_without_brackets(tmp_path: Path, text: str) -> None:
    assert run(tmp_path, text).stdout == '"ab"\n'


def test_the_time_can_be_tried(tmp_path: Path) -> None:
    assert len(json.loads(run(tmp_path, "utcNow('yyyy')").stdout)) == 4


def test_in_a_template(tmp_path: Path, file: str) -> None:
    assert run(tmp_path, "variables('greeting')", file, "-p", "who=you").stdout == '"hello you"\n'


def test_values_of_any_kind(tmp_path: Path) -> None:
    result = run(tmp_path, "createObject('a', createArray(1, true(), null()))", output="json")
    assert json.loads(result.stdout)["data"] == {"value": {"a": [1, True, None]}}


def test_secrets_are_masked(tmp_path: Path, file: str) -> None:
    result = run(tmp_path, "concat('x', parameters('key'))", file, "-p", "who=you")
    assert result.stdout == '"x***"\n'


def test_errors_have_their_places(tmp_path: Path) -> None:
    for text, column in (("[concat('a', toLowr('b'))]", 14), ("concat('a', toLowr('b'))", 13)):
        error = run(tmp_path, text).exception
        assert isinstance(error, TemplateInvalid)
        assert [(d.span.file, d.span.line, d.span.column) for d in error.diagnostics] == [("expression", 1, column)]


def test_only_a_deployment_template_has_parameters(tmp_path: Path) -> None:
    path = tmp_path / "bare.json"
    path.write_text('{"location": "x", "properties": {"source": {}}}')
    assert isinstance(run(tmp_path, "1", str(path)).exception, UsageError)


def test_azures_own_words_stand_beside_ours(tmp_path: Path) -> None:
    """In JSON always; on the terminal with --explain. They name the function as the template spells it."""
    azure = "The template language function 'STRING' expects its first parameter to be one of the following types"
    failed = run(tmp_path, "STRING(null())", "--explain").exception
    assert isinstance(failed, TemplateInvalid)
    (data,) = as_data(failed.diagnostics)
    assert str(data["azure"]).startswith(azure)
    told = human(failed, Redactor(), explain=True)
    assert any(line.strip().startswith(f"Azure says: {azure}") for line in told)
    assert not any("Azure says" in line for line in human(failed, Redactor()))
