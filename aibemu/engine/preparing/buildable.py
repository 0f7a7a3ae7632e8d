"""Whether this aibemu can build a template that is valid: it knows more than it can build."""

from __future__ import annotations

from aibemu.engine.preparing.lacking import lacking, systems_of, without_customizer
from aibemu.errors import AibemuError, HostNotReady, NotBuildable
from aibemu.hypervisor import Accelerator, Firmware, HypervisorDriver
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.plan.model import Plan
from aibemu.systems import for_image
from aibemu.template.model import Template

# What to do where machines that need hardware acceleration have none.
ACCELERATED = (
    "build it on a host with KVM: Linux on real hardware, or a virtual machine with nested virtualization, whose user "
    "may open /dev/kvm; or take the time: --slow, or the setting slow"
)


def check_buildable(template: Template, *, booted: bool, by_steps: bool = False) -> None:
    """Raise `NotBuildable` with all that is missing. by_steps: only when it lacks what runs a step; what the name of
    the source says of the guest's system counts less than an image that is here. booted: as for `lacking`."""
    if by_steps and not without_customizer(template):
        return
    if missing := lacking(template, booted=booted):
        raise NotBuildable(
            f"{template.name} is valid, but not buildable here: this aibemu has no {missing[0].partition(' (')[0]}",
            details=[f"missing: {one}" for one in missing],
            hint="build it in Azure; here it can be checked with `aibemu validate`",
            span=template.source.span,
        )


def check_acceleration(template: Template, info: ImageInfo, accelerator: Accelerator, *, slow: bool) -> str | None:
    """Raise `NotBuildable` for an image whose machines are of no use on this host, which has no hardware acceleration.

    accelerator: of a driver that boots its guests. slow: such machines are made all the same; then what people should
    know of that is returned.
    """
    why = for_image(info).needs_acceleration(info) if accelerator.slowness > 1 else None
    if not why:
        return None
    if slow:
        return f"{why}; all waits are {accelerator.slowness:g} times as long ({accelerator.name}: {accelerator.reason})"
    raise NotBuildable(
        f"{template.name} is valid, but not buildable here: this host has no hardware acceleration, and {why}",
        details=[f"{accelerator.name}: {accelerator.reason}"], hint=ACCELERATED, commands=["aibemu doctor"],
        span=template.source.span,
    )  # fmt: skip


def check_named_acceleration(template: Template, accelerator: Accelerator, missing: AibemuError, *, slow: bool) -> None:
    """The same for a source that is not here, which `missing` says: by what its name and the steps tell of its system.
    It is not worth getting for a host that cannot boot it."""
    for system in systems_of(template):
        info = ImageInfo(
            os_type=str(system), os_name="", generation=Generation.V1, provisioning=Provisioning.UNKNOWN,
            generalized=True, origin="",
        )  # fmt: skip
        try:
            check_acceleration(template, info, accelerator, slow=slow)
        except NotBuildable as error:
            error.details += (missing.message,)
            raise


def check_driver(driver: HypervisorDriver, plan: Plan) -> None:
    """`HostNotReady` when the driver, as it is here, cannot boot the image that the plan starts from."""
    firmware = Firmware(plan.machine.firmware)
    can, info = driver.capabilities(), plan.source.image.info
    if firmware not in can.firmwares:
        raise HostNotReady(
            f"the driver {driver.name} cannot boot a generation {info.generation.value} image here",
            hint="aibemu doctor says what is missing"
            + (" (OVMF for generation 2)" if firmware is Firmware.UEFI else ""),
            commands=["aibemu doctor"],
        )
    if can.boots_guests and not can.wires and for_image(info).reports(info):
        raise HostNotReady(
            f"the driver {driver.name} cannot boot an image that waits for Azure's platform",
            details=[f"{plan.source.source_id} is provisioned by way of it only"],
            hint=f"use the driver qemu, or {for_image(info).advice.without_platform}",
        )
