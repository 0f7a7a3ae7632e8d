"""Every communicator keeps the contract: SSH against the host's own sshd, WinRM against a server of our tests that is
tried with clients of others, and the made-up one against its guest."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.communicators import Access, Credentials
from aibemu.communicators.factory import Connector, connector
from aibemu.communicators.ssh.connector import SshConnector
from aibemu.communicators.ssh.keys import generate
from aibemu.communicators.winrm.connector import WinrmConnector
from aibemu.testing.communicators import CommunicatorContract
from aibemu.testing.talking import FakeConnector, FakeGuest
from fixtures.guests.winrm.settings import Settings
from tests.contract.test_ssh_sshd import SSHD, start_sshd, stop
from tests.winrm_guests import serving, soon, with_password

COMMANDS = {
    "say": "printf '%s\\n' TEXT", "complain": "printf '%s\\n' TEXT >&2", "fail": "exit TEXT", "echo": "cat",
    "hang": "sleep 600",
}  # fmt: skip


@pytest.mark.skipif(
    not Path(SSHD).exists() or shutil.which("ssh-keygen") is None,
    reason="no /usr/sbin/sshd on this host (apt-get install openssh-server)",
)
class TestSsh(CommunicatorContract):
    def new_connector(self) -> Connector:
        made = connector("ssh")
        assert isinstance(made, SshConnector)
        return made

    def new_access(self, scratch: Path) -> Iterator[Access]:
        pair = generate(scratch / "key")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        (scratch / "authorized_keys").write_text(pair.public_line + "\n")
        who = Credentials(user=pwd.getpwuid(os.getuid()).pw_name, key_file=pair.private, public_key=pair.public_line)
        process = start_sshd(scratch, port)
        yield Access(communicator="ssh", host="127.0.0.1", port=port, credentials=who)
        stop(process)

    def wrong(self, access: Access, scratch: Path) -> Access:
        return replace(access, credentials=replace(access.credentials, key_file=generate(scratch / "other").private))

    def command(self, what: str, text: str = "") -> str:
        return COMMANDS[what].replace("TEXT", shlex.quote(text))


class TestWinrm(CommunicatorContract):
    """By NTLM, which a server that takes both is asked for."""

    settings = Settings()

    def new_connector(self) -> Connector:
        made = connector("winrm")
        assert isinstance(made, WinrmConnector)
        return made

    def new_access(self, scratch: Path) -> Iterator[Access]:
        with serving(scratch, settings=self.settings) as (server, access):
            yield access
            soon().poll(lambda: not server.open_shells)

    def wrong(self, access: Access, scratch: Path) -> Access:
        return with_password(access, scratch / "other", "swordfish")

    def command(self, what: str, text: str = "") -> str:
        return f"{what} {text}".strip()


class TestWinrmBasic(TestWinrm):
    settings = Settings(negotiate=False)


class TestFake(CommunicatorContract):
    def new_connector(self) -> Connector:
        return FakeConnector()

    def new_access(self, scratch: Path) -> Iterator[Access]:
        file = scratch / "password"
        file.write_text("open sesame")
        guest = FakeGuest("glenda", "open sesame")
        who = Credentials(user="glenda", password_file=file)
        yield Access(communicator="fake", host="127.0.0.1", port=guest.port, credentials=who)
        guest.close()

    def wrong(self, access: Access, scratch: Path) -> Access:
        (scratch / "other").write_text("swordfish")
        return replace(access, credentials=replace(access.credentials, password_file=scratch / "other"))

    def command(self, what: str, text: str = "") -> str:
        return f"{what} {text}".strip()

    def place(self, scratch: Path, name: str) -> str:
        return f"C:\\usr\\{name}"
