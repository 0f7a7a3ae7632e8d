"""What the engine works with: every outside thing, gathered once, handed down as one value."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aibemu.clock import CancelToken, Clock
from aibemu.cloud.local import LocalCloud
from aibemu.distributors import Distributor
from aibemu.engine.asking import Ask, Pauses
from aibemu.engine.preparing.starts import Reuser
from aibemu.events import Emit
from aibemu.fabric.vm import ManagedIdentity
from aibemu.hypervisor import Accelerator, HypervisorDriver
from aibemu.images.store import ImageStore
from aibemu.layers.store import LayerStore
from aibemu.plan.model import Plan
from aibemu.runs.store import Run
from aibemu.settings import Settings
from aibemu.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """cancel is pulled by signals and `aibemu cancel`; distributor maps a target's type to its plugin.

    reuser: chooses the layer to start from. freeze: make layers of the build machine.
    ask: a person, if there is one. replan: the plan of the template as it is now, for another attempt.
    identities: the machines' own. offline: they reach nothing but their platform.
    verify_boot: boot the generalised image once more, with another identity.
    secrets: values that no record may show.
    also: extra formats written beside each output (`qcow2`), and whether compressed. log_id: the guid of the run's log.
    """

    run: Run
    driver: HypervisorDriver
    accelerator: Accelerator
    clock: Clock
    cancel: CancelToken
    telemetry: Telemetry
    store: ImageStore
    cloud: LocalCloud
    settings: Settings
    distributor: Callable[[str], Distributor]
    log_id: str
    template_directory: Path
    reuser: Reuser
    replan: Callable[[], Plan]
    rng: random.Random = field(default_factory=random.SystemRandom)
    identities: tuple[ManagedIdentity, ...] = ()
    offline: bool = False
    verify_boot: bool = False
    secrets: frozenset[str] = frozenset()
    also: tuple[str, ...] = ()
    compress: bool = False
    freeze: bool = False
    ask: Ask | None = None
    pauses: Pauses = field(default_factory=Pauses)

    @property
    def layers(self) -> LayerStore:
        return self.reuser.layers

    @property
    def emit(self) -> Emit:
        return self.telemetry.emit
