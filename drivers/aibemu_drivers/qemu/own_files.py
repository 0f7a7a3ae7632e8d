"""What a machine has in its directory besides its disk: copies of what it shares with others and may write to."""

from __future__ import annotations

from pathlib import Path

from aibemu.errors import ProvisionFailed
from aibemu.files import copy_sparse, replacing
from aibemu.hypervisor import MachineSpec
from aibemu.reading import Unfit, open_file
from aibemu_drivers.qemu.arguments import FirmwareFiles

VARIABLES = "uefi-vars.fd"


def own_firmware(directory: Path, shared: FirmwareFiles) -> FirmwareFiles:
    """The shared code and the machine's copy of the variables, made at its first start."""
    own = directory / VARIABLES
    if not own.exists():
        with replacing(own) as temporary:
            copy_sparse(shared.variables, temporary)
    return FirmwareFiles(code=shared.code, variables=own)


def own_sticks(spec: MachineSpec, directory: Path) -> tuple[Path, ...]:
    """Where the machine's copies of its sticks are."""
    return tuple(directory / f"stick-{number}.img" for number in range(len(spec.sticks)))


def check_cdroms(spec: MachineSpec) -> None:
    """`ProvisionFailed` for one that is no file: to open a pipe QEMU would wait."""
    for path in spec.cdroms:
        try:
            with open_file(path):
                pass
        except Unfit as error:
            raise ProvisionFailed(f"the CD {error}") from None
        except OSError:
            continue  # QEMU says why


def copy_sticks(spec: MachineSpec, directory: Path) -> None:
    """Make them. `ProvisionFailed` for one that cannot be read, or is no whole number of sectors."""
    for shared, own in zip(spec.sticks, own_sticks(spec, directory), strict=True):
        try:
            with replacing(own, sync=False) as temporary:
                copy_sparse(shared, temporary)
        except OSError as error:
            raise ProvisionFailed(f"the stick {shared} cannot be copied: {error.strerror}") from error
        if not own.stat().st_size or own.stat().st_size % 512:
            raise ProvisionFailed(f"the stick {shared} is no disk image: its size is no multiple of 512 bytes")
