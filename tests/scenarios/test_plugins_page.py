"""docs/plugins.md does what it says: its blocks are taken out and installed, their contract suites pass, a build uses
them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from aibemu.paths import Home

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
NAMED_BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
JSON_BLOCK = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The folder with the page's files, and what an installation would leave for entry points to be found."""
    folder = tmp_path / "package"
    folder.mkdir()
    blocks = dict(NAMED_BLOCK.findall(PAGE.read_text()))
    for name, text in blocks.items():
        (folder / name).write_text(f"# {name}\n{text}")
    groups = tomllib.loads(blocks["pyproject.toml"])["project"]["entry-points"]
    installed = folder / "aibemu_example-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: aibemu-example\nVersion: 1.0\n")
    points = [
        line
        for group, names in groups.items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in names.items()))
    ]
    (installed / "entry_points.txt").write_text("\n".join(points) + "\n")
    (folder / "web.json").write_text(JSON_BLOCK.findall(PAGE.read_text())[0])
    return folder


def python(package: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment: Mapping[str, str] = {
        **os.environ,
        "PYTHONPATH": f"{package}{os.pathsep}{os.environ['PYTHONPATH']}",
        **more,
    }
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=package, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def test_the_examples_pass_their_contract_suites(package: Path) -> None:
    done = python(
        package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_packages.py", "test_folder.py",
        PYTEST_ADDOPTS="", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b1[5-9] passed", done.stdout), done.stdout


def test_a_build_uses_them(package: Path, scenario_home: Home) -> None:
    """An option of a plugin's target is the plugin's, even if a VHD has one of that name."""
    home = str(scenario_home.runs.parent)
    template = json.loads((package / "web.json").read_text())
    template["properties"]["distribute"][0]["uri"] = "https://blobs.invalid"
    (package / "web.json").write_text(json.dumps(template, indent=1))
    words = ("-m", "aibemu", "run", "web.json", "--driver", "scripted", "--output", "json")
    done = python(package, *words, AIBEMU_HOME=home)
    assert done.returncode == 0, done.stdout + done.stderr
    (output,) = json.loads(done.stdout)["data"]["outputs"]
    assert output["artifact"] == (package / "made" / "gold.qcow2").as_uri()
    assert (package / "made" / "gold.qcow2").read_bytes()[:4] == b"QFI\xfb"
    assert "P02" in done.stderr
    log = python(package, "-m", "aibemu", "logs", AIBEMU_HOME=home).stdout
    assert "apt-get install --yes nginx curl" in log


def test_what_they_refuse_is_told_at_its_place(package: Path, scenario_home: Home) -> None:
    template = json.loads((package / "web.json").read_text())
    template["properties"]["distribute"][0]["folder"] = ""
    (package / "web.json").write_text(json.dumps(template, indent=1))
    words = ("-m", "aibemu", "run", "web.json", "--driver", "scripted")
    done = python(package, *words, AIBEMU_HOME=str(scenario_home.runs.parent))
    assert done.returncode == 3, done.stdout + done.stderr
    assert "a Folder target needs a folder" in done.stderr
    template["properties"]["distribute"][0]["folder"] = "made"
    template["properties"]["customize"][0]["names"] = []
    (package / "web.json").write_text(json.dumps(template, indent=1))
    done = python(package, *words, AIBEMU_HOME=str(scenario_home.runs.parent))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "names must be a list of packages" in done.stderr
