"""ManagedImage and SharedImage targets: what ends up in the cloud and the store."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.cloud.versions import next_latest
from aibemu.distributors import DistributorTools, SourceFacts
from aibemu.distributors.managed_image import ManagedImageDistributor
from aibemu.distributors.run_outputs import record_run_output
from aibemu.distributors.shared_image import SharedImageDistributor
from aibemu.errors import BuildCancelled, DistributeFailed, UsageError
from aibemu.images import Generation, ImageInfo

if TYPE_CHECKING:
    from tests.unit.distributors.conftest import World

GROUP = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Compute"
IMAGE = f"{GROUP}/images/gold"
DEFINITION = f"{GROUP}/galleries/Gal/images/Gold"


def share(world: World, name: str = "out1", tags: dict[str, str] | None = None, **options: Any) -> str:
    """Distribute to the gallery; the version's number."""
    options.setdefault("galleryImageId", DEFINITION)
    target = world.target("SharedImage", name, tags, **options)
    SharedImageDistributor().check(target, world.tools)
    artifact = SharedImageDistributor().distribute(world.finished, target, world.tools, forever())
    assert artifact.artifact_id is not None and artifact.artifact_uri is None
    definition, _, number = artifact.artifact_id.rpartition("/versions/")
    assert definition == DEFINITION
    return number


def read_disk(path: Path, folder: Path) -> bytes:
    raw = folder / "read.raw"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw], check=True)
    return raw.read_bytes()


def test_a_managed_image_holds_the_disk_and_is_replaced(world: World) -> None:
    target = world.target("ManagedImage", tags={"a": "b"}, imageId=IMAGE, location="East US")
    distributor = ManagedImageDistributor()
    distributor.check(target, world.tools)
    distributor.distribute(world.finished, target, world.tools, forever())
    artifact = distributor.distribute(world.finished, target, world.tools, forever())
    image = world.tools.cloud.managed_image(IMAGE)
    assert image is not None
    assert (artifact.artifact_id, artifact.artifact_uri, artifact.notes) == (IMAGE, None, ())
    assert (image.tags, image.location, image.generation) == ({"a": "b"}, "eastus", "V1")
    stored = world.tools.store.get(image.digest)
    assert artifact.paths == (stored.path,)
    assert read_disk(stored.path, world.root) == world.content
    assert stored.info.origin == "run 3f2c9a1b output out1"


def test_another_location_than_the_templates_is_noted(world: World) -> None:
    target = world.target("ManagedImage", imageId=IMAGE, location="westeurope")
    artifact = ManagedImageDistributor().distribute(world.finished, target, world.tools, forever())
    assert "westeurope is not the template's eastus" in artifact.notes[0]


@pytest.mark.parametrize(
    "options",
    [{"location": "eastus"}, {"imageId": DEFINITION, "location": "eastus"}, {"imageId": IMAGE}, {"imageId": "gold"}],
)
def test_managed_image_options_are_checked_first(world: World, options: dict[str, Any]) -> None:
    target = world.target("ManagedImage", **options)
    with pytest.raises(UsageError) as caught:
        ManagedImageDistributor().check(target, world.tools)
    assert caught.value.span == target.span


def test_targets_of_one_disk_convert_it_once(world: World, count_converts: Callable[[], int]) -> None:
    managed = world.target("ManagedImage", imageId=IMAGE, location="eastus")
    ManagedImageDistributor().distribute(world.finished, managed, world.tools, forever())
    share(world, "out2")
    share(world, "out3")
    assert count_converts() == 1
    assert len(world.tools.store.images()) == 1
    assert len(world.tools.cloud.references(world.tools.store.images()[0].digest)) == 3
    world.finished = replace(world.finished, run_id="another1")
    share(world, "out4")
    assert count_converts() == 2


def test_versions_count_up(world: World) -> None:
    assert [share(world) for _ in range(3)] == ["1.0.0", "1.0.1", "1.0.2"]
    assert share(world, versioning={"scheme": "Latest", "major": 0}) == "0.0.0"
    assert share(world, versioning={"scheme": "Latest"}) == "1.0.3"
    assert share(world, galleryImageId=f"{DEFINITION}/versions/3.01.7") == "3.1.7"
    assert share(world, versioning={"scheme": "Latest", "major": 1}) == "1.0.4"
    assert share(world) == "3.1.8"


