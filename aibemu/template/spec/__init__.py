"""The schema of an image template, for every API version, as data.

`shapes` says what a schema is made of; `table`, `build`, `steps` and `distributors` hold the one for imageTemplates.
The validator (`aibemu.template.validator`), `defaults` (what the service fills in) and `json_schema` (for editors)
only walk it.
"""

from __future__ import annotations

from aibemu.template.spec.defaults import as_read, with_defaults
from aibemu.template.spec.shapes import (
    Array,
    Boolean,
    Era,
    Field,
    Integer,
    Map,
    Record,
    Refusal,
    Shape,
    Text,
    Union,
    Variant,
)
from aibemu.template.spec.table import IMAGE_TEMPLATE
from aibemu.template.spec.versions import NEWEST, OLDEST_ACCEPTED, STRICT_SINCE, VERSIONS

__all__ = [
    "IMAGE_TEMPLATE",
    "NEWEST",
    "OLDEST_ACCEPTED",
    "STRICT_SINCE",
    "VERSIONS",
    "Array",
    "Boolean",
    "Era",
    "Field",
    "Integer",
    "Map",
    "Record",
    "Refusal",
    "Shape",
    "Text",
    "Union",
    "Variant",
    "as_read",
    "with_defaults",
]
