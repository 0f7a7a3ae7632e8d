"""Logging in to a machine that comes up: what ends the wait, with which words, and what is kept of it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.clock import Deadline
from aibemu.communicators import Access, Credentials, LoginHopeless, Refusal
from aibemu.communicators.factory import Watch
from aibemu.engine.machines.logins import MOST_REFUSALS
from aibemu.engine.machines.progress import Progress
from aibemu.engine.machines.starting import Started
from aibemu.engine.machines.watchdog import Watchdog
from aibemu.errors import ProvisionFailed
from aibemu.events import Kind
from aibemu.hypervisor import ConsolePart
from aibemu.testing.system import FakeSystem
from tests.unit.engine.test_failing_phases import FakeMachine, context


class Connector:
    """Refuses logins until nobody waits any more, or says at once that it is of no use."""

    title = "SSH"

    def __init__(self, deadline: Deadline, hopeless: LoginHopeless | None = None) -> None:
        self.deadline, self.hopeless, self.tries = deadline, hopeless, 0
        # What happens before a try, by its number.
        self.before: dict[int, Any] = {}

    def connect(self, access: Access, *, deadline: Deadline, watch: Watch) -> Any:
        if self.hopeless is not None:
            raise self.hopeless
        while True:
            self.tries += 1
            self.before.get(self.tries, lambda: None)()
            watch.alive()
            watch.on_refused(Refusal(count=self.tries, seconds=5.0 * self.tries, answer="it refused u: no such key"))
            self.deadline.sleep(5.0)


class Lab:
    def __init__(self, folder: Path, hopeless: LoginHopeless | None = None) -> None:
        this = context(folder)
        services, self.said = this.services, this.said
        services.driver.communicator = lambda *_: None
        machine: Any = FakeMachine(slow=1000)
        self.deadline = Deadline(clock=this.clock).within(3600)
        self.connector = Connector(self.deadline, hopeless)
        unused: Any = None
        self.console = b""
        machine.console = lambda since=0: ConsolePart(start=since, data=self.console[since:])
        self.started = Started(
            machine=machine, identity=unused, system=FakeSystem(), connector=self.connector,  # type: ignore[arg-type]
            access=Access(communicator="ssh", host="h", port=1, credentials=Credentials(user="u")), platform=None,
            watchdog=Watchdog(machine, "build", services, system=FakeSystem()), folder=folder, since=0.0,
        )  # fmt: skip
        progress = Progress(services, machine, "build", FakeSystem().boot_signs)
        self.started.progress = self.started.watchdog.observe = progress

    def say(self, text: bytes) -> None:
        self.console += text

    def lost(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = [fields for kind, fields in self.said if kind is Kind.MACHINE_LOST]
        assert len(found) == 1
        return found[0]


def test_what_can_never_be_logged_in_to_ends_at_once_with_the_reason(tmp_path: Path) -> None:
    hopeless = LoginHopeless("no cipher in common", details=["the server offers: x"], hint="allow another")
    lab = Lab(tmp_path, hopeless)
    with pytest.raises(ProvisionFailed, match=r"no cipher in common \(build machine\)") as caught:
        lab.started.connect(lab.deadline)
    assert caught.value.hint == "allow another" and caught.value.details[0] == "the server offers: x"
    assert lab.lost()["why"] == "no cipher in common"


def test_a_key_that_is_refused_after_the_first_boot_ends_the_wait(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.connector.before = {10: lambda: lab.say(b"up\n")}
    with pytest.raises(ProvisionFailed, match="waiting is of no use: it refused u: no such key") as caught:
        lab.started.connect(lab.deadline)
    # Nine while the first boot went on, then some more.
    assert lab.connector.tries == 9 + MOST_REFUSALS
    assert caught.value.hint == FakeSystem.advice.refused
    assert "no such key" in lab.lost()["why"]


def test_the_console_of_a_machine_that_is_destroyed_is_kept(tmp_path: Path) -> None:
    this = context(tmp_path)
    capable = SimpleNamespace(screenshots=False, wires=False, boots_guests=True)
    this.services.driver.capabilities = lambda: capable
    machine: Any = FakeMachine()
    machine.console = lambda since=0: ConsolePart(start=0, data=b"login: ")
    this.state.fleet.machine_made("build", machine)
    this.state.fleet.release("build")
    assert machine.destroyed
    assert (this.services.run.console / "build.log").read_bytes() == b"login: "


@pytest.mark.parametrize("error", [ProvisionFailed("gone"), OSError("full"), ValueError("a bug")], ids=repr)
def test_a_console_that_cannot_be_read_keeps_no_machine(tmp_path: Path, error: Exception) -> None:
    this = context(tmp_path)
    this.services.driver.capabilities = lambda: SimpleNamespace(boots_guests=True)
    machine: Any = FakeMachine()

    def broken(since: int = 0) -> Any:
        raise error

    machine.console = broken
    this.state.fleet.machine_made("build", machine)
    with pytest.raises(ValueError) if isinstance(error, ValueError) else nullcontext():
        this.state.fleet.release("build")
    assert machine.destroyed
