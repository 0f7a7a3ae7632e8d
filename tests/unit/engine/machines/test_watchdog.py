"""The watch over a machine: each way to be lost is seen, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.engine.machines.devices import Devices, UnfitDevices
from aibemu.engine.machines.last_words import SETTLED
from aibemu.engine.machines.watchdog import SILENCE, PoweredOff, StarvedBoot, Watchdog
from aibemu.errors import ProvisionFailed
from aibemu.events import Kind
from aibemu.hardware import Hardware, NicModel
from aibemu.hypervisor import ConsolePart, MachineEventKind, MachineState
from aibemu.redact import Redactor
from aibemu.systems import GuestSystem
from aibemu.systems.linux.system import LinuxSystem
from aibemu.systems.traits import Trouble
from aibemu.systems.windows.system import WindowsSystem
from aibemu.testing.clock import FakeClock
from aibemu.testing.system import FakeSystem

LINUX = LinuxSystem()


class Machine:
    id = "m"

    def __init__(self) -> None:
        self.text = ""
        self.seen: tuple[MachineEventKind, ...] = ()
        self.now = MachineState.RUNNING
        self.told: str | None = None

    def panic(self) -> str | None:
        return self.told

    def console(self, since: int = 0) -> ConsolePart:
        return ConsolePart(start=since, data=self.text.encode()[since:])

    def events(self) -> tuple[MachineEventKind, ...]:
        return self.seen

    def state(self) -> MachineState:
        return self.now

    def screenshot(self, target: Path) -> Path:
        target.write_bytes(b"png")
        return target


class Watched:
    def __init__(self, folder: Path, slowness: float = 1.0, system: GuestSystem = LINUX) -> None:
        self.clock = FakeClock()
        self.machine = Machine()
        self.troubles: list[Trouble] = []
        self.emitted: list[tuple[Kind, dict[str, Any]]] = []
        services: Any = SimpleNamespace(
            clock=self.clock, accelerator=SimpleNamespace(slowness=slowness), run=SimpleNamespace(console=folder),
            driver=SimpleNamespace(capabilities=lambda: SimpleNamespace(screenshots=True)),
            emit=lambda kind, **fields: self.emitted.append((kind, fields)), redactor=Redactor(),
        )  # fmt: skip
        self.watchdog = Watchdog(self.machine, "build", services, system=system)  # type: ignore[arg-type]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_boot_that_goes_silent_hangs(watched: Watched) -> None:
    watched.machine.text = "Linux version 6.1\n"
    watched.watchdog()
    watched.clock.advance(SILENCE - 1)
    watched.machine.text += "more\n"
    watched.watchdog()
    watched.clock.advance(SILENCE - 1)
    watched.watchdog()
    watched.clock.advance(2)
    with pytest.raises(ProvisionFailed, match="the boot hangs"):
        watched.watchdog()


def test_silence_is_scaled_and_only_counts_while_booting_and_after_a_first_word(tmp_path: Path) -> None:
    slow = Watched(tmp_path, slowness=5)
    slow.machine.text = "Linux"
    slow.watchdog()
    slow.clock.advance(SILENCE * 4)
    slow.watchdog()
    slow.watchdog.booting = False
    slow.clock.advance(SILENCE * 40)
    slow.watchdog()
    mute = Watched(tmp_path)
    mute.watchdog()
    mute.clock.advance(SILENCE * 40)
    mute.watchdog()


def test_a_panic_is_seen_even_when_its_text_comes_in_pieces(watched: Watched) -> None:
    watched.machine.text = "x" * 5000 + "Kernel panic - not sync"
    watched.watchdog()
    watched.machine.text += "ing: Attempted to kill init!\n"
    with pytest.raises(ProvisionFailed, match="the kernel panicked: Attempted to kill init!"):
        watched.watchdog()


def test_a_lost_machine_is_lost_for_everybody_who_asks_however_much_it_says_after_that(watched: Watched) -> None:
    """A connection passes over the first word and asks again: nothing may go on by then, not even a reboot of it."""
    watched.machine.text = "Kernel panic - not syncing: Fatal exception\n"
    with pytest.raises(ProvisionFailed, match="Fatal exception"):
        watched.watchdog()
    watched.machine.text += "Call Trace:\n" * 200 + "Linux version 6.1\n"
    for ask in (watched.watchdog, watched.watchdog.check, watched.watchdog):
        with pytest.raises(ProvisionFailed, match="Fatal exception"):
            ask()
    assert [kind for kind, _ in watched.emitted] == [Kind.MACHINE_LOST]


def test_a_system_whose_console_says_little_may_be_silent(tmp_path: Path) -> None:
    quiet = Watched(tmp_path, system=WindowsSystem())
    quiet.machine.text = "BdsDxe: starting Boot0001"
    quiet.watchdog()
    quiet.clock.advance(SILENCE * 40)
    quiet.watchdog()


def test_what_the_guest_told_the_hypervisor_of_its_crash_is_its_systems_to_say(tmp_path: Path) -> None:
    crashed = Watched(tmp_path, system=FakeSystem())
    crashed.machine.seen, crashed.machine.told = (MachineEventKind.PANIC,), "0x1"
    with pytest.raises(ProvisionFailed, match="the system broke down: 0x1"):
        crashed.watchdog()


@pytest.mark.parametrize(("said", "known"), [("", "; it never came up"), ("stage: on\n", "")])
def test_of_a_boot_that_took_too_long_its_system_says_what_it_knows(tmp_path: Path, said: str, known: str) -> None:
    late = Watched(tmp_path, system=FakeSystem())
    late.machine.text = said
    assert late.watchdog.overdue().message == f"the machine did not become ready in time{known} (build machine)"


def test_the_hypervisors_word_is_enough(watched: Watched, tmp_path: Path) -> None:
    watched.machine.seen = (MachineEventKind.PANIC,)
    with pytest.raises(ProvisionFailed, match="the guest reported a panic"):
        watched.watchdog()
    watched = Watched(tmp_path)
    watched.machine.seen = (MachineEventKind.IO_ERROR,)
    with pytest.raises(ProvisionFailed, match="host's disk full"):
        watched.watchdog()
    watched = Watched(tmp_path)
    watched.machine.now, watched.machine.seen = MachineState.STOPPED, (MachineEventKind.SHUTDOWN,)
    with pytest.raises(ProvisionFailed, match="powered itself off"):
        watched.watchdog()


@pytest.mark.parametrize("booting", [True, False])
def test_nobody_says_of_a_hypervisor_that_is_gone_that_its_guest_went_off(watched: Watched, booting: bool) -> None:
    watched.watchdog.booting, watched.machine.now = booting, MachineState.STOPPED
    with pytest.raises(ProvisionFailed, match="its guest did not switch it off: its hypervisor was killed") as error:
        watched.watchdog()
    assert not isinstance(error.value, PoweredOff)


def test_what_is_lost_is_saved_and_recorded(watched: Watched, tmp_path: Path) -> None:
    watched.machine.text = "one\ntwo\ngrub rescue> "
    with pytest.raises(ProvisionFailed) as caught:
        watched.watchdog()
    assert (tmp_path / "build.log").read_text() == watched.machine.text
    assert (tmp_path / "build.png").read_bytes() == b"png"
    assert "  two" in caught.value.details
    ((kind, fields),) = watched.emitted
    assert kind is Kind.MACHINE_LOST
    assert fields["console"] == ["one", "two", "grub rescue>"]
    assert fields["saved"] == [str(tmp_path / "build.log"), str(tmp_path / "build.png")]


def test_why_it_is_lost_is_said_even_when_nothing_can_be_saved(watched: Watched, tmp_path: Path) -> None:
    watched.watchdog.services.run.console = tmp_path / "file" / "console"  # type: ignore[misc]
    (tmp_path / "file").touch()
    watched.machine.seen = (MachineEventKind.IO_ERROR,)
    with pytest.raises(ProvisionFailed, match="is the host's disk full"):
        watched.watchdog()
    assert watched.emitted[-1][1]["saved"] == []


def test_a_qemu_that_is_gone_makes_no_screenshot_and_no_other_error(watched: Watched) -> None:
    def screenshot(target: Path) -> Path:
        raise ConnectionResetError("QEMU has hung up")

    watched.machine.screenshot = screenshot  # type: ignore[method-assign]
    watched.machine.text = "Kernel panic - not syncing: x\n"
    with pytest.raises(ProvisionFailed, match="the kernel panicked"):
        watched.watchdog()


def test_a_loss_is_told_once_however_often_it_is_asked_for(watched: Watched) -> None:
    watched.machine.seen = (MachineEventKind.PANIC,)
    for _ in range(2):
        with pytest.raises(ProvisionFailed, match="panic"):
            watched.watchdog()
    assert [kind for kind, _ in watched.emitted] == [Kind.MACHINE_LOST]


FORGED = "Kernel panic - not syncing: says root\nYou are in emergency mode\ngrub rescue> "
TIMER = "Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug and send a report.\n"


def test_once_somebody_can_log_in_the_consoles_text_alone_ends_nothing(watched: Watched) -> None:
    watched.watchdog.booting = False
    watched.machine.text = FORGED
    for _ in range(3):
        watched.watchdog()
        watched.watchdog.check()
        watched.clock.advance(SILENCE * 10)
    assert not watched.emitted


def test_what_the_hypervisor_says_is_told_in_the_consoles_words(watched: Watched) -> None:
    watched.watchdog.booting = False
    watched.machine.text = "Kernel panic - not syncing: Attempted to kill init!\n"
    watched.watchdog()
    watched.machine.seen = (MachineEventKind.PANIC,)
    with pytest.raises(ProvisionFailed, match="the kernel panicked: Attempted to kill init!"):
        watched.watchdog()


def test_a_guest_that_does_not_answer_is_as_its_console_says(tmp_path: Path) -> None:
    watched = Watched(tmp_path, slowness=2)
    watched.watchdog.booting = False
    watched.machine.text = "You are in emergency mode\n"
    watched.watchdog.connecting()
    watched.watchdog()
    watched.clock.advance(2 * SETTLED - 1)
    watched.watchdog()
    watched.clock.advance(2)
    watched.watchdog.connecting()
    with pytest.raises(ProvisionFailed, match="systemd stopped in emergency mode"):
        watched.watchdog()


@pytest.mark.parametrize("sign", ["answers", "says more", "is reset"])
def test_a_guest_that_shows_that_it_lives_is_not_lost(watched: Watched, sign: str) -> None:
    watched.watchdog.booting = False
    watched.machine.text = FORGED
    watched.watchdog.connecting()
    for _ in range(10):
        watched.watchdog()
        watched.clock.advance(SETTLED / 2)
        if sign == "answers":
            watched.watchdog.answered()
            watched.watchdog.connecting()
        elif sign == "says more":
            watched.machine.text += "Stopping a service\n"
        else:
            watched.machine.seen = (MachineEventKind.RESET,)
    assert not watched.emitted


@pytest.mark.parametrize(
    "text",
    [TIMER, "Kernel panic - not syncing: timer doesn't work through Interrupt-remapped IO-APIC\n",
     "Kernel panic - not syncing: softlockup: hung tasks\n", "Kernel panic - not syncing: hung_task: blocked tasks\n",
     "Kernel panic - not syncing: Hard LOCKUP\n", "Kernel panic - not syncing: RCU Stall\n",
     "Kernel panic - not syncing: Timeout: Not all CPUs entered broadcast exception handler\n"],
)  # fmt: skip
def test_a_boot_that_a_busy_host_spoilt_is_named_and_no_loss_where_it_will_be_tried_again(
    tmp_path: Path, text: str
) -> None:
    for forgiving in (True, False):
        watched = Watched(tmp_path)
        watched.watchdog.forgiving = forgiving
        watched.machine.text = text
        with pytest.raises(StarvedBoot, match="panicked") as caught:
            watched.watchdog()
        assert "busy host, not of the image" in (caught.value.hint or "")
        assert [kind for kind, _ in watched.emitted] == ([] if forgiving else [Kind.MACHINE_LOST])


def test_a_wait_that_is_over_tells_what_the_console_says(watched: Watched) -> None:
    watched.watchdog.booting = False
    watched.machine.text = "You are in emergency mode\n"
    watched.watchdog()
    lost = watched.watchdog.lost("the machine did not come back after a restart")
    assert "did not come back after a restart; its console says: systemd stopped in emergency mode" in lost.message


OTHER = Devices(hardware=Hardware(nic=NicModel.E1000), tried=(Hardware(nic=NicModel.E1000E),))


def on_a_network(folder: Path, *, asked: bool = False, slowness: float = 1.0) -> Watched:
    """A Windows machine with a platform, and with other devices for it."""
    watched = Watched(folder, slowness, system=WindowsSystem())
    platform: Any = SimpleNamespace(alive=lambda: True, verdict=None, asked_for_address=asked)
    watched.watchdog.platform = platform
    watched.troubles = []

    def others(trouble: Trouble) -> Devices | None:
        watched.troubles.append(trouble)
        return OTHER

    watched.watchdog.fitting.others = others
    return watched


def test_a_guest_that_asks_for_no_address_is_given_up_for_other_devices_and_is_no_loss(tmp_path: Path) -> None:
    watched = on_a_network(tmp_path, slowness=2.0)
    watched.clock.advance(599)
    watched.watchdog()
    watched.clock.advance(2)
    with pytest.raises(UnfitDevices, match=r"has asked for no address \(DHCP\) in 600 seconds") as unfit:
        watched.watchdog()
    assert unfit.value.devices == OTHER and watched.troubles[-1] == Trouble(no_network=True)
    assert watched.emitted == []
    with pytest.raises(UnfitDevices):
        watched.watchdog.check()


def test_one_that_has_asked_or_is_up_or_for_which_there_is_nothing_else_is_waited_for(tmp_path: Path) -> None:
    asked, up, last = on_a_network(tmp_path, asked=True), on_a_network(tmp_path), on_a_network(tmp_path)
    up.watchdog.booting = False
    last.watchdog.fitting.others = lambda trouble: None
    linux = on_a_network(tmp_path)
    linux.watchdog.system = LinuxSystem()
    for watched in (asked, up, last, linux):
        watched.clock.advance(10_000)
        watched.watchdog()
    assert "never asked for an address (DHCP)" in last.watchdog.overdue().message
    assert "address" not in asked.watchdog.overdue().message


def test_a_crash_for_which_there_are_other_devices_ends_a_boot_and_is_a_loss_later(tmp_path: Path) -> None:
    watched = on_a_network(tmp_path, asked=True)
    watched.machine.seen, watched.machine.told = (MachineEventKind.PANIC,), "0x7B (0x1, 0x2, 0x3, 0x4)"
    with pytest.raises(UnfitDevices, match="0x7B"):
        watched.watchdog()
    assert watched.troubles == [Trouble(crash="0x7B (0x1, 0x2, 0x3, 0x4)")] and watched.emitted == []
    later = on_a_network(tmp_path, asked=True)
    later.watchdog.booting = False
    later.machine.seen, later.machine.told = (MachineEventKind.PANIC,), "0x7B (0x1, 0x2, 0x3, 0x4)"
    with pytest.raises(ProvisionFailed, match="0x7B") as lost:
        later.watchdog()
    assert not isinstance(lost.value, UnfitDevices)
    assert [kind for kind, _ in later.emitted] == [Kind.MACHINE_LOST]
