"""The QEMU processes of machines: found by what their command lines say, and ended for certain."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from aibemu.errors import ProvisionFailed
from aibemu.files import remove
from aibemu.process_id import ProcessId, command_line, find_processes
from aibemu.sockets import remove_socket_directory
from aibemu_drivers.qemu.arguments import PREFIX, escape

PROGRAMS = "qemu-system"  # their names start with it
# Seconds.
TERM_BOUND = 5.0
KILL_BOUND = 20.0


def processes_with_console(console: Path) -> list[ProcessId]:
    """Those that write this console: one machine's."""
    return find_processes(PROGRAMS, f"path={escape(console)}")


def end_process(process: ProcessId, machine_id: str) -> None:
    """Tell it to end, then make it; `ProvisionFailed` if it is there even then."""
    for number, bound in ((signal.SIGTERM, TERM_BOUND), (signal.SIGKILL, KILL_BOUND)):
        process.send(number)
        if process.wait(bound):
            return
    raise ProvisionFailed(
        f"the QEMU process {process.pid} of the machine {machine_id} does not end",
        hint="it may hang in the kernel, on a disk that does not answer: look at `dmesg`",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftProcess:
    """A QEMU that runs on although the record of its machine is gone. See `aibemu.hypervisor.Leftover`."""

    id: str
    directory: Path
    # Where its sockets are: the directory, or a private folder elsewhere.
    sockets: Path
    process: ProcessId

    def destroy(self) -> None:
        end_process(self.process, self.id)
        remove_socket_directory(self.sockets, self.directory)
        remove(self.directory)


def find_left_processes(folder: Path, *, known: Collection[Path]) -> Iterator[LeftProcess]:
    """Those of machines whose directories are, or were, inside `folder`, without the `known` directories."""
    for process in find_processes(PROGRAMS, f"path={escape(folder)}/"):
        words = command_line(process)
        console, socket = _path_after(words, "file,id=console,path="), _path_after(words, "socket,id=qmp,path=")
        name = next((word.removeprefix(PREFIX) for word in words if word.startswith(PREFIX)), "")
        if console is not None and socket is not None and console.parent not in known:
            yield LeftProcess(id=name, directory=console.parent, sockets=socket.parent, process=process)


def _path_after(words: list[str], start: str) -> Path | None:
    """The path that follows `start` in one of the words, up to the next single comma."""
    for word in words:
        if word.startswith(start):
            path, comma = word.removeprefix(start).replace(",,", "\0"), ","
            return Path(path.partition(comma)[0].replace("\0", ","))
    return None
