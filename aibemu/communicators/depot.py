"""Files that a guest fetches itself, over HTTP from its own platform: for communicators that carry bulk data slowly."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class Depot(Protocol):
    """Lends files to one machine's guest."""

    def lend(self, content: Path | bytes) -> AbstractContextManager[str]:
        """The address, as the guest reaches it, from which the content can be fetched once; with the block's end it is
        gone. OSError when it cannot be lent."""
        ...
