"""Azure's DHCP: who gets an answer, and what is in it."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.fabric.dhcp import answer, parse
from aibemu.fabric.vm import Nic
from tests.unit.fabric.packets import GATEWAY_MAC, GUEST, GUEST_MAC, WIRE, read

NIC = Nic(mac="00:0d:3a:1b:2c:3d", address=IPv4Address(GUEST), subnet=IPv4Network("10.0.0.0/24"))
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
ROUTES = bytes.fromhex("000a000001" + "20a83f8110" + "0a000001" + "20a9fea9fe" + "0a000001")


def ask(
    kind: int, *, client: str = "0.0.0.0", mac: bytes = GUEST_MAC, flags: int = 0,
    options: dict[int, bytes] | None = None,
) -> bytes:  # fmt: skip
    head = struct.pack("!BBBBIHH", 1, 1, 6, 0, 0xCAFE, 3, flags) + IPv4Address(client).packed + bytes(12)
    head += mac.ljust(16, b"\0") + bytes(192) + b"\x63\x82\x53\x63"
    given = {53: bytes([kind]), **(options or {})}
    return head + b"".join(bytes([code, len(value)]) + value for code, value in given.items()) + b"\xff"


def reply(question: bytes) -> tuple[bytes, dict[int, bytes]] | None:
    """The frame and its options."""
    frame = answer(question, NIC, GATEWAY_MAC, "x.internal.cloudapp.net")
    if frame is None:
        return None
    found = read(frame)
    assert found.sound and found.ports == (67, 68) and found.source == WIRE
    assert found.payload[0] == 2 and found.payload[4:8] == b"\0\0\xca\xfe" and len(found.payload) >= 300
    options, at = {}, 240
    while found.payload[at] != 255:
        length = found.payload[at + 1]
        options[found.payload[at]] = found.payload[at + 2 : at + 2 + length]
        at += 2 + length
    return frame, options


def test_an_offer_is_azures() -> None:
    found = reply(ask(DISCOVER))
    assert found is not None
    frame, options = found
    assert read(frame).payload[16:20] == IPv4Address(GUEST).packed
    wire = IPv4Address(WIRE).packed
    assert options == {
        53: bytes([OFFER]), 54: wire, 51: b"\xff" * 4, 1: bytes([255, 255, 255, 0]), 3: bytes([10, 0, 0, 1]), 6: wire,
        15: b"x.internal.cloudapp.net", 121: ROUTES, 249: ROUTES, 245: wire,
    }  # fmt: skip
    assert frame[:12] == GUEST_MAC + GATEWAY_MAC and read(frame).target == GUEST


def test_who_cannot_hear_yet_is_answered_to_everybody() -> None:
    found = reply(ask(DISCOVER, flags=0x8000))
    assert found is not None and found[0][:6] == b"\xff" * 6 and read(found[0]).target == "255.255.255.255"


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        (ask(REQUEST, options={50: IPv4Address(GUEST).packed, 54: IPv4Address(WIRE).packed}), ACK),
        (ask(REQUEST, options={50: IPv4Address("10.0.0.9").packed}), NAK),
        (ask(REQUEST, client=GUEST), ACK),
        (ask(REQUEST, client="10.0.0.9"), NAK),
        (ask(INFORM, client=GUEST), ACK),
        (ask(REQUEST, options={54: IPv4Address("10.0.0.2").packed}), None),
        (ask(DECLINE), None),
        (ask(RELEASE, client=GUEST), None),
        (ask(OFFER), None),
        (ask(DISCOVER, mac=b"\x00\x0d\x3a\xff\xff\xff"), None),
    ],
)
def test_each_question_gets_its_answer(question: bytes, kind: int | None) -> None:
    found = reply(question)
    assert (found is None) if kind is None else (found is not None and found[1][53] == bytes([kind]))


def test_a_renewal_is_answered_to_the_one_who_asks() -> None:
    found = reply(ask(REQUEST, client=GUEST))
    assert found is not None and read(found[0]).target == GUEST and found[0][:6] == GUEST_MAC


def test_a_refusal_reaches_everybody_and_gives_nothing() -> None:
    found = reply(ask(REQUEST, client="10.0.0.9"))
    assert found is not None
    frame, options = found
    assert frame[:6] == b"\xff" * 6 and read(frame).payload[16:20] == bytes(4) and set(options) == {53, 54}


def test_an_inform_gives_options_and_no_lease() -> None:
    found = reply(ask(INFORM, client=GUEST))
    assert found is not None and 51 not in found[1] and 245 in found[1]
    assert read(found[0]).payload[16:20] == bytes(4)


@given(st.binary(max_size=400))
def test_nothing_breaks_the_reader(rest: bytes) -> None:
    parse(rest)
    base = ask(DISCOVER)
    assert parse(base[:240] + rest) is None or parse(base[:240] + rest) is not None
    answer(base[:240] + rest, NIC, GATEWAY_MAC, "x")


def test_what_is_no_question_is_none() -> None:
    good = ask(DISCOVER)
    assert parse(good) is not None
    for bad in (good[:239], b"\x02" + good[1:], good[:236] + b"\0\0\0\0" + good[240:], good[:240] + b"\xff"):
        assert parse(bad) is None
    padded = good[:240] + b"\0\0\0" + good[240:]
    assert parse(padded) is not None
    assert parse(good[:240] + b"\x35\x02\x01") is None  # cut off
