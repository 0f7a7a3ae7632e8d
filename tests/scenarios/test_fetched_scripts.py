"""Scripts that are fetched are judged alike, whoever fetches them: `validate --online`, `plan` and `run`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aibemu.paths import Home
from tests.scenarios.case import CASES, Step
from tests.scenarios.layered import Workshop
from tests.scenarios.observing import observe
from tests.scenarios.server import serving

# Name of the script -> its bytes, and what is found in it.
SCRIPTS: dict[str, tuple[bytes, set[str]]] = {
    "plain.sh": (b"#!/bin/bash -e\necho hello\n", set()),
    "mark.sh": (b"\xef\xbb\xbf#!/bin/sh\ntrue\n", {"W46"}),
    "late.sh": (b"# setup v1.5\n#!/bin/bash\nmapfile -t a < /etc/hosts\n", {"W96", "W32"}),
    "blank.sh": (b" #!/bin/bash\ntrue\n", {"W96"}),
    "none.sh": (b"[[ -f /etc/hosts ]] && echo yes\n", {"W96", "W32"}),
    "windows.sh": (b"#!/bin/bash -e\r\necho hello\r\n", set()),
    "careless.sh": (b"#!/bin/bash\ncp a b\necho finished\n", {"W97"}),
    "broken.sh": (b"#!/bin/bash -e\nif true; then\necho\n", {"W31"}),
    "python": (b"#!/usr/bin/env python3\nimport os\n", set()),
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "site"
    folder.mkdir()
    for name, (data, _) in SCRIPTS.items():
        (folder / name).write_bytes(data)
    (folder / "page.sh").write_bytes(b"<!DOCTYPE html>\n<html><body>sign in</body></html>\n")
    with serving(folder) as address:
        yield address


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Workshop:
    made = Workshop(work=tmp_path / "work", home=Home.at(tmp_path / "home"), patch=monkeypatch, capture=capsys)
    made.work.mkdir()
    return made


def write(shop: Workshop, *addresses: str) -> None:
    """A template with a Shell step for each address, called as its file."""
    document = json.loads((CASES / "success-all-targets" / "template.json").read_text())
    properties = document["resources"][0]["properties"]
    properties["customize"] = [
        {"type": "Shell", "name": address.rpartition("/")[2], "scriptUri": address} for address in addresses
    ]
    properties.pop("validate", None)
    (shop.work / "template.json").write_text(json.dumps(document))


def said(shop: Workshop, *command: str, exit: int = 0, recorded: bool = False) -> Any:
    step = Step(at="a template", values={"command": list(command), "recorded": recorded, "clock": "real"})
    seen = observe(step, work=shop.work, home=shop.home, patch=shop.patch, capture=shop.capture)
    assert seen.code == exit, f"exit {seen.code}\n{seen.out}\n{seen.err}"
    return seen


def test_the_same_is_found_by_validate_plan_and_run(shop: Workshop, site: str) -> None:
    write(shop, *(f"{site}/{name}" for name in SCRIPTS))
    answer = json.loads(said(shop, "validate", "--online", "template.json", "--output", "json").out)["data"]
    found = [(one["id"], one["file"], one["line"], one["message"]) for one in answer["diagnostics"]]
    for name, (_, expected) in SCRIPTS.items():
        places = (f"/{name} ", f"/{name}:")
        mine = {id_ for id_, file, _, message in found if file.endswith(name) or any(p in message for p in places)}
        # What shellcheck says, where it is installed, is its own.
        assert {id_ for id_ in mine if not id_.startswith("SC")} - {"E26"} == expected, name
    answer = json.loads(said(shop, "plan", "template.json", "--driver", "dryrun", "--output", "json").out)["data"]
    assert [(one["id"], one["file"], one["line"], one["message"]) for one in answer["diagnostics"]] == found
    told = said(shop, "run", "template.json", "--driver", "dryrun", recorded=True)
    for id_ in ("W46", "W96", "W32", "W31"):  # a run shows no notes
        assert id_ in told.err + told.out


def test_a_page_in_place_of_a_script_is_refused_before_the_build(shop: Workshop, site: str) -> None:
    write(shop, f"{site}/page.sh")
    refused = said(shop, "validate", "--online", "template.json", exit=3)
    assert "E28" in refused.out + refused.err
    for command in (["plan"], ["run"]):
        seen = said(shop, *command, "template.json", "--driver", "dryrun", exit=3)
        assert "E28" in seen.out + seen.err and "HTML" in seen.out + seen.err
