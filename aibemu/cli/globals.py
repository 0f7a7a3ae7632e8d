"""The options that every verb takes, before or after it; and the sweep before each verb."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from aibemu.cli.app import App
from aibemu.cli.color import CHOICES, use_color
from aibemu.paths import Home, as_typed, check_home

OUTPUTS = ("human", "json")
# Verbs about all runs.
_ABOUT_RUNS = frozenset({"status", "clean", "doctor"})

GLOBAL_OPTIONS: tuple[Callable[..., click.Option], ...] = (
    functools.partial(click.Option, ["--output", "-o"], type=click.Choice(OUTPUTS), help="How to answer."),
    functools.partial(click.Option, ["--color"], type=click.Choice(CHOICES), help="Colour (default: auto)."),
    functools.partial(click.Option, ["--quiet", "-q"], is_flag=True, default=None, help="Only results and errors."),
    functools.partial(click.Option, ["--verbose", "-v"], count=True, default=None, help="Say more; -vv: tracebacks."),
    functools.partial(
        click.Option, ["--home"], metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
        help="Keep everything under DIR (also AIBEMU_HOME).",
    ),
)  # fmt: skip


class ReaderGone(Exception):
    """Nobody reads what a verb prints. Not an OSError: click would end a broken pipe with 1, a failed build."""


def apply_globals(app: App, options: Mapping[str, Any]) -> App:
    """Take over what was given; what was not keeps its value, so that both places of an option work together."""
    if options.get("output"):
        app.output = options["output"]
    if options.get("quiet"):
        app.verbosity = -1
    if options.get("verbose"):
        app.verbosity = options["verbose"]
    if options.get("home"):
        app.home = Home.at(as_typed(options["home"]))
    if options.get("color"):
        _decide_color(app, options["color"])
    return app


def _decide_color(app: App, choice: str) -> None:
    app.color = use_color(choice, sys.stdout, os.environ)
    app.error_color = use_color(choice, sys.stderr, os.environ)


def preset(arguments: Sequence[str], app: App) -> App:
    """What must be known before click has read the arguments, so that even its errors come in the right form."""
    words = [word for word in arguments if word != "--"]
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        if word in {"--output=json", "-ojson"} or (word in {"--output", "-o"} and following == "json"):
            app.output = "json"
    _decide_color(app, "auto")
    return app


def add_globals(command: click.Command, path: str) -> click.Command:
    """Give a verb, and all below it, the global options; names of its own win. `path`: its full name."""
    taken = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    for make in GLOBAL_OPTIONS:
        option = make(expose_value=False, callback=_take, hidden=isinstance(command, click.Group))
        free = [name for name in option.opts if name not in taken]
        if len(free) == len(option.opts):
            command.params.append(option)
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            add_globals(below, f"{path} {name}")
    elif command.callback is not None:
        command.callback = _prepared(command.callback, path)
    return command


def _take(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    if value is not None and isinstance(ctx.obj, App):
        apply_globals(ctx.obj, {str(param.name): value})
    return value


def _prepared(callback: Callable[..., Any], path: str) -> Callable[..., Any]:
    """The verb itself, once every option is known."""

    @functools.wraps(callback)
    def call(*arguments: Any, **options: Any) -> Any:
        app = click.get_current_context().find_object(App)
        if app is not None:
            app.command = path
            check_home(app.home)
            _sweep(app)
        try:
            return callback(*arguments, **options)
        except BrokenPipeError as error:
            raise ReaderGone from error

    return call


def _sweep(app: App) -> None:
    """Clean what processes that died left, before any verb, and say so; nearly always there is nothing. Of runs that
    may not be touched only those verbs tell that are about all runs: each other one would say the same again."""
    from aibemu.runs.leftovers import find_suspects

    if suspects := find_suspects(app.home):
        from aibemu.runs.sweep import sweep

        for line in sweep(app.home, app.clock, suspects, left_alone=app.command in _ABOUT_RUNS):
            app.warn(line)
