"""What the machine that stands in for Windows looks at on its own disk before it boots; libhivex wrote the hives."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from aibemu.images.windows_answers import used_up
from fixtures.guests.vm.loader import HIVE
from tests.windows_disks import Registry, make_hive, need_tools

ROOT = Path(__file__).parents[3]
# hivex is a package of the system's Python.
PYTHON = "/usr/bin/python3"
ASK = (
    "import json, sys; from pathlib import Path; from fixtures.guests.vm import loader; drive = Path(sys.argv[1]); "
    "print(json.dumps([loader.not_started(drive), loader.taken_first(drive)]))"
)
NAMED = '[HKEY_LOCAL_MACHINE\\SYSTEM\\Setup]\n"UnattendFile"="C:\\\\x.xml"\n\n'
WAITING = b'<unattend xmlns="urn:schemas-microsoft-com:unattend"><settings pass="oobeSystem"></settings></unattend>'


@pytest.fixture(autouse=True)
def _needed() -> None:
    need_tools()
    if subprocess.run([PYTHON, "-c", "import hivex"], capture_output=True, check=False).returncode:
        pytest.skip("python3-hivex is not installed (./test.sh --setup-only)")


def ask(drive: Path) -> tuple[list[str], list[str]]:
    done = subprocess.run(
        [PYTHON, "-c", ASK, str(drive)], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)}
    )
    off, taken = json.loads(done.stdout)
    return off, taken


@pytest.mark.parametrize(
    ("registry", "off"),
    [
        (Registry(), []), (Registry(overrides={"pci": 3, "storahci": 3, "vmbus": 3}), ["pci", "storahci"]),
        (Registry(overrides={"pci": 0}), []), (Registry(start={"disk": 3}), ["disk"]),
        (Registry(start={"storahci": None}), ["storahci"]),
    ],
)  # fmt: skip
def test_drivers_that_the_loader_does_not_start(tmp_path: Path, registry: Registry, off: list[str]) -> None:
    make_hive(tmp_path / HIVE, "SYSTEM", registry.text("SYSTEM"))
    assert ask(tmp_path) == (off, [])


def test_answer_files_that_setup_takes_first(tmp_path: Path) -> None:
    make_hive(tmp_path / HIVE, "SYSTEM", Registry(more={"SYSTEM": NAMED}).text("SYSTEM"))
    waiting, used = (tmp_path / "Windows/Panther" / name for name in ("Unattend/Unattend.xml", "Unattend.xml"))
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(WAITING)
    used.write_bytes(used_up(400))
    assert ask(tmp_path) == ([], ["C:\\x.xml", "Unattend/Unattend.xml"])
