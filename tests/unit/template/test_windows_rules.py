"""WindowsRestart's commands, and downloads that are no scripts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibemu.arm.findings import Findings
from aibemu.arm.reader import read
from aibemu.template.remote import RemoteFile
from aibemu.template.rule_context import RuleContext
from aibemu.template.rules.files import check_reachable
from aibemu.template.rules.windows import check_exit_codes, check_restart_commands, check_restart_timeout
from aibemu.template.view import NodeView


def judged(step: dict[str, Any], files: dict[str, RemoteFile] | None = None) -> list[tuple[str, str]]:
    root = read(json.dumps({"properties": {"customize": [step]}}), "t.json").root
    assert root is not None
    findings = Findings("t.json")
    context = RuleContext(version="2024-02-01", kinds=frozenset(), findings=findings, files=files or {})
    for check in (check_exit_codes, check_restart_commands, check_restart_timeout, check_reachable):
        check(NodeView(root, "ImageTemplate"), context)
    return [(found.id, found.message) for found in findings.sorted()]


def restart(**fields: str) -> list[str]:
    return [id_ for id_, _ in judged({"type": "WindowsRestart", "restartTimeout": "15m", **fields})]


@pytest.mark.parametrize(
    "command",
    [
        "Restart-Computer -Force", "shutdown /s /t 0", "shutdown -p", "shutdown /a", "shutdown",
        "C:\\Windows\\System32\\shutdown.exe /f /t 0", "shutdown /r /t 1800",
        '"C:\\Windows\\System32\\shutdown.exe" /s',
    ],
)  # fmt: skip
def test_a_command_that_does_not_restart(command: str) -> None:
    assert restart(restartCommand=command) == ["W90"]


@pytest.mark.parametrize(
    "command",
    [
        'shutdown /r /f /t 0 /c "packer restart"', "shutdown.exe -r -t 5", "shutdown /g /t 0",
        "powershell -Command Restart-Computer -Force", "wpeutil reboot", "",
    ],
)  # fmt: skip
def test_a_command_that_does(command: str) -> None:
    assert restart(restartCommand=command) == []


@pytest.mark.parametrize("field", ["restartCommand", "restartCheckCommand"])
def test_a_line_that_is_too_long_for_cmd(field: str) -> None:
    assert restart(**{field: "shutdown /r /t 0 & rem " + "x" * 8169}) == ["W90"]
    assert restart(**{field: "shutdown /r /t 0 & rem " + "x" * 8168}) == []


@pytest.mark.parametrize(
    "check",
    ["", "cmd /c exit 1", "if exist C:\\ready.txt (exit 0) else (exit 1)", '"C:\\Program Files\\x\\ready.exe" /wait',
     'powershell -Command "while (-not (Test-Path C:\\x)) { Start-Sleep 1 }"', "dir C:\\ & net start"],
)  # fmt: skip
def test_a_check_for_cmd(check: str) -> None:
    assert restart(restartCheckCommand=check) == []


def test_a_check_in_powershell() -> None:
    assert restart(restartCheckCommand="Get-Service WinRM") == ["W90"]
    assert restart(restartCheckCommand="echo restarted > c:\\buildArtifacts\\restart.txt") == []
    assert restart(restartCheckCommand="powershell -command \"& {Write-Output 'restarted.'}\"") == []


@pytest.mark.parametrize("text", ["10", "10 minutes", "5 m", "-5m", "1d", "PT5M", "5m 30s", "m"])
def test_no_duration_of_go(text: str) -> None:
    assert restart(restartTimeout=text) == ["E43"]


@pytest.mark.parametrize("text", ["10m", "1h30m", "1.5h", "1200s", "900000ms", "+15m", "15m0s"])
def test_a_duration_of_go(text: str) -> None:
    assert restart(restartTimeout=text) == []


def download(text: str, kind: str = "PowerShell") -> list[str]:
    field = "sourceUri" if kind == "File" else "scriptUri"
    data = text.encode()
    file = RemoteFile(place="x", size=len(data), head=data)
    return [
        message
        for id_, message in judged({"type": kind, field: "https://a.b/c"}, {"https://a.b/c": file})
        if id_ == "E28"
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<!DOCTYPE html>\n<html></html>", "HTML page"), ("\ufeff<html lang='en'>", "HTML page"),
        ('<?xml version="1.0"?><Error><Code>BlobNotFound</Code></Error>', "BlobNotFound"),
        ('<?xml version="1.0"?><Project/>', "HTML or XML"), ("<head><title>404</title>", "HTML or XML"),
        ("<!-- x -->", "HTML or XML"), ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    ],
)  # fmt: skip
def test_a_page_is_no_script(text: str, what: str) -> None:
    (message,) = download(text)
    assert what in message


@pytest.mark.parametrize("text", ["<#\n help\n#>\nGet-Date", "Get-Date", "# <html>", "< x"])
def test_a_script_is_no_page(text: str) -> None:
    assert download(text) == []


def test_a_file_may_be_a_document_but_no_refusal() -> None:
    assert download('<?xml version="1.0"?><unattend/>', "File") == []
    assert len(download('<?xml version="1.0"?>\n<Error><Code>AuthenticationFailed</Code>', "File")) == 1


@pytest.mark.parametrize(("code", "hint"), [(-1, "write 4294967295"), (-1073741819, "write 3221225477"), (2**32, None)])
def test_an_exit_code_that_no_script_ends_with(code: int, hint: str | None) -> None:
    step = {"type": "PowerShell", "inline": ["x"], "validExitCodes": [0, code]}
    root = read(json.dumps({"properties": {"customize": [step]}}), "t.json").root
    assert root is not None
    findings = Findings("t.json")
    context = RuleContext(version="2024-02-01", kinds=frozenset(), findings=findings, files={})
    check_exit_codes(NodeView(root, "ImageTemplate"), context)
    (found,) = findings.sorted()
    assert found.id == "W93" and str(found.hint).startswith(hint or "remove it")


def test_exit_codes_that_scripts_end_with() -> None:
    """3010 wants a restart; 3221225477 is an access violation, 4294967295 what `exit -1` arrives as."""
    step = {"type": "PowerShell", "inline": ["x"], "validExitCodes": [0, 3010, 2**31, 3221225477, 2**32 - 1]}
    assert judged(step) == []
    assert judged({"type": "Shell", "inline": ["x"], "validExitCodes": [-1]}) == []
