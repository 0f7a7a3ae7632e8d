"""The options about what of earlier builds is reused, which `run` and `plan` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aibemu.cli.runs import given_age
from aibemu.errors import UsageError

if TYPE_CHECKING:
    from aibemu.engine.preparing.options import ReuseOptions
    from aibemu.settings import Settings

# What `--freeze always` becomes.
ALWAYS = "--freeze-always"
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


class FreezesAlways(click.Command):
    """A command with `freeze_option`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _without_value(args))


def _without_value(args: list[str]) -> list[str]:
    """`--freeze always` and `--freeze=always` as the option that stands for both. An option of click has a value always
    or never, and the file of a template that follows --freeze is none."""
    found: list[str] = []
    for place, word in enumerate(args):
        if word == "--":
            return [*found, *args[place:]]
        if word == "always" and found[-1:] == ["--freeze"]:
            found[-1] = ALWAYS
        elif word.startswith("--freeze=") and word != "--freeze=always":
            raise UsageError(f"{word}: the only value that --freeze may have is always")
        else:
            found.append(ALWAYS if word == "--freeze=always" else word)
    return found


def freeze_option(function: F) -> F:
    """--freeze, --no-freeze, --freeze always; for a `FreezesAlways`."""
    for option in (
        click.option(ALWAYS, "always", is_flag=True, hidden=True),
        click.option(
            "--freeze/--no-freeze", default=True,
            help="Make layers for later builds (default: yes, but not in CI). `--freeze always`: with the memory of "
            "Windows guests, too, which was never tried on Windows.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def reuse_of(settings: Settings, environ: Mapping[str, str], **options: Any) -> ReuseOptions:
    """What they mean together, with `freeze` and `always` where a verb has the `freeze_option`."""
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
    always = bool(options.get("always"))
    if always and not options.get("freeze", True):
        raise UsageError("--freeze always and --no-freeze cannot both be")
    return ReuseOptions(wish=wish, freeze=layers and options.get("freeze", True), always=layers and always)


def _uses_layers(settings: Settings, asked: bool | None, environ: Mapping[str, str]) -> bool:
    """Whether layers are used and made at all: not where CI is set, for there every build starts from nothing."""
    if asked or settings.cache == "on":
        return True
    return settings.cache == "auto" and not environ.get("CI")
