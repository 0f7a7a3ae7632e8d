"""People hear of a file that takes long, and not of one that does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aibemu.engine.machines.transfers import FIRST, Transfers
from aibemu.testing.clock import FakeClock


def test_a_file_that_takes_long_is_told_of_at_growing_intervals() -> None:
    clock, told = FakeClock(), list[str]()

    def emit(kind: object, **fields: Any) -> None:
        told.append(fields["message"])

    services: Any = SimpleNamespace(clock=clock, emit=emit)
    transfers = Transfers(services)
    transfers("C:\\small", 10, 10)
    for piece in range(1, 100):
        transfers("C:\\big", piece * 2**20, 100 * 2**20)
        clock.advance(1.0)
    transfers("C:\\big", 100 * 2**20, 100 * 2**20)
    assert told[0] == f"C:\\big: {FIRST + 1:.1f} of 100.0 MiB sent to the guest"
    assert len(told) == 4
    transfers("C:\\next", 1, 2)
    assert len(told) == 4
