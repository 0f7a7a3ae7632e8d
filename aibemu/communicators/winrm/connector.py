"""WinRM as an entry point of `aibemu.communicators`: where it listens, how to get in, what a person types."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.communicators import Access
from aibemu.communicators.factory import Watch
from aibemu.communicators.winrm.communicator import WinrmCommunicator, typed
from aibemu.communicators.winrm.greeting import await_greeting
from aibemu.errors import Expired

# The shell is a process of its own, as ssh would be; only what is started from here may end a process.
_CONSOLE = "import sys; from aibemu.communicators.winrm.console import main; sys.exit(main(sys.argv[1]))"


class WinrmConnector:
    """See `aibemu.communicators.factory.Connector`."""

    title = "WinRM"
    port = 5986

    def warm_up(self) -> None:
        """pywinrm and what it needs take half a second."""
        import_module("aibemu.communicators.winrm.wire")

    def await_server(self, access: Access, *, deadline: Deadline, alive: Callable[[], None]) -> str:
        answer = f"nothing answered on {access.host} port {access.port}"

        def hear(text: str) -> None:
            nonlocal answer
            answer = f"the guest's WinRM is not ready: {text}"

        try:
            return await_greeting(access.host, access.port, deadline=deadline, alive=alive, heard=hear).server
        except Expired as error:
            raise Expired(answer) from error

    def connect(self, access: Access, *, deadline: Deadline, watch: Watch) -> WinrmCommunicator:
        made = WinrmCommunicator(access, watch)
        made.reconnect(deadline)
        return made

    def describe(self, access: Access) -> str:
        return typed(access)

    def shell_program(self) -> str:
        return sys.executable

    def shell_command(self, access: Access, program: str, *, terminal: bool, entered: Path) -> list[str]:
        """An interactive PowerShell, line by line; without a terminal it runs what standard input says.

        Secrets are in the files that `access` names.
        """
        told = {"access": access.as_json(), "terminal": terminal, "entered": str(entered)}
        return [program, "-P", "-c", _CONSOLE, json.dumps(told)]
