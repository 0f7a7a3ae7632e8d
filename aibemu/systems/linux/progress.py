"""How far the boot of a Linux guest is, by the signs on its serial console; firmware and boot loader included.

Of a sign only the words here are told, never the console's own: whoever is root in the guest can write there.
"""

from __future__ import annotations

import re

from aibemu.systems import BootSigns

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
# A sign, and how far a guest is that shows it. Of those in a text the last one counts.
_STAGES: tuple[tuple[str, str], ...] = (
    (r"SeaBIOS \(version|BdsDxe: |UEFI firmware|iPXE \(http", "firmware"),
    (r"GRUB loading|Welcome to GRUB|GNU GRUB  version|SYSLINUX \d|systemd-boot", "boot loader"),
    (r"Loading Linux |Loading initial ramdisk|EFI stub: |Linux version \d|Booting Linux on physical", "kernel"),
    (
        r"systemd\[1\]: systemd \S{1,80} running in|systemd\[1\]: Detected|Welcome to \S[^\n]{0,80}!\s"
        r"|Loading, please wait|OpenRC \S{1,40} is starting|INIT: version|Reached target ",
        "services",
    ),
    (r"Cloud-init v\. \S{1,80} running 'init-local'", "cloud-init: before the network"),
    (r"Cloud-init v\. \S{1,80} running 'init'", "cloud-init: users and keys"),
    (r"Cloud-init v\. \S{1,80} running 'modules:config'", "cloud-init: configuration"),
    (r"Cloud-init v\. \S{1,80} running 'modules:final'", "cloud-init: last modules"),
    (r"Cloud-init v\. \S{1,80} finished at", "first boot over"),
)
_ANY = re.compile("|".join(f"(?P<s{number}>{pattern})" for number, (pattern, _) in enumerate(_STAGES)))
# Characters that are looked at: more at once is no boot, but somebody who floods the console.
LONGEST = 64 * 1024
OVER = _STAGES[-1][1]
# What systemd, OpenRC and sshd itself say of a server that did not come up.
_SSH_FAILED = re.compile(
    r"FAILED\s*\]\s*Failed to start .{0,120}(?:\bsshd?\b|OpenSSH|Secure Shell)|ERROR: sshd? failed to start"
    r"|Failed to start (?:sshd?\.service|OpenSSH|OpenBSD Secure Shell)|sshd: no hostkeys available"
    r"|sshd_config: (?:terminating|line \d+: Bad)",
    re.IGNORECASE,
)
_NETWORK_FAILED = re.compile(
    r"FAILED\s*\]\s*Failed to start .{0,120}(?:network|netplan|dhcp|ifup)|No DHCPOFFERS received", re.IGNORECASE
)
SSH_FAILED = "the console says that the SSH server did not start"
NETWORK_FAILED = "the console says that something of the network failed to start"


def boot_signs(console: str) -> BootSigns:
    """See `aibemu.systems.GuestSystem.boot_signs`."""
    text = _ESCAPES.sub("", console[-LONGEST:])
    stage = ""
    for match in _ANY.finditer(text):
        stage = _STAGES[int(str(match.lastgroup)[1:])][1]
    trouble = ((_SSH_FAILED, SSH_FAILED), (_NETWORK_FAILED, NETWORK_FAILED))
    return BootSigns(
        stage=stage, first_boot_over=stage == OVER,
        troubles=tuple(words for pattern, words in trouble if pattern.search(text)),
    )  # fmt: skip
