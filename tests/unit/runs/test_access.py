"""Which machine of a run can be got into, and what is said when there is none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu import plugins
from aibemu.clock import Deadline, SystemClock
from aibemu.communicators import Access, Credentials
from aibemu.communicators.factory import Watch
from aibemu.errors import HostNotReady, NotFoundError, UsageError
from aibemu.events import Kind
from aibemu.fabric.handle import Platform
from aibemu.files import FileLock
from aibemu.hypervisor import Capabilities, Firmware, MachineState
from aibemu.paths import Home
from aibemu.runs import access as module
from aibemu.runs.access import (
    Reach,
    Unreachable,
    access_of,
    await_machine,
    await_server,
    connect,
    find_connector,
    find_machine,
)
from aibemu.runs.store import Run, RunStore
from aibemu.telemetry import Telemetry
from aibemu.views.ndjson import NdjsonView

ACCELERATOR = {"name": "tcg", "reason": "no KVM", "slowness": 5.0}


@dataclass
class FakeMachine:
    """A machine of which only its state can be asked: anything else would be QEMU's monitor."""

    current: MachineState

    def state(self) -> MachineState:
        return self.current


@dataclass
class FakeDriver:
    """Has the machines that a test puts in, by role."""

    machines: dict[str, FakeMachine] = field(default_factory=dict)

    def capabilities(self) -> Capabilities:
        return Capabilities(boots_guests=True, screenshots=False, firmwares=frozenset(Firmware))

    def find(self, directory: Path) -> FakeMachine | None:
        return self.machines.get(directory.name)


class Story:
    """A run whose record a test writes."""

    def __init__(self, home: Home, driver: str = "fake") -> None:
        self.run, self.lock = RunStore(home.runs).create()
        self.view = NdjsonView(self.run.events_file)
        self.chain = Telemetry(self.run.id, [self.view], SystemClock(), lambda value: value)
        self.chain.emit(Kind.RUN_STARTED, template="demo", driver=driver, accelerator=ACCELERATOR)

    def started(self, role: str, port: int = 40022, **more: Any) -> Story:
        fields = {"endpoint": f"127.0.0.1:{port}", "user": "packer", "key": f"/keys/{role}"} | more
        self.chain.emit(Kind.MACHINE_STARTED, machine=self.name(role), role=role, **fields)
        return self

    def said(self, kind: Kind, role: str, **fields: Any) -> Story:
        self.chain.emit(kind, machine=self.name(role), **fields)
        return self

    def ended(self, state: str = "Failed") -> Run:
        self.chain.emit(Kind.RUN_FINISHED, state=state, sub_state="", message="m", seconds=1.0, error=None)
        return self.left()

    def left(self) -> Run:
        """Its process is no more."""
        self.view.close()
        self.lock.release()
        return self.run

    def name(self, role: str) -> str:
        return f"{self.run.id}-{role}"


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    made = FakeDriver()
    real = plugins.load

    def load(group: str, name: str) -> Any:
        return (lambda options, folders: made) if name == "fake" else real(group, name)

    monkeypatch.setattr(plugins, "load", load)
    return made


def run_machines(driver: FakeDriver, **states: MachineState) -> None:
    driver.machines = {role: FakeMachine(state) for role, state in states.items()}


RUNNING, STOPPED = MachineState.RUNNING, MachineState.STOPPED


def test_the_machine_that_runs_and_how_to_get_in(home: Home, driver: FakeDriver) -> None:
    story = Story(home).started("build", 40022, user="packer").said(Kind.MACHINE_READY, "build")
    run_machines(driver, build=RUNNING)
    found = find_machine(home, story.run)
    assert (found.role, found.access.host, found.access.port) == ("build", "127.0.0.1", 40022)
    assert found.access.credentials == Credentials(user="packer", key_file=Path("/keys/build"))
    assert (found.ready, found.slowness) == (True, 5.0)
    assert str(found) == f"the build machine of run {story.run.id}"
    story.left()


