"""How guests will run: KVM if it really runs one, else TCG. Found out by running a guest of five bytes.

Neither "/dev/kvm opens" nor "the guest ran" proves anything: on nested hosts KVM may open and then run a boot sector
in 4 s that TCG runs in 0.13 s (facts: host, "KVM that opens but does not run"). So the payload is timed, against TCG.
The answer is remembered for this boot of the host and this QEMU.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibemu.clock import Clock, SystemClock, forever
from aibemu.errors import AibemuError, Expired, HostNotReady, UsageError
from aibemu.files import temporary_folder, write_json
from aibemu.hypervisor import Accelerator
from aibemu.process_id import boot_id
from aibemu.processes import ToolFailed, run_tool
from aibemu.records import SHAPE_ERRORS, read_json
from aibemu_drivers.qemu.arguments import CPU, SANDBOX

PROGRAM = "qemu-system-x86_64"
# Waits need about five times the time without hardware acceleration (facts: host).
SLOWNESS: Mapping[str, float] = {"kvm": 1.0, "tcg": 5.0}
# mov al, 0x2a; out 0xf4, al; hlt. The device isa-debug-exit turns 0x2a into exit status 0x2a * 2 + 1.
PAYLOAD = bytes.fromhex("b02ae6f4f4").ljust(510, b"\0") + b"\x55\xaa"
PAYLOAD_STATUS = 85
# Seconds: KVM gets this long, or three times what TCG took on a busy host; TCG itself always ends sooner than this.
KVM_BOUND = 1.0
TCG_BOUND = 60.0
_KVM = Path("/dev/kvm")
JOIN_GROUP = "sudo usermod -aG kvm $USER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What the probe found. fix: the command that would bring KVM, if one is known. sandbox: QEMU has seccomp."""

    accelerator: Accelerator
    sandbox: bool
    fix: str | None = None


def probe(
    options: Mapping[str, str], cache: Path, *, fresh: bool = False, kvm: Path = _KVM, clock: Clock | None = None
) -> Probed:
    """Choose the accelerator; option `accelerator` = auto, kvm or tcg. `fresh` ignores what is remembered.

    Takes some milliseconds when remembered, a second or so otherwise. Raises `UsageError` for another option value,
    `HostNotReady` when QEMU is missing or cannot even run the payload.
    """
    wanted = options.get("accelerator", "auto")
    if wanted not in {"auto", "kvm", "tcg"}:
        raise UsageError(f"the driver option accelerator is {wanted!r}", hint="use auto, kvm or tcg")
    shut, fix = _why_shut(kvm)
    # Whether KVM is open to us is part of the key: joining the group must not need a reboot.
    key = {"boot": boot_id(), "qemu": qemu_version(), "wanted": wanted, "shut": shut, "cpu": CPU}
    file = cache / "accelerator.json"
    if not fresh and (known := _remembered(file, key)):
        return known
    probed = _probe(wanted, shut, fix, clock or SystemClock())
    with contextlib.suppress(OSError):  # a cache that cannot be written costs a second each time, no more
        write_json(file, {"key": key, "probed": _as_json(probed)})
    return probed


def qemu_version() -> str:
    """QEMU's own first line, e.g. `QEMU emulator version 7.2.22 (Debian ...)`."""
    said = run_tool([PROGRAM, "--version"], deadline=forever().within(TCG_BOUND)).stdout
    return said.partition("\n")[0].strip()


def host_cpu() -> str:
    """Model and features of this host's CPU, as the kernel has them."""
    with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as stream:
        found = dict(line.split(":", 1) for line in stream if line.startswith(("model name", "flags")))
    return "; ".join(f"{name.strip()}: {value.strip()}" for name, value in sorted(found.items()))


