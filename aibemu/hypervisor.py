"""The seam to whatever runs virtual machines. A driver implements these protocols and nothing of aibemu's engine.

Drivers register in the entry-point group `aibemu.drivers`; the entry point is a class called with `(options:
Mapping[str, str], folders: DriverFolders)`, by `aibemu.runs.drivers` and nobody else. It reads no environment and
finds no folder by itself. `aibemu.testing.contract` holds the suite that every driver must pass, and drivers/README.md
says how to write one.

Machine directories are the drivers' database: `create` records the machine in `spec.directory`, in whatever form the
driver likes, before anything that can fail, so that `find` can take it up again after a crash and `destroy` it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from aibemu.frozen import Frozen as Frozen
from aibemu.frozen import FrozenRefused as FrozenRefused
from aibemu.hardware import DiskBus, Hardware
from aibemu.holes import KEPT

if TYPE_CHECKING:
    from aibemu.clock import Deadline
    from aibemu.communicators import Communicator, Credentials


class Firmware(StrEnum):
    """Hyper-V generation 1 boots BIOS (SeaBIOS), generation 2 boots UEFI (OVMF)."""

    BIOS = "bios"
    UEFI = "uefi"


class MachineState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    STOPPED = "stopped"
    GONE = "gone"


class MachineEventKind(StrEnum):
    """What the hypervisor saw happen to the machine."""

    # Whoever caused it.
    RESET = "reset"
    # The guest switched the machine off, by itself or because of the power button. Never said of a machine whose power
    # was cut, or whose hypervisor was killed or broke down.
    SHUTDOWN = "shutdown"
    PANIC = "panic"
    IO_ERROR = "io-error"


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of `aibemu doctor`: what was tested, how it came out, and the exact command that mends it."""

    check: str
    level: Level
    message: str
    fix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverFolders:
    """The folders of one installation that a driver may use; none needs to exist before the driver uses it."""

    # The driver's own, for what may be lost at any time.
    cache: Path
    # The folder of all runs. The directory of a machine is `runs/OWNER/machines/ROLE`.
    runs: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the host has on which the driver's machines run; it need not be this one."""

    # MiB of memory in all, and how much of it is free for machines now.
    memory_mib: int
    free_mib: int
    # Logical CPUs that machines may use.
    cpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """How guests run on this host: `name` kvm or tcg, why it was chosen, and how many times slower than KVM."""

    name: str
    reason: str
    slowness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a driver can do; the engine asks this, never the driver's type.

    boots_guests: a real operating system runs. plays_guests: for tests alone: a script plays the guests, and a build
    goes all the way as if they were real. listens: what plays them answers at `Machine.endpoint`, so that people get in
    as with guests that boot. A driver that neither boots nor plays them makes no machine: a build with it is a dry run,
    which runs no step and writes no image. screenshots: `Machine.screenshot` works. firmwares: what can be booted.
    wires: a `Wire` can be attached, and SMBIOS set, which images for Azure need. freezes: `Machine.freeze` works, and
    machines start from what it made. saves_disks: the same of `Machine.saving_at_reset` and `Machine.saved_disk`.
    disks: what a system disk can hang on. trusted: this host has what Secure Boot and a TPM take.
    """

    boots_guests: bool
    screenshots: bool
    firmwares: frozenset[Firmware]
    wires: bool = False
    freezes: bool = False
    saves_disks: bool = False
    plays_guests: bool = False
    listens: bool = False
    disks: frozenset[DiskBus] = frozenset(DiskBus)
    trusted: bool = False

    @property
    def dry(self) -> bool:
        """Whether a build with this driver is a dry run."""
        return not (self.boots_guests or self.plays_guests)

    @property
    def lets_in(self) -> bool:
        """Whether somebody answers at `Machine.endpoint`."""
        return self.boots_guests or self.listens


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A NIC whose frames somebody looks at on their way to the user network.

    `nic` and `uplink` are unix stream sockets that somebody listens on when the machine starts. The hypervisor connects
    the guest's NIC to the one and its user network to the other; each frame is preceded by its length, four bytes,
    most significant first. The user network behind `uplink` is `subnet`: the host is its first address and also its
    gateway, the third is DNS, and the guest, who gets no DHCP from it, is at `address`.
    """

    nic: Path
    uplink: Path
    subnet: IPv4Network
    address: IPv4Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Smbios:
    """What the firmware says of the machine, where it must look like another hypervisor's."""

    manufacturer: str
    product: str
    version: str
    asset_tag: str


