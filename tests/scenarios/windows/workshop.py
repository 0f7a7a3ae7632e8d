"""Builds of Windows templates on the driver `stand-in`, through the real command line: what is typed, and what is seen.

The source image is a made disk, which holds no Windows: the machine brings its own (tests/stand_in_driver.py).
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aibemu.cli import main
from aibemu.paths import Home
from aibemu.reports.fold import fold
from aibemu.reports.summary import RunSummary
from aibemu.runs.store import Run, RunStore
from tests import stand_in_driver

ALIASES = tuple(
    f"MicrosoftWindowsServer:WindowsServer:{sku}:20348.1.260101"
    for sku in (
        "2019-Datacenter", "2022-datacenter-g2", "2022-datacenter-azure-edition", "2025-datacenter-azure-edition",
    )
)  # fmt: skip
DISK_BYTES = 32 << 20


def make_disk(file: Path) -> None:
    """A disk with one partition that says it is NTFS."""
    sectors = DISK_BYTES // 512
    head = bytearray(1 << 20)
    head[446:462] = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 7, b"\xff" * 3, 2048, sectors - 2048)
    head[510:512] = b"\x55\xaa"
    file.write_bytes(head + b"\xeb\x52\x90NTFS    ")
    os.truncate(file, DISK_BYTES)


def template(
    customize: Sequence[Mapping[str, Any]], *, validators: Sequence[Mapping[str, Any]] = (),
    distribute: Sequence[Mapping[str, Any]] = ({"type": "VHD", "runOutputName": "disk"},), **properties: Any,
) -> dict[str, Any]:  # fmt: skip
    """An image template of Windows Server 2022 with these steps."""
    publisher, offer, sku, _ = ALIASES[1].split(":")
    given: dict[str, Any] = {
        "source": {"type": "PlatformImage", "publisher": publisher, "offer": offer, "sku": sku, "version": "latest"},
        "customize": list(customize), "distribute": list(distribute), **properties,
    }  # fmt: skip
    if validators:
        given["validate"] = {"inVMValidations": list(validators)}
    group = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g"
    identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/builder"
    return {
        "type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01", "name": "windows",
        "location": "westeurope", "identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}},
        "properties": given,
    }  # fmt: skip


@dataclass(kw_only=True)
class Workshop:
    """A home with an image of Windows, and a folder to work in."""

    work: Path
    home: Home
    pwsh: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    # Fields of the guests' settings: updates, commands that are only noted.
    guest: dict[str, Any] = field(default_factory=dict)

    def write(self, name: str, content: object) -> Path:
        """A file of the folder: a text as it is, all else as JSON."""
        file = self.work / name
        file.write_text(content if isinstance(content, str) else json.dumps(content, indent=2), encoding="utf-8")
        return file

    def words(self, *given: str) -> list[str]:
        """The whole command line; a build gets the driver."""
        builds = given[0] == "run"
        driver = stand_in_driver.options(self.pwsh, self.write("guest.json", self.guest)) if builds else []
        return ["--home", str(self.home.runs.parent), *given, *driver]

    def aibemu(self, *given: str, exit: int = 0) -> str:
        """Run a verb in this process; all that it printed."""
        self.capture.readouterr()
        with self.patch.context() as local:
            local.chdir(self.work)
            code = main.run(self.words(*given))
        out, err = self.capture.readouterr()
        assert "Traceback" not in err and "this is a bug" not in err, self.story(out, err)
        assert code == exit, self.story(out, err)
        return out + err

    def type(self, *given: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a verb as a program with standard input. The test's own time is its end: nobody knows how long a
        PowerShell takes on a busy host."""
        return subprocess.run(
            [sys.executable, "-m", "aibemu", *self.words(*given)], cwd=self.work, input=stdin, capture_output=True,
            text=True, check=False,
        )  # fmt: skip

    @property
    def run(self) -> Run:
        """The newest run."""
        return max(RunStore(self.home.runs).runs(), key=lambda run: run.events_file.stat().st_mtime)

    @property
    def summary(self) -> RunSummary:
        """What the newest run's record says."""
        return fold(self.run.events())

    def log(self, name: str = "customization.log") -> str:
        """A log of the newest run, as the service writes it."""
        return self.run.log(name).read_text(encoding="utf-8")

    def statuses(self) -> dict[str, str]:
        """Each step of the newest run by its label, the hidden one too."""
        return {step.label: step.status for step in self.summary.steps}

    def story(self, out: str, err: str) -> str:
        """For a failure: what was printed, and what the machines' processes said."""
        said = [file.read_text(encoding="utf-8") for file in self.home.runs.rglob(stand_in_driver.LOG)]
        return "\n".join(["--- stdout", out, "--- stderr", err, "--- machines", *said])

    def left(self) -> list[str]:
        """Machines, secrets and processes that are still there."""
        folders = [path for name in ("machines", "work") for path in self.home.runs.glob(f"*/{name}/*")]
        processes = stand_in_driver.guests_processes(self.home.runs)
        return [*map(str, folders), *map(str, processes)]
