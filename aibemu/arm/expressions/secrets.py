"""What must never be shown: values of secure parameters, answers of the list functions, all that is computed of them.

A secret value is marked (`Node.secret`), and stays so wherever it goes: variables, functions, nested deployments,
outputs, members of objects. Text that a function makes of it is another secret, and is registered here for whoever
shows or writes something to mask. What does not say what the secret is stays public: its length, whether it equals
something, the keys of an object.

Not every text that is computed has to be masked, and one too many blacks out logs:
- Where all of the secrets stand in it as they are (concat, format), masking these is enough: the words around them stay
  readable.
- A short piece of a secret (`https`, a word, a few digits) is not registered; what is made of that piece is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from aibemu.arm.expressions.errors import ExpressionError
from aibemu.arm.expressions.values import Value, node_of
from aibemu.arm.nodes import Node, NodeKind
from aibemu.errors import Span

# Shorter texts are not masked by whoever shows something: they would black out half of every log.
SHORTEST = 4
# A piece of a secret is masked from here on, and a shorter one if it has letters and digits, as a password has.
SHORTEST_PIECE = 8
SHORTEST_MIXED_PIECE = 6
# More than any real template computes: each is looked for in everything that is shown.
MOST = 1000
MOST_SEEN = 20_000
_WORD = re.compile(r"\W*(?:[^\W\d]+|\d+)\W*")


class Secrets:
    """The secret texts of one evaluation; iterate over it for them. They grow while more is evaluated."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._any = False
        # Texts that were looked at, and how many secrets were known then: the same ones come again and again.
        self._seen: dict[str, bool] = {}
        self._seen_with = 0

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def hide(self, node: Node, *, shortest: int = 0) -> Node:
        """The value, secret as a whole. shortest: texts in it that are shorter are too common to be masked."""
        self._any = True
        if node.kind is NodeKind.NUMBER:
            shortest = max(shortest, SHORTEST_MIXED_PIECE)
        if node.kind in (NodeKind.STRING, NodeKind.NUMBER) and len(str(node.value)) >= shortest:
            self._texts.add(str(node.value))
        items = tuple(self.hide(item, shortest=shortest) for item in node.items)
        members = {
            key: replace(member, value=self.hide(member.value, shortest=shortest))
            for key, member in node.members.items()
        }
        secret = node.kind in (NodeKind.STRING, NodeKind.NUMBER)
        return replace(node, items=items, members=members, secret=secret)

    def in_(self, arguments: Iterable[object]) -> list[str]:
        """The secret texts and numbers in the arguments of a function."""
        if not self._any:
            return []
        return [text for argument in arguments if isinstance(argument, Node) for text in self._of(argument)]

    def computed(self, value: Value, span: Span, sources: Sequence[str], *, whole: bool = False) -> Node:
        """What a function made of secrets (`in_` of its arguments). Nodes that it only passes on stay as they are.
        whole: its texts are not pieces of the secret, but all that it holds."""
        if sources:
            for text in _made(value):
                self._register(text, sources, whole)
        return node_of(value, span, secret=bool(sources))

    def _of(self, node: Node) -> Iterator[str]:
        if node.kind in (NodeKind.STRING, NodeKind.NUMBER):
            text = str(node.value)
            # A secret that became a name, an id or a key has lost its mark.
            if node.secret or (node.kind is NodeKind.STRING and self._covers(text)):
                yield text
        for item in node.items:
            yield from self._of(item)
        for key, member in node.members.items():
            if self._covers(key):
                yield key
            yield from self._of(member.value)

    def _covers(self, text: str) -> bool:
        """True when masking leaves nothing of the secret in a text: it has a registered one in it."""
        if self._seen_with != len(self._texts) or len(self._seen) > MOST_SEEN:
            self._seen, self._seen_with = {}, len(self._texts)
        if text not in self._seen:
            self._seen[text] = any(len(known) >= SHORTEST and known in text for known in self._texts)
        return self._seen[text]

    def _register(self, text: str, sources: Sequence[str], whole: bool) -> None:
        if len(text) < SHORTEST or all(source in text and self._covers(source) for source in sources):
            return
        if any(text in around for source in sources for around in self._public_parts(source)):
            return
        # What is as long as what it is made of is no piece of it: only a longer one can be what it is cut from.
        cut = any(len(source) > len(text) for source in sources)
        if cut and not whole and text not in sources and _is_short(text):
            folded = text.casefold()
            longer = (other for other in (*sources, *self._texts) if len(other) > len(text))
            if any(folded in other.casefold() for other in longer):
                return
        if len(self._texts) >= MOST and text not in self._texts:
            raise ExpressionError(f"more than {MOST} values are computed of secrets")
        self._texts.add(text)

    def _public_parts(self, source: str) -> list[str]:
        """What is left of a text around all that is registered in it; nothing when nothing is."""
        secret = bytearray(len(source))
        for known in self._texts:
            at = source.find(known) if len(known) >= SHORTEST else -1
            while at >= 0:
                secret[at : at + len(known)] = b"x" * len(known)
                at = source.find(known, at + 1)
        if not any(secret):
            return []
        return "".join("\0" if hidden else char for char, hidden in zip(source, secret, strict=True)).split("\0")


def _is_short(text: str) -> bool:
    if len(text) >= SHORTEST_PIECE:
        return False
    return len(text) < SHORTEST_MIXED_PIECE or _WORD.fullmatch(text) is not None


def _made(value: Value) -> Iterator[str]:
    """The texts that are no Nodes yet."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _made(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _made(item)
