"""All rules about scripts, over all scripts of a template."""

from __future__ import annotations

from aibemu.template.rule_context import RuleContext
from aibemu.template.scripts import Script, collect, text
from aibemu.template.scripts.judge import Judge
from aibemu.template.scripts.model import Dialect
from aibemu.template.view import NodeView


def check(resource: NodeView, context: RuleContext) -> None:
    """Judge every script; findings go to those of the context."""
    properties = resource.child("properties")
    source = properties.child("source") if properties else None
    publisher = ((source.text("publisher") if source else None) or "").casefold()
    scripts = collect(resource, context)
    for script in scripts:
        judge = Judge(script=script, context=context, publisher=publisher)
        for check in text.CHECKS:
            check(judge)
        if script.dialect is Dialect.POWERSHELL:
            from aibemu.template.scripts import powershell

            for check in powershell.CHECKS:
                check(judge)
        else:
            from aibemu.template.scripts import shell

            for check in shell.CHECKS:
                check(judge)
    _check_errors([script for script in scripts if script.dialect is Dialect.POWERSHELL], context)
    for step in properties.children("customize") if properties else ():
        text.check_marks(step, context.files, context)


def _check_errors(scripts: list[Script], context: RuleContext) -> None:
    """W47: one note for all PowerShell steps that go on after an error."""
    from aibemu.template.scripts.powershell import ignores_errors

    careless = [script for script in scripts if ignores_errors(script.text)]
    if careless:
        names = ", ".join(dict.fromkeys(script.label for script in careless))
        message = f"PowerShell goes on after an error, and these steps then succeed all the same: {names}"
        hint = "begin with `$ErrorActionPreference = 'Stop'`, and check $LASTEXITCODE after programs"
        context.findings.note("W47", careless[0].at(0), message, path=careless[0].step.path, hint=hint)
