"""Frames built and taken apart independently of the product: by the RFCs, with struct and nothing else."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

GUEST_MAC = bytes.fromhex("000d3a1b2c3d")
GATEWAY_MAC = bytes.fromhex("52550a000001")
GUEST, GATEWAY, DNS = "10.0.0.4", "10.0.0.1", "10.0.0.3"
IMDS, WIRE = "169.254.169.254", "168.63.129.16"
SYN, ACK, RST = 2, 16, 4


def ones(data: bytes) -> int:
    """The 16-bit one's complement sum; 0xffff over a packet that holds its own checksum."""
    total = 0
    for index in range(0, len(data), 2):
        total += int.from_bytes(data[index : index + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ip(
    source: str, target: str, protocol: int, payload: bytes, *, options: bytes = b"", fragment: int = 0, pad: int = 0
) -> bytes:
    """An Ethernet frame. fragment: the flags and offset field; pad: bytes after the packet, as Ethernet adds."""
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x40 | (5 + len(options) // 4), 0, 20 + len(options) + len(payload), 7, fragment, 64,
        protocol, 0, IPv4Address(source).packed, IPv4Address(target).packed,
    ) + options  # fmt: skip
    check = (~ones(head) & 0xFFFF).to_bytes(2, "big")
    return GATEWAY_MAC + GUEST_MAC + b"\x08\x00" + head[:10] + check + head[12:] + payload + bytes(pad)


def tcp(
    source: str, target: str, ports: tuple[int, int], flags: int = ACK, payload: bytes = b"", sequence: int = 1000
) -> bytes:
    """The TCP part, with its checksum."""
    head = struct.pack("!HHIIBBHHH", *ports, sequence, 0, 5 << 4, flags, 64240, 0, 0)
    return _checked(source, target, 6, head + payload, 16)


def udp(source: str, target: str, ports: tuple[int, int], payload: bytes = b"", *, check: bool = True) -> bytes:
    body = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    return _checked(source, target, 17, body, 6) if check else body


def _checked(source: str, target: str, protocol: int, body: bytes, at: int) -> bytes:
    pseudo = IPv4Address(source).packed + IPv4Address(target).packed + struct.pack("!BBH", 0, protocol, len(body))
    check = ~ones(pseudo + body) & 0xFFFF or 0xFFFF
    return body[:at] + check.to_bytes(2, "big") + body[at + 2 :]


def tcp_frame(
    source: str, target: str, ports: tuple[int, int], flags: int = ACK, payload: bytes = b"", **more: int
) -> bytes:
    return ip(source, target, 6, tcp(source, target, ports, flags, payload), **more)  # type: ignore[arg-type]


def udp_frame(source: str, target: str, ports: tuple[int, int], payload: bytes = b"", **more: int) -> bytes:
    return ip(source, target, 17, udp(source, target, ports, payload), **more)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What is in a frame. sound: both checksums are right."""

    source: str
    target: str
    protocol: int
    ports: tuple[int, int]
    flags: int
    payload: bytes
    sound: bool


def read(frame: bytes) -> Read:
    """Take an unfragmented TCP or UDP frame apart."""
    header = (frame[14] & 15) * 4
    total = int.from_bytes(frame[16:18], "big")
    body = frame[14 + header : 14 + total]
    protocol = frame[23]
    pseudo = frame[26:34] + struct.pack("!BBH", 0, protocol, len(body))
    no_check = protocol == 17 and body[6:8] == b"\0\0"
    sound = ones(frame[14 : 14 + header]) == 0xFFFF and (no_check or ones(pseudo + body) == 0xFFFF)
    start = (body[12] >> 4) * 4 if protocol == 6 else 8
    return Read(
        source=str(IPv4Address(frame[26:30])), target=str(IPv4Address(frame[30:34])), protocol=protocol,
        ports=(int.from_bytes(body[:2], "big"), int.from_bytes(body[2:4], "big")),
        flags=body[13] if protocol == 6 else 0, payload=body[start:], sound=sound,
    )  # fmt: skip