def test_the_record_says_by_which_communicator(home: Home, driver: FakeDriver) -> None:
    """Endpoint, user and key are there for readers of earlier versions."""
    access = {
        "communicator": "ssh", "host": "127.0.0.2", "port": 5986, "user": "glenda", "password_file": "/secrets/p",
        "certificate": "ab" * 32,
    }  # fmt: skip
    story = Story(home).started("build", access=access, key="")
    run_machines(driver, build=RUNNING)
    found = find_machine(home, story.ended())
    assert found.access.as_json() == access
    assert found.access.credentials.password_file == Path("/secrets/p")
    assert found.connector.title == "SSH"


@pytest.mark.parametrize("access", [{}, {"communicator": "ssh"}, {"communicator": "ssh", "host": "h", "port": "x"}, 7])
def test_an_access_that_is_none_is_not_believed(access: Any) -> None:
    assert access_of({"access": access, "endpoint": "127.0.0.1:1"}) is None


def test_a_machine_that_never_became_ready_can_be_tried(home: Home, driver: FakeDriver) -> None:
    """It was lost for its builder, and still runs."""
    story = Story(home).started("build", 40022).said(Kind.MACHINE_LOST, "build", why="the boot hangs")
    run_machines(driver, build=RUNNING)
    found = find_machine(home, story.ended())
    assert (found.access.port, found.ready) == (40022, True)


@pytest.mark.parametrize(("name", "title"), [(None, "SSH"), ("ssh", "SSH")])
def test_what_gets_in_is_known_before_the_machine_is_looked_for(home: Home, name: str | None, title: str) -> None:
    story = Story(home)
    if name:
        who = {"communicator": name, "host": "127.0.0.1", "port": 1, "user": "u", "key": "/k"}
        story.started("build", access=who)
    assert find_connector(story.ended()).title == title


def test_a_communicator_that_is_not_installed_is_named(home: Home) -> None:
    who = {"communicator": "morse", "host": "127.0.0.1", "port": 1, "user": "u", "password_file": "/p"}
    run = Story(home).started("build", access=who).ended()
    with pytest.raises(NotFoundError, match=r"there is no 'morse' in aibemu\.communicators"):
        find_connector(run)


def test_a_machine_that_was_started_anew_is_where_it_is_now(home: Home, driver: FakeDriver) -> None:
    story = Story(home).started("build", 1).said(Kind.MACHINE_READY, "build").started("build", 2)
    run_machines(driver, build=RUNNING)
    found = find_machine(home, story.run)
    assert (found.access.port, found.ready) == (2, False)
    story.left()


@pytest.mark.parametrize(
    ("kept", "role", "expected"),
    [((), None, "validate"), (("build",), None, "build"), (("build",), "validate", "validate")],
)
def test_of_two_machines_the_one_that_a_person_means(
    home: Home, driver: FakeDriver, kept: tuple[str, ...], role: str | None, expected: str
) -> None:
    story = Story(home).started("build").started("validate")
    for name in kept:
        story.said(Kind.MACHINE_KEPT, name, command="ssh ...")
    run_machines(driver, build=RUNNING, validate=RUNNING)
    assert find_machine(home, story.ended(), role).role == expected


def test_a_validate_machine_that_was_kept_lies_over_a_build_machine_that_is_off(home: Home, driver: FakeDriver) -> None:
    story = Story(home).started("build").started("validate").said(Kind.MACHINE_KEPT, "validate", command="ssh ...")
    run_machines(driver, build=STOPPED, validate=RUNNING)
    run = story.ended()
    assert find_machine(home, run).role == "validate"
    with pytest.raises(NotFoundError, match="has no build machine that runs") as caught:
        find_machine(home, run, "build")
    assert caught.value.hint == "its validate machine does: --role validate"


