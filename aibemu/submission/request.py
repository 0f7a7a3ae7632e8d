"""What a user asks to be examined: the file and all that goes with it, as typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRequest:
    """parameters: `FILE`, `@FILE`, `NAME=VALUE`, `NAME=@FILE` or a JSON object, as for az, later ones win.
    placeholders: `NAME=VALUE` for `<NAME>`. supplied: `FUNCTION('TARGET')=JSON` for what only Azure knows.
    mappings: `PREFIX=DIR`. online: look at scripts and files on the network too. disabled: ids of findings not to show.
    """

    file: Path
    name: str | None = None
    api_version: str | None = None
    parameters: tuple[str, ...] = ()
    placeholders: tuple[str, ...] = ()
    supplied: tuple[str, ...] = ()
    mappings: tuple[str, ...] = ()
    online: bool = False
    disabled: tuple[str, ...] = ()
