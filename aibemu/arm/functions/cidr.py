"""Functions on address ranges, IPv4 and IPv6."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from aibemu.arm.expressions.errors import ExpressionError
from aibemu.arm.functions.signature import Function, fn

Network = IPv4Network | IPv6Network


def _network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise ExpressionError(f"'{text}' is not a range of addresses: {error}", hint="like 10.0.0.0/24") from None


def _parse(text: str) -> dict[str, str | int]:
    network = _network(text)
    # The first and the last address of an IPv4 range have a meaning of their own, unless there are only one or two.
    edge = int(network.version == 4 and network.num_addresses > 2)
    parsed: dict[str, str | int] = {"network": str(network.network_address), "netmask": str(network.netmask)}
    if network.version == 4:
        parsed["broadcast"] = str(network.broadcast_address)
    return parsed | {
        "firstUsable": str(network.network_address + edge),
        "lastUsable": str(network.broadcast_address - edge),
        "cidr": network.prefixlen,
    }


def _subnet(text: str, prefix: int, place: int) -> str:
    network = _network(text)
    if not network.prefixlen <= prefix <= network.max_prefixlen:
        raise ExpressionError(f"a /{prefix} does not fit into {network}")
    count = 1 << (prefix - network.prefixlen)
    if not 0 <= place < count:
        raise ExpressionError(f"{network} holds {count} ranges of /{prefix}, counted from 0: there is no {place}")
    return f"{network.network_address + (place << (network.max_prefixlen - prefix))}/{prefix}"


def _host(text: str, place: int) -> str:
    """The address of a host: 0 is the first that can be used."""
    network = _network(text)
    if place < 0 or place + 1 >= network.num_addresses:
        raise ExpressionError(f"{network} has no host {place}")
    return str(network.network_address + place + 1)


TABLE: tuple[Function, ...] = (
    fn("cidrHost", "string int", _host),
    fn("cidrSubnet", "string int int", _subnet),
    fn("parseCidr", "string", _parse),
)
