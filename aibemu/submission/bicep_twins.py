"""Which warning of the Bicep compiler means the same as a finding of ours: of two, ours is shown.

Inside of a resource the compiler only warns, for its types may be wrong; ours says what the service does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from aibemu.arm.diagnostics import Diagnostic, Severity

_ORDER = list(Severity)
_NAMES = re.compile(r'"([^"]+)"')
_REQUIRED = "missing the following required properties: "
# Whether one of ours means what a warning of the compiler means. Both are in one line.
_Means = Callable[[Diagnostic, Diagnostic], bool]


def _same_place(theirs: Diagnostic, ours: Diagnostic) -> bool:
    return theirs.span.column == ours.span.column


def _bad_value(theirs: Diagnostic, ours: Diagnostic) -> bool:
    return _same_place(theirs, ours) and ours.message.startswith("Field '")


def _unknown_field(theirs: Diagnostic, ours: Diagnostic) -> bool:
    names = _NAMES.findall(theirs.message)[:1]
    return _same_place(theirs, ours) and any(ours.message.startswith(f'unknown field "{name}"') for name in names)


def _no_such_version(theirs: Diagnostic, ours: Diagnostic) -> bool:
    return ours.id == "T05" and "imagetemplates@" in theirs.message.casefold()


def _same_each_turn(theirs: Diagnostic, ours: Diagnostic) -> bool:
    return ours.id == "X11" and "each turn of the loop" in ours.message


def _is_read_only(theirs: Diagnostic, ours: Diagnostic) -> bool:
    return ours.id == "S04" and _same_place(theirs, ours)


# By the compiler's code. What an object lacks is compared by names: see `_told`.
_MEANS: dict[str, _Means] = {
    "BCP036": _bad_value,
    "BCP037": _unknown_field,
    "BCP073": _is_read_only,
    "BCP081": _no_such_version,
    "BCP088": _bad_value,
    "BCP089": _unknown_field,
    "BCP179": _same_each_turn,
    "BCP327": _bad_value,
    "BCP328": _bad_value,
    "BCP332": _bad_value,
    "BCP333": _bad_value,
    "BCP416": _bad_value,
}


def without_twins(said: Iterable[Diagnostic], ours: Sequence[Diagnostic]) -> list[Diagnostic]:
    """What the compiler said, without the warnings that one of ours tells too. ours: with places in Bicep."""
    lines: dict[tuple[str, int], list[Diagnostic]] = {}
    for one in ours:
        lines.setdefault((one.span.file, one.span.line), []).append(one)
    return [theirs for theirs in said if not _told(theirs, lines.get((theirs.span.file, theirs.span.line), []))]


def _told(theirs: Diagnostic, ours: Sequence[Diagnostic]) -> bool:
    if theirs.severity is Severity.ERROR:
        return False
    weighty = [one for one in ours if _ORDER.index(one.severity) <= _ORDER.index(theirs.severity)]
    if missing := _missing(theirs):
        return all(any(one.message.startswith(f"Missing field '{name}'") for one in weighty) for name in missing)
    means = _MEANS.get(theirs.id)
    return means is not None and any(means(theirs, one) for one in weighty)


def _missing(theirs: Diagnostic) -> list[str]:
    """The names of what an object lacks."""
    if theirs.id == "BCP035" and _REQUIRED in theirs.message:
        return _NAMES.findall(theirs.message.partition(_REQUIRED)[2].partition(". ")[0])
    if theirs.id == "BCP078":
        return _NAMES.findall(theirs.message)[:1]
    return []
