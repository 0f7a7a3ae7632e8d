"""Bicep through a compiler on PATH: a stand-in that takes the real one's arguments and answers from a recording.

What it answers is what the real one did (fixtures/bicep); of tests that are about what comes after, what they give it.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from ast import literal_eval
from pathlib import Path

import pytest

from aibemu.arm.diagnostics import Severity, TemplateInvalid
from aibemu.clock import forever
from aibemu.errors import HostNotReady, UsageError
from aibemu.paths import Home
from aibemu.processes import Finished
from aibemu.redact import Redactor
from aibemu.settings import Settings
from aibemu.submission import bicep
from aibemu.submission.examine import Examined, examine
from aibemu.submission.request import TemplateRequest
from aibemu.testing.clock import FakeClock
from tests import bicep_recordings
from tests.public_data import TEMPLATES

FIXTURES = Path(__file__).parents[3] / "fixtures" / "templates" / "bicep"
COMPILED = (FIXTURES / "web.compiled.json").read_text()
PARAMETERS = json.dumps(
    {"parameters": {"location": {"value": "northeurope"}, "packages": {"value": ["curl", "git"]}}}
)  # fmt: skip

STAND_IN = """import pathlib, sys
arguments = sys.argv[1:]
if arguments[0] == "jsonrpc":
    sys.exit("an old one, that cannot say on which files it depends")
here = pathlib.Path(__file__).parent
(here / "arguments").open("a").write(repr(arguments) + "\\n")
answer = here / (arguments[0] if arguments[0] != "bicep" else arguments[1])
sys.stderr.write((here / "errors").read_text() if (here / "errors").exists() else "")
sys.stdout.write(answer.read_text() if answer.exists() else "")
sys.exit(int((here / "status").read_text()) if (here / "status").exists() else 0)
"""


class Tools:
    """A PATH of its own with what is put there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name: str = "bicep", **files: str) -> None:
        """Put a compiler there. files: build, build-params (what it prints), errors, status."""
        self.program(name, STAND_IN)
        for file, text in files.items():
            (self.folder / file.replace("_", "-")).write_text(text)

    def program(self, name: str, text: str) -> None:
        """A program in Python. No `#!` of its own: the interpreter's path may have a blank."""
        script = self.folder / f"{name}.py"
        script.write_text(text)
        program = self.folder / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(script))} "$@"\n')
        program.chmod(0o755)

    @property
    def arguments(self) -> list[list[str]]:
        return [literal_eval(line) for line in (self.folder / "arguments").read_text().splitlines()]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return Tools(folder)


def look(file: Path, tmp_path: Path, **options: object) -> Examined:
    request = TemplateRequest.of_file(file, Path.cwd(), **options)
    return examine(
        request, home=Home.at(tmp_path / "home"), settings=Settings(), clock=FakeClock(), build=False,
        redactor=Redactor(),
    )  # fmt: skip


def test_a_bicep_file_is_compiled_and_checked(tools: Tools, tmp_path: Path) -> None:
    tools.install(build=COMPILED)
    loaded = look(FIXTURES / "web.bicep", tmp_path, parameters=('packages=["a"]',)).require()

    assert tools.arguments == [["build", str(FIXTURES / "web.bicep"), "--stdout", "--no-restore"]]
    assert loaded.template.name.startswith("web-")
    assert [step.name for step in loaded.template.customize] == ["install-a"]
    assert loaded.template.directory == str(FIXTURES)


def test_parameters_of_a_bicepparam(tools: Tools, tmp_path: Path) -> None:
    tools.install(build_params=json.dumps({"templateJson": COMPILED, "parametersJson": PARAMETERS}))
    loaded = look(FIXTURES / "web.bicepparam", tmp_path, parameters=("location=mars",)).require()

    assert tools.arguments == [["build-params", str(FIXTURES / "web.bicepparam"), "--stdout", "--no-restore"]]
    assert loaded.template.location == "mars"
    assert [step.name for step in loaded.template.customize] == ["install-curl", "install-git"]


