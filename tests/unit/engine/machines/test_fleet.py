"""Which machines of a build are destroyed, and which are kept."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.clock import forever
from aibemu.engine.asking import OnErrorMode
from aibemu.engine.attempts import ErrorPolicy, attempt
from aibemu.engine.machines.devices import Devices, UnfitDevices
from aibemu.engine.machines.fleet import Fleet
from aibemu.engine.machines.watchdog import StarvedBoot
from aibemu.engine.outcome import Ending
from aibemu.errors import AibemuError, CustomizerFailed, ProvisionFailed
from aibemu.events import Kind
from aibemu.hardware import Hardware, NicModel
from aibemu.runs.store import Run


class Stage:
    """A build's fleet, and what was done to its machines and platforms, in order."""

    def __init__(self, folder: Path) -> None:
        self.said: list[tuple[Kind, dict[str, Any]]] = []
        self.done: list[str] = []
        services: Any = SimpleNamespace(
            run=Run(folder), emit=lambda kind, **fields: self.said.append((kind, fields)), ask=None, dry_run=False,
        )  # fmt: skip
        idle: Any = SimpleNamespace(settle=lambda: None, prune=lambda: None)
        self.fleet = Fleet(services, idle)
        self.services = services

    def machine(self, role: str, error: Exception | None = None) -> None:
        def destroy() -> None:
            self.done.append(f"destroy {role}")
            if error:
                raise error

        made: Any = SimpleNamespace(id=f"m-{role}", destroy=destroy)
        platform: Any = SimpleNamespace(stop=lambda: self.done.append(f"stop {role}"))
        self.fleet.platform_made(role, platform)
        self.fleet.machine_made(role, made)

    def started(self, role: str) -> None:
        """It runs; nobody has got in yet."""
        connector = SimpleNamespace(describe=lambda access: f"ssh {access}")
        started: Any = SimpleNamespace(connector=connector, access=role)
        self.fleet.machine_started(role, started)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.mark.parametrize("error", [ProvisionFailed("it does not end"), OSError(5, "Input/output error")])
def test_a_machine_that_cannot_be_destroyed_has_no_platform_any_more(stage: Stage, error: Exception) -> None:
    """Its process would stay for ever: nobody has a reason to look for it once the run is over."""
    stage.machine("build", error)
    with stage.fleet:
        pass
    assert stage.done == ["destroy build", "stop build"]
    (said,) = [fields["message"] for kind, fields in stage.said if kind is Kind.NOTICE]
    assert said.startswith("the build machine was not destroyed: ") and "aibemu clean" in said


def test_a_platform_that_cannot_be_stopped_is_said_and_the_others_go(stage: Stage) -> None:
    stage.machine("build")

    def fail() -> None:
        raise PermissionError(1, "Operation not permitted")

    broken: Any = SimpleNamespace(stop=fail)
    stage.machine("validate")
    stage.fleet.platform_made("validate", broken)
    with stage.fleet:
        pass
    assert stage.done == ["destroy validate", "destroy build", "stop build"]


def ends(stage: Stage, error: AibemuError, mode: OnErrorMode) -> list[str]:
    """Let a build with that machine end by `error`; the roles of the machines that were kept."""

    def fail(_: object) -> None:
        raise error

    def no_plan() -> Any:
        raise AssertionError

    state: Any = SimpleNamespace(end=Ending(), fleet=stage.fleet, services=stage.services)
    with stage.fleet:
        attempt(state, ErrorPolicy(mode=mode, plan_again=no_plan), fail)
    kept = [fields["machine"].removeprefix("m-") for kind, fields in stage.said if kind is Kind.MACHINE_KEPT]
    assert all(f"destroy {role}" not in stage.done for role in kept)
    return kept


@pytest.mark.parametrize(
    ("mode", "kept"),
    [(OnErrorMode.KEEP, ["build"]), (OnErrorMode.TEMPLATE, []), (OnErrorMode.CLEANUP, []), (OnErrorMode.ASK, [])],
)
def test_a_machine_that_never_became_ready_is_kept_for_who_asked_for_it(
    stage: Stage, mode: OnErrorMode, kept: list[str]
) -> None:
    stage.machine("build")
    stage.started("build")
    assert ends(stage, ProvisionFailed("the machine did not become ready in time"), mode) == kept
    assert stage.done == ([] if kept else ["destroy build", "stop build"])


def test_who_keeps_it_is_told_how_to_get_in(stage: Stage) -> None:
    stage.machine("build")
    stage.started("build")
    ends(stage, ProvisionFailed("late"), OnErrorMode.KEEP)
    ((_, fields),) = [one for one in stage.said if one[0] is Kind.MACHINE_KEPT]
    assert fields == {"machine": "m-build", "command": "ssh build"}


def test_of_a_validate_machine_that_never_became_ready_the_build_machine_stays_too(stage: Stage) -> None:
    """Its disk lies over that of the build machine."""
    for role in ("build", "validate"):
        stage.machine(role)
    stage.started("validate")
    assert ends(stage, ProvisionFailed("late"), OnErrorMode.KEEP) == ["validate"]
    assert stage.done == []


