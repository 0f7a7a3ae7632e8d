"""`aibemu images pull`: images that distributions publish, and the list of those that are known."""

from __future__ import annotations

from typing import Any

import click

from aibemu.cli.app import App
from aibemu.cli.image_answers import in_mib, limit_of, no_deadline, show_added, store_of, tell_progress
from aibemu.errors import NotFoundError, UsageError
from aibemu.images import BaseImage
from aibemu.images.catalogue import Catalogue, Entry
from aibemu.images.store import ImageStore

_LIST = "aibemu images pull --list"
_BUILDS = {"azure": "Azure", "generic": "generic", "": "-"}


@click.command(short_help="Download a distribution's image, or list those that are known.")
@click.argument("alias", required=False)
@click.option("--list", "list_", is_flag=True, help="The marketplace offers that aibemu knows; nothing is downloaded.")
@click.pass_obj
def pull(app: App, alias: str | None, list_: bool) -> None:
    """Download the image for ALIAS (publisher:offer:sku, from the catalogue) and check and store it.

    It is what the distribution builds for Azure where it publishes that, and else its cloud image.
    """
    if list_ == bool(alias):
        raise UsageError("give ALIAS, or --list", commands=[_LIST])
    if alias is None:
        list_catalogue(app)
    else:
        pull_offer(app, alias)


def pull_offer(app: App, alias: str) -> None:
    """Download what the catalogue has for publisher:offer:sku[:version]."""
    from aibemu.images.pull import pull as pull_image

    entry = _entry(app, alias)
    store = store_of(app)
    version = alias.split(":")[3] if alias.count(":") == 3 else ""
    pinned = "" if version.lower() == "latest" else version
    if pinned:
        app.warn(f"what is published now is downloaded and stands in for version {pinned}")
    done = pull_image(
        entry, store, cache=app.home.cache / "downloads", deadline=no_deadline(app), say=app.say,
        progress=tell_progress(app), version=pinned, limit=limit_of(app),
    )  # fmt: skip
    for note in done.notes:
        app.warn(note)
    show_added(app, store, done.image)


def _entry(app: App, alias: str) -> Entry:
    catalogue = Catalogue.load(app.home)
    if entry := catalogue.find(alias):
        return entry
    near = catalogue.near(alias)
    raise NotFoundError(
        f"the catalogue does not know {alias}",
        hint=f"did you mean {near[0]}?" if near else f"see what it knows: {_LIST}",
        commands=[_LIST],
    )


def list_catalogue(app: App) -> None:
    """Answer with what the catalogue knows, and what of it is stored."""
    store = store_of(app)
    entries = [(entry, _stored(store, entry)) for entry in Catalogue.load(app.home).entries()]
    rows = [
        (entry.offer, entry.generation.value, _size(entry, stored), _BUILDS[entry.file.build] if entry.url else "none",
         ", ".join(stored) or "-", entry.os_name)
        for entry, stored in entries
    ]  # fmt: skip
    lines = app.table(("OFFER", "GEN", "SIZE", "BUILD", "STORED", "OS"), rows)
    app.result({"catalogue": [_as_json(entry, stored) for entry, stored in entries]}, [*lines, *_LEGEND])


_LEGEND = (
    "",
    "BUILD    Azure: built for Azure by the distribution; generic: its image for any cloud, without the Azure agent;",
    "         none: not public, to be downloaded with an account and imported",
    "STORED   the versions that are in the store",
)


def _stored(store: ImageStore, entry: Entry) -> dict[str, BaseImage]:
    """version -> the image that has it, of one offer."""
    found = {}
    for alias in store.aliases():
        if alias.lower().startswith(f"{entry.offer.lower()}:") and (image := store.find(alias)):
            found[alias.split(":")[3]] = image
    return found


def _size(entry: Entry, stored: dict[str, BaseImage]) -> str:
    """What it takes on the disk, or else about what is downloaded."""
    if stored:
        return in_mib(list(stored.values())[-1].on_disk)
    return f"about {entry.file.size} MiB" if entry.file.size else "-"


def _as_json(entry: Entry, stored: dict[str, BaseImage]) -> dict[str, Any]:
    return {
        "offer": entry.offer, "generation": entry.generation.value, "osType": entry.os_type, "osName": entry.os_name,
        "url": entry.url, "note": entry.note, "build": entry.file.build or None,
        "downloadSize": entry.file.size << 20 or None,
        "stored": [
            {"version": version, "digest": image.digest, "generation": image.info.generation.value,
             "bytesOnDisk": image.on_disk}
            for version, image in stored.items()
        ],
    }  # fmt: skip
