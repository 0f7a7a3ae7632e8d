"""runOutputs: what came of each distribute target, in the service's JSON shape (facts: service 1.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aibemu.cloud.documents import SUCCEEDED
from aibemu.cloud.ids import TEMPLATE, parse_id

if TYPE_CHECKING:
    from aibemu.cloud.local import LocalCloud
    from aibemu.distributors import Artifact
    from aibemu.template.model import Target


def build_run_output(
    template_id: str, name: str, *, artifact_id: str | None = None, artifact_uri: str | None = None
) -> Mapping[str, Any]:
    """The resource `<template>/runOutputs/<name>`: artifactId for images, artifactUri for a VHD, never both."""
    if (artifact_id is None) == (artifact_uri is None):
        raise ValueError("a run output has an artifactId or an artifactUri")
    where = parse_id(template_id, expected=TEMPLATE, what="template id").child("runOutputs", name)
    artifact = {"artifactId": artifact_id} if artifact_id is not None else {"artifactUri": artifact_uri}
    return {
        "properties": artifact | {"provisioningState": SUCCEEDED},
        "id": where.as_service_writes(),
        "name": where.name,
        "type": where.type,
    }


def record_run_output(cloud: LocalCloud, template_id: str, artifact: Artifact, target: Target) -> Mapping[str, Any]:
    """Write the run output of a finished target over that of the run before; what was written.

    artifactTags are on the artifact itself, as in the service, not here.
    """
    document = build_run_output(
        template_id, target.run_output_name, artifact_id=artifact.artifact_id, artifact_uri=artifact.artifact_uri
    )
    cloud.put_run_output(template_id, target.run_output_name, document)
    return document
