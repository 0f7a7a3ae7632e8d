"""Ethernet frames with IPv4 in them: looked at where they lie, changed with their checksums kept right (RFC 1624).

Nothing here trusts a length that the frame claims: `ipv4` answers None for what does not hold together.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

ETHERNET = 14  # bytes before the IP header
IPV4 = b"\x08\x00"
ARP = b"\x08\x06"
ICMP, TCP, UDP = 1, 6, 17
SYN, RST, ACK = 0x02, 0x04, 0x10
BROADCAST = b"\xff" * 6
# Where addresses are in a frame.
SOURCE, DESTINATION = 26, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """An unfragmented IPv4 packet with TCP or UDP in it, as offsets into its frame. ports: source, destination."""

    protocol: int
    transport: int  # where the TCP or UDP header begins
    end: int  # where the IP packet ends; Ethernet may have padded it
    source_port: int
    destination_port: int
    flags: int = 0  # TCP's


def ipv4(frame: bytes) -> bool:
    """Whether the frame holds an IPv4 packet whose lengths fit into it."""
    if len(frame) < ETHERNET + 20 or frame[12:14] != IPV4 or frame[14] >> 4 != 4:
        return False
    header, total = (frame[14] & 15) * 4, int.from_bytes(frame[16:18], "big")
    return 20 <= header <= total <= len(frame) - ETHERNET


def fragmented(frame: bytes) -> bool:
    """More fragments follow, or this is not the first."""
    return int.from_bytes(frame[20:22], "big") & 0x3FFF != 0


def segment(frame: bytes) -> Segment | None:
    """The TCP or UDP header of a frame for which `ipv4` holds; None for another protocol, a fragment, a cut one."""
    protocol = frame[23]
    if protocol not in (TCP, UDP) or fragmented(frame):
        return None
    transport = ETHERNET + (frame[14] & 15) * 4
    end = ETHERNET + int.from_bytes(frame[16:18], "big")
    if end - transport < (20 if protocol == TCP else 8):
        return None
    return Segment(
        protocol=protocol, transport=transport, end=end,
        source_port=int.from_bytes(frame[transport : transport + 2], "big"),
        destination_port=int.from_bytes(frame[transport + 2 : transport + 4], "big"),
        flags=frame[transport + 13] if protocol == TCP else 0,
    )  # fmt: skip


def readdress(frame: bytes, part: Segment, place: int, address: bytes, port: int) -> bytes:
    """The frame with another address (4 bytes) and port at `place`, which is SOURCE or DESTINATION."""
    changed = bytearray(frame)
    old = frame[place : place + 4]
    changed[place : place + 4] = address
    changed[24:26] = _adjust(frame[24:26], old, address)
    at = part.transport + (0 if place == SOURCE else 2)
    new_port = port.to_bytes(2, "big")
    changed[at : at + 2] = new_port
    check = part.transport + (16 if part.protocol == TCP else 6)
    # A UDP checksum of 0 means that there is none (RFC 768).
    if part.protocol == TCP or frame[check : check + 2] != b"\0\0":
        kept = _adjust(frame[check : check + 2], old + frame[at : at + 2], address + new_port)
        changed[check : check + 2] = b"\xff\xff" if part.protocol == UDP and kept == b"\0\0" else kept
    return bytes(changed)


def readdress_fragment(frame: bytes, place: int, address: bytes) -> bytes:
    """A fragment of UDP with another address. The first one has the checksum, which is over the addresses too."""
    changed = bytearray(frame)
    old = frame[place : place + 4]
    changed[place : place + 4] = address
    changed[24:26] = _adjust(frame[24:26], old, address)
    check = ETHERNET + (frame[14] & 15) * 4 + 6
    first = int.from_bytes(frame[20:22], "big") & 0x1FFF == 0
    if first and len(frame) >= check + 2 and frame[check : check + 2] != b"\0\0":
        changed[check : check + 2] = _adjust(frame[check : check + 2], old, address)
    return bytes(changed)


def udp_frame(
    *, to_mac: bytes, from_mac: bytes, source: IPv4Address, target: IPv4Address, ports: tuple[int, int], payload: bytes
) -> bytes:
    """A whole frame with one UDP packet."""
    body = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    pseudo = source.packed + target.packed + struct.pack("!BBH", 0, UDP, len(body))
    body = body[:6] + (checksum(pseudo + body) or b"\xff\xff") + body[8:]
    return to_mac + from_mac + IPV4 + _header(UDP, source.packed, target.packed, len(body)) + body


def refusal(frame: bytes, part: Segment) -> bytes:
    """The answer to a SYN that is let nowhere: a reset, as from a port where nobody listens (RFC 9293, 3.10.7.1)."""
    ports = frame[part.transport + 2 : part.transport + 4] + frame[part.transport : part.transport + 2]
    payload = part.end - part.transport - (frame[part.transport + 12] >> 4) * 4
    sequence = int.from_bytes(frame[part.transport + 4 : part.transport + 8], "big")
    acknowledged = (sequence + 1 + max(0, payload)) & 0xFFFFFFFF
    tcp = ports + struct.pack("!IIBBHHH", 0, acknowledged, 5 << 4, RST | ACK, 0, 0, 0)
    source, target = frame[DESTINATION : DESTINATION + 4], frame[SOURCE : SOURCE + 4]
    pseudo = source + target + struct.pack("!BBH", 0, TCP, len(tcp))
    tcp = tcp[:16] + checksum(pseudo + tcp) + tcp[18:]
    return frame[6:12] + frame[0:6] + IPV4 + _header(TCP, source, target, len(tcp)) + tcp


def checksum(data: bytes) -> bytes:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


def _header(protocol: int, source: bytes, target: bytes, length: int) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, protocol, 0) + source + target
    return head[:10] + checksum(head) + head[12:]


def _adjust(check: bytes, old: bytes, new: bytes) -> bytes:
    """A checksum after `old` became `new`, both of the same even length (RFC 1624, equation 3)."""
    words = len(old) // 2
    total: int = ~int.from_bytes(check, "big") & 0xFFFF
    total += sum(~word & 0xFFFF for word in struct.unpack(f"!{words}H", old)) + sum(struct.unpack(f"!{words}H", new))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")
