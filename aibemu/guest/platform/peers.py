"""Who is at the other end of a TCP connection on this host? Tokens are for one machine, not for the host's other users.

The user network opens the guest's connections from inside the hypervisor's process, so that very process must hold the
socket at the other end: the kernel's table of connections gives its inode, the process's open files must have it.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

Address = tuple[str, int]
_TABLE = Path("/proc/net/tcp")
# The kernel writes the table page by page while connections come and go: one may be missed, seldom twice.
TRIES = 5


def held_by(process: int, client: Address, server: Address, *, table: Path = _TABLE) -> bool:
    """Whether `process` holds the client's end of the IPv4 connection from `client` to `server`."""
    for _ in range(TRIES):
        inode = client_inode(client, server, table=table)
        if inode is not None:
            return _holds(process, inode)
    return False


def client_inode(client: Address, server: Address, *, table: Path = _TABLE) -> int | None:
    """The inode of the socket at `client`; None if there is no such connection any more."""
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
