"""What a guest and a template say is shown, and obeyed by nobody: neither by a terminal nor by a CI system."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.runners import COMMANDS, disguises, taken
from tests.scenarios.layered import Workshop
from tests.scenarios.observing import Seen

EVERYTHING = [text for command in COMMANDS for text in disguises(command)]
SAMPLE = EVERYTHING[::13]
LABEL = "::error::label ##vso[task.setvariable variable=x]y"
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f]")
OWN = re.compile(r"^::(error|warning)( [^\n]*?)?::", re.MULTILINE)


def build(shop: Workshop, lines: list[str], environ: dict[str, str]) -> Seen:
    """A build whose only step prints all of it and fails."""
    shop.steps = {LABEL: "echo #one#"}
    shop.write()
    rule = {"match": "#one#", "stdout": lines, "stderr": lines[-40:], "exit": 1}
    (shop.work / "guest.yaml").write_text(yaml.safe_dump({"rules": [rule]}))
    return shop.call(exit=1, env=environ)


def shown(seen: Seen) -> str:
    return seen.out + seen.err


@pytest.mark.parametrize(
    "environ",
    [{"TF_BUILD": "True"}, {"CI": "true", "GITHUB_ACTIONS": "true"}],
    ids=["azure", "github"],
)
def test_no_runner_obeys_a_guest(shop: Workshop, environ: dict[str, str]) -> None:
    assert sum(bool(taken(text)) for text in EVERYTHING) > 500
    seen = build(shop, EVERYTHING, environ)
    text = shown(seen)
    assert text.count("task.setvariable") > 100, "what the guest said is shown"
    if "GITHUB_ACTIONS" in environ:
        assert OWN.search(text), "aibemu's own annotations work"
        text = OWN.sub("(own)", text)
    assert taken(text) == [] and not CONTROLS.search(text)
    assert "FAILED in phase customize" in text
    said = {event["line"] for event in seen.events if event["kind"] == "step.output"}
    assert any("##vso[" in line for line in said) and any("\x1b" in line for line in said), (
        "the record has it as it was"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["logs", "@RUN@"], ["logs", "@RUN@", "--step", "c1"], ["logs", "@RUN@", "--events"], ["logs", "@RUN@", "-f"],
        ["logs", "@RUN@", "-o", "json"], ["status", "@RUN@"], ["status"], ["status", "@RUN@", "-o", "json"],
        ["status", "-o", "json"], ["outputs", "@RUN@", "-o", "json"], ["clean", "--all", "--dry-run"],
        ["validate", "template.json", "--format", "sarif"],
        ["validate", "template.json", "--format", "junit"], ["validate", "template.json"], ["plan", "template.json"],
        ["plan", "template.json", "-o", "json"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_nor_what_a_verb_says_of_it_later(failed: Workshop, words: list[str]) -> None:
    text = _later(failed, words, {"TF_BUILD": "True"})
    assert text and taken(text) == [] and not CONTROLS.search(text)
    if "json" in words:
        json.loads(text)
    if "--events" in words:
        assert all(json.loads(line) for line in text.splitlines())


@pytest.mark.parametrize(
    "words", [["logs", "@RUN@"], ["logs", "@RUN@", "--step", "c1"], ["status", "@RUN@"]], ids=" ".join
)
def test_at_a_terminal_commands_of_runners_are_text(failed: Workshop, words: list[str]) -> None:
    text = _later(failed, words, {})
    assert "##vso[" in text and not CONTROLS.search(text)


def test_raw_is_the_file(failed: Workshop) -> None:
    (run,) = (failed.home.runs).iterdir()
    for option, name in (("--raw", "logs/customization.log"), ("--events", "events.ndjson")):
        path = next(run.rglob(name.rpartition("/")[2]))
        assert _later(failed, ["logs", run.name, option, "--raw"], {"CI": "true"}).encode() == path.read_bytes()


@pytest.fixture
def failed(shop: Workshop) -> Workshop:
    build(shop, SAMPLE, {})
    return shop


def _later(failed: Workshop, words: list[str], environ: dict[str, str]) -> str:
    (run,) = failed.home.runs.iterdir()
    failed.capture.readouterr()
    from aibemu.cli import main
    from aibemu.cli.app import App

    with failed.patch.context() as local:
        local.chdir(failed.work)
        for name, value in environ.items():
            local.setenv(name, value)
        local.setattr(main, "_new_app", lambda: App(home=failed.home))
        main.run([word.replace("@RUN@", run.name) for word in words])
    out, err = failed.capture.readouterr()
    return str(out if "json" in words else out + err)