# The file in a machine's directory that a hypervisor writes the console to, where it writes one: the machine's platform
# keeps it from growing without bound.
CONSOLE_FILE = "console.log"
# Azure's: the asset tag is how guests know it (facts: guest-platform 1.1).
AZURE_SMBIOS = Smbios(
    manufacturer="Microsoft Corporation", product="Virtual Machine", version="Hyper-V UEFI Release v4.1",
    asset_tag="7783-7084-3265-9085-8269-3286-77",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What a guest finds in its drives at its first boot, in the order of the drives."""

    # ISO images.
    cdroms: tuple[Path, ...] = ()
    # Raw images of FAT file systems, with or without a partition table: removable USB disks.
    sticks: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """A machine to create."""

    # Unique on its host, `[a-z0-9-]{1,40}`.
    id: str
    # The run's id.
    owner: str
    # Private to the machine, may not exist yet; everything of the machine on this host lives there.
    directory: Path
    # The read-only image under the system disk, and its format: qcow2 or raw.
    base: Path
    base_format: str
    # Virtual size of the system disk, at least the base's.
    disk_bytes: int
    firmware: Firmware
    cpus: int
    memory_mib: int
    # SMBIOS UUID.
    uuid: UUID
    # `00:0d:3a:..`.
    mac: str
    # ISO images, the first drive's first.
    cdroms: tuple[Path, ...] = ()
    # Raw images, attached as removable USB disks. The guest may write; the machine has copies of its own, so that these
    # files are never changed.
    sticks: tuple[Path, ...] = ()
    hardware: Hardware = field(default_factory=Hardware)
    # None for a plain user network, and for the hypervisor's own SMBIOS. Others only if `Capabilities.wires`.
    wire: Wire | None = None
    smbios: Smbios | None = None
    # What `start` goes on from instead of the power-on; all else must be as it was then, but for `wire` and the content
    # of `cdroms` and `sticks`; where it has no memory, there may be others of these, or none.
    frozen: Frozen | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    # Bytes at the end of its console that can be read again (setting `console_limit`); a driver may give back the rest.
    console_bytes: int = KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolePart:
    """Some of what a machine said on its serial console. Offsets count bytes from the machine's last start."""

    # Of the first byte of `data`.
    start: int
    data: bytes

    @property
    def end(self) -> int:
        """The offset after the last byte: what to ask for next."""
        return self.start + len(self.data)

    @property
    def text(self) -> str:
        """The bytes as UTF-8; what is none is replaced."""
        return self.data.decode("utf-8", errors="replace")


class Leftover(Protocol):
    """What a driver found of a machine: enough to end it. Every `Machine` is one."""

    @property
    def id(self) -> str: ...

    @property
    def directory(self) -> Path: ...

    def destroy(self) -> None:
        """See `Machine.destroy`."""
        ...


class Machine(Protocol):
    """One virtual machine. Methods raise `aibemu.errors.ProvisionFailed` with the hypervisor's own words."""

    @property
    def id(self) -> str: ...

    @property
    def directory(self) -> Path: ...

    def start(self, deadline: Deadline | None = None) -> None:
        """Power on. Returns when the hypervisor accepted it, not when the guest is up.

        deadline: the build's, for what is frozen may be many GiB to read. `FrozenRefused` when the frozen files are no
        good, other `ProvisionFailed` when it may be the host.
        """
        ...

    def state(self) -> MachineState: ...

    def endpoint(self, guest_port: int) -> tuple[str, int]:
        """The address (a name or an IP address, seen from this host) and port that reach `guest_port`."""
        ...

    def events(self) -> tuple[MachineEventKind, ...]:
        """Every event since `start`, oldest first. One reboot is one RESET or several (firmware resets too)."""
        ...

    def panic(self) -> str | None:
        """What the guest told the hypervisor of its crash since `start`: of Windows the stop code and its four
        parameters, `0x7B (0x1, 0x2, 0x3, 0x4)`. None when it told nothing, though it may have crashed (`events`)."""
        ...

    def press_power_button(self) -> None:
        """Ask the guest to power off (ACPI). Returns at once."""
        ...

    def kill(self) -> None:
        """Power off the hard way; no error if it is off already."""
        ...

    def console(self, since: int = 0) -> ConsolePart:
        """What the machine said on its serial console since `start`, from the offset `since` on.

        A driver keeps the newest MiB at least, and no more than it can hold: when bytes after `since` are gone, the
        part begins at the oldest that is left, so its `start` is after `since`. It never begins before `since`, but
        when `since` is beyond the end (the machine was started again): then it is empty, and at the end. Bytes that
        were there once stay readable after the machine is off.
        """
        ...

    def screenshot(self, target: Path) -> Path | None:
        """Save the screen as PNG at `target`; None where there is no screen."""
        ...

    def freeze(self, folder: Path, deadline: Deadline) -> Frozen:
        """Leave the running machine as it is now in `folder` (same file system: by hard links), and let it go on.

        The guest stands still meanwhile and notices nothing but the time. `aibemu.errors.FreezeFailed` when it cannot
        be written (a full disk): the machine goes on then too. At the build's end what `deadline` raises. Either leaves
        nothing in `folder`. Other `ProvisionFailed`: it does not go on, or what it writes to is not known.
        """
        ...

    def saving_at_reset(self, deadline: Deadline) -> AbstractContextManager[Callable[[], bool]]:
        """Inside, put the disk aside at the guest's own next reset, as it is between its shutdown and its next boot.

        What is given is to be called while the reset is waited for, many times: at the reset the machine stands still
        until then. It is True once, when the disk was put aside and the guest boots on. `FreezeFailed`, here or there,
        when that cannot be done: the guest boots then as ever. A machine that goes off meanwhile is off as ever. On
        leaving, one that still stands boots on; when the build has ended, soon. Other `ProvisionFailed`: it does not go
        on, or what it writes to is not known.
        """
        ...

    def saved_disk(self, folder: Path, deadline: Deadline) -> Frozen:
        """Leave what was put aside last (`saving_at_reset`) in `folder`, by hard links as `freeze` does; the machine
        may run meanwhile. `FreezeFailed` when there is nothing, or it cannot be written; that, and the build's end,
        leave nothing in `folder`."""
        ...

    def disk(self) -> AbstractContextManager[Path]:
        """The system disk of a machine that is off, as a qcow2 file that this process may read as long as it is inside.

        Of a machine that was never started and is made of nothing frozen it may change the file, too: that is what the
        guest boots from then. `ProvisionFailed` on entering when the machine runs or has no disk.
        """
        ...

    def destroy(self) -> None:
        """Kill it and delete all it had on the host, its directory included. Idempotent."""
        ...


class HypervisorDriver(Protocol):
    """Makes machines. Its constructor raises `UsageError` for an option that it does not have."""

    @property
    def name(self) -> str: ...

    @property
    def options(self) -> Mapping[str, str]:
        """The options it was made with, paths made absolute: they are recorded with a run, and another process, in
        another working directory, makes the driver again from them."""
        ...

    def capabilities(self) -> Capabilities: ...

    def accelerator(self) -> Accelerator:
        """Probe (bounded, cached per boot and hypervisor version) how guests will run."""
        ...

    def capacity(self) -> Capacity:
        """What the host of the machines has, now."""
        ...

    def check(self) -> Sequence[Finding]:
        """Test the host for real, for `aibemu doctor` and before a run. An ERROR finding stops a run with exit 4."""
        ...

    def freezing_key(self) -> Sequence[str]:
        """All of hypervisor and host that a frozen machine depends on: versions, CPU, accelerator. `HostNotReady` if
        the hypervisor is missing."""
        ...

    def create(self, spec: MachineSpec) -> Machine:
        """Record, then prepare the machine; not started. After a failure `find(spec.directory)` still answers."""
        ...

    def find(self, directory: Path) -> Machine | None:
        """Take up the machine recorded in `directory` (alive, dead or half made); None if none was recorded."""
        ...

    def list(self, owner: str) -> Sequence[Leftover]:
        """All that is left of the machines of `owner`, in any process of this user, for ending it: those recorded below
        `DriverFolders.runs`, and what the hypervisor itself still has of others, whose directory is gone. A hypervisor
        with an inventory marks what it makes with the owner; for others, what a process's command line says will do.
        """
        ...

    def communicator(self, machine: Machine, credentials: Credentials, deadline: Deadline) -> Communicator | None:
        """A communicator of the driver's own, for machines that cannot be reached over the network; else None."""
        ...
