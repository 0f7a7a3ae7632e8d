"""`aibemu cache key`: it changes when what is kept by it would."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from aibemu.images import recipes

TEMPLATE = (Path(__file__).parents[3] / "fixtures" / "templates" / "ok" / "bare.json").read_text()


@pytest.fixture
def key(aibemu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The key of templates, each with this text; nothing is stored here, so the driver is one that needs no image."""
    monkeypatch.setenv("AIBEMU_DRIVER", "dryrun")

    def ask(*texts: str) -> str:
        files = [tmp_path / f"{number}.json" for number, _ in enumerate(texts)]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        said = aibemu("cache", "key", *map(str, files))
        assert said.code == 0, said.err
        return str(said.out.strip())

    return ask


def test_a_key_goes_by_steps_and_begins_with_what_they_start_from(key: Any) -> None:
    first = key(TEMPLATE)
    assert re.fullmatch("[0-9a-f]{16}-[0-9a-f]{16}", first)
    assert key(TEMPLATE) == first, "what is stored and where the file is do not count"
    edited = key(TEMPLATE.replace("echo hello", "echo good bye"))
    assert edited != first and edited.split("-")[0] == first.split("-")[0]
    larger = key(TEMPLATE.replace('"customize"', '"vmProfile": {"osDiskSizeGB": 60}, "customize"', 1))
    assert larger.split("-")[0] != first.split("-")[0]


def test_the_order_of_templates_does_not_count(key: Any) -> None:
    other = TEMPLATE.replace("echo hello", "echo good bye")
    assert key(TEMPLATE, other) == key(other, TEMPLATE) != key(TEMPLATE)


def test_the_key_of_an_image_is_that_of_its_recipe(aibemu: Any) -> None:
    recipe = recipes.load("debian-12")
    assert aibemu("cache", "key", "--image", "debian-12").out == f"debian-12-{recipe.digest[:16]}\n"
    data = json.loads(aibemu("--output", "json", "cache", "key", "--image", "debian-12").out)["data"]
    assert data == {"key": f"debian-12-{recipe.digest[:16]}", "image": "debian-12", "recipe": recipe.digest}


@pytest.mark.parametrize("words", [(), ("--image", "debian-12", "web.json")])
def test_a_key_is_of_one_kind(aibemu: Any, words: tuple[str, ...]) -> None:
    said = aibemu("cache", "key", *words)
    assert said.code == 2
    assert "a key is either that of templates or, with --image, that of an image" in said.err


def test_the_folder_of_images_is_told_too(aibemu: Any, home: Path) -> None:
    assert aibemu("cache", "path", "--images").out == f"{home}/images\n"
    assert aibemu("cache", "path").out == f"{home}/layers\n"
