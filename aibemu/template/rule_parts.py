"""The parts of a template that rules look at, and how findings call them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aibemu.template.publishers import System, system_of
from aibemu.template.spec.steps import CUSTOMIZER
from aibemu.template.view import NodeView

_SERVICE_KINDS = frozenset(variant.tag for variant in CUSTOMIZER.variants)
WINDOWS_KINDS = frozenset({"PowerShell", "WindowsRestart", "WindowsUpdate"})
LINUX_KINDS = frozenset({"Shell"})
SCRIPT_KINDS = frozenset({"Shell", "PowerShell"})


def source_of(template: NodeView, kind: str) -> NodeView | None:
    """The source, when it is of that type."""
    properties = template.child("properties")
    source = properties.child("source") if properties else None
    return source if source and source.text("type") == kind else None


def vm_profile_of(template: NodeView) -> NodeView | None:
    properties = template.child("properties")
    return properties.child("vmProfile") if properties else None


def customizers_of(template: NodeView, kind: str | None = None) -> Iterator[NodeView]:
    """The customizers of a type that the service knows, or of one type."""
    if properties := template.child("properties"):
        yield from _steps(properties, "customize", kind)


def validators_of(template: NodeView) -> Iterator[NodeView]:
    """The in-VM validators of a type that the service knows."""
    properties = template.child("properties")
    if properties and (validate := properties.child("validate")):
        yield from _steps(validate, "inVMValidations", None)


def steps_of(template: NodeView) -> Iterator[NodeView]:
    """All customizers, then all validators."""
    yield from customizers_of(template)
    yield from validators_of(template)


def targets_of(template: NodeView, kind: str | None = None) -> Iterator[NodeView]:
    """The distribute targets, or those of one type."""
    if properties := template.child("properties"):
        yield from (t for t in properties.children("distribute") if kind is None or t.text("type") == kind)


def system_of_source(template: NodeView) -> System | None:
    """The system of a marketplace image that is well known."""
    source = source_of(template, "PlatformImage")
    return system_of(source.text("publisher") or "", source.text("offer") or "") if source else None


def is_windows(template: NodeView) -> bool:
    """True when the source, or the type of a customizer, says so."""
    system = system_of_source(template)
    if system is not None:
        return system is System.WINDOWS
    return any(step.text("type") in WINDOWS_KINDS for step in customizers_of(template))


def listed_steps(steps: Iterable[NodeView]) -> str:
    """`customize[0] 'First', customize[2]`."""
    return ", ".join(_called(step) for step in steps)


def _steps(around: NodeView, key: str, kind: str | None) -> Iterator[NodeView]:
    wanted = _SERVICE_KINDS if kind is None else {kind}
    yield from (step for step in around.children(key) if step.text("type") in wanted)


def _called(step: NodeView) -> str:
    where = step.path.rpartition(".")[2]
    name = step.text("name")
    return f"{where} '{name}'" if name else where
