"""From a template's source to a stored image, before anything starts; a miss says the exact command that gets it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.errors import HostNotReady, ImageMissing
from aibemu.images import BaseImage, Generation, ImageInfo, Provisioning, recipes
from aibemu.plan.model import ResolvedImage
from aibemu.systems import OTHER_SYSTEM, for_image, unsupported
from aibemu.template.model import ManagedImageSource, PlatformImage, SharedImageVersionSource, Source
from aibemu.template.publishers import System, system_of

if TYPE_CHECKING:
    from aibemu.cloud.documents import ImageVersion
    from aibemu.cloud.local import LocalCloud
    from aibemu.images.catalogue import Catalogue, Entry
    from aibemu.images.store import ImageStore

ResolvedSource = ResolvedImage
LATEST = "latest"


def resolve(
    source: Source,
    *,
    store: ImageStore,
    cloud: LocalCloud,
    catalogue: Catalogue,
    location: str | None = None,
    needed: bool = True,
    booted: bool = True,
) -> ResolvedSource:
    """Find the image that a template starts from.

    location: the template's region, for gallery versions (`latest` means the latest that is there); None: any region.
    exact_version is as the service reports it: x.y.z of a marketplace image, the full id of a gallery version, "" for a
    managed image (facts: service 1.2). Raises ImageMissing when it is not here, HostNotReady when it cannot be booted.
    needed: False in a dry run, which starts no machine: for an image that is not here, what is known without it.
    booted: whether the driver boots the image.
    """
    try:
        found = _find(source, store, cloud, catalogue, location)
    except ImageMissing as missing:
        if needed:
            raise
        return _not_here(source, catalogue, missing, booted=booted)
    return check_bootable(found, booted=booted)


def _find(
    source: Source, store: ImageStore, cloud: LocalCloud, catalogue: Catalogue, location: str | None
) -> ResolvedSource:
    """Whatever it is an image of."""
    match source:
        case PlatformImage():
            return _platform(source, store, catalogue)
        case ManagedImageSource():
            return _managed(source, store, cloud)
        case SharedImageVersionSource():
            return _shared(source, store, cloud, location)


def stored_versions(aliases: Mapping[str, str], offer: str) -> dict[str, str]:
    """version -> digest of every alias of `publisher:offer:sku`; an alias without a version counts as `latest`."""
    found = {}
    for alias, digest in aliases.items():
        parts = alias.split(":")
        if len(parts) in (3, 4) and ":".join(parts[:3]).lower() == offer.lower():
            found[parts[3] if len(parts) == 4 else LATEST] = digest
    return found


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts version texts by their numbers, as the service does: 1.10.0 after 1.9.0."""
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"[.]", version))


def _platform(source: PlatformImage, store: ImageStore, catalogue: Catalogue) -> ResolvedSource:
    offer = f"{source.publisher}:{source.offer}:{source.sku}"
    versions = stored_versions(store.aliases(), offer)
    notes: list[str] = []
    if source.version.lower() != LATEST:
        known = {version.lower(): version for version in versions if version.lower() != LATEST}
        exact = known.get(source.version.lower())
        if exact is None:
            raise _missing_version(source, offer, sorted(known.values(), key=version_key), catalogue)
        digest = versions[exact]
    else:
        numbers = [version for version in versions if version.lower() != LATEST]
        if not versions:
            raise _missing_offer(source, offer, catalogue)
        named = next((versions[version] for version in versions if version.lower() == LATEST), None)
        exact = max(numbers, key=version_key) if numbers else LATEST
        digest = versions[exact] if numbers else str(named)
        if not numbers:
            notes.append(f"{offer} has no version here, so exactVersion is `latest` too")
    image = store.as_offer(_stored(digest, f"{offer}:{exact}", store), offer)
    if (entry := catalogue.find(offer)) and entry.generation is not image.info.generation:
        notes.append(
            f"{offer} is Hyper-V generation {entry.generation} in Azure; the stored image is {image.info.generation}"
        )
    return ResolvedImage(
        image=image, exact_version=exact, source_id=f"{offer}:{exact}", plan=source.plan, notes=tuple(notes)
    )  # fmt: skip


def _managed(source: ManagedImageSource, store: ImageStore, cloud: LocalCloud) -> ResolvedSource:
    found = cloud.managed_image(source.image_id)
    if found is None:
        raise _missing_resource(
            "managed image", source.image_id, [image.id for image in cloud.managed_images()], source
        )
    return ResolvedImage(image=_stored(found.digest, found.id, store), exact_version="", source_id=found.id, plan=None)


def _shared(
    source: SharedImageVersionSource, store: ImageStore, cloud: LocalCloud, location: str | None
) -> ResolvedSource:
    definition, _, last = source.image_version_id.rstrip("/").rpartition("/versions/")
    found: ImageVersion | None
    if last.lower() != LATEST:
        found = cloud.image_version(source.image_version_id)
        if found and location and not found.replicated_to(location):
            raise ImageMissing(
                f"image version {found.id} is not replicated to {location}, the template's location",
                details=["it is in: " + ", ".join(replica.region for replica in found.replicas)],
                hint="add the region to the targetRegions of the template that makes it, or change this one's location",
                span=source.span,
            )
    elif location:
        found = cloud.latest_version(definition, location)
    else:
        fitting = [version for version in cloud.versions(definition) if not version.exclude_from_latest]
        found = fitting[-1] if fitting else None
    if found is None:
        there = [version.id for version in cloud.versions(definition)]
        raise _missing_resource("image version", source.image_version_id, there, source)
    image = _stored(found.digest, found.id, store)
    return ResolvedImage(
        image=image, exact_version=found.id, source_id=found.id, plan=None, security=cloud.security_type(definition)
    )  # fmt: skip


