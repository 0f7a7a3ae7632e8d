"""`aibemu exec RUN -- CMD`: one command in the machine of a run; its bytes and its exit status, as they are."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

import click

from aibemu.cli.app import App
from aibemu.cli.completion import run_ids_with_machines
from aibemu.cli.globals import preset
from aibemu.cli.reader import check_reader
from aibemu.cli.runs import find_run
from aibemu.cli.shell import role_option
from aibemu.clock import Deadline
from aibemu.communicators import Communicator, ExitStatus, Stream
from aibemu.communicators.lines import Lines
from aibemu.errors import UsageError
from aibemu.runs.access import Reach, Unreachable, await_machine, connect
from aibemu.views.screen import PassedOn, Screen

STDIN = 0
BLOCK = 64 * 1024
# Bytes of each stream that are kept for the answer with --output json.
MOST = 64 * 1024 * 1024
HIGHEST = 255
KILLED = 128  # plus the signal's number: what shells say
HELD = "the command is over, but something that it started holds its output open; Ctrl-C leaves it"


class WordsLast(click.Command):
    """RUN, then a command whose options are its own, with or without `--` before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = self._past_options(args, 0)
        second = self._past_options(args, first + 1)
        own, run, words = [*args[:first], *args[first + 1 : second]], args[first : first + 1], args[second:]
        if run != ["--"]:
            args = [*own, "--", *run, *(words[1:] if words[:1] == ["--"] else words)]
        if app := ctx.find_object(App):
            # What was read from the whole command line is not to be fooled by an `-o json` of the guest's command.
            given = ctx.parent.params.get("output") if ctx.parent else None
            app.output = preset(own, App(home=app.home, output=given or "human")).output
        return super().parse_args(ctx, args)

    def _past_options(self, args: list[str], place: int) -> int:
        """Where the next word that is no option of aibemu's stands, from `place` on."""
        options = [param for param in self.params if isinstance(param, click.Option)]
        with_value = {name for option in options if not (option.is_flag or option.count) for name in option.opts}
        while place < len(args) and args[place].startswith("-") and args[place] != "--":
            place += 2 if args[place] in with_value else 1
        return min(place, len(args))


@click.command("exec", cls=WordsLast, short_help="Run a command in the machine of a run.")
@click.argument("run", shell_complete=run_ids_with_machines)
@click.argument("words", nargs=-1, required=True, metavar="CMD [ARG]...", type=click.UNPROCESSED)
@role_option
@click.option("--sudo", is_flag=True, help="As root.")
@click.option("--raw", is_flag=True, help="All bytes as they are, to a terminal and in a CI system too.")
@click.pass_obj
def command(app: App, run: str, words: tuple[str, ...], role: str | None, sudo: bool, raw: bool) -> None:
    """Run CMD in the machine of RUN, as the user that its steps run as.

    One word is given to the guest's shell as it is, so quote a pipe: 'dmesg | tail'. Several are quoted for it.
    Standard input is passed on when it is a pipe or a file; </dev/null keeps it.

    What CMD prints comes as it is to a file or a pipe. To a terminal it comes without control characters; to a pipe in
    a CI system (CI, TF_BUILD or GITHUB_ACTIONS is set), which may be its log, with workflow commands made harmless.

    Ends with the status of CMD (128 and the signal's number if one killed it), and with 255 when nobody gets into the
    machine or the connection is lost.
    """
    check_words(words)
    found = find_run(app, run)
    reach = await_machine(app.home, found, role, clock=app.clock, tell=app.say)
    pipe = connect(reach, clock=app.clock, tell=app.say, on_held=lambda: app.say(HELD), check=check_reader)
    try:
        status = _run(app, reach, pipe, reach.system.command(words, as_root=sudo), raw=raw)
    finally:
        pipe.close()
    if status:
        sys.exit(status)


