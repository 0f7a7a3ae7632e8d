"""Steps for Windows, as Packer and as aibemu send them to a WinRM server before a scripted machine."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aibemu.communicators.winrm import powershell
from aibemu.communicators.winrm.command import Pace
from aibemu.customizers import Customizer, Outcome, StepSettings
from aibemu.customizers.file import File
from aibemu.customizers.windows.powershell import PowerShell
from aibemu.customizers.windows.restart import WindowsRestart
from aibemu.engine.machines.boot import Booted
from aibemu.engine.phases.output import Output
from aibemu.engine.phases.steps import StepGuest
from aibemu.fabric.identity import Identity
from aibemu.systems import load
from aibemu.systems.windows.commands import BOOT_ID
from aibemu.testing.customizer import step_spec
from fixtures.guests.scripted import Answer, Call, Scripted
from fixtures.guests.winrm.settings import Settings
from tests.bench.packer import environment
from tests.winrm_guests import PASSWORD, USER, connected, pattern_of, serving, soon
from tests.winrm_told import Run, Write, told

UPLOAD = bytes(range(256)) * 80
# No UTF-8, no mark, Windows' ends of lines, and none at the end.
SCRIPT = b"Write-Host '\xe4'\r\nexit 3010"
CHECK = "powershell -Command \"Write-Output 'checked'\""
# Each step in the words of the service, and in Packer's.
STEPS: list[tuple[type[Any], dict[str, Any], dict[str, Any]]] = [
    (PowerShell, {"inline": ['$x = "1"', "Write-Host \u00e4"]}, {"inline": ['$x = "1"', "Write-Host \u00e4"]}),
    (
        PowerShell, {"scriptUri": "script.ps1", "validExitCodes": [0, 3010]},
        {"script": "script.ps1", "valid_exit_codes": [0, 3010]},
    ),
    (
        PowerShell, {"inline": ["whoami"], "runElevated": True},
        {"inline": ["whoami"], "elevated_user": USER, "elevated_password": PASSWORD},
    ),
    (
        PowerShell, {"inline": ["whoami"], "runElevated": True, "runAsSystem": True},
        {"inline": ["whoami"], "elevated_user": "SYSTEM", "elevated_password": ""},
    ),
    (
        File, {"sourceUri": "upload.bin", "destination": "C:/folder/upload.bin"},
        {"source": "upload.bin", "destination": "C:/folder/upload.bin"},
    ),
    (WindowsRestart, {"restartCheckCommand": CHECK}, {"restart_check_command": CHECK}),
]  # fmt: skip
TYPES = {PowerShell: "powershell", File: "file", WindowsRestart: "windows-restart"}
# What the scripts of these steps end with, and that of the step of the second build, which fails.
CODES, FAILED = (0, 3010, 0, 0), 3
HOST_NAME = 'echo ("{0} restarted." -f [System.Net.Dns]::GetHostName())'
ELEVATED = "/packer-elevated-shell-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What one of the two sent. all, failed: to the machine of the steps, and to that of the step that fails; raw: all,
    as it came; error: how the step ended that fails."""

    all: list[Write | Run]
    failed: list[Write | Run]
    raw: list[str]
    error: str

    @property
    def texts(self) -> list[str]:
        return [one.text for one in self.all if isinstance(one, Run)]

    @property
    def written(self) -> int:
        return sum(isinstance(one, Write) for one in self.all)

    def count(self, word: str) -> int:
        """Commands with this in them, as they came."""
        return sum(word in text for text in self.raw)

    def files(self, name: str) -> list[bytes]:
        return [one.content for one in self.all if isinstance(one, Write) and name in one.path]


