"""Which libvirt to talk to: the driver option `uri`. Only one that runs QEMU on this very host will do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, urlsplit

from aibemu.errors import UsageError

DEFAULT = "qemu:///session"
_POSSIBLE = (
    "qemu:///session (the default), qemu:///system, qemu+unix:///system?socket=/PATH, or for tests "
    "qemu:///embed?root=/FOLDER"
)
# The parameter that each path may have, by scheme; of those with one it is needed.
_KNOWN = {
    ("qemu", "/session"): None, ("qemu", "/system"): None, ("qemu", "/embed"): "root",
    ("qemu+unix", "/session"): "socket", ("qemu+unix", "/system"): "socket",
}  # fmt: skip


class Kind(StrEnum):
    """Who runs QEMU."""

    # A daemon of the user's own, which libvirt's library starts; QEMU is the user's process.
    SESSION = "session"
    # A daemon of root's; QEMU would be another user's process, so each machine says whose it shall be.
    SYSTEM = "system"
    # No daemon: this process itself. One process at a time for each folder.
    EMBED = "embed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Of one libvirt."""

    uri: str
    kind: Kind


def parse_address(uri: str) -> Address:
    """The address that `uri` names. `UsageError` for another host, another hypervisor, or unknown words."""
    try:
        parts = urlsplit(uri)
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise _unknown(uri, str(error)) from None
    if parts.scheme.partition("+")[0] != "qemu":
        raise _unknown(uri, "it does not begin with qemu: other hypervisors of libvirt's are not driven")
    if parts.netloc or parts.scheme not in {"qemu", "qemu+unix"}:
        raise UsageError(
            f"the driver option uri is {uri!r}: a libvirt on another host cannot be used",
            details=[
                "disk, console and network card of a machine are files and sockets of the host that aibemu runs on"
            ],
            hint="run aibemu on that host itself: ssh HOST aibemu run TEMPLATE --driver libvirt",
        )
    if (parts.scheme, parts.path) not in _KNOWN or parts.fragment:
        raise _unknown(uri, f"{parts.path or 'nothing'!r} is none of its connections")
    wanted = _KNOWN[parts.scheme, parts.path]
    if [name for name, _ in given] != ([wanted] if wanted else []):
        raise _unknown(uri, f"the parameter {wanted} is needed, and no other" if wanted else "it takes no parameters")
    if wanted and not given[0][1].startswith("/"):
        raise _unknown(uri, f"{wanted} must be a whole path, from / on")
    return Address(uri=uri, kind=Kind(parts.path.removeprefix("/")))


def _unknown(uri: str, why: str) -> UsageError:
    return UsageError(f"the driver option uri is {uri!r}: {why}", hint=f"possible: {_POSSIBLE}")
