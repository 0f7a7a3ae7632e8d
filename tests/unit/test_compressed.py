"""Reading compressed files: any content, in pieces of any size, back as it was; or `Damaged`, and nothing else."""

from __future__ import annotations

import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibemu.compressed import MOST_AT_ONCE, Compression, Damaged, UnpackedStream, compression_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKERS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZIP: gzip.compress, Compression.XZ: lzma.compress, Compression.ZSTD: zstd.compress,
}  # fmt: skip


def opened(packed: bytes) -> UnpackedStream:
    return UnpackedStream(io.BytesIO(packed), compression_of(packed), check=lambda: None)


def read_all(stream: UnpackedStream, size: int) -> bytes:
    found = b""
    while piece := stream.read(size):
        found += piece
    return found


@given(
    parts=st.lists(st.binary(max_size=2000), min_size=1, max_size=3), kind=st.sampled_from(Compression),
    size=st.integers(1, 999),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_what_was_packed_comes_back(parts: list[bytes], kind: Compression, size: int) -> None:
    stream = opened(b"".join(map(PACKERS[kind], parts)))
    assert stream.peek(10) == b"".join(parts)[:10]
    assert stream.tell() == 0
    assert read_all(stream, size) == b"".join(parts)
    assert stream.tell() == sum(map(len, parts))


@given(packed=st.binary(max_size=300), kind=st.sampled_from(Compression), at=st.integers(0, 300))
@settings(max_examples=100, deadline=None)
def test_damage_is_damage(packed: bytes, kind: Compression, at: int) -> None:
    whole = PACKERS[kind](packed)
    damaged = whole[:at] + packed + whole[at + 3 :]
    stream = UnpackedStream(io.BytesIO(damaged), kind, check=lambda: None)
    try:
        read_all(stream, 100)
    except Damaged as error:
        assert "\n" not in str(error)


def test_only_forward_and_in_pieces() -> None:
    stream = opened(gzip.compress(bytes(range(200))))
    assert stream.seek(50) == 50
    assert stream.read(2) == bytes([50, 51])
    with pytest.raises(Damaged, match="lies before"):
        stream.seek(10)
    with pytest.raises(Damaged, match="says that it has"):
        stream.read(MOST_AT_ONCE + 1)
    assert stream.seek(1000) == 200


def test_an_xz_file_that_wants_all_memory_is_refused() -> None:
    # The size of the dictionary is a byte of the block's header: 37 stands for 1.5 GiB.
    packed = bytearray(lzma.compress(b"x" * 100, preset=0))
    at = packed.index(b"\x21\x01") + 2
    packed[at] = 37
    header = packed[12 : 12 + 4 * packed[12] + 4]
    packed[12 : 12 + len(header)] = header[:-4] + zlib.crc32(header[:-4]).to_bytes(4, "little")
    with pytest.raises(Damaged, match="Memory usage limit"):
        opened(bytes(packed)).read(10)
    assert compression_of(b"plain text") is None


def test_whoever_watches_can_end_it() -> None:
    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        UnpackedStream(io.BytesIO(b"x"), None, check=check).read(1)
