"""Where OVMF is. UEFI guests get the 4 MB build: the code is shared, each machine has a copy of the variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aibemu.errors import HostNotReady
from aibemu_drivers.qemu.arguments import FirmwareFiles

# Debian and Ubuntu, Fedora and RHEL, SUSE, Arch; the 4 MB builds first. No Secure Boot builds: they want SMM and keys.
CANDIDATES: Sequence[tuple[str, str]] = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
)
INSTALL = "sudo apt-get install --yes ovmf"


def find_firmware(options: Mapping[str, str], candidates: Sequence[tuple[str, str]] = CANDIDATES) -> FirmwareFiles:
    """OVMF's files: options `ovmf_code` and `ovmf_vars`, else the first known place that has both.

    Raises `HostNotReady` naming the package.
    """
    pairs = list(candidates)
    if "ovmf_code" in options or "ovmf_vars" in options:
        pairs = [(options.get("ovmf_code", ""), options.get("ovmf_vars", ""))]
    for code, variables in pairs:
        if Path(code).is_file() and Path(variables).is_file():
            return FirmwareFiles(code=Path(code).absolute(), variables=Path(variables).absolute())
    raise HostNotReady(
        "the UEFI firmware OVMF is not installed, and this image is of generation 2",
        details=["looked for: " + ", ".join(code or "(ovmf_code is not set)" for code, _ in pairs)],
        hint=f"install it: {INSTALL.removeprefix('sudo ')}",
        commands=[INSTALL],
    )
