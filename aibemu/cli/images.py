"""`aibemu images`: what is in the store, and how more gets into it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import click

from aibemu.cli.app import App
from aibemu.cli.completion import image_names
from aibemu.cli.confirm import ask_which, confirm_deletion, yes_option
from aibemu.cli.image_answers import (
    as_json,
    in_mib,
    limit_of,
    names_of,
    needs,
    no_deadline,
    show_added,
    store_of,
    tell_progress,
)
from aibemu.cli.image_lines import generalized, generation, need_lines, system_lines
from aibemu.cli.image_pull import list_catalogue, pull, warn_of_disks
from aibemu.cli.image_sets import export, import_set
from aibemu.cli.verbs import Group
from aibemu.cloud.local import LocalCloud
from aibemu.errors import UsageError
from aibemu.images import STANDARD, TRUSTED_LAUNCH, Generation, Provisioning, recipes
from aibemu.images.store import check_aliases

_PROVISIONING = click.Choice([way.value for way in Provisioning if way is not Provisioning.NONE])
_PROVISIONING_HELP = "How its first boot is configured, if not as the disk shows; unknown: offer both."
_FORMATS = click.Choice(["qcow2", "raw", "vhd", "vhdx", "vmdk"])


@click.group(
    "images", cls=Group, short_help="Base images: list, show, build, import, export, prepare, pull, alias, remove."
)
def command() -> None:
    """Manage the images that templates start from."""


command.add_command(export)
command.add_command(pull)


@command.command("list", short_help="What is stored; with --catalogue, what is known.")
@click.option("--catalogue", is_flag=True, help="The marketplace offers that aibemu knows, instead of the store.")
@click.pass_obj
def list_images(app: App, catalogue: bool) -> None:
    """List the stored images with their aliases."""
    if catalogue:
        list_catalogue(app)
        return
    store = store_of(app)
    warn_of_disks(app, store)
    aliases = store.aliases()
    images = store.images()
    rows = [
        (image.short, image.info.os_name, image.info.generation.value, in_mib(image.file_size), in_mib(image.on_disk),
         image.created[:10], ", ".join(names_of(aliases, image)) or "-")
        for image in images
    ]  # fmt: skip
    lines = app.table(("IMAGE", "OS", "GEN", "SIZE", "ON DISK", "ADDED", "ALIASES"), rows) if rows else _EMPTY
    app.result({"images": [as_json(image, aliases) for image in images], "aliases": aliases}, lines)


_EMPTY = ["the store is empty; make an image with: aibemu images build debian-12"]


@command.command(short_help="Everything known of one image.")
@click.argument("reference", shell_complete=image_names)
@click.pass_obj
def show(app: App, reference: str) -> None:
    """Show the image REFERENCE: an alias, a digest, or the beginning of one."""
    store = store_of(app)
    image = store.get(reference)
    aliases = store.aliases()
    used = LocalCloud(app.home.cloud, app.clock).references(image.digest)
    info = image.info
    lines = [
        f"path          {image.path}",
        f"digest        sha256:{image.digest}",
        f"size          {in_mib(image.file_size)} as a file, {in_mib(image.on_disk)} on disk, "
        f"{image.virtual_size / 1024**3:g} GiB as a disk",
        f"os            {info.os_type}: {info.os_name}",
        *system_lines(info),
        f"generation    {generation(info)}",
        f"provisioning  {info.provisioning.value}",
        *([f"security      {info.security}"] if info.security else []),
        f"generalized   {generalized(info)}",
        f"origin        {info.origin}",
        f"added         {image.created}",
        *(f"alias         {name}" for name in names_of(aliases, image)),
        *(f"used by       {name}" for name in used),
        *need_lines(image, aliases),
    ]
    app.result(as_json(image, aliases) | {"usedBy": used}, lines)


@command.command(short_help="Build a base image from a recipe, offline.")
@click.argument("recipe", metavar="RECIPE")
@click.option("--force", is_flag=True, help="Build again although an image of the unchanged recipe is there.")
@click.pass_obj
def build(app: App, recipe: str, force: bool) -> None:
    """Build RECIPE (debian-12, or a recipe file) from Debian packages; no root needed."""
    from aibemu.images.build import build as build_image

    store = store_of(app)
    image = build_image(recipes.load(recipe), store, no_deadline(app), app.say, force=force)
    show_added(app, store, image)


@command.command("import", short_help="Take a disk image, or an exported set, into the store.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--os-type", type=click.Choice(["Linux", "Windows"]), help="What the disk holds, if it cannot be seen.")
@click.option("--generation", type=click.Choice(["V1", "V2"]), help="Hyper-V generation, if not as the disk shows.")
@click.option("--provisioning", type=_PROVISIONING, help=_PROVISIONING_HELP)
@click.option("--alias", "aliases", multiple=True, metavar="NAME", help="Name it; may be given several times.")
@click.option("--format", "format_", type=_FORMATS, help="Format of FILE, if not as its content shows.")
@click.option("--force", is_flag=True, help="Of a set: take aliases that are other images here.")
@click.pass_obj
def import_(
    app: App, file: Path, os_type: str | None, generation: str | None, provisioning: str | None,
    aliases: tuple[str, ...], format_: str | None, force: bool,
) -> None:  # fmt: skip
    """Import FILE (qcow2, raw, VHD, VHDX or VMDK), or the one disk that is in it (.gz, .xz, .zst, .tar and .tar.gz and
    the like). The file itself is never changed.

    An alias is a word or a marketplace image, publisher:offer:sku:version.

    FILE may be a set that `images export` wrote: all of its images and their aliases are taken. --alias OLD=NEW gives
    an alias of the set another name here, --alias NAME names the only image of a set.
    """
    from aibemu.images.packed import import_file
    from aibemu.images.sets import is_set
    from aibemu.images.unpacking import packed_as

    if not format_ and is_set(file) and not packed_as(file):
        import_set(app, file, aliases, force, said=bool(os_type or generation or provisioning))
        return
    if force:
        raise UsageError(f"--force is for a set of images, and {file} is none")
    store = store_of(app)
    done = import_file(
        file, store, deadline=no_deadline(app), say=app.say, progress=tell_progress(app), format=format_,
        os_type=os_type,
        generation=Generation(generation) if generation else None,
        provisioning=Provisioning(provisioning) if provisioning else None, aliases=aliases, limit=limit_of(app),
        ask=lambda question: ask_which(app, question, ("Linux", "Windows")),
    )  # fmt: skip
    for note in done.notes:
        app.warn(note)
    for need in needs(done.image.short, done.image.info):
        app.warn(str(need))
    show_added(app, store, done.image)


@command.command(short_help="Make a copy of an image that boots here, or with the Azure agent in it.")
@click.argument("reference", shell_complete=image_names)
@click.option("--alias", "names", multiple=True, metavar="NAME", help="Name the copy; may be given several times.")
@click.option(
    "--agent", is_flag=True, help="Of a Linux image: boot it once, and install its distribution's Azure agent."
)
@click.pass_obj
def prepare(app: App, reference: str, names: tuple[str, ...], agent: bool) -> None:
    """Copy the Windows image REFERENCE, and switch on in the copy the drivers that it needs to boot on other hardware.

    Windows switches off drivers that the last machine did not need, so an image from Hyper-V or Azure may end with stop
    code 0x7B elsewhere. `aibemu run` does the same on the disks of its machines: a copy is for other uses. Only its
    registry is changed. REFERENCE stays as it is; nothing is copied when nothing is to change.

    With --agent REFERENCE is a Linux image. A machine of it boots once and installs the Azure agent (waagent) from the
    distribution's packages, which it downloads; what it then is becomes another image. The service's deprovision
    script needs that agent.
    """
    from aibemu.images.preparing import prepare_image

    store = store_of(app)
    check_aliases(names)
    if agent:
        from aibemu.cli.image_agent import prepare_agent

        prepare_agent(app, store.get(reference), names)
        return
    done = prepare_image(store.get(reference), store, deadline=no_deadline(app), say=app.say)
    for name in names:
        store.set_alias(name, done.image.digest)
    for note in done.mended.notes:
        app.warn(note)
    aliases = store.aliases()
    image = done.image
    first = f"{image.short}  {image.info.os_name}  {', '.join(names_of(aliases, image)) or 'no alias'}"
    if not done.mended.changes:
        lines = [f"nothing to change: {image.short} is prepared already"]
    elif done.known:
        lines = [first, "this copy was made before; it has these changes:", *map(str, done.mended.changes)]
    else:
        lines = [first, f"{image.path}", "changed in the copy:", *map(str, done.mended.changes)]
    changes = [change.as_json() for change in done.mended.changes]
    made = bool(changes) and not done.known
    app.result(as_json(image, aliases) | {"changes": changes, "new": made, "notes": list(done.mended.notes)}, lines)


@command.command(short_help="Give an image a name, or take it away.")
@click.argument("name")
@click.argument("reference", required=False, shell_complete=image_names)
@click.option("--remove", "take_away", is_flag=True, help="Forget the alias NAME; the image stays.")
@yes_option
@click.pass_obj
def alias(app: App, name: str, reference: str | None, take_away: bool, yes: bool) -> None:
    """Let NAME (a word or publisher:offer:sku:version) mean the image REFERENCE."""
    store = store_of(app)
    if take_away == bool(reference):
        raise UsageError("give NAME and REFERENCE, or NAME and --remove")
    if reference is None:
        if name.lower() in map(str.lower, store.aliases()):
            command = f"aibemu images alias {shlex.quote(name)} --remove --yes"
            confirm_deletion(app, f"the alias {name}", (), yes=yes, command=command)
        store.remove_alias(name)
        app.result({"alias": name, "digest": None}, [f"{name} is forgotten"])
        return
    image = store.get(reference)
    store.set_alias(name, image.digest)
    app.result({"alias": name, "digest": image.digest}, [f"{name} is {image.short} ({image.info.os_name})"])


@command.command(short_help="Say what an image is, where its disk does not show it.")
@click.argument("reference", shell_complete=image_names)
@click.option("--os-type", type=click.Choice(["Linux", "Windows"]), help="What the disk holds.")
@click.option("--generation", type=click.Choice(["V1", "V2"]), help="Hyper-V generation: V1 boots BIOS, V2 UEFI.")
@click.option("--provisioning", type=_PROVISIONING, help=_PROVISIONING_HELP)
@click.option(
    "--security-type", type=click.Choice([TRUSTED_LAUNCH, STANDARD]), help="TrustedLaunch: Secure Boot and a TPM."
)
@click.option("--look", is_flag=True, help="Look at its disk again: an earlier aibemu may have read less of it.")
@click.pass_obj
def describe(
    app: App, reference: str, os_type: str | None, generation: str | None, provisioning: str | None,
    security_type: str | None, look: bool,
) -> None:  # fmt: skip
    """Change what is known of the image REFERENCE. Its bytes stay as they are."""
    from aibemu.images.importing import looked_again, overruled

    if not (os_type or generation or provisioning or security_type or look):
        raise UsageError("say what to change", hint="--os-type, --generation, --provisioning, --security-type, --look")
    store = store_of(app)
    image = store.get(reference)
    known = looked_again(image, store, no_deadline(app)) if look else image.info
    changed = overruled(
        known, os_type, Generation(generation) if generation else None,
        Provisioning(provisioning) if provisioning else None,
    )  # fmt: skip
    if security_type:
        changed = replace(changed, security="" if security_type == STANDARD else security_type)
    show_added(app, store, store.describe(image.digest, changed))


@command.command(short_help="Delete an image from the store.")
@click.argument("reference", shell_complete=image_names)
@click.option("--force", is_flag=True, help="Delete it although aliases or resources use it.")
@yes_option
@click.pass_obj
def remove(app: App, reference: str, force: bool, yes: bool) -> None:
    """Delete the image REFERENCE, unless something uses it.

    It asks before; where nobody can be asked it needs --yes.
    """
    store = store_of(app)
    image = store.get(reference)
    names = names_of(store.aliases(), image)
    resources = LocalCloud(app.home.cloud, app.clock).references(image.digest)
    if (names or resources) and not force:
        raise UsageError(
            f"image {image.short} is in use",
            details=[*(f"alias {name}" for name in names), *(f"resource {name}" for name in resources)],
            hint="delete it all the same with --force",
            commands=[f"aibemu images remove {image.short} --force"],
        )
    freed = image.on_disk
    used = [*(f"alias {name}" for name in names), *(f"resource {name}" for name in resources)]
    command = f"aibemu images remove {image.short}{' --force' if used else ''} --yes"
    what = f"image {image.short}, {image.info.os_name} ({in_mib(freed)})"
    confirm_deletion(app, what, [f"used by {name}" for name in used], yes=yes, command=command)
    store.remove(image.digest)
    lines = [f"removed {image.short} ({in_mib(freed)} freed)", *(f"forgotten: {name}" for name in names)]
    app.result({"digest": image.digest, "aliases": names, "freed": freed, "usedBy": resources}, lines)
