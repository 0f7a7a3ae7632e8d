"""A connection to a Dask cluster: one that is there, or one that is started by SSH for as long as it is needed.

Dask sends Python objects: who reaches a scheduler can run programs on its workers, and whoever is the scheduler can run
programs here. So what is started here listens on the first named host only, and TLS is handed through.
"""

from __future__ import annotations

import logging
import queue
import secrets
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from aibemu.clock import Clock, Deadline
from aibemu.cluster.calls import build, call
from aibemu.cluster.orders import Order
from aibemu.cluster.resources import CPUS, MACHINE, VERSION
from aibemu.errors import AibemuError, Expired, HostNotReady, UsageError
from aibemu.plan.planner import Host

# Seconds for a scheduler to answer, for hosts to start their workers, and for a worker to do what it is asked.
CONNECT, START, ASK = 15.0, 180.0, 60.0
_LEAVE = 5.0  # seconds for it to be left, which is waited for at the end of a cancelled build, too
# Builds that one worker may have at once, if it has room for so many; seconds after which what was started by SSH ends
# by itself when nobody uses it, or its scheduler is gone.
_THREADS, _IDLE, _DEATH = 16, "10 minutes", 60
_LOOK_EVERY = 0.05
_CA, _CERT, _KEY = "ca.pem", "cert.pem", "key.pem"
_Answer = TypeVar("_Answer")
Message = dict[str, Any]


class ClusterFailed(AibemuError):
    """The cluster lost what it was doing."""

    code = "CLUSTER_FAILED"
    category = "HOST"
    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which cluster: the address of a scheduler (`tcp://HOST:PORT`, `tls://...`), or names of hosts for SSH."""

    scheduler: str | None = None
    hosts: tuple[str, ...] = ()
    # Of the hosts: the Python that has aibemu. "": the path of this one.
    python: str = ""
    # The folder with ca.pem, cert.pem and key.pem, on hosts of the same name; None: no TLS.
    tls: Path | None = None

    @property
    def name(self) -> str:
        """For people."""
        return self.scheduler or ", ".join(self.hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A build that was given to the cluster."""

    future: Any
    # What its worker tells.
    box: queue.SimpleQueue[Message]

    @property
    def status(self) -> str:
        """`pending`, `finished`, `error`, or `cancelled` and `lost` when the scheduler is gone."""
        return str(self.future.status)


class Cluster:
    """A client of one cluster. Its methods may be called from any thread."""

    def __init__(self, client: Any, clock: Clock, name: str) -> None:
        self.client, self.clock, self.name = client, clock, name
        self.topic = f"aibemu-{secrets.token_hex(8)}"
        self._boxes: dict[str, queue.SimpleQueue[Message]] = {}
        client.subscribe_topic(self.topic, self._hear)

    def workers(self, deadline: Deadline) -> dict[str, Mapping[str, float]]:
        """Name -> resources of each worker that there is now; those without aibemu's have none of it."""
        info = self.ask(lambda: self.client.scheduler_info(n_workers=-1), deadline)
        return {
            str(one.get("name") or address): dict(one.get("resources") or {})
            for address, one in info["workers"].items()
        }

    def host(self, deadline: Deadline) -> Host:
        """What the largest of the workers gives to one machine. `HostNotReady` when none has this aibemu."""
        workers = self.workers(deadline)
        fit = [has for has in workers.values() if VERSION in has]
        if not fit:
            raise _no_worker(self.name, workers)
        return Host(
            cpus=int(max(has.get(CPUS, 1) for has in fit)), memory_mib=int(max(has.get(MACHINE, 0) for has in fit))
        )

    @contextmanager
    def job(self, order: Order, need: Mapping[str, float]) -> Iterator[Job]:
        """Give the build to the cluster; it is taken back at the end, if no worker has begun with it."""
        box: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._boxes[order.run] = box
        try:
            future = self.client.submit(
                build, order.to_json(), key=f"aibemu-{order.run}-{secrets.token_hex(4)}", resources=dict(need),
                pure=False, retries=0,
            )  # fmt: skip
            try:
                yield Job(future=future, box=box)
            finally:
                # Whatever is wrong with the cluster: the build is over.
                _quietly(lambda: self._take_back(future), Deadline(clock=self.clock).within(_LEAVE))
        finally:
            del self._boxes[order.run]

    def _take_back(self, future: Any) -> None:
        if future.status == "pending":
            self.client.cancel([future])
        future.release()

    def call(self, address: str, method: str, *words: Any, deadline: Deadline, seconds: float = ASK) -> Any:
        """Ask a worker's `BuildHost`. Raises what that raises, `Expired`, and what Dask raises of one that is gone."""
        found = self.ask(lambda: self.client.run(call, method, *words, workers=[address]), deadline, seconds)
        return found[address]

    def ask(self, question: Callable[[], _Answer], deadline: Deadline, seconds: float = ASK) -> _Answer:
        """The answer of the cluster, waited for as long as `deadline` lets, and `seconds`: Dask itself may wait for
        ever for a scheduler that is gone."""
        return bounded(question, deadline.within(seconds, scaled=False))

    def _hear(self, event: tuple[float, Message]) -> None:
        """In Dask's own thread."""
        message = event[1]
        if box := self._boxes.get(str(message.get("order"))):
            box.put(message)


