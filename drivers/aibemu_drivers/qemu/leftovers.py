"""Processes of machines whose record is gone: found by what their command lines say."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from aibemu.files import remove
from aibemu.process_id import ProcessId, command_line, find_processes
from aibemu.sockets import remove_socket_directory
from aibemu_drivers.qemu.arguments import PREFIX, escape
from aibemu_drivers.qemu.processes import PROGRAMS, end_process
from aibemu_drivers.qemu.tpm import left_tpms


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftProcess:
    """A QEMU, or a TPM, that runs on although the record of its machine is gone. See `aibemu.hypervisor.Leftover`."""

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
    """Those of machines whose directories are, or were, inside `folder`, without the `known` directories.

    A TPM comes after its QEMU: it has no other use, and may have ended when it is its turn.
    """
    for process in find_processes(PROGRAMS, f"path={escape(folder)}/"):
        words = command_line(process)
        console, socket = _path_after(words, "file,id=console,path="), _path_after(words, "socket,id=qmp,path=")
        name = next((word.removeprefix(PREFIX) for word in words if word.startswith(PREFIX)), "")
        if console is not None and socket is not None and console.parent not in known:
            yield LeftProcess(id=name, directory=console.parent, sockets=socket.parent, process=process)
    for directory, sockets, process in left_tpms(folder):
        if directory not in known:
            yield LeftProcess(id=directory.name, directory=directory, sockets=sockets, process=process)


def _path_after(words: list[str], start: str) -> Path | None:
    """The path that follows `start` in one of the words, up to the next single comma."""
    for word in words:
        if word.startswith(start):
            path, comma = word.removeprefix(start).replace(",,", "\0"), ","
            return Path(path.partition(comma)[0].replace("\0", ","))
    return None
