"""Functions on address ranges, IPv4 and IPv6, read as Azure's engine reads them: with the library IPNetwork2 for .NET,
which takes more than others do. `10.0.0.0` is a range of class A, `10.1/16` is 10.0.0.1/16, a netmask may follow."""

from __future__ import annotations

import re
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    NetmaskValueError,
    ip_network,
)

from aibemu.arm.expressions.errors import ExpressionError
from aibemu.arm.functions.signature import Function, fn

Network = IPv4Network | IPv6Network
# The library drops all other characters before it reads anything.
_OTHERS = re.compile(r"[^0-9a-fA-F./\s:]+")
_GUESSED_IPV6 = 64


def _network(text: str) -> Network:
    parts = re.split(r"[ /]+", _OTHERS.sub("", text).strip(" /"))
    try:
        address = _address(parts[0])
        return ip_network((address, _prefix(address, parts[1] if len(parts) > 1 else "")), strict=False)
    except (ValueError, AddressValueError, NetmaskValueError) as error:
        raise ExpressionError(
            f"'{text}' is not a range of addresses: {error}", hint="like 10.0.0.0/24",
            azure=f"The specified CIDR '{text}' is not valid",
        ) from None  # fmt: skip


def _address(text: str) -> IPv4Address | IPv6Address:
    """`10.1` is 10.0.0.1, and `010` is octal, as ever on Unix."""
    if ":" in text:
        return IPv6Address(text)
    pieces = text.split(".")
    if not 1 <= len(pieces) <= 4:
        raise AddressValueError("an IPv4 address has four numbers")
    numbers = [int(piece, 8 if piece.startswith("0") and len(piece) > 1 else 10) for piece in pieces if len(piece) < 12]
    if len(numbers) != len(pieces) or any(number > 255 for number in numbers[:-1]):
        raise AddressValueError(f"'{text}' is no IPv4 address")
    last = numbers[-1]
    if last >= 256 ** (5 - len(numbers)):
        raise AddressValueError(f"{last} is too large in an IPv4 address")
    return IPv4Address(sum(number << 8 * (3 - at) for at, number in enumerate(numbers[:-1])) + last)


def _prefix(address: IPv4Address | IPv6Address, text: str) -> int:
    """What stands behind the slash: a length or a netmask. Without it the class of an IPv4 address."""
    if text.isdecimal():
        return int(text)
    if text:
        return IPv4Network((0, text)).prefixlen
    if address.version == 6:
        return _GUESSED_IPV6
    first = int(address) >> 24
    return 8 if first < 128 else 16 if first < 192 else 24


def _parse(text: str) -> dict[str, str | int]:
    network = _network(text)
    # The first and the last address of an IPv4 range have a meaning of their own. A range of two has one to use, so
    # the library says.
    first, last = network.network_address, network.broadcast_address
    if network.version == 4 and network.prefixlen < 31:
        first, last = first + 1, last - 1
    elif network.version == 4 and network.prefixlen == 31:
        last = first
    parsed: dict[str, str | int] = {"network": str(network.network_address), "netmask": str(network.netmask)}
    if network.version == 4:
        parsed["broadcast"] = str(network.broadcast_address)
    return parsed | {"firstUsable": str(first), "lastUsable": str(last), "cidr": network.prefixlen}


def _subnet(text: str, prefix: int, place: int) -> str:
    if not 0 <= prefix <= 255:
        azure = f"The specified byte '{prefix}' is not a valid byte value (0-255)"
        raise ExpressionError(f"the length of a range is 0 to 128, not {prefix}", azure=azure)
    network = _network(text)
    if not network.prefixlen <= prefix <= network.max_prefixlen:
        azure = f"Could not generate subnet for network '{text}' and CIDR value '{prefix}'"
        raise ExpressionError(f"a /{prefix} does not fit into {network}", azure=azure)
    count = 1 << (prefix - network.prefixlen)
    if not 0 <= place < count:
        azure = f"The specified subnetIndex '{place}' is not a valid index of the subnet size '{count}'"
        message = f"{network} holds {count} ranges of /{prefix}, counted from 0: there is no {place}"
        raise ExpressionError(message, azure=azure)
    return f"{network.network_address + (place << (network.max_prefixlen - prefix))}/{prefix}"


def _host(text: str, place: int) -> str:
    """The address of a host: 0 is the first that can be used. The engine counts below it, too."""
    network = _network(text)
    number = int(network.network_address) + place + 1
    if place >= max(0, network.num_addresses - 2) or number < 0:
        azure = f"Could not calculate the CidrHost for network '{text}' and CIDR value '{place}'"
        raise ExpressionError(f"{network} has no host {place}", azure=azure)
    return str(type(network.network_address)(number))


TABLE: tuple[Function, ...] = (
    fn("cidrHost", "string int32", _host),
    fn("cidrSubnet", "string int32 int32", _subnet),
    fn("parseCidr", "string", _parse),
)
