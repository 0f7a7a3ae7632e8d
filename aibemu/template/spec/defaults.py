"""What the service fills in: the values it works with (`with_defaults`), and the body it shows (`as_read`)."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

from aibemu.arm.nodes import Json
from aibemu.template.spec.shapes import Array, Map, Record, Shape, Union


def with_defaults(value: Json, shape: Shape, version: str) -> Json:
    """A copy of a valid plain value with the table's defaults of that API version in it, at every depth."""
    if isinstance(shape, Record) and isinstance(value, dict):
        return _record(value, shape, version)
    if isinstance(shape, Union) and isinstance(value, dict):
        variant = shape.variant(value.get(shape.discriminator), version)
        return _record(value, variant.record, version) if variant else dict(value)
    if isinstance(shape, Array) and isinstance(value, list):
        return [with_defaults(item, shape.items, version) for item in value]
    if isinstance(shape, Map) and isinstance(value, dict):
        return {key: with_defaults(item, shape.values, version) for key, item in value.items()}
    return value


def _record(value: Mapping[str, Json], record: Record, version: str) -> Json:
    fields = {entry.name: entry for entry in record.living(version)}
    filled = {
        key: with_defaults(item, fields[key].shape, version) if key in fields else item for key, item in value.items()
    }
    for name, entry in fields.items():
        if entry.default is not None and name not in filled:
            filled[name] = deepcopy(entry.default)
    return filled


# What a GET shows though the template leaves it out (facts: service 1.6, all of it seen in recordings). The 201 of a
# customizer without checksum has none either, so the other defaults of the table are not shown.
_SHOWN: Mapping[str, Mapping[str, Json]] = {
    "ImageTemplateProperties": {
        "buildTimeoutInMinutes": 0, "vmProfile": {}, "stagingResourceGroup": "", "exactStagingResourceGroup": "",
    },
    "ImageTemplateVmProfile": {"vmSize": "", "osDiskSizeGB": 0},
    "ImageTemplateManagedImageDistributor": {"artifactTags": {}},
    "ImageTemplateVhdDistributor": {"artifactTags": {}},
    "ImageTemplateSharedImageDistributor": {"artifactTags": {}, "excludeFromLatest": False, "versioning": None},
}  # fmt: skip

# The order of keys, as recorded; what is newer than the recordings (from autoRun on) is inferred to come last.
_ORDER: Mapping[str, tuple[str, ...]] = {
    "ImageTemplate": ("properties", "identity", "tags", "location", "id", "name", "type"),
    "ImageTemplateProperties": (
        "source", "customize", "optimize", "validate", "distribute", "errorHandling", "provisioningState",
        "provisioningError", "lastRunStatus", "buildTimeoutInMinutes", "vmProfile", "stagingResourceGroup",
        "exactStagingResourceGroup", "autoRun", "managedResourceTags", "additionalDataDisks",
    ),
}  # fmt: skip


def as_read(value: Json, shape: Shape, version: str) -> Json:
    """A valid plain value, such as a whole resource, as a GET shows it (facts: service 1.6, response body layout).

    Key order and materialised defaults are those of recordings. Objects with a discriminator have their keys sorted,
    others have them in the order of the table (inferred). A null is the same as no field. What only the service knows
    (id, states) is kept, not made up.
    """
    if isinstance(shape, Record) and isinstance(value, dict):
        return _shown(value, shape, version)
    if isinstance(shape, Union) and isinstance(value, dict):
        variant = shape.variant(value.get(shape.discriminator), version)
        return dict(sorted((_shown(value, variant.record, version) if variant else value).items()))
    if isinstance(shape, Array) and isinstance(value, list):
        return [as_read(item, shape.items, version) for item in value]
    if isinstance(shape, Map) and isinstance(value, dict):
        return {key: as_read(item, shape.values, version) for key, item in value.items()}
    return deepcopy(value)


def _shown(value: Mapping[str, Json], record: Record, version: str) -> dict[str, Json]:
    fields = {entry.name: entry for entry in record.living(version)}
    shown = {name: deepcopy(default) for name, default in _SHOWN.get(record.name, {}).items() if name in fields}
    full = {
        key: deepcopy(item) if key not in fields or fields[key].read_only else as_read(item, fields[key].shape, version)
        for key, item in {**shown, **{k: v for k, v in value.items() if v is not None}}.items()
    }
    order = _ORDER.get(record.name, tuple(fields))
    return {key: full[key] for key in (*order, *full) if key in full}
