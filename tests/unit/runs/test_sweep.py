"""What a dead process leaves, and what the next command makes of it; real kills are in tests/e2e/test_crash.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aibemu.artifacts.fetcher import Fetcher
from aibemu.clock import Deadline, SystemClock
from aibemu.events import RunState
from aibemu.files import temporary_folder
from aibemu.layers.store import LayerStore
from aibemu.paths import Home
from aibemu.process_id import ProcessId, boot_id
from aibemu.reports.fold import fold
from aibemu.runs.leftovers import find_suspects
from aibemu.runs.store import RunStore
from aibemu.runs.sweep import sweep
from tests.unit.layers.conftest import layer


@pytest.fixture(scope="module")
def dead() -> int:
    """The id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def sleeper() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def dead_run(home: Home, targets: list[dict[str, str]], pid: int) -> Path:
    """A run whose record has a start and no end, and whose lock nobody holds."""
    run, lock = RunStore(home.runs).create()
    lock.release()
    started = {
        "v": 1, "seq": 1, "at": "2026-11-23T10:00:00.000000Z", "run": run.id, "kind": "run.started",
        "driver": "scripted", "pid": pid, "targets": targets,
    }  # fmt: skip
    run.events_file.write_text(json.dumps(started) + "\n")
    return run.directory


