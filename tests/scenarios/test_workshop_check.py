"""The workshop's exercises on guests that a script plays: what `docs/workshop/check` says before, on the way, and of
the solution. What real guests say: tests/e2e/test_workshop.py."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

from aibemu.paths import Home
from tests.scenarios.case import Step
from tests.scenarios.observing import Seen, observe
from tests.source import ROOT

WORKSHOP = ROOT / "docs" / "workshop"
NUMBERS = ("1", "2", "3", "4", "5", "6")
# The first script of a build runs well, the second one fails.
SECOND_SCRIPT_FAILS = [
    {"match": r"script_\d+\.sh", "times": 1},
    {"match": r"script_\d+\.sh", "exit": 1, "stderr": ["cp: cannot create regular file '/srv/site/tools.txt'"]},
]
LISTING = [f"/etc/{number}" for number in range(30)]
NO_PAGE = {"match": r"script_\d+\.sh", "exit": 1, "stderr": ["cp: cannot stat '/tmp/index.html'"], "stdout": LISTING}
PROOFS = ["permitrootlogin no", "passwordauthentication no", "x11forwarding no", "maxauthtries 3"]


class Laptop:
    """A copy of the workshop in a folder with a blank, and aibemu on guests that can be frozen."""

    def __init__(self, root: Path, home: Home, patch: pytest.MonkeyPatch, capture: Any) -> None:
        self.root, self.home, self.patch, self.capture = root, home, patch, capture
        self.guest = root.parent / "guest.yaml"
        shutil.copytree(WORKSHOP, root)
        loader = SourceFileLoader("workshop_check", str(root / "check"))
        spec = importlib.util.spec_from_loader("workshop_check", loader)
        assert spec is not None
        self.module = importlib.util.module_from_spec(spec)
        patch.setattr(sys, "dont_write_bytecode", True)
        loader.exec_module(self.module)
        patch.setattr(self.module, "ask", self.ask)

    def run(self, folder: str, *words: str, exit: int = 0, guest: Any = (), driver: str = "scripted") -> None:
        """One command that builds, in the folder of an exercise."""
        self.guest.write_text(json.dumps(list(guest)))
        options = ["--driver-option", f"script={self.guest}", "--driver-option", "freezes=yes"]
        more = ["--driver", driver, *(options if driver == "scripted" else ())] if words[0] == "run" else []
        seen = self._call([*words, *more], self.root / folder, recorded=True)
        assert seen.code == exit, seen.out + seen.err

    def refused(self, folder: str, template: str) -> str:
        """What is said of a template that is refused before anything starts."""
        seen = self._call(["run", template, "--driver", "scripted"], self.root / folder)
        assert seen.code == 3
        return seen.err

    def check(self, number: str) -> str:
        """What the check says, twice the same."""
        said = []
        for _ in range(2):
            self.capture.readouterr()
            code = self.module.main([number])
            out, err = self.capture.readouterr()
            assert err == "" and code == (0 if out == f"exercise {number}: solved\n" else 1)
            said.append(re.sub(r"\b[0-9a-f]{8}\b", "ID", out.removeprefix(f"exercise {number}: ").strip()))
        assert said[0] == said[1] and "\n" not in said[0]
        return said[0]

    def solve(self, folder: str, *names: str) -> None:
        """Copy files of the solution, as its text says."""
        for name in names:
            shutil.copy(self.root / folder / "solution" / name, self.root / folder / name)

    def change(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def _call(self, words: list[str], folder: Path, *, recorded: bool = False) -> Seen:
        step = Step(at=words[0], values={"command": words, "recorded": recorded, "clock": "real"})
        return observe(step, work=folder, home=self.home, patch=self.patch, capture=self.capture)

    def ask(self, *words: str) -> dict[str, Any]:
        """The answer of a verb, in this process: in place of the check's own `ask`."""
        return dict(json.loads(self._call([*words, "--output", "json"], self.root).out))


