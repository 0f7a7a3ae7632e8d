"""The files of a template, fetched side by side. Events are emitted from the caller's thread only."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from collections.abc import Mapping as StrMapping
from pathlib import Path
from typing import Any

from aibemu.artifacts.fetcher import Fetcher, policy_of
from aibemu.artifacts.mapping import Mapping
from aibemu.artifacts.model import Artifact, FetchRequest
from aibemu.clock import Clock, Deadline
from aibemu.download import Policy
from aibemu.errors import ArtifactError, Span
from aibemu.events import Emit, Kind
from aibemu.redact import redact_url

PARALLEL = 4

_Result = Artifact | BaseException
_Key = tuple[str, str | None, int | None]


class ArtifactStore:
    """Fetches into the folder `cache`, which processes may share. policy: how patient it is, and how much it takes."""

    def __init__(
        self, cache: Path, clock: Clock, policy: Policy | None = None, mask: Callable[[str], str] = redact_url
    ) -> None:
        """mask: takes secrets out of addresses, before they are shown or noted."""
        self.cache = cache
        self.clock = clock
        self.policy = policy
        self.mask = mask

    def fetch(
        self,
        uri: str,
        *,
        base: Path,
        mappings: Sequence[Mapping] = (),
        sha256: str | None = None,
        deadline: Deadline,
        emit: Emit,
        offline: bool = False,
        span: Span | None = None,
    ) -> Artifact:
        """Get one file. base: the template's folder. offline: no network, what was fetched before will do.

        Emits `artifact.fetched`, and a notice for each failed try. Raises `ArtifactError`, `HostNotReady` when the
        cache cannot be written, and what `deadline` raises (facts: service 1.6, 3).
        """
        request = FetchRequest(uri=uri, sha256=sha256, span=span)
        return self.fetch_all(
            [request], base=base, mappings=mappings, deadline=deadline, emit=emit, offline=offline
        )[0]  # fmt: skip

    def fetch_all(
        self,
        requests: Sequence[FetchRequest],
        *,
        base: Path,
        mappings: Sequence[Mapping] = (),
        deadline: Deadline,
        emit: Emit,
        offline: bool = False,
        held: StrMapping[str, str] | None = None,
    ) -> list[Artifact]:
        """Get all, in the order of `requests`, the same one once. A single `ArtifactError` tells of all failures.

        held: URI -> sha256 of files that lie in the cache because somebody put them there: these are taken from there,
        and from nowhere else.
        """
        crew = _Crew(requests)
        fetcher = Fetcher(
            cache=self.cache, clock=self.clock, base=base, mappings=mappings, deadline=deadline, offline=offline,
            tell=crew.tell, policy=self.policy or policy_of(), mask=self.mask, held=held or {},
        )  # fmt: skip
        return crew.work(fetcher, deadline, emit)


class _Crew:
    """Some threads that fetch, and the one that waits for them, which alone emits and sees to the deadline."""

    def __init__(self, requests: Sequence[FetchRequest]) -> None:
        self.requests = requests
        # The first of equal requests stands for all of them, and its span is shown.
        self.firsts: dict[_Key, FetchRequest] = {}
        for request in requests:
            self.firsts.setdefault(request.key, request)
        self.todo: queue.SimpleQueue[FetchRequest] = queue.SimpleQueue()
        self.news: queue.SimpleQueue[tuple[Kind, dict[str, Any]] | tuple[FetchRequest, _Result]] = queue.SimpleQueue()
        self.stop = threading.Event()

    def tell(self, kind: Kind, /, **fields: Any) -> None:
        self.news.put((kind, fields))

    def work(self, fetcher: Fetcher, deadline: Deadline, emit: Emit) -> list[Artifact]:
        for request in self.firsts.values():
            self.todo.put(request)
        # Daemons: a read that hangs in a network call must not keep a cancelled run from ending.
        for _ in range(min(PARALLEL, len(self.firsts))):
            threading.Thread(target=self._fetch, args=(fetcher,), name="artifact", daemon=True).start()
        results: dict[_Key, _Result] = {}
        try:
            while len(results) < len(self.firsts):
                deadline.check()
                try:
                    news = self.news.get(timeout=0.1)
                except queue.Empty:
                    continue
                if isinstance(news[0], Kind):
                    emit(news[0], **news[1])
                else:
                    results[news[0].key] = _stop_on_other_errors(news[1])
        except BaseException:
            self.stop.set()
            fetcher.abandon()
            raise
        failed = [result for key in self.firsts if isinstance(result := results[key], ArtifactError)]
        if failed:
            raise failed[0] if len(failed) == 1 else _all_of(failed, len(self.firsts))
        found = [results[request.key] for request in self.requests]
        return [artifact for artifact in found if isinstance(artifact, Artifact)]

    def _fetch(self, fetcher: Fetcher) -> None:
        while not self.stop.is_set():
            try:
                request = self.todo.get_nowait()
            except queue.Empty:
                return
            try:
                self.news.put((request, fetcher.fetch(request)))
            except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
                self.news.put((request, error))


def _stop_on_other_errors(result: _Result) -> _Result:
    if isinstance(result, BaseException) and not isinstance(result, ArtifactError):
        raise result
    return result


def _all_of(errors: Sequence[ArtifactError], wanted: int) -> ArtifactError:
    details: list[str] = []
    for error in errors:
        where = f"{error.span}: " if error.span else ""
        details += [f"{where}{error.message}", *(f"  {line}" for line in error.details)]
        details += [f"  {error.hint}"] if error.hint else []
    return ArtifactError(
        f"{len(errors)} of {wanted} scripts and files could not be fetched", details=details, span=errors[0].span
    )
