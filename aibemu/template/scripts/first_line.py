"""W96: the first line of a script file, which says what runs it."""

from __future__ import annotations

import re

from aibemu.template.remote import Files
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import steps_of
from aibemu.template.scripts.text import MARK
from aibemu.template.view import NodeView

_FIRST = "make the first line `#!/bin/bash -e`, with nothing before it"


def check_first_lines(resource: NodeView, context: RuleContext) -> None:
    """W96 for each file of a Shell step that is known."""
    for step in steps_of(resource):
        if step.text("type") == "Shell" and (uri := step.text("scriptUri")):
            _check(step, uri, context.files, context)


def _check(step: NodeView, uri: str, files: Files, context: RuleContext) -> None:
    remote = files.get(uri)
    if (
        remote is None
        or remote.problem
        or not remote.head.strip()
        or b"\0" in remote.head
        or remote.head.startswith(MARK)
    ):
        return
    text = remote.head.decode("utf-8", "replace").replace("\r\n", "\n")
    lines = text.split("\n")
    if text.lstrip().startswith("<"):
        return  # a page of HTML or XML, which E28 tells
    if why := _wrong(lines):
        message = f"{remote.place}: {why}"
        context.findings.warning("W96", step.at("scriptUri"), message, path=step.path, hint=_FIRST)
    elif not text.startswith("#!"):
        message = f"{remote.place} has no `#!` line, so that sh runs it, and goes on after a command that failed"
        context.findings.note("W96", step.at("scriptUri"), message, path=step.path, hint=_FIRST)


def _wrong(lines: list[str]) -> str | None:
    """What is wrong about the first line, if it was meant to be a `#!` line."""
    first = lines[0]
    if re.match(r"\s*(?:!#|#\s+!|#/)\s*/?(?:usr/)?(?:bin|local)/", first) or first.startswith("!#"):
        return f"its first line `{first[:60].strip()}` is no `#!` line"
    if re.match(r"\s+#!", first):
        return "there is a blank before the `#!`, so that it is a comment"
    late = next((number for number, line in enumerate(lines[1:20], 2) if re.match(r"#!\s*/", line)), None)
    if not first.startswith("#!"):
        return f"its `#!` is in line {late}: only in the first it counts" if late else None
    words = first[2:].split()
    if not words:
        return "its `#!` line names no program"
    if not words[0].startswith("/"):
        return f"its `#!` line names `{words[0][:60]}` without its folder"
    if words[0].endswith("/env") and len(words) > 2 and not words[1].startswith("-") and "=" not in words[1]:
        program = " ".join(words[1:])[:60]
        return f"its `#!` line makes env look for a program of the name `{program}`: it gets all of it as one word"
    if not words[0].endswith("/env") and len(words) > 2:
        return f"its `#!` line has more than one option, which arrive as one: `{' '.join(words[1:])[:60]}`"
    return None
