"""`aibemu doctor` for QEMU: nothing is assumed from a file that exists; a real machine is started and ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from aibemu.clock import forever
from aibemu.errors import AibemuError
from aibemu.files import temporary_folder
from aibemu.hypervisor import Finding, Firmware, Level, Machine, MachineSpec, MachineState
from aibemu.processes import find_program
from aibemu_drivers.qemu.accelerator import PROGRAM, probe, qemu_version, run_payload
from aibemu_drivers.qemu.arguments import CPU_FOR_WINDOWS
from aibemu_drivers.qemu.firmware import find_firmware
from aibemu_drivers.qemu.ports import choose_ports
from aibemu_drivers.qemu.tpm import Tpm

OLDEST = (7, 2)  # -netdev stream over unix sockets, which the guest's platform needs
_INSTALL = "sudo apt-get install --yes qemu-system-x86 qemu-utils"
# Seconds: a guest of five bytes, on a busy host.
WINDOWS_CPU_BOUND = 20.0
# As deep as a run's own: RUNS/RUN/machines/validate/qmp.sock


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What is to be tested."""

    # The driver's.
    options: Mapping[str, str]
    # Where the probe's answer is kept, and below which machines will lie.
    cache: Path
    runs: Path
    # Makes a machine, as the driver does.
    create: Callable[[MachineSpec], Machine]


def check_host(examined: Examined, machine: Callable[[Examined], Finding] | None = None) -> list[Finding]:
    """Every finding, the important ones first. Takes about two seconds. machine: starts a machine in another way."""
    findings = [*_programs()]
    if any(finding.level is Level.ERROR for finding in findings):
        return findings  # the rest would only say the same again
    for test in (_ports, _accelerator, _firmware, _secure_firmware, _tpm, machine or _machine):
        findings.append(_tested(test, examined))
    return [*findings, *_windows_cpu(examined)]


def _tested(test: Callable[[Examined], Finding], examined: Examined) -> Finding:
    try:
        return test(examined)
    except AibemuError as error:
        return _bad(test.__name__.strip("_"), error)


def _bad(check: str, error: AibemuError, level: Level = Level.ERROR) -> Finding:
    message = ": ".join([error.message, *error.details[-2:]])
    return Finding(check=f"qemu: {check}", level=level, message=message, fix=next(iter(error.commands), error.hint))


def _ok(check: str, message: str) -> Finding:
    return Finding(check=f"qemu: {check}", level=Level.OK, message=message)


def _programs() -> Iterator[Finding]:
    for program in (PROGRAM, "qemu-img"):
        try:
            path = find_program(program)
        except AibemuError as error:
            yield _bad(program, error)
            continue
        yield _version(path) if program == PROGRAM else _ok(program, path)


def _version(path: str) -> Finding:
    said = qemu_version()
    found = re.search(r"version (\d+)\.(\d+)", said)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        return Finding(
            check=f"qemu: {PROGRAM}", level=Level.ERROR, message=f"{path} is too old: {said!r}, {wanted} is needed",
            fix=_INSTALL,
        )  # fmt: skip
    return _ok(PROGRAM, f"{path}: {said}")


def _ports(examined: Examined) -> Finding:
    try:
        port = choose_ports((22,))[22]
    except OSError as error:
        return Finding(
            check="qemu: loopback", level=Level.ERROR, message=f"no port on 127.0.0.1 can be bound: {error.strerror}",
            fix="sudo ip link set lo up",
        )  # fmt: skip
    return _ok("loopback", f"127.0.0.1:{port} could be bound")


def _accelerator(examined: Examined) -> Finding:
    probed = probe(examined.options, examined.cache, fresh=True)
    chosen = probed.accelerator
    if chosen.name == "kvm":
        return _ok("accelerator", f"KVM: {chosen.reason}")
    return Finding(
        check="qemu: accelerator", level=Level.WARNING, fix=probed.fix,
        message=f"guests run about {chosen.slowness:.0f} times slower, in software (TCG): {chosen.reason}",
    )  # fmt: skip


def _windows_cpu(examined: Examined) -> Iterator[Finding]:
    """The smallest guest on the CPU that Windows is given. Without KVM that CPU shows nothing to be tested."""
    probed = probe(examined.options, examined.cache)
    name = probed.accelerator.name
    if name != "kvm":
        return
    try:
        run_payload(name, sandbox=probed.sandbox, bound=WINDOWS_CPU_BOUND, cpu=CPU_FOR_WINDOWS[name])
        yield _ok("CPU for Windows", "a test guest ran with Hyper-V's interfaces")
    except AibemuError as error:
        yield _bad("CPU for Windows", error, Level.NOTE)


def _firmware(examined: Examined) -> Finding:
    try:
        return _ok("UEFI firmware", str(find_firmware(examined.options).code))
    except AibemuError as error:
        return _bad("UEFI firmware", error, Level.WARNING)


def _secure_firmware(examined: Examined) -> Finding:
    try:
        return _ok("Secure Boot firmware", str(find_firmware(examined.options, secure=True).code))
    except AibemuError as error:
        return _bad("Secure Boot firmware", error, Level.NOTE)


def _tpm(examined: Examined) -> Finding:
    """A TPM really starts and answers."""
    with temporary_folder() as scratch:
        tpm = Tpm("doctor", scratch, scratch)
        try:
            tpm.start(forever())
            return _ok("TPM", "swtpm started, answered, ended")
        except AibemuError as error:
            return _bad("TPM", error, Level.NOTE)
        finally:
            tpm.end()


def _machine(examined: Examined) -> Finding:
    """A machine with a blank disk really starts, runs and ends through QMP."""
    with temporary_folder() as scratch:
        base = scratch / "blank.img"
        with base.open("wb") as stream:
            stream.truncate(1 << 20)
        spec = MachineSpec(
            id="doctor", owner="doctor", directory=scratch / "machine", base=base, base_format="raw",
            disk_bytes=1 << 20, firmware=Firmware.BIOS, cpus=1, memory_mib=64, uuid=UUID(int=1),
            mac="52:54:00:00:00:01",
        )  # fmt: skip
        machine = examined.create(spec)
        try:
            machine.start()
            running = machine.state() is MachineState.RUNNING
            host, port = machine.endpoint(22)
            machine.kill()
        finally:
            machine.destroy()
    if not running:
        return Finding(
            check="qemu: test machine", level=Level.ERROR, message="a test machine ended at once",
            fix="sudo apt-get install --yes --reinstall qemu-system-x86",
        )  # fmt: skip
    return _ok("test machine", f"started, forwarded {host}:{port}, ended")
