"""A small finished disk, a store and a cloud in a temporary folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import SystemClock
from aibemu.distributors import DistributorTools, FinishedImage
from aibemu.template.model import Target
from aibemu.testing.distributor import make_disk, make_surroundings, make_target


class Clock(SystemClock):
    def now(self) -> datetime:
        return datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)


@dataclass
class World:
    """Everything around a distributor; `said` is what it told people."""

    root: Path
    finished: FinishedImage
    tools: DistributorTools
    content: bytes
    said: list[str] = field(default_factory=list)

    def target(self, kind: str, name: str = "out1", tags: dict[str, str] | None = None, **options: Any) -> Target:
        return make_target(kind, name, tags, **options)


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    return make_disk(tmp_path_factory.mktemp("disk"))


@pytest.fixture
def world(tmp_path: Path, disk: tuple[Path, bytes]) -> World:
    made = make_surroundings(tmp_path, disk, Clock())
    return World(root=tmp_path, finished=made.finished, tools=made.tools, content=made.content, said=made.said)


@pytest.fixture
def count_converts(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often a disk was written as qcow2 so far."""
    from aibemu.disks import convert

    calls: list[Path] = []
    real = convert.to_qcow2

    def counted(source: Any, target: Path, **options: Any) -> None:
        calls.append(target)
        real(source, target, **options)

    monkeypatch.setattr(convert, "to_qcow2", counted)
    return lambda: len(calls)
