"""Files that this run lends to its guest: each under an address that is good for one request, gone after it.

Nothing of the like is in Azure: the guest's own scripts need it, to fetch what communicators carry slowly. The lender
and the platform are two processes; between them is a private folder with a record for each file that is lent.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aibemu.fabric.addresses import DEPOT_PORT, WIRE
from aibemu.fabric.http import Reply, Request, text_reply
from aibemu.files import make_folder, remove, write_private, write_private_json
from aibemu.reading import open_file
from aibemu.records import SHAPE_ERRORS, read_json

# 256 bits: nobody guesses one, and the guest's connections come one by one.
_TOKEN = re.compile(r"/([0-9a-f]{64})")
_BYTES = 32


class LendingFolder:
    """The lender's side: an `aibemu.communicators.depot.Depot`. The folder is made with the first file."""

    def __init__(self, folder: Path, address: str = f"http://{WIRE}:{DEPOT_PORT}") -> None:
        """address: where the guest finds the `DepotService` of this folder."""
        self._folder = folder
        self._address = address

    @contextmanager
    def lend(self, content: Path | bytes) -> Iterator[str]:
        """See `aibemu.communicators.depot.Depot`."""
        token = secrets.token_hex(_BYTES)
        record, copy = self._folder / f"{token}.json", self._folder / f"{token}.content"
        make_folder(self._folder, mode=0o700)
        try:
            if isinstance(content, bytes):
                write_private(copy, content)
            write_private_json(record, {"file": str(copy if isinstance(content, bytes) else content.absolute())})
            yield f"{self._address}/{token}"
        finally:
            remove(record)
            remove(copy)


class DepotService:
    """The platform's side: a `Service`."""

    name, banner = "depot", "aibemu"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def handle(self, request: Request) -> Reply:
        """The file, to the first who asks for it."""
        found = _TOKEN.fullmatch(request.target)
        if found is None or request.method != "GET":
            return text_reply(404, "Not Found\n")
        record, taken = (self._folder / f"{found[1]}.{kind}" for kind in ("json", "taken"))
        try:
            record.rename(taken)  # of two who ask at once, one does; what it has taken is its own to delete
        except OSError:
            return text_reply(404, "Not Found\n")
        try:
            file = open_file(Path(read_json(taken)["file"]))  # closed by the server
        except (OSError, *SHAPE_ERRORS):
            return text_reply(404, "Not Found\n")
        finally:
            taken.unlink(missing_ok=True)
        return Reply(status=200, content_type="application/octet-stream", file=file)
