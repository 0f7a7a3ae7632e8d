"""The side of a worker: orders are taken, files received, images made, and the finished disks given out in pieces.

It knows nothing of Dask: what it tells goes through a function, and what others ask of it are methods. Whoever asked
for a build must be heard of every `LEASE` seconds; else it is cancelled, so that none outlives its client for long.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from aibemu.clock import CancelToken, Clock, Deadline
from aibemu.cluster.incoming import Incoming, TransferFailed, forget_old, read_piece
from aibemu.cluster.orders import FILE, Order, Piece
from aibemu.cluster.relay import BEGUN, MADE, RelayView, Teller, spans_of
from aibemu.disks import convert
from aibemu.engine.api import Installation, prepare, start
from aibemu.engine.build import make_image
from aibemu.engine.dry_run import dry_run
from aibemu.engine.preparing.host import shape_host
from aibemu.engine.state import BuildState
from aibemu.errors import AibemuError, NotFoundError, error_record
from aibemu.events import Kind, Phase
from aibemu.files import make_folder, partial_name
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from aibemu.redact import Redactor
from aibemu.runs.drivers import make_driver
from aibemu.settings import Settings

# Seconds without a word of the client after which its build is cancelled; and between two looks.
LEASE, LOOK_EVERY = 60.0, 0.5


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A build that is carried out here."""

    id: str
    order: Order
    cancel: CancelToken = field(default_factory=CancelToken)
    # Set when all its files are here, when the finished disk was fetched, and when it is over.
    may_start: threading.Event = field(default_factory=threading.Event)
    fetched: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    # When its client was heard of last.
    heard: float = 0.0
    # The finished disk, its sha256 and the seconds that the phases took.
    disk: Path | None = None
    digest: str = ""
    seconds: float = 0.0
    # Id of the run here, and the places of its steps.
    run: str = ""
    spans: Mapping[str, str] = field(default_factory=dict)


