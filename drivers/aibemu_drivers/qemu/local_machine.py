"""What the machines of all drivers have that run QEMU on this host: a directory with a record, an overlay, a console.

How QEMU is started, watched and ended is the driver's.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibemu.clock import Deadline
from aibemu.errors import FreezeFailed, ProvisionFailed
from aibemu.files import remove
from aibemu.hypervisor import (
    CONSOLE_FILE,
    Accelerator,
    ConsolePart,
    Firmware,
    Frozen,
    MachineEventKind,
    MachineState,
)
from aibemu.sockets import remove_socket_directory
from aibemu_drivers.console import ConsoleFile
from aibemu_drivers.overlay import new_name
from aibemu_drivers.qemu.accelerator import Probed
from aibemu_drivers.qemu.arguments import FirmwareFiles
from aibemu_drivers.qemu.disks import Disks
from aibemu_drivers.qemu.freezing import (
    MachineLost,
    collect,
    memory_name,
    new_layer_disk,
    save_memory,
    standing_still,
)
from aibemu_drivers.qemu.monitor import Monitor
from aibemu_drivers.qemu.own_files import own_firmware
from aibemu_drivers.qemu.ports import LOOPBACK
from aibemu_drivers.qemu.tpm import Tpm
from aibemu_drivers.records import FILE, spec_from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a machine asks of the host when it starts, and only then."""

    probed: Callable[[], Probed]
    firmware: Callable[[], FirmwareFiles]
    secure_firmware: Callable[[], FirmwareFiles]

    @property
    def accelerator(self) -> Accelerator:
        return self.probed().accelerator


class LocalMachine(ABC):
    """Of `aibemu.hypervisor.Machine` what does not depend on who runs QEMU. A subclass has `_disks` and `_monitor`."""

    _disks: Disks
    _monitor: Monitor

    def __init__(self, directory: Path, record: Mapping[str, Any], host: Host) -> None:
        self._directory, self._host = directory, host
        self.spec = spec_from_json(record["spec"], directory)
        self._sockets = Path(record["sockets"])
        self._ports: dict[int, int] = {int(guest): port for guest, port in record["ports"].items()}
        self._booted = bool(record["booted"])
        self._console = ConsoleFile(directory / CONSOLE_FILE, self.spec.console_bytes)
        self._tpm = Tpm(self.spec.id, directory, self._sockets) if self.spec.hardware.tpm else None

    @abstractmethod
    def runs(self, deadline: Deadline | None = None) -> bool:
        """Whether there is a QEMU of it."""

    @abstractmethod
    def events(self) -> tuple[MachineEventKind, ...]:
        """See `Machine.events`."""

    @abstractmethod
    def kill(self) -> None:
        """See `Machine.kill`."""

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def directory(self) -> Path:
        return self._directory

    def state(self) -> MachineState:
        if not (self._directory / FILE).exists():
            return MachineState.GONE
        if self.runs():
            return MachineState.RUNNING
        return MachineState.STOPPED if self._booted else MachineState.CREATED

    def endpoint(self, guest_port: int) -> tuple[str, int]:
        if guest_port not in self._ports:
            raise ProvisionFailed(
                f"port {guest_port} of the machine {self.id} is not reachable",
                details=[f"reachable: {', '.join(map(str, self._ports)) or 'none, it was never started'}"],
            )
        return LOOPBACK, self._ports[guest_port]

    def panic(self) -> str | None:
        self.events()  # hears what is new
        return self._monitor.panic()

    def console(self, since: int = 0) -> ConsolePart:
        return self._console.read(since)

    def freeze(self, folder: Path, deadline: Deadline) -> Frozen:
        """See `Machine.freeze`. A failure after the disk was frozen only leaves one overlay more under the next."""
        self._check_freezable(deadline)
        frozen, fresh = self._disks.written, self._directory / new_name()
        new_layer_disk(frozen, fresh, self.spec, deadline)
        # Beside where it goes, so that memory is written once only. Many GiB, maybe.
        memory = memory_name(frozen, folder)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with standing_still(self._monitor, deadline):
                self._disks.write_to(fresh, self._monitor, deadline)
                save_memory(self._monitor, memory, deadline)
        except BaseException as error:
            with contextlib.suppress(OSError):
                memory.unlink()
            if isinstance(error, MachineLost) or not isinstance(error, OSError | ProvisionFailed):
                raise
            details = error.details if isinstance(error, ProvisionFailed) else []
            raise FreezeFailed(f"the machine was not frozen: {error}", details=details) from error
        return collect(self._disks.frozen, memory, folder, deadline)

    def _check_freezable(self, deadline: Deadline) -> None:
        runs = self.runs(deadline)
        why = "what its TPM holds cannot be frozen with it" if runs else "it does not run"
        if not runs or self._tpm is not None:
            raise FreezeFailed(f"the machine {self.id} was not frozen: {why}")

    @contextlib.contextmanager
    def disk(self) -> Iterator[Path]:
        if self.runs():
            raise ProvisionFailed(f"the machine {self.id} runs: its disk is not finished")
        overlay = self._disks.written
        if not overlay.exists():
            raise ProvisionFailed(f"the machine {self.id} has no disk", details=[f"missing: {overlay}"])
        yield overlay

    def destroy(self) -> None:
        self.kill()
        remove_socket_directory(self._sockets, self._directory)
        if not self._directory.is_dir():
            return
        for entry in self._directory.iterdir():
            if entry.name != FILE:  # the record goes last: until then the rest can be found again
                remove(entry)
        remove(self._directory)

    def _own_firmware(self) -> FirmwareFiles | None:
        if self.spec.firmware is Firmware.BIOS:
            return None
        find = self._host.secure_firmware if self.spec.hardware.secure_boot else self._host.firmware
        return own_firmware(self._directory, find())

    def _end_tpm(self) -> None:
        if self._tpm is not None:
            self._tpm.end()
