"""The process of one machine of the driver `stand-in`: `python -m tests.stand_in_process DIRECTORY`.

SIGTERM is the power button. It ends when the machine is off, when its directory is gone, and with the tests.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from aibemu.hypervisor import MachineEventKind
from aibemu.process_id import ProcessId
from aibemu_drivers.records import FILE
from fixtures.guests.build import Engine
from fixtures.guests.executor import Power
from fixtures.guests.machine import Powered, Settings, Update, WindowsMachine
from fixtures.guests.noted import CMDLETS, PROGRAMS
from fixtures.guests.winrm import Certificate, WinrmServer
from fixtures.guests.winrm import Settings as ServerSettings
from tests.stand_in_disk import load, store
from tests.stand_in_driver import append_event, disk_now, read_told

# Seconds between two looks at whether anybody wants this process still.
_LOOK = 0.5


def settings(told: dict[str, Any]) -> Settings:
    """The machine's, from what the driver wrote and what the test's file says."""
    given = json.loads(Path(told["guest"]).read_text(encoding="utf-8")) if told["guest"] else {}
    given["updates"] = [Update(**update) for update in given.get("updates", ())]
    if given.get("noted") == "public":
        given["noted"] = [*CMDLETS, *PROGRAMS]
    password = Path(told["password_file"]).read_text(encoding="utf-8")
    # A second is enough for a client to fetch the end of the command that asked for the restart.
    return Settings(**{
        "user": told["user"], "password": password, "computer": told["computer"], "going_down": 1.0, "starting": 0.5,
        **given,
    })  # fmt: skip


def main(directory: Path) -> None:
    """Be the machine until it is off."""
    told = read_told(directory)
    off = threading.Event()

    def happened(what: Power) -> None:
        if what == "restart":
            store(machine, disk_now(directory))  # as it is between shutdown and boot
            append_event(directory, MachineEventKind.RESET)
        else:
            off.set()

    signal.signal(signal.SIGTERM, lambda *_: off.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given = settings(told)
    certificate = Certificate(certificate=Path(told["certificate"]), key=Path(told["key"]))
    with WindowsMachine(Engine.of(Path(told["pwsh"])), given) as machine:
        load(machine, disk_now(directory))
        with WinrmServer(
            Powered(machine, happened), user=given.user, password=given.password, certificate=certificate,
            address=told["address"], port=told["port"], settings=ServerSettings(grace=0.0),
        ):  # fmt: skip
            while not off.wait(_LOOK) and _wanted(directory, told["tests"]):
                pass
        if off.is_set():
            store(machine, disk_now(directory))
    if off.is_set():  # said last: who hears it reads the disk
        append_event(directory, MachineEventKind.SHUTDOWN)


def _wanted(directory: Path, tests: str) -> bool:
    if not (directory / FILE).exists():
        return False
    process = ProcessId.of(int(tests.partition("-")[0])) if tests else None
    return not tests or (process is not None and process.mark() == tests)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
