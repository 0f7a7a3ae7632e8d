"""SharedImage: the finished disk becomes a version in a gallery of the local cloud.

Gallery and image definition are made on demand. The number is explicit in galleryImageId or chosen by the versioning
scheme (`aibemu.cloud.versions`), and reserved, so that two builds at once never take the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aibemu.clock import Deadline
from aibemu.cloud.documents import Replica
from aibemu.cloud.ids import DEFINITION, IMAGE_VERSION, ResourceId, parse_id
from aibemu.cloud.versions import Numbering, Scheme, VersionTaken, format_version, parse_version, scheme_of
from aibemu.distributors import Artifact, DistributorTools, FinishedImage
from aibemu.distributors.common import distributing, stored_image
from aibemu.errors import DistributeFailed, UsageError
from aibemu.images import BaseImage
from aibemu.template.model import Target


class SharedImageDistributor:
    """Options: galleryImageId, targetRegions or replicationRegions, storageAccountType, versioning,
    excludeFromLatest, replicationMode (facts: service 1.3)."""

    def check(self, target: Target, tools: DistributorTools) -> None:
        definition, explicit = _destination(target)
        if tools.source and tools.source.info:
            tools.cloud.check_definition(str(definition), tools.source.info)
        if explicit is None:
            _check_source_version(definition, target, tools)
            return
        if target.options.get("versioning") is not None:
            raise UsageError(
                f"SharedImage output {target.run_output_name} has both a version in galleryImageId and versioning",
                hint="drop versioning, or end galleryImageId with the image definition",
                span=target.span,
            )
        if tools.cloud.image_version(str(definition.child("versions", explicit))) is not None:
            raise UsageError(
                f"version {explicit} of {definition} exists already, and versions never change",
                hint="end galleryImageId with another number, or with the definition to have the next one chosen",
                span=target.span,
            )

    def writes_to(self, target: Target) -> str:
        # Numbers are taken in the template's order, or the next one might be another target's explicit one.
        return str(_destination(target)[0]).lower()

    def would(self, finished: FinishedImage, target: Target, tools: DistributorTools) -> Sequence[str]:
        definition, explicit = _destination(target)
        numbering = numbering_of(target, explicit, finished, tools.first_version)
        known = tools.cloud.definition(str(definition)) is not None
        taken = [parse_version(parse_id(one.id).name) for one in tools.cloud.versions(str(definition))] if known else []
        try:
            version = format_version(numbering.choose(taken, tools.clock.now()))
        except VersionTaken as error:
            return [f"fail: version {format_version(error.version)} of {definition} exists already"]
        how = "" if explicit else f" (the number of scheme {numbering.scheme.value}, as things are now)"
        replicas = ", ".join(
            f"{one.region} ({one.count}, {one.storage_account_type})" for one in replicas_of(target, finished.location)
        )
        return [
            *([] if known else [f"make the image definition {definition} on demand"]),
            f"put version {version}{how} into the local cloud: {definition.child('versions', version)}",
            f"note replicas: {replicas}",
        ]

    def claims(self, target: Target, directory: Path, source_version: str) -> str | None:
        definition, explicit = _destination(target)
        if explicit is None and scheme_of(target.options.get("versioning"), "")[0] is Scheme.SOURCE:
            explicit = source_version
        return str(definition.child("versions", explicit)) if explicit else None

    def distribute(
        self, finished: FinishedImage, target: Target, tools: DistributorTools, deadline: Deadline
    ) -> Artifact:
        cloud = tools.cloud
        with distributing(target):
            definition, explicit = _destination(target)
            numbering = numbering_of(target, explicit, finished, tools.first_version)
            replicas = replicas_of(target, finished.location)
            made = cloud.ensure_definition(str(definition), location=finished.location, info=finished.info)
            first = not made and not cloud.versions(str(definition))
            base = stored_image(finished, tools, deadline)
            version_id = _reserve(definition, numbering, tools)
            try:
                deadline.check()
                _put(version_id, base, replicas, finished, target, tools)
            except BaseException:
                cloud.release_version(version_id)
                raise
        return Artifact(
            run_output_name=target.run_output_name, kind=target.kind, artifact_id=version_id, artifact_uri=None,
            paths=(base.path,), notes=_notes(definition, numbering, made, made or first),
        )  # fmt: skip


def numbering_of(target: Target, explicit: str | None, finished: FinishedImage, first: str) -> Numbering:
    """How this target numbers its version (facts: service 6); `DistributeFailed` for Source without a version."""
    if explicit is not None:
        return Numbering(scheme=Scheme.EXPLICIT, wanted=parse_version(explicit, span=target.span))
    scheme, major = scheme_of(target.options.get("versioning"), finished.api_version)
    if scheme is not Scheme.SOURCE:
        return Numbering(scheme=scheme, major=major, first=parse_version(first))
    if not finished.source_version:
        raise DistributeFailed(
            "versioning scheme Source needs a source image with a version",
            hint="use scheme Latest; a managed image has no version",
            span=target.span,
        )
    # A gallery source reports its exact version as a whole id.
    number = finished.source_version.rsplit("/", 1)[-1]
    return Numbering(scheme=scheme, wanted=parse_version(number, span=target.span))


def _check_source_version(definition: ResourceId, target: Target, tools: DistributorTools) -> None:
    """The scheme Source has one number to give, and it is known before the build."""
    scheme, _ = scheme_of(target.options.get("versioning"), "")
    if scheme is not Scheme.SOURCE or not tools.source or not tools.source.version:
        return
    number = format_version(parse_version(tools.source.version.rsplit("/", 1)[-1], span=target.span))
    if tools.cloud.image_version(str(definition.child("versions", number))) is not None:
        raise UsageError(
            f"version {number} of {definition} exists already: the source image has that number, and versioning Source "
            "takes it over",
            hint="use versioning scheme Latest to have the next number chosen",
            span=target.span,
        )


def replicas_of(target: Target, default_region: str) -> tuple[Replica, ...]:
    """targetRegions, else replicationRegions with one replica each, else the template's own region."""
    options = target.options
    if regions := options.get("targetRegions"):
        return tuple(_target_region(region) for region in regions)
    kind = str(options.get("storageAccountType") or "Standard_LRS")
    names = options.get("replicationRegions") or [default_region]
    return tuple(Replica(region=str(name), storage_account_type=kind) for name in names)


