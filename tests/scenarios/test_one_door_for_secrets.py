"""Values of secure parameters, put wherever a template can have them: no verb shows one, and no file keeps one but
`request.json`, which `aibemu resume` reads."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aibemu.cli.main import run
from aibemu.paths import Home

CASE = Path(__file__).parent / "cases/order-of-steps/template.json"
SECRET = "Tr0ub4dor&3-horse"
LONG = "battery.staple." * 12
SIGNATURE = "c2lnbmF0dXJl"
# In an address, in a report of XML, on the way through a shell, in another case, cut, in Base64.
FORMS = (
    SECRET, "Tr0ub4dor%263", "Tr0ub4dor&amp;3", SECRET.lower(), SECRET.upper(), "VHIwdWI0ZG9y", LONG[:40], SIGNATURE
)  # fmt: skip
Say = Callable[..., str]


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A deployment whose secure parameters are in every field where text may stand."""
    document = json.loads(CASE.read_text())
    document["parameters"] = {"password": {"type": "securestring"}, "long": {"type": "securestring"}}
    (resource,) = document["resources"]
    secret = "[parameters('password')]"
    resource["tags"] = {"pw": secret}
    properties = resource["properties"]
    properties["managedResourceTags"] = {"pw": secret}
    properties["customize"] = [
        {"type": "Shell", "name": secret, "inline": ["[concat('echo ', parameters('password'))]"]},
        {
            "type": "File",
            "name": "copy",
            "destination": "/tmp/x",
            "sourceUri": f"[concat('https://h.example/', parameters('password'), '/x.txt?sv=1&sig={SIGNATURE}')]",
        },
    ]
    properties["distribute"] = [
        {"type": "VHD", "runOutputName": "disk", "artifactTags": {"pw": secret, "long": "[parameters('long')]"}}
    ]
    (tmp_path / "files" / SECRET).mkdir(parents=True)
    (tmp_path / "files" / SECRET / "x.txt").write_text("hello\n")
    path = tmp_path / "secret.json"
    path.write_text(json.dumps(document, indent=1))
    return path


