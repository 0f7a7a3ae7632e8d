"""Saving the build machine in layers, and going on from one in place of the first boot.

What a layer has of a machine is for its system and its driver to say: memory and disk, after each step; or the disk
alone, after a step that restarted the machine, for it is whole between the shutdown and the boot.

A layer is of use at once, in this run; it is published, for others, by a thread that waits for the disk. What cannot be
frozen or restored never ends a build: it goes on without, and says so.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.customizers import Customizer, goes_on_after_restart
from aibemu.engine.machines.boot import Booted, booted_of
from aibemu.engine.machines.saving import RestartSaver
from aibemu.engine.machines.starting import Owner, Started, start
from aibemu.engine.preparing.prepare import Planned
from aibemu.engine.services import Services
from aibemu.errors import AibemuError, Expired, FreezeFailed, ProvisionFailed
from aibemu.events import Kind
from aibemu.fabric.identity import fresh_identity
from aibemu.files import remove
from aibemu.hypervisor import FrozenRefused
from aibemu.layers import FrozenState, Layer, Made
from aibemu.layers.history import History
from aibemu.layers.store import Bound
from aibemu.plan.model import Plan
from aibemu.process_id import boot_id
from aibemu.systems.freezing import GuestFreezing, Restoration

# Seconds, before scaling, for a restored guest to answer, once it runs: it takes one.
RESTORE_BOUND = 60.0
# Seconds for which the guest may have stood still before its clock is set again.
NOTICEABLE = 3.0
ROLE = "build"


class LayerUseless(FreezeFailed):
    """It has lost a file, or the hypervisor refused what it read: not the host's fault of a moment."""