def _stored(digest: str, name: str, store: ImageStore) -> BaseImage:
    if image := store.find(digest):
        return image
    raise ImageMissing(
        f"{name} is known, but its image {digest[:12]} is gone from the store",
        hint="build or import it again",
        commands=["aibemu images list"],
    )


def check_bootable(found: ResolvedSource, *, booted: bool) -> ResolvedSource:
    """Refuse what cannot be booted here, and note what may go wrong."""
    image, info = found.image, found.image.info
    notes = list(found.notes)
    why, hint = unsupported(info.os_type, booted=booted), OTHER_SYSTEM
    if not why:
        system = for_image(info)
        why, hint = system.objection(info), system.remedy(info)
        notes.extend(system.doubts(image))
    if why:
        raise HostNotReady(
            f"{found.source_id} cannot be booted: {why}",
            details=[f"image {image.short}, {info.os_name}, {info.origin}"], hint=hint, commands=["aibemu images list"],
        )  # fmt: skip
    if not info.generalized:
        notes.append(f"{image.short} is not generalised: it still has accounts of its own")
    return replace(found, notes=tuple(notes), security=found.security or info.security)


def _not_here(source: Source, catalogue: Catalogue, missing: ImageMissing, *, booted: bool) -> ResolvedSource:
    """What is known of a source without its image: what the template says, and the catalogue of its offer."""
    name, exact, plan, entry = _name_of(source), "", None, None
    if isinstance(source, PlatformImage):
        plan, entry = source.plan, catalogue.find(name)
        exact = "" if source.version.lower() == LATEST else source.version
    os_type = entry.os_type if entry else _os_by_name(source)
    if why := unsupported(os_type, booted=booted):
        raise HostNotReady(f"{name} cannot be booted: {why}", hint=OTHER_SYSTEM)
    generation = entry.generation if entry else Generation.V1
    info = ImageInfo(
        os_type=os_type, os_name=entry.os_name if entry else "", generation=generation,
        provisioning=Provisioning.UNKNOWN, generalized=True, origin="",
    )  # fmt: skip
    unknown = ["its disk", *(["its generation"] if entry is None else []), *([] if exact else ["its exact version"])]
    note = f"{missing.message}: nothing is known here of {', '.join(unknown)}"
    image = BaseImage(digest="", path=Path(), virtual_size=0, file_size=0, created="", info=info)
    return ResolvedImage(image=image, exact_version=exact, source_id=name, plan=plan, notes=(note,), known=False)


def _os_by_name(source: Source) -> str:
    """What the name of an offer that the catalogue does not know says of its system."""
    named = system_of(source.publisher, source.offer) if isinstance(source, PlatformImage) else None
    return str(named or System.LINUX)


def _name_of(source: Source) -> str:
    if isinstance(source, PlatformImage):
        return source.urn
    return source.image_id if isinstance(source, ManagedImageSource) else source.image_version_id


def _missing_version(source: PlatformImage, offer: str, known: list[str], catalogue: Catalogue) -> ImageMissing:
    if not known:
        return _missing_offer(source, offer, catalogue)
    return ImageMissing(
        f"version {source.version} of {offer} is not in the store",
        details=[f"stored versions: {', '.join(known)}"],
        hint="ask for one of these, or for latest, or say which stored image stands in for it",
        commands=[f"aibemu images alias {shlex.quote(source.urn)} {shlex.quote(f'{offer}:{known[-1]}')}"],
        span=source.span,
    )


def _missing_offer(source: PlatformImage, offer: str, catalogue: Catalogue) -> ImageMissing:
    entry = catalogue.find(offer)
    recipe = recipes.for_offer(offer)
    commands = [f"aibemu images build {recipe.name}"] if recipe else []
    details = [f"`{commands[0]}` makes a stand-in from Debian packages"] if recipe else []
    if entry and entry.url:
        commands.append(f"aibemu images pull {shlex.quote(offer)}")
    commands.append(f"aibemu images pull {shlex.quote(source.urn)} --azure --resource-group NAME")
    commands.append(f"aibemu images import FILE --alias {shlex.quote(source.urn)}")
    return ImageMissing(
        f"the source image {source.urn} is not in the store",
        details=[*details, *_known(entry, offer, catalogue)],
        hint="get it with one of the commands below, then try again",
        commands=commands,
        span=source.span,
    )


def _known(entry: Entry | None, offer: str, catalogue: Catalogue) -> list[str]:
    if entry is None:
        near = catalogue.near(offer)
        return [f"the catalogue does not know {offer}" + (f"; similar: {', '.join(near)}" if near else "")]
    return [] if entry.url else [f"{entry.os_name}: {entry.note}"]


def _missing_resource(
    kind: str, wanted: str, there: list[str], source: ManagedImageSource | SharedImageVersionSource
) -> ImageMissing:
    return ImageMissing(
        f"there is no {kind} {wanted} in the local cloud",
        details=[f"there is: {name}" for name in there[:10]] or ["there is none yet"],
        hint="run the template that makes it first; if it is in Azure, the command below fetches it",
        commands=[f"aibemu images pull {shlex.quote(wanted)} --azure"],
        span=source.span,
    )
