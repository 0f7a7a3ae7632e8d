"""Run directories: liveness by lock, torn records, ids by prefix."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from aibemu.errors import NotFoundError
from aibemu.files import FileLock, remove, write_private_json
from aibemu.runs.store import Run, RunStore
from aibemu.views.ndjson import NdjsonView


def test_a_new_run_is_alive_until_its_lock_is_released(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    run, lock = store.create()
    assert Run(run.directory).alive()
    lock.release()
    assert not run.alive()
    assert [found.id for found in store.runs()] == [run.id]


def test_get_by_prefix(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for name in ("aa11", "aa22"):
        (tmp_path / name).mkdir()
    assert store.get("aa1").id == "aa11"
    for text, words in (("aa", "fits 2 runs"), ("zz", "no run"), ("", "no run")):
        with pytest.raises(NotFoundError, match=words):
            store.get(text)


def test_any_prefix_of_a_record_reads(tmp_path: Path) -> None:
    run = Run(tmp_path)
    whole = [
        {"v": 1, "seq": 1, "at": "t", "run": "r", "kind": "notice", "level": "note", "message": "é"},
        {"v": 1, "seq": 2, "at": "t", "run": "r", "kind": "run.finished", "state": "Succeeded"},
    ]
    text = "".join(json.dumps(event) + "\n" for event in whole).encode()
    for cut in range(len(text) + 1):
        run.events_file.write_bytes(text[:cut])
        assert len(list(run.events())) <= text[:cut].count(b"\n") + 1
    assert run.finished()


def test_unknown_kinds_from_a_newer_aibemu_are_skipped(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.events_file.write_text('{"v": 2, "seq": 1, "at": "t", "run": "r", "kind": "brand.new"}\n')
    assert list(run.events()) == []


def test_a_run_that_a_sweep_takes_for_dead_while_it_is_born_is_born_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = FileLock.acquire
    taken: list[Path] = []

    def late(lock: FileLock, **how: bool) -> bool:
        held = acquire(lock, **how)
        if not taken:
            taken.append(lock.path.parent)
            remove(lock.path.parent)
        return held

    monkeypatch.setattr(FileLock, "acquire", late)
    run, lock = RunStore(tmp_path).create()
    monkeypatch.undo()
    assert run.alive()
    assert list(tmp_path.iterdir()) == [run.directory]
    lock.release()


def test_two_that_look_at_a_run_do_not_take_each_other_for_its_builder(tmp_path: Path) -> None:
    run, lock = RunStore(tmp_path).create()
    lock.release()
    other = run.lock
    assert other.acquire(blocking=False, shared=True)
    assert not run.alive()
    other.release()
    assert lock.acquire()
    assert run.alive()
    lock.release()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_steers_a_run_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """And nobody else may put a file of theirs in the place of one of the run's."""
    before = os.umask(umask)
    try:
        run, lock = RunStore(tmp_path / "home" / "runs").create()
        lock.release()
        run.request_cancel()
        run.answer("retry")
        run.leave_mark()
        write_private_json(run.request_file, {})
        NdjsonView(run.events_file).close()
        run.note_end()
    finally:
        os.umask(before)
    steering = (run.cancel_file, run.answer_file, run.entered_file, run.request_file)
    assert {stat.S_IMODE(file.stat().st_mode) for file in steering} == {0o600}
    for path in (run.directory, run.directory.parent, run.directory.parent.parent, *run.directory.iterdir()):
        assert not path.stat().st_mode & 0o022, path
    # What is read only may be read by those whom the umask lets.
    assert stat.S_IMODE(run.events_file.stat().st_mode) == 0o644 & ~umask
