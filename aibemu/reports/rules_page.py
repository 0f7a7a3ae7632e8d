"""The reference of all findings as Markdown: docs/rules.md, what `aibemu explain --markdown` prints, SARIF's help."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from aibemu.reports.findings import ExampleText, RuleText

INTRODUCTION = (
    "# What aibemu finds in a template",
    "",
    "<!-- Made by `aibemu explain --markdown`; edit the catalogue (aibemu/template/catalogue), not this page. -->",
    "",
    "`aibemu validate` names each finding by an id that never changes. An *error* is what the service, or the build,",
    "refuses; a *warning* is accepted and likely trouble; a *note* is worth knowing. The level here is the usual one:",
    "before api version 2024-02-01 the service ignores some of what it refuses since, and then an error is a warning.",
    "`aibemu explain ID` shows one entry. Findings of ShellCheck about inline scripts (SC2086 ...) have",
    "[their own reference](https://www.shellcheck.net/wiki/). Examples show the part that matters of a template.",
    "",
    "Warnings and notes that you decide to live with go into a file `.aibemu.yaml` beside the template, or in a folder",
    "above it up to the repository's root; errors cannot be suppressed, because the service would refuse all the same:",
    "",
    "```yaml",
    "suppress:",
    "  - id: W37",
    "    reason: the braces are for the program that reads the file   # required",
    "    file: 'web*.json'  # optional: a name, or a path from this file on; ** stands for any folders",
    "    path: 'ImageTemplate.properties.customize[*]'  # optional: this and all below; [*] stands for any index",
    "```",
)
# An underscore inside a word is none.
_MARKUP = re.compile(r"[\\*<>\[\]]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def page(rules: Sequence[RuleText]) -> list[str]:
    """The whole page: an index, then every entry."""
    rows = [f"| [{rule.id}](#{rule.id.lower()}) | {rule.level} | {_inline(rule.title)} |" for rule in rules]
    entries = [line for rule in rules for line in ("", f"## {rule.id}", "", *entry(rule))]
    return [*INTRODUCTION, "", "| id | usually | what |", "|---|---|---|", *rows, *entries]


def entry(rule: RuleText) -> list[str]:
    """One rule, without a heading."""
    lines = [f"**{_inline(rule.title)}** ({rule.level})"]
    lines += ["", _inline(rule.why)] if rule.why else []
    lines += ["", f"**What to do:** {_inline(rule.fix)}"] if rule.fix else []
    lines += ["", f"See <{rule.url}>."] if rule.url else []
    for word, example in (("Wrong", rule.bad), ("Right", rule.good)):
        if example is not None:
            lines += ["", f"{word}:", "", *_example(example)]
    return lines


def _example(example: ExampleText) -> Iterator[str]:
    yield from _fenced(example.text, "json")
    for name, text in example.files.items():
        yield from ("", f"`{name}`:", "")
        yield from _fenced(text, _language(name))


def _fenced(text: str, language: str) -> Iterable[str]:
    """A fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return (f"{fence}{language}", *text.strip("\n").split("\n"), fence)


def _language(name: str) -> str:
    known = {"sh": "sh", "ps1": "powershell", "yaml": "yaml", "json": "json"}
    return known.get(name.rpartition(".")[2], "text")


def _inline(text: str) -> str:
    """Running text: what Markdown would take for markup is escaped, except in `code`; no row of a table breaks."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if place % 2 else _MARKUP.sub(r"\\\g<0>", part) for place, part in enumerate(parts)).replace(
        "|", "\\|"
    )
