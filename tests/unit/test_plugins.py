"""Entry points: names without importing, broken ones with a reason."""

from __future__ import annotations

from importlib import metadata
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from aibemu import plugins
from aibemu.errors import HostNotReady, NotFoundError
from aibemu.testing.plugins import write_distribution


@pytest.fixture
def points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("aibtest_good", "class Driver: ...\n"), ("aibtest_bad", "raise RuntimeError('no licence')\n")):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    group = "aibemu.drivers"
    made = EntryPoints(
        (
            EntryPoint("good", "aibtest_good:Driver", group),
            EntryPoint("bad", "aibtest_bad:Driver", group),
            EntryPoint("gone", "aibtest_good:Nothing", group),
        )
    )

    def entry_points(**query: Any) -> EntryPoints:
        return made.select(**query)

    monkeypatch.setattr(plugins, "entry_points", entry_points)


@pytest.mark.usefixtures("points")
def test_names_import_nothing_and_broken_plugins_are_findings() -> None:
    assert plugins.names("aibemu.drivers") == {"good", "bad", "gone"}
    assert plugins.load("aibemu.drivers", "good").__name__ == "Driver"
    reasons = plugins.broken("aibemu.drivers")
    assert sorted(reasons) == ["bad", "gone"]
    assert "RuntimeError: no licence" in reasons["bad"]
    with pytest.raises(HostNotReady, match="no licence"):
        plugins.load("aibemu.drivers", "bad")


@pytest.mark.usefixtures("points")
def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(NotFoundError) as caught:
        plugins.load("aibemu.drivers", "goood")
    assert caught.value.hint == "did you mean 'good'? there are: bad, gone, good"


def test_the_built_in_plugins_are_registered() -> None:
    assert {"Shell", "File"} <= plugins.names("aibemu.customizers")
    assert {"qemu", "dryrun"} <= plugins.names("aibemu.drivers")


def test_what_is_installed_is_looked_for_once_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def entry_points() -> Any:
        looks.append(1)
        return metadata.entry_points()

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    monkeypatch.syspath_prepend(str(tmp_path))
    for group in plugins.GROUPS:
        plugins.names(group)
    assert plugins.load("aibemu.drivers", "dryrun") and len(looks) == 1
    write_distribution(tmp_path, "later", {"aibemu.drivers": {"later": "aibtest_later:Driver"}})
    assert "later" in plugins.names("aibemu.drivers") and len(looks) == 2
