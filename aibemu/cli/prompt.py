"""Asking the person at the terminal what a run wants to know; `aibemu resume` in another one may answer too."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from aibemu.cli.runs import summarize
from aibemu.clock import Deadline
from aibemu.engine.asking import Answer, Question
from aibemu.files import remove
from aibemu.paths import Home
from aibemu.records import DamagedFile, read_bytes
from aibemu.reports.waiting import question as about
from aibemu.runs.store import Run
from aibemu.views.console import Pausable
from aibemu.views.screen import Screen, in_pipeline

# Seconds between two looks for an answer from elsewhere.
LOOK = 0.2
# Bytes of an answer: one word.
MOST_ANSWER = 1000
WORDS = {
    Answer.RETRY: ("r", "retry: take the template as it is now and start before the step that failed"),
    Answer.SKIP: ("s", "skip: go on without that step"),
    Answer.GO_ON: ("c", "continue"),
    Answer.KEEP: ("k", "keep the machine and end the run"),
    Answer.GIVE_UP: ("q", "give up: clean up and end the run"),
}
SHELL = ("h", "shell: look around in the guest, then ask again")


@dataclass(slots=True)
class Prompter:
    """An `aibemu.engine.asking.Ask`. terminal: None when nobody sits there; then only another terminal can answer.

    views: what must be off the screen meanwhile. home: the installation, for the process of a shell.
    """

    run: Run
    terminal: TextIO | None
    out: TextIO
    views: Sequence[object] = field(default_factory=tuple)
    home: Home | None = None
    # Whether the person has read what this question is about.
    told: bool = False
    # Takes secrets out of what is asked.
    mask: Callable[[str], str] = str

    def __call__(self, question: Question, deadline: Deadline) -> Answer:
        if self.terminal is None:
            return self._from_elsewhere(question, deadline)
        pausable = [view for view in self.views if isinstance(view, Pausable)]
        for view in pausable:
            view.pause()
        self.told = False
        try:
            if question.shell:
                if question.error is not None:
                    self._tell(question)
                self._open_shell(question)
            return self._ask(question, deadline)
        finally:
            for view in pausable:
                view.resume()

    @property
    def _screen(self) -> Screen:
        return Screen(stream=self.out, pipeline=in_pipeline(os.environ), mask=self.mask)

    def _ask(self, question: Question, deadline: Deadline) -> Answer:
        keys = {WORDS[choice][0]: choice for choice in question.choices}
        while True:
            self._show(question)
            line = self._line(deadline)
            if isinstance(line, Answer):
                if line in question.choices:
                    return line
                continue
            word = line.strip().casefold()
            if word in (SHELL[0], "shell"):
                self._open_shell(question)
            elif choice := keys.get(word) or next((one for one in question.choices if one.value == word), None):
                return choice
            elif line == "":  # the terminal is gone: nobody will ever answer here
                return Answer.KEEP if Answer.KEEP in question.choices else Answer.GIVE_UP

    def _show(self, question: Question) -> None:
        self._tell(question)
        for key, words in (*(WORDS[choice] for choice in question.choices), SHELL):
            self._screen.line(f"  [{key}] {words}")
        self._screen.line("> ", end="")
        self._screen.flush()

    def _tell(self, question: Question) -> None:
        """What it is about: of a failure all that the failure screen has, once; then its title."""
        self._screen.line("")
        lines = [] if self.told or question.error is None else about(summarize(self.run))
        self.told = True
        for line in lines or [question.title]:
            self._screen.line(line)
        shown = "\n".join(lines)
        for detail in question.details:
            if detail not in shown:
                self._screen.line(f"  {detail}")

    def _line(self, deadline: Deadline) -> str | Answer:
        """What was typed, or what somebody answered from another terminal."""
        assert self.terminal is not None
        while True:
            deadline.check()
            if answer := self._elsewhere():
                self._screen.line(f"({answer.value}, from another terminal)")
                return answer
            ready, _, _ = select.select([self.terminal], [], [], LOOK)
            if ready:
                return self.terminal.readline()

    def _from_elsewhere(self, question: Question, deadline: Deadline) -> Answer:
        while True:
            answer = self._elsewhere()
            if answer in question.choices:
                assert answer is not None
                return answer
            deadline.sleep(LOOK)

    def _elsewhere(self) -> Answer | None:
        try:
            found = read_bytes(self.run.answer_file, largest=1000)
        except DamagedFile:
            found = b""
        if found is None:
            return None
        said = found.decode("utf-8", "replace").strip()
        remove(self.run.answer_file)
        return next((answer for answer in Answer if answer.value == said), None)

    def _open_shell(self, question: Question) -> None:
        """A process of its own, as if typed in another terminal."""
        words = [sys.executable, "-m", "aibemu", "shell", question.run, "--role", question.role]
        self._screen.line("leave the shell with `exit` or Ctrl-D")
        self._screen.flush()
        root = self.home.root if self.home else None
        subprocess.run(words, check=False, env=os.environ | ({"AIBEMU_HOME": str(root)} if root else {}))
