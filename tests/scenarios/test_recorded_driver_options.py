"""The options of a run's driver are in its record, so that later verbs have them wherever they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibemu.cli import main
from aibemu.runs.store import RunStore
from tests.scenarios.layered import Workshop


def test_the_record_has_the_options_and_a_kept_machine_is_destroyed_from_another_folder(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.guest = [{"match": "#two#", "exit": 3}]
    seen = shop.build("--on-error", "keep", exit=1)
    assert seen.run is not None
    options = seen.events[0]["driver_options"]
    assert options["freezes"] == "yes"
    assert all(Path(options[name]).is_absolute() for name in ("script", "transcript") if name in options)
    assert (seen.run.machines / "build").is_dir()
    Path(shop.work / "guest.yaml").unlink()  # what the guest would say does not matter any more
    monkeypatch.chdir("/")
    assert main.run(["--home", str(shop.home.root), "destroy", seen.run.id, "--yes"]) == 0, capsys.readouterr().err
    assert not RunStore(shop.home.runs).get(seen.run.id).machines.exists()
