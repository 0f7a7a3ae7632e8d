"""The store of layers: what is in it is whole, what goes is not in use, and many may do all this at once."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import ascii_letters
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aibemu.fabric.identity import Identity
from aibemu.files import FileLock
from aibemu.hypervisor import Frozen
from aibemu.layers import FrozenState, Layer, Made
from aibemu.layers.history import History
from aibemu.layers.store import Bound, LayerStore, Pruned
from tests.source import ROOT
from tests.unit.layers.conftest import BLOCK, NOW, MakeLayer, layer, said, written

NO_BOUND = Bound(size=1 << 60, age=timedelta(days=10**6))
NOTHING = Bound(size=0, age=timedelta(days=10**6))
FEW = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def record(store: LayerStore, made: Layer) -> Path:
    return store.directory / "records" / f"{made.id}.json"


def ids(found: Any) -> list[str]:
    return [one.layer.id[0] for one in found]


def left(store: LayerStore) -> set[str]:
    return {path.name for path in store.files.iterdir()}


# What a record says

TEXT = st.text(max_size=20)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
NAMES = st.text(ascii_letters + "0123456789-_", min_size=1, max_size=12).map(lambda name: f"{name}.qcow2")
STATES = st.builds(
    FrozenState,
    identity=st.builds(
        Identity, hostname=TEXT, user=TEXT, vm_id=st.integers(0, 2**128 - 1).map(lambda n: UUID(int=n)), mac=TEXT
    ),
    system=st.fixed_dictionaries({
        "private_key": TEXT, "public_line": TEXT, "session": st.integers(0, 2**31),
        "own_words": st.dictionaries(TEXT, TEXT, max_size=3),
    }),
)  # fmt: skip


@given(
    texts=st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT, TEXT), state=STATES, memory=NAMES,
    disks=st.lists(NAMES, min_size=1, max_size=4), made=TIMES, past=st.dictionaries(TEXT, st.tuples(TIMES, TEXT)),
    said=st.dictionaries(TEXT, NAMES, max_size=3),
)  # fmt: skip
def test_a_layer_is_read_back_as_it_was_from_whatever_folder_its_files_are_in(
    texts: tuple[str, ...], state: FrozenState, memory: str, disks: list[str], made: datetime, past: dict[str, Made],
    said: dict[str, str],
) -> None:  # fmt: skip
    old, new = Path("/old/files"), Path("/new/files")
    names: dict[str, Any] = dict(zip(("id", "label", "run", "template", "image", "boot"), texts, strict=True))
    frozen = Frozen(disks=tuple(old / name for name in disks), memory=old / memory)
    said_in = {layer_id: old / name for layer_id, name in said.items()}
    before = Layer(**names, made=made, frozen=frozen, state=state, past=past, said=said_in)
    text = json.dumps(before.as_json())
    assert Layer.from_json(json.loads(text), old) == before
    moved = Layer.from_json(json.loads(text), new)
    assert moved.files == tuple(new / path.name for path in before.files)
    assert str(old) not in text


@given(broken=st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers()), st.dictionaries(TEXT, TEXT)))
def test_what_is_no_layer_says_so_by_the_errors_it_may_raise(broken: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Layer.from_json(broken, Path("/x"))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b", "", ".."])
@pytest.mark.parametrize("key", ["memory", "disks", "said"])
def test_a_record_with_a_path_for_a_name_is_no_layer(store: LayerStore, make: MakeLayer, key: str, name: str) -> None:
    made = make("a")
    value = json.loads(record(store, made).read_text())
    value[key] = {"memory": name, "disks": [name], "said": {"b": name}}[key]
    record(store, made).write_text(json.dumps(value))
    assert store.get(made.id) is None
    assert list(store.layers()) == []


def test_a_record_without_a_disk_is_no_layer(store: LayerStore, make: MakeLayer) -> None:
    made = make("a")
    value = json.loads(record(store, made).read_text())
    record(store, made).write_text(json.dumps(value | {"disks": []}))
    assert store.get(made.id) is None


def test_what_a_layer_holds_is_the_past_of_one_made_on_it(make: MakeLayer) -> None:
    hour = timedelta(hours=1)
    root = make("r", made=NOW - 2 * hour)
    step = make("a", made=NOW - hour, run="other", past=root.chain)
    assert list(step.chain.items()) == [
        (root.id, (NOW - 2 * hour, root.run)), (step.id, (NOW - hour, "other"))
    ]  # fmt: skip
    # Made anew, it is the same step of another time.
    assert step.chain[root.id] != make("r", made=NOW).chain[root.id]


def change(store: LayerStore, made: Layer, values: dict[str, Any]) -> None:
    record(store, made).write_text(json.dumps(json.loads(record(store, made).read_text()) | values))


@pytest.mark.parametrize("version", [1, 2, 4, None, "3"])
def test_a_record_of_another_aibemu_is_no_layer(store: LayerStore, make: MakeLayer, version: Any) -> None:
    made = make("a")
    change(store, made, {"version": version})
    assert store.get(made.id) is None and list(store.layers()) == []


@pytest.mark.parametrize(
    "values",
    [
        {"past": None}, {"past": ["ab"]}, {"past": {"a": "2026-11-23"}}, {"past": {"a": [3, "run"]}}, {"made": 3},
        {"made": "0001-01-01T00:00:00+14:00"}, {"past": {"a": ["9999-12-31T23:59:59-12:00", "run"]}},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_whose_times_are_none_is_no_layer(store: LayerStore, make: MakeLayer, values: dict[str, Any]) -> None:
    made = make("a")
    change(store, made, values)
    assert store.get(made.id) is None and store.stored() == []


# Putting in and taking out


def test_what_was_published_is_found_and_nothing_else(store: LayerStore, make: MakeLayer) -> None:
    made = make("a", "disk-0", "disk-a")
    assert store.get(made.id) == made
    assert store.get("b" * 8) is None
    assert list(store.layers()) == [made]


def test_the_key_is_its_owners_only_and_files_are_written_no_more(store: LayerStore, make: MakeLayer) -> None:
    made = make("a", "disk-0", "disk-a")
    assert record(store, made).stat().st_mode & 0o777 == 0o600
    assert record(store, made).parent.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in made.files} == {0o400}
    assert made.state.system["private_key"].strip() not in "".join(path.name for path in store.directory.rglob("*"))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_layer_with_a_file_missing_is_none(store: LayerStore, make: MakeLayer, which: int) -> None:
    made = make("a", "disk-0", "disk-a")
    made.files[which].unlink()
    assert store.get(made.id) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"id": "a"}', "\xff"])
def test_a_record_that_cannot_be_read_is_no_layer_and_harms_none(store: LayerStore, make: MakeLayer, text: str) -> None:
    made = make("a")
    (record(store, made).parent / "bad.json").write_bytes(text.encode("latin-1"))
    assert store.get("bad") is None
    assert ids(store.stored()) == ["a"]


def copied(store: LayerStore, made: Layer) -> Path:
    """What a file manager makes of a record."""
    copy = record(store, made).with_name(f"{made.id} (copy).json")
    shutil.copy(record(store, made), copy)
    return copy


def test_a_copied_record_is_no_layer_and_is_pruned(store: LayerStore, make: MakeLayer) -> None:
    made = make("a")
    copy = copied(store, made)
    assert store.get(copy.stem) is None
    assert list(store.layers()) == [made]
    store.prune(NO_BOUND, NOW)
    assert store.get(made.id) == made and not copy.exists()
    copy = copied(store, made)
    assert ids(at_most(3, store).prune(NOTHING, NOW).layers) == ["a"]
    assert left(store) == set() and not copy.exists()


def at_most(times: int, store: LayerStore, *, really: bool = True) -> LayerStore:
    """The store, which forgets no more often than that. really: it does forget."""
    forgotten: list[str] = []
    forget = store.forget

    def count(layer_id: str) -> None:
        assert len(forgotten) < times, "for ever"
        forgotten.append(layer_id)
        if really:
            forget(layer_id)

    store.forget = count  # type: ignore[method-assign]
    return store


def test_pruning_ends_even_if_nothing_can_be_forgotten(store: LayerStore, make: MakeLayer) -> None:
    make("a"), make("b", used=10), make("c", linked=True)
    assert sorted(ids(at_most(2, store, really=False).prune(NOTHING, NOW).layers)) == ["a", "b"]


def test_republishing_an_id_replaces_it_and_the_old_files_go(store: LayerStore, make: MakeLayer) -> None:
    old = make("a", "disk-old")
    new = make("a", "disk-new", label="again")
    assert store.get(old.id) == new
    store.prune(NO_BOUND, NOW)
    assert left(store) == {"disk-new.qcow2", "disk-new.memory"}


def test_a_layer_that_is_forgotten_is_gone_at_once_and_its_files_later(store: LayerStore, make: MakeLayer) -> None:
    made = make("a")
    store.forget(made.id)
    store.forget(made.id)
    assert store.get(made.id) is None and left(store)
    store.prune(NO_BOUND, NOW)
    assert left(store) == set()


def test_a_failed_fsync_publishes_nothing(store: LayerStore, make: MakeLayer, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make("a", published=False)

    def fail(descriptor: int) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        store.publish(made)
    assert store.get(made.id) is None


def test_files_are_on_the_disk_before_the_record_is(
    store: LayerStore, make: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make("a", "disk-0", "disk-a", published=False)
    synced: list[Path] = []

    def note(path: Path) -> None:
        assert not record(store, made).exists()
        synced.append(path)

    monkeypatch.setattr("aibemu.layers.store.fsync", note)
    store.publish(made)
    assert synced == [*made.files, store.files]


def test_an_empty_store_has_nothing_and_can_be_pruned(store: LayerStore) -> None:
    assert store.stored() == [] and list(store.layers()) == []
    assert store.prune(NOTHING, NOW, []) == Pruned(layers=[], freed=0)


# Keeping it small


def test_those_not_used_for_too_long_go(store: LayerStore, make: MakeLayer) -> None:
    make("a", used=7200), make("b", used=10), make("c", used=3601)
    gone = store.prune(Bound(size=1 << 60, age=timedelta(hours=1)), NOW).layers
    assert sorted(ids(gone)) == ["a", "c"]
    assert left(store) == {"disk-b.qcow2", "disk-b.memory"}


def test_age_is_since_the_last_use_not_since_it_was_made(store: LayerStore, make: MakeLayer) -> None:
    made = make("a", used=7200, made=NOW - timedelta(days=30))
    store.used(made, NOW)
    assert store.prune(Bound(size=1 << 60, age=timedelta(hours=1)), NOW).layers == []
    assert [one.used for one in store.stored()] == [NOW]
    store.used(replace(made, id="unknown"), NOW)  # gone meanwhile: no matter


def test_the_one_not_used_for_longest_goes_first_until_the_rest_fits(store: LayerStore, make: MakeLayer) -> None:
    make("a", used=20), make("b", used=30), make("c", used=10)
    assert ids(store.stored()) == ["c", "a", "b"]
    assert sum(one.size for one in store.stored()) == 6 * BLOCK
    gone = store.prune(Bound(size=4 * BLOCK, age=timedelta(days=1)), NOW).layers
    assert ids(gone) == ["b"]
    gone = store.prune(Bound(size=4 * BLOCK - 1, age=timedelta(days=1)), NOW).layers
    assert ids(gone) == ["a"]
    assert left(store) == {"disk-c.qcow2", "disk-c.memory"}


def test_a_disk_that_several_share_counts_once_and_stays_for_the_last_of_them(
    store: LayerStore, make: MakeLayer
) -> None:
    make("a", "disk-0", made=NOW - timedelta(hours=2), used=20)
    make("b", "disk-0", "disk-1", made=NOW - timedelta(hours=1), used=10)
    sizes = {one.layer.id[0]: one.size for one in store.stored()}
    assert sizes == {"a": 2 * BLOCK, "b": 2 * BLOCK}
    gone = store.prune(Bound(size=3 * BLOCK, age=timedelta(days=1)), NOW).layers
    assert ids(gone) == ["a"]  # the memory of one is gone; its disk, under the other, counts there now
    assert left(store) == {"disk-0.qcow2", "disk-1.qcow2", "disk-1.memory"}
    assert {one.layer.id[0]: one.size for one in store.stored()} == {"b": 3 * BLOCK}


def test_a_disk_under_one_that_stays_counts_though_its_first_layer_went_for_its_age(
    store: LayerStore, make: MakeLayer
) -> None:
    make("a", "disk-0", made=NOW - timedelta(hours=2), used=10**6)
    make("b", "disk-0", "disk-1", made=NOW - timedelta(hours=1), used=10)
    assert sorted(ids(store.prune(Bound(size=2 * BLOCK, age=timedelta(days=1)), NOW).layers)) == ["a", "b"]
    assert left(store) == set()


def test_a_layer_with_a_file_missing_goes_with_the_rest_of_its_files(store: LayerStore, make: MakeLayer) -> None:
    make("a", "disk-0", "disk-a").files[0].unlink()
    make("b")
    gone = store.prune(NO_BOUND, NOW)
    assert ids(gone.layers) == ["a"] and gone.freed == 2 * BLOCK
    assert left(store) == {"disk-b.qcow2", "disk-b.memory"}


def test_no_age_is_so_low_that_only_what_is_in_use_stays(store: LayerStore, make: MakeLayer) -> None:
    make("a", linked=True), make("b", used=-3600)
    assert ids(store.prune(Bound(size=1 << 60, age=timedelta.min), NOW).layers) == ["b"]


def test_all_that_is_freed_is_counted_and_nothing_that_is_not(store: LayerStore, make: MakeLayer) -> None:
    make("a", "disk-0", used=20), make("b", "disk-0", "disk-b", used=10)
    make("c", published=False), make("d", published=False, linked=True)
    gone = store.prune(Bound(size=3 * BLOCK, age=timedelta(days=1)), NOW)
    # The memory of a, whose disk is under b; and what was never published.
    assert ids(gone.layers) == ["a"] and gone.freed == 3 * BLOCK
    assert store.prune(NO_BOUND, NOW) == Pruned(layers=[], freed=0)


def test_sparse_files_count_what_they_occupy(store: LayerStore, make: MakeLayer) -> None:
    made = make("a")
    assert made.frozen.memory is not None
    made.frozen.memory.chmod(0o600)
    os.truncate(made.frozen.memory, 1 << 30)
    assert store.stored()[0].size < 1 << 20


def test_what_a_machine_uses_stays_whatever_the_bounds(store: LayerStore, make: MakeLayer) -> None:
    made = make("a", used=10**6, linked=True, image="gone")
    make("b", used=10)
    assert ids(one for one in store.stored() if one.in_use) == ["a"]
    gone = store.prune(Bound(size=0, age=timedelta(seconds=1)), NOW, ["i" * 64]).layers
    assert ids(gone) == ["b"]
    assert store.get(made.id) == made
    (store.directory.parent / "machine-a").unlink()
    assert ids(store.prune(NOTHING, NOW).layers) == ["a"]


def test_a_layer_above_one_in_use_may_go(store: LayerStore, make: MakeLayer) -> None:
    below = make("a", "disk-0", linked=True)
    make("b", "disk-0", "disk-1")
    assert ids(store.prune(NOTHING, NOW).layers) == ["b"]
    assert store.get(below.id) == below


def test_layers_of_images_that_are_gone_go(store: LayerStore, make: MakeLayer) -> None:
    make("a"), make("b", image="other")
    assert store.prune(NO_BOUND, NOW).layers == []
    assert ids(store.prune(NO_BOUND, NOW, ["i" * 64]).layers) == ["b"]
    assert ids(store.prune(NO_BOUND, NOW, []).layers) == ["a"]


@FEW
@given(
    layers=st.lists(st.tuples(st.integers(0, 100), st.sets(st.integers(0, 3), max_size=2), st.booleans()), max_size=5),
    size=st.integers(0, 12), age=st.integers(0, 100),
)  # fmt: skip
def test_whatever_there_is_prune_leaves_no_more_than_the_bounds_and_never_takes_what_is_in_use(
    tmp_path_factory: pytest.TempPathFactory, layers: list[tuple[int, set[int], bool]], size: int, age: int
) -> None:
    store = LayerStore(tmp_path_factory.mktemp("s") / "layers")
    for number, (used, shared, linked) in enumerate(layers):
        disks = [f"disk-s{one}" for one in sorted(shared)] + [f"disk-{number}"]
        layer(store, str(number), *disks, used=used, linked=linked)
    before = {one.layer.id: one for one in store.stored()}
    bound = Bound(size=size * BLOCK, age=timedelta(seconds=age))
    gone = {one.layer.id for one in store.prune(bound, NOW).layers}
    after = {one.layer.id: one for one in store.stored()}
    assert set(after) == set(before) - gone
    assert not any(before[one].in_use for one in gone)
    idle = [one for one in after.values() if not one.in_use]
    assert all(NOW - one.used <= timedelta(seconds=age) for one in idle)
    assert not idle or sum(one.size for one in after.values()) <= size * BLOCK
    assert all(store.get(one) is not None for one in after)
    named = {path.name for one in after.values() for path in one.layer.files}
    assert named <= left_or_none(store)
    rubbish = left_or_none(store) - named
    assert all(name.startswith("disk-") and linked_twice(store, name) for name in rubbish)


def left_or_none(store: LayerStore) -> set[str]:
    return left(store) if store.files.is_dir() else set()


def linked_twice(store: LayerStore, name: str) -> bool:
    return (store.files / name).with_suffix(".qcow2").stat().st_nlink > 1


# Rubbish


def dead_pid() -> int:
    dead = subprocess.Popen(["true"])
    dead.wait()
    return dead.pid


def test_rubbish_goes_but_not_what_a_living_process_writes(store: LayerStore, make: MakeLayer) -> None:
    make("a")
    alive, dead = f".disk-x.memory.{os.getpid()}.0a1b2c.partial", f".disk-y.memory.{dead_pid()}.0a1b2c.partial"
    for name in (alive, dead, "disk-z.qcow2", "disk-z.memory", "x.partial", "a.b.partial", ".partial", "..partial"):
        (store.files / name).write_bytes(b"x")
    gone = {path.name for path in store.sweep()}
    assert gone == {dead, "disk-z.qcow2", "disk-z.memory", "x.partial", "a.b.partial", ".partial", "..partial"}
    assert left(store) == {"disk-a.qcow2", "disk-a.memory", alive}


@pytest.mark.parametrize("clean", ["prune", "sweep"])
def test_what_is_frozen_but_not_yet_published_stays(store: LayerStore, make: MakeLayer, clean: str) -> None:
    made = make("a", published=False, linked=True)  # the machine that was frozen has the other link of its disk
    made = replace(made, said=written(made, "one"))
    store.prune(NOTHING, NOW) if clean == "prune" else store.sweep()
    assert all(path.exists() for path in made.files)
    store.publish(made)
    assert store.get(made.id) == made


def test_what_is_left_over_is_told_before_it_is_swept(store: LayerStore, make: MakeLayer) -> None:
    assert store.leftovers() == store.sweep() == {} and not store.directory.exists()
    kept, died = make("a"), make("b", published=False)
    copy = copied(store, kept)
    told = store.leftovers()
    assert told == {copy: told[copy], **dict.fromkeys(died.files, BLOCK)} and told[copy] <= BLOCK
    assert all(path.exists() for path in told)
    assert store.sweep() == told
    assert store.leftovers() == store.sweep() == {}
    assert store.get(kept.id) == kept


def test_a_sweep_waits_for_who_has_the_lock_or_leaves_it_to_them(store: LayerStore, make: MakeLayer) -> None:
    rubbish = make("a", published=False)
    with FileLock(store.directory / "lock") as lock:
        assert store.sweep(wait=False) == {}
        assert all(path.exists() for path in rubbish.files)
        sweeping = threading.Thread(target=store.sweep)
        sweeping.start()
        sweeping.join(0.2)
        assert sweeping.is_alive()
        lock.release()
        sweeping.join(30)
    assert left(store) == set()
    assert store.sweep(wait=False) == {}


def test_files_of_a_record_that_cannot_be_read_now_are_not_taken_for_rubbish(
    store: LayerStore, make: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make("a")

    def refuse(path: Path) -> Any:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr("aibemu.layers.store.read_json", refuse)
    assert store.get(made.id) is None and store.stored() == []
    for clean in (store.sweep, store.leftovers, lambda: store.prune(NOTHING, NOW)):
        with pytest.raises(OSError, match="Too many open files"):
            clean()
    monkeypatch.undo()
    assert store.get(made.id) == made


# What steps said


def with_said(store: LayerStore, name: str, *disks: str, behind: Layer | None = None, used: float = 0.0) -> Layer:
    """A layer whose own step said a block of text; what those said that the one `behind` it holds, it has as well."""
    made = layer(store, name, *disks, published=False, past=behind.chain if behind else {})
    made = replace(made, said=written(made, "x" * (BLOCK - 1000), behind=behind))
    store.publish(made)
    os.utime(record(store, made), (NOW.timestamp() - used, NOW.timestamp() - used))
    return made


def test_what_a_step_said_counts_for_the_first_layer_that_has_it_and_stays_for_the_last(store: LayerStore) -> None:
    first = with_said(store, "a", "disk-a", used=20)
    second = with_said(store, "b", "disk-a", "disk-b", behind=first, used=10)
    assert {one.layer.id[0]: one.size for one in store.stored()} == {"a": 3 * BLOCK, "b": 3 * BLOCK}
    gone = store.prune(Bound(size=5 * BLOCK, age=timedelta(days=1)), NOW)
    assert (ids(gone.layers), gone.freed) == (["a"], BLOCK)  # its memory alone
    assert left(store) == {"disk-a.qcow2", "disk-a.said", "disk-b.qcow2", "disk-b.memory", "disk-b.said"}
    assert sum(one.size for one in store.stored()) == 5 * BLOCK
    assert History(second.said).get(first.id) == said("x" * (BLOCK - 1000))
    store.prune(NOTHING, NOW)
    assert left(store) == set()


def test_what_a_step_said_goes_with_the_layer_that_another_one_took_the_place_of(store: LayerStore) -> None:
    old = with_said(store, "a", "disk-old")
    new = with_said(store, "a", "disk-new")
    store.discard(old)
    assert store.get(new.id) == new
    store.sweep()
    assert left(store) == {"disk-new.qcow2", "disk-new.memory", "disk-new.said"}
    store.discard(new)
    assert len(store.sweep()) == 3 and left(store) == set()


def test_what_is_said_of_a_layer_that_a_machine_is_on_stays_without_a_record(store: LayerStore) -> None:
    first = with_said(store, "a", "disk-a")
    (store.directory.parent / "machine").hardlink_to(first.files[0])
    store.forget(first.id)
    assert store.sweep() == {}
    second = with_said(store, "b", "disk-a", "disk-b", behind=first)
    (store.directory.parent / "machine").unlink()
    assert {path.name for path in store.sweep()} == {"disk-a.memory"}
    assert set(second.said.values()) == {store.files / "disk-a.said", store.files / "disk-b.said"}
    assert all(path.is_file() for path in second.files)


def test_a_layer_is_as_good_without_what_its_steps_said(store: LayerStore) -> None:
    first = with_said(store, "a", "disk-a")
    first.said[first.id].unlink()
    second = with_said(store, "b", "disk-a", "disk-b", behind=first)  # published all the same
    assert store.get(first.id) == first and store.get(second.id) == second
    assert store.prune(NO_BOUND, NOW) == Pruned(layers=[], freed=0)


def test_no_record_names_what_a_step_said_before_that_is_on_the_disk(
    store: LayerStore, make: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make("a", published=False)
    made = replace(made, said=written(made, "one"))
    synced: list[Path] = []
    monkeypatch.setattr("aibemu.layers.store.fsync", lambda path: synced.append(path))
    monkeypatch.setattr("aibemu.layers.store.write_private_json", lambda *_: synced.append(Path("record")))
    store.publish(made)
    assert synced == [*made.files, store.files, Path("record")]
    assert made.said[made.id].name == "disk-a.said" and made.said[made.id].stat().st_mode & 0o777 == 0o400


def test_files_of_an_earlier_aibemu_with_the_whole_history_are_swept(store: LayerStore, make: MakeLayer) -> None:
    made = make("a")
    (store.files / "disk-a.history").write_text("{}")
    value = json.loads(record(store, made).read_text())
    del value["said"]
    record(store, made).write_text(json.dumps(value | {"version": 2, "history": "disk-a.history"}))
    assert store.get(made.id) is None
    store.sweep()
    assert left(store) == set() and not record(store, made).exists()


# Many at once

WORKER = """
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from aibemu.layers.store import Bound, LayerStore
from tests.source import ROOT
from tests.unit.layers.conftest import NOW, frozen_by_a_machine, written
store, name = LayerStore(Path(sys.argv[1])), sys.argv[2]
for turn in range(15):
    made, link = frozen_by_a_machine(store, name, f"disk-{name}{turn}")
    made = replace(made, said=written(made, name * 1000))
    store.sweep(wait=turn % 2 == 0)
    store.publish(made)
    link.unlink()
    store.prune(Bound(size=1 << 60, age=timedelta(days=9999)), NOW)
    assert store.get(made.id) == made and all(path.is_file() for path in made.files), turn
"""


def test_two_processes_publish_and_prune_at_once(tmp_path: Path) -> None:
    workers = [start_worker(tmp_path / "layers", name) for name in "ab"]
    errors = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
    store = LayerStore(tmp_path / "layers")
    assert sorted(ids(store.stored())) == ["a", "b"]
    store.prune(NO_BOUND, NOW)
    assert left(store) == {f"disk-{name}14.{kind}" for name in "ab" for kind in ("qcow2", "memory", "said")}


def start_worker(folder: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), name], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def test_a_name_that_no_file_can_have_costs_its_record_alone(store: LayerStore) -> None:
    value = json.loads(json.dumps(layer(store, "a").as_json()))
    with pytest.raises(ValueError, match="too long"):
        Layer.from_json(value | {"memory": "m" * 300}, Path("/x"))
