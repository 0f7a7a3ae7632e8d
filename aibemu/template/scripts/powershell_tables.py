"""W67: a table as the last output of a PowerShell step, for which its `exit` does not wait (a real one was asked).

PowerShell waits a moment for more rows before it writes a table of new objects. It writes at once what has a form of
its own (services, groups), lists, which objects of more than four properties become, and text.
"""

from __future__ import annotations

import re

from aibemu.template.scripts.judge import Check, Judge
from aibemu.template.scripts.powershell_model import Kind, Start, Token
from aibemu.template.scripts.powershell_parts import Call

_MOST = 4  # properties of a table
_DEEP = 20  # blocks in each other that are looked at
# Each is a statement of its own to the reader of tokens, and belongs to the one before it.
_PARTS = frozenset(("elseif", "else", "catch", "finally"))
_WITH_BLOCK = frozenset(("if", "foreach", "for", "while", "switch", "try")) | _PARTS
_EACH = frozenset(("foreach-object", "foreach", "%"))
_PASS = frozenset(("sort-object", "sort", "where-object", "where", "?"))
_SELECT = ("select-object", "select")
_COUNTS = frozenset(("-first", "-last", "-skip", "-index", "-skiplast", "-wait"))
_OBJECT = re.compile(r"(?:system\.management\.automation\.)?ps(?:custom)?object", re.IGNORECASE)


def check_table(judge: Judge) -> None:
    """W67: `exit` does not wait for the formatter, which waits for more lines of the table."""
    if judge.tokens.mistakes or not judge.tokens.whole:
        return
    if (at := _Tables(judge).last()) is not None:
        message = "a table is the last output: it is not printed, since the step's `exit` does not wait for it"
        judge.note("W67", at, message, "end the line with `| Format-Table`, or `| Out-String`")


