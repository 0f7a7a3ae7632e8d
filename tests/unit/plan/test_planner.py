"""From template and image to a plan: hardware, steps, fingerprints, notes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.arm.diagnostics import TemplateInvalid
from aibemu.errors import Span
from aibemu.images import BaseImage, Generation, ImageInfo, Provisioning
from aibemu.images.linux import LinuxFacts
from aibemu.plan.model import Fetched, Plan, ResolvedImage
from aibemu.plan.planner import GIB, Host, PreparedStep, machine_shape, make_plan
from aibemu.template.model import (
    OnError,
    PlatformImage,
    StepSpec,
    Target,
    Template,
    Validate,
    VmProfile,
)

SPAN = Span(file="t.json", line=1, column=1)
BIG = Host(cpus=64, memory_mib=512 * 1024)


def image(generation: Generation = Generation.V1, size: int = 4 * GIB) -> BaseImage:
    info = ImageInfo(
        os_type="Linux", os_name="Debian", generation=generation, provisioning=Provisioning.NOCLOUD, generalized=True,
        origin="test",
    )  # fmt: skip
    return BaseImage(digest="a" * 64, path=Path("/x"), virtual_size=size, file_size=1, created="t", info=info)


def step(text: str = "echo", index: int = 0) -> StepSpec:
    return StepSpec(kind="Shell", index=index, name="", options={"inline": [text]}, span=SPAN)


def template(**changes: object) -> Template:
    base = Template(
        name="t", location="westeurope", api_version="2024-02-01", tags={}, identities=("i",),
        source=PlatformImage(publisher="p", offer="o", sku="s", version="latest", plan=None, span=SPAN),
        customize=(step(),), validate=Validate(), optimize_vm_boot=False,
        distribute=(
            Target(kind="VHD", index=0, run_output_name="v", artifact_tags={}, options={}, span=SPAN),
        ),
        on_customizer_error=OnError.CLEANUP, on_validation_error=OnError.CLEANUP, build_timeout_minutes=0,
        vm_profile=VmProfile(), staging_resource_group="", managed_resource_tags={}, file="t.json", directory="/",
        document={},
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


class Inputs:
    def __init__(self, value: object) -> None:
        self.value = value

    def inputs(self) -> object:
        return self.value


def plan(*texts: str, of: Template | None = None, content: str = "c" * 64) -> Plan:
    files = (Fetched(uri="u", path=Path("/f"), sha256=content, size=1),)
    steps = [PreparedStep(spec=step(text, n), step=Inputs(text), files=files) for n, text in enumerate(texts)]
    source = ResolvedImage(image=image(), exact_version="1.0.0", source_id="p:o:s:1.0.0", plan=None)
    return make_plan(
        of or template(), template_id="/t", staging_group="/rg", source=source, steps=steps, validators=steps[:1],
        host=BIG, hypervisor=("qemu", "7.2"), surroundings={},
    )  # fmt: skip


def test_default_sizes_are_the_services() -> None:
    gen1 = machine_shape(template(), image(), BIG)
    assert (gen1.vm_size, gen1.cpus, gen1.memory_mib, gen1.firmware) == ("Standard_D1_v2", 1, 3584, "bios")
    gen2 = machine_shape(template(), image(Generation.V2), BIG)
    assert (gen2.vm_size, gen2.cpus, gen2.memory_mib, gen2.firmware) == ("Standard_D2ds_v4", 2, 8192, "uefi")


def test_size_is_capped_by_the_host_and_says_so() -> None:
    asked = template(vm_profile=VmProfile(vm_size="Standard_D16s_v3"))
    shape = machine_shape(asked, image(), Host(cpus=2, memory_mib=8192))
    assert (shape.cpus, shape.memory_mib) == (2, 8192)
    assert "16 vCPUs" in shape.notes[0]


def test_unknown_size_warns_and_takes_the_default() -> None:
    shape = machine_shape(template(vm_profile=VmProfile(vm_size="Standard_Z9")), image(), BIG)
    assert shape.cpus == 1
    assert "Standard_Z9" in shape.notes[0]


@pytest.mark.parametrize(
    ("root", "size", "told"), [("xfs on LVM", 10, True), ("xfs", 10, False), ("xfs on LVM", 4, False)]
)
def test_a_root_on_lvm_does_not_grow_with_its_disk(root: str, size: int, told: bool) -> None:
    source = image()
    source = replace(source, info=replace(source.info, linux=LinuxFacts(distribution="rhel 9.4", root=root)))
    notes = machine_shape(template(vm_profile=VmProfile(os_disk_size_gb=size)), source, BIG).notes
    assert any("grows no logical volume" in note for note in notes) is told


def test_disk_grows_and_never_shrinks() -> None:
    grown = template(vm_profile=VmProfile(os_disk_size_gb=10))
    assert machine_shape(grown, image(), BIG).disk_bytes == 10 * GIB
    assert machine_shape(template(), image(), BIG).disk_bytes == 4 * GIB
    with pytest.raises(TemplateInvalid) as caught:
        machine_shape(template(vm_profile=VmProfile(os_disk_size_gb=2)), image(), BIG)
    assert "osDiskSizeGB 2 is smaller" in caught.value.diagnostics[0].message


def test_timeout_zero_is_the_services_four_hours() -> None:
    assert plan("a").timeout_seconds == 240 * 60
    assert plan("a", of=template(build_timeout_minutes=30)).timeout_seconds == 1800


def test_fingerprints_chain() -> None:
    first, second = plan("a", "b"), plan("a", "x")
    assert first.steps[0].fingerprint == second.steps[0].fingerprint
    assert first.steps[1].fingerprint != second.steps[1].fingerprint
    changed = plan("a", "b", content="d" * 64)
    assert changed.steps[0].fingerprint != first.steps[0].fingerprint
    assert plan("x", "b").steps[1].fingerprint != first.steps[1].fingerprint


def test_source_validation_only_has_no_customizers_and_no_targets() -> None:
    only = plan("a", of=template(validate=Validate(source_validation_only=True)))
    assert only.steps == ()
    assert only.targets == ()
    assert [step.id for step in only.validators] == ["v1"]


def test_parity_notes_name_what_is_not_emulated() -> None:
    assert plan("a").notes == ()
    assert "optimize.vmBoot" in plan("a", of=template(optimize_vm_boot=True)).notes[0]
