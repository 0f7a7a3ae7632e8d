"""A store, and layers to put into it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from aibemu.fabric.identity import Identity
from aibemu.hypervisor import Frozen
from aibemu.layers import FrozenState, Layer
from aibemu.layers.history import History
from aibemu.layers.store import LayerStore

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
BLOCK = 64 * 1024

MakeLayer = Callable[..., Layer]


def said(*lines: str, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a step said that printed these lines."""
    return {
        "started": {"label": "a step"}, "output": [{"stream": "stdout", "line": line} for line in lines],
        "finished": {"status": "ok"}, "warnings": list(warnings),
    }  # fmt: skip


def written(made: Layer, *lines: str, behind: Layer | None = None) -> dict[str, Path]:
    """The files for `Layer.said` of one whose own step said these lines, on top of the layer `behind` it."""
    history = History(behind.said if behind else None)
    history[made.id] = said(*lines)
    return history.write(made.frozen.disks[-1])


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(tmp_path / "layers")


def state() -> FrozenState:
    identity = Identity(hostname="pkrvm1", user="packer", vm_id=UUID(int=7), mac="00:0d:3a:01:02:03")
    system = {
        "private_key": "KEY\n", "public_line": "ssh-ed25519 AAAA x", "session": 12,
        "own_words": {"resource group": "IT_x"},
    }  # fmt: skip
    return FrozenState(identity=identity, system=system)


@pytest.fixture
def make(store: LayerStore) -> MakeLayer:
    return lambda name, *disks, **changes: layer(store, name, *disks, **changes)


def layer(store: LayerStore, name: str, *disks: str, published: bool = True, **changes: Any) -> Layer:
    """A layer named `name` over the disks named (its own last, `disk-<name>` if none), each file of 64 KiB.

    used: when it was last used, in seconds before `NOW`. linked: give its own disk a second link.
    """
    names = disks or (f"disk-{name}",)
    used, linked = changes.pop("used", 0.0), changes.pop("linked", False)
    store.files.mkdir(parents=True, exist_ok=True)
    files = [store.files / f"{disk}.qcow2" for disk in names]
    memory = store.files / f"{names[-1]}.memory"
    for path in (*files, memory):
        if not path.exists():
            path.write_bytes(os.urandom(BLOCK))
    if linked:
        (store.directory.parent / f"machine-{name}").hardlink_to(files[-1])
    values: dict[str, Any] = {
        "id": name * 8, "label": f"step {name}", "made": NOW, "run": "3f2c9a1b", "template": "web", "image": "i" * 64,
        "boot": "b", "frozen": Frozen(disks=tuple(files), memory=memory), "state": state(),
    }  # fmt: skip
    made = Layer(**values | changes)
    if published:
        store.publish(made)
        when = NOW.timestamp() - used
        os.utime(store.directory / "records" / f"{made.id}.json", (when, when))
    return made


def frozen_by_a_machine(store: LayerStore, name: str, disk: str) -> tuple[Layer, Path]:
    """What a driver's `freeze` leaves, in the order in which it must: the machine's disk, its link, then its memory."""
    store.files.mkdir(parents=True, exist_ok=True)
    link = store.directory.parent / f"machine-{disk}"
    link.write_bytes(os.urandom(BLOCK))
    (store.files / f"{disk}.qcow2").hardlink_to(link)
    return layer(store, name, disk, published=False), link
