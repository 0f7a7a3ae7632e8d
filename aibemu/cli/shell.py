"""`aibemu shell [RUN]`: into the machine of a run that was kept, waits or is being built, with OpenSSH's own client."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from aibemu.cli.app import App
from aibemu.cli.completion import run_ids_with_machines
from aibemu.cli.runs import find_run
from aibemu.communicators.ssh.communicator import SshCommunicator
from aibemu.errors import HostNotReady, UsageError
from aibemu.runs.access import ROLES, Reach, await_machine, await_server, unreachable

F = TypeVar("F", bound=Callable[..., Any])

LOST = 255  # what ssh ends with when it could not log in or was cut off; a shell may end with it too


def role_option(function: F) -> F:
    """--role, for a run that has more than one machine."""
    return click.option(
        "--role", type=click.Choice(ROLES),
        help="Which machine (default: the one that runs; of several the one that was kept, else the newest).",
    )(function)  # fmt: skip


@click.command("shell", short_help="Get into the machine of a run.")
@click.argument("run", required=False, shell_complete=run_ids_with_machines)
@role_option
@click.pass_obj
def command(app: App, run: str | None, role: str | None) -> None:
    """Open a shell in the machine of RUN (the newest if left out), as the user that its steps run as.

    For a run whose machine was kept after a failure, or that waits or builds in another terminal. Without a terminal
    the shell runs what standard input says.

    Ends with 0 however the shell ends, 255 when nobody gets into the machine.
    """
    if app.output == "json":
        raise UsageError("a shell is not JSON", hint="aibemu exec --output json RUN -- COMMAND runs one command")
    found = find_run(app, run)
    program = _find_ssh()
    reach = await_machine(app.home, found, role, clock=app.clock, tell=app.say)
    await_server(reach, clock=app.clock, tell=app.say)
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if terminal:
        built = ", which is being built: what you change goes into the image, but not into the cache"
        app.say(f"{reach}, as {reach.login.user}{built if found.alive() else ''}")
    _converse(program, reach, terminal)
    if terminal and reach.runs() and not found.alive():
        app.say(f"it still runs; aibemu destroy {found.id} ends it")


def _find_ssh() -> str:
    if found := shutil.which("ssh"):
        return found
    raise HostNotReady(
        "the program ssh is not installed", hint="install it; aibemu exec does without",
        commands=["sudo apt-get install --yes openssh-client"],
    )  # fmt: skip


def _converse(program: str, reach: Reach, terminal: bool) -> None:
    """Let ssh and the person talk; `Unreachable` if they never came to it."""
    with tempfile.TemporaryDirectory(prefix="aibemu-") as folder:
        # ssh runs a local command once it has logged in: that is how its own 255 is told from the shell's.
        inside = Path(folder) / "in"
        words = ssh_words(program, reach, terminal, f"touch {shlex.quote(str(inside))}")
        status = subprocess.run(words, env=os.environ | {"SHELL": "/bin/sh"}, check=False).returncode
        if status == LOST and not inside.exists():
            raise unreachable(reach, "ssh says why above")


def ssh_words(program: str, reach: Reach, terminal: bool, local_command: str) -> list[str]:
    """The command line: the one that a person is told to type, and what keeps a person's own configuration out.

    No password is asked for (the user has none), and no connection of another machine, that had the port before, is
    shared.
    """
    _, *options, destination = shlex.split(SshCommunicator(reach.host, reach.port, reach.login).describe())
    more = {
        "LogLevel": "ERROR", "PreferredAuthentications": "publickey", "ControlPath": "none",
        "PermitLocalCommand": "yes", "LocalCommand": local_command.replace("%", "%%"),
    }  # fmt: skip
    settings = [word for name, value in more.items() for word in ("-o", f"{name}={value}")]
    return [program, *options, *settings, "-t" if terminal else "-T", destination]
