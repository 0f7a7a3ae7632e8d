"""guid() and uniqueString(), bit by bit as ARM computes them (facts: clients 3, with vectors)."""

from __future__ import annotations

from uuid import UUID, uuid5

from aibemu.arm.functions.signature import Function, fn

NAMESPACE = UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_MASK32 = 0xFFFFFFFF
_C1, _C2 = 0x239B961B, 0xAB0E9789


def guid(*texts: str) -> str:
    """The name-based GUID of the texts, joined by `-`."""
    return str(uuid5(NAMESPACE, "-".join(texts)))


def unique_string(*texts: str) -> str:
    """13 characters of a-z and 2-7: the hash of the texts, joined by `-`."""
    value = murmur64("-".join(texts).encode("utf-8", "surrogatepass"))
    return "".join(_ALPHABET[value >> shift & 31] if shift >= 0 else _ALPHABET[value << -shift & 31]
                   for shift in range(59, -6, -5))  # fmt: skip


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> (32 - by)) & _MASK32


def _mixed(key: int, first: int, by: int, second: int) -> int:
    return _rotated(key * first & _MASK32, by) * second & _MASK32


def _finished(value: int) -> int:
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        value = (value ^ value >> shift) * factor & _MASK32
    return value ^ value >> 16


def murmur64(data: bytes) -> int:
    """A 64-bit variant of MurmurHash, seed 0: two halves of 32 bits, eight bytes a round."""
    high = low = 0  # low: h1, which the first four bytes of a round go into
    whole = len(data) - len(data) % 8
    for place in range(0, whole, 8):
        first, second = (int.from_bytes(data[at : at + 4], "little") for at in (place, place + 4))
        low = _rotated(low ^ _mixed(first, _C1, 15, _C2), 19)
        low = ((low + high) * 5 + 0x561CCD1B) & _MASK32
        high = _rotated(high ^ _mixed(second, _C2, 17, _C1), 13)
        high = ((high + low) * 5 + 0x0BCAA747) & _MASK32
    tail = data[whole:]
    if tail:
        low ^= _mixed(int.from_bytes(tail[:4], "little"), _C1, 15, _C2)
    if len(tail) > 4:
        high ^= _mixed(int.from_bytes(tail[4:], "little"), _C2, 17, _C1)
    low, high = low ^ len(data), high ^ len(data)
    low = (low + high) & _MASK32
    high = (high + low) & _MASK32
    low, high = _finished(low), _finished(high)
    low = (low + high) & _MASK32
    high = (high + low) & _MASK32
    return high << 32 | low


TABLE: tuple[Function, ...] = (
    fn("guid", "string...", guid),
    fn("uniqueString", "string...", unique_string),
)
