"""Asking at a terminal, which here is a real one: a pty whose other end the test holds."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import pytest

from aibemu.cli import prompt as module
from aibemu.cli.prompt import SHELL, WORDS, Prompter
from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.engine.asking import Answer, Question
from aibemu.errors import BuildCancelled, CustomizerFailed, error_record
from aibemu.events import Kind
from aibemu.files import write_bytes
from aibemu.paths import Home
from aibemu.runs.store import Run
from aibemu.telemetry import Telemetry
from aibemu.views.ndjson import NdjsonView

QUESTION = Question(
    title="customizer two failed", details=("exit status 7",), run="3f2c9a1b", role="build",
    choices=(Answer.RETRY, Answer.SKIP, Answer.KEEP, Answer.GIVE_UP),
)  # fmt: skip
PAUSE = replace(QUESTION, choices=(Answer.GO_ON, Answer.GIVE_UP))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "3f2c9a1b")
    made.directory.mkdir()
    return made


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)


class Terminal:
    """A terminal; `type` is the keyboard. What is typed at once waits in it, line by line."""

    def __init__(self) -> None:
        self.keyboard, there = pty.openpty()
        self.stream: TextIO = os.fdopen(there, "r", encoding="utf-8")

    def type(self, text: str) -> None:
        os.write(self.keyboard, text.encode())


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.stream.close()
    os.close(made.keyboard)


def deadline(seconds: float = 10.0, cancel: CancelToken | None = None) -> Deadline:
    token = CancelToken() if cancel is None else cancel  # a token that was not pulled is false
    return Deadline(clock=SystemClock(), cancel=token).within(seconds)


def prompter(run: Run, terminal: Terminal | None, views: Any = ()) -> Prompter:
    return Prompter(run, terminal.stream if terminal else None, io.StringIO(), views)


def said(ask: Prompter) -> str:
    assert isinstance(ask.out, io.StringIO)
    return ask.out.getvalue()


@pytest.mark.parametrize(
    ("typed", "answer"),
    [("r", Answer.RETRY), ("s", Answer.SKIP), ("k", Answer.KEEP), ("q", Answer.GIVE_UP), ("R", Answer.RETRY),
     ("  retry ", Answer.RETRY), ("give-up", Answer.GIVE_UP), ("Keep", Answer.KEEP)],
)  # fmt: skip
def test_a_key_or_a_word_is_an_answer(run: Run, terminal: Terminal, typed: str, answer: Answer) -> None:
    ask = prompter(run, terminal)
    terminal.type(f"{typed}\n")
    assert ask(QUESTION, deadline()) is answer


def test_a_person_sees_what_happened_and_what_may_be_answered(run: Run, terminal: Terminal) -> None:
    ask = prompter(run, terminal)
    terminal.type("q\n")
    ask(QUESTION, deadline())
    lines = said(ask).splitlines()
    assert lines[:3] == ["", "customizer two failed", "  exit status 7"]
    assert [line[2:5] for line in lines[3:-1]] == ["[r]", "[s]", "[k]", "[q]", "[h]"]
    assert lines[-1] == "> "


def test_a_person_reads_the_whole_failure_once_before_they_are_asked(make_run: Any, terminal: Terminal) -> None:
    run, lock = make_run(alive=True, ended=None)
    view = NdjsonView(run.events_file)
    chain = Telemetry(run.id, [view], SystemClock(), lambda value: value, first=100)
    error = CustomizerFailed("customizer Install failed: x", hint="look")
    with chain.phase("customize"), chain.step("c1"):
        chain.emit(Kind.STEP_FINISHED, status="failed", exit_code=1, seconds=1.0, error="x", bytes={})
    chain.emit(Kind.RUN_WAITING, title=error.message, choices=["retry"], error=error_record(error))
    chain.close()
    ask = prompter(run, terminal)
    terminal.type("nonsense\nr\n")
    assert ask(replace(QUESTION, title=error.message, details=("look",), error=error), deadline()) is Answer.RETRY
    lock.release()
    text = said(ask)
    for line in ("FAILED in phase customize: Install", "  at:    t.json:4:9", "  exit:  status 1", "    | first"):
        assert text.splitlines().count(line) == 1, line
    assert "likely remedy: inline commands run as the unprivileged build user" in text
    assert text.index("likely remedy") < text.index("[r] retry")
    assert text.count("customizer Install failed: x") == 2  # with the failure, and when asked again
    assert "type next" not in text and "\x1b" not in text


def test_only_what_may_be_answered_is_offered_and_taken(run: Run, terminal: Terminal) -> None:
    ask = prompter(run, terminal)
    terminal.type("r\nretry\n\nc\n")
    assert ask(PAUSE, deadline()) is Answer.GO_ON
    assert said(ask).count("> ") == 4  # asked again after each that is none
    assert "[r]" not in said(ask) and "[c]" in said(ask)


def test_all_keys_are_different() -> None:
    assert len({key for key, _ in (*WORDS.values(), SHELL)}) == len(Answer) + 1


def test_what_a_guest_said_does_not_command_the_terminal(run: Run, terminal: Terminal) -> None:
    ask = prompter(run, terminal)
    terminal.type("q\n")
    ask(replace(QUESTION, title="\x1b[2Jfailed", details=("\x1b]0;x\x07y",)), deadline())
    assert "\x1b" not in said(ask) and "\x07" not in said(ask)


@pytest.mark.parametrize(("question", "answer"), [(QUESTION, Answer.KEEP), (PAUSE, Answer.GIVE_UP)])
def test_at_the_end_of_the_terminal_nothing_is_lost(
    run: Run, terminal: Terminal, question: Question, answer: Answer
) -> None:
    ask = prompter(run, terminal)
    terminal.type("\x04")  # Ctrl-D
    assert ask(question, deadline()) is answer


# From another terminal


def later(run: Run, text: str) -> threading.Timer:
    # Written as aibemu writes it: a file that is still empty would be read, and taken away.
    timer = threading.Timer(0.05, lambda: write_bytes(run.answer_file, text.encode()))
    timer.start()
    return timer


@pytest.mark.parametrize("here", [True, False], ids=["a person here", "nobody here"])
def test_another_terminal_may_answer(run: Run, terminal: Terminal, here: bool) -> None:
    ask = prompter(run, terminal if here else None)
    other = later(run, "skip\n")
    assert ask(QUESTION, deadline()) is Answer.SKIP
    other.join()
    assert not run.answer_file.exists()
    assert ("(skip, from another terminal)" in said(ask)) == here


@pytest.mark.parametrize("here", [True, False], ids=["a person here", "nobody here"])
@pytest.mark.parametrize("text", ["go-on", "nonsense", "", "\udcff"])
def test_what_is_no_answer_to_this_question_is_none(run: Run, terminal: Terminal, here: bool, text: str) -> None:
    ask = prompter(run, terminal if here else None)
    run.answer_file.write_bytes(text.encode("utf-8", "surrogateescape"))

    def then_retry() -> None:
        # What can be read is taken away, and an answer that came a moment before would go with it.
        while text != "\udcff" and run.answer_file.exists():
            time.sleep(0.01)
        later(run, "retry").join()

    others = threading.Thread(target=then_retry, daemon=True)
    others.start()
    assert ask(QUESTION, deadline()) is Answer.RETRY
    others.join()


def test_while_nobody_answers_it_obeys_a_cancel(run: Run, terminal: Terminal) -> None:
    for there in (terminal, None):
        token = CancelToken()
        threading.Timer(0.05, lambda token=token: token.cancel("Ctrl-C")).start()
        with pytest.raises(BuildCancelled, match="Ctrl-C"):
            prompter(run, there)(QUESTION, deadline(cancel=token))


# What else is on the screen


class View:
    """A view that can be taken off the screen."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_event(self, event: object) -> None:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")


