"""The File customizer on Windows: where it may write, and Packer's rule of the trailing slash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aibemu.customizers import Outcome, StepSettings
from aibemu.customizers.file import IS_FOLDER, NO_PARENT, File
from aibemu.systems import load
from aibemu.testing.clock import FakeClock
from aibemu.testing.customizer import step_spec
from aibemu.testing.script import Script
from aibemu.testing.steps import ScriptedGuest


def apply(tmp_path: Path, destination: str, *rules: dict[str, Any]) -> tuple[Outcome, ScriptedGuest]:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    guest = ScriptedGuest(load("Windows"), Script.parse(list(rules)), FakeClock())
    step = File(step_spec("File", sourceUri="https://e.com/app.zip", destination=destination), StepSettings())
    return step.apply(guest, [source]), guest


@pytest.mark.parametrize(
    ("destination", "there", "parent"),
    [
        (r"C:\apps\tool.zip", r"C:\apps\tool.zip", "C:\\apps\\"),
        ("c:/apps/tool.zip", r"c:\apps\tool.zip", "c:\\apps\\"),
        ("c:/apps/", r"c:\apps\app.zip", "c:\\apps\\"),
        (r"C:\tool.zip", r"C:\tool.zip", "C:\\\\"),
    ],
)
def test_the_place_is_looked_at_first(tmp_path: Path, destination: str, there: str, parent: str) -> None:
    outcome, guest = apply(tmp_path, destination)
    assert outcome.error is None
    look, upload = guest.communicator.transcript
    assert look["command"] == (f'if exist "{there}\\" (exit {IS_FOLDER}) else if not exist "{parent}" exit {NO_PARENT}')
    assert (upload["op"], upload["mode"]) == ("upload", None)


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    outcome, guest = apply(tmp_path, r"C:\apps\tool.zip", {"match": "^if exist", "exit": NO_PARENT})
    assert outcome.error == r"Upload failed: the folder C:\apps does not exist"
    assert "PowerShell step" in str(outcome.hint) and len(guest.communicator.transcript) == 1


def test_a_folder_is_named_with_a_slash(tmp_path: Path) -> None:
    outcome, _ = apply(tmp_path, r"C:\apps", {"match": "^if exist", "exit": IS_FOLDER})
    assert outcome.error == r"Upload failed: C:\apps is a folder" and "ends in /" in str(outcome.hint)
    outcome, guest = apply(tmp_path, "C:\\apps\\")
    assert "names no file" in str(outcome.error) and "ends in /" in str(outcome.hint)
    assert [entry["op"] for entry in guest.communicator.transcript] == ["run"]


def test_what_the_guest_says_is_the_error(tmp_path: Path) -> None:
    outcome, _ = apply(tmp_path, r"C:\apps\x", {"match": "^upload:", "exit": 1, "stderr": ["no room"]})
    assert outcome.error == "Upload failed: no room"
