"""Names that Azure takes, and targets of one template that get into each other's way."""

from __future__ import annotations

from typing import Any

import pytest

from aibemu.arm.resource_names import blob_problems, name_problems
from tests.unit.template.test_rules import GALLERY, IMAGE, LINUX, found

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups"
COMPUTE = f"{GROUP}/images/providers/Microsoft.Compute"


@pytest.mark.parametrize(
    "good",
    [f"{GROUP}/a(b).c-d_e", f"{GROUP}/bilder-ä", f"{COMPUTE}/images/w_", f"{COMPUTE}/galleries/a_b.c/images/a-b_c.d",
     f"{COMPUTE}/galleries/{'g' * 80}/images/i", f"{COMPUTE}/galleries/<gallery>/images/<name>", f"{COMPUTE}/disks/-"],
)  # fmt: skip
def test_names_that_azure_takes(good: str) -> None:
    assert list(name_problems(good)) == []


@pytest.mark.parametrize(
    ("bad", "name"),
    [(f"{GROUP}/dot.", "dot."), (f"{GROUP}/{'g' * 91}", "g" * 91), (f"{GROUP}/a b", "a b"),
     (f"{COMPUTE}/galleries/corp-images/images/a", "corp-images"), (f"{COMPUTE}/galleries/_a/images/a", "_a"),
     (f"{COMPUTE}/GALLERIES/{'g' * 81}/images/a", "g" * 81), (f"{COMPUTE}/galleries/a/images/a-", "a-"),
     (f"{COMPUTE}/images/-a", "-a"), (f"{COMPUTE}/images/{'i' * 81}", "i" * 81),
     (f"{GROUP}/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/ab", "ab"),
     (f"{GROUP}/g/providers/Microsoft.Network/virtualNetworks/v/subnets/s", "v"),
     (f"{GROUP}/g/providers/Microsoft.Network/virtualNetworks/net/subnets/s-", "s-")],
)  # fmt: skip
def test_names_that_azure_refuses(bad: str, name: str) -> None:
    (told,) = name_problems(bad)
    assert told.startswith(f"'{name}' cannot be the name in ")


@pytest.mark.parametrize(
    ("address", "count"),
    [("https://images.blob.core.windows.net/vhds/a.vhd", 0), ("https://Images.blob.core.windows.net/vhds/a.vhd", 0),
     ("https://a.blob.core.windows.net/vhds/a.vhd", 1), ("https://my-images.blob.core.windows.net/vhds/a.vhd", 1),
     ("https://images.blob.core.windows.net/VHDs/a.vhd", 1), ("https://images.blob.core.windows.net/a--b/a.vhd", 1),
     ("https://images.blob.core.windows.net/$root/a.vhd", 0), ("https://x_y.blob.core.windows.net/v/a.vhd", 2),
     ("https://127.0.0.1:10000/devstoreaccount1/V/a.vhd", 0), ("out/disk.vhd", 0)],
)  # fmt: skip
def test_names_of_storage(address: str, count: int) -> None:
    assert len(list(blob_problems(address))) == count
    assert targets({"type": "VHD", "uri": address}) == ["E84"] * count


def targets(*targets: dict[str, Any]) -> list[str]:
    """Ids of the findings about a template with these targets, without what is usual in them."""
    numbered = [{"runOutputName": f"t{number}", **target} for number, target in enumerate(targets)]
    body = {"source": LINUX, "customize": [{"type": "Shell", "inline": ["true"]}], "distribute": numbered}
    return [one.id for one in found(body) if one.id in {"E84", "E85", "E86"}]


def managed(image: str) -> dict[str, Any]:
    return {"type": "ManagedImage", "imageId": image, "location": "westeurope"}


def shared(definition: str, *, regions: tuple[str, ...] = ("westeurope",), scheme: str = "") -> dict[str, Any]:
    listed = [{"name": name} for name in regions]
    versioning = {"versioning": {"scheme": scheme}} if scheme else {}
    return {"type": "SharedImage", "galleryImageId": definition, "targetRegions": listed, **versioning}


VHD = {"type": "VHD", "uri": "https://ours.blob.core.windows.net/images/a.vhd"}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (managed(IMAGE), managed(IMAGE.replace("resourceGroups/images", "RESOURCEGROUPS/Images")), ["E85"]),
        (managed(IMAGE), managed(f"{IMAGE}2"), []),
        (shared(f"{GALLERY}/versions/1.2.3"), shared(f"{GALLERY.upper()}/versions/1.02.3"), ["E85"]),
        (shared(f"{GALLERY}/versions/1.2.3"), shared(f"{GALLERY}/versions/1.2.4"), []),
        (shared(GALLERY, scheme="Source"), shared(GALLERY, scheme="Source"), ["E85"]),
        (shared(GALLERY, scheme="Source"), shared(f"{GALLERY}2", scheme="Source"), []),
        (shared(GALLERY, scheme="Latest"), shared(GALLERY, scheme="Latest"), []),
        (VHD, {**VHD, "uri": f"{VHD['uri']}?sig=1"}, ["E85"]),
        (VHD, {"type": "VHD"}, []),
        ({"type": "VHD"}, {"type": "VHD"}, []),
    ],
)
def test_two_targets_with_one_place(first: dict[str, Any], second: dict[str, Any], expected: list[str]) -> None:
    assert targets(first, second) == expected


def test_three_targets_with_one_place_are_two_too_many() -> None:
    assert targets(managed(IMAGE), managed(IMAGE), managed(IMAGE)) == ["E85", "E85"]


def test_a_region_is_in_a_list_once() -> None:
    assert targets(shared(GALLERY, regions=("westeurope", "West Europe", "eastus"))) == ["E86"]
    assert targets(shared(GALLERY, regions=("westeurope", "eastus"))) == []
    old = {"type": "SharedImage", "galleryImageId": GALLERY, "replicationRegions": ["eastus", "EastUS"]}
    assert targets(old) == ["E86"]


def test_names_are_judged_wherever_an_id_is() -> None:
    bad = GALLERY.replace("/ours/", "/our-own/")
    assert targets(shared(bad)) == ["E84"]
    assert targets(managed(f"{IMAGE}-")) == ["E84"]
