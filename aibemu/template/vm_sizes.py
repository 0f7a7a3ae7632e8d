"""Azure VM sizes: how many vCPUs and how much memory a size has.

Most families are regular: so many MiB a vCPU, for a list of vCPU counts. What is not regular stands in a table.
Numbers are those of Microsoft's size pages. A size that is not here is no error: callers warn and take a default.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSize:
    """A size by its proper name; memory in MiB."""

    name: str
    vcpus: int
    memory_mib: int


# What the service takes when vmSize is empty (facts: service 1.3), by Hyper-V generation.
DEFAULT_GEN1 = "Standard_D1_v2"
DEFAULT_GEN2 = "Standard_D2ds_v4"
# The service's own proxy machine, the default of proxyVmSize.
DEFAULT_PROXY = "Standard_A1_v2"

_D = (2, 4, 8, 16, 32, 48, 64)
_D_LARGE = (*_D, 96)
_E_REGULAR = (2, 4, 8, 16, 20, 32, 48)
_E = (*_E_REGULAR, 64)
_F = (1, 2, 4, 8, 16)
_F_V2 = (2, 4, 8, 16, 32, 48, 64, 72)

# (name with {n} for the vCPU count, GiB a vCPU, vCPU counts)
_FAMILIES: tuple[tuple[str, float, tuple[int, ...]], ...] = (
    ("A{n}_v2", 2, (1, 2, 4, 8)),
    ("A{n}m_v2", 8, (2, 4, 8)),
    ("D{n}_v3", 4, _D),
    ("D{n}s_v3", 4, _D),
    ("D{n}_v4", 4, _D),
    ("D{n}s_v4", 4, _D),
    ("D{n}d_v4", 4, _D),
    ("D{n}ds_v4", 4, _D),
    ("D{n}a_v4", 4, _D_LARGE),
    ("D{n}as_v4", 4, _D_LARGE),
    *((f"D{{n}}{kind}_v5", 4, _D_LARGE) for kind in ("", "s", "d", "ds", "as", "ads")),
    *((f"D{{n}}{kind}_v6", 4, _D_LARGE) for kind in ("s", "ds", "as", "ads")),
    *((f"D{{n}}{kind}_v5", 2, _D_LARGE) for kind in ("ls", "lds")),
    *((f"E{{n}}{kind}_v3", 8, _E_REGULAR) for kind in ("", "s")),
    *((f"E{{n}}{kind}_v4", 8, _E_REGULAR) for kind in ("", "s", "d", "ds")),
    *((f"E{{n}}{kind}_v4", 8, _E) for kind in ("a", "as")),
    *((f"E{{n}}{kind}_v5", 8, _E) for kind in ("", "s", "d", "ds", "as", "ads")),
    *((f"E{{n}}{kind}_v6", 8, _E) for kind in ("s", "ds", "as", "ads")),
    ("F{n}", 2, _F),
    ("F{n}s", 2, _F),
    ("F{n}s_v2", 2, _F_V2),
    ("DC{n}s_v3", 8, (1, 2, 4, 8, 16, 24, 32, 48)),
    ("DC{n}as_v5", 4, _D_LARGE),
    ("DC{n}ads_v5", 4, _D_LARGE),
    ("EC{n}as_v5", 8, _E),
)

# name: (vCPUs, GiB)
_SINGLE: dict[str, tuple[int, float]] = {
    "A0": (1, 0.75), "A1": (1, 1.75), "A2": (2, 3.5), "A3": (4, 7), "A4": (8, 14), "A5": (2, 14), "A6": (4, 28),
    "A7": (8, 56),
    "B1ls": (1, 0.5), "B1s": (1, 1), "B1ms": (1, 2), "B2s": (2, 4), "B2ms": (2, 8), "B4ms": (4, 16), "B8ms": (8, 32),
    "B12ms": (12, 48), "B16ms": (16, 64), "B20ms": (20, 80),
    "B2ts_v2": (2, 1), "B2ls_v2": (2, 4), "B2s_v2": (2, 8), "B4ls_v2": (4, 8), "B4s_v2": (4, 16),
    "B8ls_v2": (8, 16), "B8s_v2": (8, 32), "B16ls_v2": (16, 32), "B16s_v2": (16, 64), "B32ls_v2": (32, 64),
    "B32s_v2": (32, 128),
    "B2ats_v2": (2, 1), "B2als_v2": (2, 4), "B2as_v2": (2, 8), "B4als_v2": (4, 8), "B4as_v2": (4, 16),
    "B8als_v2": (8, 16), "B8as_v2": (8, 32), "B16als_v2": (16, 32), "B16as_v2": (16, 64),
    "D1": (1, 3.5), "D2": (2, 7), "D3": (4, 14), "D4": (8, 28), "D11": (2, 14), "D12": (4, 28), "D13": (8, 56),
    "D14": (16, 112),
    "E64_v3": (64, 432), "E64s_v3": (64, 432), "E64_v4": (64, 504), "E64s_v4": (64, 504), "E64d_v4": (64, 504),
    "E64ds_v4": (64, 504), "E96a_v4": (96, 672), "E96as_v4": (96, 672), "E96_v5": (96, 672), "E96s_v5": (96, 672),
    "E96d_v5": (96, 672), "E96ds_v5": (96, 672), "E96as_v5": (96, 672), "E96ads_v5": (96, 672),
    "L8s_v2": (8, 64), "L16s_v2": (16, 128), "L32s_v2": (32, 256), "L8s_v3": (8, 64), "L16s_v3": (16, 128),
    "L32s_v3": (32, 256),
    "NV6": (6, 56), "NC6": (6, 56), "NC4as_T4_v3": (4, 28), "NC8as_T4_v3": (8, 56), "NC16as_T4_v3": (16, 110),
    "NV4as_v4": (4, 14), "NV8as_v4": (8, 28), "NV16as_v4": (16, 56), "NV32as_v4": (32, 112),
}  # fmt: skip

# The second D generation, with and without premium storage: (vCPUs, GiB) by the number in the name.
_D_V2: dict[int, tuple[int, float]] = {
    1: (1, 3.5), 2: (2, 7), 3: (4, 14), 4: (8, 28), 5: (16, 56),
    11: (2, 14), 12: (4, 28), 13: (8, 56), 14: (16, 112), 15: (20, 140),
}  # fmt: skip
_DS_V1 = (1, 2, 3, 4, 11, 12, 13, 14)


@cache
def table() -> dict[str, VmSize]:
    """All known sizes, by their name in lower case."""
    sizes = dict(_SINGLE)
    for number, (cpus, gib) in _D_V2.items():
        sizes[f"D{number}_v2"] = sizes[f"DS{number}_v2"] = (cpus, gib)
        if number in _DS_V1:
            sizes[f"DS{number}"] = (cpus, gib)
    for pattern, per_cpu, counts in _FAMILIES:
        sizes.update({pattern.format(n=count): (count, count * per_cpu) for count in counts})
    return {
        f"standard_{name}".lower(): VmSize(name=f"Standard_{name}", vcpus=cpus, memory_mib=round(gib * 1024))
        for name, (cpus, gib) in sizes.items()
    }


def lookup(size: str) -> VmSize | None:
    """The size of that name, in any case, with or without `Standard_` (`Basic_` of old times too); None if unknown."""
    name = re.sub(r"^basic_", "standard_", size.strip().lower())
    return table().get(name if name.startswith("standard_") else f"standard_{name}")


# Those from the sixth generation on; Lsv4 came with them. Of other families it is not known, or they have both.
_NVME_ONLY = re.compile(r"(?:standard_)?(?:[def]\d+\w*_v[6-9]|l\d+a?s_v[4-9])")


def nvme_only(size: str) -> bool:
    """Whether machines of that size have no other disks in Azure than NVMe: their images need a driver for these."""
    return _NVME_ONLY.fullmatch(size.strip().lower()) is not None


def default_for(generation: int) -> VmSize:
    """What the service takes when vmSize is empty; generation 1 or 2."""
    return table()[(DEFAULT_GEN2 if generation == 2 else DEFAULT_GEN1).lower()]
