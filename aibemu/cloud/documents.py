"""Resources of the local cloud as JSON documents in ARM's shapes, and what aibemu reads back from them.

What ARM has no field for (the digest of the stored image, when, from what) is under one extra key, `aibemu`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aibemu.cloud.ids import DEFINITION, IMAGE, IMAGE_VERSION, ResourceId, location_key, parse_id
from aibemu.cloud.versions import Version, parse_version
from aibemu.images import ImageInfo
from aibemu.records import flag_of, list_of, map_of, text_of, texts_of, whole_of
from aibemu.redact import Redactor

ResourceBody = dict[str, Any]
LOCAL = "aibemu"
CREATING = "Creating"
SUCCEEDED = "Succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A region that a version is in. region as written; storage_account_type e.g. `Standard_LRS`."""

    region: str
    count: int = 1
    storage_account_type: str = "Standard_LRS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedImage:
    """A managed image of the local cloud. digest names its bytes in the image store; source_id is the template's."""

    id: str
    digest: str
    location: str
    tags: Mapping[str, str]
    os_type: str
    generation: str
    source_id: str
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageVersion:
    """A finished gallery image version; replicas and exclude_from_latest decide where and whether it is `latest`."""

    id: str
    version: str
    digest: str
    location: str
    tags: Mapping[str, str]
    os_type: str
    generation: str
    replicas: tuple[Replica, ...]
    exclude_from_latest: bool
    source_id: str
    created: str

    @property
    def number(self) -> Version:
        return parse_version(self.version)

    def replicated_to(self, location: str) -> bool:
        """Whether it is in this region, however the region is spelt."""
        return location_key(location) in {location_key(replica.region) for replica in self.replicas}


def managed_image(
    where: ResourceId, *, location: str, digest: str, info: ImageInfo, tags: Mapping[str, str], source_id: str, now: str
) -> ResourceBody:
    """Microsoft.Compute/images."""
    disk = {"osType": info.os_type, "osState": "Generalized"}
    properties = {"storageProfile": {"osDisk": disk}, "hyperVGeneration": info.generation.value}
    local = {"digest": digest, "sourceId": source_id, "created": now, "osName": info.os_name, "origin": info.origin}
    return resource(where, properties, location=location, tags=tags, local=local)


def gallery(where: ResourceId, *, location: str, now: str) -> ResourceBody:
    """Microsoft.Compute/galleries, made on demand."""
    properties = {"identifier": {"uniqueName": f"{where.subscription}-{where.name}".upper()}}
    return resource(where, properties, location=location, local={"createdBy": "aibemu", "created": now})


def definition(where: ResourceId, *, location: str, info: ImageInfo, architecture: str, now: str) -> ResourceBody:
    """Microsoft.Compute/galleries/images, made on demand for the first image that comes."""
    properties = {
        "osType": info.os_type,
        "osState": "Generalized",
        "hyperVGeneration": info.generation.value,
        "architecture": architecture,
        "identifier": {"publisher": "aibemu", "offer": where.names[0], "sku": where.name},
    }
    return resource(where, properties, location=location, local={"createdBy": "aibemu", "created": now})


def image_version(
    where: ResourceId, *, location: str, digest: str, info: ImageInfo, tags: Mapping[str, str],
    replicas: Iterable[Replica], exclude_from_latest: bool, replication_mode: str, source_id: str, now: str,
) -> ResourceBody:  # fmt: skip
    """Microsoft.Compute/galleries/images/versions, replicated everywhere at once."""
    regions = [
        {"name": r.region, "regionalReplicaCount": r.count, "storageAccountType": r.storage_account_type}
        for r in replicas
    ]
    publishing = {
        "targetRegions": regions,
        "replicationMode": replication_mode,
        "excludeFromLatest": exclude_from_latest,
        "publishedDate": now,
    }
    properties = {"publishingProfile": publishing, "storageProfile": {"source": {"id": source_id}}}
    local = {
        "digest": digest, "sourceId": source_id, "created": now, "osType": info.os_type, "osName": info.os_name,
        "generation": info.generation.value, "origin": info.origin,
    }  # fmt: skip
    return resource(where, properties, location=location, tags=tags, local=local)


def resource(
    where: ResourceId, properties: Mapping[str, Any], *, location: str | None = None,
    tags: Mapping[str, str] | None = None, local: Mapping[str, Any] | None = None, state: str = SUCCEEDED,
) -> ResourceBody:  # fmt: skip
    """The envelope that all of ARM's resources share."""
    found: ResourceBody = {"id": str(where), "name": where.name, "type": where.type}
    if location is not None:
        found |= {"location": location_key(location), "tags": dict(tags or {})}
    found["properties"] = dict(properties) | {"provisioningState": state}
    return found | ({LOCAL: dict(local)} if local else {})


def checked(value: Any) -> ResourceBody:
    """A document that was read, if it has a shape of this module; else `SHAPE_ERRORS` or UsageError."""
    where = parse_id(text_of(value, "id"))
    properties = map_of(value, "properties")
    state = text_of(properties, "provisioningState")
    if where.name != text_of(value, "name") or where.type.lower() != text_of(value, "type").lower():
        raise ValueError("its name or type is not that of its id")
    if "location" in value:
        text_of(value, "location")
        texts_of(value, "tags")
    if LOCAL in value:
        map_of(value, LOCAL)
    if where.is_a(IMAGE):
        read_managed_image(value)
    elif where.is_a(IMAGE_VERSION):
        parse_version(where.name)
        if state == SUCCEEDED:
            read_image_version(value)
    elif where.is_a(DEFINITION):
        for name in ("hyperVGeneration", "osType", "architecture"):
            text_of(properties, name)
    found: ResourceBody = value
    return found


def masked(document: Mapping[str, Any], redactor: Redactor) -> ResourceBody:
    """The document without secrets in what people write freely. Ids, names and digests stay: others look for them."""
    clean = dict(document)
    if "tags" in clean:
        clean["tags"] = redactor.document(clean["tags"])
    properties = dict(clean.get("properties") or {})
    if properties.get("artifactUri"):
        clean["properties"] = properties | {"artifactUri": redactor(properties["artifactUri"])}
    return clean


def is_finished(document: Mapping[str, Any]) -> bool:
    return bool(document["properties"]["provisioningState"] == SUCCEEDED)


def read_managed_image(document: Mapping[str, Any]) -> ManagedImage:
    properties, local = document["properties"], document[LOCAL]
    return ManagedImage(
        id=document["id"], digest=text_of(local, "digest"), location=document["location"], tags=document["tags"],
        os_type=text_of(map_of(map_of(properties, "storageProfile"), "osDisk"), "osType"),
        generation=text_of(properties, "hyperVGeneration"), source_id=text_of(local, "sourceId"),
        created=text_of(local, "created"),
    )  # fmt: skip


def read_image_version(document: Mapping[str, Any]) -> ImageVersion:
    """The value in a gallery image version's document."""
    publishing, local = document["properties"]["publishingProfile"], document[LOCAL]
    return ImageVersion(
        id=document["id"], version=document["name"], digest=text_of(local, "digest"), location=document["location"],
        tags=document["tags"], os_type=text_of(local, "osType"), generation=text_of(local, "generation"),
        replicas=tuple(
            Replica(
                region=text_of(r, "name"), count=whole_of(r, "regionalReplicaCount"),
                storage_account_type=text_of(r, "storageAccountType"),
            )
            for r in list_of(publishing, "targetRegions")
        ),
        exclude_from_latest=flag_of(publishing, "excludeFromLatest"), source_id=text_of(local, "sourceId"),
        created=text_of(local, "created"),
    )  # fmt: skip
