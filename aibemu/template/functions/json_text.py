"""Values as text and text as values, the way string(), concat(), format() and json() do it."""

from __future__ import annotations

import json
from typing import NoReturn

from aibemu.template.expressions.errors import ExpressionError, Unknowable
from aibemu.template.expressions.values import Value, has_unknown
from aibemu.template.nodes import Kind, Node


def text_of(node: Node) -> str:
    """A value as text: `True`, `12`, compact JSON of arrays and objects, nothing for null."""
    if has_unknown(node):
        raise Unknowable
    if node.kind in (Kind.ARRAY, Kind.OBJECT):
        return json.dumps(node.plain(), ensure_ascii=False, separators=(",", ":"))
    return "" if node.kind is Kind.NULL else str(node.value)


def from_json(text: str) -> Value:
    """The value of JSON text. Raises ExpressionError."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ExpressionError(f"this is not JSON: {error}") from None


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")
