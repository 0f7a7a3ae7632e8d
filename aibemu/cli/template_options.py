"""The options of every verb that reads a template, in one place: which template, with which values, checked how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from aibemu.errors import UsageError
from aibemu.submission.request import TemplateRequest
from aibemu.text import nth

_TEMPLATES = frozenset({".json", ".jsonc", ".json5", ".bicep", ".bicepparam", ".template"})
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _checked_placeholders(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Before files are read: the value of `--set NAME VALUE` would be taken for one, and be told."""
    from aibemu.submission.parameters import read_placeholders

    read_placeholders(given)
    return given


def checked_files(_: click.Context, __: click.Parameter, given: tuple[Path, ...]) -> tuple[Path, ...]:
    """A further FILE that is not there may be the value that `-p NAME VALUE` without its `=` left over: a secret, which
    no error repeats."""
    for number, file in enumerate(given, 1):
        if number > 1 and file.suffix.lower() not in _TEMPLATES and not file.exists() and str(file) != "-":
            raise UsageError(
                f"there is no file of the name that was given as FILE ({nth(number, given)})",
                hint="a value goes to its option with `=`: -p NAME=VALUE, --set NAME=VALUE",
            )
    return given


WHICH: tuple[Decorator, ...] = (
    click.option("--name", metavar="NAME", help="Which image template of FILE; or the name of one that has none."),
    click.option("--api-version", metavar="VERSION", help="Judge by this api version, whatever FILE says."),
)
VALUES: tuple[Decorator, ...] = (
    click.option(
        "--parameters", "-p", metavar="FILE|NAME=VALUE", multiple=True,
        help="Parameters of a deployment template, as for az: a parameters file, NAME=VALUE, NAME=@FILE or JSON.",
    ),
    click.option(
        "--set", "placeholders", metavar="NAME=VALUE", multiple=True, callback=_checked_placeholders,
        help="Put VALUE in for the placeholder <NAME>.",
    ),
    click.option(
        "--supply", "supplied", metavar="FUNCTION('ID')=JSON", multiple=True,
        help="What reference() or listKeys() would get from Azure.",
    ),
)  # fmt: skip
MAPPINGS: tuple[Decorator, ...] = (
    click.option(
        "--map", "mappings", metavar="PREFIX=DIR", multiple=True, help="Take URLs that start with PREFIX from DIR."
    ),
)
FILES: tuple[Decorator, ...] = (
    click.argument(
        "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path), callback=checked_files
    ),
)
FILE: tuple[Decorator, ...] = (click.argument("file", type=click.Path(path_type=Path)),)


def template_options(*groups: tuple[Decorator, ...]) -> Decorator:
    """FILE and these groups of options, in their order."""
    return options(FILE, *groups)


def options(*groups: tuple[Decorator, ...]) -> Decorator:
    """These groups of options, in their order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


def request_of(file: Path, **options: Any) -> TemplateRequest:
    """The request that the options make; options of other kinds are passed over.

    Raises `UsageError` when FILE cannot be read.
    """
    known = TemplateRequest.__dataclass_fields__
    return TemplateRequest.of_file(
        file, Path.cwd(), **{name: value for name, value in options.items() if name in known}
    )  # fmt: skip
