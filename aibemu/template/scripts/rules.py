"""All rules about scripts, over all scripts of a template."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from aibemu.template import publishers
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import SCRIPT_KINDS, source_of, steps_of
from aibemu.template.scripts import Script, collect, text
from aibemu.template.scripts.judge import Judge
from aibemu.template.scripts.model import Dialect
from aibemu.template.scripts.unread import check_files, check_parsed
from aibemu.template.view import NodeView


def check(resource: NodeView, context: RuleContext) -> None:
    """Judge every script; findings go to those of the context."""
    properties = resource.child("properties")
    source = properties.child("source") if properties else None
    publisher = ((source.text("publisher") if source else None) or "").casefold()
    check_files(resource, context)
    scripts = collect(resource, context)
    for script in scripts:
        judge = Judge(script=script, context=context, publisher=publisher)
        for check in (*text.CHECKS, check_parsed):
            check(judge)
        if script.dialect is Dialect.POWERSHELL:
            from aibemu.template.scripts import powershell, powershell_places, powershell_silent, powershell_tables

            kinds = (powershell.CHECKS, powershell_silent.CHECKS, powershell_places.CHECKS, powershell_tables.CHECKS)
            for check in (one for kind in kinds for one in kind):
                check(judge)
            _check_requires(resource, scripts, judge)
        else:
            from aibemu.template.scripts import shell

            for check in shell.CHECKS:
                check(judge)
    _check_errors([script for script in scripts if script.dialect is Dialect.POWERSHELL], context)
    for step in properties.children("customize") if properties else ():
        text.check_marks(step, context.files, context)


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


def _check_errors(scripts: list[Script], context: RuleContext) -> None:
    """W47: one note for all PowerShell steps that go on after an error."""
    from aibemu.template.scripts.powershell import ignores_errors

    careless = [script for script in scripts if ignores_errors(script.text)]
    if careless:
        names = ", ".join(dict.fromkeys(script.label for script in careless))
        message = f"PowerShell goes on after an error, and these steps then succeed all the same: {names}"
        hint = "begin with `$ErrorActionPreference = 'Stop'`, and check $LASTEXITCODE after programs"
        context.findings.note("W47", careless[0].at(0), message, path=careless[0].step.path, hint=hint)
