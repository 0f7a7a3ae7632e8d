"""How .NET compares text by culture: `less`, `greater` by order, `startsWith`, `endsWith` and `indexOf` by letters.

.NET asks ICU, with the root collation of CLDR. pyuca has the same order: see fixtures/engine-answers/order.json.
Loading its table takes 0.2 s of CPU time, so what needs no table is answered without.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any
from unicodedata import combining, normalize

from aibemu.arm.functions.units import place

# Of these characters the order by culture is the order of their codes.
_SIMPLE = re.compile(r"[0-9a-z]*")
# Printable ASCII: letters differ by case alone, and nothing is passed over.
_PLAIN = re.compile(r"[ -~]*")

Element = tuple[int, int]  # the letter, and its accent


def before(left: str, right: str) -> bool:
    """True when the first text comes before the second: `a` before `A`, `A` before `b`."""
    if _SIMPLE.fullmatch(left) and _SIMPLE.fullmatch(right):
        return left < right
    collator = _collator()
    return bool(collator.sort_key(left) < collator.sort_key(right))


def starts_with(text: str, start: str) -> bool:
    """True when the text begins with the other one, whatever the case. An accent belongs to the letter before it."""
    if _PLAIN.fullmatch(text) and _PLAIN.fullmatch(start):
        return text.lower().startswith(start.lower())
    whole, wanted = _elements(text), _elements(start)
    return whole[: len(wanted)] == wanted and not _goes_on(whole, len(wanted))


def ends_with(text: str, end: str) -> bool:
    """True when the text ends with the other one, whatever the case."""
    if _PLAIN.fullmatch(text) and _PLAIN.fullmatch(end):
        return text.lower().endswith(end.lower())
    whole, wanted = _elements(text), _elements(end)
    return not wanted or whole[-len(wanted) :] == wanted


def index_of(text: str, wanted: str) -> int:
    """The place of the first time that the other text is in it, whatever the case, in UTF-16 units; -1 without one."""
    if _PLAIN.fullmatch(text) and _PLAIN.fullmatch(wanted):
        return text.lower().find(wanted.lower())
    return next(iter(_found(text, wanted)), -1)


def last_index_of(text: str, wanted: str) -> int:
    """The place of the last time that the other text is in it; -1 without one. Where that is empty: the place of the
    last unit, as in old versions of .NET, and in Azure."""
    if _PLAIN.fullmatch(text) and _PLAIN.fullmatch(wanted):
        return text.lower().rfind(wanted.lower()) if wanted else max(0, len(text) - 1)
    if not _elements(wanted):
        return max(0, place(text, len(text)) - 1)
    return next(iter(reversed(_found(text, wanted))), -1)


def _found(text: str, wanted: str) -> list[int]:
    """All places."""
    searched = _elements(wanted)
    if not searched:
        return [0]
    placed = [(element, at) for at, cluster in _clusters(text) for element in _elements(cluster)]
    elements = [element for element, _ in placed]
    count = len(searched)
    return [
        place(text, placed[start][1])
        for start in range(len(elements) - count + 1)
        if elements[start : start + count] == searched and _whole(placed, start, start + count)
    ]


def _whole(placed: Sequence[tuple[Element, int]], start: int, end: int) -> bool:
    """True when what is between two places are whole characters with all of their accents."""
    begins = start == 0 or placed[start - 1][1] != placed[start][1]
    ends = end == len(placed) or placed[end - 1][1] != placed[end][1]
    return begins and ends


def _clusters(text: str) -> list[tuple[int, str]]:
    """Each character with the accents that follow it, and its place."""
    starts = [at for at, char in enumerate(text) if at == 0 or not combining(char)]
    return [(at, text[at:end]) for at, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def _goes_on(elements: Sequence[Element], place_: int) -> bool:
    return 0 < place_ < len(elements) and elements[place_][0] == 0


def _elements(text: str) -> list[Element]:
    """Letters and accents without their case; what has neither, such as a soft hyphen, is passed over."""
    found = _collator().collation_elements(normalize("NFD", text))
    return [(weights[0], weights[1]) for weights in found if any(weights[:2])]


@cache
def _collator() -> Any:
    from pyuca import Collator

    return Collator()


__all__ = ["before", "ends_with", "index_of", "last_index_of", "starts_with"]
