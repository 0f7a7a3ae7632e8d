from __future__ import annotations

import json
from pathlib import Path

import pytest

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Credentials
from aibemu.errors import Expired, UsageError
from aibemu.hypervisor import Level, Machine, MachineEventKind, MachineState
from aibemu.systems.linux.boot_id import boot_id
from aibemu.testing.clock import FakeClock
from aibemu.testing.contract import MIB, make_folders, make_spec
from aibemu_drivers.scripted import ScriptedDriver


class Played:
    """A started machine, and its communicator."""

    def __init__(self, scratch: Path, script: str = "") -> None:
        (scratch / "guest.yaml").write_text(script)
        (scratch / "base.img").write_bytes(bytes(MIB))
        self.driver = ScriptedDriver({"script": str(scratch / "guest.yaml")}, make_folders(scratch))
        self.machine: Machine = self.driver.create(make_spec("run-build", scratch / "m", scratch / "base.img"))
        self.machine.start()
        self.clock = FakeClock()
        self.deadline = Deadline(clock=self.clock)
        self.login = Credentials(user="packer", key_file=scratch / "key")

    def talk(self) -> Communicator:
        made = self.driver.communicator(self.machine, self.login, self.deadline.within(600))
        assert made is not None
        return made


def test_the_transcript_holds_what_would_have_run(tmp_path: Path) -> None:
    played = Played(tmp_path, "- {match: nginx, exit: 7}")
    talk = played.talk()
    talk.run("sh -e", deadline=played.deadline, stdin="apt-get install nginx # ü\n".encode())
    talk.write(b"data", "/tmp/x", deadline=played.deadline, mode=0o600)
    lines = (tmp_path / "m/transcript.ndjson").read_text(encoding="utf-8").splitlines()
    first, second = (json.loads(line) for line in lines)
    assert (first["op"], first["command"], first["stdin"], first["exit"]) == (
        "run", "sh -e", "apt-get install nginx # ü\n", 7,
    )  # fmt: skip
    assert (second["op"], second["destination"], second["mode"], second["text"]) == ("upload", "/tmp/x", "0600", "data")


def test_a_transcript_can_outlive_its_machine(tmp_path: Path) -> None:
    (tmp_path / "base.img").write_bytes(bytes(MIB))
    driver = ScriptedDriver({"transcript": str(tmp_path / "told")}, make_folders(tmp_path))
    machine = driver.create(make_spec("run-build", tmp_path / "m", tmp_path / "base.img"))
    machine.start()
    deadline = Deadline(clock=FakeClock())
    talk = driver.communicator(machine, Credentials(user="packer", key_file=tmp_path / "key"), deadline)
    assert talk is not None
    talk.run("true", deadline=deadline)
    machine.destroy()
    told = [json.loads(line) for line in (tmp_path / "told/run-build.ndjson").read_text(encoding="utf-8").splitlines()]
    assert [entry["command"] for entry in told] == ["true"]


def test_a_reboot_is_a_reset_and_another_boot_id(tmp_path: Path) -> None:
    played = Played(tmp_path, "- {match: reboot, reboot: true, disconnect: true}")
    talk = played.talk()
    before = boot_id(talk, played.deadline)
    assert talk.run("reboot", deadline=played.deadline).disconnected
    assert played.machine.events() == (MachineEventKind.RESET,)
    assert played.machine.state() is MachineState.RUNNING
    assert boot_id(talk, played.deadline) != before


def test_the_boot_id_is_the_same_for_another_process(tmp_path: Path) -> None:
    played = Played(tmp_path)
    other = ScriptedDriver({}, make_folders(tmp_path))
    found = other.find(tmp_path / "m")
    assert found is not None
    talk = other.communicator(found, played.login, played.deadline)
    assert talk is not None
    assert boot_id(talk, played.deadline) == boot_id(played.talk(), played.deadline)


def test_the_power_button_stops_it(tmp_path: Path) -> None:
    played = Played(tmp_path)
    played.machine.press_power_button()
    assert played.machine.state() is MachineState.STOPPED
    assert played.machine.events() == (MachineEventKind.SHUTDOWN,)
    with pytest.raises(ConnectionError):
        boot_id(played.talk(), played.deadline)


def test_a_boot_that_hangs_waits_for_the_deadline(tmp_path: Path) -> None:
    played = Played(tmp_path, "boot: {fail: hang, console: [Booting from Hard Disk...]}")
    with pytest.raises(Expired):
        played.talk()
    assert played.clock.monotonic() == 600
    assert played.machine.console().text == "Booting from Hard Disk...\n"
    assert played.machine.state() is MachineState.RUNNING


@pytest.mark.parametrize(
    ("fail", "state", "events"),
    [
        ("panic", MachineState.RUNNING, (MachineEventKind.PANIC,)),
        ("stuck", MachineState.RUNNING, ()),
        ("off", MachineState.STOPPED, (MachineEventKind.SHUTDOWN,)),
    ],
)
def test_other_boot_failures_are_seen_at_once(
    tmp_path: Path, fail: str, state: MachineState, events: tuple[MachineEventKind, ...]
) -> None:
    played = Played(tmp_path, f"boot: {{fail: '{fail}', console: [the end]}}")
    assert played.machine.state() is state
    assert played.machine.events() == events
    assert played.machine.console().text == "the end\n"
    with pytest.raises(ConnectionError):
        boot_id(played.talk(), played.deadline)


def test_a_boot_failure_may_be_of_another_machine(tmp_path: Path) -> None:
    played = Played(tmp_path, "boot: {fail: hang, machine: '-validate$'}")
    assert played.talk().run("true", deadline=played.deadline).ok


def test_check_reads_the_script(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("- {matsch: x}")
    driver = ScriptedDriver({"script": str(file)}, make_folders(tmp_path))
    assert driver.check()[-1].level is Level.ERROR
    with pytest.raises(UsageError, match="matsch"):
        driver.create(make_spec("a", tmp_path / "m", tmp_path / "base.img"))


def test_a_script_that_is_gone_keeps_nobody_from_destroying_its_machine(tmp_path: Path) -> None:
    played = Played(tmp_path, "- {match: x}")
    (tmp_path / "guest.yaml").unlink()
    found = ScriptedDriver(played.driver.options, make_folders(tmp_path)).find(tmp_path / "m")
    assert found is not None and found.state() is MachineState.RUNNING
    found.destroy()
    assert played.machine.state() is MachineState.GONE


def test_its_paths_are_those_of_the_folder_that_they_were_typed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    driver = ScriptedDriver({"script": "guest.yaml", "freezes": "yes"}, make_folders(tmp_path))
    assert driver.options == {"script": str(tmp_path / "guest.yaml"), "freezes": "yes"}
