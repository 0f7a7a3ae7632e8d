"""The WinRM server for tests, used by Ansible's winrm connection: raw commands, and what it does when the quota of
operations is used up, which it knows by the code in an MSFT_WmiError and cures with a new shell."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.guests.scripted import Answer, Scripted
from fixtures.guests.winrm import Settings, WinrmServer, make_certificate
from tests.winrm_clients import PASSWORD, USER

# The console's text of a script that wrote an error: Ansible has to find it in stderr.
CLIXML = (
    '#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
    '<S S="Error">it is broken_x000D__x000A_</S></Objs>'
)
PLAY = [{
    "hosts": "all", "gather_facts": False,
    "tasks": [
        {"raw": "Get-Thing {{ item }}", "loop": [1, 2, 3]},
        {"raw": "Break-Thing", "register": "broken", "failed_when": "broken.rc != 3010"},
        {"debug": {"msg": "{{ broken.stderr }}"}},
    ],
}]  # fmt: skip


def ansible_playbook() -> str:
    """The program beside this Python, or on PATH."""
    found = shutil.which(
        "ansible-playbook", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if found is None:
        pytest.skip("ansible-playbook is not installed (pip install ansible-core)")
    return found


def test_raw_commands_and_a_quota(tmp_path: Path) -> None:
    machine, certificate = Scripted(), make_certificate(tmp_path)
    machine.on(re.compile(r"^Get-Thing \d$"), stdout="thing\r\n")
    machine.on("Break-Thing", Answer(stderr=CLIXML, exit_code=3010))
    with WinrmServer(
        machine, user=USER, password=PASSWORD, certificate=certificate, settings=Settings(max_operations_per_user=2)
    ) as server:
        variables = {
            "ansible_connection": "winrm", "ansible_host": "127.0.0.1", "ansible_port": server.port,
            "ansible_user": USER, "ansible_password": PASSWORD, "ansible_winrm_scheme": "https",
            "ansible_winrm_transport": "ntlm", "ansible_winrm_ca_trust_path": str(certificate.certificate),
            "ansible_shell_type": "powershell",
        }  # fmt: skip
        (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": {"windows": variables}}}))
        (tmp_path / "play.json").write_text(json.dumps(PLAY))
        run = subprocess.run(
            [ansible_playbook(), "-i", "inventory.json", "play.json"], cwd=tmp_path, capture_output=True, text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1"},
            timeout=60, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stdout + run.stderr
        assert machine.texts() == ["Get-Thing 1", "Get-Thing 2", "Get-Thing 3", "Break-Thing"]
        assert "it is broken" in run.stdout
        # The third command met the quota in the first shell, and ran in another.
        commands = [seen for seen in server.seen if seen.operation == "Command"]
        assert [seen.shell_id == commands[0].shell_id for seen in commands[:4]] == [True, True, True, False]
        assert server.open_shells == 0
    machine.check()
