"""A Windows image that does not boot on other hardware, through the whole engine: the disk of each machine is prepared
before it starts. The guests are played, by a made-up system that does to disks what Windows' does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import SystemClock, forever
from aibemu.cloud.local import LocalCloud
from aibemu.disks.hives import open_windows
from aibemu.images import windows_boot
from aibemu.images.importing import import_image
from aibemu.images.store import ImageStore
from aibemu.images.windows_answers import ANSWERS, has_unused_settings
from aibemu.systems.windows.system import WindowsSystem
from aibemu.testing.plugins import write_distribution
from aibemu.testing.system import ENTRY_POINTS, OS_TYPE, FakeSystem
from aibemu_drivers.scripted import ScriptedDriver
from tests.scenarios.layered import Workshop
from tests.scenarios.observing import Seen
from tests.scenarios.test_another_system import RESTARTS, SOURCE, STEPS
from tests.windows_disks import Registry, hives, make_disk, need_tools

WAITING = b'<unattend xmlns="urn:schemas-microsoft-com:unattend"><settings pass="oobeSystem"></settings></unattend>'
MACHINES = ["build", "verify", "validate"]
Make = Callable[..., Workshop]


@pytest.fixture
def make(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A workshop with an image on which these things are wrong."""
    need_tools()
    monkeypatch.syspath_prepend(str(write_distribution(tmp_path / "site", "plan9", ENTRY_POINTS)))
    windows, capabilities = WindowsSystem(), ScriptedDriver.capabilities
    monkeypatch.setattr(FakeSystem, "prepare", lambda self, *args, **words: windows.prepare(*args, **words))
    monkeypatch.setattr(FakeSystem, "seal", lambda self, *args, **words: windows.seal(*args, **words))
    monkeypatch.setattr(FakeSystem, "seals_disks", True)
    monkeypatch.setattr(FakeSystem, "doubts", lambda self, image: windows.doubts(image))
    monkeypatch.setattr(
        ScriptedDriver, "capabilities", lambda self: replace(capabilities(self), boots_guests=True, plays_guests=False)
    )  # fmt: skip
    shop.guest = [RESTARTS, {"match": "^sysname", "stdout": ["@HOSTNAME@"]}]

    def made(files: dict[str, bytes], **registry: Any) -> Workshop:
        disk = make_disk(tmp_path / "disk.raw", hives=hives(Registry(**registry)), files=files)
        store = ImageStore(shop.home.images, SystemClock())
        image = import_image(disk, store, deadline=forever(), say=lambda _: None).image
        image = store.describe(image.digest, replace(image.info, os_type=OS_TYPE))
        LocalCloud(shop.home.cloud, SystemClock()).put_managed_image(
            SOURCE["imageId"], location="westeurope", digest=image.digest, info=image.info, tags={}, source_id=""
        )
        validate = {"inVMValidations": [{"type": "PowerShell", "name": "check", "inline": ["echo fine"]}]}
        shop.write(source=SOURCE, customize=STEPS, validate=validate)
        return shop

    return made


def digests(shop: Workshop) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shop.home.images.rglob("*.qcow2")}


def run(shop: Workshop, exit: int = 0, *args: str) -> Seen:
    return shop.call(args=list(args), exit=exit, clock="real")


def test_each_machine_is_prepared_before_it_starts_and_the_image_stays(make: Make) -> None:
    shop = make({ANSWERS[2]: WAITING}, overrides={"pci": 3, "storahci": 3})
    before = digests(shop)
    planned = shop.call(command=["plan", "template.json"], args=[], exit=0, clock="real")
    for words in ("switched off: pci, storahci", ANSWERS[2], "before the first boot"):
        assert words in planned.out + planned.err
    seen = run(shop)
    prepared = [event for event in seen.events if event["kind"] == "disk.prepared"]
    assert [(event["role"], len(event["changes"])) for event in prepared] == [("build", 3), ("validate", 0)]
    order = [event["kind"] for event in seen.events if event["kind"] in ("disk.prepared", "machine.started")]
    assert order == ["disk.prepared", "machine.started"] * 2
    assert "build machine: its disk before its first boot: 3 changes" in seen.out + seen.err
    (sealed,) = [event for event in seen.events if event["kind"] == "disk.sealed"]
    assert sealed["changes"] == [], "what was switched on for this build is on"
    assert {name: digest for name, digest in digests(shop).items() if name in before} == before
    (made,) = set(digests(shop)) - set(before)
    with open_windows(next(shop.home.images.rglob(made)), "qcow2", forever()) as windows:
        assert windows_boot.prepare(windows, change=False).changes == ()
        assert not has_unused_settings(windows.read(ANSWERS[2]) or b"")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"hiberfil.sys": b"HIBR" + bytes(5000)}, "Windows is hibernated on this disk")],
)  # fmt: skip
def test_one_that_cannot_be_prepared_ends_the_build_before_anything_boots(
    make: Make, wrong: dict[str, bytes], why: str
) -> None:
    shop = make(wrong, overrides={"pci": 3})
    before = digests(shop)
    seen = run(shop, 1)
    assert seen.err.count(why) == 1 and "powercfg /h off" in seen.err
    kinds = {event["kind"] for event in seen.events}
    assert not kinds & {"disk.prepared", "machine.started", "machine.lost"}
    assert seen.run is not None and not list(seen.run.machines.glob("*")) and digests(shop) == before
