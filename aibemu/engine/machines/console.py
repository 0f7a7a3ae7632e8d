"""Reading the serial console: what a guest that will never come up says, and what to keep of it."""

from __future__ import annotations

import re

from aibemu.hypervisor import Machine

# A message may be cut by the end of what was read last time: so many bytes of that come again.
OVERLAP = 200
# Text on the console that means "this boot is over", and what it means for a person.
_FATAL: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (r"Kernel panic - not syncing: (?P<why>.*)", "the kernel panicked"),
        (r"VFS: Unable to mount root fs", "the kernel cannot mount the root file system"),
        (r"Gave up waiting for root (file system )?device", "the root device never appeared"),
        (r"ALERT!.*does not exist\.\s+Dropping to a shell!", "the root device never appeared"),
        (r"You are in (emergency|rescue) mode", "systemd stopped in emergency mode"),
        (r"grub rescue>", "GRUB found no boot files"),
        (r"No bootable device", "the disk is not bootable"),
        (r"Boot failed: not a bootable disk", "the disk is not bootable"),
        (r"BdsDxe: No bootable option", "the firmware found nothing to boot"),
        (
            r"Cloud-init v\. \S+ finished at .* Datasource DataSourceNone",
            "cloud-init found no data source, so nobody can log in: the image is provisioned in another way than it "
            "was taken for; say which: aibemu images describe IMAGE --provisioning azure|nocloud|unknown",
        ),
    )
)
# Colours, cursor movements and carriage returns of boot loaders and systemd.
_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][A-Za-z0-9]|[=>cM78])|[\x00-\x08\x0b-\x1f\x7f]")


class ConsoleReader:
    """Follows a machine's console from its last start on."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        # How far it was read, in bytes.
        self.position = 0

    def read(self) -> str:
        """What is new, after the end of what came before it; all of it at first."""
        part = self._machine.console(max(0, self.position - OVERLAP))
        self.position = part.end
        return part.text


def fatal(console: str) -> str | None:
    """What ended the boot, in one sentence, or None while it may still come up."""
    for pattern, meaning in _FATAL:
        if match := pattern.search(console):
            why = match.groupdict().get("why")
            return f"{meaning}: {why.strip()}" if why else meaning
    return None


def last_lines(console: str, count: int = 20) -> list[str]:
    """The last `count` lines with something on them, without control characters."""
    lines = (_CONTROL.sub("", line).rstrip() for line in console.splitlines())
    return [line for line in lines if line][-count:]