def machine(*codes: int, hears: bool = False) -> Scripted:
    """What both need of a machine; scripts end with `codes`, one after the other. hears: and not before the client
    has ended their standard input."""
    made = Scripted()
    restarts = re.compile(r"shutdown /r /f /t 0")

    def end(code: int, call: Call) -> int:
        return code if not hears or call.stdin_ended.wait(30) else 1

    def boot_id(call: Call) -> int:
        call.print(f"boot {sum(bool(restarts.match(text)) for text in made.texts())}\r\n")
        return 0

    def store(call: Call) -> int:
        if not call.stdin_ended.wait(30):
            return 1
        content = b"".join(base64.b64decode(line) for line in bytes(call.stdin).split())
        call.print(hashlib.sha256(content).hexdigest() + "\r\n")
        return 0

    made.on(pattern_of(powershell.STORE), play=store)
    made.on(re.compile(r'echo "WinRM connected\."$'), stdout="WinRM connected.\r\n")
    made.on(re.compile(r'^echo \S+ >> "%TEMP%|FromBase64String\(\$base64_line\)|Remove-Item \$tmp_file_path|^del /f'))
    made.on(re.compile("^powershell -executionpolicy bypass"), *[Answer(play=partial(end, code)) for code in codes])
    made.on(re.compile("/packer-cleanup-|^if exist|packer restart test|^shutdown /a"))
    made.on(re.compile(r"\{0\} restarted\."), stdout="WIN-1 restarted.\r\n")
    made.on(restarts, restart=1.0)
    made.on(CHECK, stdout="checked\r\n")
    made.on(BOOT_ID, play=boot_id)
    return made


def from_packer(packer: Path, folder: Path) -> Sent:
    names = ("azure-arm", "failed")
    machines = {"azure-arm": machine(*CODES), "failed": machine(FAILED)}
    provisioners = [{"type": TYPES[kind], "only": ["azure-arm"], **words} for kind, _, words in STEPS]
    provisioners.append({"type": "powershell", "only": ["failed"], "inline": ["exit 3"]})
    with ExitStack() as running:
        builders = []
        for name in names:
            (scratch := folder / name).mkdir()
            server, _ = running.enter_context(serving(scratch, machines[name], Settings(negotiate=False)))
            builders.append({
                "type": "null", "name": name, "communicator": "winrm", "winrm_host": "127.0.0.1",
                "winrm_port": server.port, "winrm_username": USER, "winrm_password": PASSWORD, "winrm_timeout": "100s",
                "winrm_use_ssl": True, "winrm_insecure": True,
            })  # fmt: skip
        (folder / "template.json").write_text(json.dumps({"builders": builders, "provisioners": provisioners}))
        run = subprocess.run(
            [packer, "build", "-color=false", "template.json"], cwd=folder, env=environment(), capture_output=True,
            text=True, timeout=150, check=False,
        )  # fmt: skip
    assert "Build 'azure-arm' finished" in run.stdout, run.stdout + run.stderr
    error = re.search("Build 'failed' errored.*?: (.*)", run.stdout)
    assert error, run.stdout
    return _sent(machines["azure-arm"], machines["failed"], error[1])


def from_aibemu(folder: Path) -> Sent:
    machines = (machine(*CODES, hears=True), machine(FAILED, hears=True))
    chance = random.Random(1)
    steps = []
    for kind, options, _ in STEPS:
        step: Customizer = kind(step_spec(kind.__name__, **options), StepSettings(rng=chance))
        steps.append((step, [folder / need.uri for need in step.needs()]))
    failing = PowerShell(step_spec("PowerShell", inline=["exit 3"]), StepSettings(rng=chance))
    with guest_of(machines[0], folder / "ours") as guest:
        assert [step.apply(guest, files).error for step, files in steps] == [None] * len(steps)
    with guest_of(machines[1], folder / "ours-failed") as guest:
        outcome: Outcome = failing.apply(guest, ())
    return _sent(*machines, str(outcome.error))


def _sent(all_steps: Scripted, failed: Scripted, error: str) -> Sent:
    all_steps.check()
    failed.check()
    return Sent(all=told(all_steps.calls), failed=told(failed.calls), raw=all_steps.texts(), error=error)


class _Unwatched:
    """The watchdog of a machine that is none."""

    def __call__(self) -> None:
        return

    connecting = answered = __call__


@contextmanager
def guest_of(scripted: Scripted, scratch: Path) -> Iterator[StepGuest]:
    """The engine's guest, by its communicator, on a server before this machine."""
    scratch.mkdir()
    watchdog: Any = _Unwatched()
    unused: Any = None
    with serving(scratch, scripted) as (_, access):
        communicator = connected(access, pace=Pace())
        booted = Booted(
            machine=unused, role="build", identity=Identity(hostname="h", user=USER, vm_id=unused, mac=""),
            credentials=access.credentials, system=load("Windows"), communicator=communicator, watchdog=watchdog,
            boot_id="boot 0",
        )  # fmt: skip
        yield StepGuest(booted=booted, deadline=soon(100), lines=Output(emit=lambda *_, **__: unused))
        communicator.close()
