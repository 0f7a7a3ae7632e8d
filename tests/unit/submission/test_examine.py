"""From what a user types to a checked template: files beside it, secrets, what is suppressed."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aibemu.arm.diagnostics import Severity, TemplateInvalid
from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.errors import BuildCancelled
from aibemu.paths import Home
from aibemu.redact import Redactor
from aibemu.settings import Settings
from aibemu.submission.examine import Examined, examine
from aibemu.submission.request import TemplateRequest
from aibemu.testing.clock import FakeClock

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/builder"


def resource(*customize: Any, **changes: Any) -> dict[str, Any]:
    return {
        "type": "Microsoft.VirtualMachineImages/imageTemplates",
        "apiVersion": "2024-02-01",
        "name": "web",
        "location": "westeurope",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}},
        "properties": {
            "source": {
                "type": "PlatformImage", "publisher": "Debian", "offer": "debian-12", "sku": "12", "version": "latest"
            },
            "customize": list(customize),
            "distribute": [{"type": "VHD", "runOutputName": "disk"}],
        },
        **changes,
    }  # fmt: skip


def deployment(*resources: Any, **more: Any) -> dict[str, Any]:
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    return {"$schema": schema, "contentVersion": "1.0.0.0", "resources": list(resources), **more}


class Desk:
    """A folder with a template, and a home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home.at(folder / "home")

    def examine(self, template: Any, *, build: bool = False, **options: Any) -> Examined:
        path = self.folder / "t.json"
        path.write_text(json.dumps(template, indent=1))
        request = TemplateRequest.of_file(path, Path.cwd(), **options)
        return examine(
            request, home=self.home, settings=Settings(), clock=FakeClock(), build=build, redactor=Redactor(),
            kinds=frozenset({"Shell", "File"}),
        )  # fmt: skip

    def ids(self, template: Any, **options: Any) -> set[str]:
        return {found.id for found in self.examine(template, **options).diagnostics}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def step(uri: str, **more: Any) -> dict[str, Any]:
    return {"type": "Shell", "name": "s", "scriptUri": uri, **more}


def test_local_scripts_are_looked_at(desk: Desk) -> None:
    script = b"#!/bin/sh\necho hello\n"
    (desk.folder / "a.sh").write_bytes(script)
    right = hashlib.sha256(script).hexdigest()

    assert "E26" not in desk.ids(deployment(resource(step("a.sh", sha256Checksum=right))))
    assert "E26" in desk.ids(deployment(resource(step("a.sh", sha256Checksum="0" * 64))))
    assert "E28" in desk.ids(deployment(resource(step("b.sh"))))


def test_large_files_are_warned_about(desk: Desk) -> None:
    template = deployment(resource({"type": "File", "sourceUri": "a.bin", "destination": "/tmp/a.bin"}))
    with (desk.folder / "a.bin").open("wb") as file:
        file.truncate(20 * 1024 * 1024)
        assert "W29" not in desk.ids(template)
        file.truncate(21 * 1024 * 1024)
        assert "W29" in desk.ids(template)


def test_mapped_addresses_are_local(desk: Desk) -> None:
    (desk.folder / "a.sh").write_text("#!/bin/sh\necho hello\n")
    template = deployment(resource(step("https://example.com/x/a.sh", sha256Checksum="0" * 64)))

    assert "E26" not in desk.ids(template)
    assert "E26" in desk.ids(template, mappings=(f"https://example.com/x/={desk.folder}",))


def test_a_finding_in_a_local_script_stands_in_the_script(desk: Desk) -> None:
    (desk.folder / "a.sh").write_text("#!/bin/sh\n[[ -f /x ]] && reboot\n")
    found = [d for d in desk.examine(deployment(resource(step("a.sh")))).diagnostics if d.id == "W32"]
    assert [(Path(d.span.file).name, d.span.line, d.span.column) for d in found] == [("a.sh", 2, 1)]


