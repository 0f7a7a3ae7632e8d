"""Whatever goes wrong inside a phase: the machine goes, the record has an end, and the error says what it is."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.clock import Deadline, forever
from aibemu.communicators import UploadFailed
from aibemu.engine.attempts import ErrorPolicy, guard
from aibemu.engine.build import _recorded
from aibemu.engine.machines.boot import boot
from aibemu.engine.machines.fleet import Fleet
from aibemu.engine.machines.watchdog import Watchdog
from aibemu.engine.outcome import Failure
from aibemu.engine.phases import distribute as distributing
from aibemu.engine.phases.last_step import power_off
from aibemu.engine.phases.provision import provision
from aibemu.engine.state import BuildState
from aibemu.errors import Expired, HostNotReady, ProvisionFailed, Span
from aibemu.events import Kind
from aibemu.hypervisor import ConsolePart, MachineEventKind, MachineState
from aibemu.images import Generation, Provisioning
from aibemu.paths import Home
from aibemu.plan.model import MachineShape
from aibemu.redact import Redactor
from aibemu.runs.store import Run
from aibemu.settings import Settings
from aibemu.systems.linux.system import LinuxSystem
from aibemu.template.model import ManagedImageSource, Target, VmProfile
from aibemu.testing.clock import FakeClock
from aibemu.testing.system import FakeSystem

SPAN = Span(file="t.json", line=1, column=1)
FULL = OSError(errno.ENOSPC, "No space left on device", "/somewhere")


class FakeMachine:
    """A machine whose power button works after `slow` looks at its state."""

    id = "m"

    def __init__(self, *, broken: BaseException | None = None, slow: int = 0) -> None:
        self.broken, self.slow = broken, slow
        self.destroyed = False
        self.seen: tuple[MachineEventKind, ...] = ()
        self.pressed = False

    def destroy(self) -> None:
        if self.broken:
            raise self.broken
        self.destroyed = True

    def panic(self) -> str | None:
        return None

    def disk(self) -> AbstractContextManager[Path]:
        raise AssertionError("nobody is to look at it")

    def press_power_button(self) -> None:
        self.pressed = True

    def kill(self) -> None:
        self.slow = 0

    def state(self) -> MachineState:
        self.slow -= 1
        return MachineState.RUNNING if self.slow >= 0 else MachineState.STOPPED

    def console(self, since: int = 0) -> ConsolePart:
        return ConsolePart(start=0, data=b"")

    def events(self) -> tuple[MachineEventKind, ...]:
        return self.seen if self.slow >= 0 else (*self.seen, MachineEventKind.SHUTDOWN)


class Hands:
    """Who is given what was made."""

    def __init__(self, made: list[Any]) -> None:
        self.made = made

    def machine_made(self, role: str, machine: object) -> None:
        self.made.append(machine)

    def machine_started(self, role: str, started: object) -> None:
        return None

    def platform_made(self, role: str, platform: object) -> None:
        raise AssertionError("these drivers attach no wires")


def a_plan() -> Any:
    group = "/subscriptions/s/resourceGroups/g"
    image = SimpleNamespace(
        info=SimpleNamespace(generation=Generation.V1, os_type="Linux", provisioning=Provisioning.NOCLOUD, linux=None)
    )
    template = SimpleNamespace(
        vm_profile=VmProfile(), location="westeurope", managed_resource_tags={},
        source=ManagedImageSource(image_id=f"{group}/providers/Microsoft.Compute/images/i", span=SPAN),
    )  # fmt: skip
    return SimpleNamespace(
        template=template, source=SimpleNamespace(image=image, exact_version="", plan=None), staging_group=group,
        template_id=f"{group}/providers/Microsoft.VirtualMachineImages/imageTemplates/t",
        machine=MachineShape(cpus=1, memory_mib=512, disk_bytes=1 << 20, firmware="bios", vm_size="x"),
    )  # fmt: skip


def a_planned() -> Any:
    return SimpleNamespace(plan=a_plan(), identities=(), secrets=frozenset())


def context(folder: Path, **plan: Any) -> Any:
    clock = FakeClock()
    said: list[tuple[Kind, dict[str, Any]]] = []
    guest, outputs = SimpleNamespace(offline=False), SimpleNamespace(also=())
    services: Any = SimpleNamespace(
        clock=clock, run=Run(folder), log_id="7111a125-0000-4000-8000-000000000000", rng=random.Random(1),
        settings=replace(Settings(), poweroff_timeout=30.0, boot_timeout=30.0),
        options=SimpleNamespace(guest=guest, outputs=outputs), dry_run=False, redactor=Redactor(),
        telemetry=SimpleNamespace(
            phase=lambda name: nullcontext(), step=lambda name: nullcontext(), show_passing=lambda **_: None
        ),
        driver=SimpleNamespace(
            capabilities=lambda: SimpleNamespace(screenshots=False, wires=False, boots_guests=False)
        ),
        accelerator=SimpleNamespace(name="kvm", slowness=1.0), home=Home.at(folder),
        emit=lambda kind, **fields: said.append((kind, fields)),
    )  # fmt: skip
    idle: Any = SimpleNamespace(settle=lambda: None, prune=lambda: None)
    plan_: Any = SimpleNamespace(staging_group="/x", targets=(), **plan)
    planned: Any = SimpleNamespace(plan=plan_, identities=(), secrets=frozenset())
    state = BuildState(
        services=services, planned=planned, deadline=Deadline(clock=clock), fleet=Fleet(services, idle), room=idle
    )  # fmt: skip
    return SimpleNamespace(state=state, said=said, clock=clock, services=services, planned=planned)


@contextmanager
def guarded(state: BuildState) -> Iterator[BuildState]:
    """What is around the phases of a build."""

    def no_plan() -> Any:
        raise AssertionError

    with _recorded(state), state.fleet, state.beside, guard(state, ErrorPolicy(plan_again=no_plan)):
        yield state


def test_a_full_disk_in_a_phase_is_the_hosts_failure_and_the_run_ends(tmp_path: Path) -> None:
    this = context(tmp_path)
    machine = FakeMachine()
    this.state.fleet.machine_made("build", machine)
    with guarded(this.state) as state:
        raise FULL
    assert isinstance(state.end.error, HostNotReady)
    assert machine.destroyed
    kind, fields = this.said[-1]
    assert (kind, fields["state"], fields["error"]["code"]) == (Kind.RUN_FINISHED, "Failed", "HOST_NOT_READY")
    assert "/somewhere" in fields["error"]["message"]


def test_an_error_that_is_no_hosts_still_is_a_bug(tmp_path: Path) -> None:
    this = context(tmp_path)
    with pytest.raises(ConnectionError), guarded(this.state):
        raise ConnectionError("x")
    assert this.said[-1][1]["error"]["code"] == "INTERNAL"


def test_one_machine_that_cannot_be_destroyed_keeps_neither_the_other_nor_the_end(tmp_path: Path) -> None:
    this = context(tmp_path)
    good = FakeMachine()
    broken: Any = FakeMachine(broken=PermissionError(errno.EPERM, "no", "/x"))
    for role, machine in (("build", good), ("validate", broken)):
        this.state.fleet.machine_made(role, machine)
    with guarded(this.state):
        pass
    assert good.destroyed
    assert [kind for kind, _ in this.said] == [Kind.NOTICE, Kind.RUN_FINISHED]


def test_a_second_ctrl_c_is_a_cancel_not_a_bug(tmp_path: Path) -> None:
    this = context(tmp_path)
    with pytest.raises(KeyboardInterrupt), guarded(this.state):
        raise KeyboardInterrupt
    assert (this.said[-1][1]["state"], this.said[-1][1]["error"]["code"]) == ("Canceled", "CANCELLED")


def test_a_build_that_nobody_let_clean_up_has_no_end_so_that_it_is_taken_for_dead(tmp_path: Path) -> None:
    this = context(tmp_path)
    stuck: Any = FakeMachine(broken=KeyboardInterrupt())
    this.state.fleet.machine_made("build", stuck)
    with pytest.raises(KeyboardInterrupt), guarded(this.state):
        raise KeyboardInterrupt
    assert Kind.RUN_FINISHED not in [kind for kind, _ in this.said]


def test_a_disk_that_fills_up_after_the_distributor_fails_this_target_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    span = Span(file="t", line=1, column=1)
    target = Target(kind="VHD", index=0, run_output_name="one", artifact_tags={}, options={}, span=span)
    this = context(tmp_path)

    def fail(*_: object) -> None:
        raise FULL

    monkeypatch.setattr(distributing, "_write", fail)
    tools: Any = None
    failure = distributing._one(this.state, target, tools, this.state.deadline)
    assert isinstance(failure, Failure)
    assert "No space left on device" in failure.error.message
    assert this.said[-1][1]["status"] == "failed"


def test_a_guest_that_does_not_take_the_deprovision_script_fails_to_provision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object, **__: object) -> None:
        raise UploadFailed("No space left on device")

    plan: Any = {
        "source_validation_only": False, "template": SimpleNamespace(build_timeout_minutes=0),
        "source": SimpleNamespace(image=SimpleNamespace(path=tmp_path)), "start": None,
    }  # fmt: skip
    this = context(tmp_path, **plan)
    machine = SimpleNamespace(communicator=SimpleNamespace(write=write), system=LinuxSystem())
    monkeypatch.setattr(Fleet, "boot", lambda *_: machine)
    with pytest.raises(ProvisionFailed, match=r"could not be written to .*: No space left on device"):
        provision(this.state)


@pytest.mark.parametrize("event", [MachineEventKind.PANIC, MachineEventKind.IO_ERROR])
@pytest.mark.parametrize("slow", [10**6, 0], ids=["stopped by QEMU", "seen at the very end"])
def test_a_disk_that_was_not_written_to_its_end_is_not_distributed(
    tmp_path: Path, event: MachineEventKind, slow: int
) -> None:
    this = context(tmp_path)
    machine: Any = FakeMachine(slow=slow)
    machine.seen = (event,)
    build: Any = SimpleNamespace(
        machine=machine,
        communicator=SimpleNamespace(close=lambda: None),
        watchdog=Watchdog(machine, "build", this.services, system=FakeSystem()),
        system=FakeSystem(),
    )
    with pytest.raises(ProvisionFailed):
        power_off(this.state, build)


def test_a_slow_guest_loses_its_power_after_the_bound(tmp_path: Path) -> None:
    this = context(tmp_path)
    machine: Any = FakeMachine(slow=10**6)
    build: Any = SimpleNamespace(
        machine=machine,
        communicator=SimpleNamespace(close=lambda: None),
        watchdog=Watchdog(machine, "build", this.services, system=FakeSystem()),
        system=FakeSystem(),
    )
    power_off(this.state, build)
    assert this.said[-1][1]["how"] == "killed"


class Leaving(FakeSystem):
    """A system whose guests power themselves off, or cannot be asked to."""

    def __init__(self, machine: Any, answer: bool | OSError | Expired, takes: int = 2) -> None:
        self.machine, self.answer, self.takes = machine, answer, takes

    def leave(self, communicator: object, deadline: object) -> bool:
        if not isinstance(self.answer, bool):
            raise self.answer
        self.machine.slow = self.takes
        return self.answer


@pytest.mark.parametrize(
    ("answer", "slow", "how"),
    [
        (True, 10**6, "guest"), (False, 2, "power-button"), (ConnectionError("no answer"), 2, "power-button"),
        (Expired("no answer"), 2, "power-button"),
    ],
)  # fmt: skip
def test_a_guest_may_power_itself_off(tmp_path: Path, answer: bool | OSError | Expired, slow: int, how: str) -> None:
    this = context(tmp_path)
    machine: Any = FakeMachine(slow=slow)
    system = Leaving(machine, answer)
    build: Any = SimpleNamespace(
        machine=machine, communicator=SimpleNamespace(close=lambda: None), system=system,
        watchdog=Watchdog(machine, "build", this.services, system=system),
    )  # fmt: skip
    power_off(this.state, build)
    assert this.said[-1][1]["how"] == how and machine.pressed == (how == "power-button")
    warned = [fields["message"] for kind, fields in this.said if kind is Kind.NOTICE]
    assert bool(warned) == (not isinstance(answer, bool))
    if warned:
        assert "stays in the image: the guest could not be asked to remove it: no answer" in warned[0]


def test_a_guest_that_does_not_power_itself_off_has_its_button_pressed(tmp_path: Path) -> None:
    this = context(tmp_path)
    machine: Any = FakeMachine(slow=1)
    system = Leaving(machine, answer=True, takes=10**6)
    build: Any = SimpleNamespace(
        machine=machine, communicator=SimpleNamespace(close=lambda: None), system=system,
        watchdog=Watchdog(machine, "build", this.services, system=system),
    )  # fmt: skip
    power_off(this.state, build)
    assert machine.pressed and this.said[-1][1]["how"] == "killed"
    assert "did not power itself off when it was asked to" in this.said[0][1]["message"]


def test_a_machine_that_is_half_made_is_handed_over_to_be_destroyed(tmp_path: Path) -> None:
    half = FakeMachine()
    this = context(tmp_path)

    def create(spec: object) -> None:
        raise ProvisionFailed("no disk")

    this.services.driver.create, this.services.driver.find = create, lambda folder: half
    made: list[Any] = []
    with pytest.raises(ProvisionFailed, match="no disk"):
        boot(
            this.services, "build", planned=a_planned(), base=tmp_path, deadline=forever(),
            owner=Hands(made),
        )  # fmt: skip
    assert made == [half]


def test_a_connection_lost_before_the_machine_is_ready_is_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object) -> None:
        raise ConnectionError("gone")

    machine: Any = FakeMachine(slow=10)
    machine.start = lambda deadline: None
    machine.endpoint = lambda port: ("127.0.0.1", 9)
    this = context(tmp_path)
    this.services.driver.create = lambda spec: machine
    monkeypatch.setattr("aibemu.engine.machines.boot._ready", lose)
    with pytest.raises(ProvisionFailed, match="the connection was lost before the machine was ready: gone"):
        boot(
            this.services, "build", planned=a_planned(), base=tmp_path, deadline=forever(),
            owner=Hands([]),
        )  # fmt: skip
