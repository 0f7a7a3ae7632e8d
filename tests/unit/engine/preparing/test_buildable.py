"""A template that is valid and that this aibemu cannot build: told as that, with all that is missing, exit 4."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu import plugins
from aibemu.cli.main import run
from aibemu.engine.preparing.buildable import check_acceleration
from aibemu.errors import NotBuildable
from aibemu.hypervisor import Accelerator
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu_drivers.qemu.driver import QemuDriver

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/aib"
WINDOWS = {
    "type": "PlatformImage", "publisher": "MicrosoftWindowsServer", "offer": "WindowsServer",
    "sku": "2022-datacenter-azure-edition", "version": "latest",
}  # fmt: skip
DEBIAN = {"type": "PlatformImage", "publisher": "Debian", "offer": "debian-12", "sku": "12", "version": "latest"}
STEPS: list[dict[str, Any]] = [
    {"type": "PowerShell", "name": "Web", "inline": ["Install-WindowsFeature Web-Server"]},
    {"type": "WindowsRestart", "name": "Again"},
    {"type": "WindowsUpdate", "name": "Updates"},
]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIBEMU_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(work: Path, source: dict[str, Any], steps: list[dict[str, Any]]) -> None:
    target = {"type": "VHD", "runOutputName": "disk"}
    (work / "t.json").write_text(
        json.dumps({
            "location": "westeurope", "identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}},
            "properties": {
                "source": source, "customize": steps, "distribute": [target], "vmProfile": {"vmSize": "Standard_D2_v3"},
            },
        })
    )  # fmt: skip


SLOW = Accelerator(name="tcg", reason="it is tcg", slowness=9.0)
FAST = Accelerator(name="kvm", reason="it is kvm", slowness=1.0)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Accelerator], None]]:
    """Makes QEMU run its guests so."""

    def be(accelerator: Accelerator) -> None:
        monkeypatch.setattr(QemuDriver, "accelerator", lambda self: accelerator)

    yield be


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_without_kvm_it_ends_with_4_before_anything_is_got(
    work: Path, capsys: pytest.CaptureFixture[str], host: Callable[[Accelerator], None], verb: str
) -> None:
    host(SLOW)
    write(work, WINDOWS, STEPS)
    assert run([verb, "t.json", "--driver", "qemu", "-o", "json"]) == 4
    answer = json.loads(capsys.readouterr().out)
    assert answer["error"]["code"] == "NOT_BUILDABLE"
    assert "not buildable here: this host has no hardware acceleration" in answer["error"]["message"]
    details = "\n".join(answer["error"]["details"]["lines"])
    assert "tcg: it is tcg" in details and "is not in the store" in details
    assert "--slow" in answer["error"]["details"]["hint"]
    assert not list((work / "home").rglob("events.ndjson"))


@pytest.mark.parametrize("verb", ["plan", "run"])
@pytest.mark.parametrize("how", ["kvm", "option", "setting"])
def test_with_kvm_or_by_request_only_the_image_is_missing(
    work: Path, capsys: pytest.CaptureFixture[str], host: Callable[[Accelerator], None],
    monkeypatch: pytest.MonkeyPatch, verb: str, how: str,
) -> None:  # fmt: skip
    host(FAST if how == "kvm" else SLOW)
    if how == "setting":
        monkeypatch.setenv("AIBEMU_SLOW", "true")
    write(work, WINDOWS, STEPS)
    more = ["--slow"] if how == "option" else []
    assert run([verb, "t.json", "--driver", "qemu", "-o", "json", *more]) == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "IMAGE_MISSING" and "aibemu images import FILE" in json.dumps(error)


def test_a_linux_template_needs_no_kvm(work: Path, capsys: pytest.CaptureFixture[str], host: Any) -> None:
    host(SLOW)
    write(work, DEBIAN, [{"type": "Shell", "inline": ["true"]}])
    assert run(["plan", "t.json", "--driver", "qemu", "-o", "json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "IMAGE_MISSING"


def test_who_takes_the_time_is_told_how_much_longer_all_takes() -> None:
    info = ImageInfo(
        os_type="Windows", os_name="", generation=Generation.V2, provisioning=Provisioning.UNKNOWN, generalized=True,
        origin="test",
    )  # fmt: skip
    template: Any = SimpleNamespace(name="t", source=SimpleNamespace(span=None))
    warning = check_acceleration(template, info, SLOW, slow=True)
    assert warning and "all waits are 9 times as long (tcg: it is tcg)" in warning
    assert check_acceleration(template, info, FAST, slow=False) is None
    with pytest.raises(NotBuildable, match="takes hours for its first boot alone"):
        check_acceleration(template, info, SLOW, slow=False)


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_driver_that_boots_nothing_plans_it(work: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    write(work, WINDOWS, STEPS)
    assert run([verb, "t.json", "--driver", "dryrun", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "success"


def test_a_step_that_nothing_runs_is_named_with_its_place(
    monkeypatch: pytest.MonkeyPatch, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(work, WINDOWS, STEPS)
    there = plugins.names
    monkeypatch.setattr(plugins, "names", lambda group: there(group) - {"PowerShell", "WindowsUpdate"})
    assert run(["run", "t.json", "--driver", "dryrun"]) == 4
    said = capsys.readouterr().err
    assert "PowerShell (Web at " in said and "WindowsUpdate (Updates at " in said


@pytest.mark.parametrize("steps", [STEPS, []])
def test_a_windows_template_is_valid_whatever_host_looks_at_it(
    work: Path, capsys: pytest.CaptureFixture[str], host: Any, steps: list[dict[str, Any]]
) -> None:
    host(SLOW)
    write(work, WINDOWS, steps)
    assert run(["validate", "t.json", "-o", "json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert (data["buildable"], data["missing"]) == (True, [])


def test_what_is_wrong_for_azure_too_stays_invalid(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(work, DEBIAN, STEPS)
    assert run(["run", "t.json"]) == 3
    assert "E23" in capsys.readouterr().err


def test_what_can_be_built_is_called_valid(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(work, DEBIAN, [{"type": "Shell", "inline": ["true"]}])
    assert run(["validate", "t.json", "-o", "json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert (data["buildable"], data["missing"]) == (True, [])