def bounded(question: Callable[[], _Answer], deadline: Deadline) -> _Answer:
    """What `question` gives, asked in a thread that is left alone when `deadline` says so."""
    answers: list[_Answer] = []
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(question())
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            errors.append(error)

    thread = threading.Thread(target=ask, name="dask-question", daemon=True)
    thread.start()

    def answered() -> bool:
        thread.join(_LOOK_EVERY)
        return not thread.is_alive()

    deadline.poll(answered, every=0)
    if errors:
        raise errors[0]
    return answers[0]


def _quietly(question: Callable[[], object], deadline: Deadline) -> None:
    """What is gone cannot be closed: that is told to nobody but who reads Python's log."""
    try:
        bounded(question, deadline)
    except Exception as error:  # noqa: BLE001 - Dask's own are of many kinds
        logging.getLogger(__name__).debug("not closed: %s", error)


@contextmanager
def connected(where: Where, *, deadline: Deadline, warn: Callable[[str], None]) -> Iterator[Cluster]:
    """The cluster. `HostNotReady` when the extra is missing, nobody answers or no worker fits; what `deadline` raises.

    warn: hears of what is dangerous, and of workers that cannot be used.
    """
    check(where)
    distributed = _library()
    security = _security(distributed, where)
    for name in ("distributed", "asyncssh", "tornado"):  # they would write into the live view
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with _started(where, security, deadline, warn) as address:
        client = _client(distributed, address, security, where, deadline)
        try:
            cluster = Cluster(client, deadline.clock, where.name)
            cluster.host(deadline)  # whether there is one that fits
            for name, has in cluster.workers(deadline).items():
                if VERSION not in has:
                    warn(f"the worker {name} is not used: {_unfit(has)}")
            yield cluster
        finally:
            _quietly(lambda: client.close(timeout=_LEAVE / 2), Deadline(clock=deadline.clock).within(_LEAVE))


def check(where: Where) -> None:
    """`UsageError` for what names no cluster."""
    if bool(where.scheduler) == bool(where.hosts):
        raise UsageError("--hosts and --scheduler are two ways to name a cluster", hint="give one of them")
    if where.scheduler and not where.scheduler.startswith(("tcp://", "tls://")):
        raise UsageError(
            f"--scheduler {where.scheduler}: is not the address of a Dask scheduler", hint="write tcp://HOST:PORT"
        )
    if where.tls and (missing := [name for name in (_CA, _CERT, _KEY) if not (where.tls / name).is_file()]):
        raise UsageError(
            f"TLS takes {_CA}, {_CERT} and {_KEY}: {', '.join(missing)} is missing in {where.tls}",
            hint="put them there, or set cluster_tls to another folder",
        )
    if where.scheduler and where.scheduler.startswith("tls://") and not where.tls:
        raise UsageError(
            "--scheduler tls://... takes a certificate",
            hint="set cluster_tls to the folder of ca.pem, cert.pem, key.pem",
        )


def _library() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise HostNotReady(
            "builds on other computers need Dask distributed, which is not installed",
            details=[str(error)], hint="install the extra `cluster`", commands=["pip install 'aibemu[cluster]'"],
        ) from error  # fmt: skip
    return distributed


