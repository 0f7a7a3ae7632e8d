"""What the documents say of the checkout is so: links, commands, make targets, versions; and README stays short."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import aibemu
from aibemu.errors import EXIT_CODES, AibemuError
from tests.source import ROOT, tracked

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
# Text between these is shown as it is, and links nothing.
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
README_LINES = 180


def documents() -> list[Path]:
    return [ROOT / name for name in tracked() if name.endswith(".md")]


def anchors(text: str) -> set[str]:
    """Names of the headings, as the usual renderers make them; the second of a name has `-1` behind it."""
    found: set[str] = set()
    for heading in HEADING.findall(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        number = 0
        while (made := name if not number else f"{name}-{number}") in found:
            number += 1
        found.add(made)
    return found


def broken_links(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    for target in LINK.findall(CODE.sub("", text)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        file = path if not place else path.parent / place
        name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        if not file.exists():
            yield f"{name}: {target}: there is no such file"
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            yield f"{name}: {target}: there is no such heading"


CODE_ROW = re.compile(r"^\| (\d+) \| (.+) \|$", re.MULTILINE)


def errors_of(base: type[AibemuError]) -> Iterator[type[AibemuError]]:
    for below in base.__subclasses__():
        yield below
        yield from errors_of(below)


def test_the_exit_codes_in_the_documents_are_the_programs() -> None:
    from aibemu.cli import main
    from aibemu.cli.main import VERBS

    for verb in VERBS:  # errors of their own
        importlib.import_module(f"aibemu.cli.{verb}")
    page = (ROOT / "docs/commands.md").read_text().partition("## Exit codes")[2]
    assert {int(code): text for code, text in CODE_ROW.findall(page)} == dict(EXIT_CODES)
    made = {error.exit_code for error in errors_of(AibemuError) if error.__module__.startswith("aibemu.")}
    made |= {0, main.BUG, main.INTERRUPTED, main.BROKEN_PIPE}
    assert made == set(EXIT_CODES)
    (short,) = re.findall(r"In short: (.*?)\.\n", (ROOT / "README.md").read_text(), re.DOTALL)
    named = [part.split(" ", 1) for part in " ".join(short.split()).split(", ")]
    assert {int(code) for code, _ in named} <= set(EXIT_CODES) and len(named) == 6


def test_links_between_documents_lead_somewhere() -> None:
    assert len(documents()) > 10
    assert [problem for path in documents() for problem in broken_links(path)] == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page: `one`\n[a](gone.md) [b](page.md#a-page-one) [c](#b) `[d](no.md)`\n```\n[e](no.md)\n```\n"
    )
    assert [problem.partition("page.md: ")[2] for problem in broken_links(page)] == [
        "gone.md: there is no such file",
        "#b: there is no such heading",
    ]


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_every_document_is_reached_from_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        links = LINK.findall(CODE.sub("", path.read_text(encoding="utf-8")))
        found = [(path.parent / link.partition("#")[0]).resolve() for link in links if not re.match(r"[a-z]+:|#", link)]
        waiting += found
    assert {path for path in documents() if path.parent in (ROOT, ROOT / "docs")} <= reached


PROOF = re.compile(r"`([a-z0-9_/]+\.py)(?:::(\w+))?`")


def test_each_proof_that_the_page_on_security_names_exists() -> None:
    page = (ROOT / "docs/security.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| cannot")]
    assert len(rows) > 30
    assert [row for row in rows if not PROOF.search(row)] == [], "a row without a proof"
    named = set(PROOF.findall(page))
    files = {file: ROOT / "tests" / file for file, _ in named}
    assert [file for file, path in files.items() if not path.is_file()] == []
    missing = [
        f"{file}::{test}" for file, test in sorted(named) if test and f"def {test}(" not in files[file].read_text()
    ]
    assert missing == []


def verbs() -> dict[str, Any]:
    import click

    main = importlib.import_module("aibemu.cli.main")
    group: Any = next(value for value in vars(main).values() if isinstance(value, click.Group))
    context = click.Context(group)
    return {name: group.get_command(context, name) for name in group.list_commands(context)}


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_that_are_shown_exist(path: Path) -> None:
    """`aibemu VERB --option`, in a block or in a line: the verb is there and knows the option."""
    import click

    known = verbs()
    code = "\n".join(found.strip("`") for found in CODE.findall(path.read_text(encoding="utf-8")))
    shown = re.findall(r"(?:^|[$(]|bin/)\s*aibemu ([a-z]+)\b([^#\n]*)", re.sub(r"'[^'\n]*'", "", code), re.MULTILINE)
    for verb, rest in shown:
        assert verb in known, f"{path.name}: aibemu {verb}"
        command = known[verb]
        parts = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
        options = {name for part in parts for item in part.params for name in (*item.opts, *item.secondary_opts)}
        # What every verb takes, and what a command in the guest may take.
        options |= {"--help", "--output", "--home", "--quiet", "--verbose", "--color", "--version"}
        for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", rest.partition(" -- ")[0]):
            assert option in options, f"{path.name}: aibemu {verb} {option}"


def test_commands_page_has_every_verb() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    assert [verb for verb in verbs() if not re.search(rf"`(aibemu )?{verb}\b", page)] == []


def test_make_targets_that_are_named_exist() -> None:
    rules = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"lint", "fix", "test", "vm", "t", "stress"} <= rules
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile"):
        named = set(re.findall(r"(?:^|`|#   )make ([a-z]+)\b", path.read_text(), re.MULTILINE))
        assert named <= rules | {"is"}, path.name


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on PATH")
def test_make_hands_the_tests_on() -> None:
    command = ["make", "--dry-run", "t", "T=tests/unit/plan"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("tests/unit/plan")


def test_hooks_before_a_commit_fetch_nothing() -> None:
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    hooks = repos[0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    named = [word for hook in hooks for word in hook["entry"].split() if word.startswith("tests/")]
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_changelog_knows_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## \[([^\]]+)\]( - \d{4}-\d\d-\d\d)?$", text, re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    assert sections[1][0] == aibemu.__version__
    assert all(date for _, date in sections[1:])
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_licence_is_the_one_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert all((ROOT / name).is_file() for name in project["license-files"])
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text


def test_data_of_others_names_its_source_and_licence() -> None:
    for name in ("schemas", "public-templates", "real-deployments", "bicep"):
        folder = ROOT / "fixtures" / name
        assert "MIT License" in (folder / "LICENSE").read_text()
        page = (folder / "README.md").read_text()
        assert "commit" in page and "MIT" in page
    index = (ROOT / "fixtures" / "public-templates" / "README.md").read_text()
    files = [
        path.name for path in (ROOT / "fixtures" / "public-templates").iterdir() if path.suffix in (".json", ".bicep")
    ]
    assert [name for name in files if f"| {name} |" not in index] == []
