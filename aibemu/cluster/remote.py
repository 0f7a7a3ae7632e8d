"""The side of who asks: a build's phases are carried out by a worker of a cluster, all but the last.

The run is one of this home like any other: its record is made of the worker's events, and its targets are written here,
from the finished disk that comes back by its digest. A worker that is lost has left nothing here but the beginning of a
record: the cluster gives the build to another one, once.
"""

from __future__ import annotations

import math
import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from aibemu.clock import CancelToken, Deadline
from aibemu.cluster.connecting import Cluster, ClusterFailed, Job, Message
from aibemu.cluster.incoming import Incoming, TransferFailed, read_piece
from aibemu.cluster.orders import elsewhere, make_order, paths_of
from aibemu.cluster.relay import BEGUN, EVENT, MADE, emit_here, error_of, renamed, span_here
from aibemu.cluster.resources import check_room, listed, needed
from aibemu.engine.api import BuildHandle, Prepared, start
from aibemu.engine.dry_run import dry_run
from aibemu.engine.phases.distribute import distribute
from aibemu.engine.places import ViewsOf
from aibemu.engine.preparing.options import BuildOptions
from aibemu.engine.state import BuildState
from aibemu.errors import AibemuError, BuildCancelled, BuildTimedOut, Expired, NotFoundError, ValidationFailed
from aibemu.events import Event, Kind, Phase
from aibemu.plan.model import step_json
from aibemu.plan.planner import Host
from aibemu.reading import in_words
from aibemu.records import parse_json
from aibemu.template.model import OnError

