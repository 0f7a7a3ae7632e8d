"""The workshop on real guests, on a laptop that got its base image from a stick and has no network: what the exercises
say that people see is so, and the solutions pass `docs/workshop/check`.

Two people work at it side by side: one publishes an image and builds the next version from it, the other one has a step
that fails, resumes, and proves a hardened image. What the check says of other states:
tests/scenarios/test_workshop_check.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.lab import BOUND, Base, Build, aibemu, answer, copy_layer, fresh_home, left_over
from tests.source import ROOT

pytestmark = pytest.mark.vm

CACHED = ("--offline", "--cache", "--freeze", "--on-error", "cleanup")


@dataclass
class Laptop:
    """home: filled by an import alone, and the layer of a machine that was booted before. said: what the check said, by
    the moment."""

    home: Path
    work: Path
    folder: Path
    said: dict[str, str] = field(default_factory=dict)
    builds: list[Build] = field(default_factory=list)

    def build(self, folder: str, name: str, *more: str, exit: int = 0, verb: str = "run") -> Build:
        """One build, from start to end."""
        words: list[str | Path] = [*more]
        if verb == "run":
            words = [self.work / folder / name, *CACHED, *more]
        build = Build(self.home, words, self.folder / f"build{len(self.builds)}-{folder}", verb)
        self.builds.append(build)
        assert build.wait(2 * BOUND) == exit, build.stdout + build.stderr
        return build

    def check(self, number: str, moment: str = "solved") -> None:
        """Call the check as people do, and keep what it said."""
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        done = subprocess.run(
            [self.work / "check", number], env=os.environ | {"AIBEMU_HOME": str(self.home), "PATH": path},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        self.said[f"{number} {moment}"] = done.stdout.strip() + done.stderr.strip()

    def solve(self, folder: str, *names: str) -> None:
        for name in names:
            shutil.copy(self.work / folder / "solution" / name, self.work / folder / name)

    def publish(self) -> None:
        """Exercises 2 and 5."""
        self.build("2-run", "template.json", "--set", "team=blue")
        self.build("5-gallery", "first.json")
        self.check("5", "half")
        self.solve("5-gallery", "next.json")
        self.build("5-gallery", "next.json")

    def mend(self) -> None:
        """Exercises 3, 4 and 6."""
        self.build("3-logs", "template.json", exit=1)
        self.check("3", "unanswered")
        self.solve("3-logs", "answer.txt")
        tools = self.work / "4-resume" / "tools.sh"
        tools.write_text(tools.read_text().replace("seconds=20", "seconds=1"))
        failed = self.build("4-resume", "template.json", exit=1)
        self.check("4", "failed")
        self.solve("4-resume", "site.sh")
        self.build("4-resume", "", failed.directory.name, "--yes", verb="resume")
        self.solve("6-hardened", "template.json", "harden.sh")
        self.build("6-hardened", "template.json")


@pytest.fixture(scope="module")
def laptop(warm_base: Base, tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """All exercises, solved."""
    folder = tmp_path_factory.mktemp("workshop")
    teacher = fresh_home(folder / "teacher", warm_base)
    laptop = Laptop(home=folder / "a laptop", work=folder / "my workshop", folder=folder)
    shutil.copytree(ROOT / "docs" / "workshop", laptop.work)
    for done in (
        aibemu(teacher, "images", "export", folder / "base.set", "debian-12"),
        aibemu(laptop.home, "images", "import", folder / "base.set"),
    ):
        assert done.returncode == 0, done.stdout + done.stderr
    (folder / "base.set").unlink()
    shutil.rmtree(teacher)
    if warm_base.probed.is_dir():
        shutil.copytree(warm_base.probed, laptop.home / "cache" / "qemu")
    assert warm_base.provisioned is not None
    for layer in warm_base.provisioned.layers():
        copy_layer(layer, warm_base.provisioned, laptop.home / "layers")
    try:
        with ThreadPoolExecutor(2) as pool:
            for person in [pool.submit(laptop.publish), pool.submit(laptop.mend)]:
                person.result()
    finally:
        for build in laptop.builds:
            build.close()
    for number in ("2", "3", "4", "5", "6"):
        laptop.check(number)
    return laptop


def test_the_base_image_came_by_the_stick_alone(laptop: Laptop) -> None:
    runs = answer(laptop.home, "status")["runs"]
    images = {image["digest"] for image in answer(laptop.home, "images", "list")["images"]}
    started = {run["image"]["digest"] for run in runs if not run["template"].startswith("workshop-5-next")}
    assert len(started) == 1 and started <= images


def test_the_check_tells_solved_from_not_solved(laptop: Laptop) -> None:
    said = laptop.said
    assert [said[f"{number} solved"] for number in "23456"] == [f"exercise {number}: solved" for number in "23456"]
    assert "write the name of the step that failed" in said["3 unanswered"]
    assert "ended with Failed" in said["4 failed"]
    assert "there is no run of workshop-5-next yet" in said["5 half"]


def test_what_the_pages_say_is_seen(laptop: Laptop) -> None:
    runs = {run["template"]: run for run in answer(laptop.home, "status")["runs"][::-1]}
    (site,) = [step for step in runs["workshop-3"]["steps"] if step["status"] == "failed"]
    printed = answer(laptop.home, "logs", runs["workshop-3"]["id"], "--step", "Site")["lines"]
    assert printed[1] == "cp: cannot stat '/tmp/index.html': No such file or directory"
    assert not any("index.html" in line for line in site["last_lines"])
    resumed = {step["label"]: step["status"] for step in runs["workshop-4"]["steps"]}
    assert (resumed["Tools"], resumed["Site"]) == ("cached", "ok")
    assert answer(laptop.home, "logs", runs["workshop-6"]["id"], "--step", "v1")["lines"] == [
        "proved: permitrootlogin no", "proved: passwordauthentication no", "proved: x11forwarding no",
        "proved: maxauthtries 3",
    ]  # fmt: skip


def test_nothing_is_left(laptop: Laptop) -> None:
    assert left_over(laptop.home) == []
