"""Who is at the other end of a TCP connection on this host? Tokens are for one machine, not for the host's other users.

The user network opens the guest's connections from inside the hypervisor's process, so that very process must hold the
socket at the other end: the kernel gives that socket's inode, the process's open files must have it.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path

Address = tuple[str, int]
_TABLE = Path("/proc/net/tcp")
# The kernel writes its table page by page while connections come and go, so that one may be missed.
TRIES = 5
# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_SOCK_DIAG, _BY_FAMILY, _ERROR, _REQUEST = 4, 20, 2, 1
_HEADER = struct.Struct("=IHHII")
_SOCKET = struct.Struct("=2s2s4s12x4s12xI8s")
_INODE = struct.Struct("=I")
_INODE_AT = _HEADER.size + 4 + _SOCKET.size + 16
_NO_COOKIE = b"\xff" * 8


def held_by(process: int, client: Address, server: Address) -> bool:
    """Whether `process` holds the client's end of the IPv4 connection from `client` to `server`."""
    inode = client_inode(client, server)
    return inode is not None and _holds(process, inode)


def client_inode(client: Address, server: Address) -> int | None:
    """The inode of the socket at `client`; None if there is no such connection any more."""
    try:
        return _asked(client, server)
    except OSError:  # a kernel without sock_diag
        return next((inode for _ in range(TRIES) if (inode := in_table(client, server)) is not None), None)


def _asked(client: Address, server: Address) -> int | None:
    """Ask for this one socket (sock_diag, as `ss` does). `OSError` if the kernel cannot be asked."""
    ports = client[1].to_bytes(2, "big"), server[1].to_bytes(2, "big")
    ends = _SOCKET.pack(*ports, socket.inet_aton(client[0]), socket.inet_aton(server[0]), 0, _NO_COOKIE)
    request = struct.pack("=BBxxI", socket.AF_INET, socket.IPPROTO_TCP, 0xFFFFFFFF) + ends
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as kernel:
        kernel.settimeout(5.0)
        kernel.send(_HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, _REQUEST, 1, 0) + request)
        reply = kernel.recv(4096)
    kind = _HEADER.unpack_from(reply)[1]
    if kind == _ERROR:
        number = -struct.unpack_from("=i", reply, _HEADER.size)[0]
        if number == 2:  # ENOENT
            return None
        raise OSError(number, os.strerror(number))
    return int(_INODE.unpack_from(reply, _INODE_AT)[0])


def in_table(client: Address, server: Address, *, table: Path = _TABLE) -> int | None:
    """The same by the table of all connections."""
    ends = [_as_kernel_writes(client), _as_kernel_writes(server)]
    with table.open(encoding="ascii") as lines:
        next(lines, None)
        for line in lines:
            fields = line.split()
            if fields[1:3] == ends:
                return int(fields[9])
    return None


def _holds(process: int, inode: int) -> bool:
    wanted = f"socket:[{inode}]"
    try:
        descriptors = list(Path("/proc", str(process), "fd").iterdir())
    except OSError:  # gone, or another user's
        return False
    for descriptor in descriptors:
        try:
            if os.readlink(descriptor) == wanted:  # noqa: PTH115 - it is no path
                return True
        except OSError:
            continue  # closed meanwhile
    return False


def _as_kernel_writes(address: Address) -> str:
    """`0100007F:1F90`: the address as the host's own integer in hexadecimal, and the port."""
    number = int.from_bytes(socket.inet_aton(address[0]), byteorder=sys.byteorder)
    return f"{number:08X}:{address[1]:04X}"
