from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from aibemu import plugins
from aibemu.arm.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.cli import formats, main
from aibemu.cli.app import App
from aibemu.cli.diagnostics import as_data, count, render
from aibemu.cli.validate import command
from aibemu.errors import NotFoundError, Span, UsageError
from aibemu.paths import Home
from aibemu.redact import Redactor
from aibemu.submission.request import may_hold_template
from tests.public_data import TEMPLATES

FIXTURES = Path(__file__).parents[3] / "fixtures" / "templates"


def run(tmp_path: Path, *arguments: str, output: str = "human") -> Result:
    app = App(home=Home.at(tmp_path), output=output, command="validate")
    return CliRunner().invoke(command, list(arguments), obj=app)


def finding(file: Path, line: int, column: int, **changes: Any) -> Diagnostic:
    span = Span(file=str(file), line=line, column=column)
    return Diagnostic(**{"id": "E99", "severity": Severity.ERROR, "message": "wrong", "span": span, **changes})


def test_a_valid_template_is_called_valid(tmp_path: Path) -> None:
    result = run(tmp_path, str(FIXTURES / "ok" / "deployment.json"))

    assert result.exit_code == 0
    summary = "web-server (api version 2024-02-01, 2 customizers, to ManagedImage): valid, 1 note\n"
    assert result.stdout.endswith(f"\n\n{summary}")


def test_findings_of_a_valid_template_are_shown(tmp_path: Path) -> None:
    path = FIXTURES / "ok" / "all-distributors.json"
    result = run(tmp_path, str(path))

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{path}:3:5: note W05: ")
    assert lines[1] == ' 3 |     "apiVersion": "2025-10-01",'
    assert lines[2] == "   |     ^~~~~~~~~~~~"
    assert lines[-1].endswith("valid, 6 notes")


def test_programs_get_the_resource_and_the_findings(tmp_path: Path) -> None:
    path = FIXTURES / "ok" / "all-distributors.json"
    envelope = json.loads(run(tmp_path, str(path), output="json").stdout)

    assert envelope["status"] == "success"
    template = envelope["data"]["template"]
    assert (template["name"], template["apiVersion"]) == ("everywhere", "2025-10-01")
    assert template["resource"]["properties"]["buildTimeoutInMinutes"] == 120
    found = envelope["data"]["diagnostics"][0]
    assert set(found) == {"id", "severity", "message", "path", "file", "line", "column", "hint", "azure"}
    assert (found["id"], found["severity"], found["line"], found["column"]) == ("W05", "note", 3, 5)


def test_errors_go_to_whoever_renders_errors(tmp_path: Path) -> None:
    result = run(tmp_path, str(FIXTURES / "bad" / "checksums.json"))

    assert isinstance(result.exception, TemplateInvalid)
    assert result.exception.exit_code == 3
    assert [found["id"] for found in as_data(result.exception.diagnostics)] == ["E28", "E26", "E28", "E26"]


def test_options_reach_the_loader(tmp_path: Path) -> None:
    result = run(tmp_path, str(FIXTURES / "ok" / "bare.json"), "--name", "other", "--api-version", "2022-07-01")
    assert result.stdout.splitlines()[-1].startswith("other (api version 2022-07-01, ")


