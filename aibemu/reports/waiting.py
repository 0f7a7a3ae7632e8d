"""A run that waits for a person: what it asks about, and what may be typed in another terminal to answer it."""

from __future__ import annotations

from dataclasses import replace

from aibemu.reports.failure import explanation
from aibemu.reports.summary import RunSummary

# Answers (`aibemu.engine.asking.Answer`) that a verb gives. {run}: its id.
_COMMANDS = (
    ("go-on", "aibemu resume {run}", "go on"),
    ("retry", "aibemu resume {run}", "try again, with the template as it is now"),
    ("skip", "aibemu resume {run} --skip", "go on without that step"),
    ("", "aibemu shell {run}", "look around in the machine; it waits on"),
    ("give-up", "aibemu cancel {run}", "clean up and end the run"),
)


def question(summary: RunSummary) -> list[str]:
    """What it asks about, as lines: a failure as a whole, as the failure screen has it; else its title."""
    if summary.asked_about is not None:
        return explanation(replace(summary, error=summary.asked_about))
    return [summary.waiting] if summary.waiting else []


def answers(summary: RunSummary) -> list[tuple[str, str]]:
    """What may be typed, and what that does; empty for a run that does not wait."""
    if not summary.waiting:
        return []
    return [
        (command.format(run=summary.id), meaning)
        for answer, command, meaning in _COMMANDS
        if not answer or answer in summary.choices
    ]
