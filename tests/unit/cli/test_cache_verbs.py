"""`aibemu cache` and what `aibemu clean` has to do with layers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import SystemClock
from aibemu.layers import Layer
from aibemu.layers.store import LayerStore
from tests.unit.layers.conftest import BLOCK, NOW, frozen_by_a_machine, layer

AGO = NOW.timestamp() - SystemClock().now().timestamp()  # `used` of the layers' maker for "a moment ago"
NEVER_FINISHED = f"{2 * BLOCK // 1024} KiB"


@pytest.fixture
def store(home: Path) -> LayerStore:
    return LayerStore(home / "layers")


@pytest.fixture(autouse=True)
def image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The base image of all layers is there."""

    class Image:
        digest = "i" * 64

    monkeypatch.setattr("aibemu.images.store.ImageStore.images", lambda self: [Image()])


def young(store: LayerStore, name: str, **changes: Any) -> Layer:
    return layer(store, name, used=AGO, **changes)


def value(said: Any) -> Any:
    return json.loads(said.out)["data"]


# Options


@pytest.mark.parametrize(
    ("option", "text", "said", "hint"),
    [
        ("--older-than", "abc", "--older-than 'abc' is not an age", "12h, 7d"),
        ("--older-than", "7", "--older-than '7' is not an age", "12h, 7d"),
        ("--size", "abc", "--size 'abc' is not a size", "500M, 20G"),
        ("--size", "-1", "--size '-1' is not a size", "500M, 20G"),
    ],
)
def test_what_is_no_age_or_size_is_told_by_the_option_that_was_typed(
    aibemu: Any, option: str, text: str, said: str, hint: str
) -> None:
    found = aibemu("cache", "prune", f"{option}={text}")
    assert found.code == 2 and said in found.err and hint in found.err
    assert "cache-" not in found.err and "cache_" not in found.err


