"""Words that people try who come from other tools, and the verb of ours that does it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import click

from aibemu.errors import UsageError
from aibemu.suggestions import closest

HELP_NAMES = ("--help", "-h")
_RUN, _PLAN, _VALIDATE = "run TEMPLATE", "plan TEMPLATE", "validate TEMPLATE"
_STATUS, _SHELL, _CLEAN = "status", "shell RUN", "clean"
# By word, what to type in its place after `aibemu`; verbs of docker, vagrant, packer, terraform, kubectl, az and git.
TRIED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("build", "up", "create", "start", "apply", "deploy", "submit"), (_RUN,)),
    **dict.fromkeys(("ps", "ls", "list", "jobs", "history", "get", "runs", "wait"), (_STATUS, "images list")),
    **dict.fromkeys(("show", "inspect", "describe"), ("status RUN", "images show NAME")),
    **dict.fromkeys(("ssh", "connect", "login", "attach", "console", "enter", "winrm"), (_SHELL,)),
    **dict.fromkeys(("rm", "remove", "delete", "del", "purge"), (_CLEAN, "images remove NAME")),
    **dict.fromkeys(("prune", "gc", "cleanup"), (_CLEAN, "cache prune")),
    **dict.fromkeys(("stop", "kill", "abort", "halt"), ("cancel RUN",)),
    **dict.fromkeys(("down", "undeploy"), ("destroy RUN",)),
    **dict.fromkeys(("settings", "set", "configure", "env"), ("config",)),
    **dict.fromkeys(("log", "tail", "events"), ("logs RUN",)),
    **dict.fromkeys(("check", "lint", "verify", "test"), (_VALIDATE,)),
    **dict.fromkeys(("dry-run", "dryrun", "whatif", "what-if", "preview"), (_PLAN, f"{_RUN} --driver dryrun")),
    **dict.fromkeys(("output", "artifacts", "result", "results"), ("outputs RUN",)),
    **dict.fromkeys(("retry", "continue", "rerun"), ("resume RUN",)),
    **dict.fromkeys(("image", "box", "boxes"), ("images list",)),
    **dict.fromkeys(("pull", "download", "fetch"), ("images pull NAME",)),
    "import": ("images import FILE",),
    "export": ("outputs RUN", "images export FILE"),
    "new": ("init",),
    "version": ("--version",),
    "info": ("doctor",),
    "layers": ("cache list",),
}  # fmt: skip
# The same within `aibemu images` and `aibemu cache`.
TRIED_BELOW: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("ls", "ps"), ("list",)),
    **dict.fromkeys(("rm", "delete", "del", "rmi"), ("remove",)),
    **dict.fromkeys(("inspect", "get", "info"), ("show",)),
    **dict.fromkeys(("clean", "clear", "gc", "purge"), ("prune",)),
    **dict.fromkeys(("add", "load"), ("import",)),
    **dict.fromkeys(("save",), ("export",)),
    **dict.fromkeys(("tag", "name"), ("alias",)),
    **dict.fromkeys(("create", "make"), ("build",)),
    **dict.fromkeys(("download", "fetch"), ("pull",)),
    **dict.fromkeys(("dir", "where"), ("path",)),
}


class Group(click.Group):
    """A group that says what to type in place of a verb that it does not have."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        # click keeps a command's help option as it was when it was first asked for, so that whoever calls a group by
        # itself, without the program around it, has to get the same one.
        super().__init__(*args, **{"context_settings": {"help_option_names": HELP_NAMES}, **settings})

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See `click.Group`; `UsageError` for a word that is no verb."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            raise no_such_verb(args[0], known, ctx.command_path)
        return super().resolve_command(ctx, args)


def no_such_verb(word: str, known: Collection[str], path: str) -> UsageError:
    """path: the command line up to `word`: `aibemu`, or `aibemu images`."""
    tried = TRIED if path == "aibemu" else {
        other: (verb,) for other, (verb,) in TRIED_BELOW.items() if verb in known
    }  # fmt: skip
    near = closest(word, [*known, *tried])
    instead = [f"{path} {words}" for words in tried.get(near or "", ())]
    hint = None if instead else f"did you mean {near}?" if near else f"see: {path} --help"
    return UsageError(f"{path} has no verb {word!r}", hint=hint, commands=instead)
