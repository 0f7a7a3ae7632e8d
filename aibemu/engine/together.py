"""Several builds at once: each is started at a place, and one that fails stops the others only where that is wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

from aibemu.clock import CancelToken
from aibemu.engine.api import BuildReport, Prepared
from aibemu.engine.places import Building, Place, ViewsOf
from aibemu.errors import BuildCancelled
from aibemu.runs.store import Run


class CancelAll(CancelToken):
    """Cancels all builds; each has a token of its own, which is pulled with it. A signal handler may pull it."""

    def __init__(self) -> None:
        super().__init__()
        self._each: list[CancelToken] = []

    def one(self) -> CancelToken:
        """The token of one more build."""
        token = CancelToken()
        self._each.append(token)
        if self:
            token.cancel(self.reason)
        return token

    def cancel(self, reason: str) -> None:
        super().cancel(reason)
        for token in self._each:
            token.cancel(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One of several builds, when it is over."""

    prepared: Prepared
    # None when it could not begin.
    run: Run | None = None
    # None when it could not begin, or broke off by a bug or before its outputs were copied.
    report: BuildReport | None = None
    # What ended it, None when it succeeded; one that is no `AibemuError` is a bug.
    error: BaseException | None = None
    # Whether it was stopped because another one failed.
    stopped: bool = False


@dataclass(slots=True, kw_only=True)
class Together:
    """Builds of one call. fail_fast: the first that fails stops the others."""

    place: Place
    fail_fast: bool = False
    _going: dict[int, Building] = field(default_factory=dict)
    _over: SimpleQueue[tuple[int, BuildReport | None, BaseException | None]] = field(default_factory=SimpleQueue)
    _failed: str = ""

    def build(self, prepared: Sequence[Prepared], views: Callable[[Prepared], ViewsOf]) -> list[Ended]:
        """Build all, and wait for all; how each ended, in the order of `prepared`. Failures and bugs of a build are in
        what is returned; what a signal raises in the thread that waits goes up."""
        for number, one in enumerate(prepared):
            self._start(number, one, views(one))
        ended: dict[int, Ended] = {}
        while len(ended) < len(prepared):
            number, report, error = self._over.get()
            one, building = prepared[number], self._going.pop(number, None)
            stopped = bool(self._failed) and isinstance(error, BuildCancelled)
            ended[number] = Ended(
                prepared=one, run=building.run if building else None, report=report, error=error, stopped=stopped
            )
            failed = error is not None and not isinstance(error, BuildCancelled)
            if failed and self.fail_fast and not self._failed:
                self._stop_others(one.plan.template.name)
        return [ended[number] for number in range(len(prepared))]

    def _start(self, number: int, prepared: Prepared, views: ViewsOf) -> None:
        try:
            building = self.place.start(prepared, views)
        except Exception as error:  # noqa: BLE001 - of this build: it is in its `Ended`
            self._over.put((number, None, error))
            return
        self._going[number] = building
        threading.Thread(target=self._wait, args=(number, building), name=f"wait-{number}", daemon=True).start()

    def _wait(self, number: int, building: Building) -> None:
        try:
            report = building.wait()
        except BaseException as error:  # noqa: BLE001 - as above
            self._over.put((number, None, error))
        else:
            self._over.put((number, report, report.error))

    def _stop_others(self, name: str) -> None:
        self._failed = name
        for building in self._going.values():
            building.cancel(f"stopped, as {name} failed (--fail-fast)")
