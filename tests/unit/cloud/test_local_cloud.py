"""The local cloud: documents in ARM's shapes, numbers never given twice, `latest`, references, run outputs."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aibemu.clock import SystemClock
from aibemu.cloud.documents import Replica
from aibemu.cloud.ids import template_id
from aibemu.cloud.local import LocalCloud
from aibemu.cloud.versions import Version, next_latest
from aibemu.distributors.run_outputs import build_run_output
from aibemu.errors import DistributeFailed, NotFoundError, UsageError
from aibemu.images import Generation, ImageInfo, Provisioning

GROUP = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/Images"
IMAGE = f"{GROUP}/providers/Microsoft.Compute/images/gold"
DEFINITION = f"{GROUP}/providers/Microsoft.Compute/galleries/Gal/images/Gold"
TEMPLATE = template_id("11111111-2222-3333-4444-555555555555", "Images", "gold")
EAST = (Replica(region="East US"),)


class Clock(SystemClock):
    def now(self) -> datetime:
        return datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)


def info(generation: Generation = Generation.V2, os_type: str = "Linux") -> ImageInfo:
    return ImageInfo(
        os_type=os_type, os_name="Debian 12", generation=generation, provisioning=Provisioning.NOCLOUD,
        generalized=True, origin="test",
    )  # fmt: skip


@pytest.fixture
def cloud(tmp_path: Path) -> LocalCloud:
    return LocalCloud(tmp_path / "cloud", Clock())


def add(
    cloud: LocalCloud, number: str, *, digest: str = "d", hidden: bool = False, where: Sequence[Replica] = EAST
) -> None:
    cloud.ensure_definition(DEFINITION, location="eastus", info=info())
    cloud.put_image_version(
        f"{DEFINITION}/versions/{number}", digest=digest, info=info(), tags={}, replicas=where, source_id=TEMPLATE,
        exclude_from_latest=hidden,
    )  # fmt: skip


def document(cloud: LocalCloud, resource_id: str) -> dict[str, object]:
    folder = cloud.root.joinpath(*resource_id.lower().split("/")[1:])
    found: dict[str, object] = json.loads((folder / "resource.json").read_text())
    return found


def test_a_managed_image_is_found_in_any_case_and_replaced(cloud: LocalCloud) -> None:
    assert cloud.managed_image(IMAGE) is None
    for digest in ("a" * 64, "b" * 64):
        cloud.put_managed_image(
            IMAGE, location="West Europe", digest=digest, info=info(), tags={"k": "v"}, source_id=TEMPLATE
        )
    found = cloud.managed_image(IMAGE.upper().replace("MICROSOFT", "microsoft"))
    assert found is not None
    assert (found.id, found.digest, found.location) == (IMAGE, "b" * 64, "westeurope")
    assert (found.tags, found.os_type, found.generation) == ({"k": "v"}, "Linux", "V2")
    assert [image.id for image in cloud.managed_images()] == [IMAGE]
    assert document(cloud, IMAGE) == {
        "id": IMAGE,
        "name": "gold",
        "type": "Microsoft.Compute/images",
        "location": "westeurope",
        "tags": {"k": "v"},
        "properties": {
            "storageProfile": {"osDisk": {"osType": "Linux", "osState": "Generalized"}},
            "hyperVGeneration": "V2",
            "provisioningState": "Succeeded",
        },
        "aibemu": {
            "digest": "b" * 64, "sourceId": TEMPLATE, "created": "2026-11-23T10:00:00.123456Z", "osName": "Debian 12",
            "origin": "test",
        },
    }  # fmt: skip


def test_a_definition_is_made_on_demand_and_says_so(cloud: LocalCloud) -> None:
    assert cloud.ensure_definition(DEFINITION, location="East US", info=info())
    assert not cloud.ensure_definition(DEFINITION.lower(), location="westus", info=info())
    gallery = document(cloud, DEFINITION.rsplit("/", 2)[0])
    definition = document(cloud, DEFINITION)
    assert gallery["aibemu"] == definition["aibemu"] == {
        "createdBy": "aibemu", "created": "2026-11-23T10:00:00.123456Z",
    }  # fmt: skip
    assert (definition["type"], definition["location"]) == ("Microsoft.Compute/galleries/images", "eastus")
    properties = definition["properties"]
    assert isinstance(properties, dict)
    assert (properties["osType"], properties["hyperVGeneration"], properties["architecture"]) == ("Linux", "V2", "x64")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (info(Generation.V1), "hyperVGeneration: image V1, definition V2"),
        (info(os_type="Windows"), "osType: image Windows"),
    ],
)
def test_an_image_that_does_not_fit_its_definition_is_refused(cloud: LocalCloud, other: ImageInfo, words: str) -> None:
    cloud.ensure_definition(DEFINITION, location="eastus", info=info())
    with pytest.raises(DistributeFailed) as caught:
        cloud.ensure_definition(DEFINITION, location="eastus", info=other)
    assert words in caught.value.details[0]


def test_latest_is_numeric_visible_and_in_the_region(cloud: LocalCloud) -> None:
    for number in ("1.9.0", "1.10.0", "0.99.99"):
        add(cloud, number)
    add(cloud, "2.0.0", hidden=True)
    add(cloud, "1.11.0", where=[Replica(region="westus")])
    assert [version.version for version in cloud.versions(DEFINITION)] == [
        "0.99.99", "1.9.0", "1.10.0", "1.11.0", "2.0.0",
    ]  # fmt: skip
    found = [cloud.latest_version(DEFINITION, place) for place in ("eastus", "EAST US", "West US", "northeurope")]
    assert [version and version.version for version in found] == ["1.10.0", "1.10.0", "1.11.0", None]


def test_a_version_records_its_replicas(cloud: LocalCloud) -> None:
    add(cloud, "1.0.0", where=[Replica(region="East US", count=3, storage_account_type="Premium_LRS")])
    properties = document(cloud, f"{DEFINITION}/versions/1.0.0")["properties"]
    assert isinstance(properties, dict)
    assert properties["publishingProfile"] == {
        "targetRegions": [{"name": "East US", "regionalReplicaCount": 3, "storageAccountType": "Premium_LRS"}],
        "replicationMode": "Full",
        "excludeFromLatest": False,
        "publishedDate": "2026-11-23T10:00:00.123456Z",
    }
    version = cloud.image_version(f"{DEFINITION}/versions/1.0.0")
    assert version is not None and version.replicas[0].count == 3 and version.digest == "d"


def test_versions_never_change(cloud: LocalCloud) -> None:
    add(cloud, "1.0.0")
    with pytest.raises(DistributeFailed, match="exists already"):
        add(cloud, "1.0.0")
    with pytest.raises(UsageError):
        add(cloud, "1.0")


def test_a_reserved_number_counts_but_is_not_there_yet(cloud: LocalCloud) -> None:
    cloud.ensure_definition(DEFINITION, location="eastus", info=info())
    assert cloud.reserve_version(DEFINITION, next_latest) == "1.0.0"
    other = LocalCloud(cloud.root, Clock())
    assert other.reserve_version(DEFINITION, next_latest) == "1.0.1"
    assert other.versions(DEFINITION) == [] and other.image_version(f"{DEFINITION}/versions/1.0.0") is None
    with pytest.raises(DistributeFailed):
        add(other, "1.0.0")
    with pytest.raises(DistributeFailed, match="exists already"):
        other.reserve_version(DEFINITION, lambda existing: (1, 0, 0))
    add(cloud, "1.0.0")
    other.release_version(f"{DEFINITION}/versions/1.0.1")
    assert cloud.reserve_version(DEFINITION, next_latest) == "1.0.1"
    cloud.release_version(f"{DEFINITION}/versions/1.0.0")
    assert [version.version for version in cloud.versions(DEFINITION)] == ["1.0.0"]


def test_a_number_needs_a_definition(cloud: LocalCloud) -> None:
    with pytest.raises(NotFoundError):
        cloud.reserve_version(DEFINITION, next_latest)
    with pytest.raises(NotFoundError):
        cloud.put_image_version(
            f"{DEFINITION}/versions/1.0.0", digest="d", info=info(), tags={}, replicas=EAST, source_id=TEMPLATE
        )


def _reserve_and_die(root: Path) -> None:
    LocalCloud(root, Clock()).reserve_version(DEFINITION, next_latest)
    os._exit(9)


def test_the_number_of_a_dead_process_is_free_again(cloud: LocalCloud) -> None:
    cloud.ensure_definition(DEFINITION, location="eastus", info=info())
    process = multiprocessing.get_context("fork").Process(target=_reserve_and_die, args=(cloud.root,))
    process.start()
    process.join(20)
    assert process.exitcode == 9
    assert document(cloud, f"{DEFINITION}/versions/1.0.0")["properties"] == {"provisioningState": "Creating"}
    assert cloud.reserve_version(DEFINITION, next_latest) == "1.0.0"


def test_builds_at_once_never_get_the_same_number(cloud: LocalCloud) -> None:
    cloud.ensure_definition(DEFINITION, location="eastus", info=info())
    got: list[str] = []

    def build() -> None:
        mine = LocalCloud(cloud.root, Clock())
        for _ in range(4):
            got.append(mine.reserve_version(DEFINITION, slow))
            add(mine, got[-1])

    def slow(existing: Sequence[Version]) -> Version:
        threading.Event().wait(0.002)
        return next_latest(existing)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 16 == len(set(got)) == len(cloud.versions(DEFINITION))


def test_references_say_who_uses_an_image(cloud: LocalCloud) -> None:
    add(cloud, "1.0.0", digest="x")
    add(cloud, "1.0.1", digest="y")
    cloud.put_managed_image(IMAGE, location="eastus", digest="x", info=info(), tags={}, source_id=TEMPLATE)
    assert cloud.references("x") == [f"{DEFINITION}/versions/1.0.0", IMAGE]
    assert cloud.references("z") == []
    assert cloud.remove(IMAGE) and not cloud.remove(IMAGE)
    assert cloud.references("x") == [f"{DEFINITION}/versions/1.0.0"]


def test_run_outputs_have_the_services_shape_and_are_replaced(cloud: LocalCloud) -> None:
    for uri in ("file:///a.vhd", "file:///b.vhd"):
        cloud.put_run_output(TEMPLATE, "disk", build_run_output(TEMPLATE, "disk", artifact_uri=uri))
    cloud.put_run_output(TEMPLATE, "image", build_run_output(TEMPLATE, "image", artifact_id=IMAGE))
    assert cloud.run_output(TEMPLATE, "disk") == {
        "properties": {"artifactUri": "file:///b.vhd", "provisioningState": "Succeeded"},
        "id": TEMPLATE.replace("resourceGroups", "resourcegroups") + "/runOutputs/disk",
        "name": "disk",
        "type": "Microsoft.VirtualMachineImages/imageTemplates/runOutputs",
    }
    assert [output["name"] for output in cloud.run_outputs(TEMPLATE.upper().replace("MICROSOFT", "Microsoft"))] == [
        "disk", "image",
    ]  # fmt: skip
    cloud.keep_run_outputs(TEMPLATE, ["Image"])
    assert [output["name"] for output in cloud.run_outputs(TEMPLATE)] == ["image"]
    assert cloud.run_output(TEMPLATE, "other") is None
    with pytest.raises(UsageError):
        cloud.put_run_output(TEMPLATE, "../../x", {})


@pytest.mark.parametrize("both", [{}, {"artifact_id": "a", "artifact_uri": "b"}])
def test_a_run_output_has_exactly_one_artifact(both: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="artifactId or an artifactUri"):
        build_run_output(TEMPLATE, "disk", **both)


def test_staging_groups_are_found_by_id_and_by_name(cloud: LocalCloud) -> None:
    group = f"{GROUP.rsplit('/', 1)[0]}/IT_Images_gold_x"
    cloud.put_staging_group(group, location="eastus", tags={"createdBy": "AzureVMImageBuilder"})
    for name in (group, group.lower(), "IT_Images_gold_x", "it_images_GOLD_x"):
        found = cloud.staging_group(name)
        assert found is not None
        assert (found["type"], found["tags"]["createdBy"]) == (
            "Microsoft.Resources/resourceGroups",
            "AzureVMImageBuilder",
        )
    assert cloud.staging_group("IT_other") is None


def test_names_of_resources_never_meet_files_of_the_cloud(cloud: LocalCloud) -> None:
    """A gallery may be called as the cloud's own files are."""
    odd = f"{GROUP}/providers/Microsoft.Compute/galleries/resource.json/images/.reserved"
    cloud.ensure_definition(odd, location="eastus", info=info())
    assert cloud.reserve_version(odd, next_latest) == "1.0.0"
    assert cloud.definition(odd) is not None
