"""`aibemu exec`: whose options are whose, and how a command ends; with a real server in tests/contract."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest

from aibemu.cli.app import App
from aibemu.cli.exec import check_words, exit_code
from aibemu.cli.globals import preset
from aibemu.cli.main import cli
from aibemu.communicators import ExitStatus
from aibemu.errors import UsageError
from aibemu.paths import Home

RUN = "3f2c9a1b"


@pytest.mark.parametrize("words", [("",), (" ", "x"), ("echo", "caf\udce9")])
def test_what_cannot_be_sent(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        check_words(words)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (ExitStatus(code=0), 0), (ExitStatus(code=70), 70), (ExitStatus(code=255), 255),
        (ExitStatus(code=4294967295), 255), (ExitStatus(code=256), 255), (ExitStatus(code=None, signal="TERM"), 143),
        (ExitStatus(code=None, signal="KILL"), 137), (ExitStatus(code=None, signal="WHAT"), 255),
        (ExitStatus(code=None, disconnected=True), None),
    ],
)  # fmt: skip
def test_how_it_ends(status: ExitStatus, code: int | None) -> None:
    assert exit_code(status) == code


def parse(*arguments: str) -> tuple[dict[str, Any], str]:
    """The verb's parameters and the form of the answer, for a command line."""
    app = preset(arguments, App(home=Home.discover()))
    parent = click.Context(cli, obj=app)
    verb = cli.get_command(parent, "exec")
    assert verb is not None
    return verb.make_context("exec", list(arguments), parent=parent).params, app.output


@pytest.mark.parametrize(
    ("arguments", "words", "role", "sudo", "output"),
    [
        ((RUN, "--", "ls", "-l"), ("ls", "-l"), None, False, "human"),
        ((RUN, "ls", "-l", "-v", "-q"), ("ls", "-l", "-v", "-q"), None, False, "human"),
        ((RUN, "--sudo", "--", "ls", "--sudo"), ("ls", "--sudo"), None, True, "human"),
        (("--role", "validate", RUN, "--sudo", "id"), ("id",), "validate", True, "human"),
        (("--role=build", RUN, "-v", "--", "--", "x"), ("--", "x"), "build", False, "human"),
        (("--", RUN, "ls", "-l"), ("ls", "-l"), None, False, "human"),
        ((RUN, "--", "kubectl", "get", "-o", "json"), ("kubectl", "get", "-o", "json"), None, False, "human"),
        ((RUN, "kubectl", "--output=json"), ("kubectl", "--output=json"), None, False, "human"),
        ((RUN, "-o", "json", "--", "id"), ("id",), None, False, "json"),
        (("-ojson", RUN, "id"), ("id",), None, False, "json"),
    ],
)
def test_whose_options_are_whose(
    arguments: tuple[str, ...], words: tuple[str, ...], role: str | None, sudo: bool, output: str
) -> None:
    params, form = parse(*arguments)
    assert params == {"run": RUN, "words": words, "role": role, "sudo": sudo, "raw": False}
    assert form == output


def test_an_option_before_the_verb_counts_too(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    said = aibemu("-o", "json", "exec", run.id, "--", "id")
    assert (said.code, json.loads(said.out)["command"]) == (2, "exec")
    said = aibemu("exec", run.id, "--", "id", "-o", "json")
    assert (said.code, said.out) == (2, "") and "a script plays" in said.err


@pytest.mark.parametrize("arguments", [(), (RUN,), (RUN, "--"), (RUN, "--", " "), (RUN, "--role", "x", "--", "id")])
def test_wrong_usage(aibemu: Any, make_run: Any, arguments: tuple[str, ...]) -> None:
    assert aibemu("exec", *arguments).code == 2
    said = aibemu("exec", "-o", "json", *arguments)
    assert (said.code, json.loads(said.out)["error"]["category"]) == (2, "USAGE")


def test_a_mistyped_option_of_its_own_is_not_the_commands(aibemu: Any, make_run: Any) -> None:
    said = aibemu("exec", RUN, "--sudoo", "--", "id")
    assert said.code == 2 and "--sudo" in said.err
    said = aibemu("exec", RUN, "-o", "json", "--sudoo", "--", "id")
    assert json.loads(said.out)["error"]["code"] == "USAGE"


def test_help_says_how_it_ends(aibemu: Any) -> None:
    text = " ".join(aibemu("exec", "--help").out.split())
    assert "RUN CMD [ARG]..." in text and "Ends with the status of CMD" in text and "255" in text


def test_an_unknown_run(aibemu: Any, home: Any) -> None:
    said = aibemu("exec", "zz", "--", "id")
    assert said.code == 2 and "no run 'zz'" in said.err
