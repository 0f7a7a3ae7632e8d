"""What this host gives one machine: a matter of what it has, never of what is free."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.engine.preparing.host import shape_host
from aibemu_drivers import local


@pytest.mark.parametrize(
    ("has", "gives"), [(1024, 512), (3900, 1536), (4096, 2048), (7900, 3072), (16000, 6144), (64000, 24576)]
)
def test_a_machine_gets_up_to_half_of_what_the_host_has_in_steps(has: int, gives: int) -> None:
    assert shape_host(has, 2, 0).memory_mib == gives


@given(has=st.integers(2, 1 << 24), cap=st.integers(1, 1 << 20))
def test_a_share_is_a_step_of_at_most_half_and_a_cap_counts_for_more(has: int, cap: int) -> None:
    share = shape_host(has, 1, 0).memory_mib
    assert has / 4 - 1 < share * 4 / 3 and share <= has / 2
    assert shape_host(has, 1, cap).memory_mib == cap
    assert share in {1 << power for power in range(24)} | {3 << power for power in range(24)}


def test_what_is_free_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_MEMINFO", tmp_path / "meminfo")
    found = set()
    for free in (100, 3000, 15000):
        (tmp_path / "meminfo").write_text(f"MemTotal: 16384000 kB\nMemFree: 9 kB\nMemAvailable: {free * 1024} kB\n")
        capacity = local.local_capacity()
        found.add(shape_host(capacity.memory_mib, capacity.cpus, 0))
    assert len(found) == 1 and found.pop().memory_mib == 6144
