"""A generalised Windows machine with aibemu's stick in it, on fixtures/guests: any drive is C: there, so the files lie
in its root. The platform is the real one, on a port of this host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aibemu.clock import SystemClock
from aibemu.fabric.health import HealthReport
from aibemu.fabric.identity import fresh_identity
from aibemu.fabric.journal import Journal
from aibemu.fabric.server import listen
from aibemu.fabric.wireserver import WireServer
from aibemu.images.windows import WindowsFacts
from aibemu.systems.windows.answers import Answers
from aibemu.systems.windows.login import fresh_credentials
from aibemu.systems.windows.media import READY_URL, contents, password_of
from aibemu.testing.systems import ScriptedStart, new_vm, repeatable
from fixtures.guests.machine import Settings, WindowsMachine
from tests.judges import need_engine

SERVER = WindowsFacts(
    product="Windows Server 2022", edition="ServerDatacenter", build=20348, installation="Server", evaluation=False,
    image_state="IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE",
)  # fmt: skip
SETUP = r"C:\Windows\Setup\Scripts"


@dataclass(kw_only=True)
class FirstBoot:
    """The machine, what is on its stick, and what its platform heard."""

    machine: WindowsMachine
    files: dict[str, bytes]
    heard: list[HealthReport] = field(default_factory=list)

    @property
    def settings(self) -> Any:
        return json.loads(self.files["aibemu/settings.json"])

    @property
    def said(self) -> list[str]:
        """What the machine said on its serial port, line by line."""
        port = self.machine.guest.state / "COM1"
        return [line for line in port.read_text().splitlines() if line] if port.exists() else []

    def table(self, name: str) -> Any:
        return self.machine.guest.read(name, {})


@contextmanager
def first_boot(folder: Path, facts: WindowsFacts | None = SERVER) -> Iterator[FirstBoot]:
    """A machine as Windows' setup finds it; its built-in administrator has the answer file's password already."""
    identity = fresh_identity("packer", repeatable(1))
    credentials = fresh_credentials(folder, identity.user)
    password = password_of(folder)
    answers = Answers(computer=identity.hostname, user="packer", password=password, facts=facts, locale="en-US")
    files = dict(contents(folder, answers))
    heard: list[HealthReport] = []
    vm = new_vm(ScriptedStart(identity=identity, credentials=credentials, folder=folder))
    listener = listen(
        WireServer(vm, heard.append), Journal(folder / "platform.ndjson", SystemClock(), ()), SystemClock(),
        lambda client, server: True,
    )  # fmt: skip
    port = listener.port
    files["aibemu/settings.json"] = files["aibemu/settings.json"].replace(
        READY_URL.encode(), f"http://127.0.0.1:{port}/machine?comp=health".encode()
    )
    with WindowsMachine(need_engine(), Settings(user="Administrator", password=password, starting=0.2)) as machine:
        machine.guest.write("sids", {"Administrator": "S-1-5-21-1-2-3-500"})
        for name, content in files.items():
            file = machine.guest.drive / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        try:
            yield FirstBoot(machine=machine, files=files, heard=heard)
        finally:
            listener.close()