def test_live_views_leave_the_screen_meanwhile_whatever_happens(run: Run, terminal: Terminal) -> None:
    view = View()
    token = CancelToken()
    token.cancel("Ctrl-C")
    ask = prompter(run, terminal, [view, object()])
    with pytest.raises(BuildCancelled):
        ask(QUESTION, deadline(cancel=token))
    assert view.calls == ["pause", "resume"]
    terminal.type("q\n")
    ask(QUESTION, deadline())
    assert view.calls == ["pause", "resume"] * 2


# A shell


@pytest.fixture
def shells(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    opened: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda words, **_: opened.append(words))
    return opened


@pytest.mark.parametrize("typed", ["h", "shell", "SHELL"])
def test_a_shell_in_the_guest_and_then_the_question_again(
    run: Run, terminal: Terminal, shells: list[list[str]], typed: str
) -> None:
    ask = prompter(run, terminal)
    terminal.type(f"{typed}\nr\n")
    assert ask(QUESTION, deadline()) is Answer.RETRY
    assert shells == [[sys.executable, "-m", "aibemu", "shell", "3f2c9a1b", "--role", "build"]]
    assert said(ask).count("customizer two failed") == 2


def test_a_shell_first_if_that_was_asked_for(run: Run, terminal: Terminal, shells: list[list[str]]) -> None:
    ask = prompter(run, terminal)
    terminal.type("q\n")
    ask(replace(QUESTION, shell=True, role="validate"), deadline())
    assert [words[-1] for words in shells] == ["validate"]
    assert said(ask).index("leave the shell") < said(ask).index("customizer two failed")


def test_the_shell_has_the_home_of_the_run_that_asks(
    run: Run, terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments: list[dict[str, str]] = []
    monkeypatch.setattr(subprocess, "run", lambda words, *, env, **_: environments.append(env))
    monkeypatch.setenv("AIBEMU_HOME", "/another")
    for home in (Home.at(tmp_path), None):
        ask = replace(prompter(run, terminal), home=home)
        terminal.type("h\nr\n")
        ask(QUESTION, deadline())
    assert [env["AIBEMU_HOME"] for env in environments] == [str(tmp_path), "/another"]