def _target_region(region: dict[str, Any]) -> Replica:
    count = region.get("replicaCount")
    return Replica(
        region=str(region["name"]),
        count=1 if count is None else int(count),
        storage_account_type=str(region.get("storageAccountType") or "Standard_LRS"),
    )


def _destination(target: Target) -> tuple[ResourceId, str | None]:
    """(image definition, explicit version or None), the version normalised."""
    text = str(target.options.get("galleryImageId", ""))
    found = parse_id(text, what="galleryImageId", span=target.span)
    if found.is_a(IMAGE_VERSION):
        return found.parent, format_version(parse_version(found.name, span=target.span))
    return parse_id(text, expected=DEFINITION, what="galleryImageId", span=target.span), None


def _reserve(definition: ResourceId, numbering: Numbering, tools: DistributorTools) -> str:
    try:
        version = tools.cloud.reserve_version(
            str(definition), lambda existing: numbering.choose(existing, tools.clock.now())
        )
    except VersionTaken as taken:
        reason = (
            "the source image has that number" if numbering.scheme is Scheme.SOURCE else "galleryImageId ends with it"
        )
        raise DistributeFailed(
            f"version {format_version(taken.version)} of {definition} exists already, and versions never change",
            details=[reason],
            hint="use versioning scheme Latest to have the next number chosen",
        ) from taken
    return str(definition.child("versions", version))


def _put(
    version_id: str,
    base: BaseImage,
    replicas: tuple[Replica, ...],
    finished: FinishedImage,
    target: Target,
    tools: DistributorTools,
) -> None:
    tools.cloud.put_image_version(
        version_id, digest=base.digest, info=finished.info, tags=target.artifact_tags, replicas=replicas,
        source_id=finished.template_id, exclude_from_latest=bool(target.options.get("excludeFromLatest", False)),
        replication_mode=str(target.options.get("replicationMode") or "Full"),
    )  # fmt: skip


def _notes(definition: ResourceId, numbering: Numbering, made: bool, first: bool) -> tuple[str, ...]:
    notes = []
    if made:
        notes.append(f"image definition {definition} was made on demand; in Azure it must exist before the build")
    if first and numbering.wanted is None and numbering.scheme is Scheme.LATEST:
        notes.append("the number that Azure gives the first version of a definition is not published; this is a guess")
    return tuple(notes)
