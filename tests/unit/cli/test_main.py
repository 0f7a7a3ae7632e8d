"""The program's frame: options in both places, one rendering of errors, exit codes, and a fast start."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import aibemu.cli.main as main
from aibemu.cli.app import App
from aibemu.cli.color import use_color
from aibemu.cli.globals import add_globals
from aibemu.errors import HostNotReady, ImageMissing, Span
from aibemu.paths import Home
from aibemu.redact import Redactor

HEAVY = ("paramiko", "requests", "rich", "pycdlib", "libvirt", "structlog")


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Let `aibemu status` be this function."""

    def install(function: Callable[..., Any]) -> None:
        made = click.command("status")(click.pass_obj(function))
        monkeypatch.setitem(main.cli.commands, "status", add_globals(made, "status"))

    return install


def test_version_and_help(aibemu: Any) -> None:
    assert aibemu("--version").out.startswith("aibemu ")
    text = aibemu("--help").out
    assert all(f"  {name} " in text for name in main.VERBS)


def test_global_options_work_before_and_after_the_verb(aibemu: Any, verb: Any, tmp_path: Path) -> None:
    seen: list[App] = []
    verb(lambda app: seen.append(app))
    aibemu("-o", "json", "-v", "--home", str(tmp_path), "status")
    aibemu("status", "--output", "json", "-v", "--home", str(tmp_path))
    aibemu("--output", "json", "status", "-v", "--home", str(tmp_path))
    assert {(app.output, app.verbosity, app.home.runs, app.command) for app in seen} == {
        ("json", 1, tmp_path / "runs", "status")
    }
    assert Home.discover() == Home.at(tmp_path / "home"), "nothing is said through the environment"
    aibemu("status", "-q", "--color", "always")
    assert (seen[-1].verbosity, seen[-1].color, seen[-1].output) == (-1, True, "human")


def test_nested_verbs_take_them_too(aibemu: Any, home: Path) -> None:
    said = aibemu("images", "list", "--output", "json")
    assert json.loads(said.out)["command"] == "images list"


def test_a_mistyped_verb_or_option_gets_a_suggestion(aibemu: Any) -> None:
    said = aibemu("statsu")
    assert (said.code, said.out) == (2, "")
    assert "did you mean status?" in said.err
    said = aibemu("validate", "--nme", "x", "f.json")
    assert said.code == 2 and "--name" in said.err


def test_usage_errors_are_an_envelope_too(aibemu: Any) -> None:
    for arguments in (
        ("-o", "json", "statsu"),
        ("status", "--output=json", "--nope"),
        ("status", "-o", "json", "a", "b"),
    ):
        said = aibemu(*arguments)
        value = json.loads(said.out)
        assert (said.code, value["status"], value["error"]["code"]) == (2, "error", "USAGE")


def test_errors_for_people_and_for_programs(aibemu: Any, verb: Any) -> None:
    def fail(app: App) -> None:
        app.warn("careful")
        raise ImageMissing(
            "the source is not in the store", hint="get it", details=["a", "b"],
            span=Span(file="t.json", line=3, column=5), commands=["aibemu images pull x"],
        )  # fmt: skip

    verb(fail)
    said = aibemu("status")
    assert (said.code, said.out) == (4, "")
    assert said.err.splitlines() == [
        "warning: careful", "error: the source is not in the store", "  at t.json:3:5", "  a", "  b",
        "  hint: get it", "  type next:", "    aibemu images pull x",
    ]  # fmt: skip
    assert json.loads(aibemu("status", "-o", "json").out) == {
        "schemaVersion": 1, "command": "status", "status": "error", "data": None, "warnings": ["careful"],
        "error": {
            "code": "IMAGE_MISSING", "category": "HOST", "message": "the source is not in the store",
            "retryable": False, "details": {"at": "t.json:3:5", "lines": ["a", "b"], "hint": "get it"},
            "actions": [{"id": "images", "command": "aibemu images pull x"}],
        },
    }  # fmt: skip


def test_an_invalid_template_shows_all_findings(aibemu: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"properties": {}}')
    said = aibemu("validate", str(path))
    assert said.code == 3
    assert str(path) in said.err and "error" in said.err.splitlines()[-1]
    value = json.loads(aibemu("validate", str(path), "-o", "json").out)
    assert value["error"]["code"] == "TEMPLATE_INVALID"
    assert value["error"]["details"]["diagnostics"]


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 4, "error: the disk is full: /x/y"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 4, "error: Permission denied: /x"),
        (HostNotReady("no"), 4, "error: no"),
    ],
)
def test_exit_codes(aibemu: Any, verb: Any, raised: BaseException, code: int, text: str) -> None:
    def fail(app: App) -> None:
        raise raised

    verb(fail)
    said = aibemu("status")
    assert said.code == code
    assert text in said.err
    assert "Traceback" not in said.err


def test_a_verb_may_exit_with_a_code(aibemu: Any, verb: Any) -> None:
    verb(lambda app: sys.exit(5))
    assert aibemu("status").code == 5


@pytest.mark.parametrize("error", [ValueError("oops AccountKey=s3cr3t=="), MemoryError()])
def test_a_bug_is_a_sentence_and_a_file(aibemu: Any, verb: Any, home: Path, error: Exception) -> None:
    def fail(app: App) -> None:
        raise error

    verb(fail)
    said = aibemu("status")
    assert said.code == 70
    assert "this is a bug in aibemu" in said.err and "Traceback" not in said.err
    (saved,) = (home / "cache" / "bugs").glob("*.txt")
    assert str(saved) in said.err
    assert "Traceback" in saved.read_text() and "s3cr3t" not in saved.read_text()
    assert "Traceback" in aibemu("-vv", "status").err


