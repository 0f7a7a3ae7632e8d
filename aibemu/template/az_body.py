"""What `az image builder create` does with the body of a template: it sends the fields of its own api version alone."""

from __future__ import annotations

from collections.abc import Iterator

from aibemu.arm.findings import Findings, listed
from aibemu.arm.nodes import Member, Node, NodeKind
from aibemu.template.spec import IMAGE_TEMPLATE, NEWEST, Array, Record, Shape, Union
from aibemu.template.spec.versions import V2023_07

# Of the SDK that azure-cli has; az takes no other.
AZ_VERSION = V2023_07


def note_dropped(body: Node, findings: Findings) -> None:
    """One note for all fields of a body that az leaves out without a word."""
    if dropped := list(_newer(body, IMAGE_TEMPLATE)):
        names = listed(dict.fromkeys(member.key for member in dropped), "and")
        message = f"`az image builder create` sends api version {AZ_VERSION}, and drops what came later: {names}"
        hint = "send the body with `az rest`, or deploy it in a template"
        findings.note("W05", dropped[0].key_span, message, path=IMAGE_TEMPLATE.name, hint=hint)


def _newer(node: Node, shape: Shape) -> Iterator[Member]:
    """The fields that az's version does not have; nothing of what is in them."""
    if isinstance(shape, Array):
        for item in node.items:
            yield from _newer(item, shape.items)
    elif isinstance(shape, Union):
        tag = node.find(shape.discriminator) if node.kind is NodeKind.OBJECT else None
        if tag is not None and (variant := shape.variant(tag.value, NEWEST)):
            yield from _newer(node, variant.record)
    elif isinstance(shape, Record) and node.kind is NodeKind.OBJECT:
        for key, member in node.members.items():
            field = shape.field(key, NEWEST)
            if field is None or field.read_only or member.value.kind is NodeKind.NULL:
                continue
            if field.era.since > AZ_VERSION:
                yield member
            else:
                yield from _newer(member.value, field.shape)
