"""The page docs/settings.md, made from the table of `aibemu.settings`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aibemu.settings import Described

_HEAD = """# Settings

Made by `aibemu config --markdown`. `aibemu config` shows the values that count here, and where each comes from.

A setting is written as `name: value` into `config.yaml` (`aibemu config` says where that file is), or given as a
variable. The command line counts for more than a variable, a variable for more than the file. A list is written as a
list of YAML, in a variable with one entry per line. A name that is not known, or a wrong kind of value, is an error.
"""


def page(table: Sequence[Described]) -> Iterator[str]:
    """Its lines."""
    yield from _HEAD.splitlines()
    yield ""
    yield "| setting | built-in | variable | meaning |"
    yield "|---|---|---|---|"
    for one in table:
        default = f"`{one.default}`" if one.default else "(none)"
        yield f"| `{one.name}` | {default} | `{one.variable}` | {one.meaning.replace('|', chr(92) + '|')} |"
