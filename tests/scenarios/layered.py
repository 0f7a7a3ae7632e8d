"""A template that a test edits between builds, and the builds: on guests that can be frozen and only note what they
are told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aibemu.paths import Home
from tests.scenarios.case import Step
from tests.scenarios.observing import Seen, observe

CASE = Path(__file__).parent / "cases/order-of-steps/template.json"


@dataclass
class Workshop:
    """`steps`: what the template's customizers say to run, by name, in order; edit it and `build` again."""

    work: Path
    home: Home
    patch: pytest.MonkeyPatch
    capture: Any
    steps: dict[str, str] = field(default_factory=dict)
    guest: list[dict[str, Any]] = field(default_factory=list)

    def write(self, **properties: Any) -> Path:
        """The template with the steps as they are now; a step `@file` takes its script from a file."""
        document = json.loads(CASE.read_text())
        customize = [
            {"type": "Shell", "name": name, **({"scriptUri": text[1:]} if text[:1] == "@" else {"inline": [text]})}
            for name, text in self.steps.items()
        ]
        document["resources"][0]["properties"] |= {"customize": customize, **properties}
        self.work.mkdir(exist_ok=True)
        (self.work / "guest.yaml").write_text(json.dumps({"rules": self.guest}))
        path = self.work / "template.json"
        path.write_text(json.dumps(document))
        return path

    def build(self, *args: str, exit: int = 0, **values: Any) -> Seen:
        """Build the template as the steps are now."""
        self.write()
        return self.call(args=["--driver-option", "freezes=yes", *args], exit=exit, **values)

    def resume(self, *args: str, exit: int = 0, **values: Any) -> Seen:
        """`aibemu resume` of the newest run, after writing the template as the steps are now."""
        self.write()
        return self.call(command=["resume", *args], recorded=True, exit=exit, **values)

    def call(self, **values: Any) -> Seen:
        """Any command; a wrong exit status is a failure."""
        step = Step(at="a layered build", values={"clock": "real", **values})
        seen = observe(step, work=self.work, home=self.home, patch=self.patch, capture=self.capture)
        assert seen.code == values["exit"], f"exit {seen.code}\n{seen.out}\n{seen.err}"
        return seen

    def ran(self, seen: Seen) -> list[str]:
        """Names of the steps that the build machine was really told to run, in order."""
        told = seen.told.get("build", [])
        return [name for entry in told for name in self.steps if f"#{name}#" in entry]


def layers_made(seen: Seen) -> list[str]:
    """What the layers that a run made are called."""
    return [event["label"] for event in seen.events if event["kind"] == "layer.frozen"]


def restored(seen: Seen) -> list[str]:
    """What the layers that a run started from are called."""
    return [event["label"] for event in seen.events if event["kind"] == "machine.restored"]


def statuses(seen: Seen) -> dict[str, str]:
    return {step.id: step.status for step in seen.summary.steps if step.role == "customizer"}
