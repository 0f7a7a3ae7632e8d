"""A Windows machine that went off by itself: an evaluation copy is told as that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.disks.hives import MOST
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.images.windows import WindowsFacts
from aibemu.systems.windows.system import WindowsSystem
from tests.unit.disks.test_event_log import event_log
from tests.windows_disks import Registry, hives, make_disk, need_tools

FACTS = WindowsFacts(
    product="Windows Server 2022 Datacenter Evaluation", edition="ServerDatacenterEval", build=20348,
    installation="Server", evaluation=True, image_state="",
)  # fmt: skip
INFO = ImageInfo(
    os_type="Windows", os_name="Windows", generation=Generation.V1, provisioning=Provisioning.UNKNOWN,
    generalized=True, origin="test", windows=FACTS,
)  # fmt: skip
LOG = "Windows\\System32\\winevt\\Logs\\System.evtx"


def told(info: ImageInfo, disk: Path | None = None) -> str:
    return WindowsSystem().powered_off(info, disk, forever())


WLMS = "C:\\Windows\\system32\\wlms\\wlms.exe (BOX)"


@pytest.mark.parametrize(
    ("who", "event", "before", "sure"),
    [
        (WLMS, 1074, 0, True), (WLMS.upper(), 1074, 500, True),
        ("C:\\WINDOWS\\System32\\WLMS\\Wlms.EXE (BOX)", 1074, 0, True),
        (WLMS, 7045, 0, False), ("shutdown", 1074, 0, False),
        (WLMS, 1074, 700, False),  # asked for by somebody who made the image
    ],
)  # fmt: skip
def test_its_event_log_says_who_asked(tmp_path: Path, who: str, event: int, before: int, sure: bool) -> None:
    need_tools()
    asked = event.to_bytes(2, "little") + who.encode("utf-16-le")
    # One is larger than what is read of a file as a whole. The newest records are in the midst, as of a full log.
    empty: list[list[tuple[int, bytes]]] = [[]] * (MOST // 65536 if before == 500 else 0)
    log = event_log([(100, b"old")] * 900, *empty, [(5000 - before, asked), (5000, b"last")], [(300, b"older")])
    disk = make_disk(tmp_path / "disk.qcow2", hives=hives(Registry()), files={LOG: log}, format="qcow2")
    said = told(replace(INFO, windows=None), disk)
    assert ("event 1074, wlms.exe" in said) is sure
    assert ("slmgr.vbs /ato" in said) is sure


def test_without_the_log_the_image_says_what_may_be(tmp_path: Path) -> None:
    nothing = tmp_path / "none"
    assert "Datacenter Evaluation shuts itself down about every hour" in told(INFO, nothing)
    assert "aibemu images show" in told(replace(INFO, windows=replace(FACTS, evaluation=False)))
