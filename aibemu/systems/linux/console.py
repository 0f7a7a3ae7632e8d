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


def fatal(console: str) -> str | None:
    """What ended the boot, in one sentence, or None while it may still come up."""
    for pattern, meaning in _FATAL:
        if match := pattern.search(console):
            why = match.groupdict().get("why")
            return f"{meaning}: {why.strip()}" if why else meaning
    return None
