"""What `aibemu doctor` says of the CPU that Windows is given, on hosts that cannot be had here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aibemu.errors import Expired
from aibemu.hypervisor import Accelerator, Level
from aibemu.processes import ToolFailed
from aibemu_drivers.qemu import checks
from aibemu_drivers.qemu.accelerator import Probed
from aibemu_drivers.qemu.arguments import CPU_FOR_WINDOWS


def examined(tmp_path: Path) -> checks.Examined:
    return checks.Examined(options={}, cache=tmp_path, runs=tmp_path, create=lambda spec: pytest.fail("no machine"))


@pytest.mark.parametrize(
    ("ends", "level", "says"),
    [
        (None, Level.OK, "Hyper-V's interfaces"),
        (ToolFailed(["qemu"], 1, "kernel doesn't allow setting HyperV VP_INDEX"), Level.NOTE, "VP_INDEX"),
        (Expired("it did not end"), Level.NOTE, "did not end"),
    ],
    ids=["runs", "refused", "hangs"],
)
def test_with_kvm_the_cpu_for_windows_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: Exception | None, level: Level, says: str
) -> None:
    tried: list[tuple[str, str]] = []

    def run_payload(accelerator: str, *, cpu: str, **_: Any) -> None:
        tried.append((accelerator, cpu))
        if ends:
            raise ends

    probed = Probed(accelerator=Accelerator(name="kvm", reason="it ran", slowness=1.0), sandbox=True)
    monkeypatch.setattr(checks, "probe", lambda *_: probed)
    monkeypatch.setattr(checks, "run_payload", run_payload)
    (found,) = checks._windows_cpu(examined(tmp_path))
    assert (found.level, found.check) == (level, "qemu: CPU for Windows") and says in found.message
    assert tried == [("kvm", CPU_FOR_WINDOWS["kvm"])]


def test_without_kvm_there_is_nothing_to_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probed = Probed(accelerator=Accelerator(name="tcg", reason="no kvm", slowness=5.0), sandbox=True)
    monkeypatch.setattr(checks, "probe", lambda *_: probed)
    monkeypatch.setattr(checks, "run_payload", lambda *_, **__: pytest.fail("nothing is to be run"))
    assert list(checks._windows_cpu(examined(tmp_path))) == []