def _security(distributed: Any, where: Where) -> Any:
    if where.tls is None:
        return None
    cert, key = str(where.tls / _CERT), str(where.tls / _KEY)
    return distributed.Security(
        tls_ca_file=str(where.tls / _CA), tls_client_cert=cert, tls_client_key=key, tls_scheduler_cert=cert,
        tls_scheduler_key=key, tls_worker_cert=cert, tls_worker_key=key, require_encryption=True,
    )  # fmt: skip


def _client(distributed: Any, address: str, security: Any, where: Where, deadline: Deadline) -> Any:
    try:
        return bounded(
            lambda: distributed.Client(address, security=security, timeout=CONNECT, set_as_default=False),
            deadline.within(2 * CONNECT, scaled=False),
        )
    except (OSError, ValueError, TypeError, Expired) as error:
        raise HostNotReady(
            f"no Dask scheduler answers at {address}",
            details=[f"{type(error).__name__}: {error}"[:300]],
            hint="start it with `dask scheduler`, check the address, and the TLS settings if it has TLS",
        ) from error


@contextmanager
def _started(where: Where, security: Any, deadline: Deadline, warn: Callable[[str], None]) -> Iterator[str]:
    """The address of the scheduler; one that was started by SSH ends with the block."""
    if where.scheduler:
        yield where.scheduler
        return
    if security is None:
        warn(
            f"no TLS: whoever on the network reaches the scheduler on {where.hosts[0]} can run programs on "
            f"{', '.join(where.hosts)} (setting cluster_tls)"
        )
    cluster = _start_by_ssh(where, security, deadline)
    try:
        yield str(cluster.scheduler_address)
    finally:
        _quietly(lambda: cluster.close(timeout=_LEAVE / 2), Deadline(clock=deadline.clock).within(_LEAVE))


def _start_by_ssh(where: Where, security: Any, deadline: Deadline) -> Any:
    """Dask's own: the scheduler on the first host, a worker on each."""
    from distributed import SSHCluster

    listens = {"host": where.hosts[0], "port": 0, "dashboard": False, "idle_timeout": _IDLE}
    works = {
        "nthreads": _THREADS, "preload": ["aibemu.cluster.worker"], "death_timeout": _DEATH, "memory_limit": None,
    }  # fmt: skip
    secure = {"security": security} if security else {}
    try:
        return bounded(
            lambda: SSHCluster(
                [where.hosts[0], *where.hosts], scheduler_options=listens, worker_options=works,
                worker_class="distributed.Worker", remote_python=shlex.quote(where.python or sys.executable), **secure,
            ),
            deadline.within(START, scaled=False),
        )  # fmt: skip
    except AibemuError as error:
        if not isinstance(error, Expired):
            raise
        raise _not_started(where, "it took too long") from error
    except Exception as error:
        raise _not_started(where, f"{type(error).__name__}: {error}"[:300]) from error


def _not_started(where: Where, why: str) -> HostNotReady:
    return HostNotReady(
        f"the workers on {', '.join(where.hosts)} could not be started by SSH", details=[why],
        hint="check that `ssh HOST` gets in without a question, and that aibemu[cluster] is installed there: "
        "setting cluster_python names the Python that has it",
    )  # fmt: skip


def _no_worker(name: str, workers: Mapping[str, Mapping[str, float]]) -> HostNotReady:
    if not workers:
        return HostNotReady(
            f"the cluster {name} has no worker", hint="start one on each computer",
            commands=[f"dask worker {name} --preload aibemu.cluster.worker"],
        )  # fmt: skip
    return HostNotReady(
        f"no worker of the cluster {name} has this aibemu ({VERSION.removeprefix('aibemu-')})",
        details=[f"{one}: {_unfit(has)}" for one, has in workers.items()],
        hint="install the same version on the workers, and start them with --preload aibemu.cluster.worker",
    )


def _unfit(has: Mapping[str, float]) -> str:
    found = [name.removeprefix("aibemu-") for name in has if name.startswith("aibemu-")]
    if found:
        return f"it has aibemu {found[0]}, and here is {VERSION.removeprefix('aibemu-')}"
    return "it was started without --preload aibemu.cluster.worker"
