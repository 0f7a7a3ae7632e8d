"""Runs the steps of a composite action as GitHub's runner does, as far as action.yml needs it.

Inputs with their defaults, `if`, `env` and `${{ }}` are resolved; each script is run by bash with the options that
`shell: bash` stands for, and with the files GITHUB_OUTPUT, GITHUB_PATH and GITHUB_STEP_SUMMARY. A step with `uses` is
only noted, with what it would be given.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

BASH = ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail")
_HOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(==|!=|&&|\|\||[()!])|([A-Za-z_][\w.-]*))")


@dataclass
class Job:
    """What came of it. used: steps with `uses`, by their name. ran: the names of those that were run."""

    failed: bool = False
    out: str = ""
    summary: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    used: dict[str, dict[str, str]] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)


class Evaluator:
    """Expressions of GitHub: names, texts, `==`, `!=`, `&&`, `||`, `!`, `always()`. Anything else is an error."""

    def __init__(self, names: Mapping[str, str], failed: bool) -> None:
        self.names, self.failed, self.forced = names, failed, False

    def text(self, value: str) -> str:
        """The value with its `${{ }}` filled in."""
        return _HOLE.sub(lambda hole: str(self.value(hole[1])), value)

    def wanted(self, condition: str | None) -> bool:
        """Whether a step with this `if` runs: without always() only as long as no step failed."""
        held = True if condition is None else bool(self.value(condition))
        return held and (self.forced or not self.failed)

    def value(self, expression: str) -> Any:
        self.tokens = [match.group().strip() for match in _TOKEN.finditer(expression)]
        assert "".join(self.tokens) == "".join(re.split(r"\s+(?=(?:[^']*'[^']*')*[^']*$)", expression)), expression
        found = self._or()
        assert not self.tokens, f"{expression}: {self.tokens} is left over"
        return found

    def _or(self) -> Any:
        left = self._and()
        while self._next("||"):
            right = self._and()
            left = left or right
        return left

    def _and(self) -> Any:
        left = self._equal()
        while self._next("&&"):
            right = self._equal()
            left = left and right
        return left

    def _equal(self) -> Any:
        left = self._one()
        if self._next("=="):
            return left == self._one()
        return left != self._one() if self._next("!=") else left

    def _one(self) -> Any:
        if self._next("!"):
            return not self._one()
        if self._next("("):
            inner = self._or()
            assert self._next(")")
            return inner
        token = self.tokens.pop(0)
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token == "always":
            assert self._next("(") and self._next(")")
            self.forced = True
            return True
        if token.startswith("steps."):
            return self.names.get(token, "")  # of a step that was not run
        return self.names[token]

    def _next(self, token: str) -> bool:
        if self.tokens[:1] != [token]:
            return False
        self.tokens.pop(0)
        return True


def run(action: Path, folder: Path, place: Path, *, environ: Mapping[str, str], **inputs: str) -> Job:
    """Run the action of the file `action` in `folder`; `place`: an empty folder for the runner's own files."""
    document = yaml.safe_load(action.read_text())
    declared = document["inputs"]
    assert inputs.keys() <= declared.keys()
    assert all(name in inputs for name, one in declared.items() if one.get("required"))
    names = {f"inputs.{name}": inputs.get(name, str(one.get("default", ""))) for name, one in declared.items()}
    names |= {"runner.arch": "X64", "runner.temp": str(place)}
    path, job = environ["PATH"], Job()
    for number, step in enumerate(document["runs"]["steps"]):
        evaluator = Evaluator(names, job.failed)
        if not evaluator.wanted(step.get("if")):
            continue
        job.ran.append(step["name"])
        if "uses" in step:
            job.used[step["name"]] = {key: evaluator.text(str(value)) for key, value in step["with"].items()}
            continue
        files = {name: place / f"{name}-{number}" for name in ("GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.touch()
        script = place / f"script-{number}.sh"
        script.write_text(evaluator.text(step["run"]))
        given = {key: evaluator.text(str(value)) for key, value in (step.get("env") or {}).items()}
        done = subprocess.run(
            [*BASH, script], cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            timeout=600, env={
                **environ, "PATH": path, "GITHUB_ACTIONS": "true", "CI": "true", "RUNNER_TEMP": str(place),
                "GITHUB_ACTION_PATH": str(action.parent), **{name: str(file) for name, file in files.items()}, **given,
            },
        )  # fmt: skip
        job.failed = job.failed or done.returncode != 0
        job.out += done.stdout + done.stderr
        job.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        added = [line for line in files["GITHUB_PATH"].read_text().splitlines() if line]
        path = os.pathsep.join([*reversed(added), path])
        for name, value in _outputs(files["GITHUB_OUTPUT"].read_text()):
            names[f"steps.{step['id']}.outputs.{name}"] = value
    last = Evaluator(names, job.failed)
    job.outputs = {name: last.text(str(one["value"])) for name, one in document["outputs"].items()}
    return job


def _outputs(text: str) -> list[tuple[str, str]]:
    """`name=value`, or `name<<END`, lines, `END`."""
    found, lines = [], text.splitlines()
    while lines:
        line = lines.pop(0)
        name, sign, value = re.split("(=|<<)", line, maxsplit=1)
        if sign == "<<":
            end = lines.index(value)
            value, lines = "\n".join(lines[:end]), lines[end + 1 :]
        found.append((name, value))
    return found
