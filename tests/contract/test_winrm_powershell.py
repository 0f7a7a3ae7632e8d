"""The WinRM communicator's texts in a real PowerShell, behind the server of our tests: files, CLIXML, the shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aibemu.clock import SystemClock
from aibemu.communicators import Access, Stream, UploadFailed
from aibemu.communicators.factory import Watch
from aibemu.communicators.winrm import console, powershell
from aibemu.communicators.winrm.command import Pace
from aibemu.communicators.winrm.communicator import LONGEST_COMMAND, WinrmCommunicator
from aibemu.communicators.winrm.connector import WinrmConnector
from aibemu.fabric.depot import DepotService, LendingFolder
from aibemu.fabric.journal import Journal
from aibemu.fabric.server import listen
from aibemu.systems.windows.commands import command
from fixtures.guests.machine import WindowsMachine
from fixtures.guests.winrm.certificate import make_certificate
from fixtures.guests.winrm.server import WinrmServer
from tests.judges import need_engine
from tests.winrm_guests import PASSWORD, USER, access_to, connected, soon

LARGE = os.urandom(1_000_000)
# What runs a whole PowerShell takes seconds on a host that is busy.
PATIENCE = 120.0


@pytest.fixture(scope="module")
def machine() -> Iterator[WindowsMachine]:
    with WindowsMachine(need_engine()) as made:
        yield made


@pytest.fixture(scope="module")
def access(machine: WindowsMachine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    scratch = tmp_path_factory.mktemp("winrm")
    certificate = make_certificate(scratch)
    with WinrmServer(machine, user=USER, password=PASSWORD, certificate=certificate) as server:
        yield access_to(server, certificate, scratch)


@pytest.fixture
def guest(access: Access) -> Iterator[WinrmCommunicator]:
    made = connected(access, pace=Pace())
    yield made
    made.close()


@pytest.fixture
def depot(tmp_path: Path) -> Iterator[LendingFolder]:
    journal = Journal(tmp_path / "journal", SystemClock())
    listener = listen(DepotService(tmp_path / "depot"), journal, SystemClock(), lambda client, server: True)
    yield LendingFolder(tmp_path / "depot", f"http://127.0.0.1:{listener.port}")
    listener.close()
    journal.close()


@pytest.mark.parametrize("content", [LARGE, b"", b"\xff\xfe\r\n\0"], ids=["large", "empty", "bytes"])
def test_a_file_goes_there_piece_by_piece_and_back(
    guest: WinrmCommunicator, machine: WindowsMachine, tmp_path: Path, content: bytes
) -> None:
    name = "C:\\Windows\\Temp\\it's \u2019 there.bin"
    guest.write(content, name, deadline=soon(PATIENCE))
    assert machine.host(name).read_bytes() == content
    guest.download(name, tmp_path / "back", deadline=soon(PATIENCE))
    assert (tmp_path / "back").read_bytes() == content


def test_a_large_file_is_fetched(access: Access, machine: WindowsMachine, depot: LendingFolder, tmp_path: Path) -> None:
    guest = connected(access, Watch(depot=depot), Pace())
    (tmp_path / "source").write_bytes(LARGE)
    guest.upload(tmp_path / "source", "C:\\fetched.bin", deadline=soon(PATIENCE))
    assert machine.host("C:\\fetched.bin").read_bytes() == LARGE
    assert "depot" in (tmp_path / "journal").read_text()
    guest.close()


def test_what_cannot_be_written_is_told_in_the_guests_words(
    access: Access, guest: WinrmCommunicator, depot: LendingFolder
) -> None:
    lent = connected(access, Watch(depot=depot), Pace())
    for one, content in ((guest, b"x"), (lent, LARGE)):
        with pytest.raises(UploadFailed, match="Could not find") as error:
            one.write(content, "C:\\no such folder\\x", deadline=soon(PATIENCE))
        assert not error.value.disconnected
    lent.close()


def test_a_depot_that_is_out_of_reach_costs_one_try(access: Access, machine: WindowsMachine, tmp_path: Path) -> None:
    nowhere = LendingFolder(tmp_path / "depot", "http://127.0.0.1:9")
    guest = connected(access, Watch(depot=nowhere), Pace())
    guest.write(LARGE, "C:\\sent.bin", deadline=soon(PATIENCE))
    assert machine.host("C:\\sent.bin").read_bytes() == LARGE
    guest.close()


def test_what_is_not_there_cannot_be_fetched(guest: WinrmCommunicator, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        guest.download("C:\\nothing", tmp_path / "back", deadline=soon(PATIENCE))
    with pytest.raises(UploadFailed):
        guest.download("C:\\Windows", tmp_path / "back", deadline=soon(PATIENCE))


def test_errors_of_an_encoded_command_are_shown_as_a_console_would(guest: WinrmCommunicator) -> None:
    script = "Write-Host 'said'; Write-Progress ('Copy' + 'ing'); Write-Warning 'careful'; Write-Error 'it went wrong'"
    command = powershell.command(script).replace(" -OutputFormat Text", "")
    heard: list[tuple[Stream, str]] = []
    guest.run(command, deadline=soon(PATIENCE), on_line=lambda stream, line: heard.append((stream, line)))
    errors = [line for stream, line in heard if stream is Stream.STDERR]
    assert (Stream.STDOUT, "said") in heard and sum(line == "said" for _, line in heard) == 1
    assert "WARNING: careful" in errors and any("it went wrong" in line for line in errors)
    assert not any("CLIXML" in line or "Objs" in line or "Copying" in line for _, line in heard)


def test_all_scripts_fit_into_a_command_line() -> None:
    for script in (powershell.STORE, powershell.FETCH, powershell.READ, console.LOOP):
        texts = {"PATH": "C:\\" + "x" * 250, "ADDRESS": "http://168.63.129.16:32527/" + "0" * 64, "MARK": console.MARK}
        assert len(powershell.command(powershell.filled(script, **texts))) < LONGEST_COMMAND


def shell(access: Access, entered: Path, typed: str, *, terminal: bool) -> subprocess.CompletedProcess[str]:
    """The process that `aibemu shell` starts."""
    words = WinrmConnector().shell_command(access, sys.executable, terminal=terminal, entered=entered)
    assert PASSWORD not in json.dumps(words)
    return subprocess.run(words, input=typed, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_a_person_talks_to_powershell_line_by_line(access: Access, tmp_path: Path) -> None:
    typed = "$x = 40\nif ($x) {\n$x + 2\n}\n\nNo-Such-Command\ncd C:\\Windows\n'gr\u00fc\u00df dich'\nexit 3\n"
    done = shell(access, tmp_path / "in", typed, terminal=True)
    assert (tmp_path / "in").exists() and done.returncode == 3, done.stderr
    assert "42" in done.stdout.splitlines() and ">> " in done.stdout
    assert "gr\u00fc\u00df dich" in done.stdout and "Windows> " in done.stdout
    assert "No-Such-Command" in done.stdout + done.stderr and console.MARK not in done.stdout


def test_the_end_of_the_input_ends_the_shell(access: Access, tmp_path: Path) -> None:
    assert shell(access, tmp_path / "in", "'x'\n", terminal=True).returncode == 0


def test_without_a_terminal_powershell_runs_its_input(access: Access, tmp_path: Path) -> None:
    done = shell(access, tmp_path / "in", '$x = 2\nWrite-Output "x is $x"\nexit 5\n', terminal=False)
    assert done.returncode == 5 and "x is 2" in done.stdout and (tmp_path / "in").exists()


def test_who_does_not_get_in_is_told_why(access: Access, tmp_path: Path) -> None:
    wrong = Access.from_json(access.as_json() | {"certificate": "0" * 64})
    done = shell(wrong, tmp_path / "in", "", terminal=True)
    assert done.returncode == 255 and "another certificate" in done.stderr and not (tmp_path / "in").exists()


SYSTEM32 = "C:\\Windows\\System32"


def test_exec_gives_a_program_each_word_as_it_is(guest: WinrmCommunicator, machine: WindowsMachine) -> None:
    """msiexec.exe of the machine writes down what it got, and has no package of such a name. It is named whole: .NET
    splits PATH as on Linux here."""
    words = [
        "/q",
        "%PATH%",
        'say "x" & more',
        "a!b^c",
        "it's \u2019",
        "two\r\nlines",
        'ends in \\"',
        "C:\\a b\\",
        "%",
        "",
    ]
    status = guest.run(command([f"{SYSTEM32}\\msiexec.exe", *words]), deadline=soon(240), on_line=None)
    assert status.code == 1619
    assert json.loads(machine.noted()[-1]) == ["msiexec", *words]


def test_a_program_that_exec_starts_keeps_its_code_its_streams_and_its_input(guest: WinrmCommunicator) -> None:
    heard: list[tuple[Stream, bytes]] = []
    line = command([f"{SYSTEM32}\\cmd.exe", "/c", "findstr x & echo 100% 1>&2 & exit 70000"])
    status = guest.exchange(
        line, stdin=(b"a x\r\n", b"b\r\n"),
        sink=lambda stream, data: heard.append((stream, data)), deadline=soon(240),
    )  # fmt: skip
    assert status.code == 70000
    assert b"".join(data for stream, data in heard if stream is Stream.STDOUT) == b"a x\r\n"
    assert b"100%" in b"".join(data for stream, data in heard if stream is Stream.STDERR)


def test_no_word_that_cmd_would_change_is_given_to_what_is_no_program(guest: WinrmCommunicator) -> None:
    said: list[str] = []
    status = guest.run(command(["nosuch", "%"]), deadline=soon(240), on_line=lambda stream, line: said.append(line))
    assert status.code == 9009 and "aibemu: nosuch cannot be started" in said[0]
