"""What the layer-2 shim lets through, and what it makes of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aibemu.fabric.dns import Names
from aibemu.fabric.gateway import Gateway, ServicePorts, user_network_mac
from aibemu.fabric.vm import Nic
from tests.unit.fabric.packets import (
    ACK,
    DNS,
    GATEWAY,
    GATEWAY_MAC,
    GUEST,
    GUEST_MAC,
    IMDS,
    RST,
    SYN,
    WIRE,
    ip,
    ones,
    read,
    tcp_frame,
    udp,
    udp_frame,
)
from tests.unit.fabric.test_dhcp import DISCOVER, ask
from tests.unit.fabric.test_dns import question, take_apart

NIC = Nic(mac="00:0d:3a:1b:2c:3d", address=IPv4Address(GUEST), subnet=IPv4Network("10.0.0.0/24"))
NAMES = Names(host="pkrvmx", domain="x.internal.cloudapp.net")
PORTS = ServicePorts(imds=40001, wire=40002, plugin=40003, depot=40004)
SERVICES = [(IMDS, 80, 40001), (WIRE, 80, 40002), (WIRE, 32526, 40003), (WIRE, 32527, 40004)]
ARP_REQUEST = b"\xff" * 6 + GUEST_MAC + b"\x08\x06" + bytes.fromhex("0001080006040001").ljust(28, b"\1")


@dataclass
class Side:
    """A gateway between two lists."""

    offline: bool = False
    asked: list[bool] = field(default_factory=list)
    guest: list[bytes] = field(default_factory=list)
    outside: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gateway = Gateway(
            NIC, PORTS, offline=self.offline, names=NAMES, to_guest=self.guest.append,
            to_outside=self.outside.append, on_address=lambda: self.asked.append(True),
        )  # fmt: skip

    def sent(self, frame: bytes) -> tuple[list[bytes], list[bytes]]:
        """What reaches (guest, outside) when the guest sends this."""
        self.guest.clear()
        self.outside.clear()
        self.gateway.from_guest(frame)
        return self.guest, self.outside


def test_the_gateway_is_called_as_slirp_calls_itself() -> None:
    assert user_network_mac(NIC.gateway) == GATEWAY_MAC


@pytest.mark.parametrize(("address", "port", "local"), SERVICES)
@pytest.mark.parametrize("offline", [False, True])
def test_the_platform_is_reached_at_azures_addresses_and_answers_from_them(
    address: str, port: int, local: int, offline: bool
) -> None:
    side = Side(offline=offline)
    guest, (frame,) = side.sent(tcp_frame(GUEST, address, (5000, port), SYN, b"x"))
    there = read(frame)
    assert (there.source, there.target, there.ports) == (GUEST, GATEWAY, (5000, local))
    assert there.sound and there.payload == b"x" and not guest
    side.gateway.from_outside(tcp_frame(GATEWAY, GUEST, (local, 5000), SYN | ACK, b"answer"))
    back = read(side.guest[-1])
    assert (back.source, back.target, back.ports, back.payload) == (address, GUEST, (port, 5000), b"answer")
    assert back.sound


@pytest.mark.parametrize("make", [udp_frame, tcp_frame])
@pytest.mark.parametrize("offline", [False, True])
def test_names_are_looked_up_at_the_wire_servers_address(make: object, offline: bool) -> None:
    side = Side(offline=offline)
    question = make(GUEST, WIRE, (5353, 53))  # type: ignore[operator]
    _, (frame,) = side.sent(question)
    asked = read(frame)
    assert (asked.target, asked.ports, asked.sound) == (DNS, (5353, 53), True)
    side.gateway.from_outside(make(DNS, GUEST, (53, 5353)))  # type: ignore[operator]
    answered = read(side.guest[-1])
    assert (answered.source, answered.ports, answered.sound) == (WIRE, (53, 5353), True)


def test_its_own_name_is_answered_here_and_the_name_that_it_gives_when_it_asks_for_its_address() -> None:
    """As Azure, which takes the names that guests send with DHCP: waagent restarts the network for it."""
    side = Side()
    asked = question("pkrvmx.x.internal.cloudapp.net")
    (frame,), outside = side.sent(udp_frame(GUEST, WIRE, (5353, 53), asked))
    found = read(frame)
    assert (found.source, found.target, found.ports, found.sound, outside) == (WIRE, GUEST, (53, 5353), True, [])
    assert frame[:12] == GUEST_MAC + GATEWAY_MAC and take_apart(found.payload).addresses == [GUEST]
    web = udp_frame(GUEST, WIRE, (5353, 53), question("web"))
    assert side.sent(web)[0] == []
    for name in (b"WEB.x.internal.cloudapp.net", b"", b"-", b"localhost"):
        side.sent(udp_frame("0.0.0.0", "255.255.255.255", (68, 67), ask(DISCOVER, options={12: name} if name else {})))
        (frame,), _ = side.sent(web)
        assert take_apart(read(frame).payload).addresses == [GUEST]
    assert side.sent(udp_frame(GUEST, WIRE, (5353, 53), asked))[0]
    stranger = udp_frame("10.0.0.9", WIRE, (5353, 53), asked)
    assert side.sent(stranger) == ([], [])


@given(
    st.binary(max_size=64), st.integers(1024, 65535), st.sampled_from(SERVICES), st.integers(0, 40),
    st.sampled_from([b"", b"\x01\x01\x01\x01", b"\x94\x04\0\0"]),
)  # fmt: skip
def test_checksums_stay_right_whatever_is_in_the_packet(
    payload: bytes, source_port: int, service: tuple[str, int, int], pad: int, options: bytes
) -> None:
    address, port, _ = service
    from tests.unit.fabric.packets import tcp

    body = tcp(GUEST, address, (source_port, port), ACK, payload)
    _, (frame,) = Side().sent(ip(GUEST, address, 6, body, options=options, pad=pad))
    found = read(frame)
    assert found.sound and found.payload == payload


@given(st.binary(max_size=11))  # more could be a question, which is answered here if it makes no sense
def test_a_udp_packet_without_a_checksum_keeps_none_and_one_of_zero_is_written_as_ones(payload: bytes) -> None:
    bare = ip(GUEST, WIRE, 17, udp(GUEST, WIRE, (5353, 53), payload, check=False))
    _, (frame,) = Side().sent(bare)
    assert frame[40:42] == b"\0\0"
    _, (frame,) = Side().sent(udp_frame(GUEST, WIRE, (5353, 53), payload))
    assert frame[40:42] != b"\0\0" and read(frame).sound


def test_a_changed_udp_checksum_is_never_zero() -> None:
    """Of all payloads one gives a sum of zero, which would mean that there is none."""
    for word in range(0x10000):
        body = struct.pack("!HHHHH", 5353, 53, 10, 0, word)
        pseudo = IPv4Address(GUEST).packed + IPv4Address(DNS).packed + struct.pack("!BBH", 0, 17, 10)
        if ones(pseudo + body) == 0xFFFF:
            _, (frame,) = Side().sent(udp_frame(GUEST, WIRE, (5353, 53), word.to_bytes(2, "big")))
            assert frame[40:42] == b"\xff\xff"
            return
    raise AssertionError("there is always such a payload")


def test_a_large_answer_of_the_dns_comes_in_fragments_of_azures_address() -> None:
    whole = udp(DNS, GUEST, (53, 5353), b"x" * 3000)
    side = Side()
    side.gateway.from_outside(ip(DNS, GUEST, 17, whole[:1480], fragment=0x2000))
    side.gateway.from_outside(ip(DNS, GUEST, 17, whole[1480:], fragment=1480 // 8))
    first, second = side.guest
    assert first[26:30] == second[26:30] == IPv4Address(WIRE).packed
    # Put together, header and sum are right for the address that it comes from now.
    assert read(ip(WIRE, GUEST, 17, first[34:] + second[34:])).sound
    assert ones(first[14:34]) == ones(second[14:34]) == 0xFFFF


def test_machines_on_the_internet_are_reached_unless_offline() -> None:
    for frame in (
        tcp_frame(GUEST, "93.184.216.34", (5000, 443), SYN),
        udp_frame(GUEST, "8.8.8.8", (5000, 53)),
        ip(GUEST, "1.1.1.1", 1, b"\x08\0\0\0"),
        ip(GUEST, "1.1.1.1", 17, b"rest of a fragment", fragment=0x2010),
        tcp_frame(GUEST, "168.62.1.1", (5000, 443), SYN),
        tcp_frame(GUEST, "10.1.0.1", (5000, 443), SYN),
    ):
        assert Side().sent(frame) == ([], [frame])
        assert Side(offline=True).sent(frame)[1] == []


def test_offline_refuses_a_connection_at_once() -> None:
    """A package manager would wait minutes for an answer that never comes."""
    (reset,), _ = Side(offline=True).sent(tcp_frame(GUEST, "93.184.216.34", (5000, 443), SYN))
    found = read(reset)
    assert (found.source, found.target, found.ports) == ("93.184.216.34", GUEST, (443, 5000))
    assert found.flags == RST | ACK and found.sound
    assert reset[42:46] == (1001).to_bytes(4, "big")  # acknowledges the SYN, or it is ignored
    assert reset[:6] == GUEST_MAC
    for quiet in (tcp_frame(GUEST, "93.184.216.34", (5000, 443), ACK), udp_frame(GUEST, "8.8.8.8", (1, 2))):
        assert Side(offline=True).sent(quiet) == ([], [])


FORBIDDEN = [
    (GATEWAY, "the host's loopback, as a user network shows it"),
    (DNS, "the user network's DNS, past the platform's"),
    ("10.0.0.2", "the user network's own"),
    ("10.0.0.200", "its own subnet"),
    ("127.0.0.1", "the host's loopback by its own address"),
    ("127.9.9.9", "the host's loopback"),
    ("0.0.0.0", "this host"),
    ("169.254.1.1", "the host's own links"),
    (IMDS, "the metadata service of the cloud the host may be in, on another port"),
    (WIRE, "the wire server of the cloud the host may be in, on another port"),
    ("224.0.0.251", "multicast"),
    ("255.255.255.255", "everybody"),
    ("240.0.0.1", "nobody"),
    ("100.100.100.200", "another cloud's metadata service"),
    ("192.0.0.192", "another cloud's metadata service"),
]


@pytest.mark.parametrize(("target", "why"), FORBIDDEN)
def test_the_guest_reaches_nothing_of_the_hosts(target: str, why: str) -> None:
    for port in (22, 8080, 40001):
        assert Side().sent(tcp_frame(GUEST, target, (5000, port), SYN)) == ([], []), why
        assert Side().sent(udp_frame(GUEST, target, (5000, port))) == ([], []), why
    assert Side().sent(ip(GUEST, target, 1, b"\x08\0\0\0")) == ([], []), why
    assert Side().sent(ip(GUEST, target, 6, b"", fragment=0x2000)) == ([], []), why


def test_answers_on_forwarded_ports_pass_but_no_new_connection() -> None:
    for flags in (SYN | ACK, ACK, ACK | 1, RST):
        frame = tcp_frame(GUEST, GATEWAY, (22, 50000), flags, b"SSH-2.0-x")
        assert Side().sent(frame) == ([], [frame])
    for flags in (SYN, SYN | 8, SYN | 1, SYN | RST):
        assert Side().sent(tcp_frame(GUEST, GATEWAY, (22, 50000), flags)) == ([], [])
    # The flags hide in the second fragment of a header that is cut in two.
    assert Side().sent(ip(GUEST, GATEWAY, 6, bytes(8), fragment=0x2000)) == ([], [])
    side = Side()
    incoming = tcp_frame(GATEWAY, GUEST, (50000, 22), SYN)
    side.gateway.from_outside(incoming)
    assert side.guest == [incoming]


def test_the_guest_speaks_for_itself_only() -> None:
    for target in ("8.8.8.8", IMDS, GATEWAY):
        assert Side().sent(tcp_frame("10.0.0.9", target, (5000, 80), ACK)) == ([], [])


def test_only_arp_and_ipv4_pass() -> None:
    assert Side().sent(ARP_REQUEST) == ([], [ARP_REQUEST])
    assert Side().sent(ARP_REQUEST[:30]) == ([], [])
    good = tcp_frame(GUEST, "8.8.8.8", (5000, 80), SYN)
    tagged = good[:12] + b"\x81\0\0\1" + good[12:]
    for frame in (b"", good[:20], tagged, good[:12] + b"\x86\xdd" + good[14:], good[:14] + b"\x65" + good[15:]):
        assert Side().sent(frame) == ([], [])
    short_header = good[:14] + b"\x44" + good[15:]
    too_long = good[:16] + b"\xff\xff" + good[18:]
    assert Side().sent(short_header) == Side().sent(too_long) == ([], [])
    side = Side()
    side.gateway.from_outside(ARP_REQUEST)
    assert side.guest == [ARP_REQUEST]


FRAMES = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda rest: GATEWAY_MAC + GUEST_MAC + b"\x08\x00" + rest, st.binary(max_size=120)),
    st.builds(
        lambda target, protocol, body, options, fragment: ip(
            GUEST, target, protocol, body, options=options, fragment=fragment
        ),
        st.sampled_from([address for address, _ in FORBIDDEN] + ["8.8.8.8"]),
        st.sampled_from([1, 6, 17, 47]),
        st.binary(max_size=60),
        st.sampled_from([b"", b"\1" * 4, b"\x83\x07\x04" + bytes(5)]),
        st.sampled_from([0, 0x2000, 0x00FF, 0x4000]),
    ),
)


@given(FRAMES)
@example(GATEWAY_MAC + GUEST_MAC + b"\x08\x00" + b"\x4f" + b"\xff" * 40)
def test_no_frame_breaks_it_and_none_reaches_the_host(frame: bytes) -> None:
    for offline in (False, True):
        side = Side(offline=offline)
        _, outside = side.sent(frame)
        side.gateway.from_outside(frame)
        for passed in outside:
            if passed[12:14] == b"\x08\x06":
                continue
            target = IPv4Address(passed[30:34])
            assert passed[26:30] == IPv4Address(GUEST).packed
            if str(target) == GATEWAY:
                port = int.from_bytes(passed[14 + (passed[14] & 15) * 4 + 2 :][:2], "big")
                flags = passed[14 + (passed[14] & 15) * 4 + 13]
                assert port in {40001, 40002, 40003} or flags & (SYN | ACK) != SYN
            elif str(target) == DNS:
                assert int.from_bytes(passed[14 + (passed[14] & 15) * 4 + 2 :][:2], "big") == 53
            else:
                assert not offline
                assert not (target.is_loopback or target.is_link_local or target.is_multicast)
                assert target not in NIC.subnet


def test_only_the_guest_itself_asks_for_its_address() -> None:
    side = Side()
    side.sent(udp_frame("0.0.0.0", "255.255.255.255", (68, 67), ask(DISCOVER, mac=b"\x00\x0d\x3a\xff\xff\xff")))
    side.sent(udp_frame("0.0.0.0", "255.255.255.255", (68, 67), b"nothing"))
    assert side.asked == []
    side.sent(udp_frame("0.0.0.0", "255.255.255.255", (68, 67), ask(DISCOVER)))
    assert side.asked == [True]
