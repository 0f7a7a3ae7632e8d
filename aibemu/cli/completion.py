"""`aibemu completion SHELL`: the script that makes a shell complete verbs, options, run ids and image aliases."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from aibemu.cli.app import App
from aibemu.paths import Home

VARIABLE = "_AIBEMU_COMPLETE"
HOW = {
    "bash": "source <(aibemu completion bash)",
    "zsh": "source <(aibemu completion zsh)",
    "fish": "aibemu completion fish | source",
}


@click.command("completion", short_help="Print the shell completion script.")
@click.argument("shell", type=click.Choice(list(HOW)))
@click.pass_obj
def command(app: App, shell: str) -> None:
    """Print the completion script for SHELL; put the line that it starts with into the shell's start-up file."""
    from aibemu.cli.main import cli

    found = get_completion_class(shell)
    assert found is not None, "click knows these three"
    made = found(cli, {}, "aibemu", VARIABLE)
    script = made.source_template % made.source_vars()
    app.result({"shell": shell, "script": script}, [f"# {HOW[shell]}", script])


def run_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of runs, newest first."""
    from aibemu.runs.store import RunStore

    return [CompletionItem(run.id) for run in RunStore(_home(ctx).runs).runs() if run.id.startswith(incomplete)]


def run_ids_with_machines(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of runs that have machines, or what was left of them; newest first."""
    from aibemu.runs.store import RunStore

    runs = [run for run in RunStore(_home(ctx).runs).runs() if run.machines.is_dir()]
    return [CompletionItem(run.id) for run in runs if run.id.startswith(incomplete)]


def image_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Aliases and digests of stored images."""
    from aibemu.clock import SystemClock
    from aibemu.images.store import ImageStore

    store = ImageStore(_home(ctx).images, SystemClock())
    names = [*store.aliases(), *(image.short for image in store.images())]
    # A shell shows them: a name that commands a terminal is not one to complete.
    shown = [name for name in names if name.isprintable()]
    return [CompletionItem(name) for name in shown if name.lower().startswith(incomplete.lower())]


def _home(ctx: click.Context) -> Home:
    app = ctx.find_object(App)
    return app.home if app else Home.discover()
