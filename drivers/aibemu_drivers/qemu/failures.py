"""QEMU's own words when it would not start, turned into an error that says what to do."""

from __future__ import annotations

from collections.abc import Sequence

from aibemu.errors import ProvisionFailed
from aibemu.hypervisor import FrozenRefused, MachineSpec
from aibemu_drivers.qemu.monitor import MigrationFailed

PORT_TAKEN = "Could not set up host forwarding rule"
_NO_MEMORY = ("cannot set up guest memory", "Cannot allocate memory")
_NOISE = ("warning:", "hub 0 with no nics")


def explain_failure(spec: MachineSpec, log: str) -> ProvisionFailed:
    """`ProvisionFailed` from what QEMU printed before it ended."""
    lines = [line for line in log.strip().splitlines() if line.strip()][-12:]
    telling = [line for line in lines if not any(noise in line for noise in _NOISE)] or lines
    if _lacks_memory(log):
        return ProvisionFailed(
            f"the host has no {spec.memory_mib} MiB of free memory for the machine {spec.id}",
            details=telling,
            hint="choose a smaller vmSize, or end other machines and programs",
            commands=["free -m", "aibemu status"],
        )
    if any(PORT_TAKEN in line for line in telling):
        return ProvisionFailed(
            f"no free port on 127.0.0.1 for the machine {spec.id}",
            details=telling,
            hint="something takes every port as soon as it is free; see what listens",
            commands=["ss -ltnp"],
        )
    if any("Failed to get" in line and '"write" lock' in line for line in telling):
        return _failed(spec, telling, "another process has the disk open: end it, or the machine that it belongs to")
    if any("Could not access KVM kernel module" in line or "failed to initialize kvm" in line for line in telling):
        return _failed(spec, telling, "KVM was asked for and is not usable; use the driver option accelerator=auto")
    if any("HyperV" in line or "Hyper-V" in line for line in telling):
        return _failed(
            spec, telling, "KVM of this host's kernel lacks what Windows guests are given: use a newer kernel"
        )
    return _failed(spec, telling, "test the host: aibemu doctor")


def explain_end(spec: MachineSpec, log: str, status: int | None, error: Exception, *, loading: bool) -> ProvisionFailed:
    """Why a QEMU that ran was of no use.

    status: with which it ended, or None; below 0 somebody else ended it. error: what was seen of it. loading: it had
    its frozen memory to read; it ends when that is no good.
    """
    failure = explain_failure(spec, log)
    said = list(failure.details)
    if status is None:
        said += [str(error), *(error.details if isinstance(error, ProvisionFailed) else ())]
    if loading and not _lacks_memory(log) and ((status or 0) > 0 or isinstance(error, MigrationFailed)):
        return FrozenRefused(f"QEMU does not go on with the machine {spec.id} from its frozen memory", details=said)
    return ProvisionFailed(failure.message, details=said, hint=failure.hint, commands=failure.commands)


def _lacks_memory(log: str) -> bool:
    return any(words in log for words in _NO_MEMORY)


def _failed(spec: MachineSpec, telling: Sequence[str], hint: str) -> ProvisionFailed:
    return ProvisionFailed(
        f"QEMU did not start the machine {spec.id}", details=telling or ["QEMU said nothing"], hint=hint
    )
