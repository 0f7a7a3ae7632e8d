"""What is asked for and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aibemu.errors import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """A URI of a template (http, https, file or a path), the sha256 it must have or None, where it is written, and the
    bytes that the file may have, if that is less than for all files."""

    uri: str
    sha256: str | None = None
    span: Span | None = None
    limit: int | None = None

    @property
    def key(self) -> tuple[str, str | None, int | None]:
        """The same for requests that one file answers."""
        return self.uri, self.sha256, self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The fetched file: `uri` as in the template, `path` an unchanging copy, its sha256 (hex) and size in bytes."""

    uri: str
    path: Path
    sha256: str
    size: int
