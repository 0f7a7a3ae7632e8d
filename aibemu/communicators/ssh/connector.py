"""SSH as an entry point of `aibemu.communicators`: where it listens, how to get in, what a person types."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.communicators import Access
from aibemu.communicators.factory import Watch
from aibemu.communicators.ssh.communicator import SshCommunicator, ssh_command
from aibemu.communicators.ssh.wait import wait_for_banner
from aibemu.errors import HostNotReady


class SshConnector:
    """See `aibemu.communicators.factory.Connector`."""

    title = "SSH"
    port = 22

    def warm_up(self) -> None:
        """paramiko takes a quarter of a second."""
        import_module("aibemu.communicators.ssh.transport")

    def await_server(self, access: Access, *, deadline: Deadline, alive: Callable[[], None]) -> str:
        return wait_for_banner(access.host, access.port, deadline=deadline, alive=alive)

    def connect(self, access: Access, *, deadline: Deadline, watch: Watch) -> SshCommunicator:
        return SshCommunicator.connect(
            access.host, access.port, access.credentials, deadline=deadline, alive=watch.alive,
            generation=watch.generation, on_held=watch.on_held, on_silence=watch.on_silence,
            on_refused=watch.on_refused,
        )  # fmt: skip

    def describe(self, access: Access) -> str:
        return shlex.join(ssh_command(access))

    def shell_program(self) -> str:
        if found := shutil.which("ssh"):
            return found
        raise HostNotReady(
            "the program ssh is not installed", hint="install it; aibemu exec does without",
            commands=["sudo apt-get install --yes openssh-client"],
        )  # fmt: skip

    def shell_command(self, access: Access, program: str, *, terminal: bool, entered: Path) -> list[str]:
        """The command line that a person is told to type, and what keeps a person's own configuration out.

        No password is asked for (the user has none), and no connection of another machine, that had the port before, is
        shared. ssh runs a local command once it has logged in: that makes the file.
        """
        _, *options, destination = ssh_command(access)
        more = {
            "LogLevel": "ERROR", "PreferredAuthentications": "publickey", "ControlPath": "none",
            "PermitLocalCommand": "yes", "LocalCommand": f"touch {shlex.quote(str(entered))}".replace("%", "%%"),
        }  # fmt: skip
        settings = [word for name, value in more.items() for word in ("-o", f"{name}={value}")]
        return [program, *options, *settings, "-t" if terminal else "-T", destination]
