"""Functions on text. Ends and places are compared by culture, without case; everything else minds it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from urllib.parse import unquote_plus

from aibemu.arm.expressions.errors import CALLED, ExpressionError, Unknowable
from aibemu.arm.expressions.values import Value, azure_type, described
from aibemu.arm.functions import collation, units
from aibemu.arm.functions.json_text import from_json, text_of
from aibemu.arm.functions.signature import Function, all_of, fn
from aibemu.arm.nodes import Node, NodeKind

# ARM refuses templates over 4 MB; no text in one is longer.
LONGEST = 4 * 1024 * 1024
WIDEST = 16  # of what padLeft makes: Azure's own bound
_INVALID = f"The template language function '{CALLED}' was invoked with a parameter that is not valid"
_DATA_URI = re.compile(
    r"data:(?:[^;,]+(?:;charset=(?P<charset>[^;,]*))?(?:;[^;,=]+=[^;,]*)*)?(?P<base64>;base64)?,(?P<data>.*)",
    re.IGNORECASE | re.DOTALL,
)
ONE_OF = (
    "The template language function '{called}' expects its first parameter to be one of the following types '{types}'. "
    "The provided value is of type '{type}'"
)
_PADDED = (
    "Unable to evaluate template language function '{called}': the first parameter is invalid. The source string "
    "must be a String or integer type, while '{type}' was provided. "
    "The syntax is padLeft(string, totalWidth [, paddingChar])"
)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(text: str, reason: str = "The value cannot be decoded from base64 representation") -> str:
    """As .NET: white space in base64 is passed over, bytes that are no UTF-8 become U+FFFD."""
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        raise ExpressionError("this is not base64", azure=f"{_INVALID}. {reason}") from None


def _base64_to_json(text: str) -> Value:
    return from_json(_decoded(text), f"{_INVALID}. The decoded string is not a valid json serialized value")


def _json(text: str) -> Value:
    unable = f"Unable to evaluate the template language function '{CALLED}'"
    return from_json(text, f"{unable}. The argument provided is not a valid JSON string")


def _data_uri(value: Node) -> str:
    """Text as text; anything else as JSON."""
    if value.kind is NodeKind.NULL:
        azure = f"{_INVALID}. The value cannot be converted to the target type"
        raise ExpressionError("dataUri takes a value that is not null", id_="X02", azure=azure)
    kind = "text/plain" if value.kind is NodeKind.STRING else "application/json"
    return f"data:{kind};charset=utf-8;base64,{_encoded(text_of(value))}"


def _data_uri_to_string(text: str) -> str:
    match = _DATA_URI.fullmatch(text)
    if match is None:
        azure = (
            f"The template language function '{CALLED}' expects its parameter to be formatted as a valid data URI. "
            f"The provided value '{text}' was not formatted correctly"
        )
        raise ExpressionError(
            "this is not a data URI", hint="one looks like data:text/plain;base64,SGVsbG8=", azure=azure
        )
    charset = match["charset"]
    if charset and charset.casefold() not in ("utf-8", "utf8"):
        azure = (
            f"The template language function '{CALLED}' parameter is not valid. "
            f"The provided charset '{charset}' is not supported"
        )
        raise ExpressionError(f"dataUriToString reads UTF-8, not '{charset}'", azure=azure)
    data = match["data"]
    return _decoded(data, "The value cannot be converted to the target type") if match["base64"] else unquote_plus(data)


def _bounded(length: int) -> None:
    if length > LONGEST:
        raise ExpressionError(f"the text would be {length} characters long")


def _pad_left(value: Node, width: int, pad: str = " ") -> str:
    syntax = "The syntax is padLeft(string, totalWidth [, paddingChar])"
    unable = f"Unable to evaluate template language function '{CALLED}'"
    if not 1 <= width <= WIDEST:
        azure = (
            f"{unable}: the second parameter is invalid. Total width must be a positive integer value and not greater "
            f"than '{WIDEST}', while '{width}' was provided. {syntax}"
        )
        raise ExpressionError(f"padLeft makes a text of 1 to {WIDEST} characters, not of {width}", azure=azure)
    if units.length(pad) != 1:
        azure = (
            f"{unable}: the third parameter is invalid. The padding character must be a single character, "
            f"while '{pad}' was provided. {syntax}"
        )
        raise ExpressionError("padLeft pads with one character", azure=azure)
    text = text_of(value)
    return pad * (width - units.length(text)) + text


def _replace(text: str, old: str, new: str) -> str:
    if not old:
        azure = f"The template language function '{CALLED}' expects its second parameter to not be null or empty"
        raise ExpressionError("replace is given no text to look for", azure=azure)
    _bounded(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _join(items: Sequence[Node], delimiter: str) -> str:
    kinds = (NodeKind.STRING, NodeKind.NUMBER, NodeKind.BOOLEAN)
    all_of("join", items, "an array of text, whole numbers, true and false", kinds, "String, Integer, Boolean")
    texts = [text_of(item) for item in items]
    _bounded(sum(map(len, texts)) + len(texts) * len(delimiter))
    return delimiter.join(texts)


def _split(text: str, delimiters: Node) -> list[str]:
    """By one delimiter, or by any of an array of them."""
    given = delimiters.items if delimiters.kind is NodeKind.ARRAY else (delimiters,)
    if any(mark.kind is NodeKind.UNKNOWN for mark in given):
        raise Unknowable
    if any(mark.kind is not NodeKind.STRING for mark in given):
        azure = (
            f"The template language function '{CALLED}' expects its second parameter to be of type "
            f"'String or Array of Strings'. The provided value is of type '{azure_type(delimiters)}'"
        )
        message = f"split takes text or an array of texts as argument 2, not {described(delimiters)}"
        raise ExpressionError(message, id_="X02", at=1, azure=azure)
    marks = [str(mark.value) for mark in given if mark.value]
    return re.split("|".join(map(re.escape, marks)), text) if marks else [text]


def _substring(text: str, start: int, count: int | None = None) -> str:
    total = units.length(text)
    end = total if count is None else start + count
    if not 0 <= start <= end <= total:
        wanted = f"{count} characters from place {start} on" if count is not None else f"place {start}"
        message = f"substring: a text of {total} characters has no {wanted}"
        raise ExpressionError(message, azure=_no_substring(total, start, count))
    return units.part(text, start, end)


def _no_substring(total: int, start: int, count: int | None) -> str:
    unable = f"Unable to evaluate the template language function '{CALLED}'. The"
    if start < 0:
        return f"{unable} index parameter cannot be less than zero. The index: '{start}'"
    if start > total:
        return (
            f"{unable} index parameter cannot be larger than the length of the string. The index parameter: '{start}', "
            f"the length of the string parameter: '{total}'"
        )
    if count is not None and count < 0:
        return f"{unable} length parameter cannot be less than zero. The length parameter: '{count}'"
    return (
        f"{unable} index and length parameters must refer to a location within the string. The index parameter: "
        f"'{start}', the length parameter: '{count}', the length of the string parameter: '{total}'"
    )


def _fail(message: str) -> Value:
    raise ExpressionError(message, azure=message)


TABLE: tuple[Function, ...] = (
    fn("base64", "string", _encoded),
    fn("base64ToJson", "string", _base64_to_json, whole=True),
    fn("base64ToString", "string", _decoded),
    fn("dataUri", "any", _data_uri),
    fn("dataUriToString", "string", _data_uri_to_string),
    fn("endsWith", "string string", collation.ends_with),
    fn("fail", "string", _fail),
    fn("join", "array string", _join),
    fn("json", "string", _json, whole=True),
    fn("padLeft", "string|int int [string]", _pad_left, refusal=_PADDED),
    fn("replace", "string string string", _replace),
    fn("split", "string string|array", _split),
    fn("startsWith", "string string", collation.starts_with),
    fn("string", "int|string|bool|object|array", text_of, refusal=ONE_OF),
    fn("substring", "string int [int]", _substring),
    fn("toLower", "string", units.lower),
    fn("toUpper", "string", units.upper),
    fn("trim", "string", lambda text: text.strip()),
)
