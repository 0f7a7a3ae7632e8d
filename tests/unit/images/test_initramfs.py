"""The names in an initramfs: every way to pack it, and whatever may be wrong with it."""

from __future__ import annotations

import gzip
import io
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibemu.images import initramfs
from aibemu.images.initramfs import listing
from tests.unit.images.initramfs_files import PACKERS, cpio

NAMES = st.lists(
    st.text("abcäö/._-0", min_size=1, max_size=40).map(lambda text: f"d/{text}e"), unique=True, max_size=20
)


@pytest.mark.parametrize("packer", PACKERS)
def test_every_way_to_pack_it_after_microcode(packer: str) -> None:
    early = cpio(["kernel/x86/microcode/GenuineIntel.bin"], bytes(5000))
    whole = early + bytes(508) + PACKERS[packer](cpio(["./usr/lib/a.ko", "/init"], bytes(200_000)))
    found = listing(io.BytesIO(whole))
    assert found.trouble == ""
    assert found.names == {"kernel/x86/microcode/GenuineIntel.bin", "usr/lib/a.ko", "init"}


@settings(max_examples=40)
@given(NAMES, NAMES, st.sampled_from(sorted(PACKERS)), st.binary(max_size=3000), st.integers(0, 9))
def test_several_in_a_row(first: list[str], second: list[str], packer: str, content: bytes, zeros: int) -> None:
    whole = cpio(first, content) + bytes(4 * zeros) + PACKERS[packer](cpio(second, content))
    found = listing(io.BytesIO(whole))
    assert found.names == {*first, *second} and found.trouble == ""


@settings(max_examples=60)
@given(st.sampled_from(sorted(PACKERS)), st.data())
def test_one_that_is_damaged_is_told_or_read_but_never_breaks(packer: str, data: st.DataObject) -> None:
    whole = bytearray(PACKERS[packer](cpio(["a", "b/c"], b"content" * 50)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    found = listing(io.BytesIO(bytes(whole[:cut])))
    assert len(found.names) <= 4  # whatever was made of their names


@given(st.binary(max_size=300))
def test_anything_else_is_told(data: bytes) -> None:
    assert bool(listing(io.BytesIO(data)).trouble) == bool(data.strip(b"\0"))


# zstd has no checksum unless it is asked for one: what is damaged may be another content.
@pytest.mark.parametrize("packer", sorted(set(PACKERS) - {"as it is", "zstd"}))
def test_one_whose_packed_bytes_are_damaged_is_told(packer: str) -> None:
    whole = bytearray(PACKERS[packer](cpio(["a", "b"], bytes(range(256)) * 100)))
    whole[30:60] = b"\xa5" * 30
    assert listing(io.BytesIO(whole)).trouble


@pytest.mark.parametrize("packer", PACKERS)
def test_one_that_ends_too_early_is_told(packer: str) -> None:
    whole = PACKERS[packer](cpio(["a", "b"], bytes(range(256)) * 100))
    assert listing(io.BytesIO(whole[:-9])).trouble


def test_what_unpacks_to_no_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs, "UNPACKED", 1 << 20)
    archive = bytearray(cpio(["big"], bytes(4 << 20)))
    archive[54:62] = b"%08X" % 0x7FFFFFFF  # its size
    assert listing(io.BytesIO(gzip.compress(bytes(archive)))).trouble == "it has more than 1 MiB"


def test_a_list_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs, "MOST_FILES", 10)
    assert "more than 10 files" in listing(io.BytesIO(cpio(map(str, range(11))))).trouble


def test_it_is_asked_whether_to_go_on_while_nothing_comes_out() -> None:
    class Cancelled(Exception):
        pass

    calls = [0]

    def check() -> None:
        calls[0] += 1
        if calls[0] > 20:
            raise Cancelled

    data = cpio(["a"], bytes(4 << 20))
    with pytest.raises(Cancelled):
        listing(io.BytesIO(zlib.compress(data, 1, 31)), check)
