"""What `aibemu init windows` writes builds to its end: elevated as SYSTEM, restarts, updates, a validation."""

from __future__ import annotations

from tests.scenarios.windows.workshop import Workshop


def test_the_starter_for_windows_builds(windows: Workshop) -> None:
    windows.aibemu("init", "windows", "windows.json")
    windows.aibemu("run", "windows.json")
    assert set(windows.statuses().values()) == {"ok"}
    assert "No Windows updates found" in windows.log()
    assert windows.left() == []
