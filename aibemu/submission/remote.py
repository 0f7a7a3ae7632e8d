"""Looking at the scripts and files that a template names: those on this machine always, the others with `--online`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aibemu.errors import AibemuError
from aibemu.template.remote import RemoteFile
from aibemu.template.rules.files import files_of
from aibemu.template.view import NodeView

if TYPE_CHECKING:
    from aibemu.artifacts import Mapping
    from aibemu.clock import Clock
    from aibemu.events import Kind

# As much of a file as a script may have.
HEAD = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Looker:
    """base: the template's folder. folder: where people type, for names in `mappings` and messages. online: fetch what
    is not on this machine, into `cache`."""

    base: Path
    folder: Path
    mappings: Sequence[str]
    online: bool
    cache: Path
    clock: Clock

    def look(self, resource: NodeView) -> dict[str, RemoteFile]:
        """What is known of each URI of the template; those that nobody looked at are left out."""
        found = {}
        uris = list(dict.fromkeys(named.uri for named in files_of(resource)))
        mappings = self._mappings() if uris else ()
        for uri in uris:
            file = self._one(uri, mappings)
            if file is not None:
                found[uri] = file
        return found

    def _mappings(self) -> Sequence[Mapping]:
        from aibemu.artifacts import parse_mapping

        return [parse_mapping(text, self.folder) for text in self.mappings]

    def _one(self, uri: str, mappings: Sequence[Mapping]) -> RemoteFile | None:
        from aibemu.artifacts.mapping import find_file

        try:
            path = find_file(uri, base=self.base, mappings=mappings)
        except AibemuError as error:
            return RemoteFile(place=uri, problem=error.message)
        if path is not None:
            return _examined(path, _shown(path, self.folder))
        return self._fetched(uri) if self.online else None

    def _fetched(self, uri: str) -> RemoteFile:
        from aibemu.artifacts import ArtifactStore
        from aibemu.clock import forever

        def silent(kind: Kind, /, **fields: Any) -> None:
            """Each failed try is part of the problem in the end."""

        try:
            artifact = ArtifactStore(self.cache, self.clock).fetch(
                uri, base=self.base, deadline=forever(self.clock), emit=silent
            )
        except AibemuError as error:
            return RemoteFile(place=uri, problem="; ".join([error.message, *error.details]))
        return _examined(artifact.path, uri)


def _examined(path: Path, place: str) -> RemoteFile:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            file.seek(0)
            return RemoteFile(place=place, size=size, sha256=digest, head=file.read(HEAD))
    except FileNotFoundError:
        return RemoteFile(place=place, problem=f"{place} does not exist")
    except OSError as error:
        return RemoteFile(place=place, problem=f"{place}: {error.strerror or error}")


def _shown(path: Path, folder: Path) -> str:
    """A path as the user would type it in `folder`."""
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:
        return str(path)
    return str(path) if relative.startswith("..") else relative
