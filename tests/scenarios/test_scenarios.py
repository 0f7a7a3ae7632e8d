"""Each directory of `cases/` is a story: templates that are run through the real command line on scripted machines.

What is true of every run is checked for every run (`_always`); the rest is what the case's `expect.yaml` says. To add
a case, add a directory; `tests/scenarios/case.py` lists what it may say.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import SystemClock
from aibemu.cloud.local import LocalCloud
from aibemu.files import PARTIAL
from aibemu.paths import Home
from tests.scenarios.case import CASES, CONTROL_KEYS, RUN_KEYS, Case, Step, load_case
from tests.scenarios.matching import differences, event_differences, text_differences, told_differences
from tests.scenarios.observing import CONVERGE, Seen, observe

NAMES = sorted(path.name for path in CASES.iterdir() if path.is_dir())


@pytest.mark.parametrize("name", NAMES)
def test_scenario(
    name: str, tmp_path: Path, scenario_home: Home, web: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    case = load_case(CASES / name)
    work = tmp_path / "work"
    _lay_out(case, work, web)
    for step in case.steps:
        _prepare(step, work, scenario_home)
        seen = observe(step, work=work, home=scenario_home, patch=monkeypatch, capture=capsys)
        wrong = _always(step, seen)
        wrong += _expected(step, seen) if (seen.run is not None) == step.recorded else []
        if wrong:
            pytest.fail("\n".join([f"{step.at}:", *wrong, *_story(seen)]), pytrace=False)


def _lay_out(case: Case, work: Path, web: str) -> None:
    shutil.copytree(case.directory, work, dirs_exist_ok=True)
    for path in work.glob("*.json"):
        path.write_text(path.read_text(encoding="utf-8").replace("@WEB@", web), encoding="utf-8")


def _prepare(step: Step, work: Path, home: Home) -> None:
    for name, size in (step.values.get("large") or {}).items():
        with (work / name).open("wb") as stream:
            stream.truncate(size)
    if settings := step.values.get("settings"):
        home.config.mkdir(exist_ok=True)
        (home.config / "config.yaml").write_text(json.dumps(settings), encoding="utf-8")


def _story(seen: Seen) -> list[str]:
    return ["--- stdout", seen.out, "--- stderr", seen.err, f"--- exit {seen.code}"]


def _always(step: Step, seen: Seen) -> list[str]:
    """What no run may ever do, whatever else happens."""
    wrong = differences(step.values["exit"], seen.code, "exit")
    if (seen.run is not None) != step.recorded:
        wrong.append("there is no record of a run" if step.recorded else f"there is a record of a run: {seen.run}")
    if "Traceback" in seen.err or "this is a bug in aibemu" in seen.err:
        wrong.append("stderr holds a traceback")
    wrong += [f"half-written: {path}" for root in (seen.home.images.parent, seen.work) for path in _partials(root)]
    screen = seen.err.partition("  type next:\n")[2]
    commands = [line for line in screen.splitlines() if line.startswith("    ")]
    if len(commands) > 3:
        wrong.append(f"more than three commands to type next: {commands}")
    if step.values.get("cancel"):
        if seen.cancelled_for is None:
            wrong.append("what it was to be cancelled at never happened")
        elif seen.cancelled_for > CONVERGE:
            wrong.append(f"it took {seen.cancelled_for:.1f} s from the cancel to the end")
    return [*wrong, *_record_is_whole(step, seen)] if seen.run is not None else wrong


def _partials(root: Path) -> list[Path]:
    return sorted(root.rglob(f"*{PARTIAL}"))


def _record_is_whole(step: Step, seen: Seen) -> list[str]:
    run = seen.run
    assert run is not None
    events, wrong = seen.events, []
    if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
        wrong.append(f"events are not numbered without gaps: {[event['seq'] for event in events]}")
    if [event["kind"] for event in events].count("run.finished") != 1 or events[-1]["kind"] != "run.finished":
        wrong.append("the record does not end with its end")
    if run.alive():
        wrong.append("its lock is still held")
    kept = step.values.get("kept") or []
    left = sorted(path.name for path in run.machines.iterdir()) if run.machines.exists() else None
    if "validate" in kept and "build" in seen.told:
        kept = ["build", *kept]  # its disk is the other one's backing file
    if left != (sorted(kept) if kept else None):
        wrong.append(f"machines/ holds {left}, kept should be {kept}")
    if run.work.exists() and not kept:
        wrong.append(f"work/ is still there: {sorted(run.work.rglob('*'))}")
    summary = seen.summary
    wrong += [f"step {item.id} still runs in the record" for item in summary.steps if item.status == "running"]
    wrong += [f"phase {item.name} still runs in the record" for item in summary.phases if item.status == "running"]
    wrong += [f"output {o.run_output_name} still runs in the record" for o in summary.outputs if o.status == "running"]
    return wrong


def _expected(step: Step, seen: Seen) -> list[str]:
    wrong: list[str] = []
    for key, expected in step.values.items():
        if check := _CHECKS.get(key):
            wrong += check(expected, seen)
    return wrong


def _json(expected: Any, seen: Seen) -> list[str]:
    try:
        value = json.loads(seen.out)
    except ValueError as error:
        return [f"stdout is not one JSON object: {error}"]
    keys = {"schemaVersion", "command", "status", "data", "warnings", "error"}
    wrong = [] if set(value) == keys else [f"the envelope has the keys {sorted(value)}"]
    return wrong + differences(expected, value, "json")


def _phases(expected: Any, seen: Seen) -> list[str]:
    return differences(expected, {phase.name: phase.status for phase in seen.summary.phases}, "phases")


def _steps(expected: Any, seen: Seen) -> list[str]:
    actual = {item.id: item.status for item in seen.summary.steps}
    return [] if expected == actual else [f"steps: expected {expected}, found {actual}"]


def _outputs(expected: Any, seen: Seen) -> list[str]:
    actual = {
        output.run_output_name: {
            "status": output.status, "artifact": output.artifact, "error": output.error, "target": output.target,
        }
        for output in seen.summary.outputs
    }  # fmt: skip
    if set(expected) != set(actual):
        return [f"outputs: expected {sorted(expected)}, found {sorted(actual)}"]
    return differences(expected, actual, "outputs")


def _run_outputs(expected: Any, seen: Seen) -> list[str]:
    """Of the template of this run: exactly these, and each exactly so."""
    cloud = LocalCloud(seen.home.cloud, SystemClock())
    actual = {document["name"]: document for document in cloud.run_outputs(seen.summary.template_id)}
    wrong = differences(expected, actual, "run_outputs")
    extra = [name for name in actual if name not in expected]
    wrong += [f"run_outputs: unexpected {name}: {actual[name]}" for name in extra]
    for name in set(expected) & set(actual):
        if set(actual[name]) != {"properties", "id", "name", "type"} or len(actual[name]["properties"]) != 2:
            wrong.append(f"run_outputs.{name} has not the service's shape: {actual[name]}")
    return wrong


def _cloud(expected: Any, seen: Seen) -> list[str]:
    return differences({key.lower(): value for key, value in expected.items()}, seen.cloud(), "cloud")


def _files(expected: Any, seen: Seen) -> list[str]:
    wrong: list[str] = []
    for name, wanted in expected.items():
        base, rest = (seen.work, name)
        if name.startswith("RUN/"):
            assert seen.run is not None
            base, rest = seen.run.directory, name.removeprefix("RUN/")
        wrong += _file(wanted, sorted(base.glob(rest)), name)
    return wrong


def _file(wanted: Any, found: list[Path], name: str) -> list[str]:
    if wanted in ("present", "absent"):
        return [] if bool(found) == (wanted == "present") else [f"files: {name} should be {wanted}, found {found}"]
    if len(found) != 1:
        return [f"files: {name}: expected one, found {found}"]
    if isinstance(wanted, int):
        return differences(wanted, found[0].stat().st_size, f"size of {name}")
    return text_differences(wanted, found[0].read_text(encoding="utf-8", errors="replace"), name)


def _secrets(expected: Any, seen: Seen) -> list[str]:
    """Not in any file of the home, nor under any name, nor in what was printed."""
    wrong = []
    for secret in expected:
        wrong += [f"{where} holds the secret {secret}" for where in ("out", "err") if secret in getattr(seen, where)]
        for path in seen.home.runs.parent.rglob("*"):
            if secret in path.name or (path.is_file() and secret.encode() in path.read_bytes()):
                wrong.append(f"{path} holds the secret {secret}")
    return wrong


def _kept(expected: Any, seen: Seen) -> list[str]:
    actual = sorted(machine.role for machine in seen.summary.kept)
    return [] if actual == sorted(expected) else [f"kept: expected {expected}, found {actual}"]


def _log(name: str) -> Any:
    def check(expected: Any, seen: Seen) -> list[str]:
        assert seen.run is not None
        path = seen.run.log(name)
        return text_differences(expected, path.read_text(encoding="utf-8") if path.exists() else None, name)

    return check


_CHECKS: dict[str, Any] = {
    "stdout": lambda expected, seen: text_differences(expected, seen.out, "stdout"),
    "stderr": lambda expected, seen: text_differences(expected, seen.err, "stderr"),
    "json": _json,
    "status": lambda expected, seen: differences(expected, seen.summary.last_run_status(), "lastRunStatus"),
    "phases": _phases,
    "steps": _steps,
    "events": lambda expected, seen: event_differences(expected, seen.events),
    "customization_log": _log("customization.log"),
    "validation_log": _log("validation.log"),
    "build": lambda expected, seen: told_differences(expected, seen.told.get("build"), "the build machine"),
    "validate": lambda expected, seen: told_differences(expected, seen.told.get("validate"), "the validate machine"),
    "outputs": _outputs,
    "kept": _kept,
    "run_outputs": _run_outputs,
    "cloud": _cloud,
    "files": _files,
    "secrets": _secrets,
}


def test_every_case_says_what_it_is_about() -> None:
    assert len(NAMES) > 60
    for name in NAMES:
        load_case(CASES / name)


def test_every_key_does_something() -> None:
    assert CONTROL_KEYS | set(_CHECKS) == RUN_KEYS
