"""The options about what of earlier builds is reused, which `run` and `plan` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aibemu.cli.runs import given_age

if TYPE_CHECKING:
    from datetime import timedelta

    from aibemu.plan.reuse import Wish
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


def wish_of(settings: Settings, **options: Any) -> Wish:
    """What they mean together."""
    from aibemu.engine.preparing.starts import make_wish

    return make_wish(settings, **{name: options[name] for name in ("cold", "cache", "from_step", "max_age")})
