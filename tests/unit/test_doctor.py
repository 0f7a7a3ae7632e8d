"""Each check finds what it is for."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from aibemu import doctor, plugins
from aibemu.clock import SystemClock
from aibemu.hypervisor import Accelerator, Capabilities, Capacity, Finding, Firmware, Level
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from aibemu.records import DamagedRecordWarning


def levels(findings: object) -> dict[str, Level]:
    return {finding.check: finding.level for finding in findings}  # type: ignore[attr-defined]


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = list(doctor.check_folders(Home.at(tmp_path / "file" / "below")))
    assert all(finding.level is Level.ERROR and "--home" in (finding.fix or "") for finding in found)
    assert set(levels(doctor.check_folders(Home.at(tmp_path))).values()) == {Level.OK}


def test_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    found = {finding.check: finding for finding in doctor.check_programs()}
    assert (found["qemu-img"].level, found["qemu-img"].fix) == (Level.ERROR, "apt-get install qemu-utils")
    assert found["mmdebstrap"].level is Level.NOTE


def test_settings_that_are_wrong(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    home.config.mkdir()
    (home.config / "config.yaml").write_text("drivr: x\n")
    (found,) = doctor.check_settings(home, {})
    assert found.level is Level.ERROR and "config.yaml:1:1" in found.message


def test_a_broken_plugin_is_a_warning_unless_it_is_the_chosen_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "names", lambda group: frozenset({"qemu", "other"}))
    monkeypatch.setattr(plugins, "broken", lambda group: {"other": "no licence", "qemu": "no qemu"})
    assert {finding.level for finding in doctor.check_plugins() if finding.message == "no licence"} == {Level.WARNING}
    found = list(doctor.check_drivers(Home.at(tmp_path), {}))
    assert [(finding.level, finding.message) for finding in found] == [(Level.ERROR, "no qemu")]


def test_driver_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Driver:
        def __init__(self, options: object, folders: object) -> None: ...

        def check(self) -> list[Finding]:
            return [Finding(check="kvm", level=Level.ERROR, message="m")]

    monkeypatch.setattr(plugins, "names", lambda group: frozenset({"qemu", "other"}))
    monkeypatch.setattr(plugins, "broken", lambda group: {})
    monkeypatch.setattr(plugins, "load", lambda group, name: Driver)
    found = levels(doctor.check_drivers(Home.at(tmp_path), {}))
    assert found == {"qemu: kvm": Level.ERROR, "other: kvm": Level.NOTE}


def test_an_empty_and_a_broken_store(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    assert levels(doctor.check_images(home, SystemClock())) == {"image store": Level.NOTE}
    (home.images / "records").mkdir(parents=True)
    record = home.images / "records" / f"{'a' * 64}.json"
    record.write_text("{")
    with pytest.warns(DamagedRecordWarning):
        assert levels(doctor.check_images(home, SystemClock())) == {"image store": Level.NOTE}
    assert not record.exists(), "it is set aside, and costs only itself"


class SlowDriver:
    """A driver that boots guests, on a small host without hardware acceleration."""

    chosen = Accelerator(name="tcg", reason="there is no /dev/kvm", slowness=5.0)
    memory = 2048

    def __init__(self, options: object, folders: object) -> None: ...

    def capabilities(self) -> Capabilities:
        return Capabilities(boots_guests=True, screenshots=True, firmwares=frozenset(Firmware))

    def accelerator(self) -> Accelerator:
        return self.chosen

    def capacity(self) -> Capacity:
        return Capacity(memory_mib=self.memory, free_mib=self.memory, cpus=2)


class FastDriver(SlowDriver):
    chosen = Accelerator(name="kvm", reason="a test guest ran in 0.02 s", slowness=1.0)
    memory = doctor.LEAST_FOR_WINDOWS


@pytest.mark.parametrize(("has_windows", "level"), [(False, Level.NOTE), (True, Level.WARNING)])
def test_what_windows_guests_lack_is_a_note_until_there_is_a_windows_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_windows: bool, level: Level
) -> None:
    home = Home.at(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    monkeypatch.setattr(plugins, "load", lambda group, name: SlowDriver)
    if has_windows:
        info = ImageInfo(
            os_type="Windows", os_name="Windows Server 2022", generation=Generation.V1,
            provisioning=Provisioning.UNKNOWN, generalized=True, origin="test",
        )  # fmt: skip
        monkeypatch.setattr(ImageStore, "images", lambda self: [SimpleNamespace(info=info)])
    found = {finding.check: finding for finding in doctor.check_windows(home, SystemClock(), {})}
    assert {finding.level for finding in found.values()} == {level}
    assert found["windows: images"].fix == "apt-get install qemu-utils"
    assert "there is no /dev/kvm" in found["windows: speed"].message and "--slow" in found["windows: speed"].message
    assert found["windows: memory"].message == "2048 MiB, and one machine wants 4096"


def test_a_host_for_windows_guests_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
    monkeypatch.setattr(plugins, "load", lambda group, name: FastDriver)
    found = levels(doctor.check_windows(Home.at(tmp_path), SystemClock(), {}))
    assert found == dict.fromkeys(["windows: images", "windows: speed", "windows: memory"], Level.OK)


def test_a_driver_that_boots_no_guests_needs_nothing_for_windows(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    home.config.mkdir()
    (home.config / "config.yaml").write_text("driver: dryrun\n")
    assert set(levels(doctor.check_windows(home, SystemClock(), {}))) == {"windows: images"}