# Seconds between two words to a worker, of which it wants one in `host.LEASE`; after which one that cannot be reached
# is given up, though the cluster still counts on it; for a cancelled build to end there; for its last messages.
BEAT, GIVEN_UP, ENDING, LAST = 10.0, 120.0, 8.0, 10.0
# How many workers a build may begin on.
MOST_STARTS = 2
_LOOK_EVERY = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A cluster as a place for builds (`aibemu.engine.places.Place`)."""

    cluster: Cluster
    # What its largest worker gives to a machine: for `prepare`.
    host: Host

    def options(self, options: BuildOptions) -> BuildOptions:
        """Those that `prepare` gets for it; see `orders.elsewhere`."""
        return elsewhere(options)

    def start(self, prepared: Prepared, views: ViewsOf) -> BuildHandle:
        """Build it there: what was prepared for `host`, with the options of `orders.elsewhere`."""
        elsewhere(prepared.basis.options)
        return start(prepared, views=views, phases=self.phases(prepared))

    def phases(self, prepared: Prepared) -> partial[None]:
        """What `aibemu.engine.api.start` is told as phases."""
        return partial(_carry_out, self.cluster, tuple(prepared.planned.secrets))


def _carry_out(cluster: Cluster, known: tuple[str, ...], state: BuildState) -> None:
    _Remote(cluster, state).carry_out(known)


class _Remote:
    """One build."""

    def __init__(self, cluster: Cluster, state: BuildState) -> None:
        self.cluster, self.state = cluster, state
        # The build's time is counted by the worker that carries it out; a wait for one is not the build's.
        self.deadline = replace(state.deadline, build_ends=math.inf)
        self.paths = paths_of(state.plan)
        self.starts = self.heard = 0
        self.attempt = self.address = self.worker = self.trouble = ""
        self.seconds = 0.0
        self.reached = self.beaten = self.deadline.clock.monotonic()
        self.waits = False

    def carry_out(self, secrets: tuple[str, ...]) -> None:
        state, services = self.state, self.state.services
        need = needed(services, state.plan)
        check_room(need, self.cluster.workers(self.deadline))
        if OnError.ABORT in (state.plan.template.on_customizer_error, state.plan.template.on_validation_error):
            message = "errorHandling abort: no machine is kept of a build on another computer"
            state.emit(Kind.NOTICE, level="note", message=message)
        order = make_order(
            services.run.id, self.cluster.topic, services.options, services.settings, state.plan, secrets
        )  # fmt: skip
        why = f"a worker with {listed(need)}"
        state.emit(Kind.NOTICE, level="note", message=f"waiting for {why}", awaited=why)
        self.waits = True
        with self.cluster.job(order, need) as job:
            try:
                outcome = self._follow(job)
            except BaseException:
                self._give_up(job)
                raise
        self._conclude(outcome)
        if services.dry_run:
            dry_run(state, [Phase.DISTRIBUTE])
        else:
            used = state.plan.timeout_seconds - self.seconds
            state.deadline = replace(state.deadline, build_ends=self.deadline.clock.monotonic() + used)
            distribute(state)
        state.beside.join()

    # While a worker builds

    def _follow(self, job: Job) -> Mapping[str, Any]:
        while True:
            message = _next(job, _LOOK_EVERY)
            if message is not None:
                self._hear(message)
            elif job.status != "pending":
                outcome = self._outcome(job)
                self._await_rest(job, outcome)
                return outcome
            self.deadline.check()
            self._beat()

    def _hear(self, message: Message) -> None:
        what, fields = message.get("what"), parse_json(message["fields"])
        if what == BEGUN:
            self._begin(message, fields)
        elif message["attempt"] != self.attempt or message["number"] <= self.heard:
            return
        self.heard = message["number"]
        if what == EVENT:
            event = Event.from_json(fields["event"])
            emit_here(self.state, event, event.run)
        elif what == MADE:
            with self._forgiving():
                self._fetch(fields)

    def _begin(self, message: Message, fields: Mapping[str, Any]) -> None:
        self.starts += 1
        lost, self.worker = self.worker, str(fields["worker"])
        if self.starts > MOST_STARTS:
            self.attempt, self.address = message["attempt"], message["address"]
            raise ClusterFailed(
                f"the build was lost with its worker {MOST_STARTS} times, the last time with {lost}",
                hint="look whether something in it stops the workers: memory, disk, power",
            )
        self.attempt, self.address, self.heard = message["attempt"], message["address"], 0
        self.reached = self.deadline.clock.monotonic()
        if lost:
            self._start_again(lost)
        if self.waits:
            self.waits = False
            self.state.emit(Kind.NOTICE, level="note", message=f"{self.worker} has room: going on", awaited="")
        with self._forgiving():
            for digest in fields["lacks"]:
                self._send(digest)
            self._ask("go")

    def _start_again(self, lost: str) -> None:
        state, plan = self.state, self.state.plan
        message = f"the worker {lost} was lost: the build starts again on {self.worker}"
        state.emit(Kind.NOTICE, level="warning", message=message)
        state.end.forget()
        state.disk, state.digest = None, ""
        state.emit(
            Kind.RUN_RETRIED, steps=[step_json(step) for step in plan.steps],
            validators=[step_json(step) for step in plan.validators], skipped=[],
        )  # fmt: skip

    def _send(self, digest: str) -> None:
        path = self.paths[digest]
        size = path.stat().st_size
        what = "the source image" if digest == self.state.plan.source.image.digest else "a file"
        message = f"sending {what} ({in_words(size)}) to {self.worker}"
        self.state.emit(Kind.NOTICE, level="note", message=message)
        for last in (False, True):
            offset = int(self._ask("offset", digest))
            while offset < size:
                offset = int(self._ask("put", digest, offset, read_piece(path, offset)))
            try:
                self._ask("keep", digest)
                return
            except TransferFailed:
                if last:
                    raise

    def _fetch(self, fields: Mapping[str, Any]) -> None:
        """The finished disk: in pieces, checked by its digest, and only then where the targets look for it."""
        services = self.state.services
        incoming = Incoming(services.run.work, fields["digest"], int(fields["size"]))
        while (offset := incoming.offset()) < incoming.size:
            piece = self._ask("read", offset)
            if not piece:
                raise TransferFailed(f"the finished disk on {self.worker} is shorter than was said")
            incoming.add(offset, piece)
        whole = incoming.finish(self.deadline.check)
        if whole is None:
            raise TransferFailed("the finished disk was taken away while it was fetched")
        disk: Path = services.run.work / "finished.qcow2"
        whole.replace(disk)
        self.state.disk, self.state.digest, self.seconds = disk, incoming.digest, float(fields["seconds"])
        self._ask("done")

    def _ask(self, method: str, *words: Any) -> Any:
        found = self.cluster.call(self.address, method, self.attempt, *words, deadline=self.deadline)
        self.reached = self.beaten = self.deadline.clock.monotonic()
        return found

    def _beat(self) -> None:
        now = self.deadline.clock.monotonic()
        if not self.attempt or now - self.beaten < BEAT:
            return
        self.beaten = now
        with self._forgiving():
            self._ask("beat")
        if now - self.reached > GIVEN_UP:
            raise ClusterFailed(
                f"the worker {self.worker} has not answered for {GIVEN_UP:g} s", details=[self.trouble],
                hint="look what became of it",
            )  # fmt: skip

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Pass over whatever Dask raises of a worker that is gone: the cluster says by itself whether it is lost; and
        `NotFoundError`: the worker has ended the build, and its outcome is on the way."""
        try:
            yield
        except (NotFoundError, Expired) as error:
            self.trouble = error.message
        except AibemuError:
            raise
        except Exception as error:  # noqa: BLE001 - Dask's own are of many kinds
            self.trouble = f"{type(error).__name__}: {error}"[:300]

    # At the end

    def _outcome(self, job: Job) -> Mapping[str, Any]:
        if job.status == "finished":
            found: Mapping[str, Any] = self.cluster.ask(job.future.result, self.deadline)
            return found
        if job.status == "error":
            error = self.cluster.ask(job.future.exception, self.deadline)
            if type(error).__name__ == "KilledWorker":
                raise ClusterFailed(
                    f"the build was lost with its worker, the last time with {self.worker}",
                    hint="look whether something in it stops the workers: memory, disk, power",
                )
            raise ClusterFailed(f"the worker {self.worker} failed: {type(error).__name__}: {error}"[:500])
        raise ClusterFailed(
            f"the connection to the scheduler of {self.cluster.name} was lost",
            details=["workers cancel the builds of who is not heard of for a minute"],
            hint="look whether the scheduler still runs, then build again",
        )

    def _await_rest(self, job: Job, outcome: Mapping[str, Any]) -> None:
        """Messages and outcomes come by two ways."""
        bound = self.deadline.within(LAST, scaled=False)
        with suppress(Expired):
            while outcome["attempt"] != self.attempt or self.heard < outcome["count"]:
                bound.check()
                message = _next(job, _LOOK_EVERY)
                if message is not None:
                    self._hear(message)
            return
        text = f"some of what {self.worker} told did not arrive: its own record is run {outcome['run']} there"
        self.state.emit(Kind.NOTICE, level="warning", message=text)

    def _give_up(self, job: Job) -> None:
        """End it on the worker, too; tell what it still says, for a moment."""
        token = CancelToken()
        bound = Deadline(clock=self.deadline.clock, cancel=token).within(ENDING)
        if not self.attempt or job.status != "pending":
            return
        reason = self.deadline.cancel.reason if self.deadline.cancel else "the build was given up"
        with self._forgiving():
            self.cluster.call(self.address, "cancel", self.attempt, reason, deadline=bound, seconds=ENDING / 2)
            while job.status == "pending":
                bound.check()
                message = _next(job, _LOOK_EVERY)
                if message is not None and message.get("what") == EVENT and message["attempt"] == self.attempt:
                    self._hear(message)

    def _conclude(self, outcome: Mapping[str, Any]) -> None:
        """What the build on the worker came to, as if it had been here."""
        state = self.state
        record = outcome["error"]
        if record is None:
            if state.plan.targets and state.disk is None and not state.services.dry_run:
                raise ClusterFailed(f"the finished disk did not come from {self.worker}", hint="build it again")
            return
        span = span_here(state.plan, record.get("span"), outcome["spans"])
        error = error_of(renamed(record, outcome["run"], state.services.run.id), span)
        if isinstance(error, ValidationFailed) and state.disk is not None:
            state.end.validation_error = error  # distributing nevertheless, as the template asks
            return
        if isinstance(error, BuildTimedOut):
            raise BuildTimedOut("context deadline exceeded")
        if isinstance(error, BuildCancelled):
            raise ClusterFailed(f"{self.worker} gave the build up: {error.message}", hint="build it again")
        raise error


def _next(job: Job, seconds: float) -> Message | None:
    try:
        return job.box.get(timeout=seconds)
    except queue.Empty:
        return None
