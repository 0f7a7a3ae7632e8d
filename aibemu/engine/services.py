"""What a build works with besides its state: its options, its record, and every outside thing, each made once."""

from __future__ import annotations

import random
from dataclasses import dataclass

from aibemu.clock import Clock
from aibemu.customizers import StepSettings
from aibemu.engine.asking import Ask
from aibemu.engine.preparing.fetching import make_step_settings
from aibemu.engine.preparing.installation import Installation, Stores
from aibemu.engine.preparing.options import BuildOptions
from aibemu.engine.preparing.starts import Reuser
from aibemu.events import Emit
from aibemu.hypervisor import Accelerator, HypervisorDriver
from aibemu.paths import Home
from aibemu.redact import Redactor
from aibemu.runs.store import Run
from aibemu.settings import Settings
from aibemu.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One build's. None of it changes from one attempt to the next."""

    # The record and all that the build keeps on disk for itself.
    run: Run
    # The guid that starts each line of the run's log.
    log_id: str
    options: BuildOptions
    # Settings have the subscription and the group of the options.
    installation: Installation
    # Knows the build's secrets: what is written of the template goes through it.
    redactor: Redactor
    # The way of every event to the record and to the views.
    telemetry: Telemetry
    driver: HypervisorDriver
    # How the driver runs guests here.
    accelerator: Accelerator
    stores: Stores
    # Chooses the layer that an attempt starts from.
    reuser: Reuser
    # Names of machines and files, addresses, and fresh randomness for guests come from it.
    rng: random.Random
    # A person who can be asked; None when there is nobody.
    ask: Ask | None

    @property
    def dry_run(self) -> bool:
        """Whether nothing is run and nothing written: the driver makes no machines."""
        return self.driver.capabilities().dry

    @property
    def home(self) -> Home:
        return self.installation.home

    @property
    def settings(self) -> Settings:
        return self.installation.settings

    @property
    def clock(self) -> Clock:
        return self.installation.clock

    @property
    def step_settings(self) -> StepSettings:
        """What steps take from the settings."""
        return make_step_settings(self.settings, self.log_id, self.rng)

    @property
    def emit(self) -> Emit:
        return self.telemetry.emit
