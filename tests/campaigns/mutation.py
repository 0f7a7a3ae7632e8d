"""Damaged inputs from sound ones: bytes in, bytes out, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

# What no input of a campaign is longer than.
LONGEST = 64 << 10
# Numbers at which fields of a fixed width turn over, and texts that parsers stumble over.
_EDGES = (b"\0", b"\x7f", b"\x80", b"\xff", b"\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0", b"\xff" * 8)
_NUMBERS = (b"0", b"-1", b"1e999", b"99999999999999999999", b"9223372036854775808", b"NaN", b"0x10", b"1.5", b"-0")
_ODD = (b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", "\u2028\u202e\ufeff\u0130\u212a".encode(), b"\\ud800", b"\r")
_PIECES = (*_EDGES, *_NUMBERS, *_ODD)

Change = Callable[[bytearray, random.Random, Sequence[bytes], Sequence[bytes]], None]


def mutated(rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes], start: bytes | None = None) -> bytes:
    """One of the seeds, or `start`, after one to six changes. words: pieces that mean something to who reads it."""
    data = bytearray(rng.choice(seeds) if start is None else start)
    for _ in range(rng.choice((1, 1, 2, 2, 3, 6))):
        rng.choice(_CHANGES)(data, rng, seeds, words)
        del data[LONGEST:]
    return bytes(data)


def _cut(data: bytearray, rng: random.Random) -> slice:
    """A place in the data with some bytes behind it; few more often than many."""
    at = rng.randrange(len(data) + 1)
    return slice(at, min(len(data), at + rng.choice((0, 1, 1, 2, 4, 8, 40, 400))))


def _flip(data: bytearray, rng: random.Random, _: Sequence[bytes], __: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _put(data: bytearray, rng: random.Random, _: Sequence[bytes], words: Sequence[bytes]) -> None:
    data[_cut(data, rng)] = rng.choice(words if words and rng.random() < 0.7 else _PIECES)


def _delete(data: bytearray, rng: random.Random, _: Sequence[bytes], __: Sequence[bytes]) -> None:
    del data[_cut(data, rng)]


def _truncate(data: bytearray, rng: random.Random, _: Sequence[bytes], __: Sequence[bytes]) -> None:
    if rng.random() < 0.3:
        del data[rng.randrange(len(data) + 1) :]


def _splice(data: bytearray, rng: random.Random, seeds: Sequence[bytes], _: Sequence[bytes]) -> None:
    """A part of another seed."""
    other = bytearray(rng.choice(seeds))
    data[_cut(data, rng)] = other[_cut(other, rng)]


def _swap(data: bytearray, rng: random.Random, _: Sequence[bytes], __: Sequence[bytes]) -> None:
    one, other = _cut(data, rng), _cut(data, rng)
    data[one], moved = data[other], bytes(data[one])
    data[_cut(data, rng)] = moved


def _repeat(data: bytearray, rng: random.Random, _: Sequence[bytes], words: Sequence[bytes]) -> None:
    """A piece again and again, up to the longest input: what finds work that grows faster than its input."""
    place = _cut(data, rng)
    piece = bytes(data[place]) if rng.random() < 0.5 else rng.choice(words or _PIECES)
    if rng.random() < 0.3:
        piece += rng.choice(words or _PIECES)
    count = rng.choice((2, 3, 10, 100, 1000, LONGEST))
    data[place.start : place.start] = piece * min(count, LONGEST // max(1, len(piece)))


def _same(data: bytearray, rng: random.Random, _: Sequence[bytes], words: Sequence[bytes]) -> None:
    """A number, a name or a text at its place becomes another one."""
    text = bytes(data)
    marks = [at for at in range(len(text)) if text[at] in b"\"' :=,"] if len(text) < 4000 else []
    if len(marks) > 1:
        first = rng.randrange(len(marks) - 1)
        data[marks[first] + 1 : marks[first + 1]] = rng.choice((*_NUMBERS, *words))


_CHANGES: tuple[Change, ...] = (_flip, _put, _put, _delete, _truncate, _splice, _swap, _repeat, _same, _same)
