"""`aibemu config`: every setting, its value, where that comes from, and what it means."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import click

from aibemu.cli.app import App
from aibemu.errors import NotFoundError
from aibemu.settings import BUILT_IN, FILE, PREFIX, Described, Settings
from aibemu.suggestions import did_you_mean
from aibemu.text import counted


@click.command("config", short_help="Every setting: its value, its source, what it means.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--markdown", is_flag=True, help="As Markdown: the page docs/settings.md.")
@click.pass_obj
def command(app: App, names: Sequence[str], markdown: bool) -> None:
    """Show the settings, or those named NAME.

    Values come from config.yaml, then from variables like AIBEMU_LOCATION, then from the command line; the last one
    counts. Nothing is changed here: write `name: value` into config.yaml.
    """
    if markdown:
        from aibemu.cli.settings_page import page

        for line in page(Settings().table()):
            app.show(line)
        return
    table = Settings.load(app.home.config).table()
    chosen = [_named(name, table) for name in names] or table
    file = app.home.config / FILE
    there = file.is_file()
    data = {"file": str(file), "fileExists": there, "settings": [_as_json(one) for one in chosen]}
    heading = [] if names else [f"file: {shlex.quote(str(file))}{'' if there else ' (not there)'}", ""]
    app.result(data, [*heading, *(line for one in chosen for line in _lines(one))])


def _named(name: str, table: Sequence[Described]) -> Described:
    plain = name.replace("-", "_").lower().removeprefix(PREFIX.lower())
    known = {one.name: one for one in table}
    if plain not in known:
        raise NotFoundError(
            f"there is no setting {name!r}", hint=did_you_mean(plain, known), commands=["aibemu config"]
        )  # fmt: skip
    return known[plain]


def _lines(one: Described) -> Iterator[str]:
    value = ", ".join(one.text.splitlines()) or "(none)"
    if _hidden(one):
        value = f"({counted(len(one.value), 'value')}, not shown: a secret may be in it)"
    yield f"{one.name}: {value}  [{one.origin}]"
    default = "" if one.origin == BUILT_IN or not one.default else f" (built-in: {one.default})"
    yield f"    {one.meaning}{default}"


def _hidden(one: Described) -> bool:
    return one.private and bool(one.value)


def _as_json(one: Described) -> dict[str, Any]:
    return {
        "name": one.name, "value": None if _hidden(one) else one.value, "text": None if _hidden(one) else one.text,
        "hidden": _hidden(one), "origin": one.origin, "default": one.default, "variable": one.variable,
        "meaning": one.meaning,
    }  # fmt: skip
