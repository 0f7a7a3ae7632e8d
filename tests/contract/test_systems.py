"""Every guest system keeps the contract: Linux, Windows, and one that does not exist."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.images import ImageInfo, Provisioning
from aibemu.systems import GuestSystem, load
from aibemu.systems.linux.system import LinuxSystem
from aibemu.systems.windows.system import WindowsSystem
from aibemu.testing.plugins import write_distribution
from aibemu.testing.system import ENTRY_POINTS, OS_TYPE, FakeSystem
from aibemu.testing.systems import SystemContract


class TestLinux(SystemContract):
    def new_system(self) -> GuestSystem:
        system = load("Linux")
        assert isinstance(system, LinuxSystem)
        return system


class TestWindows(SystemContract):
    def new_system(self) -> GuestSystem:
        system = load("Windows")
        assert isinstance(system, WindowsSystem)
        return system

    def new_info(self) -> ImageInfo:
        return replace(super().new_info(), os_type="Windows", provisioning=Provisioning.UNKNOWN)


class TestPlan9(SystemContract):
    @pytest.fixture(autouse=True)
    def _installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(write_distribution(tmp_path / "site", "plan9", ENTRY_POINTS)))

    def new_system(self) -> GuestSystem:
        system = load(OS_TYPE)
        assert isinstance(system, FakeSystem)
        return system
