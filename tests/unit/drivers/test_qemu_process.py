from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.errors import ProvisionFailed
from aibemu.process_id import ProcessId, find_processes
from aibemu.testing.contract import make_spec
from aibemu_drivers.qemu.machine import QemuMachine


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def identity(process: subprocess.Popen[bytes]) -> ProcessId:
    found = ProcessId.of(process.pid)
    assert found is not None
    return found


def test_it_knows_its_own_and_survives_json(child: subprocess.Popen[bytes]) -> None:
    found = identity(child)
    assert found.is_alive()
    assert ProcessId.from_json(found.as_json()) == found


def test_a_signal_ends_it_and_it_is_reaped(child: subprocess.Popen[bytes]) -> None:
    found = identity(child)
    assert found.wait(0.01) is False
    found.send(signal.SIGTERM)
    assert found.wait(10) is True
    assert not Path(f"/proc/{child.pid}").exists()
    found.send(signal.SIGTERM)
    assert found.wait(10) is True


@pytest.mark.parametrize("other", [{"started": 1}, {"boot": "another boot"}])
def test_a_recycled_pid_is_another_process(child: subprocess.Popen[bytes], other: dict[str, str]) -> None:
    recycled = replace(identity(child), **other)  # type: ignore[arg-type]
    assert not recycled.is_alive()
    recycled.send(signal.SIGKILL)
    assert recycled.wait(0) is True
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.1)


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{process.pid}").exists()
    assert ProcessId.of(process.pid) is None
    process.wait()


def test_no_process_is_none() -> None:
    assert ProcessId.of(2**22 + 1) is None


def test_processes_are_found_by_program_and_argument(tmp_path: Path) -> None:
    program = tmp_path / "qemu-system-fake"
    program.symlink_to(sys.executable)
    words = [
        str(program),
        "-c",
        "import sys; print('up', flush=True); sys.stdin.read()",
        f"path={tmp_path}/console.log",
    ]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert find_processes("qemu-system", f"path={tmp_path}/console.log") == [ProcessId.of(process.pid)]
        assert find_processes("qemu-system", f"path={tmp_path}/other") == []
        assert find_processes("virtualbox", f"path={tmp_path}/console.log") == []
    finally:
        process.kill()
        process.communicate()


def machine_of(folder: Path, process: subprocess.Popen[bytes]) -> QemuMachine:
    """A machine whose monitor does not answer any more."""
    record = QemuMachine.first_record(make_spec("m", folder, folder / "base.img"), folder)
    return QemuMachine(folder, record | {"process": identity(process).as_json()}, None)  # type: ignore[arg-type]


def test_a_qemu_that_hangs_up_because_it_ends_is_off_not_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibemu_drivers.qemu.machine.ENDING_BOUND", 30.0)
    ending = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert ending.stdin is not None
    machine = machine_of(tmp_path, ending)
    threading.Timer(0.3, ending.stdin.close).start()  # its end, while it is waited for
    assert machine.events() == ()
    machine.press_power_button()
    assert machine.process is None
    ending.wait()


def test_a_qemu_that_hangs_up_and_stays_is_broken(
    tmp_path: Path, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibemu_drivers.qemu.machine.ENDING_BOUND", 0.1)
    machine = machine_of(tmp_path, child)
    with pytest.raises(ProvisionFailed, match="cannot be reached"):
        machine.events()
    with pytest.raises(ProvisionFailed, match="system_powerdown"):
        machine.press_power_button()
