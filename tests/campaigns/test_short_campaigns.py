"""A few rounds of each campaign that needs no virtual machine; by hand they run for longer: docs/tests.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns import flood, full_disk, hostile
from tests.campaigns.counts import Counts
from tests.contract.test_ssh_sshd import SSHD


def test_a_full_disk() -> None:
    counts = full_disk.campaign(5, seed=14)
    assert (counts.faults, counts.total) == ([], 5)


@pytest.mark.skipif(not Path(SSHD).exists(), reason="no /usr/sbin/sshd on this host")
@pytest.mark.parametrize(
    ("kind", "first", "column"),
    [("long-lines", 0, "cancel"), ("both-streams", 2, "SIGTERM unread"), ("console", 0, "cancel")],
)
def test_floods(kind: str, first: int, column: str) -> None:
    counts = flood.campaign(1, seed=14, first=first, kinds=[kind])
    assert (counts.faults, dict(counts.rounds)) == ([], {(kind, column): 1})
    end, rate = counts.figures
    assert end.startswith("1 of 1 over within 10 s of the cancel")
    assert "MB/s" in rate and " 0 to 0 " not in rate


def test_what_others_send() -> None:
    # From the 25th on: servers that end by themselves.
    counts = hostile.campaign(8, seed=14, first=24)
    assert (counts.faults, counts.total) == ([], 8)


def test_a_fault_is_counted_and_told() -> None:
    counts = Counts()
    counts.add("run, home", "filled", [])
    counts.add("run, home", "small", ["it failed", "and left a file"])
    assert counts.table() == ["           filled  small", "run, home       1      1", "1 of 2 clean"]
    assert len(counts.faults) == 2
