"""Accounts and their passwords, as the files of a Linux system have them."""

from __future__ import annotations

from aibemu.systems.findings import GuestFiles


def passwords(files: GuestFiles) -> dict[str, str]:
    """Account -> the password field of /etc/shadow."""
    lines = (line.split(":") for line in (files.read("/etc/shadow") or "").splitlines())
    return {fields[0]: fields[1] for fields in lines if len(fields) > 1}


def usable(password: str) -> bool:
    """True if somebody can log in by it: it is empty, or not locked by a leading * or !."""
    return not password.startswith(("*", "!"))
