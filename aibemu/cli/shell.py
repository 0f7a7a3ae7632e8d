"""`aibemu shell [RUN]`: into the machine of a run that was kept, waits or is being built, with this host's client."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TextIO, TypeVar

import click

from aibemu.cli.app import App
from aibemu.cli.completion import run_ids_with_machines
from aibemu.cli.runs import find_run
from aibemu.errors import UsageError
from aibemu.files import temporary_folder
from aibemu.runs.access import ROLES, Reach, await_machine, await_server, find_connector, unreachable
from aibemu.views.screen import PassedOn

F = TypeVar("F", bound=Callable[..., Any])

BLOCK = 64 * 1024
LOST = 255  # what a program ends with that could not log in or was cut off; a shell may end with it too


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

    The guest has the terminal, as with ssh: nothing is taken out of what it prints. Only in a CI system (CI, TF_BUILD
    or GITHUB_ACTIONS is set) and without a terminal are workflow commands made harmless.
    """
    if app.output == "json":
        raise UsageError("a shell is not JSON", hint="aibemu exec --output json RUN -- COMMAND runs one command")
    found = find_run(app, run)
    program = find_connector(found).shell_program()
    reach = await_machine(app.home, found, role, clock=app.clock, tell=app.say)
    await_server(reach, clock=app.clock, tell=app.say)
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if terminal:
        built = ", which is being built: what you change goes into the image, but not into the cache"
        app.say(f"{reach}, as {reach.access.credentials.user}{built if found.alive() else ''}")
    _converse(program, reach, terminal, pipeline=app.pipeline and not (terminal or sys.stdout.isatty()))
    if terminal and reach.runs() and not found.alive():
        app.say(f"it still runs; aibemu destroy {found.id} ends it")


def _converse(program: str, reach: Reach, terminal: bool, *, pipeline: bool) -> None:
    """Let the program and the person talk; `Unreachable` if they never came to it."""
    with temporary_folder() as folder:
        # The file is how the program's own 255 is told from the shell's.
        inside = folder / "in"
        words = reach.connector.shell_command(reach.access, program, terminal=terminal, entered=inside)
        environ = os.environ | {"SHELL": "/bin/sh"}
        run = _run_defused if pipeline else lambda words, env: subprocess.run(words, env=env, check=False).returncode
        status = run(words, environ)
        if status == LOST and not inside.exists():
            raise unreachable(reach, f"{Path(program).name} says why above")


def _run_defused(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the program; what it prints is passed on without workflow commands."""
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        pumps = [
            threading.Thread(target=_pump, args=pair, name="shell", daemon=True)
            for pair in ((child.stdout, sys.stdout), (child.stderr, sys.stderr))
        ]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
    return child.returncode


def _pump(source: IO[bytes], target: TextIO) -> None:
    def write(data: bytes) -> None:
        target.buffer.write(data)
        target.buffer.flush()

    target.flush()
    passed = PassedOn(write)
    while data := os.read(source.fileno(), BLOCK):
        passed.feed(data)
    passed.close()
