"""How far a Windows machine is, by its first serial port: what firmware, Windows' own console and setup.ps1 say there.

Windows itself says nothing there but in images for Azure, which have its Special Administration Console (SAC) on it.
Of a sign only the words here are told: whoever is an administrator in the guest can write there.
"""

from __future__ import annotations

import re

from aibemu.systems import BootSigns

# A sign, and how far a machine is that shows it. Of those in a text the last one counts.
_STAGES: tuple[tuple[str, str], ...] = (
    (r"SeaBIOS \(version|BdsDxe: |UEFI firmware|iPXE \(http", "firmware"),
    (r"Computer is booting, SAC started|SAC>", "Windows is starting"),
    (r"\[aibemu\] stage: specialize", "Windows' setup has read the answer file"),
    (r"\[aibemu\] stage: files", "Windows' setup: first pass"),
    (r"\[aibemu\] stage: user", "Windows' setup is over: the build user"),
    (r"\[aibemu\] stage: certificate", "WinRM's certificate"),
    (r"\[aibemu\] stage: listener", "WinRM"),
    (r"\[aibemu\] stage: firewall", "the firewall"),
    (r"\[aibemu\] stage: network", "waiting for the network"),
    (r"\[aibemu\] stage: report", "reporting that it is ready"),
    (r"\[aibemu\] stage: ready", "first boot over"),
)
_ANY = re.compile("|".join(f"(?P<s{number}>{pattern})" for number, (pattern, _) in enumerate(_STAGES)))
OVER = _STAGES[-1][1]
# Characters that are looked at: more at once is no boot, but somebody who floods the port.
LONGEST = 64 * 1024
# The last of them is what OVMF starts when no disk boots.
_FIRMWARE = re.compile(
    r"No bootable device|Boot failed: not a bootable disk|BdsDxe: No bootable option|UEFI Interactive Shell v"
)
# The script cuts its lines; whatever is there, so much of it is told.
_FAILED = re.compile(r"\[aibemu\] failed: ([^\r\n]{1,600})[^\r\n]*[\r\n]")
_SAC = re.compile(_STAGES[1][0])
# Stop codes of a boot on other hardware: the name, and what it means here (facts: windows-images 1.2, 2).
_BUGCHECKS = {
    0x7B: (
        "INACCESSIBLE_BOOT_DEVICE",
        "it started no driver for its disk, although those that it needs were switched on; a driver of another maker "
        "may be in the way (aibemu images show), or the setting hardware gives it another disk: disk=ide, disk=nvme",
    ),
    0x5C: ("HAL_INITIALIZATION_FAILED", "the virtual CPU or its interrupts are not what this Windows takes"),
    0x5D: ("UNSUPPORTED_PROCESSOR", "this Windows wants more of a CPU than this host, or QEMU, shows it"),
    0x7E: (
        "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED",
        "a driver failed; where it happens again and again, KVM may have to ignore_msrs (kvm.ignore_msrs=1)",
    ),
    0xEF: ("CRITICAL_PROCESS_DIED", "a part of Windows itself ended; the disk may be damaged"),
    0xC000021A: ("WINLOGON_FATAL_ERROR", "a part of Windows itself ended; the disk may be damaged"),
    0xED: ("UNMOUNTABLE_BOOT_VOLUME", "its file system cannot be read; the disk may be damaged, or cut short"),
}


def boot_signs(console: str) -> BootSigns:
    """See `aibemu.systems.GuestSystem.boot_signs`."""
    text = console[-LONGEST:]
    stage = ""
    for match in _ANY.finditer(text):
        stage = _STAGES[int(str(match.lastgroup)[1:])][1]
    return BootSigns(stage=stage, first_boot_over=stage == OVER)


def fatal(console: str) -> str | None:
    """What ended the boot: the firmware found nothing, or setup.ps1 gave up."""
    if _FIRMWARE.search(console):
        return "the disk is not bootable"
    if failed := _FAILED.search(console):
        return f"aibemu's setup in the guest failed at {failed[1].strip()}"
    return None


def overdue(console: str) -> str:
    """See `aibemu.systems.GuestSystem.overdue`."""
    stage = boot_signs(console).stage
    numbers = [number for number, (_, words) in enumerate(_STAGES) if words == stage]
    if numbers and numbers[0] >= 2:
        return f"aibemu's setup in the guest came as far as: {stage}"
    if _SAC.search(console):
        return (
            "how far its setup came is not known: this image has Windows' own console (SAC) on the serial port, where "
            "aibemu's setup would say it; see the picture of its screen"
        )
    return (
        "nothing says that Windows read the answer file: it may be slow, wait for somebody at a page of its setup (see "
        "the picture of its screen), or have an answer file of its own that wins (aibemu images show)"
    )


def crash(said: str) -> str:
    """What a bugcheck means. said: `0x7B (0x..., ...)`, the first word being its code."""
    code = re.match(r"0[xX]([0-9a-fA-F]+)", said)
    name, meaning = _BUGCHECKS.get(int(code[1], 16) if code else -1, ("", ""))
    named = f"{said}{f', {name}' if name else ''}"
    return f"Windows stopped with the bugcheck {named}{f': {meaning}' if meaning else ''}"
