"""A Dask cluster of real processes on the loopback: a scheduler, and workers that each have a home of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aibemu.paths import Home
from aibemu.records import read_json

PATIENCE = 240  # seconds for what takes a few, on a machine that others use too
PRELOAD = "aibemu.cluster.worker"


def until(done: Callable[[], Any], what: str) -> Any:
    """What `done` gives once that is true."""
    never = threading.Event()
    for _ in range(PATIENCE * 20):
        if found := done():
            return found
        never.wait(0.05)
    raise AssertionError(f"it never came: {what}")


@dataclass(slots=True, kw_only=True)
class Worker:
    name: str
    home: Home
    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass(slots=True, kw_only=True)
class Processes:
    """Everything of it ends with `close`."""

    folder: Path
    # Words that scheduler and workers get, too.
    more: Sequence[str] = ()
    address: str = ""
    scheduler: subprocess.Popen[bytes] | None = None
    workers: dict[str, Worker] = field(default_factory=dict)
    _end: ExitStack = field(default_factory=ExitStack)

    def start_scheduler(self, *words: str) -> str:
        file = self.folder / "scheduler.json"
        self.scheduler = self._start(
            "distributed.cli.dask_scheduler", "scheduler", {},
            "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0",
            "--scheduler-file", str(file), *self.more, *words,
        )  # fmt: skip
        found = until(lambda: file.exists() and _content(file), "the scheduler")
        self.address = found["address"]
        return self.address

    def start_worker(
        self, name: str, *, preload: Sequence[str] = (PRELOAD,), environment: Mapping[str, str] | None = None,
        threads: int = 8,
    ) -> Worker:  # fmt: skip
        root = self.folder / name
        words = [word for one in preload for word in ("--preload", one)]
        process = self._start(
            "distributed.cli.dask_worker", name, {"AIBEMU_HOME": str(root), **(environment or {})},
            self.address, "--host", "127.0.0.1", "--no-nanny", "--no-dashboard", "--nthreads", str(threads),
            "--name", name, "--memory-limit", "0", "--local-directory", str(self.folder / f"{name}-dask"),
            *self.more, *words,
        )  # fmt: skip
        worker = Worker(name=name, home=Home.at(root), process=process, log=self.folder / f"{name}.log")
        self.workers[name] = worker
        until(lambda: "Registered to:" in worker.log.read_text(errors="replace"), f"the worker {name}")
        return worker

    def _start(self, module: str, name: str, environment: Mapping[str, str], *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *words], env={**os.environ, **environment}, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._end.callback(process.wait)
        self._end.callback(process.kill)
        return process

    def close(self) -> None:
        self._end.close()


def _content(file: Path) -> Any:
    try:
        return read_json(file)
    except (OSError, ValueError):
        return None
