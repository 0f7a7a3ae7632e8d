"""A small finished disk, a store and a cloud in a temporary folder."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import SystemClock
from aibemu.cloud.ids import template_id
from aibemu.cloud.local import LocalCloud
from aibemu.distributors import DistributorTools, FinishedImage
from aibemu.errors import Span
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.images.store import ImageStore
from aibemu.template.model import Target

SPAN = Span(file="template.json", line=12, column=5)
# Not a whole number of MiB, so that rounding shows.
DISK_SIZE = 5 * 1024 * 1024 + 65536


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
        return Target(
            kind=kind, index=0, run_output_name=name, artifact_tags=tags or {}, options=options, span=SPAN
        )  # fmt: skip


def make_disk(folder: Path) -> tuple[Path, bytes]:
    """A qcow2 overlay on a qcow2 base, with data in both, and the bytes of the disk."""
    content = bytearray(DISK_SIZE)
    content[: 3 * 4096] = b"base" * 3072
    content[2 * 1024 * 1024 : 2 * 1024 * 1024 + 200_000] = bytes(range(250)) * 800
    raw = folder / "base.raw"
    raw.write_bytes(content)
    base, overlay = folder / "base.qcow2", folder / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, base], check=True)
    create: list[str | Path] = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", overlay]
    subprocess.run(create, check=True)
    subprocess.run(["qemu-io", "-c", "write -P 90 4M 64k", overlay], check=True, stdout=subprocess.DEVNULL)
    content[4 * 1024 * 1024 : 4 * 1024 * 1024 + 65536] = b"\x5a" * 65536
    raw.unlink()
    return overlay, bytes(content)


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    return make_disk(tmp_path_factory.mktemp("disk"))


@pytest.fixture
def world(tmp_path: Path, disk: tuple[Path, bytes]) -> World:
    clock = Clock()
    said: list[str] = []
    info = ImageInfo(
        os_type="Linux", os_name="Debian 12", generation=Generation.V1, provisioning=Provisioning.NOCLOUD,
        generalized=True, origin="run 3f2c9a1b output out1",
    )  # fmt: skip
    finished = FinishedImage(
        disk=disk[0], info=info, run_id="3f2c9a1b", template_id=template_id("sub", "rg", "gold"), template_name="gold",
        api_version="2024-02-01", location="eastus", staging_group="/subscriptions/sub/resourceGroups/IT_rg_gold_1",
        out=tmp_path / "outputs" / "out1", source_version="12.0.20240102",
    )  # fmt: skip
    (tmp_path / "templates").mkdir()
    tools = DistributorTools(
        cloud=LocalCloud(tmp_path / "cloud", clock), store=ImageStore(tmp_path / "images", clock), clock=clock,
        say=said.append, directory=tmp_path / "templates",
    )  # fmt: skip
    return World(root=tmp_path, finished=finished, tools=tools, content=disk[1], said=said)


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