def test_a_bicepparam_beside_a_template(tools: Tools, tmp_path: Path) -> None:
    tools.install(
        build=COMPILED, build_params=json.dumps({"templateJson": COMPILED, "parametersJson": PARAMETERS})
    )  # fmt: skip
    loaded = look(FIXTURES / "web.bicep", tmp_path, parameters=(str(FIXTURES / "web.bicepparam"),)).require()
    assert loaded.template.location == "northeurope"


def test_through_az(tools: Tools, tmp_path: Path) -> None:
    tools.install("az", build=COMPILED)
    look(FIXTURES / "web.bicep", tmp_path).require()
    assert tools.arguments == [["bicep", "build", "--file", str(FIXTURES / "web.bicep"), "--stdout", "--no-restore"]]


def test_a_place_in_bicep_is_told_where_it_is_certain(tools: Tools, tmp_path: Path) -> None:
    """A wrong field that the Bicep file does not have keeps its place in the JSON, which is kept; the object it is in,
    and what a build says of steps, have theirs in the Bicep file."""
    tools.install(build=COMPILED.replace('"Debian"', '"Debian", "offr": "x"'))
    examined = look(FIXTURES / "web.bicep", tmp_path)
    (found,) = [d for d in examined.diagnostics if d.id == "E01"]
    kept = Path(found.span.file)
    assert kept.parent == tmp_path / "home" / "cache" / "bicep"
    assert kept.read_text().splitlines()[found.span.line - 1][found.span.column - 1 :].startswith('"offr"')

    tools.install(build=COMPILED)
    source = (FIXTURES / "web.bicep").read_text().splitlines()
    template = look(FIXTURES / "web.bicep", tmp_path).require().template
    assert template.source.span.file == str(FIXTURES / "web.bicep")
    assert source[template.source.span.line - 1].strip().startswith("source: {")


def test_files_of_one_name_are_kept_apart(tools: Tools, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        file = Path(shutil.copy(FIXTURES / "web.bicep", tmp_path / name / "main.bicep"))
        tools.install(build=COMPILED.replace('"Debian"', f'"{name}"'))
        look(file, tmp_path)
    kept = sorted((tmp_path / "home" / "cache" / "bicep").glob("main-*.template.json"))
    assert len(kept) == 2
    assert {name for name in ("one", "two") for file in kept if f'"{name}"' in file.read_text()} == {"one", "two"}


def test_values_are_not_kept_in_clear(tools: Tools, tmp_path: Path) -> None:
    """A .bicepparam may read the environment. What an earlier version kept of one is removed."""
    old = tmp_path / "home" / "cache" / "bicep" / "web.parameters.json"
    old.parent.mkdir(parents=True)
    old.write_text('{"parameters": {"location": {"value": "of-the-environment"}}}')
    values = PARAMETERS.replace("northeurope", "of-the-environment")
    tools.install(build_params=json.dumps({"templateJson": COMPILED, "parametersJson": values}))
    look(FIXTURES / "web.bicepparam", tmp_path)
    kept = [file for file in (tmp_path / "home").rglob("*") if file.is_file()]
    assert kept and not any("of-the-environment" in file.read_text() for file in kept)


def test_a_finding_in_parameters_is_at_their_file(tools: Tools, tmp_path: Path) -> None:
    values = json.dumps({"parameters": {"location": {"value": 7}, "packges": {"value": []}}})
    tools.install(build_params=json.dumps({"templateJson": COMPILED, "parametersJson": values}))
    found = {d.message: d.span for d in look(FIXTURES / "web.bicepparam", tmp_path).diagnostics if d.id == "X06"}
    assert len(found) == 2
    source = (FIXTURES / "web.bicepparam").read_text().splitlines()
    (location,) = [span for message, span in found.items() if "location" in message]
    assert location.file == str(FIXTURES / "web.bicepparam")
    assert source[location.line - 1].startswith("param location")
    (unknown,) = [span for message, span in found.items() if "packges" in message]
    assert str(unknown) == f"{FIXTURES / 'web.bicepparam'}:1:1"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"reference": {"keyVault": {"id": "/x"}, "secretName": "n"}}, "is in a key vault, which only Azure can read"),
        ({"expression": "[externalInputs('custom_secret_0')]"}, "an external input (externalInput)"),
    ],
)
def test_values_that_only_others_have(tools: Tools, tmp_path: Path, entry: object, told: str) -> None:
    values = json.dumps(
        {"parameters": {"location": entry}, "externalInputDefinitions": {"custom_secret_0": {"kind": "x"}}}
    )
    tools.install(build_params=json.dumps({"templateJson": COMPILED, "parametersJson": values}))
    (found,) = [d for d in look(FIXTURES / "web.bicepparam", tmp_path).diagnostics if d.severity is Severity.ERROR]
    assert found.id == "X07" and told in found.message
    assert found.hint == "supply it: --parameters location=VALUE"
    given = look(FIXTURES / "web.bicepparam", tmp_path, parameters=("location=mars",))
    assert given.require().template.location == "mars"


