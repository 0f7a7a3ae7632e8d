"""PowerShell where there is none: texts that are known are done, with a guest's WinRM and aibemu's own communicator."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from aibemu.communicators import Stream, UploadFailed
from aibemu.communicators.winrm.communicator import WinrmCommunicator
from aibemu.customizers.windows.names import fresh_names
from aibemu.customizers.windows.script import Script, inline_content
from aibemu.customizers.windows.texts import assignments, with_mark
from aibemu.images.windows import GENERALIZED
from aibemu.systems.windows import commands, deprovision
from fixtures.guests.machine import Settings, WindowsMachine
from fixtures.guests.winrm import Settings as ServerSettings
from fixtures.guests.winrm import WinrmServer, make_certificate
from tests.stand_in_vm import inline, own_texts
from tests.winrm_guests import PASSWORD, USER, access_to, connected, soon

ANSWERS = [
    {"text": inline("mkdir C:\\made", "Get-Nothing"), "does": "cmd",
     "lines": ["md C:\\made", "echo %PACKER_BUILD_NAME%> C:\\made\\a.txt", "echo done"]},
]  # fmt: skip


@pytest.fixture(scope="module")
def machine() -> Iterator[WindowsMachine]:
    with WindowsMachine(engine=None, settings=Settings(going_down=0.1)) as made:
        (made.guest.base / "known.json").write_text(json.dumps([*ANSWERS, *own_texts()]), encoding="utf-8")
        yield made


@pytest.fixture(scope="module")
def guest(machine: WindowsMachine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WinrmCommunicator]:
    folder = tmp_path_factory.mktemp("winrm")
    certificate = make_certificate(folder)
    with WinrmServer(
        machine, user=USER, password=PASSWORD, certificate=certificate, settings=ServerSettings(negotiate=False)
    ) as server:
        made = connected(access_to(server, certificate, folder))
        yield made
        made.close()


def run(guest: WinrmCommunicator, command: str) -> tuple[int | None, list[tuple[Stream, str]]]:
    said: list[tuple[Stream, str]] = []
    status = guest.run(command, deadline=soon(), on_line=lambda stream, line: said.append((stream, line)))
    return status.code, said


def test_files_go_there_and_back(guest: WinrmCommunicator, machine: WindowsMachine, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(400_000)
    guest.write(content, "C:\\Windows\\Temp\\it's.bin", deadline=soon())
    assert machine.host("C:\\Windows\\Temp\\it's.bin").read_bytes() == content
    guest.download("C:\\Windows\\Temp\\it's.bin", tmp_path / "back", deadline=soon())
    assert (tmp_path / "back").read_bytes() == content
    with pytest.raises(UploadFailed):
        guest.write(content, "C:\\nowhere\\a", deadline=soon())
    with pytest.raises(FileNotFoundError):
        guest.download("C:\\nowhere", tmp_path / "none", deadline=soon())


def test_the_boot_time_is_the_machine_s(guest: WinrmCommunicator, machine: WindowsMachine) -> None:
    code, said = run(guest, commands.BOOT_ID)
    assert code == 0
    ((_, line),) = said
    assert line.startswith("20")
    assert line.endswith("Z")
    assert commands.boot_id(guest, soon()) == line


def test_a_script_runs_as_packer_runs_it(guest: WinrmCommunicator, machine: WindowsMachine) -> None:
    script = Script(
        names=fresh_names(random.Random(2)), content=inline_content(["mkdir C:\\made", "Get-Nothing"], wrapped=False)
    )
    guest.write(with_mark(assignments({"PACKER_BUILD_NAME": "a$b"})), script.names.environment, deadline=soon())
    guest.write(script.content, script.names.script, deadline=soon())
    assert run(guest, script.command) == (0, [(Stream.STDOUT, "done")])
    assert machine.host("C:\\made\\a.txt").read_text() == "a$b\n"


def test_a_text_that_nobody_wrote_down_is_an_error(guest: WinrmCommunicator) -> None:
    code, said = run(guest, "powershell -Command Get-Unknown")
    assert code == 1
    assert said[0] == (Stream.STDERR, "stand-in: nothing is written down for this PowerShell:")


def test_the_last_step_generalises(guest: WinrmCommunicator, machine: WindowsMachine) -> None:
    step = Script(
        names=fresh_names(random.Random(3)),
        content=inline_content((deprovision.SHOWN, deprovision.RUN, "exit 0"), wrapped=False),
    )
    guest.write(with_mark(assignments({})), step.names.environment, deadline=soon())
    guest.write(step.content, step.names.script, deadline=soon())
    assert run(guest, step.command)[0] == 1, "there is no script"
    guest.write(deprovision.default_file(), deprovision.DEPROVISION_PATH, deadline=soon())
    code, said = run(guest, step.command)
    assert (code, said[-1][1]) == (0, ">>> Sysprep complete ...")
    assert GENERALIZED in [line for _, line in said]
