"""A guest that prints as fast as it can, cancelled in the middle: over within 10 s each time, with memory bounded.

    python -m tests.campaigns.flood [--rounds 44] [--seed N]

Whole builds on scripted guests whose floods come through a real sshd on the loopback: lines, lines of 100 MB, no lines
at all, both streams, bytes, on a console too. Ended by turns: `aibemu cancel`, SIGINT, SIGTERM, SIGHUP; while nobody
reads what the build shows, every third time. Memory is the most that the process ever had. At the end it says how
long the ends took and how fast each kind arrived: through SSH as fast as aibemu takes it (short lines cost most), on a
console at 100 MB/s.
"""

from __future__ import annotations

import json
import os
import pwd
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aibemu.communicators.ssh.keys import generate
from aibemu.paths import Home
from aibemu.reports.fold import fold
from aibemu.runs.store import Run, RunStore
from tests.campaigns.counts import Counts
from tests.campaigns.flooding import FLOODS
from tests.campaigns.programs import (
    CONVERGE,
    MOST_MEMORY,
    Place,
    Program,
    command_line,
    managed_image,
    place,
    run_rounds,
    write_template,
)
from tests.contract.test_ssh_sshd import SSHD, start_sshd, stop
from tests.e2e.lab import left_over

HOWS = ("cancel", "SIGINT", "SIGTERM", "SIGHUP")
KINDS = (*FLOODS, "console", "console-line")
UNREAD_EVERY = 3
# Seconds until the step begins, on a busy host, and for how long it floods at most.
BEGINS_WITHIN, FLOODS_FOR = 120.0, 8.0
# What a run may have on disk of an endless flood: record, logs and what waits, each bounded by `output_limit`.
MOST_DISK = 400 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One round. seconds: from the cancel to the end. rate: bytes that arrived in a second."""

    kind: str
    seconds: float
    rate: float


def figures(measured: Sequence[Measured]) -> list[str]:
    """How long the ends took, and how fast each kind arrived."""
    if not measured:
        return []
    slowest = max(one.seconds for one in measured)
    intime = sum(one.seconds <= CONVERGE for one in measured)
    lines = [f"{intime} of {len(measured)} over within {CONVERGE:g} s of the cancel, the slowest in {slowest:.1f} s"]
    for kind in dict.fromkeys(one.kind for one in measured):
        rates = [one.rate / 1e6 for one in measured if one.kind == kind]
        lines.append(f"  {kind:<12} arrived at {min(rates):.2g} to {max(rates):.2g} MB/s")
    return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running sshd."""

    port: int
    key: Path

    @property
    def options(self) -> list[str]:
        """For the driver `flooding`."""
        user = pwd.getpwuid(os.getuid()).pw_name
        values = {"port": str(self.port), "key": str(self.key), "user": user}
        return [word for name, value in values.items() for word in ("--driver-option", f"{name}={value}")]


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """An sshd on the loopback."""
    folder.mkdir()
    pair = generate(folder / "key")
    (folder / "authorized_keys").write_text(pair.public_line + "\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    process = start_sshd(folder, port)
    try:
        yield Server(port=port, key=pair.private)
    finally:
        stop(process)


def wait_for_step(root: Place, program: Program) -> Run | None:
    """The run, when its step has begun."""
    until = time.monotonic() + BEGINS_WITHIN
    while program.ended(0.02) is None and time.monotonic() < until:
        for run in RunStore(Home.at(root.home).runs).runs():
            if run.events_file.exists() and '"step.started"' in run.events_file.read_text():
                return run
    return None


def wait_for(told: Path) -> None:
    """Until something of the flood has arrived."""
    until = time.monotonic() + BEGINS_WITHIN
    while not told.exists() and time.monotonic() < until:
        time.sleep(0.02)


class Console(threading.Thread):
    """Writes to the console of a run's machine, as QEMU does."""

    def __init__(self, run: Run, line: bytes) -> None:
        super().__init__(daemon=True)
        self.block = (line * (2**20 // len(line) + 1))[: 2**20]
        self.file = next(run.machines.rglob("machine.json")).with_name("console.log")
        self.over = threading.Event()
        self.rate = 0.0

    def run(self) -> None:
        # 100 MB/s; a guest's serial port is slower.
        begun, blocks = time.monotonic(), 0
        with self.file.open("ab", buffering=0) as stream:
            while not self.over.is_set():
                stream.write(self.block)
                blocks += 1
                time.sleep(max(0.0, begun + blocks * len(self.block) / 1e8 - time.monotonic()))
        self.rate = blocks * len(self.block) / (time.monotonic() - begun)


def size_of(folder: Path) -> int:
    """Bytes on disk of all files below a folder, without consoles: here nobody bounds those but the kernel of QEMU."""
    return sum(
        path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file() and path.name != "console.log"
    )


@contextmanager
def flooded(run: Run, kind: str, seconds: float, told: Path) -> Iterator[list[float]]:
    """It has printed for so long, and goes on until the block is left; then its rate is in the list."""
    rate: list[float] = []
    console = Console(run, b"x" if kind == "console-line" else b"[  1.0] audit: line\r\n")
    if kind.startswith("console"):
        console.start()
    else:
        wait_for(told)
    try:
        time.sleep(seconds)
        yield rate
    finally:
        console.over.set()
        if console.is_alive():
            console.join()
    if kind.startswith("console"):
        rate.append(console.rate)
    elif measured := json.loads(told.read_text() if told.exists() else "{}"):
        rate.append(measured["bytes"] / max(measured["seconds"], 0.001))


def end(root: Place, run: Run, program: Program, how: str) -> tuple[float, list[str]]:
    """Cancel the build; seconds, and what was wrong."""
    begun = time.monotonic()
    if how == "cancel":
        run.request_cancel()
        done, faults = (program.ended(CONVERGE), [])
        if done is None:
            done, faults = program.close(), [f"it did not end within {CONVERGE:g} s of a cancel"]
    else:
        done, faults = program.stop(signal.Signals[how])
    seconds = time.monotonic() - begun
    faults += done.faults("the build")
    if not faults and done.code != 130:
        faults.append(f"the build ended with {done.code}: {done.err[-300:]}")
    if not faults and (state := fold(run.events()).state) != "Canceled":
        faults.append(f"the record says {state}")
    return seconds, faults + [f"left: {what}" for what in left_over(root.home)]


def play(
    root: Place, server: Server, number: int, chance: random.Random, kinds: Sequence[str], measured: list[Measured]
) -> tuple[str, str, list[str]]:
    """One build; what it took goes to `measured`."""
    kind, how = kinds[number % len(kinds)], HOWS[number % len(HOWS)]
    unread = number % UNREAD_EVERY == UNREAD_EVERY - 1
    column = f"{how} unread" if unread else how
    said = "sleep 600" if kind.startswith("console") else f"flood {kind}"
    folder = root.folder / f"round-{number}"
    steps = [{"type": "Shell", "name": "Flood", "inline": [said]}]
    template = write_template(folder / "template.json", steps, [managed_image("flooded")])
    (folder / "guest.json").write_text('[{"match": "sleep 600", "delay": 600}]')
    words = ["--driver", "flooding", *server.options]
    for option in (f"script={folder / 'guest.json'}", f"told={folder / 'told.json'}"):
        words += ["--driver-option", option]
    program = root.start("run", template, *words, unread=unread)
    try:
        run = wait_for_step(root, program)
        if run is None:
            return kind, column, [f"no step began: {program.close().err[-600:]}"]
        with flooded(run, kind, chance.uniform(0.3, FLOODS_FOR), folder / "told.json") as rate:
            memory = program.memory()
            seconds, faults = end(root, run, program, how)
    finally:
        program.close()
    if memory > MOST_MEMORY:
        faults.append(f"it had {memory >> 20} MiB in memory")
    if (size := size_of(run.directory)) > MOST_DISK:
        faults.append(f"the run takes {size >> 20} MiB on disk")
    if not sum(rate):
        faults.append("nothing arrived, or nobody knows how much")
    measured.append(Measured(kind=kind, seconds=seconds, rate=sum(rate)))
    sys.stdout.write(
        f"{kind}, {column}: over in {seconds:.1f} s, {sum(rate) / 1e6:.2g} MB/s, {memory >> 20} MiB of memory,"
        f" {size >> 20} on disk\n"
    )
    root.aibemu("clean", "--all", "--yes")
    return kind, column, faults


def campaign(rounds: int, seed: int, first: int = 0, kinds: Sequence[str] = KINDS) -> Counts:
    """So many builds."""
    measured: list[Measured] = []
    with place("flood") as root, serving(root.folder / "sshd") as server:
        counts = run_rounds(
            lambda number, chance: play(root, server, number, chance, kinds, measured), rounds, seed, first=first
        )
    counts.figures = figures(measured)
    return counts


if __name__ == "__main__":
    if not Path(SSHD).exists():
        sys.exit("no /usr/sbin/sshd on this host: apt-get install openssh-server")
    sys.exit(command_line("flood", __doc__ or "", campaign, rounds=44))
