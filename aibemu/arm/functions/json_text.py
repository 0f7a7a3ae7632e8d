"""Values as text and text as values, the way string(), concat(), format() and json() do it.

ARM reads JSON with Newtonsoft's reader, which takes more than JSON: Microsoft's own example of base64ToJson is
`{'one': 'a', 'two': 'b'}`. So does this one: quotes of either kind, bare keys, comments, commas at the end.
"""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn

from aibemu.arm.expressions.errors import ExpressionError, Unknowable
from aibemu.arm.expressions.values import Value, has_unknown
from aibemu.arm.nodes import Node, NodeKind

# Atomic and possessive throughout: nothing in here may be tried in two ways, or odd text takes for ever.
_SKIP = r"(?>\s+|//[^\r\n]*+|/\*.*?\*/)*+"
_LOOSE = re.compile(
    rf"""(?P<double>"(?:[^"\\]|\\.)*+")|'(?P<single>(?:[^'\\]|\\.)*+)'|(?P<comment>//[^\r\n]*+|/\*.*?\*/)"""
    rf"""|(?P<comma>,(?={_SKIP}[}}\]]))|(?P<key>(?<![\w$])[A-Za-z_$][\w$]*+)(?={_SKIP}:)""",
    re.DOTALL,
)
_IN_SINGLE = re.compile(r"""\\'|\\.|\"""", re.DOTALL)


def text_of(node: Node) -> str:
    """A value as text: `True`, `12`, compact JSON of arrays and objects, nothing for null."""
    if has_unknown(node):
        raise Unknowable
    if node.kind in (NodeKind.ARRAY, NodeKind.OBJECT):
        return json.dumps(node.plain(), ensure_ascii=False, separators=(",", ":"))
    return "" if node.kind is NodeKind.NULL else str(node.value)


def from_json(text: str) -> Value:
    """The value of JSON text. Raises ExpressionError."""
    try:
        return _read(text)
    except (ValueError, RecursionError) as error:
        message = f"this is not JSON: {error}"
    try:
        return _read(_LOOSE.sub(_strict, text))
    except (ValueError, RecursionError):
        raise ExpressionError(message) from None


def _read(text: str) -> Value:
    # strict=False: line breaks and tabs may stand in a string.
    return json.loads(text, strict=False, parse_constant=_no_number, parse_float=_finite)


def _strict(match: re.Match[str]) -> str:
    """A piece of loose JSON as JSON has it."""
    if match["double"] is not None:
        return match["double"]
    if match["single"] is not None:
        return f'"{_IN_SINGLE.sub(_requoted, match["single"])}"'
    return f'"{match["key"]}"' if match["key"] else " "


def _requoted(match: re.Match[str]) -> str:
    return {"\\'": "'", '"': '\\"'}.get(match.group(), match.group())


def _finite(text: str) -> float:
    return number if math.isfinite(number := float(text)) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")
