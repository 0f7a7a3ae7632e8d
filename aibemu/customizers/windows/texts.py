"""The PowerShell that aibemu generates: the files of `texts/`, with values put in where they say `@@NAME@@`."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from importlib.resources import files

_ESCAPED = re.compile(r"[$\"`']")
_PLACE = re.compile(r"@@[A-Z_]+@@")


def text(name: str, values: Mapping[str, object]) -> str:
    """The file `name` with `values` in it; KeyError for a place that has none."""
    return filled(packaged("aibemu.customizers.windows", f"texts/{name}.ps1"), values)


def filled(raw: str, values: Mapping[str, object]) -> str:
    """A text with `values` in its places; KeyError for a place that has none."""
    return _PLACE.sub(lambda place: str(values[place[0].strip("@")]), raw)


def packaged(package: str, name: str) -> str:
    """A text file that comes with aibemu."""
    return (files(package) / name).read_bytes().decode()


def assignments(environment: Mapping[str, str]) -> str:
    """Environment variables as Packer sets them: on one line, by name, in double quotes with backticks."""
    return "".join(
        f'$env:{name}="{_ESCAPED.sub(lambda found: "`" + found[0], value)}"; '
        for name, value in sorted(environment.items())
    )


def with_mark(script: str) -> bytes:
    """A file that Windows PowerShell 5.1 reads as UTF-8: without the byte order mark it takes it for the ANSI code
    page."""
    return codecs.BOM_UTF8 + script.encode()
