"""JSON as Newtonsoft's reader takes it: comments, quotes of either kind, bare keys, holes in arrays, octal and
hexadecimal numbers, NaN and Infinity, and an end that comes too early or too late.

What stands behind the value is not looked at. An array or object that ends with the text counts as closed.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

_SPACE = re.compile(r"(?:\s|//[^\r\n]*|/\*.*?(?:\*/|\Z))*+", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]+")
_KEY = re.compile(r"[\w$]+")
_NUMBER = re.compile(r"[-+.\w]+")
_STRING = {quote: re.compile(rf"{quote}((?:[^{quote}\\]|\\.)*+){quote}", re.DOTALL) for quote in "\"'"}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "'": "'", "/": "/", "\\": "\\"}
_HALF = re.compile("[\ud800-\udfff]")
_DECIMAL = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"-?[0-9]+")
_OCTAL = re.compile(r"0[0-7]+")
_HEX = re.compile(r"0[xX][0-9a-fA-F]+")
_CONSTANTS: dict[str, Any] = {
    "true": True, "false": False, "null": None, "undefined": None, "NaN": float("nan"), "Infinity": float("inf"),
}  # fmt: skip
_LONGEST_NUMBER = 380  # digits; Newtonsoft refuses longer ones
MAX_DEPTH = 64


class NotJson(Exception):
    """The text is no JSON, even loosely."""


def read(text: str) -> Any:
    """The value as plain Python; of a key that is there twice, the last value. Raises NotJson."""
    if text.startswith("\ufeff"):
        raise NotJson
    return _Reader(text).value(0)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0

    def peek(self) -> str:
        """The next character that counts; nothing at the end."""
        match = _SPACE.match(self.text, self.pos)
        self.pos = match.end() if match else self.pos
        return self.text[self.pos : self.pos + 1]

    def value(self, depth: int) -> Any:
        char = self.peek()
        if depth > MAX_DEPTH:
            raise NotJson
        if char in ("{", "["):
            self.pos += 1
            return self.object(depth + 1) if char == "{" else self.array(depth + 1)
        if char in ('"', "'"):
            return self.string(char)
        if char.isascii() and char.isalpha():
            return self.word()
        if char and char in "-.0123456789":
            return self.number()
        raise NotJson

    def fail(self) -> NoReturn:
        raise NotJson

    def array(self, depth: int) -> list[Any]:
        found: list[Any] = []
        if not self.peek():
            self.fail()
        while (char := self.peek()) not in ("]", ""):
            if char == ",":
                found.append(None)  # a hole
            else:
                found.append(self.value(depth))
            if self.peek() not in (",", "]", ""):
                self.fail()
            self.pos += self.peek() == ","
        self.pos += 1
        return found

    def object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if not self.peek():
            self.fail()
        while (char := self.peek()) not in ("}", ""):
            key = self.string(char) if char in "\"'" else self.bare_key()
            if self.peek() != ":":
                self.fail()
            self.pos += 1
            found[key] = None if self.peek() == "," else self.value(depth)
            if self.peek() not in (",", "}", ""):
                self.fail()
            self.pos += self.peek() == ","
        self.pos += 1
        return found

    def bare_key(self) -> str:
        match = _KEY.match(self.text, self.pos)
        if match is None:
            self.fail()
        self.pos = match.end()
        return match.group()

    def string(self, quote: str) -> str:
        match = _STRING[quote].match(self.text, self.pos)
        if match is None:
            self.fail()
        self.pos = match.end()
        text = _ESCAPE.sub(self.escape, match.group(1))
        joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return joined if _HALF.search(text) else text

    def escape(self, match: re.Match[str]) -> str:
        letter = match.group(1)
        if len(letter) == 5:
            return chr(int(letter[1:], 16))
        if letter not in _ESCAPES:
            self.fail()
        return _ESCAPES[letter]

    def word(self) -> Any:
        match = _WORD.match(self.text, self.pos)
        word = match.group() if match else ""
        if word not in _CONSTANTS or _KEY.match(self.text, self.pos + len(word)):
            self.fail()
        self.pos += len(word)
        return _CONSTANTS[word]

    def number(self) -> Any:
        match = _NUMBER.match(self.text, self.pos)
        text = match.group() if match else ""
        self.pos += len(text)
        if len(text) > _LONGEST_NUMBER:
            self.fail()
        if text == "-Infinity":
            return float("-inf")
        if _HEX.fullmatch(text):
            return int(text, 16)
        if _OCTAL.fullmatch(text):
            return int(text, 8)
        if text.startswith("0") and _WHOLE.fullmatch(text) and len(text) > 1:
            self.fail()
        if _WHOLE.fullmatch(text):
            return int(text)
        if not _DECIMAL.fullmatch(text):
            self.fail()
        return float(text)
