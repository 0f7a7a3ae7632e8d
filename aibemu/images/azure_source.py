"""What can be fetched from Azure by `images pull --azure`, and the commands of `az` that a disk is made by.

A disk gives access to its bytes; marketplace images, gallery versions and managed images do not. So a disk is made of
each, and deleted again. A managed image is no source of a disk: the snapshot or disk that it was made from is.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aibemu.errors import UsageError

_SUBSCRIPTION = r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers/Microsoft\.Compute"
_URN = re.compile(r"[^:/\s]+:[^:/\s]+:[^:/\s]+:[^:/\s]+")
_NAME = r"[^/\s]+"


class Kind(StrEnum):
    """What is fetched; the value is said to people."""

    MARKETPLACE = "marketplace image"
    GALLERY = "gallery image version"
    SHARED = "shared gallery image version"
    MANAGED = "managed image"
    SNAPSHOT = "snapshot"
    DISK = "disk"


_IDS = (
    (Kind.GALLERY, rf"{_SUBSCRIPTION}/galleries/{_NAME}/images/{_NAME}/versions/(?P<version>{_NAME})"),
    (Kind.MANAGED, rf"{_SUBSCRIPTION}/images/{_NAME}"),
    (Kind.SNAPSHOT, rf"{_SUBSCRIPTION}/snapshots/{_NAME}"),
    (Kind.DISK, rf"{_SUBSCRIPTION}/disks/{_NAME}"),
    (Kind.SHARED, rf"/(?:CommunityGalleries|SharedGalleries)/{_NAME}/Images/{_NAME}/Versions/(?P<version>{_NAME})"),
)
# How `az` is asked about what a disk is made of; of the others the name says all.
_SHOW: Mapping[Kind, tuple[str, ...]] = {
    Kind.GALLERY: ("sig", "image-version", "show"), Kind.MANAGED: ("image", "show"),
    Kind.SNAPSHOT: ("snapshot", "show"), Kind.DISK: ("disk", "show"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSource:
    """An image in Azure. subscription and group: those of its id, "" where it has none."""

    name: str
    kind: Kind
    subscription: str = ""
    group: str = ""

    @property
    def exact(self) -> bool:
        """Whether the name means the same bytes for ever."""
        versioned = self.kind in (Kind.MARKETPLACE, Kind.GALLERY, Kind.SHARED)
        return versioned and not re.search("[:/]latest$", self.name, re.IGNORECASE)

    @property
    def can_be_named(self) -> bool:
        """Whether a template names such an image by its id."""
        return self.kind in (Kind.GALLERY, Kind.MANAGED)

    @property
    def show(self) -> tuple[str, ...]:
        """The command that tells its region, and what it was made from; empty where nothing has to be asked."""
        words = _SHOW.get(self.kind)
        return ("az", *words, "--ids", self.name, "--output", "json") if words else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the disk is made. location "": that of the resource group."""

    subscription: str
    group: str
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryDisk:
    """A disk in Azure that is there for one download, and the commands about it, each a list of words for `az`."""

    name: str
    subscription: str
    group: str

    @classmethod
    def new(cls, place: Place) -> TemporaryDisk:
        return cls(name=f"aibemu-pull-{secrets.token_hex(4)}", subscription=place.subscription, group=place.group)

    def create(self, origin: tuple[str, str], location: str) -> tuple[str, ...]:
        """origin: an option of `az disk create` and its value. The cheapest kind of disk."""
        where = ("--location", location) if location else ()
        return self._words("create", *origin, *where, "--sku", "Standard_LRS", "--tags", "created-by=aibemu", *_JSON)

    def grant(self, seconds: int) -> tuple[str, ...]:
        return self._words("grant-access", "--access-level", "Read", "--duration-in-seconds", str(seconds), *_JSON)

    @property
    def revoke(self) -> tuple[str, ...]:
        return self._words("revoke-access")

    @property
    def delete(self) -> tuple[str, ...]:
        return self._words("delete", "--yes")

    def _words(self, verb: str, *more: str) -> tuple[str, ...]:
        place = ("--subscription", self.subscription, "--resource-group", self.group, "--name", self.name)
        return ("az", "disk", verb, *place, *more)

    def as_json(self) -> dict[str, str]:
        return {"name": self.name, "subscription": self.subscription, "group": self.group}


_JSON = ("--output", "json")
ACCOUNT = ("az", "account", "show", *_JSON)


def parse_source(text: str) -> AzureSource:
    """What a person typed: publisher:offer:sku:version or an id. UsageError for anything else."""
    if _URN.fullmatch(text):
        return AzureSource(name=text, kind=Kind.MARKETPLACE)
    for kind, pattern in _IDS:
        if match := re.fullmatch(pattern, text.rstrip("/"), re.IGNORECASE):
            found = match.groupdict()
            if (found.get("version") or "").lower() == "latest":
                raise UsageError(f"{text}: give the number of the version, for a disk is made of that one")
            return AzureSource(
                name=text.rstrip("/"), kind=kind, subscription=found.get("subscription") or "",
                group=found.get("group") or "",
            )  # fmt: skip
    raise UsageError(
        f"{text[:300]!r} names nothing that can be fetched from Azure",
        details=[
            "publisher:offer:sku:version of the marketplace, or the id of a managed image, an image version of a "
            "gallery, a snapshot or a disk"
        ],
        hint="a version may be `latest` for marketplace images alone",
    )


def origin_of(source: AzureSource, shown: Mapping[str, Any]) -> tuple[str, str]:
    """The option of `az disk create` that names what the disk is made from. shown: what `source.show` answered, or
    nothing for a look ahead. UsageError for a managed image whose origin is gone."""
    if source.kind is Kind.MARKETPLACE:
        return "--image-reference", source.name
    if source.kind in (Kind.GALLERY, Kind.SHARED):
        return "--gallery-image-reference", source.name
    if source.kind is not Kind.MANAGED:
        return "--source", source.name
    if not shown:
        return "--source", "SNAPSHOT_OR_DISK_OF_THE_IMAGE"
    disk = _map(_map(shown.get("storageProfile")).get("osDisk"))
    found = _map(disk.get("snapshot")).get("id") or _map(disk.get("managedDisk")).get("id") or disk.get("blobUri")
    if not found:
        raise UsageError(
            f"Azure does not say what the managed image {source.name} was made from, and makes no disk of it",
            hint="make an image version of it (az sig image-version create --managed-image ...), and pull that",
        )
    return "--source", str(found)


def exact_name(source: AzureSource, disk: Mapping[str, Any]) -> str:
    """The name with the version that Azure took for `latest`, by what `az disk create` answered."""
    if source.kind is not Kind.MARKETPLACE:
        return source.name
    reference = str(_map(_map(disk.get("creationData")).get("imageReference")).get("id") or "")
    found = re.search(r"/versions/([^/\s:]+)$", reference, re.IGNORECASE)
    return f"{source.name.rpartition(':')[0]}:{found[1]}" if found else source.name


def regions_of(shown: Mapping[str, Any]) -> tuple[str, ...]:
    """The regions that an image version of a gallery is in, by what `source.show` answered."""
    found = _map(shown.get("publishingProfile")).get("targetRegions")
    names = [_map(region).get("name") for region in found] if isinstance(found, list) else []
    return tuple(name for name in names if isinstance(name, str) and name)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
