"""Azure's DNS for the machine's own names: what is answered, what is left to others, and what makes no sense."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aibemu.fabric.dns import Names, answer, host_name

HOST, DOMAIN, ADDRESS = "pkrvmAB12", "abc.ax.internal.cloudapp.net", "10.0.0.4"
NAMES = Names(host=HOST, domain=DOMAIN, published="web")
A, NS, PTR, AAAA, ANY = 1, 2, 12, 28, 255
PLAIN, SECURE = b"\0\0\x29\x10\0\0\0\0\0\0\0", b"\0\0\x29\x10\0\0\0\x80\0\0\0"  # EDNS, and with "DNSSEC OK"


def name(text: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".") if part) + b"\0"


def question(
    text: str, kind: int = A, *, group: int = 1, flags: int = 0x0100, counts: tuple[int, int, int, int] = (1, 0, 0, 0),
    more: bytes = b"",
) -> bytes:  # fmt: skip
    """A message by RFC 1035, 4.1. more: what comes after the question."""
    return struct.pack("!HHHHHH", 0xBEEF, flags, *counts) + name(text) + struct.pack("!HH", kind, group) + more


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A reply. rest: what comes after the last record that was announced."""

    flags: int
    counts: tuple[int, ...]
    records: list[tuple[int, int, bytes]]  # type, TTL, value
    edns: bytes

    @property
    def code(self) -> int:
        return self.flags & 15

    @property
    def addresses(self) -> list[str]:
        return [str(IPv4Address(value)) for kind, _, value in self.records if kind == A]


def take_apart(reply: bytes | None, asked: bytes | None = None) -> Said:
    """A reply by RFC 1035; of `asked` it must have the id and the question."""
    assert reply is not None
    ident, flags, *counts = struct.unpack_from("!HHHHHH", reply)
    assert ident == 0xBEEF and flags & 0x8000 and len(reply) <= 512
    at = 12
    if counts[0]:
        at = reply.index(b"\0", 12) + 5
        assert asked is None or reply[12:at] == asked[12:at]
    records = []
    for _ in range(counts[1]):
        assert reply[at : at + 2] == b"\xc0\x0c"
        kind, group, ttl, length = struct.unpack_from("!HHIH", reply, at + 2)
        assert group == 1
        records.append((kind, ttl, reply[at + 12 : at + 12 + length]))
        at += 12 + length
    assert counts[2] == 0 and bool(counts[3]) == bool(reply[at:])
    return Said(flags=flags, counts=tuple(counts), records=records, edns=reply[at:])


def ask(asked: bytes) -> Said:
    return take_apart(answer(asked, NAMES, IPv4Address(ADDRESS)), asked)


@pytest.mark.parametrize(
    "text",
    [HOST, f"{HOST}.{DOMAIN}", f"{HOST.upper()}.{DOMAIN.upper()}", f"{HOST}.internal.cloudapp.net", "web",
     f"WEB.{DOMAIN}", f"{HOST}.of-the-layers-run.ax.internal.cloudapp.net"],
)  # fmt: skip
def test_the_machines_own_names_have_its_address(text: str) -> None:
    said = ask(question(text))
    assert (said.code, said.addresses) == (0, [ADDRESS])
    assert said.records[0][1] == 10
    # A resolver's, not the zone's own server's; what the question wants of recursion is repeated.
    assert said.flags == 0x8180 and ask(question(text, flags=0)).flags == 0x8080
    assert ask(question(text, ANY)).addresses == [ADDRESS]
    # It is there, without such a record. NXDOMAIN to AAAA would make resolvers forget the address, too.
    for kind in (AAAA, NS, 65):
        assert (ask(question(text, kind)).code, ask(question(text, kind)).records) == (0, [])


def test_its_address_has_the_name_that_azure_gives_it() -> None:
    said = ask(question("4.0.0.10.in-addr.arpa", PTR))
    assert [(kind, value) for kind, _, value in said.records] == [(PTR, name(f"{HOST}.internal.cloudapp.net"))]
    assert (ask(question("4.0.0.10.IN-ADDR.ARPA", A)).code, ask(question("4.0.0.10.in-addr.arpa")).records) == (0, [])


def test_other_names_of_azures_own_zone_are_not_there_and_what_is_above_its_name_is() -> None:
    for text in (f"other.{DOMAIN}", "other.internal.cloudapp.net", f"x.{HOST}.{DOMAIN}", "zz.ax.internal.cloudapp.net"):
        assert ask(question(text)).code == 3, text
    for text in (DOMAIN, "ax.internal.cloudapp.net", "internal.cloudapp.net"):
        assert (ask(question(text)).code, ask(question(text)).records) == (0, []), text


