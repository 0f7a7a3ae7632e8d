"""The values that the service fills in when a template leaves them out (facts: service 1.3)."""

from __future__ import annotations

from aibemu.template.model import Json
from aibemu.template.spec.shapes import Array, Map, Record, Shape, Union


def with_defaults(value: Json, shape: Shape, version: str) -> Json:
    """A copy of a valid plain value with the table's defaults of that API version in it, at every depth."""
    if isinstance(shape, Record) and isinstance(value, dict):
        return _record(value, shape, version)
    if isinstance(shape, Union) and isinstance(value, dict):
        tag = value.get(shape.discriminator)
        variant = next((v for v in shape.variants if v.tag == tag and v.era.covers(version)), None)
        return _record(value, variant.record, version) if variant else dict(value)
    if isinstance(shape, Array) and isinstance(value, list):
        return [with_defaults(item, shape.items, version) for item in value]
    if isinstance(shape, Map) and isinstance(value, dict):
        return {key: with_defaults(item, shape.values, version) for key, item in value.items()}
    return value


def _record(value: dict[str, Json], record: Record, version: str) -> Json:
    shapes = {entry.name: entry.shape for entry in record.fields}
    filled = {key: with_defaults(item, shapes[key], version) if key in shapes else item for key, item in value.items()}
    for entry in record.fields:
        if entry.default is not None and entry.name not in filled and entry.era.covers(version):
            filled[entry.name] = _copy(entry.default)
    return filled


def _copy(default: Json) -> Json:
    if isinstance(default, dict):
        return dict(default)
    return list(default) if isinstance(default, (list, tuple)) else default
