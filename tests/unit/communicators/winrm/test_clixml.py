"""CLIXML becomes what a console shows: as a real PowerShell reads its own documents, whatever is around them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.communicators.winrm.clixml import LONGEST, Record, Unwrapper, decoded, records
from tests.source import ROOT

RECORDED: dict[str, Any] = json.loads((ROOT / "fixtures/powershell/clixml.json").read_text())
OPEN = b'<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
BEGIN = b"#< CLIXML\r\n" + OPEN
# Where the engine makes another text of a value than it writes: numbers, and objects without a text of their own.
VALUES = {"I32", "Db", "B", "DT", "TS"}
# What a console shows otherwise than the records have it: colours and control characters that only CLIXML keeps, an
# empty line that has no record, a document within text, records of several streams in another order.
OTHERWISE = {
    "error-tab-escape", "error-normal-view", "error-normal-view-throw", "error-normal-view-write-error",
    "error-empty-line", "error-detailed-view", "nested-engine", "all-streams",
}  # fmt: skip


def taken_apart(stream: bytes, sizes: Iterable[int] = ()) -> tuple[bytes, list[Record]]:
    """Raw bytes and records, fed in pieces of these sizes."""
    raw, found = bytearray(), list[Record]()
    unwrapper = Unwrapper(raw.extend, found.append)
    for size in sizes:
        unwrapper.feed(stream[:size])
        stream = stream[size:]
    unwrapper.feed(stream)
    unwrapper.close()
    return bytes(raw), found


def shown(stream: bytes, sizes: Iterable[int] = ()) -> str:
    """What a person sees."""
    given_out = bytearray()
    unwrapper = Unwrapper(given_out.extend)
    for size in sizes:
        unwrapper.feed(stream[:size])
        stream = stream[size:]
    unwrapper.feed(stream)
    unwrapper.close()
    return given_out.decode()


def test_all_documents_are_here() -> None:
    assert sum(case["documents"] for case in RECORDED["streams"]) == 119
    assert len(RECORDED["consoles"]) == 58


@pytest.mark.parametrize("case", RECORDED["streams"], ids=lambda case: case["id"])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_records_are_those_that_the_engine_reads(case: dict[str, Any], size: int) -> None:
    stream = case["stream"].encode()
    raw, found = taken_apart(stream, [size] * (len(stream) // size))
    assert raw.decode() == case["outside"]
    assert len(found) == len(case["records"])
    for record, (name, element, text) in zip(found, case["records"], strict=True):
        assert (record.stream, record.element) == (name, element)
        if name == "Output" and (element in VALUES or record.text is None):
            continue
        assert record.text == text


@pytest.mark.parametrize("case", RECORDED["by_hand"], ids=lambda case: case["id"])
def test_documents_of_5_1_too(case: dict[str, Any]) -> None:
    found = [[record.stream, record.element, record.text] for record in records(case["document"])]
    assert found == case["records"]


@pytest.mark.parametrize(
    "case", [case for case in RECORDED["consoles"] if case["id"] not in OTHERWISE], ids=lambda case: case["id"]
)
def test_a_person_sees_what_a_console_shows(case: dict[str, Any]) -> None:
    raw, found = taken_apart(case["stderr"].encode())
    errors = "".join(record.shown() for record in found if record.stream == "Error")
    others = "".join(record.shown() for record in found if record.stream != "Error")
    said = sorted(case["console"]["stderr"].splitlines())
    assert sorted((raw.decode() + errors).splitlines()) == said
    assert case["stdout"] + others == case["console"]["stdout"]


def test_progress_and_what_write_host_says_twice_are_not_shown() -> None:
    for case in RECORDED["streams"]:
        for record in records(case["stream"]):
            assert bool(record.shown()) == (record.stream in ("Error", "warning", "verbose", "debug", "Output")
                                            and record.text is not None)  # fmt: skip


def test_errors_come_as_soon_as_they_are_whole() -> None:
    heard: list[bytes] = []
    unwrapper = Unwrapper(heard.append)
    unwrapper.feed(BEGIN + b'<S S="Error">first_x000D__x000A_</S><S S="Err')
    assert b"".join(heard) == b"first\r\n"
    unwrapper.feed(b'or">second</S>')
    assert b"".join(heard) == b"first\r\nsecond\n"


def test_text_of_a_program_is_shown_before_a_document_within_it_and_after_it() -> None:
    stream = b"one\n" + b"#< CLIXML\r\n" + b"two\n" + OPEN + b'three\n<S S="Error">x</S>four\n</Objs>five'
    assert shown(stream) == "one\ntwo\nthree\nx\nfour\nfive"


def test_a_document_that_breaks_off_is_shown_as_it_stands() -> None:
    assert shown(BEGIN + b'<S S="Error">whole</S><S S="Error">half') == 'whole\n<S S="Error">half'
    assert shown(b"#< CLIXM") == "#< CLIXM"


def test_text_in_the_midst_of_an_object_costs_nothing_but_itself() -> None:
    stream = BEGIN + b'<Obj S="Error" RefId="0"><ToString>bad</ToString> & <MS><S N="A">x</S></MS></Obj></Objs>'
    assert shown(stream) == "bad\n"


def test_what_looks_like_xml_and_is_none_of_powershells_stays() -> None:
    text = b'<Objs>\n<S S="Fault">x</S>\n<S>y</S>\n#< CLIXML at the end of a sentence\n'
    assert shown(text).encode() == text


def test_what_never_ends_does_not_fill_the_memory() -> None:
    heard = bytearray()
    unwrapper = Unwrapper(heard.extend)
    unwrapper.feed(BEGIN + b'<S S="Error">')
    for _ in range(40):
        unwrapper.feed(b"x" * (LONGEST // 16))
    assert len(heard) >= LONGEST


def test_half_a_surrogate_pair_is_a_replacement_character() -> None:
    assert shown(BEGIN + b'<S S="Error">a_xD83D_b _xD83D__xDE00_</S></Objs>') == "a\ufffdb \U0001f600\n"


ESCAPED = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def as_powershell_writes(text: str) -> str:
    """The escapes of its serialiser: control characters, and what would be taken for an escape."""
    written = "".join(
        "_x005F_" if character == "_" and text[at + 1 : at + 2] in "xX" and text[at + 1 : at + 2]
        else f"_x{ord(character):04X}_" if character < " " or "\x7f" <= character < "\xa0" else character
        for at, character in enumerate(text)
    )  # fmt: skip
    return written.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@given(ESCAPED)
def test_what_is_escaped_is_read_back(text: str) -> None:
    [record] = records(f'{BEGIN.decode()}<S S="Error">{as_powershell_writes(text)}</S></Objs>')
    assert record.text == text


@given(st.lists(st.tuples(st.sampled_from(["raw", "error"]), ESCAPED), max_size=6), st.lists(st.integers(1, 40)))
def test_pieces_of_any_size_give_the_same(parts: list[tuple[str, str]], sizes: list[int]) -> None:
    stream, expected = BEGIN, ""
    for kind, text in parts:
        safe = text.replace("<", "(").replace("#", "+")
        stream += safe.encode() if kind == "raw" else f'<S S="Error">{as_powershell_writes(text)}</S>'.encode()
        expected += safe if kind == "raw" else Record(stream="Error", element="S", text=text).shown()
    assert shown(stream + b"</Objs>", sizes) == expected


@given(st.binary(max_size=200), st.lists(st.integers(1, 50)))
def test_anything_else_passes_as_it_is(data: bytes, sizes: list[int]) -> None:
    raw, found = taken_apart(data, sizes)
    assert (raw, found) == (data, [])


@given(st.lists(st.sampled_from([
    BEGIN, OPEN, b"</Objs>", b"#< CLIXML", b"\n", b"\r\n", b'<S S="Error">', b"</S>", b'<Obj S="progress" RefId="0">',
    b"</Obj>", b"<ToString>", b"</ToString>", b"<", b">", b"/>", b'<Nil S="Output" />', b"_x000", b"\xff", b"text",
]), max_size=25), st.lists(st.integers(1, 30)))  # fmt: skip
def test_broken_documents_break_nothing_and_pieces_do_not_matter(parts: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(parts)
    raw, found = taken_apart(stream, sizes)
    assert [record.shown() for record in found] == [record.shown() for record in taken_apart(stream)[1]]
    assert raw == taken_apart(stream)[0]


def test_decoding_is_one_pass() -> None:
    assert decoded("_x005F_x000A_") == "_x000A_"
