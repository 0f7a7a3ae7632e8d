"""`aibemu explain [ID]`: what a finding means, why it matters, what to do; without ID, all of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict

import click

from aibemu.cli import rule_texts
from aibemu.cli.app import App
from aibemu.errors import NotFoundError
from aibemu.reports import rules_page
from aibemu.reports.findings import ExampleText, RuleText
from aibemu.suggestions import did_you_mean
from aibemu.text import painted

_WIDTH = 100


@click.command("explain", short_help="What a finding means, and what to do.")
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--markdown", is_flag=True, help="As Markdown; of all of them it is the page docs/rules.md.")
@click.pass_obj
def command(app: App, id_: str | None, markdown: bool) -> None:
    """Explain the finding ID, like E20 or SC2086; without ID, list all that there are."""
    if id_ is None:
        rules = rule_texts.every()
        rows = [(rule.id, rule.level, rule.title) for rule in rules]
        human = rules_page.page(rules) if markdown else app.table(("ID", "USUALLY", "WHAT"), rows)
        app.result({"rules": [asdict(rule) for rule in rules]}, human)
        return
    rule = rule_texts.find(id_)
    if rule is None:
        raise _unknown(id_)
    app.result(asdict(rule), rules_page.entry(rule) if markdown else _lines(rule, color=app.color))


def _unknown(id_: str) -> NotFoundError:
    hint = did_you_mean(id_, [rule.id for rule in rule_texts.every()])
    return NotFoundError(f"there is no finding {id_!r}", hint=hint, commands=["aibemu explain"])


def _lines(rule: RuleText, *, color: bool) -> Iterator[str]:
    title = f"{rule.id} ({rule.level}): {rule.title}"
    yield painted((title, "1")) if color else title
    for text in (rule.why, rule.fix and f"What to do: {rule.fix}", rule.url and f"See {rule.url}"):
        if text:
            yield ""
            yield from textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    for word, example in (("wrong", rule.bad), ("right", rule.good)):
        if example is not None:
            yield ""
            yield f"{word}:"
            yield from _example(example)


def _example(example: ExampleText) -> Iterator[str]:
    yield from textwrap.indent(example.text.strip("\n"), "    ").split("\n")
    for name, text in example.files.items():
        yield f"  {name}:"
        yield from textwrap.indent(text.strip("\n"), "    ").split("\n")
