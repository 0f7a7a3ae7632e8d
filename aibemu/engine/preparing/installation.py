"""What all builds of one installation share, as values."""

from __future__ import annotations

from dataclasses import dataclass

from aibemu.clock import Clock
from aibemu.cloud.local import LocalCloud
from aibemu.images.store import ImageStore
from aibemu.layers.store import LayerStore
from aibemu.paths import Home
from aibemu.redact import Redactor
from aibemu.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What outlives a build."""

    images: ImageStore
    cloud: LocalCloud
    layers: LayerStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Where things are kept, how they are set, and the clock."""

    home: Home
    settings: Settings
    clock: Clock

    def stores(self, redactor: Redactor) -> Stores:
        """The stores in `home`; nothing is made before it is used. redactor: for what they write of a template."""
        home, clock = self.home, self.clock
        return Stores(
            images=ImageStore(home.images, clock), cloud=LocalCloud(home.cloud, clock, redactor),
            layers=LayerStore(home.layers),
        )  # fmt: skip
