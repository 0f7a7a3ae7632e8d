"""Whatever deletes asks before, and where nobody can be asked it deletes nothing without --yes."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from aibemu.cli.app import App
from aibemu.cli.confirm import confirm_deletion
from aibemu.cli.main import VERBS, cli
from aibemu.clock import SystemClock, forever
from aibemu.errors import UsageError
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.images.store import ImageStore
from aibemu.layers.store import LayerStore
from aibemu.paths import Home
from tests.unit.layers.conftest import layer

Deleting = Callable[[], tuple[list[str], Callable[[], bool]]]


@pytest.fixture
def deleting(home: Path, make_run: Any, tmp_path: Path) -> dict[str, Deleting]:
    """By verb: makes something, and gives the words that delete it and whether it is still there."""

    def run(*words: str, kept: bool = False) -> tuple[list[str], Callable[[], bool]]:
        made, _ = make_run(kept=kept)
        what = made.machines if kept else made.directory
        return [word.replace("RUN", made.id) for word in words], what.is_dir

    def layers(*words: str) -> tuple[list[str], Callable[[], bool]]:
        made = layer(LayerStore(home / "layers"), "a")
        return list(words), lambda: all(path.exists() for path in made.files)

    def image(*words: str, alias: bool = False) -> tuple[list[str], Callable[[], bool]]:
        store = ImageStore(home / "images", SystemClock())
        (tmp_path / "disk.raw").write_bytes(b"x" * 4096)
        info = ImageInfo(
            os_type="Linux", os_name="x", generation=Generation.V1, provisioning=Provisioning.NOCLOUD,
            generalized=True, origin="test",
        )  # fmt: skip
        stored = store.add(tmp_path / "disk.raw", info, deadline=forever(), source_format="raw")
        if alias:
            store.set_alias("gold", stored.digest)
            return list(words), lambda: "gold" in store.aliases()
        return [word.replace("IMAGE", stored.short) for word in words], stored.path.exists

    return {
        "clean --all": lambda: run("clean", "--all"),
        "clean RUN": lambda: run("clean", "RUN"),
        "clean --older-than": lambda: run("clean", "--older-than", "0s"),
        "destroy": lambda: run("destroy", "RUN", kept=True),
        "cache prune --all": lambda: layers("cache", "prune", "--all"),
        "cache prune --size": lambda: layers("cache", "prune", "--size", "0"),
        "images remove": lambda: image("images", "remove", "IMAGE"),
        "images remove --force": lambda: image("images", "remove", "gold", "--force", alias=True),
        "images alias --remove": lambda: image("images", "alias", "GOLD", "--remove", alias=True),
    }


CASES = (
    "clean --all", "clean RUN", "clean --older-than", "destroy", "cache prune --all", "cache prune --size",
    "images remove", "images remove --force", "images alias --remove",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_without_a_terminal_nothing_goes_unless_yes_is_said(
    aibemu: Any, deleting: dict[str, Deleting], case: str
) -> None:
    words, there = deleting[case]()
    refused = aibemu(*words)
    assert refused.code == 2 and "nothing was deleted" in refused.err and "--yes" in refused.err
    answer = json.loads(aibemu(*words, "-o", "json").out)
    assert (answer["status"], answer["error"]["code"]) == ("error", "USAGE")
    assert there()
    # What it says to type does it.
    (command,) = [action["command"] for action in answer["error"]["actions"]]
    assert aibemu(*command.split()[1:]).code == 0
    assert not there()


@pytest.mark.parametrize("words", [("clean", "--all"), ("cache", "prune", "--all")])
def test_where_there_is_nothing_to_delete_nobody_is_asked(aibemu: Any, words: tuple[str, ...]) -> None:
    assert aibemu(*words).code == 0


def test_every_verb_that_deletes_is_among_the_cases() -> None:
    """A verb whose help, or whose option's, says that it deletes, destroys or forgets has --yes."""
    context = click.Context(cli)
    found, says = [], []
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        parts = {verb: command}
        if isinstance(command, click.Group):
            parts = {f"{verb} {name}": part for name, part in command.commands.items()}
        found += [name for name, part in parts.items() if any(option.name == "yes" for option in part.params)]
        for name, part in parts.items():
            helps = [part.short_help, *(getattr(option, "help", None) for option in part.params)]
            if re.search("(?i)delete|destroy|forget", " ".join(filter(None, helps))):
                says.append(name)
    assert set(says) <= set(found)
    # resume, of a run that kept a machine: tests/scenarios/test_retry.py.
    assert found == ["resume", "destroy", "clean", "cache prune", "images alias", "images remove"]
    assert {case for name in found for case in CASES if case.startswith(name)} == set(CASES)


class Terminal:
    """Standard input and error of somebody who sits there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
        self.asked: list[str] = []
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys.stdin, "readline", self.answer_it, raising=False)
        self.answer = answer

    def answer_it(self) -> str:
        self.asked.append("asked")
        return self.answer


def test_a_person_is_shown_what_goes_and_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    app = App(home=Home.at(tmp_path))
    yes = Terminal(monkeypatch, "y\n")
    confirm_deletion(app, "2 layers", ["one \x1b[2J", "two"], yes=False, command="aibemu x --yes")
    said = capsys.readouterr().err
    assert yes.asked == ["asked"] and said.splitlines()[-1] == "delete 2 layers? [y/N]"
    assert "one" in said and "\x1b" not in said
    for no in ("n\n", "\n", ""):
        Terminal(monkeypatch, no)
        with pytest.raises(click.Abort):
            confirm_deletion(app, "2 layers", [], yes=False, command="aibemu x --yes")


def test_nobody_sits_at_the_terminal_of_a_ci_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CI", "true")
    terminal = Terminal(monkeypatch, "y")
    with pytest.raises(UsageError):
        confirm_deletion(App(home=Home.at(tmp_path)), "it", [], yes=False, command="aibemu x --yes")
    assert terminal.asked == []
