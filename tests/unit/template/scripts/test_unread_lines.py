"""What the grammar of bash cannot read is said, and what stands around it is judged all the same."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest

from aibemu.arm.diagnostics import Severity
from tests.unit.template.scripts.test_script_rules import judged, remote, template

# Texts that bash reads and the grammar does not, and the lines that are told.
ODD = [
    ("if ! ( true; ) then echo x; fi\ntrue", "line 1 of this script"),
    ("true\ncat <<EOF >x; true\nhi\nEOF", "line 2 of this script"),
]


def told(*lines: str) -> list[tuple[str, str, str]]:
    """Severity, rule and message of each finding."""
    step = {"type": "Shell", "name": "s", "inline": ["#!/bin/bash -e", *lines]}
    return [
        (found.severity.value, found.id, found.message)
        for found, _ in judged(template({"type": "Shell", "inline": ["true"]}, step))
    ]


@pytest.mark.parametrize(("text", "where"), ODD)
def test_what_is_around_it_is_judged(text: str, where: str) -> None:
    found = told("sudo apt-get install x", *text.split("\n"), "sudo reboot")
    number = int(where.split()[1]) + 2
    assert ("note", "W31", f"line {number} of this script could not be parsed: not judged") in found
    assert [id_ for severity, id_, _ in found if severity == "warning"] == ["W36", "W35"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(("text", "where"), ODD)
def test_a_real_bash_reads_these(text: str, where: str) -> None:
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False, timeout=30).returncode == 0


def test_several_lines_are_named_together() -> None:
    (note,) = [message for severity, _, message in told("echo 'a", "sudo reboot", "echo b") if severity == "note"]
    assert note == "lines 2 to 4 of this script could not be parsed: not judged"


@pytest.mark.parametrize(
    "text",
    [
        "if true; then\n  echo a\nfi",
        "cat <<'EOF' > x\n\ta\nEOF",
        "x=$(cat <<EOF\nhello ) (\nEOF\n)",
        "echo ${x@Q} $'a\\'b' $((1 << 2))",
    ],
)
def test_nothing_is_said_of_what_is_read(text: str) -> None:
    assert told(*text.split("\n")) == []


def test_a_note_is_no_warning() -> None:
    found = judged(template({"type": "Shell", "name": "s", "inline": ["echo 'a"]}))
    assert [one.severity for one, _ in found if one.id == "W31"] == [Severity.NOTE]


@pytest.mark.parametrize("text", ["'@[[ \n" * 10_000, "true && x && " * 4000 + "y\n"])
def test_a_long_script_takes_no_square_of_its_length(text: str) -> None:
    """Found by the fuzz campaign: W97 looked at all statements for each command."""
    began = time.thread_time()
    judged(template({"type": "Shell", "scriptUri": "u"}), {"u": remote(text)})
    assert time.thread_time() - began < 2
