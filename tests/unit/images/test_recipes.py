"""Recipes: the one that ships, and what a mistake in one's own reads like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.errors import NotFoundError, UsageError
from aibemu.images import recipes

SMALL = "name: x\nsuite: bookworm\npackages: [a, b]\n"


def test_the_recipe_that_ships() -> None:
    recipe = recipes.load("debian-12")
    assert recipe.name == "debian-12"
    assert {
        "cloud-init",
        "waagent",
        "openssh-server",
        "grub2-common",
        "grub-pc-bin",
        "cloud-guest-utils",
        "sudo",
    } <= set(recipe.packages)
    assert "debian-12" in recipes.names()
    assert recipes.for_offer("DEBIAN:Debian-12:12") == recipe
    assert recipes.for_offer("Debian:debian-13:13") is None


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    one.write_text(SMALL)
    two.write_text("# a comment\npackages:\n  - a\n  - b\nsuite: bookworm\nname: x\n")
    assert recipes.read(one).digest == recipes.read(two).digest
    assert recipes.read(one).digest != replace(recipes.read(one), packages=("a",)).digest


def test_the_digest_changes_with_the_builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "1.yaml"
    path.write_text(SMALL)
    before = recipes.read(path).digest
    monkeypatch.setattr(recipes, "BUILDER_VERSION", recipes.BUILDER_VERSION + 1)
    assert recipes.read(path).digest != before


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(SMALL + "disk_gib: 8\nfiles:\n  - path: /etc/x\n    mode: 0600\n    content: hi\n")
    recipe = recipes.load(str(path))
    assert recipe.disk_gib == 8
    assert recipe.files == (recipes.RecipeFile(path="/etc/x", content="hi", mode=0o600),)


def test_unknown_names() -> None:
    with pytest.raises(NotFoundError) as caught:
        recipes.load("debian-21")
    assert caught.value.hint == "did you mean debian-12?"
    with pytest.raises(NotFoundError):
        recipes.load("none.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "a recipe is a mapping"),
        ("a: [\n", "not YAML"),
        (SMALL + "colour: red\n", "unknown key 'colour'"),
        (SMALL.replace("bookworm", "'; rm -rf /'"), "suite is missing or not a plain"),
        (SMALL.replace("[a, b]", "[a, '--hook=x']"), "'--hook=x' is not a package name"),
        (SMALL.replace("[a, b]", "a"), "packages must be a list"),
        (SMALL + "disk_gib: 1\n", "disk_gib"),
        (SMALL + "disk_gib: true\n", "disk_gib"),
        (SMALL + "generation: V2\n", "only generation V1"),
        (SMALL + "stands_for: [a:b]\n", "not publisher:offer:sku"),
        (SMALL + "files:\n  - path: ../x\n", "absolute path"),
        (SMALL + "files:\n  - path: /a/../../x\n", "absolute path"),
        (SMALL + "files:\n  - path: /a\n    mode: '0644'\n", "octal"),
    ],
)
def test_mistakes(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        recipes.read(path)
