"""The verbs of `aibemu images`, called as a person would, on a store in a temporary folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu.cli.app import App
from aibemu.cloud.local import LocalCloud
from aibemu.errors import NotFoundError, UsageError
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from tests.unit.images.conftest import INFO, Call

GOLD = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.Compute/images/gold"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


def test_an_alias_is_checked_before_the_file_is_read(call: Call, tmp_path: Path) -> None:
    for alias in ("..", "a/b", "a" * 300, "a\nb"):
        with pytest.raises(UsageError, match="cannot be an alias"):
            call("import", tmp_path / "there-is-none", "--alias", alias)


def test_import_show_list_alias_remove(call: Call, make_disk: Callable[..., Path], home: Home) -> None:
    assert call("list") == {"images": [], "aliases": {}}
    assert "aibemu images build debian-12" in call("list", human=True)
    disk = make_disk()
    done = call("import", disk, "--alias", "gold", "--alias", "Me:mine:1:1.0.0")
    assert (done["aliases"], done["osType"], done["generation"]) == (["Me:mine:1:1.0.0", "gold"], "Linux", "V1")
    shown = call("show", "gold")
    assert shown == done | {"usedBy": []}
    text = call("show", done["digest"][:8], human=True)
    for word in (done["path"], done["digest"], "Debian GNU/Linux 12", "V1", "nocloud", "0.00878906 GiB"):
        assert word in text, word
    assert "gold" in call("list", human=True)
    assert call("alias", "silver", "gold")["digest"] == done["digest"]
    call("alias", "silver", "--remove", "--yes")
    assert call("list")["aliases"] == {"Me:mine:1:1.0.0": done["digest"], "gold": done["digest"]}
    with pytest.raises(UsageError, match="in use") as caught:
        call("remove", "gold")
    assert "alias gold" in caught.value.details
    call("remove", "gold", "--force", "--yes")
    assert call("list") == {"images": [], "aliases": {}}


def test_remove_asks_the_local_cloud(call: Call, make_disk: Callable[..., Path], home: Home) -> None:
    from aibemu.clock import SystemClock

    digest = call("import", make_disk())["digest"]
    LocalCloud(home.cloud, SystemClock()).put_managed_image(
        GOLD, location="westeurope", digest=digest, info=INFO, tags={}, source_id="t"
    )
    assert call("show", digest)["usedBy"] == [GOLD]
    with pytest.raises(UsageError) as caught:
        call("remove", digest[:6])
    assert caught.value.details == (f"resource {GOLD}",)


def test_import_again_says_so_and_takes_options(call: Call, make_disk: Callable[..., Path]) -> None:
    disk = make_disk(efi=True, bios=True)
    first = call("import", disk)
    assert first["generation"] == "V2"
    again = call("import", disk, "--generation", "V1", "--os-type", "Windows")
    assert (again["digest"], again["generation"], again["osType"]) == (first["digest"], "V1", "Windows")
    assert len(call("list")["images"]) == 1


def test_import_of_the_unknown_needs_a_word(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "x.raw"
    path.write_bytes(bytes(446) + b"\x80\0\0\0\x83\0\0\0\1\0\0\0\x08\0\0\0" + bytes(48) + b"\x55\xaa" + bytes(8192))
    with pytest.raises(UsageError, match="no operating system") as caught:
        call("import", path)
    assert "--os-type" in str(caught.value.hint)
    assert call("import", path, "--os-type", "Linux")["provisioning"] == "unknown"


def test_a_source_that_lies_in_the_store_stays(call: Call, make_disk: Callable[..., Path], home: Home) -> None:
    before = make_disk().read_bytes()
    disk = make_disk()
    call("import", disk)
    assert len(before) == disk.stat().st_size


def test_mistakes(call: Call, tmp_path: Path) -> None:
    for words, error in (
        (("show", "none"), NotFoundError),
        (("import", tmp_path / "none"), NotFoundError),
        (("pull", "Canonical:ubuntu-24_04-lts:servr"), NotFoundError),
        (("build", "debian-99"), NotFoundError),
        (("alias", "x"), UsageError),
        (("alias", "x", "y", "--remove"), UsageError),
    ):
        with pytest.raises(error):
            call(*words)


def test_the_catalogue_is_listed(call: Call, home: Home) -> None:
    offers = {entry["offer"]: entry for entry in call("list", "--catalogue")["catalogue"]}
    assert offers["RedHat:RHEL:9-lvm-gen2"]["url"] is None
    assert "import" in call("list", "--catalogue", human=True)
    assert not ImageStore(home.images, App(home=home).clock).images()


def test_what_an_image_is_can_be_said(call: Call, make_disk: Callable[..., Path]) -> None:
    disk = make_disk()
    assert call("import", disk)["provisioning"] == "nocloud"
    assert call("import", disk, "--provisioning", "azure")["provisioning"] == "azure"
    digest = call("list")["images"][0]["digest"]
    done = call("describe", digest[:8], "--provisioning", "unknown", "--generation", "V2")
    assert (done["provisioning"], done["generation"], done["osType"]) == ("unknown", "V2", "Linux")
    assert call("show", digest)["generation"] == "V2"
    with pytest.raises(UsageError, match="say what to change"):
        call("describe", digest)
