"""Values as text and text as values, the way string(), concat(), format() and json() do it.

ARM reads JSON with Newtonsoft's reader, which takes more than JSON: Microsoft's own example of base64ToJson is
`{'one': 'a', 'two': 'b'}`. `loose_json` reads that; what is JSON is read by Python.
"""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn

from aibemu.arm.expressions.errors import ExpressionError, Unknowable
from aibemu.arm.expressions.values import Value, has_unknown
from aibemu.arm.functions.loose_json import NotJson, read
from aibemu.arm.functions.number_formats import double_text
from aibemu.arm.nodes import Node, NodeKind

# Python reads these as JSON does; Newtonsoft takes a line end in a string, a leading zero and more.
_LINE_ENDS = re.compile("[\u0085\u2028\u2029]")


def text_of(node: Node) -> str:
    """A value as text: `True`, `12`, compact JSON of arrays and objects, nothing for null."""
    if has_unknown(node):
        raise Unknowable
    if node.kind in (NodeKind.ARRAY, NodeKind.OBJECT):
        return _json(node)
    if isinstance(node.value, float):
        return double_text(node.value)
    return "" if node.kind is NodeKind.NULL else str(node.value)


def _json(node: Node) -> str:
    """Compact JSON, as Newtonsoft writes it."""
    if node.kind is NodeKind.ARRAY:
        return f"[{','.join(map(_json, node.items))}]"
    if node.kind is NodeKind.OBJECT:
        return f"{{{','.join(f'{_quoted(key)}:{_json(member.value)}' for key, member in node.members.items())}}}"
    if node.kind is NodeKind.STRING:
        return _quoted(str(node.value))
    if isinstance(node.value, float):
        text = double_text(node.value)
        return text if "E" in text else f"{text}.0" if text.lstrip("-").isdigit() else _number(text)
    return json.dumps(node.value)


def _number(text: str) -> str:
    return text if text[-1].isdigit() else f'"{text}"'


def _quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if quoted.isascii() else _LINE_ENDS.sub(lambda found: f"\\u{ord(found.group()):04x}", quoted)


def from_json(text: str, azure: str | None = None) -> Value:
    """The value of JSON text. Raises ExpressionError; azure: what Azure says then."""
    try:
        return _read(text)
    except (ValueError, RecursionError) as error:
        message = f"this is not JSON: {error}"
    try:
        return read(text)
    except (NotJson, RecursionError):
        raise ExpressionError(message, azure=azure) from None


def _read(text: str) -> Value:
    # strict=False: line breaks and tabs may stand in a string.
    return json.loads(text, strict=False, parse_constant=_no_number, parse_float=_finite)


def _finite(text: str) -> float:
    return number if math.isfinite(number := float(text)) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")
