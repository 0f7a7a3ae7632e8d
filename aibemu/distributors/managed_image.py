"""ManagedImage: the finished disk becomes a managed image of the local cloud; one of the same id is replaced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.cloud.ids import IMAGE, ResourceId, location_key, parse_id
from aibemu.distributors import Artifact, DistributorTools, FinishedImage
from aibemu.distributors.common import distributing, stored_image
from aibemu.errors import UsageError
from aibemu.template.model import Target


class ManagedImageDistributor:
    """Options: imageId, location (both required; facts: service 1.3)."""

    def check(self, target: Target, tools: DistributorTools) -> None:
        where, location = _image_id(target), _location(target)
        there = tools.cloud.managed_image(str(where))
        if there is not None and location_key(there.location) != location:
            raise UsageError(
                f"the image {where} is in {there.location} already, and a resource cannot be moved to {location}",
                hint=f"write \"location\": \"{there.location}\", or another imageId", span=target.span,
            )  # fmt: skip

    def writes_to(self, target: Target) -> str:
        return str(_image_id(target)).lower()

    def would(self, finished: FinishedImage, target: Target, tools: DistributorTools) -> Sequence[str]:
        where = _image_id(target)
        there = " (one is there, and is replaced)" if tools.cloud.managed_image(str(where)) else ""
        return [f"put a managed image into the local cloud, in {_location(target)}: {where}{there}"]

    def claims(self, target: Target, directory: Path, source_version: str) -> str | None:
        return str(_image_id(target))

    def distribute(
        self, finished: FinishedImage, target: Target, tools: DistributorTools, deadline: Deadline
    ) -> Artifact:
        with distributing(target):
            where, location = _image_id(target), _location(target)
            base = stored_image(finished, tools, deadline)
            image = tools.cloud.put_managed_image(
                str(where), location=location, digest=base.digest, info=finished.info, tags=target.artifact_tags,
                source_id=finished.template_id,
            )  # fmt: skip
        return Artifact(
            run_output_name=target.run_output_name, kind=target.kind, artifact_id=image.id, artifact_uri=None,
            paths=(base.path,), notes=_notes(location, finished.location),
        )  # fmt: skip


def _image_id(target: Target) -> ResourceId:
    return parse_id(str(target.options.get("imageId", "")), expected=IMAGE, what="imageId", span=target.span)


def _location(target: Target) -> str:
    if location := location_key(str(target.options.get("location", ""))):
        return location
    raise UsageError(
        f"ManagedImage output {target.run_output_name} has no location",
        hint="add the region of the image, e.g. \"location\": \"westeurope\"",
        span=target.span,
    )  # fmt: skip


def _notes(location: str, template_location: str) -> tuple[str, ...]:
    if location == location_key(template_location):
        return ()
    return (f"location {location} is not the template's {location_key(template_location)}: in Azure the copy is slow",)
