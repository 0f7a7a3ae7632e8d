"""Watching over one machine: is it still one that a build can go on with?

Called between waits, many times a second, so it judges only what is new. A machine that panics, powers itself off,
cannot write its disk or hangs while it boots ends the wait early, with console and screenshot saved.
"""

from __future__ import annotations

from aibemu.engine.console import fatal, last_lines
from aibemu.engine.ports import Ports
from aibemu.errors import ProvisionFailed
from aibemu.events import Kind
from aibemu.hypervisor import Machine, MachineEventKind, MachineState

# A boot that has said something and then nothing for this long hangs; seconds, before scaling. systemd itself repeats
# "a start job is running" for whatever it waits for.
SILENCE = 90.0
# A message may be cut by the end of what was read last time.
OVERLAP = 200


class Vigil:
    """Raises `ProvisionFailed` when called on a machine that is lost. booting: the rule of silence holds."""

    def __init__(self, machine: Machine, role: str, ports: Ports) -> None:
        self.machine, self.role, self.ports = machine, role, ports
        self.booting = True
        self._read = 0
        self._heard = ports.clock.monotonic()

    def __call__(self) -> None:
        events = self.machine.events()
        text = self.machine.console()
        if MachineEventKind.PANIC in events:
            raise self.lost(fatal(text) or "the guest reported a panic")
        if MachineEventKind.IO_ERROR in events:
            raise self.lost("the machine's disk could not be written: is the host's disk full?")
        if why := fatal(text[max(0, self._read - OVERLAP) :]):
            raise self.lost(why)
        if self.machine.state() is not MachineState.RUNNING:
            raise self.lost("the machine powered itself off")
        self._listen(len(text))

    def _listen(self, length: int) -> None:
        now = self.ports.clock.monotonic()
        if length != self._read:
            self._read, self._heard = length, now
        silent = now - self._heard
        if self.booting and length and silent > SILENCE * self.ports.accelerator.slowness:
            raise self.lost(f"the boot hangs: nothing new on the console for {silent:.0f} seconds")

    def lost(self, why: str) -> ProvisionFailed:
        """Save console and screenshot, record the loss, and give the error to raise."""
        folder = self.ports.run.console
        folder.mkdir(parents=True, exist_ok=True)
        text = self.machine.console()
        console_file = folder / f"{self.role}.log"
        console_file.write_text(text, encoding="utf-8", errors="replace")
        saved = [str(console_file)]
        if self.ports.driver.capabilities().screenshots and self.machine.state() is MachineState.RUNNING:
            picture = self.machine.screenshot(folder / f"{self.role}.png")
            saved += [str(picture)] if picture else []
        tail = last_lines(text)
        self.ports.emit(Kind.MACHINE_LOST, machine=self.machine.id, why=why, console=tail, saved=saved)
        shown = ["the console's last lines:", *(f"  {line}" for line in tail)] if tail else ["the console is empty"]
        return ProvisionFailed(
            f"{why} ({self.role} machine)",
            details=[*shown, *(f"saved: {path}" for path in saved)],
            hint="look at the saved console; an image that boots elsewhere may lack virtio drivers, or need the other "
            "generation",
        )
