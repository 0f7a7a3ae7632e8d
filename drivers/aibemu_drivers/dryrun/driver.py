"""A driver that starts nothing: a build with it is told and recorded, and neither runs nor writes anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from aibemu import plugins
from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Credentials
from aibemu.errors import ProvisionFailed, UsageError
from aibemu.hypervisor import (
    Accelerator,
    Capabilities,
    Capacity,
    DriverFolders,
    Finding,
    Firmware,
    HypervisorDriver,
    Leftover,
    Level,
    Machine,
    MachineSpec,
)
from aibemu_drivers.local import known_options, local_capacity

DRIVER = "dryrun"


class DryrunDriver:
    """See `aibemu.hypervisor.HypervisorDriver`. Option `like`: the name of a driver that would build; then the dry run
    looks for the layers that a build with it would start from."""

    name = DRIVER

    def __init__(self, options: Mapping[str, str], folders: DriverFolders) -> None:
        self.options = known_options(DRIVER, options, {"like": False})
        self.folders = folders

    @cached_property
    def like(self) -> HypervisorDriver | None:
        """The driver that would build, if it was named. Raises what making it raises."""
        if not (name := self.options.get("like")):
            return None
        if name == self.name:
            raise UsageError(f"the driver {DRIVER} makes no layers", hint="name the driver that would build: like=qemu")
        made: HypervisorDriver = plugins.load("aibemu.drivers", name)({}, self.folders)
        return made

    def capabilities(self) -> Capabilities:
        real = self.like.capabilities() if self.like else None
        return Capabilities(
            boots_guests=False, screenshots=False, firmwares=frozenset(Firmware),
            freezes=real is not None and real.freezes, saves_disks=real is not None and real.saves_disks,
        )  # fmt: skip

    def accelerator(self) -> Accelerator:
        return Accelerator(name="none", reason="a dry run starts no machine", slowness=1.0)

    def capacity(self) -> Capacity:
        return local_capacity()

    def check(self) -> Sequence[Finding]:
        return [Finding(check="dryrun", level=Level.OK, message="starts no machine (dry run)")]

    def freezing_key(self) -> Sequence[str]:
        return self.like.freezing_key() if self.like else (DRIVER,)

    def create(self, spec: MachineSpec) -> Machine:
        raise ProvisionFailed(f"the driver {DRIVER} makes no machines: {spec.id} was not made")

    def find(self, directory: Path) -> Machine | None:
        """None, also where an earlier version, whose dry runs had machines on record, left one: there is nothing to
        end, and its directory goes with its run."""
        return None

    def list(self, owner: str) -> Sequence[Leftover]:
        return ()

    def communicator(self, machine: Machine, credentials: Credentials, deadline: Deadline) -> Communicator | None:
        return None
