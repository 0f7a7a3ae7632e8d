"""The offline proof that a Linux image is generalised: read its files with the machine off, change nothing.

What `waagent -deprovision+user` removes is checked as a warning when it is still there; what it leaves behind in every
Azure image (machine-id, cloud-init's cache, sudo rules) is a note: "generalised" means "boots with a new identity", not
"clean" (facts: guest-platform 4). The service itself checks nothing of this, so no finding fails a run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from aibemu.hypervisor import Level


class GuestFiles(Protocol):
    """Files of a disk that is off."""

    def read(self, path: str) -> str | None: ...

    def list(self, path: str) -> list[str] | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizeFinding:
    """One thing looked at. level OK when it is as it should be."""

    level: Level
    check: str
    message: str


Check = Callable[[GuestFiles, str], GeneralizeFinding]


def check_generalized(files: GuestFiles, user: str) -> Iterator[GeneralizeFinding]:
    """Every finding for an image whose build user was `user`."""
    for check in (
        _user_gone, _home_gone, _agent_state_gone, _hostname_reset, _root_locked, _agent_present, _cloud_init_enabled,
        _host_keys, _dhcp_leases, _machine_id, _sudo_rule, _root_key, _history,
    ):  # fmt: skip
        yield check(files, user)


def _finding(check: str, good: bool, bad: Level, why: str) -> GeneralizeFinding:
    return GeneralizeFinding(level=Level.OK if good else bad, check=check, message="" if good else why)


def _lines_for(files: GuestFiles, path: str, user: str) -> bool:
    return re.search(rf"^{re.escape(user)}:", files.read(path) or "", re.MULTILINE) is not None


def _user_gone(files: GuestFiles, user: str) -> GeneralizeFinding:
    there = _lines_for(files, "/etc/passwd", user) or _lines_for(files, "/etc/shadow", user)
    return _finding(
        "build user removed", not there, Level.WARNING, f"user {user} is still in /etc/passwd or /etc/shadow"
    )


def _home_gone(files: GuestFiles, user: str) -> GeneralizeFinding:
    there = user in (files.list("/home") or [])
    return _finding("home of the build user removed", not there, Level.WARNING, f"/home/{user} is still there")


def _agent_state_gone(files: GuestFiles, user: str) -> GeneralizeFinding:
    left = files.list("/var/lib/waagent") or []
    return _finding("agent state removed", not left, Level.WARNING, f"/var/lib/waagent holds {', '.join(left[:5])}")


def _hostname_reset(files: GuestFiles, user: str) -> GeneralizeFinding:
    name = (files.read("/etc/hostname") or "").strip()
    good = name in {"", "localhost", "localhost.localdomain"}
    return _finding("host name reset", good, Level.WARNING, f"/etc/hostname says {name}")


def _root_locked(files: GuestFiles, user: str) -> GeneralizeFinding:
    match = re.search(r"^root:([^:]*):", files.read("/etc/shadow") or "", re.MULTILINE)
    good = match is not None and match.group(1)[:1] in {"*", "!"}
    return _finding("root password disabled", good, Level.WARNING, "root has a password")


def _agent_present(files: GuestFiles, user: str) -> GeneralizeFinding:
    there = any("waagent" in (files.list(folder) or []) for folder in ("/usr/sbin", "/usr/bin", "/usr/local/sbin"))
    return _finding("Azure agent installed", there, Level.WARNING, "waagent is not there: Azure needs it in the image")


def _cloud_init_enabled(files: GuestFiles, user: str) -> GeneralizeFinding:
    disabled = "cloud-init.disabled" in (files.list("/etc/cloud") or [])
    return _finding("cloud-init enabled", not disabled, Level.WARNING, "/etc/cloud/cloud-init.disabled exists")


def _host_keys(files: GuestFiles, user: str) -> GeneralizeFinding:
    keys = [name for name in files.list("/etc/ssh") or [] if name.startswith("ssh_host_")]
    why = "SSH host keys are still there; Ubuntu's agent keeps them, cloud-init renews them at the next first boot"
    return _finding("SSH host keys removed", not keys, Level.NOTE, why)


def _dhcp_leases(files: GuestFiles, user: str) -> GeneralizeFinding:
    left = any(files.list(folder) for folder in ("/var/lib/dhcp", "/var/lib/dhclient", "/var/lib/dhcpcd"))
    return _finding("no DHCP leases", not left, Level.NOTE, "a DHCP lease was written again while powering off")


def _machine_id(files: GuestFiles, user: str) -> GeneralizeFinding:
    empty = (files.read("/etc/machine-id") or "").strip() in {"", "uninitialized"}
    why = "/etc/machine-id is set: every VM of this image shares it, as with any image built by the service"
    return _finding("machine-id empty", empty, Level.NOTE, why)


def _sudo_rule(files: GuestFiles, user: str) -> GeneralizeFinding:
    rule = re.compile(rf"^{re.escape(user)}\s", re.MULTILINE)
    names = files.list("/etc/sudoers.d") or []
    there = any(rule.search(files.read(f"/etc/sudoers.d/{name}") or "") for name in names)
    why = f"/etc/sudoers.d still has a rule for {user} (cloud-init leaves it, on Azure too)"
    return _finding("no sudo rule for the build user", not there, Level.NOTE, why)


def _root_key(files: GuestFiles, user: str) -> GeneralizeFinding:
    left = (files.read("/root/.ssh/authorized_keys") or "").strip()
    why = "/root/.ssh/authorized_keys holds the build key, restricted by cloud-init to a message (on Azure too)"
    return _finding("root has no authorized keys", not left, Level.NOTE, why)


def _history(files: GuestFiles, user: str) -> GeneralizeFinding:
    there = ".bash_history" in (files.list("/root") or [])
    return _finding("no shell history", not there, Level.NOTE, "/root/.bash_history is there")
