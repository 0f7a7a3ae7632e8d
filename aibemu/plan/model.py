"""A plan: everything a run will do, decided before any machine starts, each part with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aibemu.hardware import Hardware
from aibemu.images import BaseImage
from aibemu.template.model import StepSpec, Target, Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A script or file on this host: its immutable local copy, content hash (64 hex) and size in bytes."""

    uri: str
    path: Path
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePlan:
    """The devices that a machine starts with, and why."""

    hardware: Hardware = field(default_factory=Hardware)
    # `KEY=VALUE` of those that stay, whatever else a guest is tried with: of the vmSize, the security type, a setting.
    fixed: tuple[str, ...] = ()
    # For people.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineShape:
    """The virtual hardware. disk_bytes: virtual size of the system disk; notes: why it is not what was asked for."""

    cpus: int
    memory_mib: int
    disk_bytes: int
    firmware: str
    vm_size: str
    notes: tuple[str, ...] = ()
    devices: DevicePlan = field(default_factory=DevicePlan)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One customizer or validator. id: `c1`, `c2`... or `v1`...; content: sha256 of what it does; fingerprint: the same
    of all that decides its result, chained over the steps before it; reason: why it runs, or since when it is cached.
    boots: the build starts from the disk as it was at this step's restart, so the machine boots.
    """

    id: str
    spec: StepSpec
    files: tuple[Fetched, ...]
    content: str
    fingerprint: str
    reason: str
    cached: bool = False
    boots: bool = False


def step_json(step: PlannedStep) -> dict[str, Any]:
    """A step as the record of a run has it."""
    spec = step.spec
    return {
        "id": step.id, "kind": spec.kind, "label": spec.label, "span": str(spec.span), "named": bool(spec.name),
        "content": step.content,
    }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedImage:
    """The source, found: exact_version as the service would report it, plan as given (planInfo).

    known: False when its image is not here, in a dry run: then what `image` says is a guess, and nothing can boot it.
    """

    image: BaseImage
    exact_version: str
    source_id: str
    plan: Mapping[str, str] | None
    notes: tuple[str, ...] = ()
    known: bool = True
    # Azure's security type: that of its image definition, else what is known of the image. "" for none.
    security: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run executes.

    timeout_seconds: of the whole build. notes: parity notes, for people. root: id of the layer that the provisioned
    machine is. start: id of the layer to start from, or None for a boot; the steps before it are marked cached.
    """

    template: Template
    template_id: str
    source: ResolvedImage
    machine: MachineShape
    steps: tuple[PlannedStep, ...]
    validators: tuple[PlannedStep, ...]
    targets: tuple[Target, ...]
    timeout_seconds: float
    staging_group: str
    notes: tuple[str, ...]
    root: str
    start: str | None = None

    @property
    def done(self) -> int:
        """How many steps need not run: they are in the layer that the build starts from."""
        return sum(step.cached for step in self.steps)

    @property
    def source_validation_only(self) -> bool:
        return self.template.validate.source_validation_only
