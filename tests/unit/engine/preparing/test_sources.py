"""From a template's source to an image; and what a person reads when it is not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.clock import Deadline
from aibemu.cloud.documents import Replica
from aibemu.cloud.local import LocalCloud
from aibemu.engine.preparing.sources import resolve, version_key
from aibemu.errors import HostNotReady, ImageMissing, Span
from aibemu.images import BaseImage, ImageInfo, Provisioning
from aibemu.images.catalogue import BUILT_IN, Catalogue, read
from aibemu.images.store import ImageStore
from aibemu.images.windows import WindowsFacts
from aibemu.plan.model import ResolvedImage
from aibemu.template.model import ManagedImageSource, PlatformImage, SharedImageVersionSource, Source
from tests.unit.images.conftest import INFO

SPAN = Span(file="t.json", line=3, column=5)
GROUP = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.Compute"
DEFINITION = f"{GROUP}/galleries/gal/images/web"
OFFER = "Debian:debian-12:12"


@pytest.fixture
def image(store: ImageStore, tmp_path: Path, deadline: Deadline) -> BaseImage:
    return add(store, tmp_path, deadline, 1)


UNSEALED = WindowsFacts(
    product="Windows Server 2022", edition="ServerStandard", build=20348, installation="Server", evaluation=False,
    image_state="IMAGE_STATE_COMPLETE",
)  # fmt: skip


def add(store: ImageStore, tmp_path: Path, deadline: Deadline, seed: int, info: ImageInfo = INFO) -> BaseImage:
    path = tmp_path / f"{seed}.raw"
    path.write_bytes(bytes([seed]) * 4096)
    return store.add(path, info, deadline=deadline, source_format="raw")


@pytest.fixture
def cloud(tmp_path: Path, store: ImageStore) -> LocalCloud:
    return LocalCloud(tmp_path / "cloud", store.clock)


def ask(store: ImageStore, cloud: LocalCloud, source: Source, location: str | None = None) -> ResolvedImage:
    return resolve(source, store=store, cloud=cloud, catalogue=Catalogue(read(BUILT_IN)), location=location)


def debian(version: str = "latest", offer: str = OFFER, plan: dict[str, str] | None = None) -> PlatformImage:
    publisher, name, sku = offer.split(":")
    return PlatformImage(publisher=publisher, offer=name, sku=sku, version=version, plan=plan, span=SPAN)


def test_latest_is_the_numerically_highest(
    store: ImageStore, cloud: LocalCloud, image: BaseImage, tmp_path: Path, deadline: Deadline
) -> None:
    newer = add(store, tmp_path, deadline, 2)
    store.set_alias(f"{OFFER}:0.20261123.9", image.digest)
    store.set_alias(f"{OFFER.lower()}:0.20261123.10", newer.digest)
    store.set_alias(f"{OFFER}:latest", image.digest)
    plan = {"planName": "p", "planProduct": "q", "planPublisher": "r"}
    found = ask(store, cloud, debian(offer="DEBIAN:Debian-12:12", plan=plan))
    assert (found.image, found.exact_version, found.plan, found.notes) == (newer, "0.20261123.10", plan, ())
    exact = ask(store, cloud, debian("0.20261123.9"))
    assert (exact.image, exact.exact_version, exact.source_id) == (
        image, "0.20261123.9", f"{OFFER}:0.20261123.9",
    )  # fmt: skip


@pytest.mark.parametrize("alias", [OFFER, f"{OFFER}:latest", "debian:DEBIAN-12:12:LATEST"])
def test_an_alias_without_version_answers_latest_only(
    alias: str, store: ImageStore, cloud: LocalCloud, image: BaseImage
) -> None:
    store.set_alias(alias, image.digest)
    found = ask(store, cloud, debian())
    assert (found.image, found.exact_version) == (image, "latest")
    assert found.notes
    with pytest.raises(ImageMissing):
        ask(store, cloud, debian("0.1.1"))


def test_a_version_that_is_not_here_names_those_that_are(
    store: ImageStore, cloud: LocalCloud, image: BaseImage
) -> None:
    for version in ("0.10.0", "0.9.0"):
        store.set_alias(f"{OFFER}:{version}", image.digest)
    with pytest.raises(ImageMissing) as caught:
        ask(store, cloud, debian("0.8.0"))
    assert caught.value.details == ("stored versions: 0.9.0, 0.10.0",)
    assert caught.value.commands == (f"aibemu images alias {OFFER}:0.8.0 {OFFER}:0.10.0",)
    assert caught.value.span == SPAN


def test_a_miss_gives_every_way_there_is(store: ImageStore, cloud: LocalCloud) -> None:
    with pytest.raises(ImageMissing) as caught:
        ask(store, cloud, debian())
    assert caught.value.commands == (
        "aibemu images build debian-12",
        f"aibemu images pull {OFFER}",
        f"aibemu images pull {OFFER}:latest --azure --resource-group NAME",
        f"aibemu images import FILE --alias {OFFER}:latest",
    )
    assert caught.value.exit_code == 4


def test_a_miss_of_what_is_not_public_says_why(store: ImageStore, cloud: LocalCloud) -> None:
    with pytest.raises(ImageMissing) as caught:
        ask(store, cloud, debian("9.4.1", "RedHat:RHEL:9-lvm-gen2"))
    assert caught.value.commands == (
        "aibemu images pull RedHat:RHEL:9-lvm-gen2:9.4.1 --azure --resource-group NAME",
        "aibemu images import FILE --alias RedHat:RHEL:9-lvm-gen2:9.4.1",
    )
    assert "account holders" in caught.value.details[0]


def test_an_unknown_offer_names_similar_ones(store: ImageStore, cloud: LocalCloud) -> None:
    with pytest.raises(ImageMissing) as caught:
        ask(store, cloud, debian("latest", "Canonical:ubuntu-24_04-lts:servr"))
    assert "similar: Canonical:ubuntu-24_04-lts:server" in caught.value.details[0]


def test_managed_images(store: ImageStore, cloud: LocalCloud, image: BaseImage) -> None:
    name = f"{GROUP}/images/gold"
    with pytest.raises(ImageMissing) as caught:
        ask(store, cloud, ManagedImageSource(image_id=name, span=SPAN))
    assert caught.value.details == ("there is none yet",)
    assert caught.value.commands == (f"aibemu images pull {name} --azure",)
    cloud.put_managed_image(name, location="westeurope", digest=image.digest, info=INFO, tags={}, source_id="t")
    found = ask(
        store, cloud, ManagedImageSource(image_id=name.upper().replace("/SUBSCRIPTIONS", "/subscriptions"), span=SPAN)
    )
    assert (found.image, found.exact_version, found.source_id) == (image, "", name)
    with pytest.raises(ImageMissing) as caught:
        ask(store, cloud, ManagedImageSource(image_id=f"{GROUP}/images/other", span=SPAN))
    assert caught.value.details == (f"there is: {name}",)


def test_gallery_versions(
    store: ImageStore, cloud: LocalCloud, image: BaseImage, tmp_path: Path, deadline: Deadline
) -> None:
    newer = add(store, tmp_path, deadline, 2)
    cloud.ensure_definition(DEFINITION, location="westeurope", info=INFO)
    for version, stored, region, hidden in (
        ("1.9.0", image, "westeurope", False),
        ("1.10.0", newer, "westeurope", False),
        ("1.11.0", newer, "northeurope", False),
        ("2.0.0", newer, "westeurope", True),
    ):
        cloud.put_image_version(
            f"{DEFINITION}/versions/{version}", digest=stored.digest, info=INFO, tags={}, source_id="t",
            replicas=[Replica(region=region)], exclude_from_latest=hidden,
        )  # fmt: skip

    def ask_for(text: str, location: str | None = "westeurope") -> ResolvedImage:
        source = SharedImageVersionSource(image_version_id=f"{DEFINITION}/versions/{text}", span=SPAN)
        return ask(store, cloud, source, location)

    assert ask_for("1.9.0").image == image
    assert ask_for("latest").exact_version == f"{DEFINITION}/versions/1.10.0"
    assert ask_for("Latest", "North Europe").exact_version.endswith("/1.11.0")
    assert ask_for("latest", None).exact_version.endswith("/1.11.0")
    assert ask_for("2.0.0").exact_version.endswith("/2.0.0")
    with pytest.raises(ImageMissing, match="not replicated to westeurope"):
        ask_for("1.11.0")
    with pytest.raises(ImageMissing) as caught:
        ask_for("3.0.0")
    assert len(caught.value.details) == 4


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"os_type": "Inferno"}, "only Linux and Windows guests"),
        ({"os_type": "Windows", "windows": UNSEALED}, r"not generalised \(IMAGE_STATE_COMPLETE\)"),
        ({"provisioning": Provisioning.NONE}, "no cloud-init"),
    ],
)
def test_what_cannot_be_booted_is_refused(
    change: dict[str, object], why: str, store: ImageStore, cloud: LocalCloud, tmp_path: Path, deadline: Deadline
) -> None:
    image = add(store, tmp_path, deadline, 3, replace(INFO, **change))  # type: ignore[arg-type]
    store.set_alias(f"{OFFER}:1.0.0", image.digest)
    with pytest.raises(HostNotReady, match=why):
        ask(store, cloud, debian())


def test_doubts_are_notes(store: ImageStore, cloud: LocalCloud, tmp_path: Path, deadline: Deadline) -> None:
    info = replace(INFO, provisioning=Provisioning.UNKNOWN, generalized=False)
    image = add(store, tmp_path, deadline, 3, info)
    store.set_alias("Canonical:ubuntu-24_04-lts:server:24.04.1", image.digest)
    found = ask(store, cloud, debian("latest", "Canonical:ubuntu-24_04-lts:server"))
    assert len(found.notes) == 3  # another generation, unknown provisioning, not generalised


def test_an_image_that_is_gone_from_the_store(store: ImageStore, cloud: LocalCloud, image: BaseImage) -> None:
    store.set_alias(f"{OFFER}:1.0.0", image.digest)
    image.path.unlink()
    with pytest.raises(ImageMissing, match="gone from the store"):
        ask(store, cloud, debian())


@given(st.lists(st.tuples(st.integers(0, 99999), st.integers(0, 99999), st.integers(0, 99999)), min_size=1))
def test_versions_sort_by_number(numbers: list[tuple[int, int, int]]) -> None:
    texts = [".".join(map(str, number)) for number in numbers]
    assert max(texts, key=version_key) == ".".join(map(str, max(numbers)))


@given(st.lists(st.text(max_size=8)))
def test_any_version_texts_can_be_sorted(texts: list[str]) -> None:
    for text in texts:
        assert version_key(text) <= max(map(version_key, texts))


@pytest.mark.parametrize(
    ("features", "security"),
    [
        ([{"name": "SecurityType", "value": "TrustedLaunch"}], "TrustedLaunch"),
        ([{"name": "IsAcceleratedNetworkSupported", "value": "true"}], ""), ("damaged", ""), (None, ""),
    ],
)  # fmt: skip
def test_the_security_type_is_that_of_the_image_definition(
    features: object, security: str, store: ImageStore, cloud: LocalCloud, image: BaseImage
) -> None:
    cloud.ensure_definition(DEFINITION, location="westeurope", info=image.info)
    version = f"{DEFINITION}/versions/1.0.0"
    cloud.put_image_version(
        version, digest=image.digest, info=INFO, tags={}, source_id="t", replicas=[Replica(region="westeurope")]
    )  # fmt: skip
    path = next(path for path in cloud.root.rglob("*.json") if '"hyperVGeneration"' in path.read_text())
    body = json.loads(path.read_text())
    body["properties"]["features"] = features
    path.write_text(json.dumps(body))
    asked = SharedImageVersionSource(image_version_id=version, span=SPAN)
    assert ask(store, cloud, asked, "westeurope").security == security