def test_old_api_versions_number_by_time(world: World) -> None:
    world.finished = replace(world.finished, api_version="2020-02-14")
    seconds = int(world.tools.clock.now().timestamp())
    assert share(world, replicationRegions=["eastus"]) == f"0.{seconds >> 16}.{seconds & 0xFFFF}"
    assert share(world, replicationRegions=["eastus"]) == f"0.{seconds >> 16}.{(seconds & 0xFFFF) + 1}"


@pytest.mark.parametrize(
    ("source", "number"),
    [("18.04.202401161", "18.4.202401161"), (f"{DEFINITION}/versions/4.5.6", "4.5.6")],
)
def test_source_versioning_takes_the_sources_number_once(world: World, source: str, number: str) -> None:
    world.finished = replace(world.finished, source_version=source)
    assert share(world, versioning={"scheme": "Source"}) == number
    with pytest.raises(DistributeFailed, match=f"version {number} .* exists already") as caught:
        share(world, versioning={"scheme": "Source"})
    assert caught.value.span is not None
    world.finished = replace(world.finished, source_version="")
    with pytest.raises(DistributeFailed, match="needs a source image with a version"):
        share(world, versioning={"scheme": "Source"})


def test_an_existing_version_is_refused_before_anything_starts(world: World) -> None:
    explicit = f"{DEFINITION}/versions/1.2.3"
    assert share(world, galleryImageId=explicit) == "1.2.3"
    target = world.target("SharedImage", galleryImageId=explicit.upper().replace("MICROSOFT", "Microsoft"))
    with pytest.raises(UsageError, match="exists already") as caught:
        SharedImageDistributor().check(target, world.tools)
    assert caught.value.span == target.span
    # Two targets, or two builds at once: found when it is taken.
    with pytest.raises(DistributeFailed, match="exists already"):
        SharedImageDistributor().distribute(world.finished, target, world.tools, forever())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"galleryImageId": IMAGE},
        {"galleryImageId": f"{DEFINITION}/versions/1.0"},
        {"galleryImageId": f"{DEFINITION}/versions/latest"},
        {"galleryImageId": f"{DEFINITION}/versions/1.0.0", "versioning": {"scheme": "Latest"}},
    ],
)
def test_shared_image_options_are_checked_first(world: World, options: dict[str, Any]) -> None:
    target = world.target("SharedImage", **options)
    with pytest.raises(UsageError) as caught:
        SharedImageDistributor().check(target, world.tools)
    assert caught.value.span == target.span


def test_target_regions_are_recorded(world: World) -> None:
    regions = [
        {"name": "East US"},
        {"name": "westus", "replicaCount": 3, "storageAccountType": "Premium_LRS"},
        {"name": "northeurope", "replicaCount": None, "storageAccountType": "Standard_ZRS"},
    ]
    share(world, tags={"t": "1"}, targetRegions=regions, excludeFromLatest=True, replicationMode="Shallow")
    version = world.tools.cloud.versions(DEFINITION)[0]
    assert [(r.region, r.count, r.storage_account_type) for r in version.replicas] == [
        ("East US", 1, "Standard_LRS"), ("westus", 3, "Premium_LRS"), ("northeurope", 1, "Standard_ZRS"),
    ]  # fmt: skip
    assert version.exclude_from_latest and version.tags == {"t": "1"}
    assert world.tools.cloud.latest_version(DEFINITION, "eastus") is None
    document = next(world.tools.cloud.root.rglob("versions/1.0.0/resource.json")).read_text()
    assert '"replicationMode": "Shallow"' in document


def test_replication_regions_have_one_replica_of_the_given_kind(world: World) -> None:
    share(world, replicationRegions=["eastus", "westus"], storageAccountType="Standard_ZRS")
    share(world)
    first, second = world.tools.cloud.versions(DEFINITION)
    assert [(r.region, r.count, r.storage_account_type) for r in first.replicas] == [
        ("eastus", 1, "Standard_ZRS"), ("westus", 1, "Standard_ZRS"),
    ]  # fmt: skip
    assert [(r.region, r.storage_account_type) for r in second.replicas] == [("eastus", "Standard_LRS")]


def test_notes_say_what_is_emulated_differently(world: World) -> None:
    target = world.target("SharedImage", galleryImageId=DEFINITION)
    first, second = (
        SharedImageDistributor().distribute(world.finished, target, world.tools, forever()) for _ in range(2)
    )
    assert "made on demand" in first.notes[0] and "not published" in first.notes[1]
    assert second.notes == ()


