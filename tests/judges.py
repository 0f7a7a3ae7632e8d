"""Programs that judge what aibemu makes, and that nobody here wrote: where they are, or why a test is skipped.

A real PowerShell: $AIBEMU_JUDGES_BIN (a folder with `pwsh` in it), else `pwsh` on PATH, else what
`../shared/tools/judges` beside the checkout unpacks. It runs the guests of fixtures/guests, which also takes gcc.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from fixtures.guests.build import CannotBuild, Engine, build

_BESIDE = Path(__file__).parents[2] / "shared" / "tools" / "judges"


@cache
def pwsh() -> Path | None:
    """The program `pwsh`, or None."""
    if folder := os.environ.get("AIBEMU_JUDGES_BIN"):
        return Path(folder) / "pwsh"
    if found := shutil.which("pwsh"):
        return Path(found)
    if not _BESIDE.exists():
        return None
    answer = subprocess.run([_BESIDE], capture_output=True, text=True, check=False)
    return Path(answer.stdout.strip()) / "pwsh" if answer.returncode == 0 else None


@cache
def _why_no_guest() -> str | None:
    program = pwsh()
    if program is None:
        return "there is no PowerShell here: put `pwsh` on PATH, or name its folder in AIBEMU_JUDGES_BIN"
    if not program.exists():
        return f"AIBEMU_JUDGES_BIN names a folder without pwsh: {program.parent}"
    if not (shutil.which("gcc") and Path("/usr/include/stdio.h").exists()):
        return "there is no C compiler here (Debian packages gcc and libc6-dev), which guests with PowerShell need"
    try:
        build(Engine.of(program))
    except CannotBuild as problem:
        return f"the guest's parts could not be built: {problem}"
    return None


def need_engine() -> Engine:
    """The engine for a guest that runs PowerShell; skips the test, or the tests of the fixture, where there is none."""
    why = _why_no_guest()
    program = pwsh()
    if why is not None or program is None:
        pytest.skip(why or "there is no PowerShell here")
    return Engine.of(program)


def need_bicep() -> Path:
    """The real Bicep compiler, beside PowerShell; skips the test where there is none."""
    program = pwsh()
    found = shutil.which("bicep") or (str(program.parent / "bicep") if program else "")
    if not found or not Path(found).exists():
        pytest.skip("there is no Bicep here: put `bicep` on PATH, or into the folder AIBEMU_JUDGES_BIN")
    return Path(found)