def test_json_that_a_bicepparam_uses_is_named_itself(tools: Tools, tmp_path: Path) -> None:
    text = COMPILED.replace('"Debian"', '"Debian", "offr": "x"')
    (tmp_path / "main.json").write_text(text)
    (tmp_path / "m.bicepparam").write_text("using './main.json'\nparam location = 'x'\n")
    tools.install(build_params=json.dumps({"templateJson": text, "parametersJson": PARAMETERS}))
    (found,) = [d for d in look(tmp_path / "m.bicepparam", tmp_path).diagnostics if d.id == "E01"]
    assert found.span.file == str(tmp_path / "main.json")


def test_secrets_are_masked_as_bicep_writes_them(tools: Tools, tmp_path: Path) -> None:
    """A line of a .bicepparam may be shown, and there a quote has a sign before it."""
    template = json.loads(COMPILED)
    template["parameters"]["token"] = {"type": "securestring"}
    values = {"parameters": {"token": {"value": "it's a ${secret}, really"}, "location": {"value": 7}}}
    tools.install(build_params=json.dumps({"templateJson": json.dumps(template), "parametersJson": json.dumps(values)}))
    secrets = look(FIXTURES / "web.bicepparam", tmp_path).secrets
    assert r"it\'s a \${secret}, really" in secrets


ERRORS = (
    f"{FIXTURES}/web.bicep(3,7) : Error BCP057: The name \"x\" does not exist. "
    "[https://aka.ms/bicep/core-diagnostics#BCP057]\n"
    f"{FIXTURES}/web.bicep(1,2) : Warning no-unused-params: Parameter \"y\" is declared but never used.\n"
)  # fmt: skip


def test_errors_of_the_compiler_are_findings(tools: Tools, tmp_path: Path) -> None:
    tools.install(errors=ERRORS, status="1")
    with pytest.raises(TemplateInvalid) as caught:
        look(FIXTURES / "web.bicep", tmp_path)
    warning, error = caught.value.diagnostics  # by place, in whatever order they were printed
    assert (error.id, error.severity, str(error.span)) == ("BCP057", Severity.ERROR, f"{FIXTURES / 'web.bicep'}:3:7")
    assert error.message == 'The name "x" does not exist.'
    assert error.hint == "https://aka.ms/bicep/core-diagnostics#BCP057"
    assert (warning.id, warning.severity) == ("no-unused-params", Severity.WARNING)


