"""Which texts reach a command of a PowerShell script, as far as that is written out in it.

An argument itself, a variable that a text or a list of texts was put into, a loop over such a list, texts piped into
the command, and `@parameters`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from aibemu.template.scripts.powershell_model import Kind, Token
from aibemu.template.scripts.powershell_parts import Call

_EACH = frozenset({"foreach-object", "foreach", "%"})
_ITEM = frozenset({"$_", "$psitem"})
_MOST = 200  # texts of one list, and blocks around a token, that are looked at
_TABLE = 400  # tokens of one table of parameters


@dataclass(frozen=True, slots=True)
class Held:
    """A text, and its offset in the script."""

    text: str
    at: int


class Values:
    """Of one script. tokens: all of it; calls: its commands."""

    def __init__(self, tokens: Sequence[Token], calls: Sequence[Call]) -> None:
        self.tokens = tokens
        self._calls = {call.first: call for call in calls}
        self._index = {token.at: index for index, token in enumerate(tokens)}

    def of(self, call: Call) -> Iterator[tuple[str, Held]]:
        """What the command gets: (the parameter before it in lower case, or "", and the text)."""
        before = ""
        for argument, at in zip(call.arguments, call.places, strict=True):
            lower = argument.lower()
            for held in self._argument(argument, at):
                yield before, held
            if argument.startswith("@"):
                yield from self._parameters.get(lower[1:], ())
            name, colon, value = argument.partition(":")
            if name.startswith("-") and colon and value:  # -Path:C:\a
                yield name.lower(), Held(value, at + len(name) + 1)
            before = lower
        for held in self._piped(call):
            yield "", held

    def _argument(self, argument: str, at: int) -> Iterator[Held]:
        yield Held(argument, at)
        name = argument.lower()
        if name in _ITEM:
            yield from self._item(self._index[at])
        elif variable := re.match(r"\$\w+", name):
            rest = argument[variable.end() :]  # "$key\\Run"
            for held in self._variables.get(variable[0], ()):
                yield Held(held.text + rest, held.at)

    def _item(self, index: int) -> list[Held]:
        """What `$_` stands for: what is piped into the ForEach-Object whose block is around the token."""
        for _ in range(_MOST):
            index = self.tokens[index].opener
            if index < 0:
                break
            if index in self._blocks:
                return self._blocks[index]
        return []

    def _piped(self, call: Call) -> list[Held]:
        index = call.first - 1
        return self._before(index) if index >= 0 and self.tokens[index].kind is Kind.PIPE else []

    def _before(self, pipe: int) -> list[Held]:
        """The texts before a `|`, if there are only such."""
        found, index, tokens = list[Held](), pipe - 1, self.tokens
        while index >= 0 and len(found) < _MOST:
            token = tokens[index]
            if token.kind is Kind.CLOSE and token.partner >= 0 and tokens[token.partner].text in ("@(", "("):
                return self._list(token.partner, self._variables) if index == pipe - 1 else []
            if token.kind is Kind.VARIABLE and index == pipe - 1:
                return list(self._variables.get(token.text.lower(), ()))
            if token.kind is Kind.STRING:
                found.append(_held(token))
            elif token.text != ",":
                break
            index -= 1
        return found[::-1]

    @cached_property
    def _blocks(self) -> dict[int, list[Held]]:
        """The `{` of a ForEach-Object -> what is piped into it."""
        found: dict[int, list[Held]] = {}
        for call in self._calls.values():
            if call.name in _EACH and (piped := self._piped(call)):
                for at in call.places:
                    index = self._index[at]
                    if self.tokens[index].text == "{":
                        found[index] = piped
        return found

    @cached_property
    def _variables(self) -> dict[str, list[Held]]:
        """Variables, in lower case, and the texts that were put into them last; none for what else was."""
        found: dict[str, list[Held]] = {}
        for index, token in enumerate(self.tokens[:-2]):
            if token.kind is not Kind.VARIABLE:
                continue
            after, before = self.tokens[index + 1].text.lower(), self.tokens[index - 1].text if index else ""
            if after == "=" or (after == "in" and before == "("):
                found[token.text.lower()] = self._list(index + 2, found)
        return found

    def _list(self, index: int, known: Mapping[str, list[Held]]) -> list[Held]:
        """The texts from a token on, in brackets or not, or those of the variable that stands there."""
        found, tokens = list[Held](), self.tokens
        inside = tokens[index].text in ("@(", "(")
        index += inside
        while index < len(tokens) and len(found) < _MOST:
            token = tokens[index]
            if token.kind is Kind.STRING:
                found.append(_held(token))
            elif token.kind is Kind.VARIABLE and not found:
                return known.get(token.text.lower(), [])
            elif not (token.text == "," or (inside and token.kind in (Kind.END, Kind.COMMENT))):
                break
            index += 1
        return found

    @cached_property
    def _parameters(self) -> dict[str, list[tuple[str, Held]]]:
        """Tables for `@name`: the texts in them with their keys, as parameters."""
        found: dict[str, list[tuple[str, Held]]] = {}
        tokens = self.tokens
        for index, token in enumerate(tokens[:-2]):
            table = index + 2
            if token.kind is not Kind.VARIABLE or tokens[index + 1].text != "=" or tokens[table].text != "@{":
                continue
            inside = range(table + 1, min(tokens[table].partner, table + _TABLE) - 2)
            found[token.text.lower().removeprefix("$")] = [
                (f"-{tokens[at].value.lower()}", _held(tokens[at + 2]))
                for at in inside
                if tokens[at].opener == table and tokens[at + 1].text == "=" and tokens[at + 2].kind is Kind.STRING
            ]
        return found


def _held(token: Token) -> Held:
    return Held(token.value, token.at + 1)
