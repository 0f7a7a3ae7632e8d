"""Accounts and their passwords, as the files of a Linux system have them."""

from __future__ import annotations

import posixpath

from aibemu.systems.findings import GuestFiles

_NO_SHELLS = frozenset({"nologin", "false", "sync", "shutdown", "halt"})


def passwords(files: GuestFiles) -> dict[str, str]:
    """Account -> the password field of /etc/shadow."""
    lines = (line.split(":") for line in (files.read("/etc/shadow") or "").splitlines())
    return {fields[0]: fields[1] for fields in lines if len(fields) > 1}


def login_homes(files: GuestFiles, user: str) -> list[str]:
    """The homes of the accounts that a shell lets in, wherever they are; `user`'s own not."""
    lines = (line.split(":") for line in (files.read("/etc/passwd") or "").splitlines())
    accounts = [(one[0], one[5], posixpath.basename(one[6])) for one in lines if len(one) > 6]
    return [
        posixpath.normpath(home) for name, home, shell in accounts
        if name != user and home.strip("/") and home.startswith("/") and shell not in _NO_SHELLS
    ]  # fmt: skip


def usable(password: str) -> bool:
    """True if somebody can log in by it: it is empty, or not locked by a leading * or !."""
    return not password.startswith(("*", "!"))
