"""A file that comes in pieces is whole, or it is not there."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from aibemu.cluster.incoming import FORGOTTEN, Incoming, TransferFailed, forget_old, read_piece

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def send(incoming: Incoming, content: bytes = CONTENT, size: int = 1000) -> None:
    offset = incoming.offset()
    while offset < len(content):
        offset = incoming.add(offset, content[offset : offset + size])


def test_a_file_that_broke_off_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Incoming(tmp_path / "in", DIGEST, len(CONTENT))
    assert first.add(0, CONTENT[:3000]) == 3000
    again = Incoming(tmp_path / "in", DIGEST, len(CONTENT))
    assert again.offset() == 3000
    assert again.add(0, CONTENT[:100]) == 3000, "what is there is not written again"
    send(again)
    whole = again.finish()
    assert whole is not None and whole.read_bytes() == CONTENT
    assert again.finish() is None, "somebody has taken it"


def test_several_senders_of_one_file_help_each_other(tmp_path: Path) -> None:
    senders = [Incoming(tmp_path, DIGEST, len(CONTENT)) for _ in range(4)]
    threads = [threading.Thread(target=send, args=(one,), kwargs={"size": 37}) for one in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    whole = senders[0].finish()
    assert whole is not None and whole.read_bytes() == CONTENT


def test_other_bytes_are_refused_and_the_next_transfer_begins_anew(tmp_path: Path) -> None:
    incoming = Incoming(tmp_path, DIGEST, len(CONTENT))
    send(incoming, b"x" * len(CONTENT))
    with pytest.raises(TransferFailed, match=f"what came as {DIGEST[:12]} is"):
        incoming.finish()
    assert incoming.offset() == 0 and [path.name for path in tmp_path.iterdir()] == [".lock"]
    with pytest.raises(TransferFailed, match="more came"):
        incoming.add(0, CONTENT + b"x")
    incoming.add(0, CONTENT[:5])
    with pytest.raises(TransferFailed, match=r"5 of 10240 bytes came"):
        incoming.finish()


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", DIGEST.upper(), DIGEST + "0"])
def test_what_is_no_digest_names_no_file(tmp_path: Path, digest: str) -> None:
    with pytest.raises(TransferFailed, match="is no sha256"):
        Incoming(tmp_path, digest, 1)


def test_what_nobody_goes_on_with_is_deleted(tmp_path: Path) -> None:
    old, fresh = (Incoming(tmp_path, hashlib.sha256(name).hexdigest(), 10) for name in (b"old", b"fresh"))
    for one in (old, fresh):
        one.add(0, b"abc")
    now = fresh.path.stat().st_mtime
    os.utime(old.path, (now, now - FORGOTTEN - 1))
    forget_old(tmp_path, now)
    assert old.offset() == 0 and fresh.offset() == 3


def test_pieces_are_read_by_their_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    assert read_piece(tmp_path / "a", 10_000) == CONTENT[10_000:]
    assert read_piece(tmp_path / "a", 20_000) == b""
