"""Images that were fetched from Azure, as resources of the local cloud, so that templates which name them find them."""

from __future__ import annotations

from collections.abc import Sequence

from aibemu.cloud.documents import Replica
from aibemu.cloud.ids import IMAGE, IMAGE_VERSION, parse_id
from aibemu.cloud.local import LocalCloud
from aibemu.images import ImageInfo


def enter(
    cloud: LocalCloud, resource_id: str, *, digest: str, info: ImageInfo, region: str, regions: Sequence[str]
) -> bool:
    """Make the managed image, or the image version with gallery and definition, that has this id in Azure.

    region: where it is; regions: all that a version is in. False when the image is there already. Raises
    `DistributeFailed` when a version with this id has another image, or the definition is of another kind.
    """
    where = parse_id(resource_id)
    origin = {"fetched-from": "azure"}
    if where.kind == IMAGE:
        known = cloud.managed_image(resource_id)
        if known is None or known.digest != digest:
            cloud.put_managed_image(
                resource_id, location=region, digest=digest, info=info, tags=origin, source_id=resource_id
            )
        return known is None or known.digest != digest
    parse_id(resource_id, expected=IMAGE_VERSION)
    found = cloud.image_version(resource_id)
    if found is not None and found.digest == digest:
        return False
    cloud.ensure_definition(str(where.parent), location=region, info=info)
    replicas = [Replica(region=name) for name in dict.fromkeys((*regions, *([] if regions else [region])))]
    cloud.put_image_version(
        resource_id, digest=digest, info=info, tags=origin, replicas=replicas, source_id=resource_id
    )  # fmt: skip
    return True
