"""What this aibemu lacks to build a valid template, as far as the template alone tells. `aibemu validate` asks, too: no
guest system is imported for a template that needs no Windows."""

from __future__ import annotations

from aibemu import plugins
from aibemu.template.model import PlatformImage, StepSpec, Template
from aibemu.template.publishers import System, system_of
from aibemu.template.rule_parts import WINDOWS_KINDS


def lacking(template: Template, *, booted: bool = True) -> list[str]:
    """A phrase each; nothing when it can be built. booted: by a driver that boots its guests; else they are up already,
    or there are none."""
    found = []
    if System.WINDOWS in systems_of(template):
        from aibemu.systems import runnable

        known = runnable(booted=booted)
        if System.WINDOWS not in known:
            found.append(f"{System.WINDOWS} guests (only {' and '.join(known)} guests are run so far)")
    for kind, steps in without_customizer(template).items():
        places = ", ".join(f"{step.label} at {step.span}" for step in steps)
        found.append(f"steps of type {kind} ({places})")
    return found


def runnable_kinds() -> frozenset[str]:
    """Customizers for which a guest system is installed; whether that one boots images is asked by `lacking`."""
    kinds = plugins.names("aibemu.customizers")
    return kinds if System.WINDOWS in plugins.names("aibemu.systems") else kinds - WINDOWS_KINDS


def without_customizer(template: Template) -> dict[str, list[StepSpec]]:
    """The steps of which nothing here runs the type, by type."""
    known = plugins.names("aibemu.customizers")
    missing: dict[str, list[StepSpec]] = {}
    for step in (*template.customize, *template.validate.steps):
        if step.kind not in known:
            missing.setdefault(step.kind, []).append(step)
    return missing


def systems_of(template: Template) -> set[System]:
    """What the source and the steps say of the guest's system, as far as they say anything."""
    source, found = template.source, set[System]()
    if isinstance(source, PlatformImage) and (system := system_of(source.publisher, source.offer)):
        found.add(system)
    if any(step.kind in WINDOWS_KINDS for step in template.customize):
        found.add(System.WINDOWS)
    return found
