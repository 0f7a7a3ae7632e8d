"""What drivers have in common whose machines run on this very host."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from aibemu.errors import UsageError
from aibemu.hypervisor import Capacity, DriverFolders
from aibemu_drivers.records import FILE

_MEMINFO = Path("/proc/meminfo")


def known_options(driver: str, options: Mapping[str, str], known: Mapping[str, bool]) -> dict[str, str]:
    """The options, paths made absolute; `UsageError` for one that is not known. known: name -> whether it is a path."""
    if unknown := sorted(set(options) - set(known)):
        raise UsageError(
            f"the driver {driver} has no option {', '.join(unknown)}", hint=f"it has: {', '.join(known) or 'none'}"
        )
    return {name: str(Path(value).absolute()) if known[name] and value else value for name, value in options.items()}


def local_capacity() -> Capacity:
    """This host's memory, as the kernel has it, and the CPUs that this process may use."""
    with _MEMINFO.open(encoding="ascii") as stream:
        kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in stream)}
    return Capacity(
        memory_mib=kib["MemTotal"] // 1024, free_mib=kib["MemAvailable"] // 1024, cpus=len(os.sched_getaffinity(0))
    )


def machines_folder(folders: DriverFolders, owner: str) -> Path:
    """Where the directories of the owner's machines are."""
    return folders.runs.resolve() / owner / "machines"


def recorded(folders: DriverFolders, owner: str) -> Iterator[Path]:
    """The directories with a record, in the order of their names."""
    folder = machines_folder(folders, owner)
    yield from sorted(file.parent for file in folder.glob(f"*/{FILE}"))
