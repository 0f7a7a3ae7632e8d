"""Watching over one machine: is it still one that a build can go on with?

Called between waits, many times a second, so it judges only what is new. A machine that panics, powers itself off,
cannot write its disk or hangs while it boots ends the wait early, with console and screenshot saved.

Once a machine can be logged in to, its console alone ends nothing: see `aibemu.engine.machines.last_words`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from aibemu.engine.machines.console import last_lines, save_console
from aibemu.engine.machines.devices import Devices, Fitting, UnfitDevices
from aibemu.engine.machines.last_words import LastWords
from aibemu.engine.services import Services
from aibemu.errors import AibemuError, ProvisionFailed
from aibemu.events import Kind
from aibemu.fabric.handle import Platform
from aibemu.hypervisor import ConsolePart, Machine, MachineEventKind, MachineState
from aibemu.systems import GuestSystem
from aibemu.systems.traits import Trouble

# A boot that has said something and then nothing for this long hangs; seconds, before scaling. systemd itself repeats
# "a start job is running" for whatever it waits for.
SILENCE = 90.0


class StarvedBoot(ProvisionFailed):
    """A busy host was to blame, not the image: another start may go well. known: what happened, in a sentence."""

    def __init__(self, message: str, *, known: str, details: list[str]) -> None:
        super().__init__(
            message, details=details,
            hint=f"{known}: a known fault of virtual machines on a busy host, not of the image; build again when the "
            "host has less to do",
        )  # fmt: skip
        self.known = known


class PoweredOff(ProvisionFailed):
    """A machine that was used went off by itself."""

    machine: Machine | None = None


class WentOff(ProvisionFailed):
    """The machine went off by itself where it may (`Watchdog.may_go_off`): it is not lost, its disk is whole."""


class Watchdog:
    """Raises `ProvisionFailed` when called on a machine that is lost. booting: the rule of silence holds.

    system: what knows the guest. forgiving: a boot that a busy host spoilt is not recorded as a loss, for there will be
    another.
    """

    def __init__(
        self,
        machine: Machine,
        role: str,
        services: Services,
        platform: Platform | None = None,
        *,
        system: GuestSystem,
    ) -> None:
        self.system = system
        self.machine, self.role, self.services, self.platform = machine, role, services, platform
        self.booting, self.forgiving = True, False
        # Whether it may power itself off: while its last step runs.
        self.may_go_off = False
        now = services.clock.monotonic()
        self._last_words = LastWords(machine, system.fatal, now)
        self.fitting = Fitting(began=now)
        self._lost: ProvisionFailed | None = None
        # Called at each look while the machine runs.
        self.observe: Callable[[], None] = lambda: None

    def __call__(self) -> None:
        self.check()
        if self.machine.state() is not MachineState.RUNNING:
            self.check_off()
            if self.may_go_off and self._lost is None:
                raise WentOff("the machine powered itself off")
            raise self.lost("the machine powered itself off", kind=ProvisionFailed if self.booting else PoweredOff)
        self.observe()
        self._ask_platform()
        self._await_address()
        self._listen()
        if self._last_words.settled(self.services.clock.monotonic(), self.services.accelerator.slowness):
            raise self.lost(self._last_words.said)

    def connecting(self) -> None:
        """The guest is asked to answer; until it does, it may be as its console says."""
        self._last_words.ask(self.services.clock.monotonic())

    def answered(self) -> None:
        """It did."""
        self._last_words.answered()

    def check(self) -> None:
        """Raise if what is on the disk cannot be trusted, running or not: a panic, a failed write.

        For a machine that is asked to power off: QEMU stops it at either, which must not pass for a slow guest.
        """
        if self._lost is not None:  # whoever heard of it may have passed over it
            raise self._lost
        events = self.machine.events()
        self._last_words.read(events.count(MachineEventKind.RESET), booting=self.booting)
        if MachineEventKind.PANIC in events:
            told = self.machine.panic() or ""
            raise self.lost(self._crash(told), Trouble(crash=told))
        if MachineEventKind.IO_ERROR in events:
            raise self.lost("the machine's disk could not be written: is the host's disk full?")
        if self.booting and self._last_words.said:
            raise self.lost(self._last_words.said)

    def check_off(self) -> None:
        """Raise if the machine, which is off, was not switched off by its guest: what is on its disk is not known."""
        if MachineEventKind.SHUTDOWN not in self.machine.events():
            raise self.lost(
                "the machine ended, and its guest did not switch it off: its hypervisor was killed (by the host, when "
                "memory is short) or broke down"
            )

    def overdue(self) -> ProvisionFailed:
        """What to raise of a machine that did not become ready in its time."""
        known = self.system.overdue(self.machine.console().text)
        mute = self.platform is not None and not self.platform.asked_for_address
        network = "it never asked for an address (DHCP), as if it had no driver for its network card" if mute else ""
        return self.lost("; ".join(filter(None, ["the machine did not become ready in time", network, known])))

    def _crash(self, told: str) -> str:
        """By what the guest told the hypervisor, else by its console's last words."""
        return self.system.crash(told) if told else self._last_words.said or "the guest reported a panic"

    def _await_address(self) -> None:
        """A guest that has no driver for its network card is not waited for if there is another card to try."""
        within = self.system.booting.address_within
        if within is None or self.platform is None or self.platform.asked_for_address:
            return
        seconds, trouble = within * self.services.accelerator.slowness, Trouble(no_network=True)
        if self.services.clock.monotonic() - self.fitting.began > seconds and self._other_devices(trouble):
            raise self.lost(f"the guest has asked for no address (DHCP) in {seconds:.0f} seconds", trouble)

    def _other_devices(self, trouble: Trouble) -> Devices | None:
        return self.fitting.others(trouble) if self.booting else None

    def _listen(self) -> None:
        silent = self._last_words.silence(self.services.clock.monotonic())
        if (
            self.booting
            and self.system.booting.console_tells
            and self._last_words.length
            and silent > SILENCE * self.services.accelerator.slowness
        ):
            raise self.lost(f"the boot hangs: nothing new on the console for {silent:.0f} seconds")

    def _ask_platform(self) -> None:
        """A guest that has failed says so itself, to the wire server."""
        if self.platform is None:
            return
        if not self.platform.alive():
            gone = self.platform.failure()
            raise self.lost("; ".join([gone.message, *gone.details[-1:]]))
        verdict = self.platform.verdict
        if self.booting and verdict is not None and verdict.failed:
            raise self.lost(f"the guest reports that its provisioning failed: {verdict.message}")

    def lost(
        self, why: str, trouble: Trouble | None = None, *, kind: type[ProvisionFailed] = ProvisionFailed
    ) -> ProvisionFailed:
        """Save console and screenshot, record the loss, and give the error to raise; all of it once, the first reason
        being the cause of all that are found later. trouble: for which other devices may be tried."""
        if self._lost is not None:
            return self._lost
        said = self._last_words.said
        if said and said not in why:
            why = f"{why}; its console says: {said}"
        console = self.machine.console()
        saved = [str(path) for path in self._keep(console)]
        tail = last_lines(console.text)
        known = self.system.starved(console.text) if said else None
        others = self._other_devices(trouble) if trouble else None
        if not (others or (known and self.forgiving)):
            self.services.emit(Kind.MACHINE_LOST, machine=self.machine.id, why=why, console=tail, saved=saved)
        shown = ["the console's last lines:", *(f"  {line}" for line in tail)] if tail else ["the console is empty"]
        message, details = f"{why} ({self.role} machine)", [*shown, *(f"saved: {path}" for path in saved)]
        hint = self.system.advice.lost
        if others:
            self._lost = UnfitDevices(message, details=details, hint=hint, devices=others)
        elif known:
            self._lost = StarvedBoot(message, known=known, details=details)
        else:
            self._lost = kind(message, details=details, hint=hint)
        if isinstance(self._lost, PoweredOff):
            self._lost.machine = self.machine
        return self._lost

    def _keep(self, console: ConsolePart) -> Iterator[Path]:
        """Save console and screen. Why the machine is lost counts for more than a file that cannot be written: it may
        be the very disk that is full, or QEMU itself that is gone."""
        with contextlib.suppress(OSError, AibemuError):
            yield (saved := save_console(self.services, self.role, console))
            if self.services.driver.capabilities().screenshots and self.machine.state() is MachineState.RUNNING:
                picture = self.machine.screenshot(saved.with_suffix(".png"))
                if picture:
                    yield picture
