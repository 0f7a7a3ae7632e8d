"""What builds of Windows templates share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aibemu.clock import SystemClock, forever
from aibemu.images import Generation
from aibemu.images.importing import import_image
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from tests.judges import need_engine, pwsh
from tests.scenarios.windows.workshop import ALIASES, Workshop, make_disk

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A whole template starts PowerShell some fifty times, a second of a busy core each."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture
def windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Workshop]:  # fmt: skip
    """A workshop, in which nothing must be left running."""
    need_engine()
    program = pwsh()
    assert program is not None
    home, work = Home.at(tmp_path / "home"), tmp_path / "work"
    work.mkdir(exist_ok=True)
    make_disk(tmp_path / "disk.raw")
    store = ImageStore(home.images, SystemClock())
    import_image(
        tmp_path / "disk.raw", store, deadline=forever(), say=lambda _: None, format="raw", os_type="Windows",
        generation=Generation.V2, provisioning=None, aliases=ALIASES, limit=1 << 30,
    )  # fmt: skip
    made = Workshop(work=work, home=home, pwsh=program, patch=monkeypatch, capture=capsys)
    yield made
    if any(home.runs.glob("*/machines/*")):
        made.aibemu("clean", "--all", "--yes")
    assert made.left() == []
