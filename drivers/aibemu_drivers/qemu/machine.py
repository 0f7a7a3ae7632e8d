"""One machine: a directory with its record, its overlay and its logs, and the QEMU process that runs it.

QEMU is in a session of its own and outlives aibemu; whoever comes next takes it up again from the record. The record
names the process by pid and start time. Between starting it and noting that, its command line names the machine.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aibemu.clock import Deadline, forever
from aibemu.errors import Expired, FreezeFailed, ProvisionFailed
from aibemu.files import copy_sparse, remove, replacing
from aibemu.hypervisor import (
    CONSOLE_FILE,
    Frozen,
    MachineEventKind,
    MachineSpec,
)
from aibemu.process_id import ProcessId
from aibemu.processes import find_program
from aibemu_drivers.overlay import new_name
from aibemu_drivers.qemu.accelerator import PROGRAM
from aibemu_drivers.qemu.arguments import Launch, build_arguments
from aibemu_drivers.qemu.disks import Disks
from aibemu_drivers.qemu.failures import PORT_TAKEN, explain_end
from aibemu_drivers.qemu.freezing import (
    collect,
    load_memory,
    new_layer_disk,
)
from aibemu_drivers.qemu.local_machine import Host, LocalMachine
from aibemu_drivers.qemu.monitor import Monitor, NoGreeting
from aibemu_drivers.qemu.own_files import check_cdroms, own_sticks
from aibemu_drivers.qemu.ports import choose_ports
from aibemu_drivers.qemu.processes import end_process, last_words, processes_with_console, spawn
from aibemu_drivers.qemu.qmp import Client, QmpError
from aibemu_drivers.qemu.resets import SavingAtReset
from aibemu_drivers.records import spec_to_json, write_record

DRIVER = "qemu"
SOCKET = "qmp.sock"
CONSOLE = CONSOLE_FILE
LOG = "qemu.log"
TRIES = 5
# Seconds. A start takes 0.1 s; the bounds are for hosts that are very busy.
START_BOUND = 60.0
GREETING_BOUND = 20.0
QUIT_BOUND = 5.0
ENDING_BOUND = 2.0


class _Useless(Exception):
    """Another QEMU may do better: the port of this one was taken, or its monitor is mute, for two of its threads accept
    there while it starts (QEMU's "monitor/qmp: cleanup SocketChardev listener sources early...", 2025).
    """

    def __init__(self, failure: ProvisionFailed) -> None:
        super().__init__(str(failure))
        self.failure = failure


class QemuMachine(LocalMachine):
    """See `aibemu.hypervisor.Machine`."""

    def __init__(self, directory: Path, record: Mapping[str, Any], host: Host) -> None:
        super().__init__(directory, record, host)
        self._disks = Disks(self.spec.id, directory, record, self._save)
        self._process = ProcessId.from_json(record["process"]) if record["process"] else None
        self._child: subprocess.Popen[bytes] | None = None
        # The disks that were put aside last, oldest first.
        self._saved: list[Path] = []
        self._monitor = Monitor(self.spec.id, self._sockets / SOCKET, directory)

    @classmethod
    def first_record(cls, spec: MachineSpec, sockets: Path) -> dict[str, Any]:
        """The record of a machine that was never started."""
        return {
            "driver": DRIVER, "version": 1, "spec": spec_to_json(spec), "sockets": str(sockets), "ports": {},
            "booted": False, "process": None, "disk": new_name(),
            "frozen_disks": [disk.name for disk in spec.frozen.disks] if spec.frozen else [],
        }  # fmt: skip

    @property
    def process(self) -> ProcessId | None:
        """The QEMU process, while it lives."""
        if self._process is not None and self._process.is_alive():
            return self._process
        if self._child is not None:
            self._child.poll()  # reaps it
        return None

    def runs(self, deadline: Deadline | None = None) -> bool:
        return self.process is not None

    def adopt(self) -> None:
        """Look for a QEMU of this machine that was started but not noted (its maker was killed in between)."""
        if self.process is None and (found := self._find_processes()):
            self._process = found[0]
            self._save()

    def start(self, deadline: Deadline | None = None) -> None:
        if self.process is not None:
            raise ProvisionFailed(f"the machine {self.id} runs already")
        if not self._directory.is_dir():
            raise ProvisionFailed(f"the machine {self.id} was destroyed")
        check_cdroms(self.spec)
        firmware = self._own_firmware()
        probed, deadline = self._host.probed(), deadline or forever()
        for left in reversed(range(TRIES)):
            self._ports = choose_ports(self.spec.hardware.guest_ports)
            launch = Launch(
                accelerator=probed.accelerator.name, sandbox=probed.sandbox, disk=self._disks.written,
                console=self._directory / CONSOLE, socket=self._monitor.socket, ports=self._ports, firmware=firmware,
                sticks=own_sticks(self.spec, self._directory), tpm=self._tpm.start(deadline) if self._tpm else None,
            )  # fmt: skip
            try:
                self._launch(launch, deadline)
                return
            except BaseException as error:
                self._end_tpm()
                if not isinstance(error, _Useless):
                    raise
                if not left:
                    raise error.failure from error

    def events(self) -> tuple[MachineEventKind, ...]:
        if self.process is None:
            self._monitor.drain()
        elif not self._monitor.connected:
            with self._unless_it_ends():
                self._connect()
        return self._monitor.events()

    def press_power_button(self) -> None:
        if self.process is not None:
            with self._unless_it_ends():
                self._monitor.execute("system_powerdown")

    def kill(self) -> None:
        self.adopt()
        while process := self.process:
            self._end(process)
            self.adopt()
        self._end_tpm()
        self._monitor.drain()
        self._monitor.close()

    def screenshot(self, target: Path) -> Path | None:
        if self.process is None:
            return None
        # Made beside the machine: that QEMU may write there is certain.
        picture = self._directory / "screen.png"
        remove(picture)  # whatever it is: QEMU would wait for one who reads from a pipe
        try:
            self._connect().execute("screendump", {"filename": str(picture), "format": "png"})
            with replacing(target) as temporary:
                copy_sparse(picture, temporary)
        except QmpError:  # before QEMU 7.1 (PPM only), or built without PNG
            return None
        finally:
            picture.unlink(missing_ok=True)
        return target

    @contextlib.contextmanager
    def saving_at_reset(self, deadline: Deadline) -> Iterator[Callable[[], bool]]:
        """See `Machine.saving_at_reset`."""
        self._check_freezable(deadline)
        fresh = self._directory / new_name()
        new_layer_disk(self._disks.written, fresh, self.spec, deadline)
        saving = SavingAtReset(self._monitor, self._disks, fresh, deadline, self._unless_it_ends)
        try:
            saving.catch()
            yield saving.look
        finally:
            saving.leave()
            self._saved = self._disks.frozen if saving.done else self._saved

    def saved_disk(self, folder: Path, deadline: Deadline) -> Frozen:
        """See `Machine.saved_disk`."""
        if not self._saved:
            raise FreezeFailed(f"no disk of the machine {self.id} was put aside")
        return collect(self._saved, None, folder, deadline)

    def _launch(self, launch: Launch, deadline: Deadline) -> None:
        """Start QEMU, note it, and let the guest go once QEMU answers. On failure nothing is left running."""
        self._monitor.restart()
        self._monitor.socket.unlink(missing_ok=True)
        remove(self._directory / CONSOLE)
        self._booted, self._process = False, None
        self._disks.launched()
        self._save()
        self._child = child = spawn([find_program(PROGRAM), *build_arguments(self.spec, launch)], self._directory, LOG)
        try:
            self._process = ProcessId.of(child.pid)
            self._save()
            self._let_go(child, deadline)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            child.wait()
            self._monitor.close()
            raise
        self._booted = True
        # From now on it is a machine like any other: when it is started again, it boots.
        self.spec = replace(self.spec, frozen=None)
        self._save()

    def _let_go(self, child: subprocess.Popen[bytes], deadline: Deadline) -> None:
        """Wait for the monitor, then `cont`: connected before the guest's first instruction, no event is missed."""
        loading = False
        try:
            client = self._await_monitor(child, deadline.within(START_BOUND, scaled=False))
            if self.spec.frozen and self.spec.frozen.memory:
                loading = True
                load_memory(self._monitor, self.spec.frozen.memory, deadline)
            client.execute("cont", timeout=START_BOUND, deadline=deadline)
        except (Expired, NoGreeting) as error:
            late = ProvisionFailed(f"QEMU did not answer for the machine {self.id}", hint="the host is busy: try again")
            raise (_Useless(late) if isinstance(error, NoGreeting) else late) from None
        except (OSError, QmpError, ProvisionFailed) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(QUIT_BOUND)
            failure = explain_end(self.spec, last_words(self._directory, LOG), child.returncode, error, loading=loading)
            raise (_Useless(failure) if PORT_TAKEN in last_words(self._directory, LOG) else failure) from error

    def _await_monitor(self, child: subprocess.Popen[bytes], bound: Deadline) -> Client:
        """It may hang up on the first client (see `_Useless`), and takes the next one."""
        while True:
            with contextlib.suppress(FileNotFoundError, ConnectionError):
                return self._monitor.connect(greeting=GREETING_BOUND)
            if child.poll() is not None:
                raise ConnectionResetError(f"QEMU ended with status {child.returncode}")
            bound.sleep(0.02)

    @contextlib.contextmanager
    def _unless_it_ends(self) -> Iterator[None]:
        """A QEMU that powers off hangs up first and is gone a moment later: then it is off, and nothing is wrong."""
        try:
            yield
        except ProvisionFailed:
            process = self.process
            if process is not None and not process.wait(ENDING_BOUND):
                raise

    def _connect(self) -> Client:
        try:
            return self._monitor.connect()
        except OSError as error:
            raise ProvisionFailed(
                f"the monitor of the machine {self.id} cannot be reached", details=[str(error)]
            ) from error

    def _end(self, process: ProcessId) -> None:
        """Ask QEMU to quit, else end its process; `ProvisionFailed` if it is there even then."""
        with contextlib.suppress(OSError, QmpError, ProvisionFailed):
            self._monitor.connect(greeting=1.0).execute("quit", timeout=QUIT_BOUND)
            if process.wait(QUIT_BOUND):
                return
        self._end_tpm()  # QEMU may be waiting for it
        end_process(process, self.id)

    def _find_processes(self) -> list[ProcessId]:
        return processes_with_console(self._directory / CONSOLE)

    def _save(self) -> None:
        write_record(
            self._directory,
            self.first_record(self.spec, self._sockets)
            | {
                **self._disks.as_json(),
                "ports": self._ports,
                "booted": self._booted,
                "process": self._process.as_json() if self._process else None,
            },
        )
