"""The program `aibemu`: verbs found lazily, global options before or after the verb, errors rendered in one place.

A verb is a module with a click command called `command`; it is imported only when it is used, so that `--version` and
`validate` start fast. `run` gives the exit code, `main` exits with it.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import click

from aibemu.cli.app import App
from aibemu.cli.globals import GLOBAL_OPTIONS, ReaderGone, add_globals, apply_globals, preset
from aibemu.cli.interrupts import answering
from aibemu.cli.render import show
from aibemu.cli.stray import own_stray_output
from aibemu.cli.verbs import HELP_NAMES, Group
from aibemu.errors import AibemuError, UsageError, host_error
from aibemu.paths import Home, gone, in_a_removed_folder
from aibemu.records import DamagedRecordWarning
from aibemu.text import harmless

VERBS: Mapping[str, str] = {
    "run": "Build the image of a template, for real.",
    "plan": "Show what a build would do.",
    "validate": "Check templates, without running them.",
    "status": "Runs: what they are doing, how they ended.",
    "logs": "What a run said.",
    "outputs": "What a run made, and where it is.",
    "report": "How a run went, for a CI system: JUnit, Markdown.",
    "shell": "Get into the machine of a run.",
    "exec": "Run a command in the machine of a run.",
    "resume": "Go on with a run that failed, or that waits for an answer.",
    "cancel": "Stop a run that is building.",
    "destroy": "Destroy the machines that a run kept.",
    "clean": "Delete old runs and free machines that were kept.",
    "init": "Write a starter template.",
    "explain": "What a finding means, and what to do.",
    "eval": "Evaluate one expression of a template.",
    "schema": "Print the JSON Schema of image templates, for an editor.",
    "cache": "Layers of earlier builds: list, prune, path, key.",
    "images": "Base images: list, show, build, import, export, pull, alias, remove.",
    "doctor": "Test this host for real.",
    "drivers": "What can run machines here.",
    "config": "Every setting: its value, its source, what it means.",
    "completion": "Print the shell completion script.",
    "help": "What a verb does: the same as VERB --help.",
}
BROKEN_PIPE = 141  # what a shell shows for a program that SIGPIPE ended
INTERRUPTED = 130
BUG = 70


class LazyGroup(Group):
    """Knows the verbs by name; imports `aibemu.cli.<verb>` when one is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        if cmd_name not in self.commands:
            command: click.Command = import_module(f"aibemu.cli.{cmd_name}").command
            self.commands[cmd_name] = add_globals(command, cmd_name)
        return self.commands[cmd_name]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    "aibemu", cls=LazyGroup, params=[option() for option in GLOBAL_OPTIONS], no_args_is_help=True,
    context_settings={"help_option_names": HELP_NAMES},
    epilog="Where things are kept: AIBEMU_HOME=DIR, or --home DIR, puts all of it under one folder.",
)  # fmt: skip
@click.version_option(None, "--version", package_name="aibemu", message="aibemu %(version)s")
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    """Azure VM Image Builder on your own machine.

    `aibemu run TEMPLATE` is the whole happy path; `aibemu doctor` says whether this host can.
    """
    ctx.obj = apply_globals(ctx.find_object(App) or _new_app(), options)


def _new_app() -> App:
    return App(home=Home.discover())


def run(argv: Sequence[str] | None = None, app: App | None = None) -> int:
    """Run the program; its exit code. Prints, never raises."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _bear_all_text(sys.stdout)
    app = preset(arguments, app or _new_app())
    try:
        with _told_of_damage(app):
            code = _invoke(app, arguments)
        sys.stdout.flush()
    except (BrokenPipeError, ReaderGone):
        _silence()
        return BROKEN_PIPE
    return code


def main() -> None:
    """Run the program on this process's arguments and streams, and exit with its code."""
    _open_missing_streams()
    try:
        app = _new_app()
    except AibemuError as error:  # AIBEMU_HOME names no folder
        app = preset(sys.argv[1:], App(home=Home.at(Path(os.devnull))))
        show(app, error)
        sys.exit(error.exit_code)
    own_stray_output(app)
    try:
        with answering():
            code = run(app=app)
    except KeyboardInterrupt:
        app.complain("interrupted")
        code = INTERRUPTED
    sys.exit(code)


def _invoke(app: App, arguments: list[str]) -> int:
    try:
        result = cli.main(arguments, prog_name="aibemu", standalone_mode=False, obj=app)
        return result if isinstance(result, int) else 0
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except AibemuError as error:
        show(app, error)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        app.complain(error.format_message())
        return error.exit_code
    except click.ClickException as error:
        _usage(app, error)
        return UsageError.exit_code
    except (click.Abort, KeyboardInterrupt):
        app.complain("interrupted")
        return INTERRUPTED
    except (BrokenPipeError, ReaderGone):
        raise
    except Exception as error:  # noqa: BLE001 - the last resort: whatever is left is a bug
        return _unexpected(app, error)


@contextmanager
def _told_of_damage(app: App) -> Iterator[None]:
    """A record that was damaged, and set aside, is one warning like others."""
    with warnings.catch_warnings():
        show_others = warnings.showwarning

        def tell(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if not issubclass(category, DamagedRecordWarning):
                show_others(message, category, *rest, **more)
            elif (text := harmless(str(message))) not in app.warnings:
                app.warn(text)

        warnings.showwarning = tell
        warnings.simplefilter("always", DamagedRecordWarning)
        yield


def _usage(app: App, error: click.ClickException) -> None:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "aibemu"
    app.command = app.command or path.partition(" ")[2]
    message = error.format_message()
    if message.startswith("Got unexpected extra argument"):
        # It may be the value that `--set NAME VALUE` without its `=` left over.
        message = "there are more arguments than this verb takes"
    show(app, UsageError(message, hint=f"see: {path} --help"))


def _unexpected(app: App, error: Exception) -> int:
    if isinstance(error, FileNotFoundError) and in_a_removed_folder():
        show(app, removed := gone())
        return removed.exit_code
    if isinstance(error, OSError) and (known := host_error(error)):
        show(app, known)
        return known.exit_code
    from aibemu.cli.bug import report_bug

    show(app, report_bug(app, error))
    return BUG


def _open_missing_streams() -> None:
    """Who starts a program without its streams (`>&-`) wants nothing to be read or written there, and no file of ours
    to get their numbers."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _bear_all_text(stream: TextIO) -> None:
    """What a locale cannot show is shown as `\\xfc`; a log with an umlaut is no bug. Standard error does so anyway."""
    if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")


def _silence() -> None:
    """Nobody reads any more: the interpreter's last flush must not complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(null, stream.fileno())
        except (OSError, ValueError):
            continue
    os.close(null)