def check_words(words: tuple[str, ...]) -> None:
    """`UsageError` for a command that cannot be sent."""
    if not words[0].strip():
        raise UsageError("the command is empty")
    if any("\udc80" <= character <= "\udcff" for word in words for character in word):
        raise UsageError("the command is not UTF-8 text", hint="pass it on standard input: ... | aibemu exec RUN sh")


def exit_code(status: ExitStatus) -> int | None:
    """As a shell would say it; None when the connection was lost before the command's end."""
    if status.code is not None:
        return min(status.code, HIGHEST)
    if status.signal is None:
        return None
    try:
        return KILLED + signal.Signals[f"SIG{status.signal}"].value
    except KeyError:
        return HIGHEST


def _run(app: App, reach: Reach, pipe: Communicator, text: str, *, raw: bool) -> int:
    heard = {stream: bytearray() for stream in Stream}
    cutters: list[Lines | PassedOn] = []
    takers: dict[Stream, Callable[[bytes], None]] = {stream: _keeper(heard[stream]) for stream in Stream}
    if app.output != "json":
        for stream, target in ((Stream.STDOUT, sys.stdout), (Stream.STDERR, sys.stderr)):
            screen = Screen(stream=target, pipeline=app.pipeline, mask=app.redactor.text)
            takers[stream] = _taker(screen, target, cutters, raw=raw)
    ended = pipe.exchange(
        text, stdin=_stdin(), sink=lambda stream, data: takers[stream](data),
        deadline=Deadline(clock=app.clock, slowness=reach.slowness),
    )  # fmt: skip
    for cutter in cutters:
        cutter.close()
    if (code := exit_code(ended)) is None:
        reach.check()
        raise Unreachable(f"the connection to {reach} was lost before the command was over", hint="it may be rebooting")
    said = {stream.value: bytes(content).decode("utf-8", "replace") for stream, content in heard.items()}
    if app.output == "json":
        app.result({"exitCode": code, **said}, [])
    elif ended.signal:
        app.say(f"killed by signal {ended.signal}")
    return code


def _keeper(heard: bytearray) -> Callable[[bytes], None]:
    def keep(data: bytes) -> None:
        heard.extend(data)
        if len(heard) > MOST:
            raise UsageError(
                f"the command printed more than {MOST >> 20} MiB, the most that --output json keeps",
                hint="leave --output json out: then its output is passed on as it comes",
            )

    return keep


def _taker(screen: Screen, target: TextIO, cutters: list[Lines | PassedOn], *, raw: bool) -> Callable[[bytes], None]:
    """To a terminal whole lines with nothing that commands it, as everywhere; else bytes as they are and at once, but
    without commands to the CI system that may read the pipe. cutters: what holds back a line until it is over."""

    def show(line: str) -> None:
        screen.line(line)
        screen.flush()

    def write(data: bytes) -> None:
        # Past the buffer: what is left in it when somebody types Ctrl-C would hold up the program's end for as long as
        # the reader does not read.
        unbuffered = getattr(target.buffer, "raw", target.buffer)
        target.flush()
        left = memoryview(data)
        while left:
            left = left[unbuffered.write(left) or 0 :]

    if raw or not (target.isatty() or (screen.pipeline and read_along(target))):
        return write
    cutter = Lines(show) if target.isatty() else PassedOn(write)
    cutters.append(cutter)
    return cutter.feed


def read_along(target: TextIO) -> bool:
    """Whether somebody else may read it now: everything but a file, which is somebody's who named it."""
    try:
        return not stat.S_ISREG(os.fstat(target.fileno()).st_mode)
    except (OSError, ValueError):  # a stream of a test
        return True


def _stdin() -> Iterator[bytes]:
    """What is piped or redirected in; nothing of a terminal. Read from the descriptor itself: a thread that waits in a
    buffered read would hold up the interpreter's end."""
    if sys.stdin is None:  # closed: the descriptor may be something else's by now
        return
    try:
        mode = os.fstat(STDIN).st_mode
    except OSError:
        return
    if stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode):
        while block := os.read(STDIN, BLOCK):
            yield block
