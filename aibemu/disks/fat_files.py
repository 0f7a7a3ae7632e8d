"""Files of a FAT file system, read by mtools: no root, no mount. Nothing is written."""

from __future__ import annotations

import os
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.disks import Unreadable
from aibemu.disks.nodes import FILE, FOLDER
from aibemu.errors import HostNotReady
from aibemu.processes import ToolFailed, run_tool

_BOUND = 30.0  # seconds for one question; each takes some milliseconds
_ENVIRONMENT = {"MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": os.devnull, "LC_ALL": "C.UTF-8"}


class FatFiles:
    """See `aibemu.disks.nodes`. Nodes are paths, a folder's with a slash at its end."""

    def __init__(self, raw: Path, offset: int, *, deadline: Deadline) -> None:
        """The file system at byte `offset` of the file `raw`."""
        self._image = f"{raw}@@{offset}"
        self._deadline = deadline

    def root(self) -> str:
        return "/"

    def kind(self, node: str) -> str:
        return FOLDER if node.endswith("/") else FILE

    def size(self, node: str) -> int:
        return len(self._ask("mtype", node))

    def link(self, node: str) -> str:
        """FAT has none."""
        return ""

    def content(self, node: str, most: int) -> bytes:
        return self._ask("mtype", node).encode("utf-8", "surrogateescape")[:most]

    def entries(self, node: str) -> dict[str, str]:
        if not node.endswith("/"):
            return {}
        lines = self._ask("mdir", "-b", "-a", node).splitlines()
        found = [line.removeprefix("::") for line in lines if line.startswith("::")]
        return {path.rstrip("/").rpartition("/")[2]: path for path in found}

    def _ask(self, program: str, *words: str) -> str:
        *options, path = words
        try:
            return run_tool(
                [program, *options, "-i", self._image, f"::{path}"], deadline=self._deadline, seconds=_BOUND,
                env=os.environ | _ENVIRONMENT,
            ).stdout  # fmt: skip
        except (ToolFailed, HostNotReady) as error:
            raise Unreadable(f"its FAT file system cannot be read: {error.message}") from error
