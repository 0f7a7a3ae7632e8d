"""Looking at the scripts and files that a template names: those on this machine always, the others with `--online`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.errors import AibemuError, ArtifactError, HostNotReady
from aibemu.reading import Unfit, hash_rest, open_file
from aibemu.template.remote import RemoteFile
from aibemu.template.rules.files import files_of
from aibemu.template.view import NodeView

if TYPE_CHECKING:
    from aibemu.artifacts import Mapping
    from aibemu.clock import Deadline
    from aibemu.download import Policy
    from aibemu.events import Emit

# As much of a file as a script may have.
HEAD = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Looker:
    """base: the template's folder. folder: where people type, for names in `mappings` and messages. online: fetch what
    is not on this machine, into `cache`. mask: takes secrets out of addresses."""

    base: Path
    folder: Path
    mappings: Sequence[str]
    online: bool
    cache: Path
    policy: Policy
    deadline: Deadline
    emit: Emit
    mask: Callable[[str], str]

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
        from aibemu.artifacts import parse_mappings

        return parse_mappings(self.mappings, self.folder)

    def _one(self, uri: str, mappings: Sequence[Mapping]) -> RemoteFile | None:
        from aibemu.artifacts.mapping import find_file

        try:
            path = find_file(uri, base=self.base, mappings=mappings)
        except AibemuError as error:
            return RemoteFile(place=uri, problem=error.message)
        if path is not None:
            return self.examined(path, _shown(path, self.folder))
        return self._fetched(uri) if self.online else None

    def _fetched(self, uri: str) -> RemoteFile:
        from aibemu.artifacts import ArtifactStore

        try:
            artifact = ArtifactStore(self.cache, self.deadline.clock, self.policy, self.mask).fetch(
                uri, base=self.base, deadline=self.deadline, emit=self.emit
            )
        except (ArtifactError, HostNotReady) as error:
            return RemoteFile(place=uri, problem="; ".join([error.message, *error.details]))
        return self.examined(artifact.path, uri)

    def examined(self, path: Path, place: str) -> RemoteFile:
        """What is known of a file that is on this machine. place: how to call it in a finding."""
        limit = self.policy.limit
        try:
            with open_file(path, limit=limit) as file:
                head = file.read(HEAD)
                file.seek(0)
                digest = hash_rest(file, path, limit=limit, check=self.deadline.check)
                return RemoteFile(place=place, size=file.tell(), sha256=digest, head=head)
        except FileNotFoundError:
            return RemoteFile(place=place, problem=f"{place} does not exist")
        except Unfit as error:
            return RemoteFile(place=place, problem=f"{place} {error.strerror}")
        except OSError as error:
            return RemoteFile(place=place, problem=f"{place}: {error.strerror or error}")


def _shown(path: Path, folder: Path) -> str:
    """A path as the user would type it in `folder`."""
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:
        return str(path)
    return str(path) if relative.startswith("..") else relative
