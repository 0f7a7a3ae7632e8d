"""The local cloud: one JSON document per resource, in a folder per resource id. There is no server and no index.

Writing is atomic and read-modify-write happens under one lock, so two builds at once are safe; reading needs no lock.
A version number is taken before its image is written: the reservation is a document in state Creating whose lock is
held by the process, so that the kernel frees the numbers of a process that died.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from aibemu.clock import Clock
from aibemu.cloud import documents
from aibemu.cloud.documents import CREATING, LOCAL, ImageVersion, ManagedImage, Replica, ResourceBody
from aibemu.cloud.ids import DEFINITION, GROUP, IMAGE, IMAGE_VERSION, TEMPLATE, ResourceId, ResourceType, parse_id
from aibemu.cloud.versions import Version, format_version, parse_version
from aibemu.errors import DistributeFailed, NotFoundError, UsageError
from aibemu.files import FileLock, remove, write_json
from aibemu.images import ImageInfo
from aibemu.records import read_record, read_records
from aibemu.redact import Redactor

Chooser = Callable[[Sequence[Version]], Version]

_DOCUMENT = "resource.json"
_RESERVED = ".reserved"


class LocalCloud:
    """What is in the cloud under `root`. Ids are ARM ids as text; a malformed one raises `UsageError`."""

    def __init__(self, root: Path, clock: Clock, redactor: Redactor | None = None) -> None:
        """redactor: for what a template says that no id is made of: tags, and where a VHD went."""
        self.root = root
        self._clock = clock
        self._redactor = redactor or Redactor()
        self._reserved: dict[ResourceId, FileLock] = {}

    def check(self) -> None:
        """Read every document, so that what is damaged is set aside now, and not when a build is over."""
        for path in sorted(self.root.rglob(_DOCUMENT)):
            _read_document(path)

    # Managed images

    def put_managed_image(
        self, resource_id: str, *, location: str, digest: str, info: ImageInfo, tags: Mapping[str, str], source_id: str
    ) -> ManagedImage:
        """Create a managed image, or replace the one of that id."""
        where = parse_id(resource_id, expected=IMAGE, what="imageId")
        document = documents.managed_image(
            where, location=location, digest=digest, info=info, tags=tags, source_id=source_id, now=self._now()
        )
        with self._lock():
            self._write(where, document)
        return documents.read_managed_image(document)

    def managed_image(self, resource_id: str) -> ManagedImage | None:
        document = self._read(parse_id(resource_id, expected=IMAGE, what="imageId"))
        return documents.read_managed_image(document) if document else None

    def managed_images(self) -> list[ManagedImage]:
        return [documents.read_managed_image(document) for document in self._all(IMAGE)]

    # Galleries

    def ensure_definition(
        self, definition_id: str, *, location: str, info: ImageInfo, architecture: str = "x64"
    ) -> bool:
        """Make gallery and image definition if they are missing (True); an existing definition must fit the image.

        Raises `DistributeFailed` for another Hyper-V generation, OS or architecture.
        """
        where = parse_id(definition_id, expected=DEFINITION, what="galleryImageId")
        with self._lock():
            if (existing := self._read(where)) is not None:
                _check_fit(existing, info, architecture)
                return False
            now = self._now()
            if self._read(where.parent) is None:
                self._write(where.parent, documents.gallery(where.parent, location=location, now=now))
            self._write(
                where, documents.definition(where, location=location, info=info, architecture=architecture, now=now)
            )
            return True

    def check_definition(self, definition_id: str, info: ImageInfo, architecture: str = "x64") -> None:
        """`UsageError` when an image of this kind cannot go into a definition that is there: since 2024 the service
        refuses the template itself (facts: service, corrections)."""
        existing = self._read(parse_id(definition_id, expected=DEFINITION, what="galleryImageId"))
        if existing is not None and (wrong := _differences(existing, info, architecture)):
            raise UsageError(
                f"the image does not fit the image definition {existing['id']}: {'; '.join(wrong)}",
                hint="distribute to a definition with the same generation and OS as the source image",
            )

    def security_type(self, definition_id: str) -> str:
        """What the image definition has as its feature SecurityType; "" for none."""
        properties = (self.definition(definition_id) or {}).get("properties") or {}
        features = properties.get("features") if isinstance(properties, dict) else None
        for feature in features if isinstance(features, list) else ():
            if isinstance(feature, dict) and str(feature.get("name")).lower() == "securitytype":
                return str(feature.get("value") or "")
        return ""

    def definition(self, definition_id: str) -> ResourceBody | None:
        """The image definition in ARM's shape."""
        return self._read(parse_id(definition_id, expected=DEFINITION, what="galleryImageId"))

    def reserve_version(self, definition_id: str, chooser: Chooser) -> str:
        """Take the number that `chooser` picks, given every number in use; `x.y.z`. No other build gets the same one.

        The reservation ends with `put_image_version`, `release_version` or the process. What `chooser` raises goes up.
        """
        definition = parse_id(definition_id, expected=DEFINITION, what="galleryImageId")
        with self._lock():
            if self._read(definition) is None:
                raise NotFoundError(f"there is no image definition {definition}")
            version = format_version(chooser(sorted(self._numbers(definition))))
            where = definition.child("versions", version)
            holder = FileLock(self._folder(where) / _RESERVED)
            if self._read(where) is not None or not holder.acquire(blocking=False):
                raise DistributeFailed(f"image version {where} exists already")
            try:
                self._write(where, documents.resource(where, {}, location="", state=CREATING))
            except BaseException:
                holder.release()
                raise
            self._reserved[where] = holder
        return version

    def release_version(self, version_id: str) -> None:
        """Give a reserved number back, when its image could not be written; no effect on a finished version."""
        where = parse_id(version_id, expected=IMAGE_VERSION, what="image version id")
        if (holder := self._reserved.pop(where, None)) is not None:
            with self._lock():
                remove(self._folder(where))
            holder.release()

    def put_image_version(
        self, version_id: str, *, digest: str, info: ImageInfo, tags: Mapping[str, str], replicas: Iterable[Replica],
        source_id: str, exclude_from_latest: bool = False, replication_mode: str = "Full",
    ) -> ImageVersion:  # fmt: skip
        """Write a finished version, reserved before or free; versions never change, so `DistributeFailed` otherwise."""
        where = parse_id(version_id, expected=IMAGE_VERSION, what="image version id")
        parse_version(where.name)
        with self._lock():
            definition = self._read(where.parent)
            if definition is None:
                raise NotFoundError(f"there is no image definition {where.parent}")
            if where not in self._reserved and self._read(where) is not None:
                raise DistributeFailed(f"image version {where} exists already", hint="give it another number")
            document = documents.image_version(
                where, location=definition["location"], digest=digest, info=info, tags=tags, replicas=replicas,
                exclude_from_latest=exclude_from_latest, replication_mode=replication_mode, source_id=source_id,
                now=self._now(),
            )  # fmt: skip
            self._write(where, document)
            if (holder := self._reserved.pop(where, None)) is not None:
                holder.path.unlink(missing_ok=True)
                holder.release()
        return documents.read_image_version(document)

    def image_version(self, version_id: str) -> ImageVersion | None:
        """The finished version of that id; one that is only reserved does not count."""
        document = self._read(parse_id(version_id, expected=IMAGE_VERSION, what="image version id"))
        return documents.read_image_version(document) if document and documents.is_finished(document) else None

    def versions(self, definition_id: str) -> list[ImageVersion]:
        """The finished versions of a definition, lowest number first."""
        where = parse_id(definition_id, expected=DEFINITION, what="galleryImageId")
        found = [documents.read_image_version(d) for d in self._children(where, "versions") if documents.is_finished(d)]
        return sorted(found, key=lambda version: version.number)

    def latest_version(self, definition_id: str, location: str) -> ImageVersion | None:
        """What `latest` means in a region: the numerically highest version there that is not excluded from latest."""
        fitting = [v for v in self.versions(definition_id) if v.replicated_to(location) and not v.exclude_from_latest]
        return fitting[-1] if fitting else None

    # Everything that has bytes in the store

    def references(self, digest: str) -> list[str]:
        """Ids of the resources that use a stored image."""
        found = [*self._all(IMAGE), *self._all(IMAGE_VERSION)]
        return sorted(d["id"] for d in found if d.get(LOCAL, {}).get("digest") == digest)

    def remove(self, resource_id: str) -> bool:
        """Delete a resource and what is below it; False if there was none."""
        where = parse_id(resource_id)
        with self._lock():
            existed = self._read(where) is not None
            remove(self._folder(where))
        return existed

    # Run outputs

    def put_run_output(self, template_id: str, name: str, document: Mapping[str, object]) -> None:
        """Record the result of a target; replaces the record of the run before (facts: service 2)."""
        where = parse_id(template_id, expected=TEMPLATE, what="template id").child("runOutputs", name)
        with self._lock():
            self._write(where, dict(document))

    def run_output(self, template_id: str, name: str) -> ResourceBody | None:
        return self._read(parse_id(template_id, expected=TEMPLATE, what="template id").child("runOutputs", name))

    def run_outputs(self, template_id: str) -> list[ResourceBody]:
        """All run outputs of a template, by name."""
        return list(self._children(parse_id(template_id, expected=TEMPLATE, what="template id"), "runOutputs"))

    def keep_run_outputs(self, template_id: str, names: Collection[str]) -> None:
        """Forget run outputs of targets that the template no longer has."""
        where = parse_id(template_id, expected=TEMPLATE, what="template id")
        kept = {name.lower() for name in names}
        with self._lock():
            for document in list(self._children(where, "runOutputs")):
                if document["name"].lower() not in kept:
                    remove(self._folder(where.child("runOutputs", document["name"])))

    # Staging resource groups

    def put_staging_group(self, group_id: str, *, location: str, tags: Mapping[str, str]) -> ResourceBody:
        """Record a staging resource group (`ids.staging_group_id`) with its tags; replaces an earlier record."""
        where = parse_id(group_id, expected=GROUP, what="stagingResourceGroup")
        document = documents.resource(where, {}, location=location, tags=tags, local={"created": self._now()})
        with self._lock():
            self._write(where, document)
        return document

    def staging_group(self, name: str) -> ResourceBody | None:
        """A staging group by ARM id, or by its name in any subscription."""
        if name.startswith("/"):
            return self._read(parse_id(name, expected=GROUP, what="stagingResourceGroup"))
        return next((group for group in self._all(GROUP) if group["name"].lower() == name.lower()), None)

    # Documents on disk

    def _now(self) -> str:
        return self._clock.now().isoformat().replace("+00:00", "Z")

    def _lock(self) -> FileLock:
        return FileLock(self.root / ".lock")

    def _folder(self, where: ResourceId) -> Path:
        return self.root.joinpath(*where.path_parts())

    def _write(self, where: ResourceId, document: Mapping[str, object]) -> None:
        write_json(self._folder(where) / _DOCUMENT, documents.masked(document, self._redactor))

    def _read(self, where: ResourceId) -> ResourceBody | None:
        return _read_document(self._folder(where) / _DOCUMENT)

    def _children(self, where: ResourceId, kind: str) -> Iterator[ResourceBody]:
        return _read_all(self._folder(where), f"{kind.lower()}/*/{_DOCUMENT}")

    def _all(self, kind: ResourceType) -> Iterator[ResourceBody]:
        provider, types = kind
        tail = f"providers/{provider.lower()}/" + "".join(f"{word.lower()}/*/" for word in types) if provider else ""
        return _read_all(self.root, f"subscriptions/*/resourcegroups/*/{tail}{_DOCUMENT}")

    def _numbers(self, definition: ResourceId) -> Iterator[Version]:
        """Every number in use; drops reservations of processes that are gone. Call under the lock."""
        for document in self._children(definition, "versions"):
            where = parse_id(document["id"])
            if not documents.is_finished(document) and where not in self._reserved:
                holder = FileLock(self._folder(where) / _RESERVED)
                if _nobody_holds(holder):
                    remove(self._folder(where))
                    holder.release()
                    continue
            yield parse_version(document["name"])


