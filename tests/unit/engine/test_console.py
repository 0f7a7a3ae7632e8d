"""What the console says about a boot that will not come up."""

from __future__ import annotations

import pytest

from aibemu.engine.console import fatal, last_lines


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("[    2.5] Kernel panic - not syncing: VFS: Unable to mount root fs\n", "the kernel panicked: VFS: Unable"),
        ("Gave up waiting for root file system device.  Common problems:", "root device never appeared"),
        ("You are in emergency mode. After logging in", "emergency mode"),
        ("grub rescue> ", "GRUB found no boot files"),
        ("Booting from Hard Disk...\nBoot failed: not a bootable disk\n", "not bootable"),
        ("No bootable device.", "not bootable"),
    ],
)
def test_hopeless_boots_are_recognised(text: str, meaning: str) -> None:
    assert meaning in (fatal(text) or "")


def test_a_normal_boot_is_not_hopeless() -> None:
    assert fatal("[  OK  ] Reached target multi-user.target\nDebian GNU/Linux 12 pkrvm ttyS0\n\npkrvm login: ") is None


def test_last_lines_are_readable() -> None:
    text = "one\r\n\x1b[0;32m  OK  \x1b[0m two\n\n\x1b[2J\n" + "three\n"
    assert last_lines(text, 2) == ["  OK   two", "three"]
