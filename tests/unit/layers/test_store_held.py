"""Files that have no record yet are kept by a lock: links of a machine are not everywhere to be had."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.files import copy_sparse
from aibemu.layers.store import LayerStore
from aibemu.testing.contract import MIB, machine_folder, make_folders, make_spec
from aibemu_drivers.scripted import ScriptedDriver
from aibemu_drivers.scripted import machine as machine_module
from tests.source import ROOT
from tests.unit.layers.conftest import layer

PRUNE = """
import sys
from datetime import timedelta
from pathlib import Path
from aibemu.layers.store import Bound, LayerStore
from tests.unit.layers.conftest import NOW
store = LayerStore(Path(sys.argv[1]))
print(len(store.leftovers()))
store.prune(Bound(size=0, age=timedelta(0)), NOW + timedelta(days=1), [])
store.sweep()
"""
HOLD = """
import sys
from pathlib import Path
from aibemu.layers.store import LayerStore
held = LayerStore(Path(sys.argv[1])).hold()
print("held", flush=True)
sys.stdin.read()
"""


def prune_elsewhere(store: LayerStore) -> int:
    """Another process deletes all that it may; the number of files that it takes for leftovers."""
    done = subprocess.run(
        [sys.executable, "-c", PRUNE, str(store.directory)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def files(store: LayerStore) -> set[str]:
    return {path.name for path in store.files.iterdir()}


def test_another_process_leaves_what_is_being_frozen_where_files_cannot_be_linked(
    store: LayerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_module, "link_or_copy", copy_sparse)  # as on two file systems
    base = tmp_path / "base.img"
    base.write_bytes(bytes(MIB))
    driver = ScriptedDriver({"freezes": "yes"}, make_folders(tmp_path))
    machine = driver.create(make_spec("m", machine_folder(tmp_path, "build"), base))
    machine.start()
    held = store.hold()
    frozen = machine.freeze(store.files, forever())
    assert frozen.disks[-1].stat().st_nlink == 1
    assert prune_elsewhere(store) == 0
    assert files(store) == {path.name for path in frozen.files}
    held.release()
    assert prune_elsewhere(store) == 2
    assert files(store) == set()


@pytest.fixture
def holder(store: LayerStore) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the files."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.directory)], cwd=ROOT, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_layer_that_is_pruned_while_a_machine_takes_its_files_keeps_them_until_then(
    store: LayerStore, holder: subprocess.Popen[str]
) -> None:
    made = layer(store, "a")
    prune_elsewhere(store)
    assert store.get(made.id) is None
    assert made.whole
    holder.kill()  # the kernel gives its lock back
    holder.wait()
    assert set(store.sweep()) == set(made.files)


def test_records_that_are_of_no_layer_go_all_the_same(store: LayerStore, holder: subprocess.Popen[str]) -> None:
    made = layer(store, "a")
    broken = store.directory / "records" / "broken.json"
    broken.write_text("{}")
    assert set(store.sweep()) == {broken}
    assert store.get(made.id) == made


def test_many_hold_at_once_and_a_sweep_is_over_before_the_next_holds(store: LayerStore) -> None:
    layer(store, "a", published=False)
    first, second = store.hold(), store.hold()
    assert store.sweep() == store.leftovers() == {}
    first.release()
    assert store.sweep() == {}
    second.release()
    with store._unless_held() as free:
        assert free
        waiting = threading.Thread(target=lambda: store.hold().release())
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(30)
    assert not waiting.is_alive()
    assert len(store.sweep()) == 2