@pytest.mark.parametrize(
    ("prefix", "where", "file"),
    [
        ("", "{folder}/web (1).bicep", "{folder}/web (1).bicep"),
        ("ERROR: ", "{folder}/web (1).bicep", "{folder}/web (1).bicep"),
        ("", "web (1).bicep", "{folder}/web (1).bicep"),
        ("", "{folder}/modules/web (1).bicep", "{folder}/modules/web (1).bicep"),
    ],
)
def test_errors_name_the_file_they_are_in(tools: Tools, tmp_path: Path, prefix: str, where: str, file: str) -> None:
    """A module may have the name of the file that uses it; brackets in a name are not a place."""
    folder = tmp_path / "images (2)"
    folder.mkdir()
    path = Path(shutil.copy(FIXTURES / "web.bicep", folder / "web (1).bicep"))
    tools.install(errors=f"{prefix}{where.format(folder=folder)}(3,7) : Error BCP018: Expected.\n", status="1")
    with pytest.raises(TemplateInvalid) as caught:
        look(path, tmp_path)
    (error,) = caught.value.diagnostics
    assert str(error.span) == f"{file.format(folder=folder)}:3:7"
    assert caught.value.exit_code == 3


def test_warnings_of_the_compiler_are_shown(tools: Tools, tmp_path: Path) -> None:
    tools.install(build=COMPILED, errors=ERRORS.splitlines()[1])
    assert "no-unused-params" in {d.id for d in look(FIXTURES / "web.bicep", tmp_path).diagnostics}


def test_a_bicepparam_that_names_no_template(tools: Tools, tmp_path: Path) -> None:
    """`using none`: it is a parameters file, and only that."""
    tools.install(build=COMPILED, build_params=json.dumps({"templateJson": None, "parametersJson": PARAMETERS}))
    with pytest.raises(UsageError, match="names no Bicep file"):
        look(FIXTURES / "web.bicepparam", tmp_path)
    loaded = look(FIXTURES / "web.bicep", tmp_path, parameters=(str(FIXTURES / "web.bicepparam"),)).require()
    assert loaded.template.location == "northeurope"


@pytest.mark.parametrize("name", ["build", "build_params"])
def test_a_compiler_that_says_nothing_useful(tools: Tools, tmp_path: Path, name: str) -> None:
    tools.install(errors="Unhandled exception.\n  at Bicep.Main", status="134")
    with pytest.raises(HostNotReady, match="made nothing of") as caught:
        look(FIXTURES / ("web.bicep" if name == "build" else "web.bicepparam"), tmp_path)
    assert "Unhandled exception." in caught.value.details


def test_a_compiler_that_prints_something_else(tools: Tools, tmp_path: Path) -> None:
    for answer in ("[]", "Hello!", "{}", '{"templateJson": {}, "parametersJson": "{}"}', '{"templateJson": "{}"}'):
        tools.install(build="Hello!", build_params=answer)
        for file in ("web.bicep", "web.bicepparam"):
            with pytest.raises(HostNotReady, match="made nothing of"):
                look(FIXTURES / file, tmp_path)


def test_a_compiler_that_does_not_end(tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bicep, "TIMEOUT", 0.2)
    tools.program("bicep", "import time; time.sleep(60)")
    with pytest.raises(HostNotReady, match="did not end"):
        look(FIXTURES / "web.bicep", tmp_path)


