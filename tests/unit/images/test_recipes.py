"""Recipes: the one that ships, and what a mistake in one's own reads like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.errors import NotFoundError, UsageError
from aibemu.images import Generation, recipes

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
        "grub-efi-amd64-bin",
        "cloud-guest-utils",
        "sudo",
    } <= set(recipe.packages)
    assert "debian-12" in recipes.names()
    assert recipes.for_offer("DEBIAN:Debian-12:12") == recipe
    assert recipes.for_offer("Debian:debian-13:13") is None


def test_generation_2_is_the_same_image_booted_the_other_way() -> None:
    one, two = recipes.load("debian-12"), recipes.load("debian-12-gen2")
    assert (one.generation, two.generation) == (Generation.V1, Generation.V2)
    assert two.stands_for == ("Debian:debian-12:12-gen2",)
    assert recipes.for_offer("debian:debian-12:12-GEN2") == two
    assert (two.packages, two.files, two.script) == (one.packages, one.files, one.script)
    assert (two.suite, two.disk_gib) == (one.suite, one.disk_gib)
    assert one.digest != two.digest


@pytest.fixture
def built_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose recipes are the built-in ones."""
    folder = tmp_path / "built-in"
    folder.mkdir()
    monkeypatch.setattr(recipes, "directories", lambda: (folder,))
    return folder


BASE = "name: base\nsuite: bookworm\ndisk_gib: 8\npackages: [a, b]\nscript: 'true'\nstands_for: [p:o:s]\n"


def test_what_is_taken_over(built_in: Path) -> None:
    (built_in / "base.yaml").write_text(BASE)
    (built_in / "middle.yaml").write_text("name: middle\nextends: base\npackages: [c]\ngeneration: V2\n")
    (built_in / "top.yaml").write_text("name: top\nextends: middle\nsuite: trixie\nscript:\n")
    top = recipes.load("top")
    assert (top.name, top.suite, top.disk_gib, top.generation) == ("top", "trixie", 8, Generation.V2)
    assert (top.packages, top.script, top.stands_for) == (("c",), "", ())
    assert recipes.load("middle").script == "true"
    assert recipes.for_offer("p:o:s") == recipes.load("base")


def test_a_recipe_of_ones_own_extends_a_built_in_one_even_of_its_own_name(built_in: Path, tmp_path: Path) -> None:
    (built_in / "base.yaml").write_text(BASE)
    path = tmp_path / "base.yaml"
    path.write_text("name: mine\nextends: base\n")
    assert recipes.read(path) == replace(recipes.load("base"), name="mine", stands_for=())


def test_the_digest_covers_what_is_taken_over(built_in: Path) -> None:
    base, top = built_in / "base.yaml", built_in / "top.yaml"
    base.write_text(BASE)
    top.write_text("name: top\nextends: base\n")
    before = recipes.load("top").digest
    base.write_text("# a comment\n" + BASE)
    assert recipes.load("top").digest == before
    base.write_text(BASE.replace("[a, b]", "[a]"))
    assert recipes.load("top").digest != before
    top.write_text(BASE.replace("[a, b]", "[a]").replace("name: base", "name: top").replace("stands_for: [p:o:s]", ""))
    assert recipes.load("top").digest == recipes.read(top).digest


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("extends: bsae", "no built-in recipe 'bsae'", "did you mean base?"),
        ("extends: [base]", "no built-in recipe", "base"),
        ("extends: ./base.yaml", "no built-in recipe './base.yaml'", "base"),
        ("extends: self", "in a circle: self -> self", None),
        ("extends: there", "in a circle: self -> there -> back -> there", None),
        ("extends: base", "suite is missing", None),
        ("extends: odd", r"odd\.yaml: unknown key 'colour'", None),
    ],
)
def test_mistakes_in_extends(text: str, message: str, hint: str | None, built_in: Path) -> None:
    (built_in / "base.yaml").write_text("name: base\n")
    (built_in / "odd.yaml").write_text("name: odd\ncolour: red\n")
    (built_in / "there.yaml").write_text("name: there\nextends: back\n")
    (built_in / "back.yaml").write_text("name: back\nextends: there\n")
    (built_in / "self.yaml").write_text(f"name: self\n{text}\n")
    with pytest.raises(UsageError, match=message) as caught:
        recipes.load("self")
    assert hint is None or hint in (caught.value.hint or "")


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
        (SMALL + "generation: V3\n", r"V1 \(BIOS\) or V2"),
        (SMALL + "generation: [V1]\n", r"V1 \(BIOS\) or V2"),
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