def test_what_became_of_machines_that_are_no_more(home: Home, driver: FakeDriver) -> None:
    def told(run: Run) -> NotFoundError:
        with pytest.raises(NotFoundError) as caught:
            find_machine(home, run)
        return caught.value

    run = Story(home).started("build").ended()
    error = told(run)
    assert error.message == f"run {run.id} (Failed) has no machine any more"
    assert error.details == ("the build machine was destroyed when the run ended",)
    assert error.commands == (f"aibemu resume {run.id}",) and "--on-error keep" in str(error.hint)

    run = Story(home).started("build").said(Kind.MACHINE_KEPT, "build", command="ssh").ended()
    assert told(run).details == ("the build machine was kept, and has been destroyed since",)
    run_machines(driver, build=STOPPED)
    assert told(run).details == ("the build machine was kept, and is powered off now",)
    driver.machines.clear()

    run = Story(home).started("build").said(Kind.MACHINE_LOST, "build", why="kernel panic").ended()
    assert told(run).details == ("the build machine was lost: kernel panic",)

    run = Story(home).ended()
    assert told(run).message == f"run {run.id} (Failed) has no machine: it ended before there was one"

    run = Story(home).started("build").ended("Succeeded")
    assert told(run).commands == (f"aibemu outputs {run.id}",)

    run = Story(home).started("build").left()
    assert told(run).message == f"run {run.id} (its process died) has no machine any more"


def test_a_run_that_builds_and_has_no_machine_at_the_moment(home: Home, driver: FakeDriver) -> None:
    story = Story(home).started("build").said(Kind.MACHINE_STOPPED, "build", how="power-button")
    run_machines(driver, build=STOPPED)
    with story.chain.phase("distribute"):
        story.chain.emit(Kind.PHASE_STARTED)
    with pytest.raises(NotFoundError, match=r"no machine of run \w+ runs now: it is in phase distribute") as caught:
        find_machine(home, story.run)
    assert caught.value.details == ("the build machine is powered off",)
    assert caught.value.commands == (f"aibemu status {story.run.id}",)
    story.left()


def test_a_run_that_has_only_just_begun(home: Home) -> None:
    run, lock = RunStore(home.runs).create()
    with pytest.raises(NotFoundError, match="runs now"):
        find_machine(home, run)
    lock.release()


def test_a_dry_run_has_nothing_to_log_in_to(home: Home) -> None:
    story = Story(home, driver="dryrun").started("build")
    with pytest.raises(UsageError, match="is a dry run"):
        find_machine(home, story.ended())


def test_guests_that_a_script_plays_cannot_be_logged_in_to(home: Home) -> None:
    story = Story(home, driver="scripted").started("build")
    with pytest.raises(UsageError, match="a script plays"):
        find_machine(home, story.ended())


def test_a_record_that_does_not_say_who_may_log_in(home: Home, driver: FakeDriver) -> None:
    story = Story(home).started("build", user="", key="").said(Kind.MACHINE_KEPT, "build", command="ssh -p 4 x@y")
    run_machines(driver, build=RUNNING)
    with pytest.raises(NotFoundError, match="older aibemu") as caught:
        find_machine(home, story.ended())
    assert caught.value.details == ("get in with: ssh -p 4 x@y",)


class Looks(SystemClock):
    """Does something at each look."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.action()
        return False


def test_a_machine_that_boots_is_waited_for(home: Home, driver: FakeDriver) -> None:
    story = Story(home).started("build")
    run_machines(driver, build=RUNNING)
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 2:
            story.said(Kind.MACHINE_CONNECTED, "build", banner="SSH-2.0-x", seconds=1.0)

    said: list[str] = []
    assert await_machine(home, story.run, None, clock=Looks(look), tell=said.append).ready
    assert (len(looks), said) == (
        2, [f"the build machine of run {story.run.id} is booting: waiting until somebody can log in"],
    )  # fmt: skip
    story.left()


def test_a_boot_that_fails_ends_the_wait(home: Home, driver: FakeDriver) -> None:
    story = Story(home).started("build")
    run_machines(driver, build=RUNNING)
    with pytest.raises(NotFoundError):
        await_machine(home, story.run, None, clock=Looks(driver.machines.clear), tell=lambda text: None)
    story.left()


def test_a_machine_that_was_kept_while_it_booted_is_not_waited_for(home: Home, driver: FakeDriver) -> None:
    run = Story(home).started("build").ended()
    run_machines(driver, build=RUNNING)
    assert not await_machine(home, run, None, clock=Looks(pytest.fail), tell=pytest.fail).ready


@pytest.fixture
def listener() -> Iterator[int]:
    """A port on which somebody takes connections and says nothing, as a hypervisor does whose guest is down."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def reach_at(home: Home, driver: FakeDriver, port: int) -> Reach:
    run = Story(home).started("build", port).ended()
    run_machines(driver, build=RUNNING)
    return find_machine(home, run)


