"""A machine's TPM 2.0: a process of swtpm's, beside QEMU's and in a session of its own.

It is started before QEMU, which connects to its socket, and ends by itself when QEMU hangs up (`--terminate`). The
machine's record says that there is one; which process it is its command line says, which names the machine's directory.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.errors import Expired, HostNotReady, ProvisionFailed
from aibemu.files import make_folder
from aibemu.hypervisor import MachineSpec
from aibemu.process_id import ProcessId, command_line, find_processes
from aibemu.processes import find_program
from aibemu_drivers.qemu.firmware import find_firmware
from aibemu_drivers.qemu.processes import end_process, last_words, spawn

PROGRAM = "swtpm"
# Below the machine's directory: what the TPM holds, and what its process said.
FOLDER = "tpm"
LOG = "swtpm.log"
SOCKET = "tpm.sock"
# Seconds. It takes 0.02 s; the bound is for hosts that are very busy.
START_BOUND = 20.0
# Until it is made to end: it has written down each change by then, so that nothing is lost.
END_BOUND = 2.0
# CMD_GET_CAPABILITY of swtpm's control channel: a number of four bytes; the answer's first four are 0 for success.
_ASK, _SUCCESS = (1).to_bytes(4, "big"), bytes(4)
# Around the paths on its command line.
_STATE, _CONTROL, _AFTER = "dir=", "type=unixio,path=", ",mode=0600"


def check_tpm(spec: MachineSpec) -> None:
    """`HostNotReady` when swtpm is missing, `ProvisionFailed` when it cannot be told where the machine is."""
    find_program(PROGRAM)
    if "," in str(spec.directory.resolve()):
        raise ProvisionFailed(
            f"swtpm takes no folder with a comma in its name: {spec.directory}", hint="set AIBEMU_HOME to another one"
        )


def can_be_trusted(options: Mapping[str, str]) -> bool:
    """Whether this host has the programs and files for a machine with Secure Boot and a TPM. options: the driver's."""
    try:
        find_program(PROGRAM)
        find_firmware(options, secure=True)
    except HostNotReady:
        return False
    return True


class Tpm:
    """Of one machine."""

    def __init__(self, machine_id: str, directory: Path, sockets: Path) -> None:
        self.socket = sockets / SOCKET
        self._id, self._directory = machine_id, directory
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, deadline: Deadline) -> Path:
        """Start it; its socket, on which it answers. Nothing is left of it after a failure: `ProvisionFailed` with its
        own words, `HostNotReady` when it is not installed, and what `deadline` raises at the build's end."""
        self.end()
        program = find_program(PROGRAM)
        make_folder(self._directory / FOLDER, mode=0o700)
        self.socket.unlink(missing_ok=True)
        words = [
            program, "socket", "--tpm2", "--tpmstate", f"{_STATE}{self._directory / FOLDER}{_AFTER}",
            "--ctrl", f"{_CONTROL}{self.socket}{_AFTER}", "--terminate",
        ]  # fmt: skip
        self._child = spawn(words, self._directory, LOG)
        try:
            self._await_answer(self._child, deadline.within(START_BOUND, scaled=False))
        except BaseException as error:
            self.end()
            if isinstance(error, Expired):
                raise self._failure(f"it did not answer within {START_BOUND:.0f} s") from None
            raise
        return self.socket

    def processes(self) -> list[ProcessId]:
        """Those of this machine; one, or none."""
        return find_processes(PROGRAM, f"{_STATE}{self._directory / FOLDER}{_AFTER}")

    def end(self) -> None:
        """No error if there is none. `ProvisionFailed` if it does not end."""
        for process in self.processes():
            end_process(process, self._id, PROGRAM, patience=END_BOUND)
        if self._child is not None:
            # A moment after it was made it has another command line, and was not found by its own.
            self._child.kill()
            self._child.wait()
            self._child = None

    def _await_answer(self, child: subprocess.Popen[bytes], bound: Deadline) -> None:
        """Ask it: a QEMU that connects to one that does not answer would wait for ever."""
        while True:
            if child.poll() is not None:
                raise self._failure(f"it ended with status {child.returncode}")
            with contextlib.suppress(FileNotFoundError, ConnectionError, TimeoutError):
                answer = self._ask(bound)
                if answer == _SUCCESS:
                    return
                if answer:
                    raise self._failure(f"it answered {answer.hex()} to the first question")
            bound.sleep(0.01)

    def _ask(self, bound: Deadline) -> bytes:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(max(0.1, min(0.5, bound.remaining())))
            channel.connect(str(self.socket))
            channel.sendall(_ASK)
            return channel.recv(8)[:4]

    def _failure(self, why: str) -> ProvisionFailed:
        said = last_words(self._directory, LOG).splitlines()[-8:]
        return ProvisionFailed(
            f"the TPM of the machine {self._id} did not start: {why}", details=said or ["swtpm said nothing"],
            hint="test the host: aibemu doctor",
        )  # fmt: skip


def left_tpms(folder: Path) -> Iterator[tuple[Path, Path, ProcessId]]:
    """The swtpm processes of machines whose directories are, or were, inside `folder`: directory, sockets, process."""
    for process in find_processes(PROGRAM, f"{_STATE}{folder}/"):
        state = control = None
        for word in command_line(process):
            if word.startswith(_STATE) and word.endswith(_AFTER):
                state = Path(word.removeprefix(_STATE).removesuffix(_AFTER))
            elif word.startswith(_CONTROL) and word.endswith(_AFTER):
                control = Path(word.removeprefix(_CONTROL).removesuffix(_AFTER))
        if state is not None and control is not None:
            yield state.parent, control.parent, process
