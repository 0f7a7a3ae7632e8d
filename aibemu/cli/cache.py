"""`aibemu cache`: the layers that builds start from: list, prune, path."""

from __future__ import annotations

from datetime import timedelta

import click

from aibemu.ages import age_words
from aibemu.cli.app import App
from aibemu.cli.runs import human_size
from aibemu.layers.store import Bound, LayerStore, Stored
from aibemu.reports.duration import counted


@click.group("cache", short_help="Layers of earlier builds: list, prune, path.")
def command() -> None:
    """Frozen guests that later builds start from, so that they need not boot nor repeat a step."""


@command.command("list", short_help="What there is.")
@click.pass_obj
def list_layers(app: App) -> None:
    """Show every layer, last used first."""
    found = LayerStore(app.home.layers).stored()
    rows = [
        (one.layer.id[:12], one.layer.label, one.layer.template, one.layer.run, _age(app, one), human_size(one.size),
         "in use" if one.in_use else "")
        for one in found
    ]  # fmt: skip
    total = sum(one.size for one in found)
    table = app.table(("LAYER", "AFTER", "TEMPLATE", "RUN", "AGE", "SIZE", ""), rows)
    data = {"bytes": total, "layers": [_as_json(one) for one in found]}
    app.result(data, [*table, f"{counted(len(found), 'layer')}, {human_size(total)}"] if found else ["no layers yet"])


@command.command("prune", short_help="Delete layers.")
@click.option("--all", "everything", is_flag=True, help="All that no machine uses.")
@click.option("--older-than", metavar="AGE", help="Those that were not used for so long: 12h, 7d.")
@click.option("--size", metavar="SIZE", help="The longest unused, until the rest takes no more than this: 5G.")
@click.pass_obj
def prune(app: App, everything: bool, older_than: str | None, size: str | None) -> None:
    """Delete layers beyond the bounds: those of the settings cache_size and cache_age, or the ones given here.

    One that a machine uses stays.
    """
    from aibemu.images.store import ImageStore
    from aibemu.settings import Settings

    settings = Settings.load(app.home.config, overrides={"cache_age": older_than, "cache_size": size})
    bound = Bound(size=settings.cache_size, age=timedelta(seconds=settings.cache_age))
    if everything:
        bound = Bound(size=0, age=timedelta(days=10**6))
    store = LayerStore(app.home.layers)
    before = sum(one.size for one in store.stored())
    images = [image.digest for image in ImageStore(app.home.images, app.clock).images()]
    gone = store.prune(bound, app.clock.now(), images)
    left = store.stored()
    freed = before - sum(one.size for one in left)
    lines = [f"{counted(len(gone), 'layer')} deleted, {human_size(freed)} freed"]
    if everything and left:
        lines.append(f"{counted(len(left), 'layer')} in use by machines, kept")
    app.result({"bytes": freed, "layers": [_as_json(one) for one in gone]}, lines)


@command.command("path", short_help="Where they are.")
@click.pass_obj
def path(app: App) -> None:
    """Print the folder of the layers."""
    app.result({"path": str(app.home.layers)}, [str(app.home.layers)])


def _age(app: App, stored: Stored) -> str:
    return age_words(app.clock.now() - stored.layer.made)


def _as_json(stored: Stored) -> dict[str, object]:
    layer = stored.layer
    return {
        "id": layer.id, "label": layer.label, "template": layer.template, "run": layer.run, "image": layer.image,
        "made": layer.made.isoformat(), "used": stored.used.isoformat(), "bytes": stored.size, "inUse": stored.in_use,
    }  # fmt: skip
