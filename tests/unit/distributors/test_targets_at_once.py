"""Several targets of one run, written by several threads at the same time."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aibemu.clock import CancelToken, Deadline, forever
from aibemu.disks import convert
from aibemu.distributors import Artifact, Distributor
from aibemu.distributors.managed_image import ManagedImageDistributor
from aibemu.distributors.run_outputs import record_run_output
from aibemu.distributors.shared_image import SharedImageDistributor
from aibemu.distributors.vhd import VhdDistributor
from aibemu.errors import BuildCancelled
from aibemu.template.model import Target

if TYPE_CHECKING:
    from tests.unit.distributors.conftest import World

GROUP = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Compute"
IMAGE = f"{GROUP}/images/gold"
DEFINITION = f"{GROUP}/galleries/Gal/images/Gold"
MADE_BY: dict[str, Distributor] = {
    "VHD": VhdDistributor(), "ManagedImage": ManagedImageDistributor(), "SharedImage": SharedImageDistributor(),
}  # fmt: skip


def at_once(world: World, *targets: Target) -> list[Artifact]:
    """Distribute each in a thread of its own, all from one start."""
    start = threading.Barrier(len(targets), timeout=10)

    def write(target: Target) -> Artifact:
        finished = replace(world.finished, out=world.root / "outputs" / target.run_output_name)
        start.wait()
        artifact = MADE_BY[target.kind].distribute(finished, target, world.tools, forever())
        record_run_output(world.tools.cloud, finished.template_id, artifact, target)
        return artifact

    with ThreadPoolExecutor(len(targets)) as pool:
        return list(pool.map(write, targets))


def test_versions_of_one_definition_get_different_numbers(world: World, count_converts: Callable[[], int]) -> None:
    targets = [world.target("SharedImage", f"out{n}", galleryImageId=DEFINITION) for n in range(6)]
    made = at_once(world, *targets)
    wanted = [f"{DEFINITION}/versions/1.0.{n}" for n in range(6)]
    assert sorted(str(artifact.artifact_id) for artifact in made) == wanted
    assert [version.id for version in world.tools.cloud.versions(DEFINITION)] == wanted
    assert sum("made on demand" in note for artifact in made for note in artifact.notes) == 1
    assert count_converts() == 1
    for target, artifact in zip(targets, made, strict=True):
        output = world.tools.cloud.run_output(world.finished.template_id, target.run_output_name)
        assert output is not None and output["properties"]["artifactId"] == artifact.artifact_id


def test_image_targets_share_one_conversion_and_vhds_go_beside_it(
    world: World, count_converts: Callable[[], int]
) -> None:
    made = at_once(
        world,
        world.target("ManagedImage", "managed", imageId=IMAGE, location="eastus"),
        world.target("VHD", "one"),
        world.target("SharedImage", "gallery", galleryImageId=DEFINITION),
        world.target("VHD", "two"),
    )
    assert count_converts() == 1
    managed, one, gallery, two = made
    assert managed.paths == gallery.paths
    for vhd in (one, two):
        raw = world.root / "read.raw"
        subprocess.run(["qemu-img", "convert", "-f", "vpc", "-O", "raw", vhd.paths[0], raw], check=True)
        assert raw.read_bytes()[: len(world.content)] == world.content
    assert [path.name for path in world.root.rglob("*.partial")] == []


def test_a_cancelled_target_does_not_wait_for_the_one_that_stores_the_disk(world: World) -> None:
    cancel = CancelToken()
    deadline = Deadline(clock=world.tools.clock, cancel=cancel)
    target = world.target("ManagedImage", imageId=IMAGE, location="eastus")
    timer = threading.Timer(0.1, cancel.cancel, ["stop"])
    with world.tools.storing:
        timer.start()
        with pytest.raises(BuildCancelled):
            ManagedImageDistributor().distribute(world.finished, target, world.tools, deadline)
    timer.join()
    assert world.tools.store.images() == []
    assert world.tools.storing.acquire(blocking=False)


def test_a_store_that_is_given_one_disk_twice_at_once_has_one_image(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody does within a run, but two runs may."""
    both, real = threading.Barrier(2, timeout=10), convert.to_qcow2

    def together(source: Any, target: Path, **options: Any) -> None:
        real(source, target, **options)
        both.wait()

    monkeypatch.setattr(convert, "to_qcow2", together)
    store = world.tools.store

    def add(number: int) -> str:
        return store.add(
            world.finished.disk, world.finished.info, deadline=forever(), source_format="qcow2",
            labels={f"key{number}": "x"},
        ).digest  # fmt: skip

    with ThreadPoolExecutor(2) as pool:
        digests = set(pool.map(add, range(2)))
    (image,) = store.images()
    assert digests == {image.digest}
    assert store.labels(image.digest) == {"key0": "x", "key1": "x"}
    assert convert.hash_file(image.path, "sha256", forever()) == image.digest


def test_targets_that_fill_one_place_say_so(world: World) -> None:
    def place(kind: str, name: str = "out", **options: Any) -> str:
        return MADE_BY[kind].writes_to(world.target(kind, name, **options))

    assert place("SharedImage", galleryImageId=DEFINITION) == place(
        "SharedImage", "x", galleryImageId=f"{DEFINITION.lower().replace('microsoft', 'Microsoft')}/versions/1.0.0"
    )
    assert place("SharedImage", galleryImageId=DEFINITION) != place("SharedImage", galleryImageId=f"{DEFINITION}2")
    assert place("ManagedImage", imageId=IMAGE) == place("ManagedImage", "x", imageId=IMAGE.replace("gold", "GOLD"))
    assert place("VHD", "a", uri="x.vhd") == place("VHD", "b", uri="x.vhd")
    assert place("VHD", "a") != place("VHD", "b")