def _nobody_holds(holder: FileLock) -> bool:
    """True once it is held by this process. One that cannot be opened, another user's, may well be held."""
    try:
        return holder.acquire(blocking=False)
    except OSError:
        return False


def _read_all(folder: Path, pattern: str) -> Iterator[ResourceBody]:
    for path in sorted(folder.glob(pattern)):
        if (document := _read_document(path)) is not None:
            yield document


def _read_document(path: Path) -> ResourceBody | None:
    """The document; None if there is none. A damaged one is set aside: then there is none either."""
    found = read_records([path], lambda path: read_record(path, documents.checked))
    return found[0] if found else None


def _check_fit(definition: ResourceBody, info: ImageInfo, architecture: str) -> None:
    if wrong := _differences(definition, info, architecture):
        raise DistributeFailed(
            f"the image does not fit the image definition {definition['id']}",
            details=wrong,
            hint="distribute to a definition with the same generation and OS as the source image",
        )


def _differences(definition: ResourceBody, info: ImageInfo, architecture: str) -> list[str]:
    """What an image and a definition do not have in common, a text for each."""
    properties = definition["properties"]
    wanted = {"hyperVGeneration": info.generation.value, "osType": info.os_type, "architecture": architecture}
    return [
        f"{key}: image {mine}, definition {properties[key]}" for key, mine in wanted.items() if properties[key] != mine
    ]
