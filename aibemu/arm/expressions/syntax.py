"""Text of an expression to a tree.

The grammar is small: a literal, or a function call, followed by any number of `.name` and `[key]`. Text stands in
single quotes, a quote in it is doubled; numbers are whole; names are ASCII and case does not matter (facts: clients 3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from aibemu.arm.expressions.errors import ExpressionError

MAX_LENGTH = 24_576  # ARM's own bound
MAX_DEPTH = 200
MAX_DIGITS = 20

_SPACE = re.compile(r"\s*")
_STRING = re.compile(r"'((?:[^']|'')*)('?)")
_NUMBER = re.compile(r"-?[0-9]+(?![\w.])")
_NAME = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)
# `[ -d /x ]`, `[ ! -f "$x" ]`, `[ "$x" = y ]`; and `[Type]::Member[0]`. Without the outer brackets.
_SHELL_TEST = re.compile(r"\s+(?:!\s+)?(?:-[A-Za-z]\s|[\"$])")
_TYPE_NAME = re.compile(r"[A-Za-z][\w.]*(?:\[\])?\](?:::|\s*\$|\s*\(|\s*@)")
_DOUBLE_TEST = re.compile(r"\[\[\s+\S")
_DECIMAL = re.compile(r"-?[0-9]+\.[0-9]*")


@dataclass(frozen=True, slots=True)
class Literal:
    """Text or a whole number."""

    value: str | int
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """`name(arguments)`; `namespace.name` for a function of the template's own."""

    name: str
    arguments: tuple[Expression, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Access:
    """`base.key` or `base[key]`."""

    base: Expression
    key: Expression
    at: int


Expression = Literal | Call | Access


def is_expression(text: str) -> bool:
    """True for a string that ARM evaluates: `[...]`, unless the bracket is escaped by another one."""
    return text.startswith("[") and text.endswith("]") and not text.startswith("[[")


def unescape(text: str) -> str:
    """A string that is no expression, as ARM passes it on: `[[...]` loses a bracket."""
    return text[1:] if text.startswith("[[") and text.endswith("]") else text


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """Parse what stands between the brackets. Offsets count from the start of `text`. Raises ExpressionError."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression is longer than {MAX_LENGTH} characters", id_="X01", at=0)
    try:
        return _Parser(text).whole()
    except ExpressionError as error:
        if hint := _for_a_shell(text):
            message = f"text in `[...]` is an expression in a deployment template, and this is {hint[0]}"
            raise ExpressionError(message, id_="X01", at=0, hint=hint[1], azure=error.azure) from None
        raise


def _for_a_shell(text: str) -> tuple[str, str] | None:
    """(what it is, what to write) of the inside of brackets that a shell was to read."""
    escaped = f"`[[{text[:60]}{'...' if len(text) > 60 else ''}]`"
    if _SHELL_TEST.match(text):
        return "a test of the shell", f"write {escaped}, of which ARM takes one bracket away, or `test ...`"
    if _TYPE_NAME.match(text):
        return "PowerShell", f"write {escaped}, of which ARM takes one bracket away"
    return None


def loses_bracket(text: str) -> bool:
    """True for bash's `[[ ... ]]` as a whole text: ARM takes one of its brackets away."""
    return text.endswith("]]") and _DOUBLE_TEST.match(text) is not None


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.depth = 0

    def fail(self, message: str, hint: str | None = None, at: int | None = None) -> ExpressionError:
        return ExpressionError(message, id_="X01", at=self.pos if at is None else at, hint=hint)

    def peek(self) -> str:
        match = _SPACE.match(self.text, self.pos)
        self.pos = match.end() if match else self.pos
        return self.text[self.pos : self.pos + 1]

    def whole(self) -> Expression:
        if self.peek() == "":
            raise self.fail("the expression is empty", "text in brackets is written with two of them: `[[...]`")
        expression = self.expression()
        if char := self.peek():
            hint = "text that is no expression starts with two brackets: `[[...]`" if self.pos < 40 else None
            raise self.fail(f"unexpected `{char}` after the end of the expression", hint)
        return expression

    def expression(self) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"more than {MAX_DEPTH} levels of calls inside each other")
        expression = self.primary()
        while char := self.peek():
            if char == ".":
                expression = self.member(expression)
            elif char == "[":
                expression = self.index(expression)
            else:
                break
        self.depth -= 1
        return expression

    def primary(self) -> Expression:
        char = self.peek()
        start = self.pos
        if char == "'":
            return self.string()
        if match := _NUMBER.match(self.text, start):
            self.pos = match.end()
            if len(match.group()) > MAX_DIGITS:
                raise self.fail("the number does not fit 64 bits", at=start)
            return Literal(int(match.group()), start)
        if _DECIMAL.match(self.text, start):
            raise self.fail("a number in an expression is whole", "write json('1.5') for one with a fraction")
        if match := _NAME.match(self.text, start):
            return self.call(start)
        if char == "":
            raise self.fail("the expression ends too early: a value is missing")
        hint = "text in an expression stands in single quotes" if char == '"' else None
        raise self.fail(f"unexpected `{char}` where a value should be", hint)

    def string(self) -> Literal:
        start = self.pos
        match = _STRING.match(self.text, start)
        assert match is not None
        if not match.group(2):
            raise self.fail("this text is never closed", "end it with `'`; a quote inside is written twice: `''`")
        self.pos = match.end()
        return Literal(match.group(1).replace("''", "'"), start)

    def call(self, start: int) -> Call:
        name = self.name()
        while self.peek() == ".":
            self.pos += 1
            self.peek()
            name = f"{name}.{self.name()}"
        if self.peek() != "(":
            hint = f"text stands in single quotes: '{name}'"
            if name.casefold() in {"true", "false", "null"}:
                hint = f"write {name.lower()}()"
            raise self.fail(f"`{name}` is not a function call", hint, start)
        self.pos += 1
        return Call(name, tuple(self.arguments(name)), start)

    def arguments(self, name: str) -> list[Expression]:
        found: list[Expression] = []
        opened = self.pos - 1
        while self.peek() != ")":
            if found:
                if self.peek() != ",":
                    what = f"`{self.peek()}`" if self.peek() else "the end"
                    hint = f"the `(` of {name} is at offset {opened + 1}" if not self.peek() else None
                    raise self.fail(f"`,` or `)` is missing in the call of {name}, before {what}", hint)
                self.pos += 1
                if self.peek() == ")":
                    raise self.fail(f"an argument of {name} is missing before `)`")
            if self.peek() == ",":
                raise self.fail(f"an argument of {name} is missing before `,`")
            if self.peek() == "":
                raise self.fail(f"the `(` of {name} is never closed", "add the missing `)`", opened)
            found.append(self.expression())
        self.pos += 1
        return found

    def name(self) -> str:
        match = _NAME.match(self.text, self.pos)
        if match is None:
            raise self.fail("a name is missing after `.`")
        self.pos = match.end()
        return match.group()

    def member(self, base: Expression) -> Access:
        self.pos += 1
        self.peek()
        start = self.pos
        return Access(base, Literal(self.name(), start), start)

    def index(self, base: Expression) -> Access:
        start = self.pos
        self.pos += 1
        key = self.expression()
        if self.peek() != "]":
            raise self.fail("this `[` is never closed", "add the missing `]`", start)
        self.pos += 1
        return Access(base, key, key.at)
