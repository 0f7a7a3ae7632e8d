"""Suppressions that do nothing. They are about the project's own `.aibemu.yaml`, not about the template."""

from __future__ import annotations

from aibemu.arm.diagnostics import Severity
from aibemu.template.catalogue.model import Example, Rule

_TIMEOUT = '{ "properties": { "buildTimeoutInMinutes": 1000 } }'


def _beside(id_: str, reason: str, template: str = "{}") -> Example:
    return Example(text=template, files={".aibemu.yaml": f"suppress:\n  - id: {id_}\n    reason: {reason}\n"})


RULES: tuple[Rule, ...] = (
    Rule(
        id="L01",
        level=Severity.NOTE,
        title="a suppression that matches nothing",
        why="The finding is gone, or never was: the entry would hide it should it come back. Said only of an entry "
        "that is certainly for this template: it names its file, or lies beside it and names none.",
        fix="Remove the entry from .aibemu.yaml; if it is for other templates, name them with `file:`.",
        bad=_beside("W48", "the names are made by a generator"),
        good=Example(text="{}"),
    ),
    Rule(
        id="L02",
        level=Severity.NOTE,
        title="a suppression of an error",
        why="Errors stay: the service refuses the template whatever is suppressed here. Only warnings and "
        "notes can be suppressed, with .aibemu.yaml or --disable.",
        fix="Mend what the error says, and remove the entry.",
        bad=_beside("E70", "our builds are long", _TIMEOUT),
        good=Example(text="{}"),
    ),
)
