"""A machine that went off by itself: what its system knows of that becomes the error's hint."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.engine import went_off
from aibemu.engine.machines.watchdog import PoweredOff
from aibemu.errors import AibemuError, BuildCancelled, ProvisionFailed
from aibemu.testing.system import FakeSystem
from tests.unit.engine.test_failing_phases import context


def explained(tmp_path: Path, patch: pytest.MonkeyPatch, answer: str | AibemuError, *, disk: bool) -> tuple[Any, Any]:
    """The hint, and the disk that the system was given."""
    image = SimpleNamespace(info=SimpleNamespace(os_type="Plan9"))
    this = context(tmp_path, source=SimpleNamespace(image=image))
    this.services.driver.capabilities = lambda: SimpleNamespace(boots_guests=True)
    given: list[Any] = []

    class Knowing(FakeSystem):
        def powered_off(self, info: object, disk: Path | None, deadline: object) -> str:
            given.append(disk)
            if isinstance(answer, AibemuError):
                raise answer
            return answer

    @contextmanager
    def its_disk() -> Any:
        if not disk:
            raise ProvisionFailed("it has none")
        yield tmp_path

    patch.setattr(went_off, "for_image", lambda info: Knowing())
    error = PoweredOff("off", hint="look at the saved console")
    machine: Any = SimpleNamespace(disk=its_disk)
    error.machine = machine
    went_off.explain(this.state, error)
    return error.hint, given


def test_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert explained(tmp_path, monkeypatch, "its term is over", disk=True) == ("its term is over", [tmp_path])


@pytest.mark.parametrize(
    ("answer", "disk"), [("", True), (BuildCancelled("enough"), True), ("its term is over", False)]
)
def test_else_the_error_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str | AibemuError, disk: bool
) -> None:
    assert explained(tmp_path, monkeypatch, answer, disk=disk)[0] == "look at the saved console"