class BuildHost:
    """One worker's. name: what people call it. lease: see `LEASE`."""

    def __init__(self, home: Home, clock: Clock, name: str, lease: float = LEASE) -> None:
        self.home, self.clock, self.name, self.lease = home, clock, name, lease
        self.folder = home.cache / "cluster"
        self._attempts: dict[str, Attempt] = {}
        self._lock = threading.Lock()
        forget_old(self.folder, clock.now().timestamp())

    def facts(self) -> dict[str, Any]:
        """What this computer has: `cpus`, `memory_mib` for all machines, `machine_mib` for one, `kvm`..."""
        settings = Settings.load(self.home.config)
        driver = make_driver(settings.driver, {}, self.home)
        capacity, accelerator = driver.capacity(), driver.accelerator()
        shape = shape_host(capacity.memory_mib, capacity.cpus, settings.memory_cap_mib)
        return {
            "name": self.name, "cpus": capacity.cpus, "machine_mib": shape.memory_mib,
            "memory_mib": max(0, capacity.memory_mib - settings.memory_reserve_mib), "kvm": accelerator.name == "kvm",
            "accelerator": f"{accelerator.name}: {accelerator.reason}",
        }  # fmt: skip

    # What the client asks meanwhile; each counts as a word of it.

    def offset(self, attempt: str, digest: str) -> int:
        """How much of a piece is here."""
        return self._incoming(attempt, digest).offset()

    def put(self, attempt: str, digest: str, offset: int, data: bytes) -> int:
        """Take some of a piece; where to go on."""
        return self._incoming(attempt, digest).add(offset, data)

    def keep(self, attempt: str, digest: str) -> None:
        """The whole piece is here: check it, and put it where the build looks for it."""
        found = self._heard(attempt)
        piece = _piece(found.order, digest)
        deadline = Deadline(clock=self.clock, cancel=found.cancel)
        whole = self._incoming(attempt, digest).finish(deadline.check)
        if whole is not None:
            try:
                self._install(piece, whole, deadline)
            finally:
                whole.unlink(missing_ok=True)
        if not self._has(piece):
            raise TransferFailed(f"{digest[:12]} did not arrive", hint="try it again")

    def go(self, attempt: str) -> None:
        """All pieces are here."""
        self._heard(attempt).may_start.set()

    def read(self, attempt: str, offset: int) -> bytes:
        """Some of the finished disk."""
        disk = self._heard(attempt).disk
        if disk is None:
            raise NotFoundError("there is no finished disk")
        return read_piece(disk, offset)

    def done(self, attempt: str) -> None:
        """The finished disk was fetched."""
        self._heard(attempt).fetched.set()

    def cancel(self, attempt: str, reason: str) -> None:
        """End it soon."""
        self._heard(attempt).cancel.cancel(reason)

    def beat(self, attempt: str) -> None:
        """The client is there."""
        self._heard(attempt)

    def cancel_all(self, reason: str) -> None:
        """The worker ends."""
        for attempt in tuple(self._attempts.values()):
            attempt.cancel.cancel(reason)

    # The build

    def build(self, value: Mapping[str, Any], send: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Carry out an order (`Order.to_json`): `count` of the messages that were told, and `error`, a record or None.

        send: tells one message to who asked. What goes wrong is an error of the outcome; only bugs raise.
        """
        order = Order.from_json(value)
        attempt = Attempt(id=secrets.token_hex(8), order=order, heard=self.clock.monotonic())
        teller = Teller(attempt.id, order.run, send)
        with self._leased(attempt):
            try:
                lacks = [piece.digest for piece in order.pieces if not self._has(piece)]
                teller.tell(BEGUN, worker=self.name, lacks=lacks)
                error = self._carry_out(attempt, teller)
            except AibemuError as failed:
                error = failed
            finally:
                if attempt.disk is not None:
                    attempt.disk.unlink(missing_ok=True)
        return {
            "attempt": attempt.id, "count": teller.count, "run": attempt.run, "spans": dict(attempt.spans),
            "made": bool(attempt.digest), "error": error_record(error) if error else None,
        }  # fmt: skip

    def _carry_out(self, attempt: Attempt, teller: Teller) -> AibemuError | None:
        deadline = Deadline(clock=self.clock, cancel=attempt.cancel)
        deadline.poll(attempt.may_start.is_set)
        settings = Settings.load(self.home.config, overrides=attempt.order.settings)
        installation = Installation(home=self.home, settings=settings, clock=self.clock)
        prepared = prepare(
            attempt.order.options, installation, emit=_unheard, cancel=attempt.cancel,
            redactor=Redactor(attempt.order.secrets),
        )  # fmt: skip
        accelerator = prepared.basis.driver.accelerator()
        opening = f"built on {self.name}, {accelerator.name}: {accelerator.reason}"
        attempt.spans = spans_of(prepared.plan)
        handle = start(
            prepared, views=lambda run: [RelayView(teller, opening)], background=False,
            phases=partial(self._phases, attempt, opening),
        )  # fmt: skip
        attempt.run = handle.run.id
        report = handle.wait()
        if attempt.disk is not None:
            size = attempt.disk.stat().st_size
            teller.tell(MADE, digest=attempt.digest, size=size, seconds=attempt.seconds)
            deadline.poll(attempt.fetched.is_set)
        return report.error

    def _phases(self, attempt: Attempt, opening: str, state: BuildState) -> None:
        """All but the last, whose targets are not on this computer; leave the disk as one file."""
        began = self.clock.monotonic()
        state.emit(Kind.NOTICE, level="note", message=opening)
        if state.services.dry_run:
            dry_run(state, tuple(Phase)[:-1])
            return
        make_image(state)
        if state.plan.targets and state.disk is not None:
            attempt.seconds = self.clock.monotonic() - began
            self._finish(attempt, state.disk, state.deadline)
        state.beside.join()

    def _finish(self, attempt: Attempt, disk: Path, deadline: Deadline) -> None:
        make_folder(self.folder, mode=0o700)
        source = convert.info(disk, deadline=deadline, format="qcow2")
        convert.ensure_space(self.folder, convert.needed(source, deadline=deadline), "the finished disk")
        target = self.folder / partial_name("finished.qcow2")
        try:
            convert.to_qcow2(source, target, deadline=deadline)
            convert.check(target, deadline=deadline)
            attempt.digest = convert.flush_and_hash(target, deadline=deadline)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        attempt.disk = target

    # Pieces

    def _incoming(self, attempt: str, digest: str) -> Incoming:
        piece = _piece(self._heard(attempt).order, digest)
        return Incoming(self.folder, piece.digest, piece.size)

    def _has(self, piece: Piece) -> bool:
        if piece.kind == FILE:
            return self._file(piece).is_file()
        return self._images.find(piece.digest) is not None

    def _install(self, piece: Piece, whole: Path, deadline: Deadline) -> None:
        if piece.kind == FILE:
            make_folder(self._file(piece).parent)
            whole.chmod(0o444)
            shutil.move(whole, self._file(piece))
            return
        assert piece.info is not None
        disk = convert.info(whole, deadline=deadline, format="qcow2")
        if disk.references:
            raise TransferFailed(f"the image {piece.digest[:12]} is no image by itself")
        convert.check(whole, deadline=deadline)
        with self._images.scratch() as work:
            blob = work / "image.qcow2"
            shutil.move(whole, blob)
            self._images.adopt(blob, piece.digest, disk.virtual_size, piece.info)

    @property
    def _images(self) -> ImageStore:
        return ImageStore(self.home.images, self.clock)

    def _file(self, piece: Piece) -> Path:
        return self.home.cache / "artifacts" / "files" / piece.digest

    # Attempts

    def _heard(self, attempt: str) -> Attempt:
        with self._lock:
            found = self._attempts.get(attempt)
            if found is None:
                raise NotFoundError(f"there is no build {attempt[:16]} on {self.name}")
            found.heard = self.clock.monotonic()
            return found

    @contextmanager
    def _leased(self, attempt: Attempt) -> Iterator[None]:
        with self._lock:
            self._attempts[attempt.id] = attempt
        watch = threading.Thread(target=self._watch, args=(attempt,), name=f"lease-{attempt.id}", daemon=True)
        watch.start()
        try:
            yield
        finally:
            attempt.over.set()
            watch.join()
            with self._lock:
                del self._attempts[attempt.id]

    def _watch(self, attempt: Attempt) -> None:
        while not self.clock.wait(attempt.over, LOOK_EVERY):
            if self.clock.monotonic() - attempt.heard > self.lease:
                attempt.cancel.cancel(
                    f"nothing was heard for {self.lease:g} s of the computer that asked for the build"
                )


def _piece(order: Order, digest: str) -> Piece:
    for piece in order.pieces:
        if piece.digest == digest:
            return piece
    raise NotFoundError(f"the order names no file {digest[:12]}")


def _unheard(kind: Kind, /, **fields: Any) -> None:
    """What happens before there is a run has been told by who asked."""
