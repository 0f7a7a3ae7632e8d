"""What campaigns without a virtual machine share: aibemu as a process on scripted guests, a home with a tiny image."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibemu.clock import SystemClock, forever
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from aibemu.processes import find_program
from aibemu.testing.plugins import write_distribution
from tests.campaigns.counts import Counts

TRACE = "Traceback (most recent call last)"
BUG = "bug in aibemu"
# Seconds from a cancel or a signal to the end of the program.
CONVERGE = 10.0
# The most memory that the program may take, whatever comes at it.
MOST_MEMORY = 500 * 2**20
PROVIDERS = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/aibemu/providers"
_DRIVERS = {
    "scripted": "aibemu_drivers.scripted:ScriptedDriver", "flooding": "tests.campaigns.flooding:FloodingDriver",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended. code: its exit status, below 0 for a signal. memory: the most bytes that it had."""

    code: int
    out: str
    err: str
    seconds: float
    memory: int

    def faults(self, what: str) -> list[str]:
        """What no command may do, whatever it is given."""
        text = self.out + self.err
        found = []
        if TRACE in text or BUG in text or not 0 <= self.code <= 130:
            found.append(f"{what} ended with {self.code}: {text[-600:]}")
        if self.memory > MOST_MEMORY:
            found.append(f"{what} took {self.memory >> 20} MiB of memory")
        return found


@dataclass(slots=True)
class Program:
    """One `aibemu` that runs; its output goes into files of `folder`. pipe: or into this pipe, which nobody reads as
    long as the program runs."""

    process: subprocess.Popen[bytes]
    folder: Path
    begun: float
    pipe: int | None = None
    # Not the process' own: wait4 tells what it took, once.
    _ended: Ended | None = None

    def ended(self, within: float) -> Ended | None:
        """How it ended, or None if it runs after so many seconds."""
        until = time.monotonic() + within
        while self._ended is None:
            pid, status, used = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                self._empty_pipe()
                out, err = ((self.folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))
                self._ended = Ended(
                    code=self.process.returncode, out=out, err=err, seconds=time.monotonic() - self.begun,
                    memory=used.ru_maxrss * 1024,
                )  # fmt: skip
            elif time.monotonic() > until:
                return None
            else:
                time.sleep(0.01)
        return self._ended

    def _empty_pipe(self) -> None:
        """What is in it, and no more: others may have its end still."""
        if self.pipe is None:
            return
        os.set_blocking(self.pipe, False)
        with (self.folder / "stderr").open("wb") as err, contextlib.suppress(BlockingIOError):
            while block := os.read(self.pipe, 1 << 16):
                err.write(block)
        os.close(self.pipe)
        self.pipe = None

    def memory(self) -> int:
        """The most bytes that it has had in memory so far; 0 when it is over."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        sizes = [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")]
        return max(sizes, default=0)

    def stop(self, number: int = signal.SIGINT) -> tuple[Ended, list[str]]:
        """Tell it to end by a signal; what was wrong with that."""
        if self.ended(0.0) is None:
            self.process.send_signal(number)
        if ended := self.ended(CONVERGE):
            return ended, []
        return self.close(), [f"it did not end within {CONVERGE:g} s of {signal.Signals(number).name}"]

    def close(self) -> Ended:
        """End it in any case."""
        if self.ended(0.0) is None:
            self.process.kill()
        while (ended := self.ended(CONVERGE)) is None:
            pass
        return ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder of a campaign. home: has the image Debian:debian-12:12. installed: where the drivers for tests are."""

    folder: Path
    home: Path
    installed: Path

    def start(
        self, *words: str | Path, environ: Mapping[str, str] | None = None, file_limit: int | None = None,
        unread: bool = False,
    ) -> Program:  # fmt: skip
        """An `aibemu` with these words. file_limit: no file may become larger. unread: nobody reads what it shows."""
        folder = Path(tempfile.mkdtemp(prefix="program-", dir=self.folder))
        own = {
            "AIBEMU_HOME": str(self.home), "NO_COLOR": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(self.installed)]),
        }  # fmt: skip
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIBEMU_", "PYTHON"))}
        for name in ("CI", "GITHUB_ACTIONS", "TF_BUILD"):
            kept.pop(name, None)
        command = [sys.executable, "-m", "aibemu", *map(str, words)]
        if file_limit is not None:
            command = ["prlimit", f"--fsize={file_limit}", *command]
        reader, writer = os.pipe() if unread else (None, None)
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            process = subprocess.Popen(
                command, env=kept | own | dict(environ or {}), stdin=subprocess.DEVNULL, cwd=self.folder,
                stdout=out if writer is None else writer, stderr=err if writer is None else writer,
                start_new_session=True,
            )  # fmt: skip
        if writer is not None:
            os.close(writer)
        return Program(process, folder, time.monotonic(), reader)

    def aibemu(self, *words: str | Path, within: float = 60.0, **more: Any) -> Ended:
        """One short command; one that takes longer than `within` seconds is killed."""
        program = self.start(*words, **more)
        return program.ended(within) or program.close()


