"""The WinRM server for tests, used by Packer's own WinRM communicator and provisioners for Windows, over each of its
logins: upload in chunks, windows-shell, powershell plain and elevated, file, windows-restart.

Packer waits for fixed times (5 s after it connects, 5 s and more at a restart), so one build of one template has it
all, with one machine for each login side by side. What its commands do is written down here: the proof is that a client
made for Windows gets all that it expects, and that all it sends arrives whole.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fixtures.guests.scripted import Call, Scripted
from fixtures.guests.winrm import Certificate, Settings, WinrmServer, make_certificate
from tests.bench.packer import environment, find
from tests.winrm_clients import USER

# Packer writes it into PowerShell and into JSON.
PASSWORD = "it's a $ecret & 5"
PROVISIONERS: list[dict[str, Any]] = [
    {"type": "windows-shell", "inline": ["echo shell"]},
    {"type": "powershell", "inline": ["Write-Output plain"], "environment_vars": ["FOO=it's $5 \"q\""]},
    {
        "type": "powershell", "inline": ["Write-Output raised"], "valid_exit_codes": [3010],
        "elevated_user": "SYSTEM", "elevated_password": "",
    },
    {"type": "file", "source": "upload.bin", "destination": "C:/folder/upload.bin"},
    {"type": "windows-restart", "restart_check_command": "powershell -Command \"Write-Output 'checked'\""},
]  # fmt: skip
UPLOAD = bytes(range(256)) * 80


@dataclass
class Windows:
    """A machine that knows what Packer asks of one, and keeps what is uploaded to it."""

    machine: Scripted = field(default_factory=Scripted)
    # What was echoed into temporary files, and what was made of that: name -> content.
    temporary: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        on = self.machine.on
        on(re.compile(r'echo "WinRM connected."$'), stdout="WinRM connected.\r\n")
        on(re.compile(r'^echo \S+ >> "%TEMP%\\winrmcp-[-0-9a-f]+\.tmp"$'), play=self._echo)
        on(re.compile(r"\[System\.Convert\]::FromBase64String"), play=self._restore)
        on(re.compile(r"Remove-Item \$tmp_file_path"), play=self._remove)
        on(re.compile(r'^set .* && "c:/Windows/Temp/script\.bat"$'), stdout="shell\r\n")
        on(
            re.compile(r"^powershell -executionpolicy bypass \"& \{.*/script-.*exit \$LastExitCode \}\"$"),
            stdout="plain\r\n",
        )
        on(re.compile(r"^powershell -executionpolicy bypass \"& \{.*/packer-cleanup-"), exit_code=0)
        on(
            re.compile(r"^powershell -executionpolicy bypass -file \".*packer-elevated-shell-"),
            stdout="raised\r\n",
            exit_code=3010,
        )
        on('shutdown /r /f /t 0 /c "packer restart"', restart=1.0)
        on('shutdown /r /f /t 60 /c "packer restart test"', exit_code=0)
        on("shutdown /a", exit_code=0)
        on("powershell -Command \"Write-Output 'checked'\"", stdout="checked\r\n")
        on(re.compile(r"\{0\} restarted\."), stdout="WIN-1 restarted.\r\n")

    def _echo(self, call: Call) -> int:
        found = re.fullmatch(r'echo (\S+) >> "%TEMP%\\(.+)"', call.text)
        assert found
        self.temporary[found[2]] = self.temporary.get(found[2], b"") + base64.b64decode(found[1])
        return 0

    def _restore(self, call: Call) -> int:
        source, target = re.findall(r'GetFullPath\("(?:\$env:TEMP\\)?([^"]+)"', call.text)
        self.files[target.replace("\\", "/").lower()] = self.temporary[source]
        return 0

    def _remove(self, call: Call) -> int:
        [source] = re.findall(r'GetFullPath\("\$env:TEMP\\([^"]+)"', call.text)
        del self.temporary[source]
        return 0

    def uploaded(self, name: str) -> list[bytes]:
        """What was uploaded to files with this in their name, in order."""
        return [content for path, content in self.files.items() if name in path]


# Packer encrypts no messages: on plain HTTP it wants AllowUnencrypted.
LOGINS = {
    "basic": ({"winrm_use_ssl": True, "winrm_insecure": True}, Settings(negotiate=False)),
    "ntlm": ({"winrm_use_ssl": True, "winrm_insecure": True, "winrm_use_ntlm": True}, Settings(basic=False)),
    "http": ({"winrm_use_ntlm": True}, Settings(basic=False, allow_unencrypted=True)),
}


@dataclass(frozen=True)
class Built:
    """What the build left."""

    log: str
    guests: dict[str, Windows]
    servers: dict[str, WinrmServer]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    packer = find()
    if packer is None:
        pytest.skip("HashiCorp's packer is not installed (Debian 12: apt-get install packer)")
    folder = tmp_path_factory.mktemp("packer")
    (folder / "upload.bin").write_bytes(UPLOAD)
    guests = {name: Windows() for name in LOGINS}
    with ExitStack() as running:
        servers = {name: running.enter_context(_server(name, guests[name], folder)) for name in LOGINS}
        (folder / "template.json").write_text(json.dumps({
            "builders": [_builder(name, servers[name]) for name in LOGINS], "provisioners": PROVISIONERS,
        }))  # fmt: skip
        run = subprocess.run(
            [packer, "build", "-color=false", "template.json"], cwd=folder, env=environment(), capture_output=True,
            text=True, timeout=150, check=False,
        )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return Built(log=run.stdout, guests=guests, servers=servers)


def _server(name: str, guest: Windows, folder: Path) -> WinrmServer:
    words, settings = LOGINS[name]
    certificate: Certificate | None = make_certificate(folder, name) if "winrm_use_ssl" in words else None
    return WinrmServer(guest.machine, user=USER, password=PASSWORD, certificate=certificate, settings=settings)


def _builder(name: str, server: WinrmServer) -> dict[str, Any]:
    return {
        "type": "null", "name": name, "communicator": "winrm", "winrm_host": "127.0.0.1", "winrm_port": server.port,
        "winrm_username": USER, "winrm_password": PASSWORD, "winrm_timeout": "180s", **LOGINS[name][0],
    }  # fmt: skip


@pytest.mark.parametrize("name", LOGINS)
def test_what_it_said(built: Built, name: str) -> None:
    said = [line.split(": ", 1)[1] for line in built.log.splitlines() if line.strip().startswith(f"{name}: ")]
    for line in ("WinRM connected.", "shell", "plain", "raised", "checked", "WIN-1 restarted."):
        assert line in said


@pytest.mark.parametrize("name", LOGINS)
def test_what_reached_the_machine(built: Built, name: str) -> None:
    guest = built.guests[name]
    guest.machine.check()
    assert guest.temporary == {}
    assert guest.uploaded("c:/folder/upload.bin") == [UPLOAD]
    assert guest.uploaded("/script.bat") == [b"echo shell\n"]
    assert guest.uploaded("/script-") == [b"Write-Output plain\n", b"Write-Output raised\n"]
    assert guest.uploaded("/packer-ps-env-vars-")[0].startswith(b'$env:FOO="it`\'s `$5 `"q`""; ')
    [elevated] = guest.uploaded("/packer-elevated-shell-")
    assert b"Schedule.Service" in elevated and b"SYSTEM" in elevated


@pytest.mark.parametrize("name", LOGINS)
def test_how_it_used_the_shells(built: Built, name: str) -> None:
    seen = built.servers[name].seen
    count = {operation: sum(one.operation == operation for one in seen) for operation in ("Create", "Delete", "Signal")}
    # A shell that is open when the machine goes down goes with it.
    assert count["Delete"] <= count["Create"] <= count["Delete"] + 1
    assert {one.user for one in seen} == {USER}
    assert {call.what.code_page for call in built.guests[name].machine.calls} == {65001}
