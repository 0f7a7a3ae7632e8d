"""The catalogue: the built-in file is sound, the user's wins, mistakes name their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibemu.errors import UsageError
from aibemu.images import Generation
from aibemu.images.catalogue import BUILT_IN, Catalogue, read
from aibemu.paths import Home

ENTRY = """\
images:
  - offer: Me:mine:1
    generation: V1
    os_type: Linux
    os_name: Mine
    url: https://example.org/mine.qcow2
    sha256: "{digest}"
"""


def test_the_built_in_file_knows_the_common_offers() -> None:
    catalogue = Catalogue(read(BUILT_IN))
    for offer, generation in (
        ("Canonical:ubuntu-24_04-lts:server", "V2"),
        ("Canonical:ubuntu-24_04-lts:server-gen1", "V1"),
        ("Canonical:0001-com-ubuntu-server-jammy:22_04-lts-gen2", "V2"),
        ("Debian:debian-11:11", "V1"),
        ("Debian:debian-12:12", "V1"),
        ("Debian:debian-13:13-gen2", "V2"),
        ("almalinux:almalinux-x86_64:9-gen2", "V2"),
        ("resf:rockylinux-x86_64:9-base", "V2"),
        ("SUSE:opensuse-leap-15-6:gen2", "V2"),
        ("RedHat:RHEL:9-lvm-gen2", "V2"),
    ):
        entry = catalogue.find(offer.upper() + ":latest")
        assert entry is not None, offer
        assert entry.generation is Generation(generation)
    for entry in catalogue.entries():
        # Nothing is downloaded without a checksum, and what cannot be downloaded says why.
        assert (entry.checksum_url or entry.sha256 or entry.sha512) if entry.url else entry.note, entry.offer
        assert "{date}" in entry.version


def test_azure_builds_come_first_and_the_rest_says_that_it_is_generic() -> None:
    for entry in read(BUILT_IN):
        assert bool(entry.url) == bool(entry.file.build), entry.offer
        assert (entry.file.build == "azure") == any("azure" in url.lower() for url in entry.urls), entry.offer
    found = {entry.offer: entry for entry in read(BUILT_IN)}
    for offer, end in (
        ("Canonical:ubuntu-24_04-lts:server", "-azure.vhd.tar.gz"), ("Debian:debian-12:12", "-azure-amd64.tar.xz"),
        ("resf:rockylinux-x86_64:9-base", "-Azure-Base.latest.x86_64.vhdfixed.xz"),
    ):  # fmt: skip
        assert str(found[offer].url).endswith(end)
    rocky = found["resf:rockylinux-x86_64:9-base"]
    assert rocky.urls[1] == str(rocky.url).replace(".vhdfixed.xz", ".vhd")


def test_offers_are_unique() -> None:
    offers = [entry.offer.lower() for entry in read(BUILT_IN)]
    assert len(offers) == len(set(offers))


def test_the_users_file_wins(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    home.config.mkdir()
    text = ENTRY.format(digest="a" * 64) + ENTRY.format(digest="b" * 64).split("\n", 1)[1].replace(
        "Me:mine:1", "debian:DEBIAN-12:12"
    )
    (home.config / "catalogue.yaml").write_text(text)
    catalogue = Catalogue.load(home)
    mine, debian = catalogue.find("me:MINE:1"), catalogue.find("Debian:debian-12:12:latest")
    assert mine and mine.sha256 == "a" * 64
    assert debian and debian.os_name == "Mine"
    assert catalogue.find("Debian:debian-13:13")
    assert catalogue.near("Debian:debian-1:12")[0].lower() == "debian:debian-12:12"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("images: 1\n", 1, "one key, images"),
        ("imagess: []\n", 1, "one key, images"),
        ("images:\n  - x\n", 2, "expected keys"),
        ("images:\n  - offer: a:b:c\n", 2, "missing: generation, os_type, os_name, url"),
        (ENTRY.replace("V1", "V3"), 3, "'V3' is not V1 or V2"),
        (ENTRY.replace("Me:mine:1", "Me:mine"), 2, "is not publisher:offer:sku"),
        (ENTRY.replace("Linux", "BSD"), 4, "is not Linux or Windows"),
        (ENTRY.replace("https:", "file:"), 6, "is not an http or https address"),
        (ENTRY.replace("{digest}", "abc"), 7, "is not 64 hex digits"),
        (ENTRY.replace("sha256", "sha255"), 7, "unknown key 'sha255'"),
        (ENTRY.replace("https://example.org/mine.qcow2", "null"), 6, "needs a note"),
        (ENTRY + "    build: aws\n", 8, "'aws' is not azure or generic"),
        (ENTRY + "    size: 0.5 GB\n", 8, "'0.5 GB' is not a number of MiB"),
        (ENTRY + "    also: x.vhd\n", 8, "also must be a list of names"),
        (ENTRY + "    also: [a, ../b]\n", 8, "'../b' is not the name of a file"),
        ("images: [\n", 2, "is not YAML"),
    ],
)
def test_mistakes_name_their_line(text: str, line: int, message: str, tmp_path: Path) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(text.format(digest="a" * 64) if "{digest}" in text else text)
    with pytest.raises(UsageError, match=message) as caught:
        read(path)
    assert caught.value.span is not None
    assert (caught.value.span.file, caught.value.span.line) == (str(path), line)


@pytest.mark.parametrize("text", ["images: \x07\n", "[" * 5000])
def test_what_yaml_cannot_place_is_still_the_users_mistake(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UsageError, match="is not YAML"):
        read(tmp_path / "c.yaml")


def test_an_empty_file_is_an_empty_catalogue(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("# nothing yet\n")
    assert read(tmp_path / "c.yaml") == ()