class _Tables:
    def __init__(self, judge: Judge) -> None:
        self.tokens = judge.tokens.tokens
        self.calls = {call.first: call for call in judge.calls}
        # Where statements begin in each block, -1 for the script.
        self.statements: dict[int, list[int]] = {}
        for index, token in enumerate(self.tokens):
            if token.start is Start.STATEMENT and token.kind not in (Kind.END, Kind.COMMENT, Kind.CLOSE):
                self.statements.setdefault(token.opener, []).append(index)

    def last(self) -> int | None:
        """Where a table begins that is the last output of the script."""
        starts = self.statements.get(-1, [])
        # An end of the script prints nothing.
        while starts and self.word(starts[-1]) in ("exit", "return") and self.alone(starts[-1]):
            starts = starts[:-1]
        return self.of_statements(starts, 0)

    def of_statements(self, starts: list[int], depth: int) -> int | None:
        """The table with which these statements end. Of `if` each branch, of `try` what runs when nothing fails."""
        parts: list[int] = []
        while starts and self.word(starts[-1]) in _PARTS:
            parts, starts = [starts[-1], *parts], starts[:-1]
        if not starts or depth > _DEEP:
            return None
        if self.word(starts[-1]) == "try":
            last = [part for part in parts if self.word(part) == "finally"]
            found = [self.of_statement((last or starts)[-1], depth)]
        else:
            found = [self.of_statement(part, depth) for part in (starts[-1], *parts)]
        return next((at for at in found if at is not None), None)

    def word(self, index: int) -> str:
        return self.tokens[index].text.lower() if index < len(self.tokens) else ""

    def alone(self, index: int) -> bool:
        """`exit`, `exit 0`, `exit $LASTEXITCODE`, `return`; what `return` is given is printed."""
        after = self.tokens[index + 1] if index + 1 < len(self.tokens) else None
        return self.word(index) == "exit" or after is None or after.kind is Kind.END

    def of_statement(self, start: int, depth: int) -> int | None:
        if self.word(start) in _WITH_BLOCK and self.tokens[start].kind is Kind.WORD:
            return self.of_block(self.last_block(start), depth)
        elements = self.elements(start)
        while len(elements) > 1 and self.passes(elements[-1]):
            elements.pop()
        first, at = elements[-1], self.tokens[start].at
        if self.word(first) == "[pscustomobject]" and len(elements) == 1:
            return at if self.word(first + 1) == "@{" and 0 < self.keys(first + 1) <= _MOST else None
        call = self.calls.get(first)
        if call is None or self.assigned(start):
            return None
        if call.name in _EACH and len(elements) > 1:
            return self.of_block(self.last_block(first), depth)
        return at if self.makes(call) else None

    def of_block(self, block: int | None, depth: int) -> int | None:
        return None if block is None else self.of_statements(self.statements.get(block, []), depth + 1)

    def makes(self, call: Call) -> bool:
        """Whether a command makes objects of its own, of a few properties."""
        if call.name in _SELECT:
            return 0 < _properties(call) <= _MOST
        if call.name == "new-object" and any(_OBJECT.fullmatch(argument) for argument in call.arguments):
            table = next((i for i in range(call.first, call.last) if self.tokens[i].text == "@{"), None)
            return table is not None and 0 < self.keys(table) <= _MOST
        return call.name in ("compare-object", "compare", "diff")

    def passes(self, element: int) -> bool:
        """Whether a part of a pipe hands its objects on as they are."""
        call = self.calls.get(element)
        return call is not None and (call.name in _PASS or (call.name in _SELECT and _only_counts(call)))

    def elements(self, start: int) -> list[int]:
        """Where the parts of a pipe begin."""
        found, index, opener = [start], start, self.tokens[start].opener
        while index < len(self.tokens):
            token = self.tokens[index]
            if token.opener == opener and token.kind is Kind.END:
                break
            if token.kind is Kind.CLOSE and token.partner == opener:
                break
            if token.opener == opener and token.kind is Kind.PIPE and index + 1 < len(self.tokens):
                found.append(self.after(index))
            index = token.partner + 1 if token.kind is Kind.OPEN and token.partner > index else index + 1
        return [one for one in found if one < len(self.tokens)]

    def after(self, index: int) -> int:
        """The next token that is neither a new line nor a comment."""
        index += 1
        while index < len(self.tokens) and self.tokens[index].kind in (Kind.END, Kind.COMMENT):
            index += 1
        return index

    def last_block(self, start: int) -> int | None:
        """The last `{` of a statement, or of a command."""
        found, index, opener = None, start, self.tokens[start].opener
        while index < len(self.tokens):
            token = self.tokens[index]
            if token.opener == opener and found is not None and (
                token.kind in (Kind.END, Kind.PIPE) or token.start is Start.STATEMENT
            ):  # fmt: skip
                break
            if token.opener != opener and not (token.kind is Kind.CLOSE and token.partner >= start):
                break
            if token.opener == opener and token.text == "{":
                found = index
            index = token.partner + 1 if token.kind is Kind.OPEN and token.partner > index else index + 1
        return found

    def assigned(self, start: int) -> bool:
        """`$x = ...`."""
        following = self.tokens[start + 1 : start + 3]
        return any(re.fullmatch(r"[-+*/]?=", token.text) for token in following)

    def keys(self, table: int) -> int:
        """How many keys a `@{` has."""
        inside = (self.tokens[index] for index in self.statements.get(table, ()))
        return sum(_is_key(token) for token in inside)


def _is_key(token: Token) -> bool:
    return token.kind in (Kind.WORD, Kind.STRING, Kind.VARIABLE)


def _only_counts(call: Call) -> bool:
    """`Select-Object -First 3`."""
    given = [argument.lower() for argument in call.arguments if argument.startswith("-")]
    return bool(given) and set(given) <= _COUNTS and _properties(call) == 0


def _properties(call: Call) -> int:
    """How many properties `Select-Object` takes; 0 when it passes its objects on, or their values, or all of them."""
    number, skip = 0, False
    for argument in call.arguments:
        lower = argument.lower()
        if lower.startswith("@("):
            number += lower.count(",") + 1
            continue
        passed = lower.startswith(("$", "@")) and lower[1:2] != "{"
        if lower.startswith(("-exp", "-excl")) or "*" in argument or passed:
            return 0
        if lower.startswith("-"):
            skip = lower in _COUNTS
        elif skip:
            skip = False
        elif argument != ",":
            number += 1
    return number


CHECKS: tuple[Check, ...] = (check_table,)
