"""`aibemu help VERB`: the same as `aibemu VERB --help`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from aibemu.cli.app import App
from aibemu.cli.verbs import no_such_verb
from aibemu.errors import UsageError


@click.command("help", short_help="What a verb does: the same as VERB --help.")
@click.argument("verbs", metavar="[VERB]...", nargs=-1)
@click.pass_context
def command(ctx: click.Context, verbs: Sequence[str]) -> None:
    """Show the help of VERB; of all verbs without one. A verb in a group is two words: `aibemu help images import`."""
    at = ctx.find_root()
    for word in verbs:
        group = at.command
        if not isinstance(group, click.Group):
            raise UsageError(f"{at.command_path} has no verbs", commands=[f"{at.command_path} --help"])
        below = group.get_command(at, word)
        if below is None:
            raise no_such_verb(word, group.list_commands(at), at.command_path)
        at = click.Context(below, info_name=word, parent=at)
    text = at.get_help()
    ctx.ensure_object(App).result({"help": text}, text.splitlines())
