"""`aibemu cache`: the layers that builds start from: list, prune, path, key."""

from __future__ import annotations

import contextlib
import shlex
from datetime import timedelta

import click

from aibemu.cli import cache_key
from aibemu.cli.app import App
from aibemu.cli.confirm import confirm_deletion, yes_option
from aibemu.cli.runs import given_age, human_size
from aibemu.cli.verbs import Group
from aibemu.errors import UsageError
from aibemu.layers.store import Bound, LayerStore, Stored
from aibemu.text import age_words, counted


@click.group("cache", cls=Group, short_help="Layers of earlier builds: list, prune, path, key.")
def command() -> None:
    """Guests that later builds start from, so that they need not repeat a step: frozen with their memory, or disks."""


command.add_command(cache_key.command)


@command.command("list", short_help="What there is.")
@click.pass_obj
def list_layers(app: App) -> None:
    """Show every layer, last used first."""
    store = LayerStore(app.home.layers)
    found = store.stored()
    rows = [
        (one.layer.id[:12], one.layer.label, "disk" if one.layer.boots else "memory", one.layer.template, one.layer.run,
         _age(app, one), human_size(one.size), "in use" if one.in_use else "")
        for one in found
    ]  # fmt: skip
    total = sum(one.size for one in found)
    table = app.table(("LAYER", "AFTER", "HAS", "TEMPLATE", "RUN", "AGE", "ON DISK", ""), rows)
    lines = [*table, f"{counted(len(found), 'layer')}, {human_size(total)} on disk"] if found else ["no layers yet"]
    left = _left_over(store)
    if left:
        lines.append(f"{human_size(left)} on disk in files that belong to no layer: `aibemu cache prune` deletes them")
    data = {
        "bytes": sum(one.bytes for one in found), "bytesOnDisk": total,
        "leftovers": left,  # on disk
        "layers": [_as_json(one) for one in found],
    }  # fmt: skip
    app.result(data, lines)


@command.command("prune", short_help="Delete layers.")
@click.option("--all", "everything", is_flag=True, help="All that no machine uses.")
@click.option("--older-than", metavar="AGE", help="Those that were not used for so long: 12h, 7d.")
@click.option("--size", metavar="SIZE", help="The longest unused, until the rest takes no more than this: 5G.")
@yes_option
@click.pass_obj
def prune(app: App, everything: bool, older_than: str | None, size: str | None, yes: bool) -> None:
    """Delete layers beyond the bounds: those of the settings cache_size and cache_age, or the ones given here.

    One that a machine uses stays. What builds that died left behind goes too. It asks before; where nobody can be asked
    it needs --yes.
    """
    from aibemu.images.store import ImageStore
    from aibemu.settings import Settings

    settings = Settings.load(app.home.config)
    bound = Bound(
        size=settings.cache_size if size is None else _given_size("--size", size),
        age=timedelta(seconds=settings.cache_age) if older_than is None else given_age("--older-than", older_than),
    )
    if everything:
        bound = Bound(size=0, age=timedelta.min)  # each was unused for longer than that
    store = LayerStore(app.home.layers)
    images = [image.digest for image in ImageStore(app.home.images, app.clock).images()]
    if not yes:
        words = ["--all"] if everything else []
        words += [word for option, text in (("--older-than", older_than), ("--size", size)) if text is not None
                  for word in (option, text)]  # fmt: skip
        _ask(app, store, store.beyond(bound, app.clock.now(), images), shlex.join([*words, "--yes"]))
    gone = store.prune(bound, app.clock.now(), images)
    lines = [f"{counted(len(gone.layers), 'layer')} deleted, {human_size(gone.freed)} freed"]
    if everything and (left := store.stored()):
        lines.append(f"{counted(len(left), 'layer')} in use by machines, kept")
    data = {
        "bytes": sum(one.bytes for one in gone.layers),
        "bytesOnDisk": gone.freed,  # with what belonged to no layer
        "layers": [_as_json(one) for one in gone.layers],
    }  # fmt: skip
    app.result(data, lines)


@command.command("path", short_help="Where they are.")
@click.option("--images", is_flag=True, help="The folder of the images instead, for who keeps it between CI jobs.")
@click.pass_obj
def path(app: App, images: bool) -> None:
    """Print the folder of the layers."""
    folder = app.home.images if images else app.home.layers
    app.result({"path": str(folder)}, [str(folder)])


def _ask(app: App, store: LayerStore, going: list[Stored], options: str) -> None:
    left = _left_over(store)
    if not (going or left):
        return
    lines = [f"{one.layer.id[:12]}  {one.layer.label} of {one.layer.template}, {_age(app, one)}" for one in going]
    if left:
        lines.append(f"{human_size(left)} in files that belong to no layer")
    what = counted(len(going), "layer") if going else "what belongs to no layer"
    confirm_deletion(app, what, lines, yes=False, command=f"aibemu cache prune {options}")


def _given_size(option: str, text: str) -> int:
    """Bytes, read as the setting is; `UsageError` for what is no size."""
    from aibemu.settings import parse_size

    try:
        return parse_size(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is not a size", hint="a number, or one and K, M, G or T: 500M, 20G"
        ) from None


def _left_over(store: LayerStore) -> int:
    """Bytes of files that belong to no layer; 0 if that cannot be told."""
    with contextlib.suppress(OSError):
        return sum(store.leftovers().values())
    return 0


def _age(app: App, stored: Stored) -> str:
    return age_words(app.clock.now() - stored.layer.made)


def _as_json(stored: Stored) -> dict[str, object]:
    layer = stored.layer
    return {
        "id": layer.id, "label": layer.label, "template": layer.template, "run": layer.run, "image": layer.image,
        "made": layer.made.isoformat(), "used": stored.used.isoformat(), "bytes": stored.bytes,
        "bytesOnDisk": stored.size, "inUse": stored.in_use, "memory": not layer.boots,
    }  # fmt: skip
