"""What the serial console says of a Linux guest that will never come up; firmware and boot loader included."""

from __future__ import annotations

import re

# Text on the console that means "this boot is over", and what it means for a person.
_FATAL: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (r"Kernel panic - not syncing: (?P<why>.*)", "the kernel panicked"),
        (r"VFS: Unable to mount root fs", "the kernel cannot mount the root file system"),
        (r"Gave up waiting for root (file system )?device", "the root device never appeared"),
        (r"ALERT!.{0,300}does not exist\.\s+Dropping to a shell!", "the root device never appeared"),
        (r"You are in (emergency|rescue) mode", "systemd stopped in emergency mode"),
        (r"grub rescue>", "GRUB found no boot files"),
        (r"No bootable device", "the disk is not bootable"),
        (r"Boot failed: not a bootable disk", "the disk is not bootable"),
        (r"BdsDxe: No bootable option", "the firmware found nothing to boot"),
        (
            r"Cloud-init v\. \S+ finished at .{0,300} Datasource DataSourceNone",
            "cloud-init found no data source, so nobody can log in: the image is provisioned in another way than it "
            "was taken for; say which: aibemu images describe IMAGE --provisioning azure|nocloud|unknown",
        ),
    )
)

# Panics of a sound kernel that got too little of the host's time, and what happened then.
_STARVED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (
            r"IO-APIC \+ timer doesn't work|timer doesn't work through Interrupt-remapped IO-APIC",
            "the interrupts of the virtual timer came too late for the kernel's test of it",
        ),
        (
            r"Kernel panic - not syncing: (softlockup|hung_task|Hard LOCKUP|RCU Stall)",
            "the virtual CPUs stood still for longer than the kernel bears",
        ),
        (
            r"Kernel panic - not syncing: Timeout: Not all CPUs entered broadcast exception handler",
            "the virtual CPUs did not get to run at the same time",
        ),
    )
)


def fatal(console: str) -> str | None:
    """What ended the boot, in one sentence, or None while it may still come up."""
    for pattern, meaning in _FATAL:
        if match := pattern.search(console):
            why = match.groupdict().get("why")
            return f"{meaning}: {why.strip()}" if why else meaning
    return None


def starved(console: str) -> str | None:
    """What a busy host did to the guest, when that ended its boot; None when the host is not known to be to blame."""
    return next((meaning for pattern, meaning in _STARVED if pattern.search(console)), None)