def test_a_dead_run_gets_an_end_and_is_told_once(home: Home, dead: int, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    run = dead_run(home, [{"path": str(outside / "disk.vhd")}], dead)
    halves = [
        run / "outputs" / "vhd" / f".vhd.vhd.{dead}.abcdef.partial", run / f".template.json.{dead}.abcdef.partial",
        outside / f".disk.vhd.{dead}.abcdef.partial",
    ]  # fmt: skip
    others = [outside / f".other.vhd.{dead}.abcdef.partial", outside / f".disk.vhd.{os.getpid()}.abcdef.partial"]
    for path in (*halves, *others, run / "work" / "build" / "key"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    (said,) = sweep(home, SystemClock())

    assert said.startswith(f"run {run.name} had died: cleaned up ")
    assert [path for path in halves if path.exists() or str(path) not in said] == []
    assert [path for path in others if not path.exists()] == []
    assert not (run / "work").exists()
    assert fold(RunStore(home.runs).get(run.name).events()).state == RunState.FAILED.value
    assert sweep(home, SystemClock()) == []


def test_a_living_run_is_left_alone(home: Home) -> None:
    run, lock = RunStore(home.runs).create()
    (run.directory / "work").mkdir()
    assert sweep(home, SystemClock()) == []
    assert run.work.exists()
    lock.release()


def test_half_written_files_of_dead_processes_go_wherever_they_are(home: Home, dead: int, sleeper: int) -> None:
    gone = [
        home.cloud / "subscriptions" / f".resource.json.{dead}.0a1b2c.partial",
        home.cache / "artifacts" / f".script.sh.{dead}.0a1b2c.partial",
        home.images / "records" / f".x.json.{dead}.0a1b2c.partial",
    ]
    kept = [
        home.cloud / f".resource.json.{sleeper}.0a1b2c.partial",
        home.cache / "0123456789ab-debian.qcow2.partial",  # a download that `images pull` continues
        home.cache / f".{dead}.partial",
    ]
    for path in (*gone, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    said = sweep(home, SystemClock())
    assert sorted(said) == sorted(f"removed a half-written file of a process that died: {path}" for path in gone)
    assert [path for path in kept if not path.exists()] == []


def as_another(process: ProcessId, name: str) -> str:
    """What a process would have called its temporary file that had this pid before, or in an earlier boot."""
    return f".{name}.{process.mark()}.0a1b2c.partial"


@pytest.mark.parametrize("earlier", [{"started": 5}, {"boot": "01234567-89ab-cdef-0123-456789abcdef"}])
def test_a_pid_that_was_given_again_protects_nothing_of_the_dead(
    home: Home, sleeper: int, tmp_path: Path, earlier: dict[str, Any]
) -> None:
    living = ProcessId.of(sleeper)
    assert living is not None
    before = replace(living, **earlier)
    run = dead_run(home, [{"path": str(tmp_path / "disk.vhd")}], sleeper)
    folders = (home.cloud, home.cache, home.layers / "files", home.images / "records", tmp_path)
    gone, kept = ([folder / as_another(one, "disk.vhd") for folder in folders] for one in (before, living))
    scratch = home.images / "tmp" / f"{before.mark()}.0a1b2c.partial"
    for path in (*gone, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    scratch.mkdir(parents=True)
    sweep(home, SystemClock())
    assert fold(RunStore(home.runs).get(run.name).events()).finished
    assert [path for path in (*gone, scratch) if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []


def test_of_a_name_with_a_pid_only_the_time_tells(home: Home, sleeper: int) -> None:
    """As earlier versions called their files: the process may be the writer unless it started long after."""
    living = ProcessId.of(sleeper)
    assert living is not None
    young, old = (home.cloud / f".{name}.{sleeper}.0a1b2c.partial" for name in ("young", "old"))
    for path, age in ((young, 60), (old, 24 * 3600)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, times=(living.started_at() - age,) * 2)
    assert sweep(home, SystemClock()) == [f"removed a half-written file of a process that died: {old}"]
    assert young.exists()


def test_a_half_stored_image_goes(home: Home, dead: int) -> None:
    work = home.images / "tmp" / f"{dead}.01234567.partial"
    work.mkdir(parents=True)
    (work / "image.qcow2").touch()
    assert sweep(home, SystemClock()) == [f"removed a half-stored image of a process that died: {work}"]
    assert not work.exists()


def test_a_run_that_cannot_be_cleaned_does_not_stop_the_command(home: Home, dead: int) -> None:
    run = dead_run(home, [], dead)
    text = (run / "events.ndjson").read_text().replace('"scripted"', '"no-such-driver"')
    (run / "events.ndjson").write_text(text)
    for _ in range(2):
        (said,) = sweep(home, SystemClock())
        assert said.startswith(f"run {run.name} had died, and could not be cleaned up: ")


def test_a_download_of_a_process_that_was_killed_goes(home: Home, dead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    fetcher = Fetcher(
        cache=home.cache / "artifacts", clock=clock, base=home.cache, mappings=(), deadline=Deadline(clock=clock),
        offline=False, tell=lambda kind, /, **fields: None, mask=str,
    )  # fmt: skip
    monkeypatch.setattr(ProcessId, "mine", lambda: ProcessId(pid=dead, started=1, boot=boot_id()))
    with fetcher._incoming() as partial:
        partial.touch()
        monkeypatch.undo()
        assert sweep(home, clock) == [f"removed a half-written file of a process that died: {partial}"]


def test_a_temporary_folder_of_a_process_that_was_killed_goes(
    home: Home, dead: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder() as own, monkeypatch.context() as patch:
        patch.setattr(ProcessId, "mine", lambda: ProcessId(pid=dead, started=1, boot=boot_id()))
        with temporary_folder() as left:
            patch.undo()
            (left / "secret").touch()
            (tmp_path / left.name.replace(".partial", ".txt")).touch()
            linked = tmp_path / f".aibemu.{dead}-1-{boot_id()[:8]}.0a1b2c.partial"
            linked.symlink_to(own)
            assert left.stat().st_mode & 0o777 == 0o700
            assert sweep(home, SystemClock()) == []
            assert not left.exists() and own.is_dir() and linked.is_symlink()


def test_half_a_copy_beside_a_path_with_brackets_goes(home: Home, dead: int, tmp_path: Path) -> None:
    dead_run(home, [{"path": str(tmp_path / "disk[1].vhd")}], dead)
    half = tmp_path / f".disk[1].vhd.{dead}.abcdef.partial"
    half.touch()
    sweep(home, SystemClock())
    assert not half.exists()


def test_a_run_whose_lock_cannot_be_opened_is_another_users_and_not_dead(
    home: Home, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = dead_run(home, [], dead)

    def refuse(*_: object, **__: object) -> bool:
        raise PermissionError(13, "Permission denied", "run.lock")

    monkeypatch.setattr("aibemu.files.FileLock.acquire", refuse)
    (said,) = sweep(home, SystemClock())
    assert "was left alone: whether it still runs cannot be told" in said and run.exists()


def test_files_that_may_not_be_touched_do_not_stop_the_command(
    home: Home, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = dead_run(home, [], dead)
    (run / "work").mkdir()

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("aibemu.runs.sweep.remove", refuse)
    assert any("Permission denied" in said for said in sweep(home, SystemClock()))


def test_to_find_nothing_is_cheap_and_reads_no_record(home: Home) -> None:
    """40 runs that are over cost less than 50 ms, however much their steps printed."""
    for _ in range(40):
        run, lock = RunStore(home.runs).create()
        lock.release()
        (run.directory / "events.ndjson").mkdir()  # whoever reads it fails
        run.note_end()
    began = time.process_time()  # of this process alone: the machine may be busy
    assert not find_suspects(home)
    assert time.process_time() - began < 0.05
    assert sweep(home, SystemClock()) == []


def test_an_old_run_that_is_over_is_read_once(home: Home, dead: int) -> None:
    directory = dead_run(home, [], dead)
    end = {"v": 1, "seq": 2, "at": "2026-11-23T10:00:00.000000Z", "run": directory.name, "kind": "run.finished"}
    with (directory / "events.ndjson").open("a") as stream:
        stream.write(json.dumps(end) + "\n")
    assert find_suspects(home).runs
    assert sweep(home, SystemClock()) == []
    assert not find_suspects(home)


def test_half_a_copy_for_out_goes_though_the_build_was_over(home: Home, dead: int, tmp_path: Path) -> None:
    directory = dead_run(home, [], dead)
    end = {"v": 1, "seq": 2, "at": "2026-11-23T10:00:00.000000Z", "run": directory.name, "kind": "run.finished"}
    with (directory / "events.ndjson").open("a") as stream:
        stream.write(json.dumps(end) + "\n")
    out = tmp_path / "my out"
    (out / "vhd").mkdir(parents=True)
    (directory / "out").write_text(str(out))
    halves = [out / f".customization.log.{dead}.abcdef.partial", out / "vhd" / f".disk.vhd.{dead}.abcdef.partial"]
    others = [out / ".mine.partial", out / "vhd" / "disk.vhd"]
    for path in (*halves, *others):
        path.touch()
    (said,) = sweep(home, SystemClock())
    assert said.startswith(f"run {directory.name} had died while it copied its outputs: cleaned up the half-written")
    assert [path.exists() for path in (*halves, *others)] == [False, False, True, True]
    assert sweep(home, SystemClock()) == []


def test_a_damaged_record_does_not_cost_what_the_run_made(home: Home, dead: int) -> None:
    directory = dead_run(home, [], dead)
    (directory / "events.ndjson").write_bytes(b"\0\xff" * 500)
    made = directory / "outputs" / "vhd" / "disk.vhd"
    made.parent.mkdir(parents=True)
    made.touch()
    (said,) = sweep(home, SystemClock())
    assert said.startswith(f"run {directory.name} had died")
    assert made.exists() and RunStore(home.runs).get(directory.name).finished()
    assert sweep(home, SystemClock()) == []


def test_files_of_layers_that_were_never_finished_go(home: Home, dead: int) -> None:
    store = LayerStore(home.layers)
    kept, _ = layer(store, "a"), layer(store, "b", published=False)
    _run, lock = RunStore(home.runs).create()
    assert sweep(home, SystemClock()) == []  # it lives: they may be its own
    lock.release()
    dead_run(home, [], dead)
    assert sweep(home, SystemClock())[-1] == f"removed files that belonged to no layer: 128 KiB in {home.layers}"
    assert set(store.files.iterdir()) == set(kept.files)
