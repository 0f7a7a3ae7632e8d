"""How far the boot of a Linux guest is, by lines that real consoles showed."""

from __future__ import annotations

import time

import pytest

from aibemu.systems.linux.progress import NETWORK_FAILED, SSH_FAILED, boot_signs

BOOT = [
    ("\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS (version 1.16.2-debian-1.16.2-1)\r\n", "firmware"),
    ("GRUB loading.\r\n", "boot loader"),
    ("\x1b[0;30;47mWelcome to GRUB!\r\n", "boot loader"),
    ("Loading Linux 6.1.0-57-cloud-amd64 ...Loading Linux 6.1.0-57-cloud-amd64 ..\r\n", "kernel"),
    ("[    0.000000] Linux version 6.1.0-57-cloud-amd64 (debian-kernel@lists.debian.org)\r\n", "kernel"),
    ("[    5.1] systemd[1]: systemd 252.39-1~deb12u1 running in system mode (+PAM +AUDIT)\r\n", "services"),
    ("Welcome to \x1b[1mDebian GNU/Linux 12 (bookworm)\x1b[0m!\r\n", "services"),
    ("[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mbasic.target\x1b[0m - Basic System.\r\n", "services"),
    ("[   68.0] cloud-init[343]: Cloud-init v. 22.4.2 running 'init-local' at\r\n", "cloud-init: before the network"),
    ("[  102.8] cloud-init[394]: Cloud-init v. 22.4.2 running 'init' at Sun\r\n", "cloud-init: users and keys"),
    ("[  150.8] cloud-init[401]: Cloud-init v. 22.4.2 running 'modules:config' at\r\n", "cloud-init: configuration"),
    ("[  170.8] cloud-init[477]: Cloud-init v. 24.1-0ubuntu1 running 'modules:final'\r\n", "cloud-init: last modules"),
    ("[  211.9] cloud-init[549]: Cloud-init v. 22.4.2 finished at Sun, 29 Nov 2026\r\n", "first boot over"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "stage"), BOOT)
def test_signs_of_a_boot(line: str, stage: str) -> None:
    signs = boot_signs(line)
    assert (signs.stage, signs.first_boot_over, signs.troubles) == (stage, stage == "first boot over", ())


def test_the_last_sign_of_a_text_counts_and_a_restart_begins_again() -> None:
    whole = "".join(line for line, _ in BOOT)
    assert boot_signs(whole).stage == "first boot over"
    assert boot_signs(whole + BOOT[0][0]).stage == "firmware"
    assert not boot_signs(whole + BOOT[0][0]).first_boot_over
    assert boot_signs("pkrvm login: ").stage == ""


@pytest.mark.parametrize(
    "line",
    [
        "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mssh.service\x1b[0m - OpenBSD Secure Shell server.\r\n",
        "[FAILED] Failed to start OpenSSH server daemon.\n",
        "[   40.1] systemd[1]: Failed to start ssh.service - OpenBSD Secure Shell server.\n",
        "sshd: no hostkeys available -- exiting.\n",
        "/etc/ssh/sshd_config: line 3: Bad configuration option: Colour\n",
        " * ERROR: sshd failed to start\n",
    ],
)
def test_a_server_that_did_not_start_is_trouble(line: str) -> None:
    assert boot_signs(line).troubles == (SSH_FAILED,)


def test_a_network_that_failed_is_trouble() -> None:
    assert boot_signs("[FAILED] Failed to start networking.service - Raise network interfaces.\n").troubles == (
        NETWORK_FAILED,
    )
    assert boot_signs("[FAILED] Failed to start apt-daily.service.\n[  OK  ] Started ssh.service.\n").troubles == ()


def test_a_long_text_is_read_in_a_moment() -> None:
    for piece in ("[FAILED] Failed to start ", "Welcome to x", "systemd[1]: systemd x", "Cloud-init v. x", "\x1b[1;1"):
        began = time.process_time()
        assert boot_signs(piece * 400_000).stage == ""
        assert time.process_time() - began < 2
