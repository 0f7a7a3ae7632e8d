"""The machine of fixtures/guests as a server sees it, without PowerShell: streams, input, ends, power."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.guests.executor import NoSuchProgram, Power
from fixtures.guests.installation import MADE_AT_EACH_START
from fixtures.guests.machine import Settings, WindowsMachine
from fixtures.guests.text import UTF8, Printed
from tests.guest_calls import PATIENCE, begin, call, until


class Told:
    """What a server is told of the machine's power."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[Power, float]] = queue.Queue()

    def __call__(self, kind: Power, seconds: float) -> None:
        self._queue.put((kind, seconds))

    def next(self) -> tuple[Power, float]:
        return self._queue.get(timeout=PATIENCE)


@pytest.fixture
def machine() -> Iterator[WindowsMachine]:
    with WindowsMachine(engine=None, settings=Settings(going_down=0.05, starting=0.0)) as made:
        yield made


def test_output_comes_while_the_command_runs(machine: WindowsMachine) -> None:
    output, running = begin(machine, 'echo first& find "x"')
    output.wait_for(b"first\r\n")
    assert not output.over.is_set()
    running.feed(b"x1\ny\n", end=False)
    running.feed(b"2x\n", end=True)
    assert output.over.wait(PATIENCE)
    assert output.raw("stdout") == b"first\r\nx1\r\n2x\r\n"


def test_a_stop_ends_the_command_and_its_children(machine: WindowsMachine) -> None:
    output, running = begin(machine, "echo begun& cmd /c ping -n 600 localhost")
    output.wait_for(b"begun")
    running.stop()
    running.stop()
    assert output.over.wait(PATIENCE)
    assert output.code == 0xC000013A


def test_a_process_left_behind_does_not_hold_the_command(machine: WindowsMachine) -> None:
    assert call(machine, "start ping -n 600 localhost").code == 0


def test_without_cmd_it_is_one_program_with_its_arguments(machine: WindowsMachine) -> None:
    output, _ = begin(machine, r'C:\Windows\System32\cmd.exe "/c" echo a^&b', skip_cmd_shell=True)
    assert output.over.wait(PATIENCE)
    assert output.raw("stdout") == b"a&b\r\n"
    with pytest.raises(NoSuchProgram):
        begin(machine, "nosuch.exe", skip_cmd_shell=True)


def test_the_shell_s_variables_and_folder(machine: WindowsMachine) -> None:
    output, _ = begin(
        machine, "echo %mine% %path%& cd", environment={"Mine": "1", "Path": "C:\\X"}, directory="C:\\windows"
    )
    assert output.over.wait(PATIENCE)
    assert output.raw("stdout") == b"1 C:\\X\r\nC:\\Windows\r\n"


def test_the_code_page_of_the_console(machine: WindowsMachine) -> None:
    output, _ = begin(machine, "echo Gr\u00fc\u00dfe \u4e00", code_page=437)
    assert output.over.wait(PATIENCE)
    assert output.raw("stdout") == b"Gr\x81\xe1e ?\r\n"


def test_a_restart_ends_everything_and_nobody_hears_how(machine: WindowsMachine) -> None:
    told = Told()
    machine.on_power(told)
    before = (machine.guest.state / "boot").read_text()
    machine.registry.delete(MADE_AT_EACH_START)
    waiting, _ = begin(machine, "echo begun& ping -n 600 localhost")
    waiting.wait_for(b"begun")
    call(machine, 'schtasks /create /tn long /tr "ping -n 600 localhost" /ru SYSTEM & schtasks /run /tn long')
    assert call(machine, "shutdown /r /f /t 0").code == 0
    assert told.next() == ("restart", 0.0)
    until(lambda: machine.guest.read("power") is None)
    assert machine.registry.exists(MADE_AT_EACH_START)
    assert float((machine.guest.state / "boot").read_text()) > float(before)
    assert machine.guest.read("tasks/long") == {"state": 3, "result": 267014}
    assert not waiting.over.is_set()
    assert call(machine, "ver").code == 0


def test_shutdown_says_what_is_scheduled(machine: WindowsMachine) -> None:
    codes = [call(machine, f"shutdown {how}").code for how in ("/a", "/r /t 600", "/r /t 0", "/a", "/a")]
    assert codes == [1116, 0, 1190, 0, 1116]


def test_a_machine_that_goes_down_refuses_another_restart() -> None:
    with WindowsMachine(engine=None, settings=Settings(going_down=PATIENCE)) as machine:
        call(machine, "shutdown /s /t 0")
        until(lambda: bool(machine.guest.read("power")["going"]))
        assert call(machine, "shutdown /r /t 0").code == 1115


def test_power_off_is_told_as_that(machine: WindowsMachine) -> None:
    told = Told()
    machine.on_power(told)
    call(machine, "shutdown /p")
    assert told.next() == ("off", 0.0)


def test_closing_leaves_no_process_and_no_folder() -> None:
    with WindowsMachine(engine=None) as machine:
        output, _ = begin(machine, "echo begun& ping -n 600 localhost")
        output.wait_for(b"begun")
        base = machine.guest.base
    assert not base.exists()
    mark = f"GUEST_BASE={base}".encode()
    assert not [p for p in Path("/proc").glob("[0-9]*") if mark in _environment(p)]


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"a\nb\r\n"], b"a\r\nb\r\n"),
        ([b"a\r", b"\nb\r", b"c\r"], b"a\r\nb\rc\r"),
        ([b"x_x000A_y_x000D__x000A_"], b"x_x000D__x000A_y_x000D__x000A_"),
        ([b"at /g/c/Program Files (x86)/a b/c and/or /g/c"], b"at C:\\Program Files (x86)\\a b/c and/or C:\\"),
    ],
)
def test_what_is_printed_looks_as_on_windows(pieces: list[bytes], expected: bytes) -> None:
    printed = Printed(Path("/g/c"), UTF8)
    assert b"".join(printed.more(piece) for piece in pieces) + printed.rest() == expected
