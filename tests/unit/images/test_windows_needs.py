"""What is said of a Windows image before a build: by the image alone, without a disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.images import BaseImage, Generation, ImageInfo, Provisioning
from aibemu.images.windows import GENERALIZED, WindowsFacts
from aibemu.images.windows_needs import needs, objection
from aibemu.systems.windows.system import WindowsSystem

FACTS = WindowsFacts(
    product="Windows Server 2022 Datacenter", edition="ServerDatacenter", build=20348, revision=169,
    installation="Server", evaluation=False, image_state=GENERALIZED,
)  # fmt: skip
INFO = ImageInfo(
    os_type="Windows", os_name="Windows Server 2022 Datacenter", generation=Generation.V2,
    provisioning=Provisioning.UNKNOWN, generalized=True, origin="test", windows=FACTS,
)  # fmt: skip


def test_nothing_is_said_of_an_image_that_is_ready_or_was_not_read() -> None:
    for info in (INFO, replace(INFO, windows=None), replace(INFO, windows=replace(FACTS, image_state="", build=0))):
        assert needs("x", info) == [] and objection(info) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_state": "IMAGE_STATE_COMPLETE"}, "not generalised (IMAGE_STATE_COMPLETE)"),
        ({"answer_files": ("Windows\\Panther\\Unattend.xml",)}, "Windows\\Panther\\Unattend.xml"),
        ({"setup_scripts": ("Windows\\OEM\\ErrorHandler.cmd",)}, "ERROR HANDLER"),
        ({"agents": ("RdAgent", "cloudbase-init")}, "cloudbase-init"), ({"unprepared": ("pci",)}, "switched off: pci"),
        ({"filters": ("DiskDrive: acme",)}, "DiskDrive: acme"), ({"evaluation": True}, "about once an hour (wlms.exe"),
        ({"build": 9600}, "older than Windows Server 2016"),
    ],
)  # fmt: skip
def test_plan_and_run_say_each_and_what_to_do(change: dict[str, object], words: str) -> None:
    info = replace(INFO, windows=replace(FACTS, **change))  # type: ignore[arg-type]
    image = BaseImage(digest="a" * 64, path=Path(), virtual_size=1, file_size=1, created="", info=info)
    (doubt,) = WindowsSystem().doubts(image)
    assert words in doubt and doubt.partition("; ")[2]
    assert bool(WindowsSystem().objection(info)) == ("image_state" in change)


def test_what_is_no_obstacle_is_not_said() -> None:
    """Azure's agents start here as there; its scripts of Setup are run."""
    facts = replace(FACTS, agents=("RdAgent",), setup_scripts=("Windows\\OEM\\SetupComplete2.cmd",), revision=0)
    assert needs("x", replace(INFO, windows=facts)) == [] and facts.version == "20348"


def test_the_command_names_the_image_as_its_reader_does() -> None:
    (need,) = needs("my:image", replace(INFO, windows=replace(FACTS, unprepared=("pci", "storahci"))))
    assert need.command == "aibemu images prepare my:image" and "pci, storahci" in need.text
    assert need.as_json()["run"] and str(need) == f"{need.text}; {need.run}", "a build needs no command"
