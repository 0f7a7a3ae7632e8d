"""Rules about customizers and in-VM validators of either system (facts: service 1.3, 3, 5, 7.2)."""

from __future__ import annotations

from aibemu.arm.findings import listed
from aibemu.arm.nodes import NodeKind
from aibemu.errors import Span
from aibemu.template.publishers import System
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import (
    LINUX_KINDS,
    SCRIPT_KINDS,
    WINDOWS_KINDS,
    customizers_of,
    steps_of,
    system_of_source,
    validators_of,
)
from aibemu.template.view import NodeView


def check_plugin(template: NodeView, context: RuleContext) -> None:
    """The service knows the type, this aibemu has nothing that runs it: the template is valid all the same, and a build
    says by itself what it lacks (`aibemu.engine.preparing.buildable`)."""
    missing = [step for step in steps_of(template) if step.text("type") not in context.kinds]
    hint = f"this aibemu builds with {listed(sorted(context.kinds), 'and') or 'no customizer at all'}"
    if missing and not context.build:
        kinds = listed(dict.fromkeys(step.text("type") or "" for step in missing), "and")
        message = f"valid in Azure; this aibemu cannot build it yet: {kinds}"
        context.findings.note("P01", missing[0].at("type"), message, path=missing[0].path, hint=hint)


def check_system(template: NodeView, context: RuleContext) -> None:
    """Steps for the other system than the source's; or, when that is not known, steps for both."""
    known = system_of_source(template)
    steps = list(steps_of(template))
    first = next((step for step in steps if _system_of_step(step)), None)
    system = known or (_system_of_step(first) if first else None)
    for step in steps:
        theirs = _system_of_step(step)
        if theirs is None or theirs is system:
            continue
        kind = step.text("type")
        if known:
            message = f"'{kind}' is for {theirs}, and the source is a {known} image: the service does not take it there"
        else:
            message = f"'{kind}' is for {theirs}, and other steps are for {system}: no image runs both"
        hint = f"use {'Shell' if system is System.LINUX else 'PowerShell'}, or another source"
        context.findings.error("E23", step.at("type"), message, path=step.path, hint=hint)


def _system_of_step(step: NodeView) -> System | None:
    kind = step.text("type")
    if kind in LINUX_KINDS:
        return System.LINUX
    return System.WINDOWS if kind in WINDOWS_KINDS else None


def check_script(template: NodeView, context: RuleContext) -> None:
    """Exactly one of scriptUri and inline; inline not empty."""
    for step in steps_of(template):
        if step.text("type") not in SCRIPT_KINDS or step.is_unknown("scriptUri") or step.is_unknown("inline"):
            continue
        uri = step.node.get("scriptUri")
        has_uri = uri is not None and uri.value != ""
        if has_uri and step.has("inline"):
            message = "both scriptUri and inline are there: exactly one of them says what to run"
            context.findings.error("E20", step.at("inline"), message, path=step.path, hint="remove one of the two")
        elif not has_uri and not step.has("inline"):
            message = "Missing field 'scriptUri' or 'inline': exactly one of them says what to run"
            context.findings.error("E20", step.span, message, path=step.path)
        check_inline(step, context)


def check_inline(step: NodeView, context: RuleContext) -> None:
    inline = step.node.get("inline")
    if inline is None or inline.kind is not NodeKind.ARRAY:
        return
    texts = [item.value for item in inline.items]
    if all(text == "" or (isinstance(text, str) and not text.strip()) for text in texts):
        message = "Field 'inline' is empty: there is nothing to run"
        context.findings.error("E22", inline.span, message, path=step.path, hint="add commands, or remove the step")


def check_names(template: NodeView, context: RuleContext) -> None:
    """Names are only labels; two alike make the log hard to read."""
    for steps in (customizers_of(template), validators_of(template)):
        seen: dict[str, Span] = {}
        for step in steps:
            name = step.text("name")
            if not name:
                continue
            first = seen.setdefault(name, step.at("name"))
            if first != step.at("name"):
                message = (
                    f"the name '{name}' is there twice (line {first.line}): logs and reports do not tell them apart"
                )
                context.findings.note("W48", step.at("name"), message, path=step.path, hint="give it another name")


def check_file(template: NodeView, context: RuleContext) -> None:
    """Optional in the schema, nothing to copy without."""
    for step in steps_of(template):
        if step.text("type") != "File":
            continue
        for field in ("sourceUri", "destination"):
            if not step.has(field) or step.text(field) == "":
                message = f"Missing field '{field}': a file needs sourceUri and destination"
                context.findings.error("S02", step.at(field), message, path=step.path)


CHECKS = (check_plugin, check_system, check_script, check_names, check_file)