@pytest.fixture
def say(
    scenario_home: Home, template: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Say:  # fmt: skip
    """Call the program; all that it says on either stream."""
    monkeypatch.setenv("AIBEMU_HOME", str(scenario_home.root))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.chdir(template.parent)

    def call(*words: str) -> str:
        capsys.readouterr()
        run(words)
        captured = capsys.readouterr()
        return captured.out + captured.err

    return call


def values() -> list[str]:
    mapping = "https://h.example/=files"
    return ["-p", f"password={SECRET}", "-p", f"long={LONG}", "--map", mapping]


def clean(text: str) -> str:
    """The text, in which no form of a secret is."""
    assert [form for form in FORMS if form in text] == []
    return text


@pytest.mark.parametrize("form", ["human", "json", "sarif", "junit", "github"])
def test_validate(say: Say, template: Path, form: str) -> None:
    said = clean(say("validate", str(template), *values(), "--format", form))
    assert "secret.json" in said or "order" in said or "testcase" in said


@pytest.mark.parametrize("form", ["human", "json", "sarif", "junit", "github"])
def test_a_secret_whose_name_is_misspelt(say: Say, template: Path, form: str) -> None:
    """The line with the mistake is shown, and nobody knows what stands there."""
    document = json.loads(template.read_text())
    login = {"user": {"type": "string"}, "password": {"type": "securestring"}}
    document["definitions"] = {"login": {"type": "object", "properties": login, "additionalProperties": False}}
    document["languageVersion"] = "2.0"
    document["parameters"]["login"] = {"$ref": "#/definitions/login"}
    template.write_text(json.dumps(document))
    for given in (
        {"pasword": {"value": SECRET}}, {"pasword": {"value": {"in": [SECRET]}}},
        {"login": {"value": {"user": "me", "password": "other", "pasword": SECRET}}},
        {"login": {"value": {"user": "me", "passwords": [SECRET], "password": "other"}}},
    ):  # fmt: skip
        (template.parent / "given.json").write_text(json.dumps({"parameters": given}))
        said = clean(say("validate", str(template), *values(), "-p", "@given.json", "--format", form))
        assert "sword" in said
        said = clean(say("plan", str(template), *values(), "-p", "@given.json"))
    said = clean(say("validate", str(template), *values(), "-p", f"pasword={SECRET}", "--format", form))
    assert "pasword" in said


@pytest.mark.parametrize("output", ["human", "json"])
def test_plan(say: Say, template: Path, output: str) -> None:
    said = clean(say("plan", str(template), *values(), "--driver", "scripted", "-o", output))
    assert "https://h.example/***/x.txt?sv=1&sig=***" in said


@pytest.mark.parametrize("output", ["human", "json"])
def test_what_cannot_be_fetched(say: Say, template: Path, output: str) -> None:
    (template.parent / "files" / SECRET / "x.txt").unlink()
    for verb in ("plan", "run", "validate"):
        driver = [] if verb == "validate" else ["--driver", "scripted"]
        said = clean(say(verb, str(template), *values(), *driver, "-o", output))
        assert "does not exist" in said


@pytest.mark.parametrize("output", ["human", "json"])
def test_a_run_its_files_and_every_verb_about_it(say: Say, template: Path, scenario_home: Home, output: str) -> None:
    out = ["--out", str(template.parent / "out")]
    clean(say("run", str(template), *values(), "--driver", "scripted", "-o", output, *out))
    for words in (
        ["status"], ["status", "--watch"], ["logs"], ["logs", "--events"], ["logs", "--step", "1"],
        ["logs", "--findings"], ["logs", "--platform"], ["outputs"], ["cache", "list"], ["images", "list"],
        ["clean", "--dry-run"],
    ):  # fmt: skip
        clean(say(*words, "-o", output))
    read = []
    for file in [*scenario_home.runs.rglob("*"), *scenario_home.cloud.rglob("*"), *scenario_home.cache.rglob("*"),
                 *scenario_home.layers.rglob("*"), *(template.parent / "out").rglob("*")]:  # fmt: skip
        if file.is_file() and file.stat().st_size < 1 << 20:
            if file.name == "request.json":
                assert stat.S_IMODE(file.stat().st_mode) == 0o600
                continue
            clean(file.read_text(errors="replace"))
            read.append(file.name)
    assert {"template.json", "events.ndjson", "customization.log"} <= set(read)


@pytest.mark.parametrize("output", ["human", "json"])
def test_eval(say: Say, template: Path, output: str) -> None:
    said = clean(say("eval", "[createObject(parameters('password'), 'x')]", str(template), *values()[:4], "-o", output))
    assert "***" in said
    clean(say("eval", "[int(parameters('password'))]", str(template), *values()[:4], "-o", output))
    clean(say("eval", "[nothing(parameters('password'))]", str(template), *values()[:4], "-o", output))


def test_keys_that_are_supplied(say: Say, template: Path) -> None:
    key = f'listKeys(\'account\')={{"keys": [{{"keyName": "key1", "value": "{SECRET}"}}]}}'
    expression = "[listKeys('account', '2023-01-01').keys[0].value]"
    said = clean(say("eval", expression, str(template), *values()[2:4], "-p", "password=other", "--supply", key))
    assert "***" in said


def test_a_value_that_is_cut_in_an_error(say: Say, template: Path) -> None:
    """Half a secret is one, too."""
    document: Any = json.loads(template.read_text())
    (resource,) = document["resources"]
    resource["properties"]["customize"][0]["type"] = "[parameters('long')]"
    resource["properties"]["distribute"][0]["runOutputName"] = "[parameters('long')]"
    template.write_text(json.dumps(document))
    for form in ("human", "json", "sarif", "junit", "github"):
        said = clean(say("validate", str(template), *values(), "--format", form))
        assert "battery" not in said and "bad value" in said


def test_a_crash(say: Say, template: Path, monkeypatch: pytest.MonkeyPatch, scenario_home: Home) -> None:
    def crash(*arguments: object, **more: object) -> None:
        raise RuntimeError(f"cannot do {SECRET}")

    monkeypatch.setattr("aibemu.engine.preparing.prepare.make_step_settings", crash)
    said = clean(say("run", str(template), *values(), "--driver", "scripted"))
    assert "this is a bug in aibemu" in said and "cannot do ***" in said
    (report,) = (scenario_home.cache / "bugs").iterdir()
    assert "cannot do ***" in clean(report.read_text())
    assert stat.S_IMODE(report.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "words",
    [
        ["--set", SECRET], ["--set", f"={SECRET}"], ["--set", "pw", SECRET], ["--map", SECRET], ["-p", "pw", SECRET],
        ["--supply", "x", SECRET], ["--map", "pw", SECRET], ["--identity", "x", SECRET],
        ["--map", f"pw={SECRET}"], ["--map", f"https://h.example/?sig={SIGNATURE}=dir"], ["--map", f"https://h.example/x={SECRET}"],
        ["--supply", f"listKeys={SECRET}"], ["-p", SECRET], ["-p", f"1={SECRET}"], ["-p", f"password=@{SECRET}"],
        ["-p", f'{{"password": {{"value": {SECRET}}}}}'], ["-p", f'{{"password": "{SECRET}"}}'], ["-p", "broken.json"],
        ["--driver-option", SECRET], ["--identity", SECRET], ["--identity", f"x='{SECRET}"],
    ],
)  # fmt: skip
def test_what_is_malformed_is_not_repeated(say: Say, template: Path, words: list[str]) -> None:
    (template.parent / "broken.json").write_text(f'{{"password": {{"value": "{SECRET}"}}')
    for output in ("human", "json"):
        said = clean(say("run", str(template), "--driver", "scripted", *values(), *words, "-o", output))
        assert "error" in said and "bug" not in said


@pytest.mark.parametrize("name", ["mappings", "supplied", "identities"])
@pytest.mark.parametrize("where", ["file", "environment"])
def test_nor_is_a_malformed_setting(
    say: Say, template: Path, scenario_home: Home, monkeypatch: pytest.MonkeyPatch, name: str, where: str
) -> None:
    for text in (f"{name}: [[{SECRET}]]\n", f"{name}: ['{SECRET}']\n", f"{name}: [ {SECRET}\n"):
        if where == "file":
            scenario_home.config.mkdir(exist_ok=True)
            (scenario_home.config / "config.yaml").write_text(text)
        else:
            monkeypatch.setenv(f"AIBEMU_{name.upper()}", SECRET)
        said = clean(say("run", str(template), "--driver", "scripted", *values()))
        assert "error" in said and "bug" not in said
