"""The functions of the ARM template language that Microsoft documents for resource-group deployments.

Each module holds a table; `find` looks a name up in all of them, in any case. `LAZY` holds the few that decide which of
their arguments are evaluated at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from aibemu.arm.functions.lazy import LAZY
from aibemu.arm.functions.signature import Function

MODULES = (
    "strings", "formatting", "hashing", "arrays", "access", "uris", "objects", "numeric", "logical", "dates",
    "cidr", "lambdas", "scopes", "resources", "azure",
)  # fmt: skip


@cache
def _table() -> Mapping[str, Function]:
    found: dict[str, Function] = {}
    for module in MODULES:
        found |= {entry.name.casefold(): entry for entry in import_module(f"{__name__}.{module}").TABLE}
    return found


def find(name: str) -> Function | None:
    """The function of that name, in any case. Any name that begins with `list` is one: `listKeys`, `listSecrets`..."""
    folded = name.casefold()
    found = _table().get(folded)
    if found is None and folded.startswith("list"):
        from aibemu.arm.functions.azure import list_function

        return list_function(name)
    return found


def names() -> tuple[str, ...]:
    """All names, as documented."""
    return (*(entry.name for entry in _table().values()), "if", "and", "or", "lambda")


__all__ = ["LAZY", "find", "names"]