@pytest.fixture
def laptop(
    tmp_path: Path, scenario_home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Laptop:
    return Laptop(tmp_path / "my workshop", scenario_home, monkeypatch, capsys)


def test_nothing_is_solved_at_the_beginning(laptop: Laptop) -> None:
    said = {number: laptop.check(number) for number in NUMBERS}
    assert said["1"].startswith("not solved yet: 7 findings are left; the first one is E08 in line 9: unresolved")
    for number in NUMBERS[1:]:
        assert re.fullmatch(
            rf"not solved yet: there is no run of workshop-{number}\S* yet: in {number}-.*", said[number]
        )


def test_the_first_exercise(laptop: Laptop) -> None:
    folder, template = "1-validate", "1-validate/template.json"
    laptop.solve(folder, "template.json")
    assert laptop.check("1") == "solved"
    laptop.change(template, "sudo apt-get install -y tree", "apt-get install -y tree")
    assert laptop.check("1").startswith("not solved yet: 1 finding is left; the first one is W33 in line ")
    laptop.solve(folder, "template.json")
    laptop.change(template, "sudo apt-get install -y tree", "true")
    assert "the step Tools no longer does what it did" in laptop.check("1")
    laptop.solve(folder, "template.json")
    laptop.change(template, '"osDiskSizeGB": 30', '"osDiskSizeGB": 40')
    assert "mend osDiskSizeGB" in laptop.check("1")
    (laptop.root / template).write_text("{")
    assert "J01" in laptop.check("1")


def test_each_finding_of_the_first_exercise_is_in_its_solution(laptop: Laptop) -> None:
    diagnostics = laptop.ask("validate", str(laptop.root / "1-validate/template.json"))["error"]["details"][
        "diagnostics"
    ]
    found = {item["id"] for item in diagnostics if item["severity"] != "note"}
    page = (WORKSHOP / "1-validate" / "README.md").read_text()
    assert found == set(re.findall(r"(?m)^\| ([A-Z]\d\d) \|", page))


@pytest.mark.slow
def test_the_second_exercise(laptop: Laptop) -> None:
    laptop.run("2-run", "run", "template.json", "--set", "team=blue", driver="dryrun")
    assert "was a dry run, which builds nothing" in laptop.check("2")
    laptop.run("2-run", "run", "template.json", exit=1, guest=[{"match": "motd", "exit": 1}])
    assert laptop.check("2") == "not solved yet: run ID ended with Failed; to see why: aibemu status ID"
    laptop.run("2-run", "run", "template.json")
    assert "the image of run ID is of team <team>" in laptop.check("2")
    laptop.run("2-run", "run", "template.json", "--set", "team=blue")
    assert laptop.check("2") == "solved"


@pytest.mark.slow
def test_the_third_exercise(laptop: Laptop) -> None:
    laptop.run("3-logs", "run", "template.json", exit=1, guest=[{"match": "mkdir"}, NO_PAGE])
    assert "write the name of the step that failed behind 'step:'" in laptop.check("3")
    answer = laptop.root / "3-logs" / "answer.txt"
    for text, said in (
        ("step: Owner\nfile: /tmp/index.html\n", "'Owner' is not the step that failed in run ID"),
        ("step: Site\r\nfile: /etc/3\r\n", "'/etc/3' is not the file that was missing in run ID"),
        ("step: Site\n", "write the file that was missing behind 'file:'"),
    ):
        answer.write_text(text)
        assert said in laptop.check("3")
    answer.unlink()
    assert "answer.txt is gone" in laptop.check("3")
    laptop.solve("3-logs", "answer.txt")
    assert laptop.check("3") == "solved"


@pytest.mark.slow
def test_the_fourth_exercise(laptop: Laptop) -> None:
    cached = ("--cache", "--freeze")
    laptop.patch.setenv("CI", "true")  # what was asked for then holds for the run that resumes, too
    laptop.run("4-resume", "run", "template.json", "--no-cache")
    assert "did the step Tools itself" in laptop.check("4")
    shutil.rmtree(laptop.home.runs)
    laptop.run("4-resume", "run", "template.json", *cached, exit=1, guest=SECOND_SCRIPT_FAILS)
    assert "run ID ended with Failed" in laptop.check("4")
    laptop.solve("4-resume", "site.sh")
    laptop.run("4-resume", "resume", "--yes")
    assert laptop.check("4") == "solved"


@pytest.mark.slow
def test_the_fifth_exercise(laptop: Laptop) -> None:
    laptop.run("5-gallery", "run", "first.json")
    assert "there is no run of workshop-5-next yet: mend next.json" in laptop.check("5")
    assert "'imageVersionId' has a bad value" in laptop.refused("5-gallery", "next.json")
    laptop.change("5-gallery/next.json", '/images/web"\n', '/images/web/versions/1.0.0"\n')
    assert "exist" in laptop.refused("5-gallery", "next.json")
    laptop.solve("5-gallery", "next.json")
    laptop.run("5-gallery", "run", "next.json")
    assert laptop.check("5") == "solved"


@pytest.mark.slow
def test_the_sixth_exercise(laptop: Laptop) -> None:
    proofs = {"match": r"script_\d+\.sh", "machine": "-validate$", "stdout": [f"proved: {text}" for text in PROOFS]}
    laptop.run("6-hardened", "run", "template.json")
    assert "has no validation: nobody looked at the image" in laptop.check("6")
    laptop.solve("6-hardened", "template.json")
    laptop.run("6-hardened", "run", "template.json", exit=1, guest=[proofs | {"exit": 1}])
    assert "the validation of run ID failed" in laptop.check("6")
    laptop.run("6-hardened", "run", "template.json", guest=[proofs | {"stdout": proofs["stdout"][1:]}])
    assert "does not prove 'permitrootlogin no'" in laptop.check("6")
    laptop.run("6-hardened", "run", "template.json", guest=[proofs])
    assert laptop.check("6") == "solved"


@pytest.mark.slow
def test_a_laptop_that_has_only_what_was_on_the_stick_builds_offline(laptop: Laptop) -> None:
    stick = laptop.root / "base.set"
    assert laptop.ask("images", "export", str(stick), "Debian:debian-12:12:0.20260101.1")["status"] == "success"
    laptop.home = Home.at(laptop.root / "another home")
    (image,) = laptop.ask("images", "import", str(stick))["data"]["images"]
    laptop.run("2-run", "run", "template.json", "--set", "team=blue", "--offline")
    (run,) = laptop.ask("status")["data"]["runs"]
    assert (run["state"], run["image"]["digest"], run["exact_version"]) == (
        "Succeeded",
        image["digest"],
        "0.20260101.1",
    )
    assert laptop.check("2") == "solved"


Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The check as people call it, in a copy, with a home of its own."""
    shutil.copytree(WORKSHOP, tmp_path / "my workshop")

    def call(*words: str, path: str = "") -> subprocess.CompletedProcess[str]:
        found = os.pathsep.join((path or str(Path(sys.executable).parent), "/usr/bin", "/bin"))
        env = {**os.environ, "AIBEMU_HOME": str(tmp_path / "a home"), "PATH": found}
        line = [sys.executable, str(tmp_path / "my workshop" / "check"), *words]
        return subprocess.run(line, env=env, capture_output=True, text=True, timeout=120, check=False)

    return call


def test_the_check_as_a_program(program: Program, tmp_path: Path) -> None:
    done = program("2")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        "exercise 2: not solved yet: there is no run of workshop-2 yet: in 2-run, type: "
        "aibemu run template.json --set team=NAME\n"
    )
    for words in ((), ("7",), ("1", "2")):
        assert program(*words).returncode == 2
    done = program("2", path=str(tmp_path))
    assert done.returncode == 2 and "aibemu is not found" in done.stderr
    (tmp_path / "aibemu").write_text("#!/bin/sh\necho broken >&2\n")
    (tmp_path / "aibemu").chmod(0o755)
    done = program("2", path=str(tmp_path))
    assert (done.returncode, done.stderr) == (2, "exercise 2: aibemu status did not answer: broken\n")


def test_each_exercise_has_all_that_a_person_needs() -> None:
    assert os.access(WORKSHOP / "check", os.X_OK)
    folders = sorted(path for path in WORKSHOP.iterdir() if path.is_dir())
    assert [folder.name[0] for folder in folders] == list(NUMBERS)
    for folder in folders:
        text = (folder / "README.md").read_text()
        parts = ["**Goal:**", "## What to type", "## What you see", "## The mistake that people make", "## Hint"]
        places = [text.find(part) for part in [*parts, "<summary>Solution</summary>"]]
        assert -1 not in places and places == sorted(places), folder
        assert f"./check {folder.name[0]}" in text
        for name in re.findall(r"(?m)^cp solution/(\S+)", text):
            assert (folder / "solution" / name).is_file() and (folder / name).is_file()
