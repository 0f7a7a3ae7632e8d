"""A restart that a step asks for: how it went is a result, and no wait outlives its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aibemu.clock import CancelToken, Deadline
from aibemu.customizers import Restart
from aibemu.engine.machines.boot import Booted
from aibemu.engine.machines.saving import RestartSaver
from aibemu.errors import BuildCancelled, BuildTimedOut, ProvisionFailed
from aibemu.fabric.identity import Identity
from aibemu.systems.linux.system import LinuxSystem
from aibemu.testing.clock import FakeClock
from aibemu.testing.guest import ScriptedCommunicator, ScriptedMachine
from aibemu.testing.script import Script

RESTARTS = {"match": "^restart$", "reboot": True}
CUT_OFF = {**RESTARTS, "disconnect": True}


class Watch:
    """A watchdog that looks through the eyes of its lab, found anew at each look."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.observe: Callable[[], None] = lambda: None
        self.silent = False

    def __call__(self) -> None:
        self.observe()
        self.lab.watch()

    def connecting(self) -> None:
        self.silent = True

    def answered(self) -> None:
        self.silent = False


class Lab:
    """A guest that is up; `watch` is what its watchdog does at each look."""

    def __init__(self, *rules: dict[str, Any]) -> None:
        self.clock = FakeClock()
        self.machine = ScriptedMachine()
        self.communicator = ScriptedCommunicator(Script.parse(list(rules)), self.machine)
        self.watch: Callable[[], None] = lambda: None
        watchdog: Any = Watch(self)
        unused: Any = None
        self.booted = Booted(
            machine=unused, role="build", identity=Identity(hostname="h", user="u", vm_id=unused, mac=""),
            credentials=unused, system=LinuxSystem(), communicator=self.communicator, watchdog=watchdog,
            boot_id=self.machine.boot_id(),
        )  # fmt: skip

    def restart(
        self, check: str | None = None, timeout: float = 60.0, *, saver: RestartSaver | None = None, **more: Any
    ) -> Restart:
        deadline = Deadline(clock=self.clock, **more)
        return self.booted.restart("restart", check, timeout, deadline, accept=(0, 1190), saver=saver)

    def commands(self) -> list[str]:
        return [entry["command"] for entry in self.communicator.transcript]


@pytest.mark.parametrize("rule", [RESTARTS, CUT_OFF], ids=["told", "cut off"])
def test_a_guest_that_restarts_is_ready_with_its_next_boot(rule: dict[str, Any]) -> None:
    lab = Lab(rule)
    done = lab.restart()
    assert (done.restarted, done.ready) == (True, True)
    assert done.command.disconnected is ("disconnect" in rule)
    assert lab.booted.boot_id == lab.machine.boot_id() == "boot-2"
    assert lab.commands() == ["restart"]
    assert not lab.booted.watchdog.silent  # type: ignore[attr-defined]


def test_a_guest_that_does_not_answer_is_known_to_the_watch_at_each_look() -> None:
    lab = Lab(RESTARTS)
    lab.communicator.machine.power_off()
    seen: list[bool] = []
    lab.watch = lambda: seen.append(lab.booted.watchdog.silent)  # type: ignore[attr-defined]
    lab.restart(timeout=5.0)
    assert seen[1:] and all(seen[1:])


def test_the_check_is_asked_until_it_succeeds() -> None:
    lab = Lab(RESTARTS, {"match": "^up$", "exit": 1, "times": 3})
    done = lab.restart("up")
    assert done.ready and lab.commands() == ["restart", "up", "up", "up", "up"]
    assert done.seconds == pytest.approx(lab.clock.monotonic())


def test_a_check_that_never_succeeds_ends_with_the_time() -> None:
    lab = Lab(RESTARTS, {"match": "^up$", "exit": 1})
    done = lab.restart("up", timeout=20.0)
    assert (done.restarted, done.ready) == (True, False)
    assert 20.0 <= done.seconds < 22.0


def test_a_guest_that_goes_on_as_it_was_has_not_restarted() -> None:
    lab = Lab()
    done = lab.restart("up", timeout=20.0)
    assert (done.command.code, done.restarted, done.ready) == (0, False, False)
    assert lab.commands() == ["restart"], "the check is of the next boot"


def test_the_time_is_longer_on_a_slow_host() -> None:
    assert Lab().restart(timeout=20.0, slowness=5.0).seconds >= 100.0


@pytest.mark.parametrize(("code", "waits"), [(1190, True), (5, False)])
def test_after_an_exit_code_that_is_not_accepted_nothing_is_waited_for(code: int, waits: bool) -> None:
    lab = Lab({**RESTARTS, "exit": code})
    done = lab.restart()
    assert (done.command.code, done.restarted, done.ready) == (code, waits, waits)
    assert waits or lab.clock.monotonic() == 0.0


def test_the_builds_own_end_is_raised() -> None:
    with pytest.raises(BuildTimedOut):
        Lab().restart(timeout=600.0, build_ends=30.0)
    cancel = CancelToken()
    lab = Lab(RESTARTS)
    lab.watch = lambda: cancel.cancel("enough")
    lab.communicator.machine.power_off()
    with pytest.raises(BuildCancelled, match="enough"):
        lab.restart(cancel=cancel)


class Saver(RestartSaver):
    """Puts a disk aside at the `at`th look."""

    def __init__(self, at: int) -> None:
        self.looks, self.inside = 0, False
        machine: Any = self
        super().__init__(machine, lambda error: None)
        self.at = at

    @contextmanager
    def saving_at_reset(self, deadline: Deadline) -> Iterator[Callable[[], bool]]:
        def look() -> bool:
            self.looks += 1
            return self.looks == self.at

        self.inside = True
        try:
            yield look
        finally:
            self.inside = False


def test_the_disk_is_put_aside_while_the_next_boot_is_waited_for() -> None:
    for at, boot in ((1, "boot-2"), (2, "boot-2"), (99, "")):
        lab, saver = Lab(RESTARTS), Saver(at)
        lab.restart(saver=saver)
        assert saver.looks >= 2 and not saver.inside, "also once it is up: it may have been quicker"
        assert saver.boot_id == boot


def test_a_machine_that_is_held_while_the_communicator_waits_goes_on() -> None:
    """WinRM connects for as long as it takes, and only the watchdog is asked meanwhile."""
    lab, saver = Lab(RESTARTS), Saver(5)
    real = lab.communicator.reconnect

    def reconnect(bound: Deadline) -> None:
        while saver.looks < saver.at:
            lab.booted.watchdog()
            bound.sleep(1.0)
        real(bound)

    lab.communicator.reconnect = reconnect  # type: ignore[method-assign, assignment]
    assert lab.restart(saver=saver).restarted and saver.boot_id == "boot-2"
    lab.booted.watchdog()
    assert saver.looks == saver.at + 1, "the one at the end; nobody looks after the restart"


def test_a_restart_that_fails_leaves_nothing_put_aside() -> None:
    lab, saver = Lab({**RESTARTS, "exit": 5}), Saver(1)
    lab.restart(saver=saver)
    assert (saver.looks, saver.inside, saver.boot_id) == (0, False, "")
    lab, saver = Lab(), Saver(1)
    assert not lab.restart(saver=saver, timeout=5.0).restarted
    assert saver.boot_id == "" and not saver.inside


def test_a_machine_that_is_lost_is_raised() -> None:
    def lost() -> None:
        raise ProvisionFailed("the kernel panicked")

    lab = Lab(RESTARTS)
    lab.watch = lost
    with pytest.raises(ProvisionFailed, match="panicked"):
        lab.restart()
