"""Places inside strings: the n-th character, as it is written in the file."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from aibemu.arm.nodes import Node, NodeKind
from aibemu.arm.places import Places
from aibemu.arm.reader import read
from aibemu.errors import Span


def node_at(text: str, key: str = "a") -> Node:
    root = read(text, "f").root
    assert root is not None
    node = root.find(key)
    assert node is not None
    return node


def column(text: str, offset: int) -> tuple[int, int]:
    span = Places({"f": text}).string(node_at(text)).at(offset)
    return span.line, span.column


def test_plain_text() -> None:
    assert column('{"a": "hello"}', 0) == (1, 8)
    assert column('{"a": "hello"}', 4) == (1, 12)
    assert column('{"a": "hello"}', 5) == (1, 13)


def test_escapes_take_as_much_room_as_they_are_written() -> None:
    text = '{"a": "\\"\\u00e9\\n\\ud83d\\ude00x"}'
    assert node_at(text).value == '"é\n\U0001f600x'
    assert [column(text, offset)[1] for offset in range(6)] == [8, 10, 16, 18, 30, 31]


def test_several_lines() -> None:
    text = "{\n \"a\": \"[concat(\n  'x',\n  'y')]\"\n}"
    value = str(node_at(text).value)
    assert column(text, value.index("'x'")) == (3, 3)
    assert column(text, value.index("'y'")) == (4, 3)


def test_a_byte_order_mark_is_no_column() -> None:
    assert column('\ufeff{"a": "x"}', 0) == (1, 8)


def test_what_was_computed_stands_where_its_node_says() -> None:
    places = Places({"f": '{"a": "x"}'})
    span = Span(file="f", line=1, column=7)
    assert places.string(Node(NodeKind.STRING, span, "another text")).at(5) == span
    assert places.string(Node(NodeKind.STRING, Span(file="g", line=3, column=1), "x")).at(0).line == 3


@given(st.text(max_size=30), st.booleans())
def test_every_character_is_found_again(value: str, ascii_only: bool) -> None:
    text = json.dumps({"a": value}, ensure_ascii=ascii_only)
    node = node_at(text)
    if node.value != value:
        return  # half a surrogate pair: the reader has complained
    inside = Places({"f": text}).string(node)
    spans = [inside.at(offset) for offset in range(len(value) + 1)]
    for span, char in zip(spans, [*value, '"'], strict=True):
        rest = text[span.column - 1 :]
        assert rest.startswith((char, "\\"))
    assert [span.column for span in spans] == sorted({span.column for span in spans})