EVERY_VERB = (
    ("drivers",), ("status",), ("logs",), ("outputs",), ("shell",), ("exec", "x", "true"), ("resume",), ("cancel",),
    ("destroy", "x"), ("clean",), ("explain",), ("eval", "[concat('a')]"), ("schema",), ("cache", "list"),
    ("cache", "prune"), ("cache", "path"), ("images", "list"), ("images", "show", "x"), ("images", "remove", "x"),
    ("images", "alias", "x", "y"), ("images", "import", "/nowhere"), ("validate", "/nowhere.json"),
    ("plan", "/nowhere.json"), ("run", "/nowhere.json"), ("completion", "bash"),
)  # fmt: skip


@pytest.mark.parametrize("words", EVERY_VERB)
def test_dead_runs_are_swept_before_every_verb(aibemu: Any, make_run: Any, words: tuple[str, ...]) -> None:
    run, _ = make_run(ended=None)
    said = aibemu(*words)
    assert f"warning: run {run.id} had died: " in said.err and "had died" not in said.out
    assert "had died" not in aibemu(*words).err


def test_half_an_import_is_removed_where_there_was_never_a_run(aibemu: Any, home: Path) -> None:
    work = home / "images" / "tmp" / "4194305-1-1.0a1b2c.partial"
    work.mkdir(parents=True)
    assert f"removed a half-stored image of a process that died: {work}" in aibemu("images", "list").err
    assert not work.exists() and aibemu("images", "list").err == ""


def test_what_was_swept_is_told_in_json_too(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run(ended=None)
    said = aibemu("status", "-o", "json")
    value = json.loads(said.out)
    assert [text for text in value["warnings"] if f"run {run.id} had died" in text]
    assert value["data"]["runs"][0]["state"] == "Failed"
    assert "had died" not in aibemu("status").err


def test_colour_is_decided_in_one_place() -> None:
    class Stream:
        def __init__(self, tty: bool) -> None:
            self.tty = tty

        def isatty(self) -> bool:
            return self.tty

    def decide(choice: str, tty: bool, **environ: str) -> bool:
        return use_color(choice, Stream(tty), environ)  # type: ignore[arg-type]

    assert decide("auto", True) and not decide("auto", False)
    assert not decide("auto", True, NO_COLOR="1") and decide("auto", True, NO_COLOR="")
    assert decide("auto", False, FORCE_COLOR="1") and not decide("auto", True, FORCE_COLOR="0")
    assert not decide("auto", True, NO_COLOR="1", FORCE_COLOR="1")
    assert not decide("auto", True, TERM="dumb")
    assert decide("always", False, NO_COLOR="1") and not decide("never", True, FORCE_COLOR="1")


def test_each_stream_has_its_own_colour(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert main.run(["status", "nope"]) == 2
    assert sys.stderr.getvalue().startswith("error: ")  # type: ignore[union-attr]
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main.run(["status", "nope"]) == 2
    assert sys.stderr.getvalue().startswith("\x1b[31;1merror:\x1b[0m ")  # type: ignore[union-attr]


@pytest.mark.parametrize("arguments", [["--version"], ["validate", "--help"], ["--help"]])
def test_the_start_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "aibemu", *arguments], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "click" in imported
    assert not imported & set(HEAVY)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_text_can_be_shown_in_any_locale(make_run: Any, encoding: str) -> None:
    run, _ = make_run()
    run.log("customization.log").write_text("f\u00fcnf \u2714\n", encoding="utf-8")
    environ = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"}
    for form in ("human", "json"):
        command = [sys.executable, "-m", "aibemu", "logs", "-o", form]
        done = subprocess.run(command, capture_output=True, env=environ, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        text = done.stdout.decode(encoding)
        said = json.loads(text)["data"]["lines"][0] if form == "json" else text.strip()
        shown = {"ascii": "f\\xfcnf \\u2714", "latin-1": "f\u00fcnf \\u2714", "utf-8": "f\u00fcnf \u2714"}
        assert said == (shown["utf-8"] if form == "json" else shown[encoding])


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_is_neither_trouble_nor_a_failed_build(home: Path, unbuffered: str) -> None:
    """At once or only when the last of it is written."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "aibemu", "completion", "bash"]
    environ = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environ, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(aibemu: Any, shell: str) -> None:
    said = aibemu("completion", shell)
    assert said.code == 0
    assert "_AIBEMU_COMPLETE" in said.out


def test_run_ids_complete(make_run: Any, home: Path) -> None:
    run, _ = make_run()
    environ = {
        "AIBEMU_HOME": str(home), "_AIBEMU_COMPLETE": "bash_complete", "COMP_WORDS": f"aibemu logs {run.id[:3]}",
        "COMP_CWORD": "2", "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "aibemu"], env=environ, capture_output=True, text=True, check=False)
    assert run.id in done.stdout


def test_an_envelope_bears_what_a_file_could_not(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers without bound, names of files that are no text, values that JSON does not know: none ends the program."""
    app = App(home=Home.at(home), output="json", redactor=Redactor(["hunter2-secret"]))
    app.envelope("success", data={"n": 10**40, "path": Path("a\udcff/hunter2-secret"), "t": (1.5, None, True)})
    data = json.loads(capsys.readouterr().out)["data"]
    assert data == {"n": 10**40, "path": "a\udcff/***", "t": [1.5, None, True]}
