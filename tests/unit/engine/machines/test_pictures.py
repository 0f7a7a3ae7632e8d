"""Pictures of a machine that boots: one every two minutes, so many at most, and none that ends a boot."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aibemu.engine.machines.pictures import EVERY, MOST, Pictures
from aibemu.errors import ProvisionFailed
from aibemu.testing.clock import FakeClock


class Screen:
    """Of a machine. broken: it cannot be read."""

    def __init__(self) -> None:
        self.broken = False

    def screenshot(self, target: Path) -> Path:
        if self.broken:
            raise ProvisionFailed("no answer")
        target.write_bytes(b"png")
        return target


def test_one_every_two_minutes_and_the_newest_are_kept(tmp_path: Path) -> None:
    clock, screen = FakeClock(), Screen()
    services: Any = SimpleNamespace(clock=clock, run=SimpleNamespace(console=tmp_path / "console"))
    take = Pictures(services, screen, "build")  # type: ignore[arg-type]
    take()
    assert not (tmp_path / "console").exists()
    for _ in range(MOST + 2):
        clock.advance(EVERY)
        take()
        take()
    names = sorted(path.name for path in (tmp_path / "console").iterdir())
    assert len(names) == MOST and (names[0], names[-1]) == ("build-003.png", f"build-{MOST + 2:03}.png")
    screen.broken = True
    clock.advance(EVERY)
    take()
    assert len(list((tmp_path / "console").iterdir())) == MOST
