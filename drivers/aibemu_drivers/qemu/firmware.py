"""Where OVMF is. UEFI guests get the 4 MB build: the code is shared, each machine has a copy of the variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aibemu.errors import HostNotReady
from aibemu_drivers.qemu.arguments import FirmwareFiles

# Debian and Ubuntu, Fedora and RHEL, SUSE, Arch; the 4 MB builds first.
CANDIDATES: Sequence[tuple[str, str]] = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
)
# The same with Secure Boot on and Microsoft's keys in the variables. Arch has no such variables.
SECURE_CANDIDATES: Sequence[tuple[str, str]] = (
    ("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
    ("/usr/share/qemu/ovmf-x86_64-smm-ms-code.bin", "/usr/share/qemu/ovmf-x86_64-smm-ms-vars.bin"),
    ("/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd"),
)
INSTALL = "sudo apt-get install --yes ovmf"


def find_firmware(
    options: Mapping[str, str], candidates: Sequence[tuple[str, str]] | None = None, *, secure: bool = False
) -> FirmwareFiles:
    """OVMF's files: options `ovmf_code` and `ovmf_vars`, else the first known place that has both.

    secure: the ones with Secure Boot; options `ovmf_secure_code` and `ovmf_secure_vars`. Raises `HostNotReady` naming
    the package.
    """
    pairs = list((SECURE_CANDIDATES if secure else CANDIDATES) if candidates is None else candidates)
    names = ("ovmf_secure_code", "ovmf_secure_vars") if secure else ("ovmf_code", "ovmf_vars")
    if any(name in options for name in names):
        pairs = [(options.get(names[0], ""), options.get(names[1], ""))]
    for code, variables in pairs:
        if Path(code).is_file() and Path(variables).is_file():
            return FirmwareFiles(code=Path(code).absolute(), variables=Path(variables).absolute())
    what = "OVMF with Secure Boot and Microsoft's keys is not installed" if secure else (
        "OVMF is not installed, and this image is of generation 2"
    )  # fmt: skip
    raise HostNotReady(
        f"the UEFI firmware {what}",
        details=["looked for: " + ", ".join(f"{code or f'({names[0]} is not set)'}" for code, _ in pairs)],
        hint=f"install it: {INSTALL.removeprefix('sudo ')}",
        commands=[INSTALL],
    )
