"""The options about what of earlier builds is reused, which `run` and `plan` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aibemu.cli.runs import given_age

if TYPE_CHECKING:
    from aibemu.engine.preparing.options import ReuseOptions
    from aibemu.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


def _age(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    return None if value is None else given_age("--max-age", value)


_OPTIONS = (
    click.option("--cold", is_flag=True, help="Boot the source image anew; start from no layer."),
    click.option(
        "--cache/--no-cache", default=None,
        help="Take finished steps from earlier builds (default: yes, but not in CI).",
    ),
    click.option("--from", "from_step", metavar="STEP", help="Run this step and those after it, cached or not."),
    click.option(
        "--max-age", metavar="AGE", callback=_age,
        help="Use no layer with anything in it that is older: 12h, 7d (default: the setting cache_age).",
    ),
)  # fmt: skip


def cache_options(function: F) -> F:
    """--cold, --cache/--no-cache, --from, --max-age."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def reuse_of(settings: Settings, environ: Mapping[str, str], **options: Any) -> ReuseOptions:
    """What they mean together, with `freeze` (--freeze/--no-freeze) where a verb has it."""
    from aibemu.engine.preparing.options import ReuseOptions
    from aibemu.plan.reuse import Wish

    cache: bool | None = options["cache"]
    layers = _uses_layers(settings, cache, environ)
    uses = layers and not options["cold"]
    oldest = options["max_age"]
    wish = Wish(
        warm=uses, cache=uses and cache is not False, from_step=options["from_step"],
        max_age=timedelta(seconds=settings.cache_age) if oldest is None else oldest,
    )  # fmt: skip
    return ReuseOptions(wish=wish, freeze=layers and options.get("freeze", True))


def _uses_layers(settings: Settings, asked: bool | None, environ: Mapping[str, str]) -> bool:
    """Whether layers are used and made at all: not where CI is set, for there every build starts from nothing."""
    if asked or settings.cache == "on":
        return True
    return settings.cache == "auto" and not environ.get("CI")