def test_names_with_blanks_and_dashes_are_no_options(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.install(build=COMPILED)
    folder = tmp_path / "a b"
    folder.mkdir()
    shutil.copy(FIXTURES / "web.bicep", folder / "-web.bicep")
    monkeypatch.chdir(folder)
    look(Path("-web.bicep"), tmp_path).require()
    assert tools.arguments == [["build", str(folder / "-web.bicep"), "--stdout", "--no-restore"]]


def test_without_a_compiler_one_sentence_says_so(tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(HostNotReady) as caught:
        look(FIXTURES / "web.bicep", tmp_path)
    assert caught.value.exit_code == 4
    assert "no `bicep` (nor `az`) on PATH" in caught.value.message


def test_a_file_that_is_not_there(tools: Tools, tmp_path: Path) -> None:
    tools.install(build=COMPILED)
    with pytest.raises(UsageError, match="cannot read"):
        look(tmp_path / "none.bicep", tmp_path)


class TestRecorded:
    """What the real compiler answered to each file of fixtures/bicep."""

    def test_each_answer_is_taken_for_what_it_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """JSON where it made some, its errors where it found some, and its first words where it did neither."""
        sources = bicep_recordings.unpack_sources(tmp_path, "cli")
        cases = bicep_recordings.builds()
        assert len(cases) >= 100
        monkeypatch.setattr("shutil.which", lambda name: "bicep")
        for name, case in cases.items():
            told = bicep_recordings.in_folder(case["stderr"], sources)
            done = Finished(
                stdout=bicep_recordings.in_folder(case["stdout"], sources), stderr=told, status=case["exit"]
            )
            monkeypatch.setattr(bicep, "run_tool", lambda *_, done=done, **__: done)
            file = Path(bicep_recordings.in_folder(bicep_recordings.file_of(case), sources))
            if file.suffix.casefold() not in bicep.SUFFIXES or not Path(sources, file).is_file():
                continue
            told_errors = told.count(") : Error ")
            try:
                compiled = bicep.compile_file(file, sources, forever(FakeClock()))
            except TemplateInvalid as error:
                assert told_errors == sum(found.severity is Severity.ERROR for found in error.diagnostics), name
                assert case["exit"] == 1
                assert all(Path(sources, found.span.file).is_file() for found in error.diagnostics), name
            except HostNotReady as error:
                assert not told_errors and case["exit"], name
                assert told.split("\n", 1)[0] in error.details, name
                assert len(error.details) < 12, name
            else:
                assert case["exit"] == 0, name
                assert (compiled.template or compiled.parameters) is not None

    def test_through_the_stand_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "a bin"
        folder.mkdir()
        sources = bicep_recordings.unpack_sources(tmp_path, "cli")
        bicep_recordings.install(folder, sources)
        monkeypatch.setenv("PATH", str(folder))
        codes = {found.id for found in look(sources / "warn.bicep", tmp_path).diagnostics}
        assert codes >= {"E07", "no-unused-params", "no-unused-vars"}
        with pytest.raises(TemplateInvalid) as caught:
            look(sources / "br.bicep", tmp_path)
        assert caught.value.diagnostics[0].hint == (
            "aibemu lets the compiler fetch nothing; fetch the module first: "
            + shlex.join(["bicep", "restore", str(sources / "br.bicep")])
        )
        with pytest.raises(HostNotReady) as crash:
            look(sources / "config-wrong-type" / "main.bicep", tmp_path)
        assert crash.value.details[0].startswith("Unhandled exception: System.Text.Json.JsonException")
        assert not any("   at " in line for line in crash.value.details)


class TestRealFiles:
    @pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.bicep")), ids=lambda path: path.stem[-40:])
    def test_without_a_compiler(self, tools: Tools, tmp_path: Path, path: Path) -> None:
        with pytest.raises(HostNotReady, match="is Bicep, and there is no `bicep`"):
            look(path, tmp_path)

    def test_the_module_of_azure_verified_modules(self, tools: Tools, tmp_path: Path) -> None:
        (source,) = TEMPLATES.glob("*image-template_main.bicep")
        tools.install(build=source.with_suffix(".json").read_text())
        values = {
            "name": {"value": "img"},
            "imageSource": {"value": {
                "type": "PlatformImage", "publisher": "Debian", "offer": "debian-12", "sku": "12", "version": "latest"
            }},
            "distributions": {"value": [{"type": "ManagedImage", "imageName": "mi"}]},
            "managedIdentities": {"value": {"userAssignedResourceIds": [
                "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/builder"]}},
        }  # fmt: skip
        loaded = look(source, tmp_path, parameters=(json.dumps(values),)).require()
        assert loaded.template.name.startswith("img-")