def _why_shut(kvm: Path) -> tuple[str, str | None]:
    """Why /dev/kvm cannot be used at all, and the command that mends it; empty when it opens."""
    try:
        os.close(os.open(kvm, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return f"there is no {kvm} (no hardware virtualisation, or its kernel module is not loaded)", None
    except PermissionError:
        return f"{kvm} may not be opened by this user", f"{JOIN_GROUP} (then log in again)"
    except OSError as error:
        return f"{kvm} cannot be opened: {error.strerror}", None
    return "", None


def _probe(wanted: str, shut: str, fix: str | None, clock: Clock) -> Probed:
    sandbox, seconds = _try_tcg(clock)
    if wanted != "auto":
        return _answer(wanted, f"chosen by the driver option accelerator={wanted}", sandbox)
    if shut:
        return _answer("tcg", shut, sandbox, fix)
    bound = max(KVM_BOUND, 3 * seconds)
    started = clock.monotonic()
    try:
        run_payload("kvm", sandbox=sandbox, bound=bound)
    except Expired:
        why = f"no working KVM (/dev/kvm opens, but a test guest hangs: {bound:.1f} s, {seconds:.2f} s without KVM)"
        return _answer("tcg", why, sandbox)
    except ToolFailed as error:
        return _answer("tcg", f"/dev/kvm opens, but QEMU cannot use it: {_first_line(error)}", sandbox)
    return _answer("kvm", f"a test guest ran in {clock.monotonic() - started:.2f} s", sandbox)


def _try_tcg(clock: Clock) -> tuple[bool, float]:
    """Whether QEMU runs with its sandbox, and how many seconds the payload takes under TCG."""
    failures: list[AibemuError] = []
    for sandbox in (True, False):
        started = clock.monotonic()
        try:
            run_payload("tcg", sandbox=sandbox, bound=TCG_BOUND)
        except (ToolFailed, Expired) as error:
            failures.append(error)
        else:
            return sandbox, clock.monotonic() - started
    raise HostNotReady(
        f"{PROGRAM} cannot run even the smallest guest",
        details=[line for error in failures for line in (error.message, *error.details)],
        hint="reinstall it: apt-get install --reinstall qemu-system-x86",
        commands=["sudo apt-get install --yes --reinstall qemu-system-x86"],
    )


def run_payload(accelerator: str, *, sandbox: bool, bound: float, cpu: str = CPU) -> None:
    """Run the payload. `ToolFailed` if QEMU fails, `Expired` after `bound` seconds (its process is gone then)."""
    with temporary_folder() as scratch:
        disk = scratch / "disk.img"
        disk.write_bytes(PAYLOAD.ljust(1 << 20, b"\0"))
        words = [
            PROGRAM, "-machine", "pc", "-accel", accelerator, "-cpu", cpu, "-m", "16", "-nodefaults", "-no-user-config",
            "-display", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
            "-drive", f"if=ide,format=raw,file={str(disk).replace(',', ',,')}",
            *(["-sandbox", SANDBOX] if sandbox else []),
        ]  # fmt: skip
        try:
            run_tool(words, deadline=forever().within(bound))
        except ToolFailed as error:
            if error.status != PAYLOAD_STATUS:
                raise
        else:
            raise ToolFailed(words, 0, "QEMU ended before the guest did")


def _answer(name: str, reason: str, sandbox: bool, fix: str | None = None) -> Probed:
    accelerator = Accelerator(name=name, reason=reason, slowness=SLOWNESS[name])
    return Probed(accelerator=accelerator, sandbox=sandbox, fix=fix)


def _first_line(error: ToolFailed) -> str:
    said: Sequence[str] = [line for line in error.output.splitlines() if line.strip()]
    return next((line for line in said if "error" in line), said[0] if said else error.message)


def _as_json(probed: Probed) -> dict[str, Any]:
    chosen = probed.accelerator
    return {"name": chosen.name, "reason": chosen.reason, "sandbox": probed.sandbox, "fix": probed.fix}


def _remembered(file: Path, key: Mapping[str, str]) -> Probed | None:
    try:
        known = read_json(file)
        if known["key"] != key:
            return None
        found = known["probed"]
        return _answer(found["name"], found["reason"], bool(found["sandbox"]), found["fix"])
    except (OSError, *SHAPE_ERRORS):
        return None
