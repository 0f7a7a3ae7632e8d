"""What a run asks a person: what to do about a failure, and whether to go on after a pause.

Who answers is not known here: somebody at the terminal, or `aibemu resume` in another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from aibemu.clock import Deadline
from aibemu.errors import AibemuError, UsageError
from aibemu.plan.model import PlannedStep
from aibemu.plan.reuse import find_step


class OnErrorMode(StrEnum):
    """What becomes of a failure. template: what its errorHandling says, which is also where the others end.

    ask: ask a person. shell: first open a shell in the guest, then ask. keep: leave the machine. cleanup: destroy it.
    """

    TEMPLATE = "template"
    CLEANUP = "cleanup"
    KEEP = "keep"
    ASK = "ask"
    SHELL = "shell"


class Answer(StrEnum):
    """retry: take the template as it is now, and start before what failed. skip: the same without the failed step.
    go-on: after a pause. keep: leave the machine running, and fail. give-up: clean up, and fail."""

    RETRY = "retry"
    SKIP = "skip"
    GO_ON = "go-on"
    KEEP = "keep"
    GIVE_UP = "give-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """title: what happened, in a line. details: what a person must know to answer. choices: what may be answered.

    run, role: whose machine can be looked into meanwhile. shell: open one there before asking. error: what it is about,
    if it is a failure.
    """

    title: str
    details: tuple[str, ...]
    choices: tuple[Answer, ...]
    run: str
    role: str
    shell: bool = False
    error: AibemuError | None = None


class Ask(Protocol):
    """Ask and wait, obeying `deadline`."""

    def __call__(self, question: Question, deadline: Deadline) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """Before and after which steps to wait for a person: ids, numbers or names."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def check(self, steps: Sequence[PlannedStep]) -> None:
        """`UsageError` for a step that there is not."""
        for option, texts in (("--pause-before", self.before), ("--pause-after", self.after)):
            for text in texts:
                find_step(steps, text, option)

    def is_before(self, steps: Sequence[PlannedStep], index: int) -> bool:
        return any(_names(text, steps, index) for text in self.before)

    def is_after(self, steps: Sequence[PlannedStep], index: int) -> bool:
        return any(_names(text, steps, index) for text in self.after)


def _names(text: str, steps: Sequence[PlannedStep], index: int) -> bool:
    """Whether `text` means that step. It may mean none by now, in a template that was edited to try it again."""
    try:
        return find_step(steps, text, "") == index
    except UsageError:
        return False