def test_secrets_are_masked_everywhere(desk: Desk) -> None:
    template = deployment(
        resource({"type": "Shell", "inline": ["[concat('echo ', parameters('password'))]"]}, location=""),
        parameters={"password": {"type": "securestring", "allowedValues": ["other"]}},
    )
    examined = desk.examine(template, parameters=("password=hunter2222",))
    assert examined.loaded is None
    assert "hunter2222" not in repr(examined.diagnostics)
    with pytest.raises(TemplateInvalid) as caught:
        examined.require()
    assert caught.value.secrets == {"hunter2222"}


def test_what_is_computed_of_a_secret_is_masked_too(desk: Desk) -> None:
    template = deployment(
        resource({"type": "[toUpper(parameters('password'))]"}, location="[base64(parameters('password'))]"),
        parameters={"password": {"type": "securestring"}},
    )
    examined = desk.examine(template, parameters=("password=hunter2222",))
    told = repr(examined.diagnostics)
    assert "***" in told
    assert not any(secret in told for secret in ("hunter2222", "HUNTER2222", "aHVudGVyMjIyMg=="))
    assert examined.secrets == {"hunter2222", "HUNTER2222", "aHVudGVyMjIyMg=="}


def test_windows_is_checked_though_it_cannot_be_built(desk: Desk) -> None:
    windows = {
        "type": "PlatformImage", "publisher": "MicrosoftWindowsServer", "offer": "WindowsServer",
        "sku": "2022-datacenter-g2", "version": "latest",
    }  # fmt: skip
    template = resource({"type": "PowerShell", "inline": ["$ErrorActionPreference = 'Stop'", "Get-Date"]})
    template["properties"]["source"] = windows
    template["properties"]["vmProfile"] = {"vmSize": "Standard_D2s_v3"}

    checked = desk.examine(deployment(template))
    assert checked.loaded is not None
    assert [d.severity for d in checked.diagnostics if d.id == "P01"] == [Severity.NOTE]
    assert desk.examine(deployment(template), build=True).loaded is not None  # what it lacks is the build's to say


def test_findings_can_be_switched_off(desk: Desk) -> None:
    template = deployment(resource({"type": "Shell", "name": "s", "inline": ["sudo reboot"]}))
    assert "W35" in desk.ids(template)
    examined = desk.examine(template, disabled=("W35",))
    assert "W35" not in {found.id for found in examined.diagnostics}
    assert [found.id for found, _ in examined.suppressed] == ["W35"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A web server on the loopback with one script."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "a.sh").write_text("#!/bin/sh\n[[ -f /x ]]\n")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_online_the_network_is_asked_too(desk: Desk, site: str) -> None:
    there = deployment(resource(step(f"{site}/a.sh", sha256Checksum="0" * 64)))
    gone = deployment(resource(step(f"{site}/b.sh")))

    assert not {"E26", "E28", "W32"} & desk.ids(there)
    assert {"E26", "W32"} <= desk.ids(there, online=True)
    assert "E28" not in desk.ids(gone)
    (found,) = [d for d in desk.examine(gone, online=True).diagnostics if d.id == "E28"]
    assert "404" in found.message
    assert found.path == "ImageTemplate.properties.customize[0]"


def test_a_finding_in_a_fetched_script_carries_its_address(desk: Desk, site: str) -> None:
    examined = desk.examine(deployment(resource(step(f"{site}/a.sh"))), online=True)
    (found,) = [d for d in examined.diagnostics if d.id == "W32"]
    assert (found.span.file, found.span.line) == (f"{site}/a.sh", 2)


def test_a_cancel_ends_the_compiler(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`run` turns Ctrl-C into a cancel while it prepares, and a compiler may take two minutes."""
    compiler = tmp_path / "bin/bicep"
    compiler.parent.mkdir()
    compiler.write_text("#!/bin/sh\nexec sleep 600\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{compiler.parent}:{os.environ['PATH']}")
    (desk.folder / "t.bicep").write_text("")
    request = TemplateRequest.of_file(desk.folder / "t.bicep", Path.cwd())
    cancel, clock = CancelToken(), SystemClock()
    threading.Timer(0.3, cancel.cancel, ["enough"]).start()
    with pytest.raises(BuildCancelled, match="enough"):
        examine(
            request, home=desk.home, settings=Settings(), clock=clock, build=True, redactor=Redactor(),
            deadline=Deadline(clock=clock, cancel=cancel),
        )  # fmt: skip
