"""The layer-2 shim's rules: what becomes of a frame between the guest's NIC and the user network.

To the guest it is on an Azure subnet: the platform is at Azure's addresses, DHCP is Azure's. To the user network
(QEMU's slirp, or any other with its host at the first address and its DNS at the third) the platform's services are
ports of the host's loopback, and those alone of the loopback's are reached through here.

From the guest nothing passes but what is allowed: IPv4 with the guest's own address, to the platform, to DNS and,
unless offline, to other machines. The host's loopback is reachable neither through the gateway's address, which a user
network maps to it, nor by its own; nor are link-local addresses, where a host in a cloud has that cloud's metadata
service.

Stateless but for the name that the guest last gave, so a guest cannot fill it up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from aibemu.fabric import dhcp
from aibemu.fabric.addresses import DEPOT_PORT, DNS_PORT, HTTP_PORT, IMDS, PLUGIN_PORT, WIRE
from aibemu.fabric.dns import Names, answer, host_name
from aibemu.fabric.frames import (
    ACK,
    ARP,
    DESTINATION,
    IPV4,
    SOURCE,
    SYN,
    TCP,
    UDP,
    Segment,
    ipv4,
    readdress,
    readdress_fragment,
    refusal,
    segment,
    udp_frame,
)
from aibemu.fabric.vm import Nic

Send = Callable[[bytes], None]
_ARP_LENGTH = 42
# Never "outside": this host, its own links, multicast and what has no meaning; and where other clouds' hosts have their
# metadata service beside 169.254.169.254 (Alibaba, Oracle Classic).
_NOT_OUTSIDE = tuple(
    map(
        IPv4Network,
        ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "100.100.100.200/32", "192.0.0.192/32"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePorts:
    """Ports of the host's loopback where this machine's platform listens."""

    imds: int
    wire: int
    plugin: int
    depot: int


def user_network_mac(address: IPv4Address) -> bytes:
    """What slirp calls itself at `address`: 52:55 and the four bytes."""
    return b"\x52\x55" + address.packed


class Gateway:
    """Decides on frames. `to_guest` and `to_outside` get what is let through; `on_address` hears each time that the
    guest asks for its address. names: what the guest's DNS calls it."""

    def __init__(
        self, nic: Nic, ports: ServicePorts, *, offline: bool, names: Names, to_guest: Send, to_outside: Send,
        on_address: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._nic = nic
        self._offline = offline
        self._names = names
        self._to_guest = to_guest
        self._to_outside = to_outside
        self._on_address = on_address
        self._guest = nic.address.packed
        self._host = nic.gateway.packed
        self._dns = (nic.subnet.network_address + 3).packed
        self._mac = user_network_mac(nic.gateway)
        self._inwards: Mapping[tuple[bytes, int], int] = {
            (IMDS.packed, HTTP_PORT): ports.imds,
            (WIRE.packed, HTTP_PORT): ports.wire,
            (WIRE.packed, PLUGIN_PORT): ports.plugin,
            (WIRE.packed, DEPOT_PORT): ports.depot,
        }
        self._back = {port: place for place, port in self._inwards.items()}
        self._plain_first = _plain_first_bytes(nic.subnet)

    def from_guest(self, frame: bytes) -> None:
        """A frame that the guest sent."""
        if frame[12:14] == ARP:
            if len(frame) >= _ARP_LENGTH:
                self._to_outside(frame)
        elif not ipv4(frame):
            return
        elif frame[SOURCE:DESTINATION] == self._guest and frame[DESTINATION] in self._plain_first:
            # By far the most frames: to or from a machine on the Internet.
            self._leave(frame)
        else:
            self._look_closely(frame)

    def from_outside(self, frame: bytes) -> None:
        """A frame from the user network."""
        # Of the host's: the platform's answers and forwarded ports. Of its DNS: answers. All else is passed on.
        if frame[12:14] == IPV4 and frame[SOURCE:DESTINATION] in (self._host, self._dns) and ipv4(frame):
            frame = self._named_as_in_azure(frame)
        self._to_guest(frame)

    def _look_closely(self, frame: bytes) -> None:
        part = segment(frame)
        if part is not None and part.protocol == UDP and part.destination_port == dhcp.SERVER_PORT:
            self._lease(frame, part)
            return
        if frame[SOURCE:DESTINATION] != self._guest:
            return
        target = frame[DESTINATION : DESTINATION + 4]
        if target in (IMDS.packed, WIRE.packed):
            self._to_platform(frame, part, target)
        elif target == self._host:
            # Answers on forwarded ports. A SYN would open a connection to the host's loopback.
            if part is not None and part.protocol == TCP and part.flags & (SYN | ACK) != SYN:
                self._to_outside(frame)
        elif self._is_outside(target):
            self._leave(frame)

    def _lease(self, frame: bytes, part: Segment) -> None:
        payload = frame[part.transport + 8 : part.end]
        reply = dhcp.answer(payload, self._nic, self._mac, self._names.domain)
        if reply is not None:
            # Agents ask again for the address to make a new name known (waagent: Provisioning.MonitorHostName).
            published = host_name(dhcp.client_name(payload))
            self._names = replace(self._names, published=published or self._names.published)
            self._on_address()
            self._to_guest(reply)

    def _to_platform(self, frame: bytes, part: Segment | None, target: bytes) -> None:
        if part is None:
            return
        port = self._inwards.get((target, part.destination_port))
        if part.protocol == TCP and port is not None:
            self._to_outside(readdress(frame, part, DESTINATION, self._host, port))
        elif target == WIRE.packed and part.destination_port == DNS_PORT:
            self._look_up(frame, part)

    def _look_up(self, frame: bytes, part: Segment) -> None:
        """Names of the machine are known here, all others to the host's resolver. By TCP, which nobody uses for
        replies as short as these, that one is asked for all."""
        reply = None
        if part.protocol == UDP:
            reply = answer(frame[part.transport + 8 : part.end], self._names, self._nic.address)
        if reply is None:
            self._to_outside(readdress(frame, part, DESTINATION, self._dns, DNS_PORT))
        else:
            ports = (DNS_PORT, part.source_port)
            self._to_guest(
                udp_frame(
                    to_mac=frame[6:12], from_mac=self._mac, source=WIRE, target=self._nic.address, ports=ports,
                    payload=reply,
                )
            )  # fmt: skip

    def _is_outside(self, target: bytes) -> bool:
        address = IPv4Address(target)
        return address not in self._nic.subnet and not any(address in network for network in _NOT_OUTSIDE)

    def _leave(self, frame: bytes) -> None:
        if not self._offline:
            self._to_outside(frame)
            return
        # Refused at once: a package manager that waits for its timeout costs minutes.
        part = segment(frame)
        if part is not None and part.protocol == TCP and part.flags & (SYN | ACK) == SYN:
            self._to_guest(refusal(frame, part))

    def _named_as_in_azure(self, frame: bytes) -> bytes:
        part = segment(frame)
        if part is None:
            # Of a large answer of the DNS only the first fragment has ports, but all are its.
            dns = frame[SOURCE:DESTINATION] == self._dns and frame[23] == UDP
            return readdress_fragment(frame, SOURCE, WIRE.packed) if dns else frame
        if part.protocol == TCP and frame[SOURCE:DESTINATION] == self._host and part.source_port in self._back:
            address, port = self._back[part.source_port]
            return readdress(frame, part, SOURCE, address, port)
        if frame[SOURCE:DESTINATION] == self._dns and part.source_port == DNS_PORT:
            return readdress(frame, part, SOURCE, WIRE.packed, DNS_PORT)
        return frame


def _plain_first_bytes(subnet: IPv4Network) -> frozenset[int]:
    """First bytes of addresses that are outside whatever follows: one look-up decides on nearly every frame."""
    close = [subnet, *_NOT_OUTSIDE, IPv4Network(f"{WIRE}/32")]
    taken = {
        byte for net in close for byte in range(net.network_address.packed[0], net.broadcast_address.packed[0] + 1)
    }
    return frozenset(range(256)) - taken
