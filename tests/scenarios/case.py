"""A scenario as a value: what to run, and what to expect. One directory each under `cases/`.

`expect.yaml` has `about` and either the keys of one run or `runs`, a list of them:

- what to run: `template` (template.json) or `command` (any verb, as a list); `args`, `env`, `guest` (guest.yaml),
  `clock` (`fake`, waiting takes no time: the default but for `cancel`; `real`; a time: it stands still there),
  `cancel: {when: regex of an event, how: file|SIGINT|SIGTERM}`, `settings` (config.yaml's content), `large` ({file:
  size of a sparse file})
- what comes out: `exit` (required), `stdout`, `stderr`, `json`
- of the record: `recorded` (false: no run), `status` (lastRunStatus), `phases`, `steps` (id: status, all of them),
  `events`, `customization_log`, `validation_log`, `build` and `validate` (what the machine was told), `outputs`, `kept`
- of what is left: `run_outputs` (all of the template's), `cloud` (resources by id), `files` (by path below the case's
  working folder; `RUN/` is the run's folder), `secrets` (texts that no file and no output may hold)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.scenarios.matching import BadExpectation, check_keys

CASES = Path(__file__).parent / "cases"
RUN_KEYS = frozenset(
    [
        "template",
        "command",
        "args",
        "env",
        "guest",
        "clock",
        "cancel",
        "settings",
        "large",
        "exit",
        "stdout",
        "stderr",
        "json",
        "recorded",
        "status",
        "phases",
        "steps",
        "events",
        "customization_log",
        "validation_log",
        "build",
        "validate",
        "outputs",
        "kept",
        "run_outputs",
        "cloud",
        "files",
        "secrets",
    ]
)
# What says how to run; each other key is checked.
CONTROL_KEYS = frozenset(
    {"template", "command", "args", "env", "guest", "clock", "cancel", "settings", "large", "exit", "recorded"}
)
CANCEL_KEYS = frozenset({"when", "how"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of a case with what is expected of it. `at`: for messages."""

    at: str
    values: Mapping[str, Any]

    @property
    def argv(self) -> list[str]:
        """The verb and its arguments, without what the runner adds."""
        if command := self.values.get("command"):
            return [str(word) for word in command]
        return ["run", str(self.values.get("template", "template.json")), *map(str, self.values.get("args") or ())]

    @property
    def builds(self) -> bool:
        return self.argv[0] == "run"

    @property
    def recorded(self) -> bool:
        """Whether a run's directory is expected."""
        return bool(self.values.get("recorded", self.builds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    directory: Path
    steps: tuple[Step, ...]


def load_case(directory: Path) -> Case:
    """Read `expect.yaml`; `BadExpectation` for anything that would be ignored."""
    value = yaml.safe_load((directory / "expect.yaml").read_text(encoding="utf-8"))
    if not isinstance(value, dict) or not value.get("about"):
        raise BadExpectation(f"{directory.name}: expect.yaml needs `about`, a sentence")
    about = {"about"}
    if "runs" in value:
        check_keys(value, frozenset({"runs"} | about), directory.name)
        steps = value["runs"]
    else:
        steps = [{key: item for key, item in value.items() if key not in about}]
    made = tuple(_step(step, f"{directory.name}, run {number}") for number, step in enumerate(steps, start=1))
    if not made:
        raise BadExpectation(f"{directory.name} runs nothing")
    return Case(name=directory.name, directory=directory, steps=made)


def _step(value: Any, at: str) -> Step:
    values = check_keys(value, RUN_KEYS, at)
    if not isinstance(values.get("exit"), int):
        raise BadExpectation(f"{at} needs `exit`, the exit status")
    if ("template" in values and "command" in values) or ("args" in values and "command" in values):
        raise BadExpectation(f"{at}: template and args go without command")
    if "cancel" in values:
        check_keys(values["cancel"], CANCEL_KEYS, f"{at}, cancel")
    step = Step(at=at, values=values)
    record = {"status", "phases", "steps", "events", "customization_log", "validation_log", "outputs", "kept"}
    if not step.recorded and (idle := sorted(record & values.keys())):
        raise BadExpectation(f"{at} has no record, so nothing can be expected of {', '.join(idle)}")
    return step
