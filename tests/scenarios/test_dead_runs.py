"""A build that is killed leaves a prefix of its record; the next command cleans up after it and says so.

One real record is made and cut off at every kind of place. (That a real kill leaves nothing else is for tests/e2e.)
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aibemu.cli import main
from aibemu.cli.app import App
from aibemu.files import FileLock
from aibemu.paths import Home
from aibemu.reports.fold import fold
from aibemu.runs.store import Run, RunStore
from aibemu.testing.contract import make_folders, make_spec
from aibemu_drivers.scripted import ScriptedDriver
from tests.scenarios.case import Step
from tests.scenarios.observing import observe

CASES = Path(__file__).parent / "cases"
DEAD = "deadbeef"

# Where it was killed, as the last event of its record; and the machines that were there.
CUTS: dict[str, tuple[Callable[[dict[str, Any]], bool], tuple[str, ...]]] = {
    "queued": (lambda e: e.get("sub_state") == "Queued", ()),
    "booting": (lambda e: e["kind"] == "machine.started", ("build",)),
    "customizing": (lambda e: e["kind"] == "step.started" and e["step"] == "c1", ("build",)),
    "generalizing": (lambda e: e["kind"] == "step.started" and e["step"] == "deprovision", ("build",)),
    "validating": (lambda e: e["kind"] == "step.started" and e["step"] == "v2", ("build", "validate")),
    "distributing": (lambda e: e["kind"] == "output.started", ("build",)),
}


@pytest.fixture
def record(
    tmp_path: Path, scenario_home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[dict[str, Any]]:
    """The events of a build that ended well; its run is gone."""
    case = CASES / "validation-passes"
    work = tmp_path / "case"
    work.mkdir()
    for path in case.iterdir():
        (work / path.name).write_bytes(path.read_bytes())
    step = Step(at="dead runs", values={"exit": 0})
    seen = observe(step, work=work, home=scenario_home, patch=monkeypatch, capture=capsys)
    assert seen.code == 0, seen.err
    events = seen.events
    assert main.run(["--home", str(scenario_home.runs.parent), "clean", "--all", "--yes"]) == 0
    return events


def kill(home: Home, events: list[dict[str, Any]], machines: tuple[str, ...], vhd: Path) -> Run:
    """A run directory as kill -9 would leave it: these events, a torn line, machines, secrets, half-written files."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    run = Run(home.runs / DEAD)
    run.directory.mkdir(parents=True)
    run.lock.path.touch()
    lines = []
    for event in events:
        event = event | {"run": DEAD}
        if event["kind"] == "run.started":
            event |= {"pid": dead.pid, "targets": [{"run_output_name": "disk", "kind": "VHD", "path": str(vhd)}]}
        lines.append(json.dumps(event) + "\n")
    run.events_file.write_text("".join(lines) + '{"v": 1, "seq": 99, "at": "2026-')
    run.log("customization.log").write_text("[guid] PACKER a line\n")
    base = home.runs.parent / "base.raw"
    base.write_bytes(bytes(1 << 20))
    for role in machines:
        machine = ScriptedDriver({}, make_folders(home.runs.parent)).create(
            make_spec(f"{DEAD}-{role}", run.machines / role, base)
        )
        machine.start()
    (run.work / "build").mkdir(parents=True)
    (run.work / "build" / "key").write_text("secret")
    (run.outputs / "disk").mkdir(parents=True)
    for path in (run.outputs / "disk" / "disk.vhd", vhd):
        (path.parent / f".{path.name}.{dead.pid}.abcdef.partial").write_text("half")
    return run


@pytest.mark.parametrize("cut", CUTS)
def test_the_next_command_cleans_up_and_says_so(
    cut: str, record: list[dict[str, Any]], scenario_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    last, machines = CUTS[cut]
    place = next(number for number, event in enumerate(record) if last(event))
    run = kill(scenario_home, record[: place + 1], machines, tmp_path / "mine.vhd")
    monkeypatch.setattr(main, "_new_app", lambda: App(home=scenario_home))
    capsys.readouterr()
    assert main.run(["status", "--output", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    (said,) = answer["warnings"]
    assert said.startswith(f"run {DEAD} had died: cleaned up ")
    for role in machines:
        assert f"machine {DEAD}-{role}" in said
    assert "the half-written file" in said
    assert not run.machines.exists()
    assert not run.work.exists()
    assert not list(tmp_path.rglob("*.partial"))
    assert run.log("customization.log").read_text() == "[guid] PACKER a line\n", "the log is the user's"
    summary = fold(run.events())
    assert summary.state == "Failed"
    assert summary.finished
    assert "died" in summary.message
    assert "running" not in {phase.status for phase in summary.phases}
    assert "running" not in {step.status for step in summary.steps}
    assert "running" not in {output.status for output in summary.outputs}
    numbers = [event.seq for event in run.events()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert main.run(["status"]) == 0
    assert "died" not in capsys.readouterr().err, "it is said once"
    assert main.run(["clean", DEAD, "--yes"]) == 0
    assert RunStore(scenario_home.runs).runs() == []


def test_a_run_that_still_builds_is_left_alone(
    record: list[dict[str, Any]], scenario_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = kill(scenario_home, record[:12], ("build",), tmp_path / "mine.vhd")
    monkeypatch.setattr(main, "_new_app", lambda: App(home=scenario_home))
    with FileLock(run.lock.path):
        assert main.run(["status"]) == 0
    assert "died" not in capsys.readouterr().err
    assert (run.machines / "build" / "machine.json").exists()
    assert (run.work / "build" / "key").exists()


def test_a_run_without_any_record_goes(
    scenario_home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(scenario_home.runs / DEAD)
    run.directory.mkdir(parents=True)
    run.lock.path.touch()
    newborn = scenario_home.runs / ".new-0badcafe"
    newborn.mkdir()
    monkeypatch.setattr(main, "_new_app", lambda: App(home=scenario_home))
    assert main.run(["status"]) == 0
    assert not run.directory.exists()
    assert not newborn.exists()