def test_a_machine_that_was_made_and_never_started_is_not_kept(stage: Stage) -> None:
    stage.machine("build")
    assert ends(stage, ProvisionFailed("no memory"), OnErrorMode.KEEP) == []
    assert stage.done == ["destroy build", "stop build"]


def test_another_failure_keeps_no_machine_that_has_nothing_to_do_with_it(stage: Stage) -> None:
    stage.machine("verify")
    stage.started("verify")
    assert ends(stage, CustomizerFailed("exit 1"), OnErrorMode.KEEP) == []


# An impatient person: Ctrl-C again while it cleans up


@pytest.mark.parametrize("place", ["settle", "destroy", "stop", "prune"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_ctrl_c_while_it_cleans_up_is_heard_when_all_is_gone(tmp_path: Path, place: str, times: int) -> None:
    """The record says that the run is over by then, so nobody would look for what is left."""
    stage = Stage(tmp_path)
    left = times

    def interrupted(what: str) -> None:
        nonlocal left
        if what == place and left:
            left -= 1
            raise KeyboardInterrupt
        stage.done.append(what)

    idle: Any = SimpleNamespace(settle=lambda: interrupted("settle"), prune=lambda: interrupted("prune"))
    fleet = Fleet(stage.services, idle)
    machine: Any = SimpleNamespace(id="m", destroy=lambda: interrupted("destroy"))
    platform: Any = SimpleNamespace(stop=lambda: interrupted("stop"))
    fleet.platform_made("build", platform)
    fleet.machine_made("build", machine)
    with pytest.raises(KeyboardInterrupt), fleet:
        pass
    assert {"settle", "destroy", "stop", "prune"} <= set(stage.done)
    assert not fleet.abandoned


def test_who_never_stops_typing_it_gets_away_and_the_next_command_cleans_up(tmp_path: Path) -> None:
    def never() -> None:
        raise KeyboardInterrupt

    stage = Stage(tmp_path)
    idle: Any = SimpleNamespace(settle=lambda: None, prune=lambda: None)
    fleet = Fleet(stage.services, idle)
    stuck: Any = SimpleNamespace(id="m", destroy=never)
    fleet.machine_made("build", stuck)
    with pytest.raises(KeyboardInterrupt), fleet:
        pass
    assert fleet.abandoned


OLD, NEW = Hardware(nic=NicModel.E1000E), Hardware(nic=NicModel.E1000)
UNFIT = UnfitDevices("no address", details=[], hint="", devices=Devices(hardware=NEW, tried=(OLD,)))
STARVED = StarvedBoot("a panic", known="it stood still", details=[])


@pytest.mark.parametrize(
    ("ends", "with_devices", "told"),
    [
        ([UNFIT], [None, NEW], ["no address: the machine is made once more"]),
        ([STARVED, UNFIT], [None, None, NEW], ["started once more", "made once more"]),
        ([UNFIT, STARVED], [None, NEW, NEW], ["made once more", "started once more"]),
    ],
    ids=["unfit", "starved, then unfit", "unfit, then starved"],
)
def test_a_machine_is_made_once_more_with_other_devices_and_the_next_ones_have_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, ends: list[Exception], with_devices: list[Hardware | None],
    told: list[str],
) -> None:  # fmt: skip
    seen: list[Hardware | None] = []
    left = list(ends)

    def boot(services: object, role: str, *, devices: Devices, **_: object) -> Any:
        seen.append(devices.hardware)
        stage.machine(role)
        if left:
            raise left.pop(0)
        return SimpleNamespace(communicator=SimpleNamespace(close=lambda: None))

    monkeypatch.setattr("aibemu.engine.machines.fleet.boot", boot)
    stage.services.driver = SimpleNamespace(capabilities=lambda: SimpleNamespace(boots_guests=False))
    plan: Any = None
    stage.fleet.boot("build", Path("/base"), plan, forever())
    assert seen == with_devices
    assert stage.done == ["destroy build", "stop build"] * len(ends)
    said = [fields["message"] for kind, fields in stage.said if kind is Kind.NOTICE]
    assert len(said) == len(told) and all(part in message for part, message in zip(told, said, strict=True))
    assert any("with nic e1000 instead of e1000e" in message for message in said)
    stage.fleet.boot("validate", Path("/other"), plan, forever())
    assert seen[-1] == NEW


def test_a_second_starved_boot_ends_the_build(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def boot(services: object, role: str, **_: object) -> Any:
        raise STARVED

    stage.services.driver = SimpleNamespace(capabilities=lambda: SimpleNamespace(boots_guests=False))
    monkeypatch.setattr("aibemu.engine.machines.fleet.boot", boot)
    plan: Any = None
    with pytest.raises(StarvedBoot):
        stage.fleet.boot("build", Path("/base"), plan, forever())