def make_image(folder: Path, megabytes: int = 3, *, system: str = "") -> Path:
    """A disk with something in it, qcow2. system: the program that makes a file system on it, or none."""
    raw, image = folder / "disk.raw", folder / "disk.qcow2"
    with raw.open("wb") as stream:
        stream.write(random.Random(megabytes).randbytes(65536))
        stream.truncate(megabytes << 20)
    if system:
        subprocess.run([find_program(system), "-q", "-F", raw], check=True)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image], check=True)
    raw.unlink()
    return image


def fill_home(root: Path, image: Path) -> None:
    """Give the home at `root` the image and its name."""
    store = ImageStore(Home.at(root).images, SystemClock())
    info = ImageInfo(
        os_type="Linux", os_name="Debian GNU/Linux 12 (bookworm)", generation=Generation.V1,
        provisioning=Provisioning.NOCLOUD, generalized=True, origin="campaigns",
    )  # fmt: skip
    kept = store.add(image, info, deadline=forever(), source_format="qcow2")
    store.set_alias("Debian:debian-12:12:0.20260101.1", kept.digest)


@contextmanager
def place(name: str) -> Iterator[Place]:
    """A folder with a home; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"aibemu-{name}-") as root:
        folder = Path(root)
        installed = write_distribution(folder / "installed", "aibemu_campaigns", {"aibemu.drivers": _DRIVERS})
        made = Place(folder=folder, home=folder / "home", installed=installed)
        fill_home(made.home, make_image(folder))
        yield made


def write_template(target: Path, customize: Sequence[Any], distribute: Sequence[Any], **properties: Any) -> Path:
    """A template on the tiny image; `properties` replace its own."""
    identity = f"{PROVIDERS}/Microsoft.ManagedIdentity/userAssignedIdentities/builder"
    own: dict[str, Any] = {
        "source": {
            "type": "PlatformImage", "publisher": "Debian", "offer": "debian-12", "sku": "12", "version": "latest",
        },
        "customize": list(customize),
        "distribute": list(distribute),
    }  # fmt: skip
    value = {
        "type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01", "name": "campaign",
        "location": "westeurope", "identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}},
        "properties": own | properties,
    }  # fmt: skip
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(value, indent=1))
    return target


def managed_image(name: str) -> dict[str, Any]:
    """A ManagedImage target."""
    return {
        "type": "ManagedImage", "runOutputName": f"{name}-image", "location": "westeurope",
        "imageId": f"{PROVIDERS}/Microsoft.Compute/images/{name}",
    }  # fmt: skip


Round = Callable[[int, random.Random], tuple[str, str, list[str]]]


def run_rounds(play: Round, rounds: int, seed: int, *, first: int = 0) -> Counts:
    """Each round is told its number and has a chance of its own: (row, column, faults). Faults are printed as they
    come."""
    counts = Counts()
    for number in range(first, first + rounds):
        row, column, faults = play(number, random.Random(f"{seed} {number}"))
        said = [f"round {number} ({row}, {column}): {fault}" for fault in faults]
        counts.add(row, column, said)
        sys.stdout.writelines(f"{fault}\n" for fault in said)
        sys.stdout.flush()
    return counts


def _end(number: int, frame: object) -> None:
    """Ended by a signal, it removes what it has made all the same: folders, mounts, servers."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def command_line(name: str, about: str, play: Callable[[int, int, int], Counts], *, rounds: int) -> int:
    """`--rounds` and `--seed` of a campaign; prints its counts. The exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.campaigns.{name}", description=about.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds, metavar="N")
    parser.add_argument("--seed", type=int, default=None, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first round, to repeat one")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    sys.stdout.write(f"seed {seed}\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, _end)
    begun = time.monotonic()
    counts = play(given.rounds, seed, given.first)
    sys.stdout.writelines(f"{line}\n" for line in (*counts.figures, *counts.table()))
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    sys.stdout.write(f"{time.monotonic() - begun:.0f} s; the largest process took {memory} MiB\n")
    return 1 if counts.faults else 0
