"""What the console says about a Linux boot that will not come up."""

from __future__ import annotations

import pytest

from aibemu.systems.linux.console import fatal


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("[    2.5] Kernel panic - not syncing: VFS: Unable to mount root fs\n", "the kernel panicked: VFS: Unable"),
        ("Gave up waiting for root file system device.  Common problems:", "root device never appeared"),
        ("You are in emergency mode. After logging in", "emergency mode"),
        ("grub rescue> ", "GRUB found no boot files"),
        ("Booting from Hard Disk...\nBoot failed: not a bootable disk\n", "not bootable"),
        ("No bootable device.", "not bootable"),
        (
            "[   58.2] cloud-init[536]: Cloud-init v. 22.4.2 finished at Tue, 24 Nov 2026 12:08:04 +0000. Datasource "
            "DataSourceNone.  Up 58.17 seconds\n",
            "--provisioning",
        ),
    ],
)
def test_hopeless_boots_are_recognised(text: str, meaning: str) -> None:
    assert meaning in (fatal(text) or "")


def test_a_normal_boot_is_not_hopeless() -> None:
    assert fatal("Cloud-init v. 22.4.2 finished at Tue. Datasource DataSourceAzure [seed=/dev/sr0].  Up 50") is None
    assert fatal("[  OK  ] Reached target multi-user.target\nDebian GNU/Linux 12 pkrvm ttyS0\n\npkrvm login: ") is None