def test_the_guest_fetches_files_from_the_platform_while_that_runs(
    home: Home, driver: FakeDriver, listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach, watched = reach_at(home, driver, listener), list[Watch]()

    class Taker:
        title = "WinRM"

        def connect(self, access: Access, *, deadline: Deadline, watch: Watch) -> None:
            watched.append(watch)

    monkeypatch.setattr(module, "connector", lambda name: Taker())

    def depot() -> object:
        connect(reach, clock=SystemClock(), tell=lambda text: None, on_held=lambda: None)
        return watched[-1].depot

    assert depot() is None, "there was never a platform"
    monkeypatch.setattr(Platform, "find", lambda directory: found(directory))
    alive = [True, False]

    def found(directory: Path) -> Any:
        assert directory == reach.run.platform / "build"
        return SimpleNamespace(alive=lambda: alive.pop(0), depot="the depot")

    assert depot() == "the depot"
    assert depot() is None, "its process has ended"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_a_port_where_nobody_listens_is_said_at_once(home: Home, driver: FakeDriver) -> None:
    port = free_port()
    reach = reach_at(home, driver, port)
    said: list[str] = []
    for get_in in (
        lambda: await_server(reach, clock=SystemClock(), tell=said.append),
        lambda: connect(reach, clock=SystemClock(), tell=said.append, on_held=lambda: None),
    ):
        with pytest.raises(Unreachable, match=f"cannot be logged in to: nothing listens on 127.0.0.1 port {port}"):
            get_in()
    assert said == []


def test_a_guest_that_does_not_answer(
    home: Home, driver: FakeDriver, listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)  # times the slowness of the host that built it
    monkeypatch.setattr(module, "TELL_AFTER", 0.05)
    said: list[str] = []
    with pytest.raises(Unreachable, match="no SSH server answered") as caught:
        await_server(reach_at(home, driver, listener), clock=SystemClock(), tell=said.append)
    assert caught.value.exit_code == 255
    assert len(said) == 1 and said[0].startswith("waiting for the SSH server of the build machine of run ")


def test_a_machine_that_goes_ends_the_wait(home: Home, driver: FakeDriver, listener: int) -> None:
    reach = reach_at(home, driver, listener)
    driver.machines["build"].current = MachineState.GONE
    with pytest.raises(Unreachable, match="does not run any more"):
        await_server(reach, clock=SystemClock(), tell=lambda text: None)


def test_looking_for_a_machine_takes_no_lock(home: Home, driver: FakeDriver) -> None:
    """Who looks must not look like the builder."""
    run = Story(home).started("build").ended()
    run_machines(driver, build=RUNNING)
    lock = FileLock(run.directory / "run.lock")
    assert lock.acquire(blocking=False)
    assert find_machine(home, run).role == "build"
    lock.release()


@pytest.mark.parametrize(
    ("role", "over", "marked"), [("build", False, True), ("validate", False, False), ("build", True, False)]
)
def test_who_gets_into_a_machine_that_is_being_built_leaves_a_mark_before(
    home: Home, driver: FakeDriver, listener: int, monkeypatch: pytest.MonkeyPatch, role: str, over: bool, marked: bool
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    story = Story(home).started(role, listener).said(Kind.MACHINE_READY, role)
    run_machines(driver, **{role: RUNNING})
    if over:
        story.ended()
    for get_in in (
        lambda reach: await_server(reach, clock=SystemClock(), tell=lambda text: None),
        lambda reach: connect(reach, clock=SystemClock(), tell=lambda text: None, on_held=lambda: None),
    ):
        with pytest.raises((Unreachable, HostNotReady)):  # there is no key of this name
            get_in(find_machine(home, story.run))
        assert story.run.entered_file.exists() == marked
        story.run.entered_file.unlink(missing_ok=True)
    if not over:
        story.left()
