"""Frames through the pump: cut right, in order, in both directions, and bounded when nobody takes them."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.fabric import pump as pumping
from aibemu.fabric.link import Link
from aibemu.fabric.pump import LARGEST, WAITING, Frames, Garbled, Port, Pump
from tests.unit.fabric.test_serve import Side


def framed(*frames: bytes) -> bytes:
    return b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_frames_are_cut_whatever_pieces_they_come_in(frames: list[bytes], data: st.DataObject) -> None:
    whole, cutter, found = framed(*frames), Frames(), []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        found += cutter.cut(whole[:size])
        whole = whole[size:]
    assert found == frames


def test_a_length_that_cannot_be_one_is_not_waited_for() -> None:
    assert Frames().cut((LARGEST).to_bytes(4, "big")) == []
    with pytest.raises(Garbled):
        Frames().cut((LARGEST + 1).to_bytes(4, "big"))


@pytest.fixture
def pump(tmp_path: Path) -> Iterator[Pump]:
    made = Pump(Link.below(tmp_path))
    thread = threading.Thread(target=made.run, args=(made.outside.send, made.guest.send), daemon=True)
    thread.start()
    yield made
    made.stop()
    thread.join(10)
    assert not thread.is_alive()
    made.close()


def test_both_ways_in_order_and_by_whom(pump: Pump, tmp_path: Path) -> None:
    guest, outside = Side(tmp_path / "nic"), Side(tmp_path / "uplink")
    frames = [bytes([number % 256]) * (number % 1500) for number in range(3000)]
    for here, there in ((guest, outside), (outside, guest)):
        sender = threading.Thread(target=lambda here=here: [here.send(frame) for frame in frames])
        sender.start()
        assert [there.receive() for _ in frames] == frames
        sender.join()
    assert pump.guest.process == os.getpid()


def test_a_side_that_takes_nothing_holds_up_neither_memory_nor_the_other_direction(pump: Pump, tmp_path: Path) -> None:
    guest, outside = Side(tmp_path / "nic"), Side(tmp_path / "uplink")
    frame = bytes(1500)
    outside.socket.settimeout(1)
    with pytest.raises(TimeoutError):
        for _ in range(100_000):  # 150 MB, of which nobody takes a byte
            outside.send(frame)
    assert pump.guest._size <= 2 * WAITING + pumping.CHUNK
    guest.send(b"still heard")
    outside.socket.settimeout(10)
    assert outside.receive() == b"still heard"


def test_what_nobody_is_connected_for_is_lost(tmp_path: Path) -> None:
    port = Port(tmp_path / "p", select.poll())
    port.send(b"x")
    assert not port.pending
    port.flush()
    port.close()


def test_a_handler_with_a_bug_ends_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = Pump(Link.below(tmp_path))

    def broken(frame: bytes) -> None:
        if frame == b"bad":
            raise RuntimeError("a bug")
        made.outside.send(frame)

    thread = threading.Thread(target=made.run, args=(broken, made.guest.send), daemon=True)
    thread.start()
    guest, outside = Side(tmp_path / "nic"), Side(tmp_path / "uplink")
    guest.socket.sendall(framed(*[b"bad"] * 50, b"good"))
    assert outside.receive() == b"good"
    made.stop()
    thread.join(10)
    made.close()
    assert capfd.readouterr().err.count("RuntimeError: a bug") == pumping.TOLD_FAULTS


def test_the_socket_is_for_this_user_by_its_folder_only(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("of an earlier start")
    port = Port(tmp_path / "p", select.poll())
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "p"))
        port.accept()
        assert port.process == os.getpid()
    port.close()
    assert port.process is None


def test_one_that_hangs_up_while_the_other_takes_nothing_costs_nothing(pump: Pump, tmp_path: Path) -> None:
    guest, outside = Side(tmp_path / "nic"), Side(tmp_path / "uplink")
    guest.socket.settimeout(1)
    with pytest.raises(TimeoutError):
        for _ in range(100_000):
            guest.send(bytes(1500))
    guest.socket.close()
    before, ends = time.process_time(), time.monotonic() + 10
    while pump.guest.process is not None:  # whoever comes next has to say who it is
        assert time.monotonic() < ends
        threading.Event().wait(0.01)
    threading.Event().wait(0.5)
    assert time.process_time() - before < 0.25
    outside.socket.close()