def test_the_caret_stands_under_the_place_tabs_included(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes('\ufeff{\r\n\t"a": word, "é": 1}\r\n'.encode())

    assert render([finding(path, 2, 7, hint="do this", path="ImageTemplate.properties")], mask=str) == [
        f"{path}:2:7: error E99: wrong",
        ' 2 |  "a": word, "é": 1}',
        "   |       ^~~~",
        "   at: ImageTemplate.properties",
        "   hint: do this",
    ]


def test_long_lines_are_cut_around_the_caret(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text("x" * 500 + ' "here" ' + "y" * 500)

    _, source, caret = render([finding(path, 1, 502)], mask=str)

    assert len(source) < 200
    at = caret.index("^")
    assert source[at : at + 6] == '"here"'
    assert caret.endswith("^~~~~~")


def test_a_place_at_the_end_of_a_line_or_file_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text("{")
    assert render([finding(path, 1, 2)], mask=str)[2] == "   |  ^"
    assert len(render([finding(path, 9, 1)], mask=str)) == 1
    assert len(render([finding(tmp_path / "gone", 1, 1)], mask=str)) == 1


def test_nothing_from_a_template_commands_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"a": "\x1b[2J"}')

    lines = render([finding(path, 1, 7, message="bad \x1b[2J", hint="\x1b]0;title\x07")], mask=str)

    assert "\x1b" not in "".join(lines)
    assert "\x1b[31;1m" in "".join(render([finding(path, 1, 7)], mask=str, color=True))


def test_findings_are_counted() -> None:
    path = Path("t.json")
    warning = finding(path, 1, 1, severity=Severity.WARNING)
    note = finding(path, 1, 1, severity=Severity.NOTE)
    assert count([]) == "no findings"
    assert count([finding(path, 1, 1), warning, warning, note]) == "1 error, 2 warnings, 1 note"


HEAVY = ("paramiko", "requests", "rich", "pycdlib", "azure", "libvirt", "winrm", "cryptography", "jsonschema")
# Half of the time that a small template's check took.
NOT_ASKED = ("aibemu.systems", "aibemu.hypervisor", "aibemu.fabric", "aibemu.plan", "aibemu.submission.powershell")


@pytest.mark.parametrize(
    "file", [FIXTURES / "ok" / "linux-quickstart.json", *TEMPLATES.glob("*image-template_main.json")]
)
def test_validating_imports_no_heavy_library(tmp_path: Path, file: Path) -> None:
    """A whole run, the parsers of scripts included."""
    script = (
        "import sys; from aibemu.cli.main import run; run(sys.argv[1:]);"
        f"print(); print([name for name in {HEAVY + NOT_ASKED} if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, "--home", str(tmp_path), "validate", str(file)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert answer.stdout.splitlines()[-1] == "[]"


SECRET = "hunter2hunter2"
DEPLOYMENT = {
    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    "contentVersion": "1.0.0.0",
    "parameters": {"password": {"type": "securestring", "defaultValue": SECRET, "allowedValues": ["other", SECRET]}},
    "resources": [],
}


@pytest.mark.parametrize("arguments", [(), ("--output", "json"), ("--format", "sarif"), ("--format", "junit")])
def test_secrets_are_shown_in_no_form(tmp_path: Path, arguments: tuple[str, ...], capsys: Any) -> None:
    """Not the value, and not the line of the file that holds it."""
    path = tmp_path / "t.json"
    path.write_text(json.dumps({**DEPLOYMENT, "variables": {"a": f"[concat('{SECRET}')"}}, indent=1))
    assert main.run(["--home", str(tmp_path), "validate", str(path), *arguments]) == 3
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err


@pytest.mark.parametrize("form", ["sarif", "github", "junit"])
def test_other_programs_get_their_form_and_the_status(tmp_path: Path, form: str, capsys: Any) -> None:
    for file, status in (("bad/checksums.json", 3), ("ok/bare.json", 0)):
        code = main.run(["--home", str(tmp_path), "validate", str(FIXTURES / file), "--format", form])
        assert code == status
        out = capsys.readouterr().out
        assert ("E26" in out) is (status == 3)


def test_a_parameters_file_that_is_not_json_has_its_form_too(tmp_path: Path, capsys: Any) -> None:
    parameters = tmp_path / "p.json"
    parameters.write_text('{"a": }')
    arguments = ["validate", str(FIXTURES / "ok" / "deployment.json"), "-p", str(parameters), "--format", "github"]
    assert main.run(["--home", str(tmp_path), *arguments]) == 3
    assert capsys.readouterr().out.startswith("::error file=")


def test_plugins_are_found_by_group() -> None:
    assert {"Shell", "File"} <= plugins.names("aibemu.customizers")
    assert plugins.names("aibemu.no-such-group") == frozenset()
    assert plugins.load("aibemu.customizers", "Shell").__name__ == "Shell"
    with pytest.raises(NotFoundError, match="Nothing"):
        plugins.load("aibemu.customizers", "Nothing")


def test_the_command_is_a_click_command() -> None:
    assert isinstance(command, click.Command)
    assert command.name == "validate"


@pytest.mark.parametrize("secret", ["hunter2-secret", "nowhere"])
def test_thousands_of_findings_in_one_long_line(secret: str) -> None:
    """A template may be one line of megabytes: it is not looked through for each of them."""
    text = ", ".join(f'"name{number}": "hunter2-secret"' for number in range(5000))
    found = [
        Diagnostic(
            id="E01", severity=Severity.ERROR, message="no",
            span=Span(file="t", line=1, column=text.index(f'"name{number}"') + 1),
        )
        for number in range(0, 5000, 2)
    ]  # fmt: skip
    began = time.process_time()
    lines = render(found, mask=Redactor([secret]).text, texts={"t": text})
    assert time.process_time() - began < 2
    for number, shown, caret in zip(range(0, 5000, 2), lines[1::3], lines[2::3], strict=True):
        assert ("hunter2" in shown) == (secret == "nowhere")
        place = caret.index("^")
        assert shown[place:].startswith(f'"name{number}"') and caret[place:] == "^" + "~" * len(f'name{number}"')


GOOD, BAD = FIXTURES / "ok" / "bare.json", FIXTURES / "bad" / "checksums.json"


def test_several_files_are_told_one_after_the_other(tmp_path: Path) -> None:
    result = run(tmp_path, str(GOOD), str(BAD), str(FIXTURES / "ok" / "deployment.json"))

    assert result.exit_code == 3
    assert "debian-vhd (api version 2025-10-01, 1 customizer, to VHD): valid, 3 notes" in result.stdout
    assert result.stdout.endswith("\n3 templates: 2 valid, 1 not valid\n")
    assert f"{BAD}:25:42: error E28: " in result.stderr
    assert "error: the template is not valid: 4 errors" in result.stderr


def test_programs_get_several_files_in_one_answer(tmp_path: Path) -> None:
    result = run(tmp_path, str(GOOD), str(BAD), output="json")

    assert result.exit_code == 3
    envelope = json.loads(result.stdout)
    assert (envelope["status"], envelope["error"]["code"]) == ("error", "TEMPLATE_INVALID")
    good, bad = envelope["data"]["templates"]
    assert (good["file"], good["valid"], good["template"]["name"]) == (str(GOOD), True, "debian-vhd")
    assert (bad["file"], bad["valid"]) == (str(BAD), False)
    assert [one["id"] for one in bad["diagnostics"]] == ["E28", "E26", "E28", "E26"]
    both = json.loads(run(tmp_path, str(GOOD), str(GOOD), output="json").stdout)
    assert (both["status"], both["error"], len(both["data"]["templates"])) == ("success", None, 2)


def test_a_file_that_cannot_be_read_is_told_before_any_is_judged(tmp_path: Path) -> None:
    result = run(tmp_path, str(BAD), str(tmp_path / "gone.json"))
    assert isinstance(result.exception, UsageError)
    assert result.stdout == ""


def test_files_that_hold_no_template_are_passed_over(tmp_path: Path) -> None:
    package, bicep = tmp_path / "package.json", tmp_path / "other.bicep"
    package.write_text('{"name": "x", "source": "src", "properties": {}}')
    bicep.write_text("resource a 'Microsoft.Storage/storageAccounts@2023-01-01' = {}\n")
    result = run(tmp_path, "--templates-only", str(package), str(GOOD), str(bicep))
    assert (result.exit_code, result.stdout.count("valid")) == (0, 1)
    result = run(tmp_path, "--templates-only", str(package), str(bicep))
    assert (result.exit_code, result.stdout) == (0, "no image template in the files given\n")
    for path in sorted((FIXTURES / "ok").glob("*.json")):
        assert may_hold_template(path.read_text()), path


def test_reports_are_written_beside_the_answer(tmp_path: Path) -> None:
    out = tmp_path / "out" / "of it"
    wanted = [f"--report={form}={out}/{form}" for form in formats.REPORTS]
    result = run(tmp_path, *wanted, str(GOOD), str(BAD))

    assert result.exit_code == 3
    assert "3 notes" in result.stdout
    for form in formats.REPORTS:
        printed = run(tmp_path, "--format", form, str(GOOD), str(BAD))
        assert printed.exit_code == 3
        assert (out / form).read_text() == printed.stdout, form


@pytest.mark.parametrize("text", ["sarif", "sarif=", "pdf=a", "=a"])
def test_a_report_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    result = run(tmp_path, f"--report={text}", str(GOOD))
    assert isinstance(result.exception, UsageError)
    assert "FORMAT is one of: sarif, junit, github, gitlab, azure, markdown" in str(result.exception.hint)


def test_a_report_that_cannot_be_written_is_an_error_of_the_one_who_typed_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run(tmp_path, f"--report=junit={tmp_path}/file/a.xml", str(GOOD))
    assert isinstance(result.exception, UsageError)
    assert "a.xml cannot be written: " in str(result.exception)


def test_a_secret_is_in_no_report(tmp_path: Path) -> None:
    template = tmp_path / "web.json"
    resource = json.loads(GOOD.read_text())
    resource["properties"]["customize"][0]["inline"] = ["apt-get install [parameters('word')]"]
    resource["properties"]["customize"][0]["name"] = "[parameters('word')]"
    template.write_text(json.dumps({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0", "parameters": {"word": {"type": "securestring"}},
        "resources": [{
            "type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01", "name": "web",
            **resource,
            "extra": "[concat('x', parameters('word'))]",
        }],
    }))  # fmt: skip
    for form in formats.REPORTS:
        result = run(
            tmp_path, "-p", "word=hunter2-is-secret", f"--report={form}={tmp_path}/{form}", str(template), str(GOOD)
        )
        assert "hunter2-is-secret" not in (tmp_path / form).read_text() + result.output, form


def properties_of(body: dict[str, Any]) -> dict[str, Any]:
    """Those of the image template of a deployment, in either form of its resources."""
    resources = body["resources"]
    listed = resources.values() if isinstance(resources, dict) else resources
    found: dict[str, Any] = next(one for one in listed if "imageTemplates" in one["type"])["properties"]
    return found


def test_fail_on_makes_findings_count(tmp_path: Path) -> None:
    """A warning (the region is another one: a note) ends with 3 where it is asked for, and is shown as ever."""
    body = json.loads((FIXTURES / "ok" / "deployment.json").read_text())
    properties = properties_of(body)
    properties["buildTimeoutInMinutes"] = 3
    warned, clean = tmp_path / "warned.json", FIXTURES / "ok" / "deployment.json"
    warned.write_text(json.dumps(body))
    assert "warning E71" in run(tmp_path, str(warned)).output
    for words, code in (
        ((), 0),
        (("--fail-on", "error"), 0),
        (("--fail-on", "warning"), 3),
        (("--fail-on", "note"), 3),
    ):
        result = run(tmp_path, str(warned), *words)
        assert result.exit_code == code and ": valid, " in result.output
        assert ("the exit code is 3" in result.output) == bool(code)
    assert run(tmp_path, str(warned), "--fail-on", "warning", "--disable", "E71").exit_code == 0
    assert run(tmp_path, str(clean), str(warned), "--fail-on", "warning").exit_code == 3


def test_a_template_comes_through_standard_input(tmp_path: Path) -> None:
    """Its scripts are looked for where the command was typed."""
    template = json.loads((FIXTURES / "ok" / "deployment.json").read_text())
    properties_of(template)["customize"] = [{"type": "Shell", "name": "a", "scriptUri": "./a.sh"}]
    words = [sys.executable, "-m", "aibemu", "--home", str(tmp_path / "home"), "validate", "-"]
    done = subprocess.run(words, input=json.dumps(template), capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 3 and "/dev/stdin:1:" in done.stderr and "a.sh" in done.stderr
    (tmp_path / "a.sh").write_text("#!/bin/sh\ntrue\n")
    done = subprocess.run(words, input=json.dumps(template), capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
