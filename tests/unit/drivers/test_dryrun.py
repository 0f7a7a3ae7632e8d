from __future__ import annotations

from pathlib import Path

import pytest

from aibemu.errors import ProvisionFailed, UsageError
from aibemu.hypervisor import Capabilities, Firmware, Level
from aibemu.testing.contract import MIB, make_folders, make_spec
from aibemu_drivers.dryrun import DryrunDriver
from aibemu_drivers.qemu import QemuDriver
from aibemu_drivers.scripted import ScriptedDriver


def test_a_driver_that_neither_boots_nor_plays_guests_makes_dry_runs(tmp_path: Path) -> None:
    folders = make_folders(tmp_path)
    assert [made({}, folders).capabilities().dry for made in (DryrunDriver, ScriptedDriver, QemuDriver)] == [
        True, False, False,
    ]  # fmt: skip
    # So does any driver of a plugin that says no more than that it boots nothing.
    assert Capabilities(boots_guests=False, screenshots=False, firmwares=frozenset(Firmware)).dry


def test_it_makes_nothing_finds_nothing_and_needs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    driver = DryrunDriver({}, make_folders(tmp_path))
    (tmp_path / "base.img").write_bytes(bytes(MIB))
    with pytest.raises(ProvisionFailed, match="makes no machines"):
        driver.create(make_spec("run-build", tmp_path / "m", tmp_path / "base.img"))
    assert not (tmp_path / "m").exists()
    assert driver.find(tmp_path / "m") is None and driver.list("run") == ()
    assert [finding.level for finding in driver.check()] == [Level.OK]
    assert driver.capacity().cpus >= 1 and driver.accelerator().slowness == 1.0


@pytest.mark.parametrize("name", ["script", "freezes", "transcript"])
def test_it_has_no_options_by_which_it_could_seem_to_run_something(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"has no option {name}"):
        DryrunDriver({name: "yes"}, make_folders(tmp_path))