def test_a_definition_of_another_generation_fails_at_distributing(world: World) -> None:
    world.tools.cloud.ensure_definition(
        DEFINITION, location="eastus", info=replace(world.finished.info, generation=Generation.V2)
    )
    target = world.target("SharedImage", galleryImageId=DEFINITION)
    SharedImageDistributor().check(target, world.tools)
    with pytest.raises(DistributeFailed, match="does not fit") as caught:
        SharedImageDistributor().distribute(world.finished, target, world.tools, forever())
    assert caught.value.span == target.span
    assert world.tools.store.images() == []


def test_a_failed_target_gives_its_number_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(world.tools.cloud), "put_image_version", full)
        with pytest.raises(DistributeFailed, match="No space left"):
            share(world)
    assert world.tools.cloud.reserve_version(DEFINITION, next_latest) == "1.0.0"


def test_cancelling_reaches_image_targets(world: World) -> None:
    cancel = CancelToken()
    cancel.cancel("stop")
    target = world.target("SharedImage", galleryImageId=DEFINITION)
    with pytest.raises(BuildCancelled):
        SharedImageDistributor().distribute(
            world.finished, target, world.tools, Deadline(clock=SystemClock(), cancel=cancel)
        )
    assert world.tools.cloud.versions(DEFINITION) == []


def test_the_run_output_holds_the_concrete_version(world: World) -> None:
    target = world.target("SharedImage", galleryImageId=DEFINITION)
    artifact = SharedImageDistributor().distribute(world.finished, target, world.tools, forever())
    record_run_output(world.tools.cloud, world.finished.template_id, artifact, target)
    output = world.tools.cloud.run_output(world.finished.template_id, "out1")
    assert output is not None
    assert output["properties"] == {
        "artifactId": f"{DEFINITION}/versions/1.0.0", "provisioningState": "Succeeded",
    }  # fmt: skip


def known(world: World, info: ImageInfo | None, version: str = "") -> DistributorTools:
    return replace(world.tools, source=SourceFacts(info=info, version=version))


@pytest.mark.parametrize(
    ("change", "told"),
    [({"generation": Generation.V2}, "hyperVGeneration: image V2, definition V1"),
     ({"os_type": "Windows"}, "osType: image Windows, definition Linux")],
)  # fmt: skip
def test_an_image_that_does_not_fit_its_definition_is_refused_before_the_build(
    world: World, change: dict[str, Any], told: str
) -> None:
    """Since 2024 the service refuses the template (facts: service, corrections)."""
    target = world.target("SharedImage", galleryImageId=DEFINITION)
    other = replace(world.finished.info, **change)
    SharedImageDistributor().check(target, known(world, other))  # there is no definition yet
    share(world)
    SharedImageDistributor().check(target, known(world, world.finished.info))
    SharedImageDistributor().check(target, known(world, None))  # a dry run: nothing is known of the image
    with pytest.raises(UsageError, match=told):
        SharedImageDistributor().check(target, known(world, other))


@pytest.mark.parametrize("exact", ["1.2.3", f"{GROUP}/galleries/Other/images/Base/versions/1.02.3"])
def test_a_version_of_the_source_that_is_taken_is_refused_before_the_build(world: World, exact: str) -> None:
    target = world.target("SharedImage", galleryImageId=DEFINITION, versioning={"scheme": "Source"})
    tools = known(world, world.finished.info, exact)
    SharedImageDistributor().check(target, tools)
    share(world, galleryImageId=f"{DEFINITION}/versions/1.2.3")
    with pytest.raises(UsageError, match=r"version 1\.2\.3 of .* exists already") as caught:
        SharedImageDistributor().check(target, tools)
    assert caught.value.span == target.span
    SharedImageDistributor().check(target, known(world, world.finished.info, "1.2.4"))


def test_an_image_that_is_in_another_region_is_not_moved(world: World) -> None:
    there = world.target("ManagedImage", imageId=IMAGE, location="East US")
    ManagedImageDistributor().distribute(world.finished, there, world.tools, forever())
    ManagedImageDistributor().check(world.target("ManagedImage", imageId=IMAGE, location="eastus"), world.tools)
    with pytest.raises(UsageError, match="is in eastus already"):
        ManagedImageDistributor().check(world.target("ManagedImage", imageId=IMAGE, location="westus"), world.tools)
