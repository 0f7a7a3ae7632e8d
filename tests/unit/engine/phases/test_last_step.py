"""The last step and switching off: a guest that goes off by itself, that restarts, that never goes off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.customizers import Outcome
from aibemu.engine.machines.boot import NOTICE_BOUND
from aibemu.engine.machines.watchdog import PoweredOff, Watchdog
from aibemu.engine.phases import generalize as generalizing
from aibemu.engine.phases import last_step
from aibemu.engine.phases.last_step import deprovision, power_off
from aibemu.errors import GeneralizeFailed, HostNotReady, ProvisionFailed
from aibemu.events import Kind
from aibemu.hypervisor import ConsolePart, Level, MachineEventKind, MachineState
from aibemu.systems.findings import GeneralizeFinding, Sealed
from aibemu.systems.traits import Booting
from aibemu.testing.guest import ScriptedCommunicator
from aibemu.testing.script import Script
from aibemu.testing.system import FakeSystem
from tests.unit.engine.test_failing_phases import context

RESET = MachineEventKind.RESET
GOOD = GeneralizeFinding(level=Level.OK, check="sealed")
BAD = GeneralizeFinding(level=Level.ERROR, check="sealed", message="nobody has sealed it")
TRACE = GeneralizeFinding(level=Level.WARNING, check="traces", message="a log is left")


class Box:
    """A machine: what happens to it is what a test does to it."""

    id, directory = "m", Path("m")

    def __init__(self, *, on_button: Callable[[Box], None] = lambda box: None) -> None:
        self.on, self.pressed, self.killed = True, 0, False
        self.seen: tuple[MachineEventKind, ...] = ()
        self._on_button = on_button

    def state(self) -> MachineState:
        return MachineState.RUNNING if self.on else MachineState.STOPPED

    def events(self) -> tuple[MachineEventKind, ...]:
        return self.seen

    def console(self, since: int = 0) -> ConsolePart:
        return ConsolePart(start=0, data=b"")

    def press_power_button(self) -> None:
        self.pressed += 1
        self._on_button(self)

    def kill(self) -> None:
        self.killed, self.on = True, False


def go_off(box: Box) -> None:
    box.on, box.seen = False, (*box.seen, MachineEventKind.SHUTDOWN)


def booted(this: Any, box: Any, rules: Sequence[dict[str, Any]] = (), **system: Any) -> Any:
    made = type("System", (FakeSystem,), system)()
    return SimpleNamespace(
        machine=box, system=made, communicator=ScriptedCommunicator(Script.parse(list(rules))), role="build",
        watchdog=Watchdog(box, "build", this.services, system=made), identity=SimpleNamespace(user="packer"),
        credentials=SimpleNamespace(user="packer"),
    )  # fmt: skip


def run_as(monkeypatch: pytest.MonkeyPatch, outcome: Outcome, happens: Callable[[], None] = lambda: None) -> None:
    """Let the last step end like that."""

    def run(*_: object) -> Any:
        happens()
        return SimpleNamespace(outcome=outcome)

    monkeypatch.setattr(last_step, "run_step", run)


def test_a_step_that_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    this = context(tmp_path)
    this.services.step_settings = None
    run_as(monkeypatch, Outcome(exit_code=0))
    assert deprovision(this.state, booted(this, Box())) is False


LOST = Outcome(exit_code=16001, error="16001", hint="do not", lost=True, details=("its log",))


def test_a_machine_that_goes_off_in_its_last_step_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    this, box = context(tmp_path), Box()
    this.services.step_settings = None
    run_as(monkeypatch, LOST, lambda: go_off(box))
    build = booted(this, box)
    assert deprovision(this.state, build) is True
    assert this.said == [], "no machine was lost"
    power_off(this.state, build)
    assert this.said[-1][1]["how"] == "guest" and not box.pressed and not box.killed


def test_a_hypervisor_that_is_killed_in_it_is_no_guest_that_went_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    this, box = context(tmp_path), Box()
    this.services.step_settings = None
    run_as(monkeypatch, LOST, lambda: setattr(box, "on", False))
    with pytest.raises(ProvisionFailed, match="its hypervisor was killed") as error:
        deprovision(this.state, booted(this, box))
    assert not isinstance(error.value, PoweredOff), "its disk was asked"
    assert this.said[-1][0] is Kind.MACHINE_LOST


def test_a_hypervisor_that_is_killed_while_it_powers_off_is_lost(tmp_path: Path) -> None:
    this, box = context(tmp_path), Box(on_button=lambda box: setattr(box, "on", False))
    with pytest.raises(ProvisionFailed, match="its hypervisor was killed"):
        power_off(this.state, booted(this, box))


def test_one_that_restarts_in_it_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    this, box = context(tmp_path), Box()
    this.services.step_settings = None
    run_as(monkeypatch, LOST, lambda: setattr(box, "seen", (RESET,)))
    with pytest.raises(GeneralizeFailed, match="the machine restarted while its last step ran") as error:
        deprovision(this.state, booted(this, box))
    assert error.value.hint == "do not" and error.value.details == ("its log",)


def test_a_connection_that_is_lost_and_nothing_else_is_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    this = context(tmp_path)
    this.services.step_settings = None
    run_as(monkeypatch, LOST)
    with pytest.raises(GeneralizeFailed, match="the deprovision script failed: 16001"):
        deprovision(this.state, booted(this, Box()))
    assert this.clock.monotonic() <= NOTICE_BOUND + 1


def test_who_went_off_before_the_last_step_is_lost(tmp_path: Path) -> None:
    this, box = context(tmp_path), Box()
    go_off(box)
    watchdog = Watchdog(box, "build", this.services, system=FakeSystem())  # type: ignore[arg-type]
    watchdog.booting = False
    with pytest.raises(PoweredOff, match="the machine powered itself off"):
        watchdog()
    assert this.said[-1][0] is Kind.MACHINE_LOST


def test_a_guest_is_asked_before_its_button_is_pressed(tmp_path: Path) -> None:
    this, box = context(tmp_path), Box()

    def obey(self: object, communicator: object, deadline: object) -> bool:
        go_off(box)
        return True

    build = booted(this, box, leave=obey)
    power_off(this.state, build)
    assert this.said[-1][1]["how"] == "guest" and box.pressed == 0 and build.communicator.closed


def test_one_that_says_yes_and_stays_gets_the_button(tmp_path: Path) -> None:
    this, box = context(tmp_path), Box(on_button=go_off)
    power_off(this.state, booted(this, box, leave=lambda *_: True))
    assert this.said[-1][1]["how"] == "power-button" and box.pressed == 1 and not box.killed


@pytest.mark.parametrize("takes_it", [True, False])
def test_one_that_never_goes_off_loses_its_power_in_bounded_time(tmp_path: Path, takes_it: bool) -> None:
    this, box = context(tmp_path), Box()
    power_off(this.state, booted(this, box, leave=lambda *_: takes_it, booting=Booting(off_patience=5.0)))
    assert box.pressed == 1 and box.killed
    assert this.clock.monotonic() <= 2 * 5 * this.services.settings.poweroff_timeout + last_step.ASK_BOUND + 1
    assert [kind for kind, _ in this.said] == [Kind.NOTICE] * (1 + takes_it) + [Kind.MACHINE_STOPPED]
    assert this.said[-1][1]["how"] == "killed"


def proof(this: Any, *found: GeneralizeFinding, error: Exception | None = None, why: str = "") -> None:
    """Judge a machine that went off by itself, whose disk says that."""

    def look(self: object, *_: object, tell: Callable[[str], None], **__: object) -> Sequence[GeneralizeFinding]:
        if error:
            raise error
        if why:
            tell(why)
        return found

    this.state.disk = Path("disk")
    generalizing._prove_or_fail(this.state, booted(this, Box(), generalized=look), None, real=True)


def test_its_disk_decides_about_one_that_went_off(tmp_path: Path) -> None:
    this = context(tmp_path)
    proof(this, GOOD, TRACE)
    assert this.said[-1][1]["level"] == "warning" and "says that it is generalised" in this.said[-1][1]["message"]
    with pytest.raises(GeneralizeFailed, match="it is not generalised: nobody has sealed it"):
        proof(this, GOOD, BAD)


def test_what_was_not_looked_at_is_not_proven(tmp_path: Path) -> None:
    this = context(tmp_path)
    with pytest.raises(GeneralizeFailed, match="is not known: no reader"):
        proof(this, error=HostNotReady("no reader"))
    with pytest.raises(GeneralizeFailed, match="is not known: one hive"):
        proof(this, GOOD, why="one hive is locked")
    with pytest.raises(GeneralizeFailed, match="is not known: its disk was not looked at"):
        proof(this)
    with pytest.raises(GeneralizeFailed, match="no guest runs with this driver"):
        generalizing._prove_or_fail(this.state, booted(this, Box()), None, real=False)


def test_what_the_sealing_saw_is_the_proof(tmp_path: Path) -> None:
    this = context(tmp_path)
    build = booted(this, Box())
    generalizing._prove_or_fail(this.state, build, Sealed(findings=(GOOD,)), real=True)
    with pytest.raises(GeneralizeFailed, match="it is not generalised: nobody has sealed it"):
        generalizing._prove_or_fail(this.state, build, Sealed(findings=(GOOD, BAD)), real=True)
    with pytest.raises(GeneralizeFailed, match="is not known: one hive"):
        generalizing._prove_or_fail(this.state, build, Sealed(findings=(GOOD,), unproven="one hive"), real=True)
