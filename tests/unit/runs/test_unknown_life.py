"""A run whose lock cannot be opened is not dead: another user's home, a file system that is read-only here."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.clock import SystemClock
from aibemu.errors import HostNotReady
from aibemu.files import FileLock
from aibemu.paths import Home
from aibemu.runs.kept import destroy_kept
from aibemu.runs.store import Life, Run, RunStore
from aibemu.runs.sweep import sweep

FINISHED = {"kind": "run.finished", "state": "Succeeded", "sub_state": "", "message": "", "error": None, "seconds": 1}


def record(run: Run, *more: dict[str, Any]) -> None:
    started = {"kind": "run.started", "template": "demo", "driver": "qemu", "pid": os.getpid(), "targets": []}
    head = {"v": 1, "at": "2026-11-23T10:00:00.000000Z", "run": run.id}
    lines = [json.dumps(head | {"seq": number} | event) for number, event in enumerate((started, *more), 1)]
    run.events_file.write_text("".join(f"{line}\n" for line in lines))


Refuse = Callable[[Path, int], None]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Have the operating system refuse to open a file: root, as which tests may run, is refused nothing."""
    real, refused = os.open, dict[str, int]()

    def guarded(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        number = refused.get(os.fspath(path))
        if number and not (number == errno.EROFS and flags & os.O_ACCMODE == os.O_RDONLY):
            raise OSError(number, os.strerror(number), os.fspath(path))
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", guarded)
    return lambda path, number: refused.update({os.fspath(path): number})


@pytest.fixture
def run(home: Home) -> Run:
    """One that nobody builds, and whose record has no end."""
    made, lock = RunStore(home.runs).create()
    lock.release()
    record(made)
    (made.work / "build").mkdir(parents=True)
    return made


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOLCK, errno.ESTALE])
def test_a_lock_that_cannot_be_opened_is_no_death(
    home: Home, run: Run, refuse: Refuse, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(run.lock.path, number)
    if number == errno.EROFS:
        monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_RDONLY))
    before = run.events_file.read_text()
    assert run.life() is Life.UNKNOWN and run.alive()
    (said,) = sweep(home, SystemClock())
    assert "died" not in said and "was left alone: whether it still runs cannot be told" in said
    assert str(run.lock.path) in said
    assert run.events_file.read_text() == before and (run.work / "build").is_dir()
    with pytest.raises(HostNotReady, match="cannot be told"):
        run.check_known()


def test_it_is_over_when_its_record_says_so(home: Home, run: Run, refuse: Refuse) -> None:
    record(run, FINISHED)
    refuse(run.lock.path, errno.EACCES)
    assert run.life() is Life.OVER
    assert sweep(home, SystemClock()) == []


def test_a_record_that_cannot_be_read_is_no_death_either(home: Home, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(self: Run) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(self.events_file))

    monkeypatch.setattr(Run, "finished", unreadable)
    (said,) = sweep(home, SystemClock())
    assert " died" not in said and "was not cleaned up: Permission denied" in said


def test_one_that_is_built_is_known_by_a_lock_that_may_only_be_read(home: Home, refuse: Refuse) -> None:
    made, lock = RunStore(home.runs).create()
    record(made)
    refuse(made.lock.path, errno.EROFS)  # to be written: reading it goes well
    assert made.life() is Life.BUILDING
    assert sweep(home, SystemClock()) == []
    lock.release()


def test_one_that_may_only_be_read_and_that_nobody_builds_is_told_as_that(
    home: Home, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's, in a home that everybody may read."""
    real = FileLock.acquire

    def acquire(self: FileLock, *, blocking: bool = True, shared: bool = False) -> bool:
        if not shared:
            raise PermissionError(errno.EACCES, "Permission denied", str(self.path))
        return real(self, blocking=blocking, shared=shared)

    monkeypatch.setattr(FileLock, "acquire", acquire)
    assert run.life() is Life.OVER
    (said,) = sweep(home, SystemClock())
    assert said.startswith(f"run {run.id} is not being built any more, and was not cleaned up: Permission denied")


def test_another_users_run_that_cannot_be_looked_at_does_not_hide_the_others(
    home: Home, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.stat

    def stat(self: Path, **more: Any) -> os.stat_result:
        if self == run.lock.path:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self, **more)

    other, lock = RunStore(home.runs).create()
    lock.release()
    monkeypatch.setattr(Path, "stat", stat)
    assert {one.id for one in RunStore(home.runs).runs()} == {run.id, other.id}


def test_what_needs_to_know_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refuse: Refuse
) -> None:
    from aibemu.cli.main import run as call

    monkeypatch.setenv("AIBEMU_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CI", raising=False)
    made, lock = RunStore(tmp_path / "home" / "runs").create()
    lock.release()
    record(made)
    (made.machines / "build").mkdir(parents=True)
    refuse(made.lock.path, errno.EACCES)
    for words in (["clean", made.id, "--yes"], ["destroy", made.id, "--yes"], ["resume", made.id]):
        assert call(words) == 4, words
        assert "cannot be told" in capsys.readouterr().err, words
    assert call(["clean", "--all", "--yes"]) == 0 and made.directory.is_dir()
    capsys.readouterr()
    assert call(["status", made.id]) == 0
    said = capsys.readouterr()
    assert "cannot be told here" in said.out
    # Verbs that are not about runs do not say it again and again.
    assert said.err.count(f"run {made.id} was left alone") == 1
    for words in (["cache", "list"], ["images", "list"], ["explain", "W31"]):
        assert call(words) == 0 and "left alone" not in capsys.readouterr().err, words
    assert call(["status", "-o", "json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["data"]["runs"]
    assert one["alive"] is None
    with pytest.raises(OSError, match="Permission denied"):
        destroy_kept(Home.at(tmp_path / "home"), made)


@pytest.mark.parametrize("which", ["directory", "events_file"])
def test_of_a_record_that_this_user_may_not_read_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    """Another user's run in a home of several: it is not Running because nobody can read that it has ended."""
    from aibemu.cli.main import run as call

    home, real = Home.at(tmp_path), os.access
    made, lock = RunStore(home.runs).create()
    lock.release()
    record(made, FINISHED)
    refused = getattr(made, which)
    monkeypatch.setattr(os, "access", lambda path, mode: path != refused and real(path, mode))
    monkeypatch.setenv("AIBEMU_HOME", str(tmp_path))
    assert call(["status"]) == 0
    listed = capsys.readouterr().out
    assert "Unknown" in listed and "may not be read by this user" in listed and "Running" not in listed
    for verb in ("status", "logs", "outputs"):
        assert call([verb, made.id]) == HostNotReady.exit_code
        assert f"the record of run {made.id} may not be read by this user" in capsys.readouterr().err
