"""Azure's own part of DNS, for one machine: its name, with and without the domain that DHCP hands out, and its address.

`answer` is a function from a question to a reply: of its own names it says what Azure says, of others nothing, so that
they go where they always went. Forms and codes: RFC 1035, 6891 (EDNS) and 8020. Names: Microsoft's "Name resolution for
resources in Azure virtual networks": `NAME.internal.cloudapp.net` is what an address is called, and resolves, too.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

AZURE = ("internal", "cloudapp", "net")
REVERSE = ("in-addr", "arpa")
TTL = 10  # seconds; Azure's records of virtual machines have as much
LONGEST_LABEL, LONGEST_NAME = 63, 255  # bytes, of a name as it is sent (RFC 1035, 2.3.4)
LARGEST_REPLY = 1232  # bytes that we say we take by UDP
HEADER = struct.Struct("!HHHHHH")
_OPTION_RECORD = struct.Struct("!BHHIH")
_REPLY, _OPCODES, _RECURSION_WANTED, _RECURSION = 0x8000, 0x7800, 0x0100, 0x0080
_CHECKING_DISABLED, _SECURE_WANTED = 0x0010, 0x8000
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


class Kind(IntEnum):
    """Types of records that matter here."""

    A = 1
    PTR = 12
    OPT = 41
    ANY = 255


class Code(IntEnum):
    """How a question was answered."""

    FOUND = 0
    MALFORMED = 1
    NO_SUCH_NAME = 3


class Malformed(ValueError):
    """A question that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What one machine is called."""

    # Its name in Azure, without a domain.
    host: str
    # Which DHCP tells the guest to search in.
    domain: str
    # The name that the guest itself gave when it last asked for its address, or nothing.
    published: str = ""

    def is_own(self, name: Sequence[str]) -> bool:
        """Whether labels in lower case are a name of the machine: alone, in its domain, or anywhere in Azure's. A guest
        that was restored from a layer may still search in the domain that it booted with."""
        own = {(part.lower(),) for part in (self.host, self.published) if part}
        return tuple(name[:1]) in own and (len(name) == 1 or is_azures(name[1:]))

    def is_above(self, name: Sequence[str]) -> bool:
        """Whether there are names of the machine below this one."""
        domain = self.domain.split(".")
        return bool(name) and is_azures(name) and domain[-len(name) :] == list(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The one question of a message. name: labels in lower case. end: where it ends. flags: of EDNS, None without."""

    name: tuple[str, ...]
    kind: int
    internet: bool
    end: int
    flags: int | None


def is_azures(name: Sequence[str]) -> bool:
    """Whether a name is in the zone that only Azure's DNS knows."""
    return tuple(name[-len(AZURE) :]) == AZURE


def host_name(text: str) -> str:
    """The first label of a name that a guest gave, in lower case; empty when it is none that DNS could have, or is what
    every machine calls itself."""
    label = text.lower().partition(".")[0]
    return label if _LABEL.fullmatch(label) and label != "localhost" else ""


def answer(message: bytes, names: Names, address: IPv4Address) -> bytes | None:
    """The reply to what was sent to the name server; None when another one is to answer.

    Nothing is said to less than a header, nor to a reply, or two servers could talk without end.
    """
    if len(message) < HEADER.size or int.from_bytes(message[2:4], "big") & (_REPLY | _OPCODES):
        return None
    try:
        question = parse(message)
    except Malformed:
        return _reply(message, HEADER.size, Code.MALFORMED, questions=0)
    if not question.internet:
        return None
    if question.name == (*str(address).split(".")[::-1], *REVERSE):
        target = _name((names.host, *AZURE))
        return _found(message, question, Kind.PTR, target)
    if names.is_own(question.name):
        return _found(message, question, Kind.A, address.packed)
    if not is_azures(question.name):
        return None
    # Nobody else can know it; and what is above a name is there, or all below it would be held to be missing.
    code = Code.FOUND if names.is_above(question.name) else Code.NO_SUCH_NAME
    return _reply(message, question.end, code, flags=question.flags)


def parse(message: bytes) -> Question:
    """The question of a message with a whole header. `Malformed` if it has not just one, or does not hold together."""
    _, _, questions, *others = HEADER.unpack_from(message)
    if questions != 1:
        raise Malformed("not one question")
    name, at = _labels(message, HEADER.size)
    if at + 4 > len(message):
        raise Malformed("a question that is cut off")
    kind, group = struct.unpack_from("!HH", message, at)
    return Question(
        name=name, kind=kind, internet=group in (1, 255), end=at + 4, flags=_flags(message, at + 4, sum(others))
    )


def _flags(message: bytes, at: int, records: int) -> int | None:
    """Look through the records after the question, for what EDNS adds to the header."""
    flags = None
    for _ in range(records):
        at = _past_name(message, at)
        if at + 10 > len(message):
            raise Malformed("a record that is cut off")
        kind, _, more, length = struct.unpack_from("!HHIH", message, at)
        at += 10 + length
        if at > len(message):
            raise Malformed("a record that is cut off")
        if kind == Kind.OPT:
            if flags is not None:
                raise Malformed("EDNS twice")
            flags = more & 0xFFFF
    return flags


def _labels(message: bytes, at: int) -> tuple[tuple[str, ...], int]:
    """A question's name, and where it ends. Nothing stands before it that a pointer could point to."""
    labels: list[str] = []
    start = at
    while True:
        if at >= len(message):
            raise Malformed("a name that is cut off")
        length = message[at]
        at += 1
        if length == 0:
            return tuple(labels), at
        if length > LONGEST_LABEL or at + length >= len(message) or at + length + 1 - start > LONGEST_NAME:
            raise Malformed("a name that is none")
        labels.append(message[at : at + length].decode("latin-1").lower())
        at += length


def _past_name(message: bytes, at: int) -> int:
    """Where a record's name ends, which may end in a pointer."""
    while at < len(message):
        length = message[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length > LONGEST_LABEL:
            break
        at += 1 + length
    raise Malformed("a record's name that is none")


def _found(message: bytes, question: Question, kind: Kind, value: bytes) -> bytes:
    """A reply with one record, or with none to a question for another type."""
    record = b""
    if question.kind in (kind, Kind.ANY):
        # Its name is the question's, by a pointer.
        record = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, TTL, len(value)) + value
    return _reply(message, question.end, Code.FOUND, record=record, flags=question.flags)


def _reply(
    message: bytes, end: int, code: Code, *, record: bytes = b"", flags: int | None = None, questions: int = 1
) -> bytes:
    """`message` up to `end` as a reply of a resolver; Azure's are not authoritative."""
    asked = int.from_bytes(message[2:4], "big")
    said = _REPLY | asked & (_RECURSION_WANTED | _CHECKING_DISABLED) | _RECURSION | code
    head = message[:2] + HEADER.pack(0, said, questions, bool(record), 0, flags is not None)[2:]
    options = b"" if flags is None else _OPTION_RECORD.pack(0, Kind.OPT, LARGEST_REPLY, flags & _SECURE_WANTED, 0)
    return head + message[HEADER.size : end] + record + options


def _name(labels: Sequence[str]) -> bytes:
    """A name as it is sent."""
    parts = [label.encode("ascii") for label in labels]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
