"""The process of a TPM that is missing, ends, hangs or is left behind. What plays it: this Python, called swtpm."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.errors import BuildCancelled, HostNotReady, ProvisionFailed
from aibemu.testing.contract import make_spec
from aibemu_drivers.qemu import tpm as module
from aibemu_drivers.qemu.leftovers import find_left_processes
from aibemu_drivers.qemu.tpm import Tpm, check_tpm, left_tpms

# Run in place of swtpm, for its first argument is `socket`, a file of the machine's directory.
LISTENS = """
import socket, sys, time
path = next(word for word in sys.argv if "unixio" in word).split("path=")[1].partition(",mode")[0]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
"""
ANSWERS = LISTENS + "while True:\n    listener.accept()[0].sendall(bytes.fromhex('{answer}'))"
ENDS = "import sys; sys.exit('no such state: 7')"
HANGS = "import time; time.sleep(600)"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "swtpm").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    directory = tmp_path / "run" / "machines" / "build"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def tpm(machine: Path) -> Iterator[Tpm]:
    tpm = Tpm("run-build", machine, machine)
    yield tpm
    tpm.end()


def played(machine: Path, program: str) -> None:
    (machine / "socket").write_text(program)


def test_it_answers_and_is_ended_and_gets_nothing_of_ours(
    tpm: Tpm, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIBEMU_TEST_SECRET", "s3cret")
    played(machine, ANSWERS.format(answer="00000000ffff"))
    assert tpm.start(forever()) == machine / "tpm.sock"
    (process,) = tpm.processes()
    assert b"s3cret" not in Path(f"/proc/{process.pid}/environ").read_bytes()
    assert (machine / "tpm").stat().st_mode & 0o777 == 0o700
    tpm.end()
    assert not process.is_alive() and tpm.processes() == []
    tpm.end()


def test_started_again_there_is_one_only(tpm: Tpm, machine: Path) -> None:
    played(machine, ANSWERS.format(answer="00000000"))
    tpm.start(forever())
    (first,) = tpm.processes()
    tpm.start(forever())
    (second,) = tpm.processes()
    assert first != second and not first.is_alive()


@pytest.mark.parametrize(
    ("program", "why", "said"),
    [
        (ENDS, "ended with status 1", "no such state: 7"), (HANGS, "did not answer within 1 s", "swtpm said nothing"),
        (LISTENS + HANGS, "did not answer within 1 s", "swtpm said nothing"),
        (ANSWERS.format(answer="0000000a"), "answered 0000000a", "swtpm said nothing"),
        (ANSWERS.format(answer=""), "did not answer within 1 s", "swtpm said nothing"),
    ],
    ids=["ends", "hangs", "listens and hangs", "refuses", "hangs up"],
)  # fmt: skip
def test_one_that_goes_wrong_is_a_clear_error_and_nothing_is_left(
    tpm: Tpm, machine: Path, monkeypatch: pytest.MonkeyPatch, program: str, why: str, said: str
) -> None:
    monkeypatch.setattr(module, "START_BOUND", 1.0 if "1 s" in why else 20.0)
    played(machine, program)
    with pytest.raises(ProvisionFailed, match=why) as failed:
        tpm.start(forever())
    assert said in failed.value.details[-1]
    assert tpm.processes() == []


def test_the_builds_end_ends_the_wait(tpm: Tpm, machine: Path) -> None:
    played(machine, HANGS)
    deadline = forever()
    deadline.cancel.cancel("by a test")
    with pytest.raises(BuildCancelled):
        tpm.start(deadline)
    assert tpm.processes() == []


def test_a_missing_one_names_its_package(machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import shutil

    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(HostNotReady, match="swtpm is not installed") as failed:
        check_tpm(make_spec("m", machine, tmp_path / "b.img"))
    assert failed.value.commands == ("sudo apt-get install --yes swtpm",)


def test_a_folder_that_it_cannot_be_told_is_refused(machine: Path, tmp_path: Path) -> None:
    with pytest.raises(ProvisionFailed, match="comma"):
        check_tpm(make_spec("m", tmp_path / "a,b", tmp_path / "b.img"))


def test_one_that_is_left_behind_is_found_and_ended(tpm: Tpm, machine: Path, tmp_path: Path) -> None:
    played(machine, ANSWERS.format(answer="00000000"))
    tpm.start(forever())
    (process,) = tpm.processes()
    folder = tmp_path / "run" / "machines"
    assert list(left_tpms(folder)) == [(machine, machine, process)]
    assert list(left_tpms(tmp_path / "run" / "mach")) == []
    assert list(find_left_processes(folder, known={machine})) == []
    (left,) = find_left_processes(folder, known=())
    assert (left.id, left.directory) == ("build", machine)
    left.destroy()
    assert not process.is_alive() and not machine.exists()
