"""What is known of the files that a template names by scriptUri and sourceUri, without fetching anything here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One file, looked at.

    problem: why it cannot be had, or None. size in bytes, sha256 as 64 hex digits (empty: not to be judged), head: its
    first bytes, as many as a script may have. place: how to call it in a finding: a path as the user would type it, or
    the URI.
    """

    place: str
    problem: str | None = None
    size: int = 0
    sha256: str = ""
    head: bytes = b""


Files = Mapping[str, RemoteFile]
"""By the URI as the template has it. A URI that is not there was not looked at, and no rule may judge it."""
