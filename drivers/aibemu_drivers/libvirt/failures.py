"""libvirt's errors, by their numbers: its words may be in any language, those of QEMU in them are not."""

from __future__ import annotations

import os
from typing import Any

from aibemu.errors import AibemuError, HostNotReady, ProvisionFailed
from aibemu.hypervisor import MachineSpec
from aibemu_drivers.libvirt.addresses import Address, Kind
from aibemu_drivers.qemu.failures import explain_failure

# virErrorNumber and virErrorDomain (libvirt: include/libvirt/virterror.h).
INTERNAL, NO_SUPPORT, TAKEN, XML_ERROR, SYSTEM = 1, 3, 9, 27, 38
NO_DOMAIN, AUTH_FAILED, INVALID_STATE, UNSUPPORTED, NO_MARK, DENIED, SCHEMA = 42, 45, 55, 67, 80, 88, 92
FROM_RPC = 7
_DAEMON = "sudo apt-get install --yes libvirt-daemon libvirt-daemon-driver-qemu"
_SYSTEM_DAEMON = "sudo apt-get install --yes libvirt-daemon-system"
_GROUP = "sudo usermod -aG libvirt $USER"


class Refused(ProvisionFailed):
    """libvirt did not do what it was asked to."""

    def __init__(self, number: int, words: str, message: str = "libvirt did not do what it was asked to") -> None:
        super().__init__(message, details=words.splitlines() or ["libvirt said nothing"])
        # virErrorNumber.
        self.number = number
        self.words = words


class Lost(ProvisionFailed):
    """libvirt's daemon is gone, or silent: what it was told to do may be done, or not, or later."""


def translated(error: Any, address: Address) -> ProvisionFailed:
    """What a `libvirt.libvirtError` means for one who asked something of a connection."""
    number, domain, words = error.get_error_code(), error.get_error_domain(), error.get_error_message() or str(error)
    if domain == FROM_RPC and number in {INTERNAL, SYSTEM}:
        return lost(address, words)
    return Refused(number, words)


def lost(address: Address, words: str) -> Lost:
    """The connection ended, or nobody answers on it."""
    return Lost(
        f"libvirt at {address.uri} does not answer any more", details=[words],
        hint="see whether its daemon runs; machines go on without it, and are found again when it is back",
        commands=["aibemu doctor"],
    )  # fmt: skip


def not_reached(error: Any, address: Address) -> HostNotReady:
    """What a `libvirt.libvirtError` means when a connection was to be made."""
    number, words = error.get_error_code(), error.get_error_message() or str(error)
    hint, commands = _cure(number, words, address)
    return HostNotReady(
        f"libvirt at {address.uri} cannot be used", details=[f"{words} (libvirt's error {number})"], hint=hint,
        commands=commands,
    )  # fmt: skip


def _cure(number: int, words: str, address: Address) -> tuple[str, list[str]]:
    if address.kind is Kind.EMBED:
        if number == SYSTEM and "driver.pid" in words:
            return "another process uses this root: only one can at a time, wait until it has ended", []
        return "qemu:///embed is for tests; qemu:///session is what users take", []
    if number in {AUTH_FAILED, DENIED}:
        return "join the group libvirt, then log in again; its members can do all that root can", [_GROUP]
    if address.kind is Kind.SYSTEM:
        return "install libvirt's daemon and join its group, then log in again", [_SYSTEM_DAEMON, _GROUP]
    if os.geteuid() == 0:
        return "root has no libvirt of its own: choose another with --driver-option uri=qemu:///system", []
    return "install libvirt's daemon", [_DAEMON]


def not_started(spec: MachineSpec, error: Refused) -> ProvisionFailed:
    """Why libvirt did not start a machine."""
    if error.number == TAKEN:
        return ProvisionFailed(
            f"libvirt has a machine of the name of {spec.id} already", details=error.details,
            hint="what is left of runs that died is removed by the next command: aibemu status",
        )  # fmt: skip
    if error.number in {XML_ERROR, UNSUPPORTED, SCHEMA, NO_SUPPORT}:
        return ProvisionFailed(
            f"libvirt does not take the machine {spec.id} as it is described", details=error.details,
            hint="this libvirt or its QEMU may be too old: test the host: aibemu doctor",
        )  # fmt: skip
    if error.number == SYSTEM:
        return ProvisionFailed(
            f"libvirt could not use what the machine {spec.id} needs", details=error.details,
            hint="see docs/libvirt.md, Rights; and test the host: aibemu doctor",
        )  # fmt: skip
    return explain_failure(spec, error.words)


def is_gone(error: AibemuError) -> bool:
    """Whether libvirt says that there is no such machine (any more)."""
    return isinstance(error, Refused) and error.number == NO_DOMAIN
