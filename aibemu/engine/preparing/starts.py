"""What of earlier builds a run may start from: the keys of its layers, and the choice of one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from aibemu.clock import Clock
from aibemu.engine.preparing.vm import image_reference, subnet_of
from aibemu.errors import AibemuError, UsageError
from aibemu.fabric.vm import ManagedIdentity
from aibemu.hardware import Hardware
from aibemu.hypervisor import HypervisorDriver
from aibemu.images import ImageInfo
from aibemu.layers import Layer
from aibemu.layers.store import LayerStore
from aibemu.plan.model import Plan, ResolvedImage
from aibemu.plan.reuse import Known, Wish, find_step, reuse
from aibemu.settings import Settings
from aibemu.systems import for_image
from aibemu.template.model import Template

# Changes when layers of an earlier aibemu are no use to this one.
LAYER_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuser:
    """Chooses starts. on: False where the driver saves no machines, or nothing shall be reused."""

    wish: Wish
    layers: LayerStore
    clock: Clock
    on: bool = True

    def leaving_out(self, skipped: frozenset[str]) -> Reuser:
        """The same, where the steps of these ids are left out."""
        return replace(self, wish=replace(self.wish, skipped=skipped))

    def choose(self, plan: Plan, useless: Collection[str] = ()) -> Plan:
        """`plan` with its start and reasons, without the layers that proved useless."""
        if self.wish.own:
            return self.again(plan, {}, useless, self.wish.skipped)
        return self._choose(plan, self.wish, useless, {}, set()) if self._is_on(plan) else plan

    def again(
        self, plan: Plan, made: Mapping[str, Layer], useless: Collection[str] = (), skipped: Collection[str] = ()
    ) -> Plan:
        """The same for another attempt: what this run itself has `made`, or one that it continues, counts, whatever was
        wished at first.

        skipped: ids of steps that are left out now.
        """
        wish = replace(
            self.wish, warm=True, cache=True, from_step=None, skipped=frozenset(skipped),
            own=self.wish.own | {layer.run for layer in made.values()},
        )  # fmt: skip
        return self._choose(plan, wish, useless, made, self._asked_to_run(plan)) if self._is_on(plan) else plan

    def _is_on(self, plan: Plan) -> bool:
        """What a TPM holds is in no layer: a machine that has one boots."""
        return self.on and not plan.machine.devices.hardware.tpm

    def _asked_to_run(self, plan: Plan) -> set[str]:
        """Ids of the layers that --from forbids to take from other runs."""
        if self.wish.from_step is None:
            return set()
        try:
            first = find_step(plan.steps, self.wish.from_step, "--from")
        except UsageError:  # it has another name by now, and may be any of them
            first = 0
        return {step.fingerprint for step in plan.steps[first:]}

    def _choose(
        self, plan: Plan, wish: Wish, useless: Collection[str], made: Mapping[str, Layer], asked: Collection[str]
    ) -> Plan:
        def lookup(layer_id: str) -> Known | None:
            if layer_id in useless:
                return None
            layer = self.layers.get(layer_id, made)
            others = self.wish.warm if layer_id == plan.root else self.wish.cache and layer_id not in asked
            if layer is None or not (others or layer.run in wish.own):
                return None
            return Known(made=layer.made, run=layer.run, past=layer.past, boots=layer.boots)

        return reuse(plan, wish, lookup, self.clock.now())


def hypervisor_key(
    driver: HypervisorDriver, template: Template, image: ImageInfo, settings: Settings, hardware: Hardware, *,
    always: bool = False,
) -> tuple[str, ...]:  # fmt: skip
    """What a frozen machine depends on, besides its image and shape. always: the memory of all guests is frozen; layers
    with memory that is frozen only then are used only then, too."""
    try:
        key = tuple(driver.freezing_key())
    except AibemuError:  # a missing hypervisor: a plan can be made without, a run says so itself
        key = ("missing",)
    system = for_image(image)
    memory = ("memory",) if always and system.freezing and system.freezing.asks_for_memory else ()
    return (
        *key, str(LAYER_VERSION), image.provisioning.value, settings.build_user, str(settings.first_boot_wait),
        str(subnet_of(template, settings.subnets)), repr(hardware), settings.locale, *memory,
        *system.key(),
    )  # fmt: skip


def surroundings(
    template: Template,
    source: ResolvedImage,
    identities: Sequence[ManagedIdentity],
    settings: Settings,
    *,
    offline: bool,
) -> dict[str, object]:
    """What a script can learn from its machine's platform; and whether it can reach anything else."""
    image = image_reference(template, source)
    return {
        "template": template.name, "group": settings.resource_group, "subscription": settings.subscription_id,
        "tenant": settings.tenant_id, "location": template.location, "tags": dict(template.managed_resource_tags),
        "staging": template.staging_resource_group, "offline": offline,
        "identities": [[one.resource_id, bool(one.command)] for one in identities],
        "image": asdict(replace(image, plan=dict(image.plan))),
    }  # fmt: skip
