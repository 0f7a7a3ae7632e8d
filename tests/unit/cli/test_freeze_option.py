"""`--freeze always` beside `--freeze` and `--no-freeze`: what each means, and that no file of a template is taken for a
value."""

from __future__ import annotations

from typing import Any

import click
import pytest

from aibemu.cli.cache_options import FreezesAlways, cache_options, freeze_option, reuse_of
from aibemu.cli.plan import command as plan
from aibemu.cli.run import command as run
from aibemu.engine.preparing.options import ReuseOptions
from aibemu.errors import UsageError
from aibemu.settings import Settings


@click.command(cls=FreezesAlways)
@click.argument("files", nargs=-1)
@cache_options
@freeze_option
def command(**options: Any) -> dict[str, Any]:
    return options


def parsed(*words: str) -> tuple[tuple[str, ...], ReuseOptions]:
    """The files that were given, and what is to become of layers."""
    options = command.main(list(words), standalone_mode=False)
    return options.pop("files"), reuse_of(Settings(), {}, **options)


@pytest.mark.parametrize(
    ("words", "files", "freeze", "always"),
    [
        ((), (), True, False), (("--freeze", "t.json"), ("t.json",), True, False),
        (("--freeze", "always", "t.json"), ("t.json",), True, True), (("t.json", "--freeze"), ("t.json",), True, False),
        (("--freeze=always", "t.json"), ("t.json",), True, True), (("always", "--freeze"), ("always",), True, False),
        (("t.json", "--freeze", "always"), ("t.json",), True, True), (("--no-freeze", "t"), ("t",), False, False),
        (("--freeze", "--", "always"), ("always",), True, False),
        (("--freeze", "./always"), ("./always",), True, False),
        (("always", "--no-freeze"), ("always",), False, False), (("--no-freeze", "always"), ("always",), False, False),
    ],
    ids=str,
)  # fmt: skip
def test_it_has_a_value_or_none(words: tuple[str, ...], files: tuple[str, ...], freeze: bool, always: bool) -> None:
    given, reuse = parsed(*words)
    assert given == files and (reuse.freeze, reuse.always) == (freeze, always)


def test_another_value_and_both_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match="only value"):
        parsed("--freeze=never")
    with pytest.raises(UsageError, match="cannot both be"):
        parsed("--freeze", "always", "--no-freeze")


def test_where_layers_are_off_none_is_made_with_memory_either() -> None:
    options = command.main(["--freeze", "always"], standalone_mode=False)
    options.pop("files")
    assert reuse_of(Settings(), {"CI": "true"}, **options).always is False


def test_the_verbs_have_it() -> None:
    for verb in (run, plan):
        assert "always" in {param.name for param in verb.params}
        assert type(verb) is FreezesAlways
