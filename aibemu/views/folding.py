"""A view that keeps a run's summary as it grows, so that nobody need read the record for it."""

from __future__ import annotations

from aibemu.events import Event
from aibemu.reports.fold import Folding
from aibemu.reports.summary import RunSummary


class FoldingView:
    """Folds every event of one run."""

    def __init__(self) -> None:
        self._folding = Folding()

    def on_event(self, event: Event) -> None:
        self._folding.add(event)

    def close(self) -> None:
        return None

    def summary(self) -> RunSummary:
        """How things stand; not while an event is being emitted."""
        return self._folding.summary()
