"""The catalogue of findings as plain texts: for `explain`, for the page docs/rules.md, for SARIF reports."""

from __future__ import annotations

import re

from aibemu.reports.findings import ExampleText, RuleText
from aibemu.template import catalogue

_SHELLCHECK = re.compile(r"SC\d{4}")


def find(id_: str) -> RuleText | None:
    """What is known of an id, in any case: of ours all, of ShellCheck's where to read on."""
    id_ = id_.strip().upper()
    if _SHELLCHECK.fullmatch(id_):
        return RuleText(
            id=id_, level="warning", title=f"ShellCheck {id_}", url=f"https://www.shellcheck.net/wiki/{id_}",
            why="ShellCheck, a linter for shell scripts, found this in a script of the template.",
        )  # fmt: skip
    rule = catalogue.find(id_)
    return _text(rule) if rule else None


def known_or_bare(id_: str) -> RuleText:
    """Like `find`; for an id that the catalogue does not have, the id alone."""
    return find(id_) or RuleText(id=id_, level="warning", title=id_)


def every() -> list[RuleText]:
    """All of the catalogue, in its order."""
    return [_text(rule) for rule in catalogue.RULES]


def _text(rule: catalogue.Rule) -> RuleText:
    return RuleText(
        id=rule.id, level=rule.level.value, title=rule.title, why=rule.why, fix=rule.fix,
        bad=_example(rule.bad), good=_example(rule.good),
    )  # fmt: skip


def _example(example: catalogue.Example) -> ExampleText:
    return ExampleText(text=example.text, files=example.files)