@pytest.mark.parametrize(
    "asked",
    [question("www.example.org"), question(""), question("other"), question("cloudapp.net"),
     question(f"{HOST}.example.org"), question("5.0.0.10.in-addr.arpa", PTR), question(HOST, group=3),
     question(HOST, flags=0x2800), question(HOST, flags=0x8100), b"", question(HOST)[:11]],
    ids=["name", "root", "label", "above", "elsewhere", "address", "chaos", "update", "reply", "nothing", "no header"],
)  # fmt: skip
def test_all_else_is_for_the_hosts_resolver(asked: bytes) -> None:
    assert answer(asked, NAMES, IPv4Address(ADDRESS)) is None


def test_edns_is_answered_by_edns() -> None:
    """A resolver that hears nothing of it tries again without, and writes into the image's journal that it does."""
    for options, expected in ((PLAIN, b"\0\0\x29\x04\xd0\0\0\0\0\0\0"), (SECURE, b"\0\0\x29\x04\xd0\0\0\x80\0\0\0")):
        for text in (HOST, f"other.{DOMAIN}"):
            assert ask(question(text, counts=(1, 0, 0, 1), more=options)).edns == expected
    cookie = b"\0\0\x29\x10\0\0\0\0\0\0\x0c\0\x0a\0\x08" + bytes(8)
    assert ask(question(HOST, counts=(1, 0, 0, 1), more=cookie)).addresses == [ADDRESS]
    assert ask(question(HOST)).edns == b""


BROKEN = {
    "two questions": question(HOST, counts=(2, 0, 0, 0)),
    "no question": question(HOST, counts=(0, 0, 0, 0)),
    "no type": question(HOST)[:-3],
    "no end of the name": question(HOST)[:15],
    "a pointer to itself": struct.pack("!HHHHHH", 0xBEEF, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1",
    "a label of a kind that nobody uses": struct.pack("!HHHHHH", 0xBEEF, 0, 1, 0, 0, 0) + b"\x41\0\0\1\0\1" + bytes(80),
    "a name that is too long": question(".".join(["a" * 60] * 5)),
    "a record that is not there": question(HOST, counts=(1, 0, 0, 1)),
    "a record that is cut off": question(HOST, counts=(1, 0, 0, 1), more=PLAIN[:-3]),
    "a value that is cut off": question(HOST, counts=(1, 0, 0, 1), more=PLAIN[:-1] + b"\x09"),
    "a record's name that is none": question(HOST, counts=(1, 0, 0, 1), more=b"\x80" + PLAIN),
    "EDNS twice": question(HOST, counts=(1, 0, 0, 2), more=PLAIN + PLAIN),
    "sixty thousand records": question(HOST, counts=(1, 65535, 65535, 65535)),
}


@pytest.mark.parametrize("asked", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_called_so_without_repeating_it(asked: bytes) -> None:
    reply = answer(asked, NAMES, IPv4Address(ADDRESS))
    assert reply is not None and len(reply) == 12
    assert (take_apart(reply).code, take_apart(reply).counts) == (1, (0, 0, 0, 0))


@given(st.binary(min_size=0, max_size=120), st.integers(0, 4))
@example(b"\0" * 12, 1)
def test_whatever_comes_is_answered_shortly_or_left_to_others(rest: bytes, records: int) -> None:
    asked = struct.pack("!HHHHHH", 0xBEEF, 0x0100, 1, 0, 0, records) + rest
    reply = answer(asked, NAMES, IPv4Address(ADDRESS))
    if reply is not None:
        assert take_apart(reply).code in (0, 1, 3)


@given(st.lists(st.sampled_from(["a", HOST, "web", "ax", "abc", "internal", "cloudapp", "net", "in-addr", "x" * 63])))
def test_any_name_is_own_or_missing_or_somebody_elses(labels: list[str]) -> None:
    text = ".".join(labels)
    asked = question(text)
    reply = answer(asked, NAMES, IPv4Address(ADDRESS))
    if len(name(text)) > 255:
        assert take_apart(reply).code == 1
        return
    own = labels[:1] in ([HOST], ["web"]) and (len(labels) == 1 or labels[1:][-3:] == ["internal", "cloudapp", "net"])
    azures = labels[-3:] == ["internal", "cloudapp", "net"]
    assert (reply is not None) == (own or azures)
    if reply is not None:
        assert take_apart(reply, asked).addresses == ([ADDRESS] if own else [])


def test_only_what_dns_can_have_is_taken_for_a_guests_name() -> None:
    assert [host_name(text) for text in ("Web-1", "web.example.org", "a" * 63)] == ["web-1", "web", "a" * 63]
    assert {
        host_name(text) for text in ("", ".", "-a", "a-", "a_b", "a b", "ü", "a" * 64, "localhost", "LOCALHOST.x")
    } == {""}
