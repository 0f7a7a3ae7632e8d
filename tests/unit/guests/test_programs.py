"""The programs of the guests in fixtures/guests, without PowerShell: each once, and what scripts rely on in it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from fixtures.guests.machine import Settings, WindowsMachine
from fixtures.guests.powershell import WrongArgument, translate
from fixtures.guests.registry import SETUP_STATE, UNINSTALL
from tests.guest_calls import call, until

NO_KEY = "ERROR: The system was unable to find the specified registry key or value.\n"


@pytest.fixture
def machine() -> Iterator[WindowsMachine]:
    settings = Settings(noted=("netsh", "icacls"), sysprep=[(0, "IMAGE_STATE_UNDEPLOYABLE"), (0.05, "DONE")])
    with WindowsMachine(engine=None, settings=settings) as made:
        yield made


def lines(machine: WindowsMachine, *given: str) -> list[tuple[int, str]]:
    """Code and what was printed, of each line."""
    done = [call(machine, line) for line in given]
    return [(one.code, one.stdout + one.stderr) for one in done]


def test_who_and_where(machine: WindowsMachine) -> None:
    assert lines(machine, "hostname", "whoami", "where cmd", "where nope") == [
        (0, "WINBOX\n"),
        (0, "winbox\\packer\n"),
        (0, "C:\\Windows\\System32\\cmd.exe\n"),
        (1, "INFO: Could not find files for the given pattern(s).\n"),
    ]


def test_chcp_says_the_code_page_of_the_connection(machine: WindowsMachine) -> None:
    assert lines(machine, "chcp", "chcp 437") == [(0, "Active code page: 65001\n"), (0, "Active code page: 437\n")]


def test_reg(machine: WindowsMachine) -> None:
    done = "The operation completed successfully.\n"
    key = r"HKLM\SOFTWARE\Aibemu"
    assert lines(
        machine, rf"reg query {key}", rf"reg add {key}\Deep /v Number /t REG_DWORD /d 0x10 /f",
        r'reg add hklm\software\AIBEMU /v Text /d "a b" /f', rf"reg query {key}\deep /v number", rf"reg query {key}",
        rf"reg delete {key} /v nope /f", rf"reg delete {key} /f", rf"reg query {key}\Deep", "reg export a b",
    ) == [
        (1, NO_KEY), (0, done), (0, done),
        (0, f"\n{key}\\deep\n    Number    REG_DWORD    0x10\n\n"),
        (0, f"\n{key}\n    Text    REG_SZ    a b\n{key}\\Deep\n\n"),
        (1, NO_KEY), (0, done), (1, NO_KEY), (1, "stand-in: reg export is not known\n"),
    ]  # fmt: skip


def test_setx_is_in_the_next_logon_s_environment(machine: WindowsMachine) -> None:
    saved = "\nSUCCESS: Specified value was saved.\n"
    assert lines(machine, "setx MINE 1 & echo %MINE%", "setx /m ALL 2", "echo %MINE% %all%") == [
        (0, f"{saved}%MINE%\n"), (0, saved), (0, "1 2\n"),
    ]  # fmt: skip


def test_net_and_sc_know_the_services(machine: WindowsMachine) -> None:
    assert lines(
        machine, "net start wuauserv", "sc query WUAUSERV", "net stop wuauserv", "net stop nope", "sc query nope"
    ) == [
        (0, "The Windows Update service was started successfully.\n\n"),
        (0, "\nSERVICE_NAME: wuauserv\n        STATE              : 4  RUNNING\n"),
        (0, "The Windows Update service was stopped successfully.\n\n"),
        (2, "The service name is invalid.\n\nMore help is available by typing NET HELPMSG 2185.\n\n"),
        (1060, "[SC] EnumQueryServicesStatus:OpenService FAILED 1060:\n\n"),
    ]  # fmt: skip
    assert [code for code, _ in lines(machine, "net user packer", "net user nope", "net use x:")] == [0, 2, 1]


def test_msiexec_wants_its_package(machine: WindowsMachine) -> None:
    machine.host(r"C:\Windows\Temp\Tool.msi").write_bytes(b"")
    assert [code for code, _ in lines(
        machine, r"msiexec /i C:\nope.msi /qn", r"msiexec /i c:\windows\temp\tool.msi /qn /l*v C:\msi.log",
        r"msiexec /x C:\nope.msi",
    )] == [1619, 0, 1605]  # fmt: skip
    assert machine.registry.get(UNINSTALL + r"\{Tool.msi}", "DisplayName") == "Tool"
    assert machine.host(r"C:\msi.log").exists()


def test_find_and_copies_of_folders(machine: WindowsMachine) -> None:
    call(machine, r"md C:\tree\deep & echo One> C:\tree\deep\a.txt")
    assert lines(
        machine, r'find /i "ONE" C:\tree\deep\a.txt', r"findstr /i two C:\tree\deep\a.txt",
        r"xcopy /s /e C:\tree C:\copy", r"robocopy C:\tree C:\robo /e", r"robocopy C:\nope C:\robo",
        r"type C:\copy\deep\a.txt C:\robo\deep\a.txt",
    ) == [(0, "One\n"), (1, ""), (0, ""), (1, ""), (16, "File not found - nope\n"), (0, "One\nOne\n")]  # fmt: skip


def test_ping_waits_and_tar_and_curl_are_real(machine: WindowsMachine) -> None:
    assert call(machine, "ping -n 1 127.0.0.1").code == 0
    assert "bsdtar" in (told := call(machine, "tar --version").stdout) or "GNU tar" in told
    assert call(machine, r"curl -sS -o C:\here http://127.0.0.1:9/x").code == 7


def test_only_what_a_test_asked_for_is_noted(machine: WindowsMachine) -> None:
    assert [code for code, _ in lines(machine, "netsh a b", "icacls c", "powercfg /x")] == [0, 0, 1]
    assert [json.loads(line) for line in machine.noted() if "msiexec" not in line and "sysprep" not in line] == [
        ["netsh", "a", "b"],
        ["icacls", "c"],
    ]


def test_ports_that_nobody_is_to_get(machine: WindowsMachine) -> None:
    head = "\nStart Port    End Port\n----------    --------\n"
    assert lines(
        machine, "netsh int ipv4 add excludedportrange udp 65330 1 persistent",
        "netsh interface ipv4 show excludedportrange protocol=udp", "netsh int ipv4 show excludedportrange tcp",
        "netsh int ipv4 delete excludedportrange protocol=udp startport=65330 numberofports=1",
        "netsh int ipv4 show excludedportrange udp",
    ) == [
        (0, "Ok.\n\n"), (0, f"{head}     65330       65330\n\n"), (0, f"{head}\n"), (0, "Ok.\n\n"),
        (0, f"{head}\n"),
    ]  # fmt: skip
    with WindowsMachine(engine=None) as other:
        assert lines(other, "netsh a b") == [(1, "stand-in: netsh a b is not known\n")]


def test_sysprep_returns_at_once_and_the_state_goes_by_the_plan(machine: WindowsMachine) -> None:
    program = r"C:\Windows\System32\Sysprep\sysprep.exe"
    assert [code for code, _ in lines(machine, program, f"{program} /oobe /generalize /quiet /quit")] == [1, 0]
    until(lambda: machine.registry.get(SETUP_STATE, "ImageState") == "DONE")


def test_a_scheduled_task_really_runs_as_its_user(machine: WindowsMachine) -> None:
    command = r"cmd /c whoami > C:\task.txt & exit 3010"
    assert lines(
        machine, f'schtasks /create /tn deep /tr "{command}" /ru SYSTEM /sc once /st 00:00', "schtasks /run /tn deep",
        "schtasks /run /tn nope",
    ) == [
        (0, 'SUCCESS: The scheduled task "deep" has successfully been created.\n'),
        (0, 'SUCCESS: Attempted to run the scheduled task "deep".\n'),
        (1, "ERROR: The system cannot find the file specified.\n"),
    ]  # fmt: skip
    until(lambda: machine.guest.read("tasks/deep")["result"] == 3010)
    assert machine.host(r"C:\task.txt").read_text() == "nt authority\\system\n"
    call(
        machine,
        'schtasks /create /tn long /tr "cmd /c echo x> C:\\begun& ping -n 600 localhost" & schtasks /run /tn long',
    )
    until(lambda: machine.host(r"C:\begun").exists() and "process" in machine.guest.read("tasks/long"))
    call(machine, "schtasks /end /tn long")
    assert machine.guest.read("tasks/long") == {"state": 3, "result": 267014}
    assert [code for code, _ in lines(machine, "schtasks /delete /tn deep /f", "schtasks /query /tn deep")] == [0, 1]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["-executionpolicy", "bypass", "& { 1 }", "2"], ["-Command", "& { 1 }", "2"]),
        (["-NoP", "-NonI", "-Version", "5.1", "-WindowStyle", "Hidden", "x"], ["-noninteractive", "-Command", "x"]),
        (["-enc", "QQA="], ["-EncodedCommand", "QQA="]),
        (["-of", "Text", "-c", "1", "-x"], ["-outputformat", "Text", "-Command", "1", "-x"]),
        (["-"], ["-Command", "-"]),
        (["-Command"], ["-Command", "-"]),
        (["-File", "-"], ["-File", "-"]),
        ([], []),
    ],
)
def test_powershell_s_command_line_is_5_1_s(machine: WindowsMachine, given: list[str], expected: list[str]) -> None:
    assert translate(machine.guest, given) == expected


@pytest.mark.parametrize("given", [["-File", r"C:\nope.ps1"], ["-Nope"], ["-EncodedCommand"]])
def test_a_wrong_argument_of_powershell_is_refused(machine: WindowsMachine, given: list[str]) -> None:
    with pytest.raises(WrongArgument):
        translate(machine.guest, given)


def test_powershell_without_an_engine_fails_loudly(machine: WindowsMachine) -> None:
    done = call(machine, "powershell 1")
    assert done.code == 4294770688
    assert "no PowerShell is at hand" in done.stderr
