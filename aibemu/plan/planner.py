"""From a template and what was resolved for it to a plan. Pure: no file, no network, no clock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from aibemu.arm.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.images import BaseImage, Generation
from aibemu.images.linux import ON_LVM
from aibemu.plan import fingerprint
from aibemu.plan.model import DevicePlan, Fetched, MachineShape, Plan, PlannedStep, ResolvedImage
from aibemu.plan.parity import parity_notes
from aibemu.template.model import StepSpec, Template
from aibemu.template.vm_sizes import DEFAULT_GEN1, DEFAULT_GEN2, lookup

GIB = 1024**3
DEFAULT_TIMEOUT_MINUTES = 240  # what buildTimeoutInMinutes 0 means (facts: service 1.3)
LEAST_MEMORY_MIB = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What this machine has to give one guest: logical CPUs and memory in MiB."""

    cpus: int
    memory_mib: int


class StepInputs(Protocol):
    """The part of a customizer that the planner asks."""

    def inputs(self) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStep:
    """A step with what was fetched for it."""

    spec: StepSpec
    step: StepInputs
    files: tuple[Fetched, ...]


def make_plan(
    template: Template,
    *,
    template_id: str,
    staging_group: str,
    source: ResolvedImage,
    steps: Sequence[PreparedStep],
    validators: Sequence[PreparedStep],
    host: Host,
    hypervisor: Sequence[str],
    surroundings: Mapping[str, object],
    devices: DevicePlan | None = None,
) -> Plan:
    """Decide everything a run needs to know. Raises `TemplateInvalid` for a disk smaller than the source's.

    devices: None: the usual ones. hypervisor: what a frozen machine depends on besides its own shape. surroundings:
    what a script can learn from its machine's platform (JSON), which so decides the results of steps.
    """
    shape = machine_shape(template, source.image, host)
    if devices is not None:
        shape = replace(shape, devices=devices, notes=(*shape.notes, *devices.notes))
    root = fingerprint.root(
        source.image.digest,
        (*hypervisor, shape.vm_size, shape.cpus, shape.memory_mib, shape.disk_bytes, shape.firmware),
    )
    parent = fingerprint.chain(root, "surroundings", surroundings, ())
    only = template.validate.source_validation_only
    return Plan(
        template=template,
        template_id=template_id,
        source=source,
        machine=shape,
        steps=() if only else _chain("c", parent, steps, "runs in every build"),
        validators=_chain("v", parent, validators, "runs on a second machine"),
        targets=() if only else template.distribute,
        timeout_seconds=60.0 * (template.build_timeout_minutes or DEFAULT_TIMEOUT_MINUTES),
        staging_group=staging_group,
        root=root,
        notes=(*source.notes, *shape.notes, *parity_notes(template)),
    )


def _chain(prefix: str, parent: str, steps: Sequence[PreparedStep], reason: str) -> tuple[PlannedStep, ...]:
    planned = []
    for number, prepared in enumerate(steps, start=1):
        does = (prepared.spec.kind, prepared.step.inputs(), [file.sha256 for file in prepared.files])
        parent = fingerprint.chain(parent, *does)
        planned.append(
            PlannedStep(
                id=f"{prefix}{number}", spec=prepared.spec, files=prepared.files,
                content=fingerprint.chain("", *does), fingerprint=parent, reason=reason,
            )
        )  # fmt: skip
    return tuple(planned)


def machine_shape(template: Template, image: BaseImage, host: Host) -> MachineShape:
    """vmSize and osDiskSizeGB as virtual hardware, capped by what the host has; a disk only ever grows."""
    notes: list[str] = []
    generation = image.info.generation
    fallback = DEFAULT_GEN2 if generation is Generation.V2 else DEFAULT_GEN1
    asked = template.vm_profile.vm_size or fallback
    size = lookup(asked)
    if size is None:
        size = lookup(fallback)
        assert size is not None
        notes.append(f"vmSize {asked} is not in aibemu's table of sizes: {fallback} is used instead")
    cpus = min(size.vcpus, host.cpus)
    memory = min(size.memory_mib, max(LEAST_MEMORY_MIB, host.memory_mib))
    if cpus < size.vcpus or memory < size.memory_mib:
        notes.append(
            f"vmSize {asked} has {size.vcpus} vCPUs and {size.memory_mib} MiB; this host gives {cpus} and {memory} MiB"
        )
    notes += _stays_small(template, image)
    return MachineShape(
        cpus=cpus, memory_mib=memory, disk_bytes=_disk_bytes(template, image),
        firmware="uefi" if generation is Generation.V2 else "bios", vm_size=asked, notes=tuple(notes),
    )  # fmt: skip


def _stays_small(template: Template, image: BaseImage) -> Sequence[str]:
    """What is known beforehand of a larger disk: cloud-init grows a root that is on a partition, and nothing else."""
    root = image.info.linux.root if image.info.linux else ""
    if template.vm_profile.os_disk_size_gb * GIB <= image.virtual_size or not root.endswith(ON_LVM):
        return ()
    return [
        f"osDiskSizeGB {template.vm_profile.os_disk_size_gb} makes the disk larger, not its root file system ({root}): "
        "cloud-init grows no logical volume, here as in Azure. The first customizer can: growpart, pvresize, "
        "lvextend --resizefs"
    ]


def _disk_bytes(template: Template, image: BaseImage) -> int:
    wanted = template.vm_profile.os_disk_size_gb * GIB
    if 0 < wanted < image.virtual_size:
        finding = Diagnostic(
            id="E73",
            severity=Severity.ERROR,
            message=f"osDiskSizeGB {template.vm_profile.os_disk_size_gb} is smaller than the source image's disk "
            f"({math.ceil(image.virtual_size / GIB)} GiB)",
            span=template.vm_profile.disk_span or template.source.span,
            path="ImageTemplate.properties.vmProfile",
            hint="a disk can only grow: leave osDiskSizeGB out, or make it larger than the source",
        )
        raise TemplateInvalid([finding])
    return wanted or image.virtual_size
