"""`aibemu images export`, and `images import` of what it wrote: images for computers without a network."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from aibemu.cli.app import App
from aibemu.cli.completion import image_names
from aibemu.cli.image_answers import as_json, in_mib, limit_of, no_deadline, store_of, tell_progress
from aibemu.errors import UsageError


@click.command(short_help="Write images into one file, for computers without a network.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=image_names)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.pass_obj
def export(app: App, file: Path, names: tuple[str, ...], force: bool) -> None:
    """Write the images NAME (aliases or digests; all if none is given) and their aliases into FILE.

    `aibemu images import FILE` takes them on another computer. The file is written whole or not at all, and the same
    images give the same bytes.
    """
    from aibemu.images.sets import export_set

    store = store_of(app)
    images = [store.get(name) for name in names] if names else store.images()
    if not images:
        raise UsageError(
            "there is no image to export", hint="make one first", commands=["aibemu images build debian-12"]
        )  # fmt: skip
    done = export_set(
        file, images, store, deadline=no_deadline(app), progress=tell_progress(app), replace=force
    )  # fmt: skip
    count = "1 image" if len(done.images) == 1 else f"{len(done.images)} images"
    lines = [
        *(f"{image.short}  {image.info.os_name}  {', '.join(image.aliases) or 'no alias'}" for image in done.images),
        f"{done.path}: {count}, {in_mib(done.size)}",
        f"on the other computer: aibemu images import {shlex.quote(done.path.name)}",
    ]
    aliases = store.aliases()
    value = {
        "path": str(done.path),
        "size": done.size,
        "images": [as_json(store.get(i.digest), aliases) for i in done.images],
    }
    app.result(value, lines)


def import_set(app: App, file: Path, aliases: tuple[str, ...], force: bool, *, said: bool) -> None:
    """Import a set and tell of each image. said: whether a person said what the disk is, which a set says itself."""
    from aibemu.images.sets import import_set as import_it

    if said:
        raise UsageError(
            f"{file} is a set of images, which says itself what they are",
            hint="leave --os-type, --generation and --provisioning out; change it afterwards: aibemu images describe",
        )
    store = store_of(app)
    done = import_it(
        file, store, deadline=no_deadline(app), progress=tell_progress(app), limit=limit_of(app), force=force,
        renamed=aliases,
    )  # fmt: skip
    found = store.aliases()
    value = [as_json(arrived.image, found) | {"known": arrived.known} for arrived in done]
    lines = [
        f"{arrived.image.short}  {arrived.image.info.os_name}  {', '.join(arrived.aliases) or 'no alias'}"
        + ("  (already here)" if arrived.known else "")
        for arrived in done
    ]
    app.result({"images": value, "aliases": found}, lines)
