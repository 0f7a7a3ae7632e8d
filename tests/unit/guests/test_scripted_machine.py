"""The machine that does what a test wrote down."""

from __future__ import annotations

import base64
import re
import threading

import pytest

from fixtures.guests.executor import NoSuchProgram, Start, Stream
from fixtures.guests.scripted import Answer, Call, Scripted, Unscripted, decoded


class Kept:
    """An `Output` that keeps what it is given."""

    def __init__(self) -> None:
        self.streams: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        self.exit_code: int | None = None
        self.ended = threading.Event()

    def put(self, stream: Stream, data: bytes) -> None:
        self.streams[stream] += data

    def end(self, exit_code: int) -> None:
        if self.exit_code is None:
            self.exit_code = exit_code
        self.ended.set()


def start(machine: Scripted, command: str, *, skip_cmd_shell: bool = False, code_page: int = 437) -> tuple[Call, Kept]:
    output = Kept()
    what = Start(
        command=command, skip_cmd_shell=skip_cmd_shell, environment={}, directory=None, code_page=code_page, user="u"
    )
    return machine.start(what, output), output


def run(machine: Scripted, command: str, **words: int) -> tuple[str, str, int | None]:
    output = start(machine, command, code_page=words.get("code_page", 437))[1]
    assert output.ended.wait(10)
    return output.streams["stdout"].decode("latin-1"), output.streams["stderr"].decode("latin-1"), output.exit_code


def encoded(script: str, option: str = "-EncodedCommand") -> str:
    return f"powershell.exe -NoProfile {option} {base64.b64encode(script.encode('utf-16-le')).decode()}"


@pytest.mark.parametrize("option", ["-EncodedCommand", "-encodedcommand", "-enc", "-e", "-ec", "/EncodedCommand"])
def test_a_script_is_compared_decoded(option: str) -> None:
    machine = Scripted()
    machine.on("Get-Date; 1", stdout="ä", exit_code=3)
    machine.on(re.compile(r"^Get-Item"), stderr="no", exit_code=1)
    assert run(machine, encoded("Get-Date; 1", option)) == ("\x84", "", 3)
    assert run(machine, encoded("Get-Item x", option), code_page=65001) == ("", "no", 1)
    assert machine.texts() == ["Get-Date; 1", "Get-Item x"]
    machine.check()


def test_what_is_no_encoded_script() -> None:
    assert decoded("cmd /c echo -e AAAA") is None
    assert decoded("powershell -executionpolicy bypass -file x.ps1") is None
    assert decoded("powershell -e !!!!") is None


def test_what_nobody_wrote_down_fails_loudly() -> None:
    machine = Scripted()
    machine.on("hostname", stdout="x")
    stdout, stderr, code = run(machine, "hostname /all")
    assert (stdout, code) == ("", 1)
    assert "does not know this command: hostname /all" in stderr
    with pytest.raises(Unscripted, match="hostname /all"):
        machine.check()


def test_answers_in_turn_and_a_later_rule_wins() -> None:
    machine = Scripted()
    machine.on(re.compile("."), stdout="any")
    machine.on("x", Answer(exit_code=1), Answer(exit_code=2))
    assert [run(machine, "x")[2] for _ in range(3)] == [1, 2, 2]
    assert run(machine, "y")[0] == "any"


def test_a_program_that_is_missing() -> None:
    machine = Scripted()
    machine.on("x.exe", Answer(missing=True, stderr="not recognized", exit_code=1))
    with pytest.raises(NoSuchProgram):
        start(machine, "x.exe", skip_cmd_shell=True)
    assert run(machine, "x.exe") == ("", "not recognized", 1)


def test_stopped_from_outside() -> None:
    machine = Scripted()
    machine.on("x", play=lambda call: 5 if call.stopped.wait(10) else 6)
    call, output = start(machine, "x")
    call.stop()
    call.stop()
    assert output.ended.wait(10)
    assert output.exit_code == 0xC000013A