def test_a_setting_that_is_no_age_is_told_by_its_own_name(aibemu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIBEMU_CACHE_AGE", "abc")
    assert "AIBEMU_CACHE_AGE: cache_age must be an age" in aibemu("cache", "prune").err


def test_the_options_count_for_more_than_the_settings(
    aibemu: Any, store: LayerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIBEMU_CACHE_AGE", "0s")
    monkeypatch.setenv("AIBEMU_CACHE_SIZE", "0")
    young(store, "a")
    assert value(aibemu("cache", "prune", "--size", "1G", "--older-than", "1h", "-o", "json"))["layers"] == []
    gone = value(aibemu("cache", "prune", "--size", "1G", "--yes", "-o", "json"))  # it is older than 0 s
    assert [one["id"] for one in gone["layers"]] == ["a" * 8] and gone["bytes"] == 2 * BLOCK


@pytest.mark.parametrize("age", ["999999d", "999999w"])
def test_no_age_is_too_much(aibemu: Any, store: LayerStore, make_run: Any, age: str) -> None:
    young(store, "a")
    make_run()
    assert aibemu("cache", "prune", "--older-than", age).out == "0 layers deleted, 0 KiB freed\n"
    found = aibemu("clean", "--older-than", age, "--dry-run")
    assert (found.code, found.out) == (0, "nothing to clean\n")


def test_a_run_without_a_record_is_older_than_any_age(aibemu: Any, make_run: Any) -> None:
    run, lock = make_run(alive=True)  # so that nobody sweeps it
    run.events_file.write_text("")
    assert aibemu("clean", "--older-than", "999999w").out == "nothing to clean\n"
    lock.release()
    run.events_file.write_text('{"v": 1, "seq": 1, "at": "x", "run": "x", "kind": "run.finished"}\n')
    aibemu("clean", "--older-than", "999999w", "--yes")
    assert not run.directory.exists()


# All


def test_all_are_those_that_no_machine_uses(aibemu: Any, store: LayerStore) -> None:
    layer(store, "a", used=AGO - 3600), young(store, "b", linked=True)
    young(store, "c").files[0].unlink()  # of no use to anybody, so it is not "in use" either
    found = aibemu("cache", "prune", "--all", "--yes")
    assert found.out.splitlines() == [
        f"2 layers deleted, {3 * BLOCK // 1024} KiB freed", "1 layer in use by machines, kept",
    ]  # fmt: skip


# What builds leave that died


@pytest.fixture
def living(make_run: Any) -> Iterator[None]:
    """A build goes on: files of no layer may be its own, so no verb removes them by itself."""
    _, lock = make_run(alive=True, ended=None)
    yield
    lock.release()


def test_any_verb_removes_what_belongs_to_no_layer(aibemu: Any, store: LayerStore) -> None:
    kept = young(store, "a")
    layer(store, "b", published=False)
    assert "removed files that belonged to no layer: 128 KiB" in aibemu("cache", "path").err
    assert set(store.files.iterdir()) == set(kept.files)
    assert aibemu("cache", "path").err == ""


def test_files_of_no_layer_are_listed_and_what_pruning_them_frees_is_told(
    aibemu: Any, store: LayerStore, living: None
) -> None:
    layer(store, "a", published=False)
    listed = aibemu("cache", "list")
    assert listed.out.splitlines() == [
        "no layers yet",
        f"{NEVER_FINISHED} on disk in files that belong to no layer: `aibemu cache prune` deletes them",
    ]  # fmt: skip
    assert value(aibemu("cache", "list", "-o", "json")) == {
        "bytes": 0, "bytesOnDisk": 0, "leftovers": 2 * BLOCK, "layers": [],
    }  # fmt: skip
    assert aibemu("cache", "prune", "--yes").out == f"0 layers deleted, {NEVER_FINISHED} freed\n"
    assert list(store.files.iterdir()) == []
    assert aibemu("cache", "list").out == "no layers yet\n"
    assert aibemu("cache", "prune").out == "0 layers deleted, 0 KiB freed\n"


def test_a_list_does_without_what_cannot_be_read(
    aibemu: Any, store: LayerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    young(store, "a")

    def refuse(path: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("aibemu.layers.store.read_json", refuse)
    assert aibemu("cache", "list").out == "no layers yet\n"
    found = aibemu("cache", "prune", "--all", "--yes")
    assert found.code == 4 and "Permission denied" in found.err
    assert len(list(store.files.iterdir())) == 2


def test_clean_all_takes_what_is_of_no_layer_and_leaves_layers(aibemu: Any, store: LayerStore, living: None) -> None:
    kept = young(store, "a")
    layer(store, "b", published=False)
    assert aibemu("clean").out == "nothing to clean\n"
    dry = aibemu("clean", "--all", "--dry-run")
    assert dry.out == f"files that belong to no layer, {NEVER_FINISHED} would be freed\n"
    assert len(list(store.files.iterdir())) == 4
    assert aibemu("clean", "--all", "--yes").out == f"files that belong to no layer, {NEVER_FINISHED} freed\n"
    assert set(store.files.iterdir()) == set(kept.files)
    assert aibemu("clean", "--all").out == "nothing to clean\n"


def test_clean_all_takes_what_a_kept_machine_had_links_of(aibemu: Any, store: LayerStore, make_run: Any) -> None:
    run, _ = make_run(kept=True)
    made, link = frozen_by_a_machine(store, "a", "disk-a")
    link.rename(run.machines / "build" / "disk-a.qcow2")
    assert aibemu("cache", "prune").out == "0 layers deleted, 0 KiB freed\n"
    assert all(path.exists() for path in made.files)
    gone = value(aibemu("clean", "--all", "--yes", "-o", "json"))
    assert [one["id"] for one in gone["runs"]] == [run.id]
    assert gone["leftovers"] == 2 * BLOCK and gone["bytesOnDisk"] == gone["leftovers"] + gone["runs"][0]["bytesOnDisk"]
    assert list(store.files.iterdir()) == []


def test_clean_of_one_run_leaves_the_store_alone(
    aibemu: Any, store: LayerStore, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibemu.runs.sweep.sweep", lambda *_, **__: [])
    run, _ = make_run()
    layer(store, "a", published=False)
    assert "of no layer" not in aibemu("clean", run.id, "--all", "--yes").out
    assert len(list(store.files.iterdir())) == 2 and not run.directory.exists()
