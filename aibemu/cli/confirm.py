"""Questions to a person at a terminal: the one that every verb passes which deletes, and a choice.

Nothing is deleted unasked: a person at a terminal says yes, anything else says `--yes`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from aibemu.cli.app import App
from aibemu.errors import UsageError

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


def _somebody_there(app: App) -> bool:
    """Whether a question is seen and can be answered; the terminal of a CI job has nobody before it."""
    return app.output == "human" and sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")