class Freezer:
    """Saves one run's build machine. `on` is False when the run does not want it, or after the first failure. always:
    memory is frozen also of guests whose system wants to be asked for that."""

    def __init__(self, services: Services, *, on: bool, always: bool = False) -> None:
        self._can, self._always = services.driver.capabilities(), always
        self.on = on and (self._can.freezes or self._can.saves_disks)
        self.made: dict[str, Layer] = {}
        # What each step that the machine has behind it said, by fingerprint.
        self.history = History()
        self._past: dict[str, Made] = {}
        self._services = services
        self._publishing: list[threading.Thread] = []
        self._behind = 0.0
        self._in_use = self.on
        # Whether the machine is what its steps have made of it, and nothing else.
        self._as_planned = True

    def layer(self, layer_id: str) -> Layer | None:
        """A layer to start from: this run's own, else whoever's; None if there is none."""
        return self._services.stores.layers.get(layer_id, self.made)

    def begin(self, plan: Plan, first_boot: str) -> None:
        """The machine was booted and has nothing behind it. first_boot: how that ended, see `aibemu.systems.Ready`.

        A failed one is nothing to start other builds from; of a degraded one they are told.
        """
        self.history, self._past, self._as_planned = History(), {}, first_boot != "error"
        if first_boot == "error" and self.on:
            self._warn("the first boot failed: no layers are made of it, for later builds would have that behind them")
        elif first_boot == "degraded":
            warning = f"first boot ended degraded, in run {self._services.run.id}: `aibemu logs` of it says why"
            self.history[plan.root] = {"warnings": [warning]}

    def saver(self, booted: Booted, step: Customizer) -> RestartSaver | None:
        """What puts the disk aside at the restarts of `step`, where the disk alone is to be a layer; None elsewhere."""
        freezing = booted.system.freezing
        if not (self.on and self._as_planned and freezing and goes_on_after_restart(step)):
            return None
        if self._freezes_memory(freezing) or not self._can.saves_disks:
            return None
        return RestartSaver(booted.machine, self._give_up)

    def freeze(
        self, plan: Plan, booted: Booted, layer_id: str, label: str, deadline: Deadline,
        saver: RestartSaver | None = None,
    ) -> None:  # fmt: skip
        """Make the machine as it is now the layer `layer_id`; nothing, where guests of its system are not saved so.

        saver: of the step that has run. `ProvisionFailed` if no build can go on with it then.
        """
        if self.on and self._as_planned and self._services.run.entered_file.exists():
            self._as_planned = False
            self._note("you logged in: this run makes no more cache layers, as they would contain your changes")
        freezing = booted.system.freezing
        if layer_id == plan.root and self.on:
            self._say_what_is_saved(freezing)
        if freezing is None or not (self.on and self._as_planned):
            return
        memory = self._freezes_memory(freezing)
        if not memory and (saver is None or saver.boot_id != booted.boot_id):
            return
        clock = self._services.clock
        began = clock.monotonic()
        with ExitStack() as held:
            try:
                held.callback(self._services.stores.layers.hold().release)
                state = self._state(plan, freezing, booted, deadline)
                began = clock.monotonic()
                layer = self._make(plan, booted, state, layer_id, label, deadline, memory=memory)
                size = layer.frozen.files[-1].stat().st_size
            except (FreezeFailed, Expired, OSError) as error:
                self._give_up(error)
            else:
                self.made[layer_id], self._past = layer, layer.chain
                seconds = clock.monotonic() - began
                self._services.emit(
                    Kind.LAYER_FROZEN, layer=layer_id, label=label, seconds=seconds, bytes=size, memory=memory
                )  # fmt: skip
                self._publish(layer, held.pop_all())
        if memory:
            self._set_clock(freezing, booted, clock.monotonic() - began, deadline)

    def _say_what_is_saved(self, freezing: GuestFreezing | None) -> None:
        """Where it is less than the guest after each step."""
        if freezing is None or not (self._freezes_memory(freezing) or self._can.saves_disks):
            self._note("guests of this system are not saved as layers: each build of this template starts anew")
        elif self._always and not self._can.freezes:
            self._note("the driver cannot freeze memory, which --freeze always asks for")

    def note_restarts(self, booted: Booted, steps: Sequence[Customizer]) -> None:
        """Say so where nothing will be saved, for none of these `steps` restarts the machine."""
        freezing = booted.system.freezing
        if not self.on or freezing is None or self._freezes_memory(freezing) or not self._can.saves_disks:
            return
        if not any(map(goes_on_after_restart, steps)):
            self._note(
                "guests of this system are saved as layers where a step restarts the machine, and here none does: "
                "each build of this template starts anew"
            )

    def recall(self, plan: Plan, layer: Layer) -> None:
        """The machine is what `layer` is: it has those steps behind it."""
        self._in_use = True
        self.history, self._past, self._as_planned = History(layer.said), layer.chain, True
        for warning in self.history.warnings(plan.root):
            self._warn(warning)

    def stop(self) -> None:
        """Make no more layers of this machine."""
        self._as_planned = False

    def settle(self) -> None:
        """Wait until everything is published: until then only the machine's own links keep it."""
        for thread in self._publishing:
            thread.join()

    def prune(self) -> None:
        """Keep the store within its bounds, once the machine is gone that uses what was made. Not for a run that has
        nothing to do with layers."""
        if not self._in_use:
            return
        settings = self._services.settings
        bound = Bound(size=settings.cache_size, age=timedelta(seconds=settings.cache_age))
        with suppress(OSError):  # the next build, or `aibemu cache prune`, will
            self._services.stores.layers.prune(bound, self._services.clock.now())

    def _state(self, plan: Plan, freezing: GuestFreezing, booted: Booted, deadline: Deadline) -> FrozenState:
        words = _own_words(plan)
        system = freezing.state(booted.communicator, booted.credentials, words, deadline)
        return FrozenState(identity=booted.identity, system=system)

    def _freezes_memory(self, freezing: GuestFreezing) -> bool:
        return self._can.freezes and (self._always or not freezing.asks_for_memory)

    def _make(
        self, plan: Plan, booted: Booted, state: FrozenState, layer_id: str, label: str, deadline: Deadline, *,
        memory: bool,
    ) -> Layer:  # fmt: skip
        services = self._services
        folder = services.stores.layers.files
        before = set(folder.iterdir()) if folder.is_dir() else set()
        machine = booted.machine
        frozen = machine.freeze(folder, deadline) if memory else machine.saved_disk(folder, deadline)
        try:
            return Layer(
                id=layer_id, label=label, made=services.clock.now(), run=services.run.id,
                template=plan.template.name,
                image=plan.source.image.digest, boot=boot_id(), frozen=frozen, past=self._past, state=state,
                said=self.history.write(frozen.disks[-1]),  # the last that may fail: it leaves no file then
            )  # fmt: skip
        except BaseException:
            for path in {*frozen.files} - before:
                remove(path)
            raise

    def _publish(self, layer: Layer, held: ExitStack) -> None:
        """held: keeps its files until it is published."""

        def publish() -> None:
            with held:
                try:
                    self._services.stores.layers.publish(layer)
                except OSError as error:
                    self._give_up(error)
                    # Its disks and what its step said may be others' too; `prune` knows. The disks are the machine's
                    # own, so they take no room yet.
                    with suppress(OSError):
                        if layer.frozen.memory:
                            remove(layer.frozen.memory)

        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(publish,), name="publish-layer")
        thread.start()
        self._publishing.append(thread)

    def _give_up(self, error: AibemuError | OSError) -> None:
        self.on = False
        self._warn(f"{_in_short(error)}; this build goes on without making layers for later ones")

    def _note(self, message: str) -> None:
        self._services.emit(Kind.NOTICE, level="note", message=message)

    def _warn(self, message: str) -> None:
        self._services.emit(Kind.NOTICE, level="warning", message=message)

    def _set_clock(self, freezing: GuestFreezing, booted: Booted, seconds: float, deadline: Deadline) -> None:
        """While it stood still, its clock did too."""
        self._behind += seconds
        if self._behind >= NOTICEABLE:
            freezing.set_clock(booted.communicator, self._services.clock, deadline)
            self._behind = 0.0


