"""Guests of fixtures/guests end as a PowerShell without any of their parts was recorded to end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.guests.machine import WindowsMachine
from tests.guest_calls import call, powershell
from tests.judges import need_engine

RECORDED = json.loads((Path(__file__).parents[2] / "fixtures/recorded-powershell/exit-codes.json").read_text())


@pytest.fixture(scope="module")
def machine() -> Iterator[WindowsMachine]:
    with WindowsMachine(need_engine()) as made:
        made.host("C:/Windows/Temp/env.ps1").write_text(RECORDED["preamble"])
        yield made


@pytest.mark.parametrize("run", RECORDED["runs"], ids=lambda run: f"{run['id']}-{run['mode']}")
def test_a_recorded_script_ends_as_it_was_recorded(machine: WindowsMachine, run: dict[str, Any]) -> None:
    script = run["script"]
    if run["mode"] == "new":
        script = RECORDED["new_wrapper"].replace("SCRIPT", script)
    machine.host("C:/Windows/Temp/script.ps1").write_text(script)
    line = {
        "old": f'powershell -executionpolicy bypass "{RECORDED["old_block"]}"'.replace("<DIR>", "C:/Windows/Temp"),
        "encoded_script": powershell(script),
    }.get(run["mode"], "powershell -executionpolicy bypass -File C:/Windows/Temp/script.ps1")
    done = call(machine, line)
    assert (done.code, done.stdout) == (run["exit_code"], run["stdout"])
