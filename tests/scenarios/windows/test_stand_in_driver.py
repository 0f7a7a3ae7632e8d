"""The driver `stand-in` itself, asked by cmd lines alone: PowerShell is not started."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.communicators import Access, Communicator, Credentials
from aibemu.communicators.factory import Watch, connector
from aibemu.hardware import Hardware
from aibemu.hypervisor import DriverFolders, MachineEventKind, MachineSpec, MachineState
from aibemu.process_id import ProcessId
from aibemu.systems import load
from aibemu.testing.contract import make_folders, make_spec
from tests.guest_calls import until
from tests.judges import need_engine, pwsh
from tests.scenarios.windows.workshop import make_disk
from tests.stand_in_driver import WINRM, StandInDriver, StandInMachine, guests_processes

RESET, SHUTDOWN = MachineEventKind.RESET, MachineEventKind.SHUTDOWN


class Lab:
    """One machine that runs, and a login."""

    def __init__(self, tmp_path: Path, tests: ProcessId) -> None:
        self.folders: DriverFolders = make_folders(tmp_path)
        self.driver = StandInDriver({"pwsh": str(pwsh()), "tests": tests.mark()}, self.folders)
        make_disk(tmp_path / "base.raw")
        spec = make_spec("run-build", self.folders.runs / "run" / "machines" / "build", tmp_path / "base.raw")
        self.spec: MachineSpec = replace(spec, hardware=Hardware(guest_ports=(WINRM,)), disk_bytes=64 << 20)
        (tmp_path / "secrets").mkdir()
        self.credentials: Credentials = load("Windows").credentials(tmp_path / "secrets", "packer", random.Random(1))
        self.machine = self.driver.create(self.spec)
        self.machine.start()
        self.guest = self.log_in()

    def log_in(self) -> Communicator:
        assert self.driver.communicator(self.machine, self.credentials, forever()) is None
        host, port = self.machine.endpoint(WINRM)
        access = Access(communicator="winrm", host=host, port=port, credentials=self.credentials)
        watch = Watch(generation=lambda: len(self.machine.events()))
        return connector("winrm").connect(access, deadline=forever().within(60), watch=watch)

    def ask(self, line: str) -> str:
        return self.guest.output(line, deadline=forever().within(60))[1].strip()

    def other(self) -> StandInMachine:
        """The machine as another process finds it."""
        found = StandInDriver(self.driver.options, self.folders).find(self.spec.directory)
        assert isinstance(found, StandInMachine)
        return found


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with working(tmp_path, ProcessId.mine()) as made:
        yield made


@contextmanager
def working(folder: Path, tests: ProcessId) -> Iterator[Lab]:
    """tests: the process with which the machine ends."""
    need_engine()
    made = Lab(folder, tests)
    yield made
    made.machine.destroy()
    assert guests_processes(folder) == []


def test_a_machine_restarts_goes_off_and_keeps_its_disk(lab: Lab) -> None:
    assert lab.ask("echo kept> C:\\kept.txt & hostname").startswith("aib")
    lab.ask("shutdown /r /t 0")
    until(lambda: lab.machine.events() == (RESET,))
    lab.guest.reconnect(forever().within(60))
    assert lab.ask("type C:\\kept.txt") == "kept" and lab.other().state() is MachineState.RUNNING
    lab.ask("shutdown /s /t 0")
    until(lambda: lab.other().state() is MachineState.STOPPED)
    assert lab.machine.events() == (RESET, SHUTDOWN)
    with lab.machine.disk() as disk:
        assert b"guest of fixtures/guests" in disk.read_bytes()
    lab.machine.start()
    assert lab.machine.events() == ()
    lab.guest = lab.log_in()
    assert lab.ask("type C:\\kept.txt") == "kept"
    lab.machine.press_power_button()
    until(lambda: lab.machine.events() == (SHUTDOWN,))
    assert lab.machine.state() is MachineState.STOPPED


def test_a_machine_that_is_killed_or_whose_directory_is_gone_has_no_process(lab: Lab) -> None:
    found = lab.other()
    process = found.process()
    assert process is not None and process.is_alive()
    lab.other().kill()
    assert not process.is_alive() and lab.machine.state() is MachineState.STOPPED and lab.machine.events() == ()
    lab.machine.start()
    lab.guest = lab.log_in()
    process = lab.other().process()
    assert process is not None
    shutil.rmtree(lab.spec.directory, ignore_errors=True)
    until(lambda: not process.is_alive())


def test_a_machine_ends_with_the_tests(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as tests:
        of_tests = ProcessId.of(tests.pid)
        assert of_tests is not None and tests.stdin is not None
        with working(tmp_path, of_tests) as lab:
            process = lab.other().process()
            assert process is not None and process.is_alive()
            tests.stdin.write(b"\n")
            tests.stdin.close()
            tests.wait()
            until(lambda: not process.is_alive())