def restore(
    services: Services, layer: Layer, *, planned: Planned, base: Path, deadline: Deadline, owner: Owner
) -> Booted:
    """Restore the build machine from `layer`, as this run's. `FreezeFailed` if that cannot be done now, `LayerUseless`
    if it never can, or if it boots and does not come up: to wait for that in each build would take longest of all."""
    began = services.clock.monotonic()
    before = layer.state.identity
    # Machine id and MAC address are in the memory of its kernel; all else is this run's own.
    identity = replace(fresh_identity(before.user, services.rng), vm_id=before.vm_id, mac=before.mac)
    started = None
    try:
        with ExitStack() as held:
            held.callback(services.stores.layers.hold().release)
            started = start(
                services, ROLE, identity, planned=planned, base=base, deadline=deadline, owner=owner,
                layer=layer,
            )  # fmt: skip
        bound = _boot_bound(services, started) if layer.boots else RESTORE_BOUND
        return _renew(services, started, layer, planned.plan, deadline.within(bound), began)
    except (ProvisionFailed, Expired, OSError) as error:
        useless = isinstance(error, FrozenRefused) or not layer.whole or (layer.boots and started is not None)
        raise (LayerUseless if useless else FreezeFailed)(
            f"the layer {layer.label!r} of run {layer.run} could not be used: {_in_short(error)}"
        ) from error


def _renew(services: Services, started: Started, layer: Layer, plan: Plan, bound: Deadline, began: float) -> Booted:
    """Make the restored guest this run's, with the events that say so."""
    freezing = started.system.freezing
    if freezing is None:
        raise FrozenRefused("guests of this system are not frozen")
    started.watchdog.booting, started.since = layer.boots, began
    before = Restoration(
        state=layer.state.system, identity=layer.state.identity, made=layer.made, words=_own_words(plan),
        rng=services.rng, boots=layer.boots,
    )  # fmt: skip
    ready = freezing.restore(started, before, bound)
    services.emit(
        Kind.MACHINE_RESTORED, machine=started.machine.id, layer=layer.id, label=layer.label, run=layer.run,
        made=layer.made.isoformat(), hostname=started.identity.hostname, seconds=services.clock.monotonic() - began,
        memory=not layer.boots,
    )  # fmt: skip
    return booted_of(started, ready)


def _boot_bound(services: Services, started: Started) -> float:
    """Seconds for a boot, before scaling: it may finish what its restart was for, so it has as long as a first one."""
    return services.settings.boot_timeout * started.system.booting.patience


def _own_words(plan: Plan) -> dict[str, str]:
    """Names that are one run's alone, and that a guest may have written down of what its platform told it."""
    return {"resource group": plan.staging_group.rsplit("/", 1)[-1]}


def _in_short(error: AibemuError | OSError) -> str:
    return ": ".join([error.message, *error.details[-1:]]) if isinstance(error, AibemuError) else str(error)
