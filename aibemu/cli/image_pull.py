"""`aibemu images pull`: images that distributions publish, and the list of those that are known."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from aibemu.cli.app import App
from aibemu.cli.confirm import ask_which
from aibemu.cli.image_answers import in_mib, limit_of, needs, no_deadline, show_added, store_of, tell_progress
from aibemu.cli.signals import obey_signals
from aibemu.clock import CancelToken, Deadline
from aibemu.errors import AibemuError, NotFoundError, UsageError
from aibemu.images import BaseImage
from aibemu.images.catalogue import Catalogue, Entry
from aibemu.images.store import ImageStore

if TYPE_CHECKING:
    from aibemu.images.azure_pull import Pulled
    from aibemu.images.azure_source import AzureSource
    from aibemu.images.importing import Imported

_LIST = "aibemu images pull --list"
_BUILDS = {"azure": "Azure", "generic": "generic", "": "-"}


@click.command(short_help="Download a distribution's image, or one that is in Azure; list those that are known.")
@click.argument("alias", required=False)
@click.option("--list", "list_", is_flag=True, help="The marketplace offers that aibemu knows; nothing is downloaded.")
@click.option("--azure", is_flag=True, help="Fetch exactly this image from Azure, through your own az.")
@click.option("--resource-group", "-g", metavar="NAME", help="With --azure: where the disk is made meanwhile.")
@click.option("--location", "-l", metavar="REGION", help="With --azure: the disk's region, if not the group's.")
@click.option("--subscription", metavar="ID", help="With --azure: where the disk is made, if not in az's own.")
@click.option("--hours", type=click.IntRange(1, 24), help="With --azure: how long access is given; 6 unless said.")
@click.option("--dry-run", is_flag=True, help="With --azure: show the commands, and run none.")
@click.pass_obj
def pull(
    app: App, alias: str | None, list_: bool, azure: bool, resource_group: str | None, location: str | None,
    subscription: str | None, hours: int | None, dry_run: bool,
) -> None:  # fmt: skip
    """Download the image for ALIAS (publisher:offer:sku, from the catalogue) and check and store it.

    It is what the distribution builds for Azure where it publishes that, and else its cloud image.

    With --azure, ALIAS is publisher:offer:sku:version of the marketplace, or the id of a managed image, of an image
    version in a gallery, of a snapshot or a disk. Your az makes a disk of it in your subscription, its content is
    downloaded, and the disk is deleted. Each command is shown before it runs.
    """
    said = resource_group or location or subscription or hours or dry_run
    if said and not azure:
        raise UsageError(
            "--resource-group, --location, --subscription, --hours and --dry-run are for --azure",
            hint="without it, no az is used: what a distribution publishes is downloaded",
        )
    if list_ == bool(alias) or (list_ and azure):
        raise UsageError("give ALIAS, or --list", commands=[_LIST])
    if alias is None:
        list_catalogue(app)
    elif azure:
        where = (resource_group or "", location or "", subscription or "")
        pull_from_azure(app, alias, where, seconds=(hours or 6) * 3600, dry_run=dry_run)
    else:
        pull_offer(app, alias)


def pull_from_azure(app: App, name: str, where: tuple[str, str, str], *, seconds: int, dry_run: bool) -> None:
    """Fetch an image that is in Azure. where: resource group, region and subscription, each may be empty."""
    from aibemu.images.azure_pull import AzurePull, Watched
    from aibemu.images.azure_source import Place, parse_source

    source = parse_source(name)
    group = where[0] or source.group
    if not group:
        raise UsageError(
            f"say in which resource group of yours a disk may be made of {name} meanwhile",
            commands=[f"aibemu images pull {shlex.quote(name)} --azure --resource-group NAME --dry-run"],
        )
    store, token = store_of(app), CancelToken()
    place = Place(group=group, location=where[1], subscription=where[2] or source.subscription)
    watched = Watched(
        say=app.say, learn=app.redactor.add, progress=tell_progress(app),
        ask=lambda question: ask_which(app, question, ("Linux", "Windows")),
    )  # fmt: skip
    work = AzurePull(
        source=source, place=place, store=store, seconds=seconds, deadline=Deadline(clock=app.clock, cancel=token),
        watched=watched, limit=limit_of(app),
    )  # fmt: skip
    if dry_run:
        app.result({"commands": work.commands()}, [*work.commands(), "", "nothing was run"])
        return
    with obey_signals(token):
        pulled = work.run()
    _enter(app, source, pulled)
    _answer(app, store, pulled.done)


def warn_of_disks(app: App, store: ImageStore) -> None:
    """Of disks that killed pulls have left in Azure, where they cost money."""
    if not (store.root / "azure-disks").is_dir():  # nearly always, and then nothing is imported for it
        return
    from aibemu.images.azure_pull import left_disks

    for left in left_disks(store):
        app.warn(left.in_one_line)


def _answer(app: App, store: ImageStore, done: Imported) -> None:
    for note in done.notes:
        app.warn(note)
    for need in needs(done.image.short, done.image.info):
        app.warn(str(need))
    show_added(app, store, done.image)


def _enter(app: App, source: AzureSource, pulled: Pulled) -> None:
    """What templates name by its id is found by it from now on."""
    from aibemu.cloud.fetched import enter
    from aibemu.cloud.local import LocalCloud

    if not source.can_be_named or not pulled.region:
        return
    image = pulled.done.image
    try:
        enter(
            LocalCloud(app.home.cloud, app.clock), source.name, digest=image.digest, info=image.info,
            region=pulled.region, regions=pulled.regions,
        )  # fmt: skip
    except AibemuError as error:
        app.warn(f"templates do not find the image by its id yet: {error.message}")
    else:
        app.say(f"templates find it here by its id: {source.name}")


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
    _answer(app, store, done)


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
