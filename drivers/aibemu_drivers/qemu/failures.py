"""QEMU's own words when it would not start, turned into an error that says what to do."""

from __future__ import annotations

from collections.abc import Sequence

from aibemu.errors import ProvisionFailed
from aibemu.hypervisor import MachineSpec

PORT_TAKEN = "Could not set up host forwarding rule"
_NOISE = ("warning:", "hub 0 with no nics")


def explain_failure(spec: MachineSpec, log: str) -> ProvisionFailed:
    """`ProvisionFailed` from what QEMU printed before it ended."""
    lines = [line for line in log.strip().splitlines() if line.strip()][-12:]
    telling = [line for line in lines if not any(noise in line for noise in _NOISE)] or lines
    if any("cannot set up guest memory" in line or "Cannot allocate memory" in line for line in telling):
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
    if any('Failed to get "write" lock' in line for line in telling):
        return _failed(spec, telling, "another process has the disk open: end it, or the machine that it belongs to")
    if any("Could not access KVM kernel module" in line or "failed to initialize kvm" in line for line in telling):
        return _failed(spec, telling, "KVM was asked for and is not usable; use the driver option accelerator=auto")
    return _failed(spec, telling, "test the host: aibemu doctor")


def _failed(spec: MachineSpec, telling: Sequence[str], hint: str) -> ProvisionFailed:
    return ProvisionFailed(
        f"QEMU did not start the machine {spec.id}", details=telling or ["QEMU said nothing"], hint=hint
    )
