"""All rules about scripts, over all scripts of a template."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from aibemu.template import publishers
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import SCRIPT_KINDS, source_of, steps_of
from aibemu.template.scripts import Script, collect, text
from aibemu.template.scripts.earlier import Earlier
from aibemu.template.scripts.first_line import check_first_lines
from aibemu.template.scripts.judge import Judge
from aibemu.template.scripts.model import Dialect
from aibemu.template.scripts.unread import check_files, check_parsed
from aibemu.template.view import NodeView

# Steps of one template that are compared with each other.
_MANY = 100


def check(resource: NodeView, context: RuleContext) -> None:
    """Judge every script; findings go to those of the context."""
    properties = resource.child("properties")
    source = properties.child("source") if properties else None
    publisher = ((source.text("publisher") if source else None) or "").casefold()
    check_files(resource, context)
    check_first_lines(resource, context)
    scripts = collect(resource, context)
    earlier = Earlier()
    careless, careless_windows = list[tuple[Script, int]](), list[Script]()
    texts = [script.text for script in scripts]
    for number, script in enumerate(scripts):
        judge = Judge(
            script=script, context=context, publisher=publisher, earlier=earlier,
            others=[*texts[:number], *texts[number + 1 :]] if len(texts) < _MANY else (),
        )  # fmt: skip
        for check in (*text.CHECKS, check_parsed):
            check(judge)
        if script.dialect is Dialect.POWERSHELL:
            if _check_powershell(resource, scripts, judge):
                careless_windows.append(script)
        elif (at := _check_shell(judge)) is not None:
            careless.append((script, at))
        earlier.add(script.text)
    _note_careless(careless, context)
    _note_errors(careless_windows, context)
    for step in properties.children("customize") if properties else ():
        text.check_marks(step, context.files, context)


def _check_shell(judge: Judge) -> int | None:
    """Judge a shell script, and those in it. Where a command stands whose failure nobody notices, or None."""
    from aibemu.template.scripts import shell
    from aibemu.template.scripts.failures import is_careless
    from aibemu.template.scripts.nested import nested

    for one in (judge, *nested(judge)):
        for check in shell.CHECKS:
            check(one)
    return is_careless(judge)


def _check_powershell(resource: NodeView, scripts: Sequence[Script], judge: Judge) -> bool:
    """Judge a PowerShell script. True when it goes on after an error."""
    from aibemu.template.scripts import powershell, powershell_places, powershell_silent, powershell_tables

    kinds = (powershell.CHECKS, powershell_silent.CHECKS, powershell_places.CHECKS, powershell_tables.CHECKS)
    for check in (one for kind in kinds for one in kind):
        check(judge)
    _check_requires(resource, scripts, judge)
    return powershell.ignores_errors(judge)


def _note_careless(found: Sequence[tuple[Script, int]], context: RuleContext) -> None:
    """W97: one note for all shell scripts that go on after an error, at the first."""
    if found:
        script, at = found[0]
        names = ", ".join(dict.fromkeys(one.label for one, _ in found))
        message = f"a shell goes on after a command that failed, and these scripts then succeed all the same: {names}"
        hint = "make the first line `#!/bin/bash -e`, or put `set -e` below it"
        context.findings.note("W97", script.at(at), message, path=script.step.path, hint=hint)


def _check_requires(resource: NodeView, scripts: Sequence[Script], judge: Judge) -> None:
    """W64, with what the steps before may have installed."""
    from aibemu.template.scripts.powershell_requires import check_requires

    before = scripts[: scripts.index(judge.script)]
    known = {script.step.path for script in before}
    steps = takewhile(lambda step: step.path != judge.script.step.path, steps_of(resource))
    # An image of somebody's own may have modules of its own.
    source = source_of(resource, "PlatformImage")
    unseen = source is None or not publishers.is_plain_windows(source.text("publisher") or "")
    unseen = unseen or any(step.path not in known for step in steps if step.text("type") in SCRIPT_KINDS)
    check_requires(judge, before, unseen)


def _note_errors(careless: Sequence[Script], context: RuleContext) -> None:
    """W47: one note for all PowerShell steps that go on after an error."""
    if careless:
        names = ", ".join(dict.fromkeys(script.label for script in careless))
        message = f"PowerShell goes on after an error, and these steps then succeed all the same: {names}"
        hint = "begin with `$ErrorActionPreference = 'Stop'`, and check $LASTEXITCODE after programs"
        context.findings.note("W47", careless[0].at(0), message, path=careless[0].step.path, hint=hint)
