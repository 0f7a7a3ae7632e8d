"""Whether steps are for the system of the image that they run on. What the name of a marketplace image tells is judged
with the template (E23); an image of somebody's own is known when it has been found."""

from __future__ import annotations

from aibemu.arm.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.plan.model import ResolvedImage
from aibemu.template.model import StepSpec, Template
from aibemu.template.publishers import System
from aibemu.template.rule_parts import LINUX_KINDS, WINDOWS_KINDS


def check_system(template: Template, source: ResolvedImage) -> None:
    """Raise `TemplateInvalid` with all steps that are for the other system than the image's."""
    system = source.image.info.os_type
    if not source.known or system not in list(System):
        return
    lists = (("customize", template.customize), ("validate.inVMValidations", template.validate.steps))
    found = [
        _finding(step, where, source) for where, steps in lists for step in steps if _theirs(step) not in (None, system)
    ]
    if found:
        raise TemplateInvalid(found)


def _theirs(step: StepSpec) -> System | None:
    if step.kind in LINUX_KINDS:
        return System.LINUX
    return System.WINDOWS if step.kind in WINDOWS_KINDS else None


def _finding(step: StepSpec, where: str, source: ResolvedImage) -> Diagnostic:
    info = source.image.info
    name = f" ({info.os_name})" if info.os_name else ""
    return Diagnostic(
        id="E23",
        severity=Severity.ERROR,
        message=f"'{step.kind}' is for {_theirs(step)}, and the source is a {info.os_type} image{name}: the service "
        "does not take it there",
        span=step.span,
        path=f"ImageTemplate.properties.{where}[{step.index}]",
        hint=f"use {'Shell' if info.os_type == System.LINUX else 'PowerShell'}, or another source",
    )
