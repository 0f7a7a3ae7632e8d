"""Functions on text. Ends and places are compared without case; everything else minds it (as documented)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote, urljoin

from aibemu.arm.expressions.errors import ExpressionError
from aibemu.arm.expressions.values import Value
from aibemu.arm.functions.json_text import from_json, text_of
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.nodes import Node, NodeKind

# ARM refuses templates over 4 MB; no text in one is longer.
LONGEST = 4 * 1024 * 1024


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(text: str) -> str:
    """As .NET: white space in base64 is passed over, bytes that are no UTF-8 become U+FFFD."""
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        raise ExpressionError("this is not base64") from None


def _data_uri_to_string(text: str) -> str:
    head, separator, data = text.partition(",")
    if not separator or not head.casefold().startswith("data:"):
        raise ExpressionError("this is not a data URI", hint="one looks like data:text/plain;base64,SGVsbG8=")
    return _decoded(data) if head.casefold().endswith(";base64") else unquote(data)


def _bounded(length: int) -> None:
    if length > LONGEST:
        raise ExpressionError(f"the text would be {length} characters long")


def _pad_left(value: Node, width: int, pad: str = " ") -> str:
    if len(pad) != 1:
        raise ExpressionError("padLeft pads with one character")
    _bounded(width)
    return text_of(value).rjust(width, pad)


def _replace(text: str, old: str, new: str) -> str:
    if not old:
        raise ExpressionError("replace is given no text to look for")
    _bounded(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _join(items: Sequence[Node], delimiter: str) -> str:
    texts = [text_of(item) for item in items]
    _bounded(sum(map(len, texts)) + len(texts) * len(delimiter))
    return delimiter.join(texts)


def _split(text: str, delimiters: Node) -> list[str]:
    """By one delimiter, or by any of an array of them."""
    given = delimiters.items if delimiters.kind is NodeKind.ARRAY else (delimiters,)
    marks = [text_of(mark) for mark in given if text_of(mark)]
    return re.split("|".join(map(re.escape, marks)), text) if marks else [text]


def _substring(text: str, start: int, length: int | None = None) -> str:
    end = len(text) if length is None else start + length
    if not 0 <= start <= end <= len(text):
        wanted = f"{length} characters from place {start} on" if length is not None else f"place {start}"
        raise ExpressionError(f"substring: a text of {len(text)} characters has no {wanted}")
    return text[start:end]


def folded(text: str) -> str:
    """Without case, and as long as before: .NET compares character by character, `ß` is not `ss`."""
    if text.isascii():
        return text.lower()
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _caseless(test: Callable[[str, str], bool]) -> Callable[[str, str], bool]:
    """The test, whatever the case."""
    return lambda text, part: test(folded(text), folded(part))


def _uri(base: str, relative: str) -> str:
    """As documented: what follows the last slash of the base goes; for the rest (`..`, a query, a relative URI that is
    none) RFC 3986 holds. A slash on either side of the seam becomes one."""
    if relative.startswith("/") and not relative.startswith("//"):
        relative = relative[1:]
    if base.casefold().startswith(("http://", "https://")):
        try:
            return urljoin(base, relative)
        except ValueError as error:
            raise ExpressionError(f"uri: '{base}' and '{relative}' make no URI: {error}") from None
    _, separator, rest = base.partition("://")
    if separator and "/" not in rest:
        return f"{base}/{relative}"
    return f"{base[: base.rfind('/') + 1]}{relative}"


def _fail(message: str) -> Value:
    raise ExpressionError(message)


TABLE: tuple[Function, ...] = (
    fn("base64", "string", _encoded),
    fn("base64ToJson", "string", lambda text: from_json(_decoded(text)), whole=True),
    fn("base64ToString", "string", _decoded),
    fn("dataUri", "any", lambda value: f"data:text/plain;charset=utf8;base64,{_encoded(text_of(value))}"),
    fn("dataUriToString", "string", _data_uri_to_string),
    fn("endsWith", "string string", _caseless(str.endswith)),
    fn("fail", "string", _fail),
    fn("join", "array string", _join),
    fn("json", "string", from_json, whole=True),
    fn("padLeft", "string|int int [string]", _pad_left),
    fn("replace", "string string string", _replace),
    fn("split", "string string|array", _split),
    fn("startsWith", "string string", _caseless(str.startswith)),
    fn("string", "any", text_of),
    fn("substring", "string int [int]", _substring),
    fn("toLower", "string", str.lower),
    fn("toUpper", "string", str.upper),
    fn("trim", "string", str.strip),
    fn("uri", "string string", _uri),
    fn("uriComponent", "string", lambda text: quote(text, safe="")),
    fn("uriComponentToString", "string", unquote),
)
