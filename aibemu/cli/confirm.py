"""Questions to a person at a terminal: the one that every verb passes which deletes, and a choice.

Nothing is deleted unasked: a person at a terminal says yes, anything else says `--yes`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aibemu.cli.app import App
from aibemu.errors import UsageError

if TYPE_CHECKING:
    from aibemu.runs.store import Run

F = TypeVar("F", bound=Callable[..., Any])


def yes_option(function: F) -> F:
    """`--yes`: delete without a question."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask; needed where nobody can be asked.")(function)


def confirm_deletion(app: App, what: str, lines: Sequence[str], *, yes: bool, command: str) -> None:
    """Go on only if what `lines` show may be deleted; else nothing may be.

    what: said as "delete {what}?". command: what to type to delete it without a question. Raises `UsageError` when
    nobody can be asked, `click.Abort` when somebody says no.
    """
    if yes:
        return
    if not _somebody_there(app):
        raise UsageError(
            f"nothing was deleted: nobody can be asked here whether to delete {what}",
            details=lines, hint="add --yes to delete without a question",
            commands=[command],
        )  # fmt: skip
    for line in lines:
        app.complain(line)
    app.complain(f"delete {what}? [y/N]")
    if sys.stdin.readline().strip().casefold() not in {"y", "yes"}:
        raise click.Abort


def ask_which(app: App, question: str, choices: Sequence[str]) -> str | None:
    """The one of `choices` that a person at a terminal types (case does not matter); None for any other answer, and
    when nobody can be asked."""
    if not _somebody_there(app):
        return None
    app.complain(f"{question} [{'/'.join(choices)}]")
    answer = sys.stdin.readline().strip().casefold()
    return next((choice for choice in choices if choice.casefold() == answer), None)


def confirm_machines(app: App, run: Run, *, yes: bool, command: str, known: Sequence[str] = ()) -> None:
    """Go on only if the machines that `run` left, if any, may be destroyed. known: what else to say of them. Raises as
    `confirm_deletion`."""
    names = [f"{run.id}-{folder.name}" for folder in sorted(run.machines.iterdir())] if run.machines.is_dir() else []
    if names:
        what = f"the machines of run {run.id}, with what is on their disks"
        confirm_deletion(app, what, [*names, *known], yes=yes, command=command)


def _somebody_there(app: App) -> bool:
    """Whether a question is seen and can be answered; the terminal of a CI job has nobody before it."""
    return app.output == "human" and sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")
