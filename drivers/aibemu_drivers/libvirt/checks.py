"""`aibemu doctor` for libvirt: a real machine is started in the very home, with the rights that it would have there."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from uuid import UUID

from aibemu.clock import forever
from aibemu.errors import AibemuError, Expired, ProvisionFailed
from aibemu.files import FileLock, make_folder, write_bytes
from aibemu.hardware import Chipset
from aibemu.hypervisor import Finding, Firmware, Level, Machine, MachineSpec, Wire
from aibemu.sockets import make_socket_directory, remove_socket_directory, socket_directory
from aibemu_drivers.libvirt import library
from aibemu_drivers.libvirt.addresses import Kind
from aibemu_drivers.libvirt.connection import Connection
from aibemu_drivers.libvirt.leftovers import find_left
from aibemu_drivers.qemu.checks import Examined, check_host

# mov dx, 0x3f8; mov al, '+'; out dx, al; cli; hlt: says that it runs, on the serial console.
SAYS = "+"
PAYLOAD = bytes.fromhex("baf803b02beefaf4").ljust(510, b"\0") + b"\x55\xaa"
# Seconds in which a guest of eight bytes has run, on a busy host.
RUN_BOUND = 60.0
PREFIX = "libvirt: "
OWNER = "doctor"
_RIGHTS = "see docs/libvirt.md, Rights"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is to be tested. `examined`: what the driver qemu would test, too."""

    examined: Examined
    connection: Connection
    # Where machines are made for tests: in the home, as those of builds.
    folder: Path
    # What libvirt and QEMU make of a chipset.
    machine_type: Callable[[Chipset], str]


def check_libvirt(subject: Subject) -> list[Finding]:
    """Every finding, the important ones first. Takes some seconds, libvirt's first use among them."""
    findings: list[Finding] = []
    for name, test in (("library", _library), ("connection", _connection), ("machine types", _machine_types)):
        try:
            findings.append(_ok(name, test(subject)))
        except AibemuError as error:
            return [*findings, _bad(name, error)]  # the rest would only say the same again
    # What is fine with QEMU itself the driver qemu says.
    more = check_host(subject.examined, machine=lambda _: _test_machine(subject))
    return [*findings, *(one for one in more if one.level is not Level.OK or one.check.startswith(PREFIX))]


def _library(subject: Subject) -> str:
    version = library.load().getVersion()
    library.load_qemu()
    return f"libvirt's library {_version(version)}"


def _connection(subject: Subject) -> str:
    daemon, qemu = subject.connection.call(lambda virt: (virt.getLibVersion(), virt.getVersion()))
    return f"{subject.connection.address.uri}: libvirt {_version(daemon)}, QEMU {_version(qemu)}"


def _machine_types(subject: Subject) -> str:
    return ", ".join(subject.machine_type(chipset) for chipset in Chipset)


def _version(number: int) -> str:
    """libvirt's way to write versions: 9000001 is 9.0.1."""
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"


def _test_machine(subject: Subject) -> Finding:
    """Nothing less proves that QEMU, as whoever libvirt runs it, gets at disk and console of a machine in this home."""
    folder = subject.folder.resolve()
    make_folder(folder)
    lock = FileLock(folder / "doctor.lock")
    alone = lock.acquire(blocking=False)
    try:
        if alone:  # of one that was killed
            for left in find_left(subject.connection, OWNER, folder, known=()):
                left.destroy()
        return _tested(subject, folder)
    finally:
        if alone:
            lock.release()


def _tested(subject: Subject, folder: Path) -> Finding:
    with tempfile.TemporaryDirectory(prefix="doctor-", dir=folder) as scratch, _listening(Path(scratch)) as wired:
        base = Path(scratch) / "says.img"
        write_bytes(base, PAYLOAD.ljust(1 << 20, b"\0"))
        machine = subject.examined.create(replace(_spec(Path(scratch), base), wire=wired.wire))
        try:
            return _tried(subject, machine, wired)
        except AibemuError as error:
            return _bad("test machine", error)
        finally:
            machine.destroy()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wired:
    wire: Wire
    listeners: tuple[socket.socket, ...]

    def await_connected(self) -> None:
        """QEMU goes on without a network where it may not connect, and says nothing."""
        for listener in self.listeners:
            listener.settimeout(RUN_BOUND)
            try:
                listener.accept()[0].close()
            except TimeoutError:
                raise ProvisionFailed(
                    f"QEMU does not connect to the socket {listener.getsockname()}",
                    details=["a guest would have no network"], hint=_RIGHTS,
                ) from None  # fmt: skip


@contextlib.contextmanager
def _listening(folder: Path) -> Iterator[_Wired]:
    """Sockets where those of a machine's network would be."""
    sockets = socket_directory(folder, "uplink")
    if sockets != folder:
        make_socket_directory(sockets)
    wire = Wire(
        nic=sockets / "nic", uplink=sockets / "uplink", subnet=IPv4Network("10.0.0.0/24"),
        address=IPv4Address("10.0.0.4"),
    )  # fmt: skip
    try:
        with contextlib.ExitStack() as held:
            listeners = []
            for path in (wire.nic, wire.uplink):
                listeners.append(held.enter_context(socket.socket(socket.AF_UNIX)))
                listeners[-1].bind(str(path))
                listeners[-1].listen()
            yield _Wired(wire=wire, listeners=tuple(listeners))
    finally:
        remove_socket_directory(sockets, folder)


def _spec(folder: Path, base: Path) -> MachineSpec:
    # The folder's name is no other one's, so neither is the machine's.
    name = folder.name.lower().replace("_", "-")
    return MachineSpec(
        id=name, owner=OWNER, directory=folder / "machine", base=base, base_format="raw", disk_bytes=1 << 20,
        firmware=Firmware.BIOS, cpus=1, memory_mib=64, uuid=UUID(int=1), mac="52:54:00:00:00:01",
    )  # fmt: skip


def _tried(subject: Subject, machine: Machine, wired: _Wired) -> Finding:
    machine.start()
    wired.await_connected()
    host, port = machine.endpoint(22)
    try:
        forever().within(RUN_BOUND).poll(lambda: SAYS in machine.console().text)
    except Expired:
        raise ProvisionFailed(
            "a test machine said nothing on its console", details=[f"waited {RUN_BOUND:.0f} s"], hint=_RIGHTS
        ) from None
    machine.kill()
    who = " as this user" if subject.connection.address.kind is Kind.SYSTEM else ""
    return _ok("test machine", f"started{who} in {machine.directory.parent.parent}, forwarded {host}:{port}, ended")


def _ok(check: str, message: str) -> Finding:
    return Finding(check=f"{PREFIX}{check}", level=Level.OK, message=message)


def _bad(check: str, error: AibemuError) -> Finding:
    message = ": ".join([error.message, *error.details[-2:]])
    fix = " && ".join(error.commands) or error.hint
    return Finding(check=f"{PREFIX}{check}", level=Level.ERROR, message=message, fix=fix)
