"""The owner's side of a machine's platform: start it, hear its guest's reports, end it; find it again after a crash.

`start` records before it creates: whoever comes next finds the process by the record, or, if it was not noted any more,
by its command line, which names the directory.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from aibemu.clock import Deadline
from aibemu.errors import Expired, ProvisionFailed
from aibemu.fabric.depot import LendingFolder
from aibemu.fabric.health import Client, HealthReport
from aibemu.fabric.link import LONGEST_NAME, Link
from aibemu.fabric.serve import DEPOT, RECORD, Bounds, record_of
from aibemu.fabric.vm import VirtualMachine
from aibemu.files import make_folder, remove, write_json
from aibemu.process_id import ProcessId, find_by_words
from aibemu.reading import read_end
from aibemu.records import SHAPE_ERRORS, parse_json, read_json
from aibemu.sockets import make_socket_directory, remove_socket_directory, socket_directory

LOG = "platform.log"
MODULE = "aibemu.fabric.serve"
# Seconds, before scaling. It takes 0.3 s; the bounds are for hosts that are very busy.
START_BOUND = 30.0
END_BOUND = 5.0
LOOK = 0.1
# Bytes at the end of its log in which its last lines are looked for.
LONGEST_LAST_WORDS = 64 << 10


class Platform:
    """The platform of one machine. `directory` is its own and goes with it; the journal stays."""

    def __init__(self, directory: Path, record: Mapping[str, Any]) -> None:
        self.directory = directory
        self._sockets = Path(record["sockets"])
        self._process = ProcessId.from_json(record["process"]) if record["process"] else None
        self._child: subprocess.Popen[bytes] | None = None
        self._verdict: HealthReport | None = None
        self._listening = self._asked = False
        self._news = threading.Event()

    @classmethod
    def start(
        cls,
        directory: Path,
        vm: VirtualMachine,
        *,
        journal: Path,
        offline: bool,
        secrets: Iterable[str] = (),
        folder: Path | None = None,
        console: Path | None = None,
        bounds: Bounds | None = None,
    ) -> Platform:
        """Start it; `await_listening` before anybody connects. secrets: values that the journal must not show.

        folder: where relative names in token commands start from; None: where this process is. console: the file that
        the machine's console is written to, which the platform keeps from growing beyond `bounds`.
        """
        directory = directory.resolve()
        make_folder(directory.parent)
        directory.mkdir(mode=0o700)
        make_folder(journal.parent)
        sockets = socket_directory(directory, LONGEST_NAME)
        record = record_of(
            vm, sockets=sockets, journal=journal.resolve(), offline=offline, process=None, console=console,
            bounds=bounds,
        )  # fmt: skip
        write_json(directory / RECORD, record)
        platform = cls(directory, record)
        try:
            if sockets != directory:
                make_socket_directory(sockets)
            platform._launch(record, secrets, folder)
        except BaseException:
            platform.stop()
            raise
        return platform

    @classmethod
    def find(cls, directory: Path) -> Platform | None:
        """Take up the one recorded in `directory`, alive or dead; None if none was."""
        directory = directory.resolve()
        try:
            record = read_json(directory / RECORD)
            return None if record is None else cls(directory, record)
        except (OSError, *SHAPE_ERRORS):
            return None

    @classmethod
    def below(cls, folder: Path) -> Iterator[Platform]:
        """Each one that is recorded in a folder of `folder`, which may not exist."""
        for directory in sorted(folder.iterdir()) if folder.is_dir() else ():
            if platform := cls.find(directory):
                yield platform

    @classmethod
    def depot_at(cls, directory: Path) -> LendingFolder | None:
        """What lends files to the guest of the one recorded there; None when it does not run."""
        platform = cls.find(directory)
        return platform.depot if platform is not None and platform.alive() else None

    @property
    def link(self) -> Link:
        return Link.below(self._sockets)

    @property
    def depot(self) -> LendingFolder:
        """What lends files to the guest."""
        return LendingFolder(self.directory / DEPOT)

    @property
    def process(self) -> ProcessId | None:
        """Its process, if one was noted; it may have ended."""
        return self._process

    def alive(self) -> bool:
        if self._child is not None and self._child.poll() is not None:
            return False
        return self._process is not None and self._process.is_alive()

    @property
    def verdict(self) -> HealthReport | None:
        """The guest's first word that it is ready, or that it failed. What it says later counts no more: in Azure too
        the deployment is over then, and agents report failures of their own."""
        return self._verdict

    @property
    def asked_for_address(self) -> bool:
        """Whether the guest has asked for its address (DHCP): it has a driver for its network card."""
        return self._asked

    def await_listening(self, deadline: Deadline) -> None:
        """Wait until it does, a third of a second; `ProvisionFailed` with what it said if it does not."""
        bound = deadline.within(START_BOUND)
        try:
            while True:
                self._news.clear()
                if self._listening:
                    return
                if not self.alive():
                    raise self.failure()
                bound.check()
                bound.clock.wait(self._news, LOOK)
        except Expired:
            raise self.failure() from None

    def wait_for_verdict(self, deadline: Deadline, check: Callable[[], object]) -> HealthReport:
        """Wait for it. `check` is asked several times a second and may raise. `Expired` when it comes too late."""
        while True:
            self._news.clear()
            if self._verdict is not None:
                return self._verdict
            check()
            deadline.check()
            deadline.clock.wait(self._news, min(LOOK, deadline.remaining()))

    def failure(self) -> ProvisionFailed:
        """Why it is not there any more, in its own words."""
        return ProvisionFailed(
            "the machine's platform (metadata service and network) ended",
            details=self._last_words(),
            hint="this is a fault of aibemu's or of the host's memory: try again",
        )

    def stop(self) -> None:
        """End it and delete all it had on the host but the journal. Idempotent."""
        for process in self._processes():
            process.send(signal.SIGTERM)
            if not process.wait(END_BOUND):
                process.send(signal.SIGKILL)
                process.wait(END_BOUND)
        if self._child is not None:
            self._child.wait()
            if self._child.stdout is not None:
                self._child.stdout.close()
        remove_socket_directory(self._sockets, self.directory)
        remove(self.directory)

    def _processes(self) -> list[ProcessId]:
        noted = [self._process] if self._process is not None and self._process.is_alive() else []
        return noted or find_by_words("python", MODULE, str(self.directory))

    def _launch(self, record: dict[str, Any], secrets: Iterable[str], folder: Path | None) -> None:
        # -P: what lies in the folder that a person stands in is not to be imported.
        with (self.directory / LOG).open("wb") as log:
            self._child = child = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, str(self.directory)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
                cwd=folder if folder and folder.is_dir() else None,
            )  # fmt: skip
        self._process = ProcessId.of(child.pid)
        write_json(self.directory / RECORD, record | {"process": self._process and self._process.as_json()})
        assert child.stdout is not None and child.stdin is not None
        # Not by a file or an argument: those are for everybody to read.
        with contextlib.suppress(BrokenPipeError), child.stdin:
            child.stdin.write(json.dumps(sorted(secrets)).encode())
        threading.Thread(target=self._hear, args=(child.stdout,), name="platform", daemon=True).start()

    def _hear(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(ValueError, OSError):  # closed by `stop`
            for line in stream:
                said = parse_json(line)
                event = said.pop("event")
                if event == "verdict":
                    self._verdict = HealthReport(**said | {"by": Client(said["by"])})
                self._listening = self._listening or event == "listening"
                self._asked = self._asked or event == "address"
                self._news.set()
        self._news.set()

    def _last_words(self) -> list[str]:
        with contextlib.suppress(OSError):
            return read_end(self.directory / LOG, LONGEST_LAST_WORDS).splitlines()[-8:]
        return []
