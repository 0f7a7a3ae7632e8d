"""The processes of machines: started, found by what their command lines say, and ended for certain."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from aibemu.errors import ProvisionFailed
from aibemu.files import remove
from aibemu.process_id import ProcessId, find_processes
from aibemu.reading import open_writable, read_end
from aibemu_drivers.qemu.arguments import escape

PROGRAMS = "qemu-system"  # their names start with it
# Seconds.
TERM_BOUND = 5.0
KILL_BOUND = 20.0
# Bytes of the end of a log that tell why a program ended.
LAST_WORDS = 64 * 1024


def processes_with_console(console: Path) -> list[ProcessId]:
    """Those that write this console: one machine's."""
    return find_processes(PROGRAMS, f"path={escape(console)}")


def spawn(words: list[str], directory: Path, log: str) -> subprocess.Popen[bytes]:
    """Start a program of the machine in `directory`, in a session of its own; what it prints goes to the file `log`."""
    # LC_ALL=C: its words are read. The environment may hold secrets, so it gets none of it.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    remove(directory / log)  # whatever it is by now: to open a pipe would wait for a reader
    with os.fdopen(open_writable(directory / log, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as stream:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=directory, env=environment,
            start_new_session=True, close_fds=True,
        )  # fmt: skip


def last_words(directory: Path, log: str) -> str:
    """The end of what a program printed that `spawn` started; "" when its log cannot be read."""
    try:
        return read_end(directory / log, LAST_WORDS)
    except OSError:
        return ""


def end_process(process: ProcessId, machine_id: str, program: str = "QEMU", *, patience: float = TERM_BOUND) -> None:
    """Tell it to end, then make it; `ProvisionFailed` if it is there even then."""
    for number, bound in ((signal.SIGTERM, patience), (signal.SIGKILL, KILL_BOUND)):
        process.send(number)
        if process.wait(bound):
            return
    raise ProvisionFailed(
        f"the {program} process {process.pid} of the machine {machine_id} does not end",
        hint="it may hang in the kernel, on a disk that does not answer: look at `dmesg`",
    )
