"""What stands where in a Bicep file: declarations, and the literals, objects and arrays in them.

Not a compiler: the file has been compiled already, so its syntax is right. Whatever is not a plain literal is an
`EXPRESSION`, which is passed over. What is not understood raises `Doubt`, and the places of that file are not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from aibemu.arm.nodes import Json

# Values in each other; the compiler itself takes no more.
_DEEPEST = 200


class Doubt(Exception):
    """This text is none that we understand."""


class Kind(Enum):
    """EXPRESSION: anything that is computed. LOOP: `[for ...: BODY]`, whose `items` are the body."""

    LITERAL = auto()
    OBJECT = auto()
    ARRAY = auto()
    LOOP = auto()
    EXPRESSION = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """at: its first character, from 0. literal: of a LITERAL; content_at: where it begins in a text over several lines.
    members: of an OBJECT, those whose name is plain, with the place of the name."""

    kind: Kind
    at: int
    literal: Json = None
    content_at: int | None = None
    members: Mapping[str, tuple[int, Value]] = field(default_factory=dict)
    items: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """`word` NAME ...: resource, module, var, param, output, using. at: the word's place, name_at: the name's.
    text: of a resource its type with version, of a module and of `using` the file; None for none that is plain.
    value: what is after `=`, or its body after `if` and `for`; None for nothing.
    within: the resource that it is declared in."""

    word: str
    at: int
    name: str
    name_at: int
    text: str | None = None
    text_at: int = 0
    existing: bool = False
    value: Value | None = None
    within: Declaration | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    """kind: word, number, text (a string), line (the end of one), end, or the sign itself. plain: the string's value;
    None if something is computed in it."""

    kind: str
    at: int
    text: str
    plain: str | None = None
    content_at: int | None = None


_PASSED = re.compile(r"[ \t\f\v\u00a0]+|//[^\n]*|/\*.*?\*/|#[^\n]*", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[0-9]+")
_SIGN = re.compile(r"\.\.\.|=>|==|!=|=~|!~|<=|>=|&&|\|\||\?\?|::|[{}\[\]().,:?=!<>+\-*/%|@;&~^]")
_MULTI = re.compile(r"(\$*)'''")
_ESCAPE = re.compile(r"\\(u\{([0-9a-fA-F]{1,6})\}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", "$": "$"}
_CLOSES = {"{": "}", "[": "]", "(": ")"}
# At the beginning of a line they go on with what stands before it.
_GOES_ON = {
    "?",
    ":",
    ".",
    "::",
    "&&",
    "||",
    "??",
    "==",
    "!=",
    "=~",
    "!~",
    "<",
    ">",
    "<=",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
}
_VALUE_ENDS = {"line", "end", ",", "}", "]", ")"}


def declarations(text: str) -> list[Declaration]:
    """All of a file, those inside of resources too. Lines of `text` end with \\n. Raises Doubt."""
    return list(_Parser(list(_tokens(text))).file())


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        if match := _PASSED.match(text, at):
            at = match.end()
            continue
        token, at = _token(text, at)
        yield token
    yield _Token("end", at, "")


def _token(text: str, at: int) -> tuple[_Token, int]:
    if text[at] == "\n":
        return _Token("line", at, "\n"), at + 1
    if match := _MULTI.match(text, at):
        return _multi_line(text, at, match)
    if text[at] == "'":
        return _string(text, at)
    for kind, pattern in (("word", _WORD), ("number", _NUMBER), ("", _SIGN)):
        if match := pattern.match(text, at):
            return _Token(kind or match[0], at, match[0]), match.end()
    raise Doubt(f"character {at}")


def _multi_line(text: str, at: int, match: re.Match[str]) -> tuple[_Token, int]:
    """`'''...'''`: as it stands, without the line break at its beginning. With `$` before it, things are computed."""
    end = text.find("'''", match.end())
    if end < 0:
        raise Doubt(f"character {at}")
    while text.startswith("'", end + 3):
        end += 1
    begin = match.end() + text.startswith("\n", match.end())
    return _Token("text", at, text[at : end + 3], None if match[1] else text[begin:end], begin), end + 3


def _string(text: str, at: int) -> tuple[_Token, int]:
    start, at, plain = at, at + 1, True
    while at < len(text) and text[at] != "'":
        if text[at] == "\n":
            raise Doubt(f"character {at}")
        if text.startswith("${", at):
            at, plain = _computed(text, at + 2), False
        else:
            at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise Doubt(f"character {start}")
    value = _ESCAPE.sub(_unescaped, text[start + 1 : at]) if plain else None
    return _Token("text", start, text[start : at + 1], value), at + 1


def _unescaped(match: re.Match[str]) -> str:
    if match[2]:
        return chr(int(match[2], 16))
    if match[1] not in _ESCAPES:
        raise Doubt(match[0])
    return _ESCAPES[match[1]]


def _computed(text: str, at: int) -> int:
    """The end of `${...}`, which may hold strings with the same in them."""
    depth = 1
    while at < len(text):
        if match := _PASSED.match(text, at):
            at = match.end()
            continue
        token, at = _token(text, at)
        depth += {"{": 1, "}": -1}.get(token.kind, 0)
        if depth == 0:
            return at
    raise Doubt(f"character {at}")


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._inner: list[Declaration] = []

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, kind: str = "") -> _Token:
        token = self._next
        if kind and token.kind != kind:
            raise Doubt(f"character {token.at}: {kind}")
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _is(self, *texts: str) -> bool:
        return self._next.kind not in ("text", "number") and self._next.text in texts

    def file(self) -> Iterator[Declaration]:
        while self._next.kind != "end":
            if self._is("resource", "module", "var", "param", "output", "using"):
                found = self._declaration(None)
                yield found
                yield from self._inner
                self._inner.clear()
            self._pass_line()

    def _declaration(self, within: Declaration | None) -> Declaration:
        word = self._take()
        if word.text == "using":
            file = self._take()
            return Declaration(word="using", at=word.at, name="", name_at=file.at, text=file.plain, text_at=file.at)
        name = self._take("word")
        text = self._take("text") if word.text in ("resource", "module") else None
        existing = word.text == "resource" and self._is("existing")
        head = Declaration(
            word=word.text, at=word.at, name=name.text, name_at=name.at, text=text.plain if text else None,
            text_at=text.at if text else 0, existing=existing, within=within,
        )  # fmt: skip
        self._until("=")
        if not self._is("="):
            return head
        self._take()
        value = self._body(head) if text else self._value()
        return replace(head, value=value)

    def _body(self, head: Declaration) -> Value | None:
        """The object of a resource or a module: after `if (...)`, in `[for ...: ]`."""
        self._condition()
        if not self._is("["):
            return self._value(head)
        value = self._value(head)
        return value.items[0] if value.kind is Kind.LOOP else None

    def _condition(self) -> None:
        if self._is("if"):
            self._take()
            self._group()
            self._lines()

    def _lines(self) -> None:
        while self._next.kind == "line":
            self._take()

    def _until(self, *signs: str) -> None:
        """To one of the signs outside of brackets, or to the end of the line."""
        while not self._is(*signs) and self._next.kind not in ("line", "end"):
            if self._next.kind in _CLOSES:
                self._group()
            else:
                self._take()

    def _group(self) -> None:
        """Pass over brackets with what is in them."""
        closing = [_CLOSES[self._take().kind]]
        while closing:
            token = self._take()
            if token.kind in _CLOSES:
                closing.append(_CLOSES[token.kind])
            elif token.kind == closing[-1]:
                closing.pop()
            elif token.kind == "end":
                raise Doubt("the end of the file")

    def _pass_line(self) -> None:
        self._until("\n")
        if self._next.kind == "line":
            self._take()

    def _value(self, holder: Declaration | None = None) -> Value:
        """A value up to where it ends. holder: the resource whose body it is."""
        first, at = self._next, self._at
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Doubt("too deep")
        value = self._primary(holder)
        self._depth -= 1
        if self._goes_on():
            self._at = at
            self._expression()
            return Value(kind=Kind.EXPRESSION, at=first.at)
        return value

    def _goes_on(self) -> bool:
        """Whether more of the same value follows, maybe in the next line."""
        if self._next.kind != "line":
            return self._next.kind not in _VALUE_ENDS
        ahead = self._at
        while self._tokens[ahead].kind == "line":
            ahead += 1
        return self._tokens[ahead].kind in _GOES_ON

    def _expression(self) -> None:
        while self._goes_on():
            self._lines()
            if self._next.kind in _CLOSES:
                self._group()
            else:
                self._take()

    def _primary(self, holder: Declaration | None) -> Value:
        token = self._next
        if token.kind == "{":
            return self._object(holder)
        if token.kind == "[":
            return self._array(holder)
        if token.kind in _VALUE_ENDS:
            raise Doubt(f"character {token.at}")
        self._take()
        sign = -1 if token.kind == "-" and self._next.kind == "number" else 1
        number = self._take() if sign < 0 else token
        if number.kind == "number":
            return Value(kind=Kind.LITERAL, at=token.at, literal=sign * int(number.text))
        if token.kind == "word" and token.text in ("true", "false", "null"):
            return Value(kind=Kind.LITERAL, at=token.at, literal=None if token.text == "null" else token.text == "true")
        if token.kind == "text" and token.plain is not None:
            return Value(kind=Kind.LITERAL, at=token.at, literal=token.plain, content_at=token.content_at)
        return Value(kind=Kind.EXPRESSION, at=token.at)

    def _object(self, holder: Declaration | None) -> Value:
        start = self._take("{").at
        members: dict[str, tuple[int, Value]] = {}
        spread = False
        while not self._is("}"):
            if self._next.kind in ("line", ","):
                self._take()
            elif self._is("..."):
                spread = True
                self._take()
                self._value()
            elif self._next.kind == "@":
                self._pass_line()
            elif self._is("resource") and self._tokens[self._at + 1].kind == "word":
                found = self._declaration(holder)
                self._inner.append(found)
            else:
                self._member(members)
        self._take("}")
        return Value(kind=Kind.EXPRESSION if spread else Kind.OBJECT, at=start, members={} if spread else members)

    def _member(self, members: dict[str, tuple[int, Value]]) -> None:
        key = self._take()
        if key.kind not in ("word", "text"):
            raise Doubt(f"character {key.at}")
        self._take(":")
        value = self._value()
        name = key.text if key.kind == "word" else key.plain
        if name is not None:
            members[name] = (key.at, value)

    def _array(self, holder: Declaration | None) -> Value:
        start = self._take("[").at
        self._lines()
        if self._is("for"):
            self._until_colon()
            self._lines()
            self._condition()
            body = self._value(holder)
            self._lines()
            self._take("]")
            return Value(kind=Kind.LOOP, at=start, items=(body,))
        items: list[Value] = []
        spread = False
        while not self._is("]"):
            if self._next.kind in ("line", ","):
                self._take()
                continue
            if self._is("..."):
                spread = True
                self._take()
            items.append(self._value())
        self._take("]")
        return Value(kind=Kind.EXPRESSION if spread else Kind.ARRAY, at=start, items=() if spread else tuple(items))

    def _until_colon(self) -> None:
        """Past `for X in Y:`; Y may be a choice, which has a colon too."""
        choices = 0
        while choices or not self._is(":"):
            choices += {"?": 1, ":": -1}.get(self._next.kind, 0)
            if self._next.kind in _CLOSES:
                self._group()
            elif self._take().kind == "end":
                raise Doubt("the end of the file")
        self._take(":")
