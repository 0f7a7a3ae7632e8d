"""Azure's DHCP, for one machine: always the same address, and the options that agents look for.

Without option 245 the agent does not find the wire server, and without the routes of option 121 cloud-init 23.4 and
later reports a degraded boot (facts: guest-platform 1.5). The user network's own DHCP cannot send either, so it is
answered here and never sees a request. Stateless: there is one address and one who may have it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

from aibemu.fabric.addresses import IMDS, WIRE
from aibemu.fabric.frames import BROADCAST, udp_frame
from aibemu.fabric.vm import Nic

SERVER_PORT, CLIENT_PORT = 67, 68
_COOKIE = b"\x63\x82\x53\x63"
_FIXED = 236  # bytes of a BOOTP message before the cookie
_SHORTEST = 300  # bytes: what old clients want at least (RFC 1542, 2.1)
FOREVER = b"\xff\xff\xff\xff"  # Azure's leases do not end


class Kind(IntEnum):
    """Option 53."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(IntEnum):
    PAD = 0
    MASK = 1
    ROUTER = 3
    DNS = 6
    HOST_NAME = 12
    DOMAIN = 15
    REQUESTED = 50
    LEASE = 51
    KIND = 53
    SERVER = 54
    ROUTES = 121
    WIRE_SERVER = 245
    MICROSOFT_ROUTES = 249
    END = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a client asked. client: its address, 0.0.0.0 if it has none; wanted: option 50, or None."""

    kind: Kind
    transaction: bytes
    seconds_and_flags: bytes
    client: IPv4Address
    hardware: bytes
    wanted: IPv4Address | None
    server: IPv4Address | None

    @property
    def broadcast(self) -> bool:
        return bool(self.seconds_and_flags[2] & 0x80)


def parse(payload: bytes) -> Message | None:
    """A client's message; None for anything else, however it is broken."""
    if len(payload) < _FIXED + 4 or payload[:3] != b"\x01\x01\x06" or payload[_FIXED : _FIXED + 4] != _COOKIE:
        return None
    options = _options(payload[_FIXED + 4 :])
    kind = options.get(Option.KIND, b"")
    if len(kind) != 1 or kind[0] not in tuple(Kind):
        return None
    return Message(
        kind=Kind(kind[0]), transaction=payload[4:8], seconds_and_flags=payload[8:12],
        client=IPv4Address(payload[12:16]), hardware=payload[28:34],
        wanted=_address(options.get(Option.REQUESTED)), server=_address(options.get(Option.SERVER)),
    )  # fmt: skip


def answer(payload: bytes, nic: Nic, gateway_mac: bytes, domain: str) -> bytes | None:
    """The frame that answers a client's message, or None when there is nothing to say.

    gateway_mac: whom the frame comes from. domain: the DNS suffix that the machine is told.
    """
    message = parse(payload)
    if message is None or message.hardware != hardware_address(nic.mac):
        return None
    kind = _reply_kind(message, nic.address)
    if kind is None:
        return None
    # An answer to INFORM gives no address and no lease (RFC 2131, 4.3.5).
    lease = message.kind is not Kind.INFORM and kind is not Kind.NAK
    reply = _bootp(message, kind, nic, domain, lease=lease)
    known = int(message.client) != 0 and kind is not Kind.NAK
    everybody = not known and (message.broadcast or kind is Kind.NAK)
    return udp_frame(
        to_mac=BROADCAST if everybody else message.hardware, from_mac=gateway_mac, source=WIRE,
        target=message.client if known else IPv4Address(BROADCAST[:4]) if everybody else nic.address,
        ports=(SERVER_PORT, CLIENT_PORT), payload=reply,
    )  # fmt: skip


def client_name(payload: bytes) -> str:
    """What a client says it is called (option 12), as it says it; empty if it does not. For what `answer` answers."""
    return _options(payload[_FIXED + 4 :]).get(Option.HOST_NAME, b"").decode("latin-1")


def hardware_address(mac: str) -> bytes:
    """`00:0d:3a:..` as six bytes."""
    return bytes.fromhex(mac.replace(":", ""))


def _reply_kind(message: Message, address: IPv4Address) -> Kind | None:
    if message.kind is Kind.DISCOVER:
        return Kind.OFFER
    if message.kind is Kind.INFORM:
        return Kind.ACK
    if message.kind is not Kind.REQUEST or message.server not in (None, WIRE):
        return None
    asked = message.wanted or message.client
    return Kind.ACK if asked == address else Kind.NAK


def _bootp(message: Message, kind: Kind, nic: Nic, domain: str, *, lease: bool) -> bytes:
    yours = nic.address.packed if lease else bytes(4)
    head = struct.pack("!BBBB", 2, 1, 6, 0) + message.transaction + b"\0\0" + message.seconds_and_flags[2:4]
    head += message.client.packed + yours + WIRE.packed + bytes(4) + message.hardware.ljust(16, b"\0") + bytes(192)
    options: list[tuple[int, bytes]] = [(Option.KIND, bytes([kind])), (Option.SERVER, WIRE.packed)]
    if kind is not Kind.NAK:
        routes = _routes(nic)
        options += [(Option.LEASE, FOREVER)] if lease else []
        options += [
            (Option.MASK, nic.subnet.netmask.packed), (Option.ROUTER, nic.gateway.packed), (Option.DNS, WIRE.packed),
            (Option.DOMAIN, domain.encode("ascii")), (Option.ROUTES, routes), (Option.MICROSOFT_ROUTES, routes),
            (Option.WIRE_SERVER, WIRE.packed),
        ]  # fmt: skip
    body = b"".join(bytes([code, len(value)]) + value for code, value in options)
    return (head + _COOKIE + body + bytes([Option.END])).ljust(_SHORTEST, b"\0")


def _routes(nic: Nic) -> bytes:
    """Classless routes (RFC 3442): width, destination, gateway. With them a client ignores the router option."""
    gateway = nic.gateway.packed
    return b"\0" + gateway + b"\x20" + WIRE.packed + gateway + b"\x20" + IMDS.packed + gateway


def _options(data: bytes) -> dict[int, bytes]:
    """Options by code; what is cut off is left out."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != Option.END:
        if data[at] == Option.PAD:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            break
        found[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return found


def _address(value: bytes | None) -> IPv4Address | None:
    return IPv4Address(value) if value is not None and len(value) == 4 else None
