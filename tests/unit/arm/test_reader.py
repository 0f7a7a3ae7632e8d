from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibemu.arm.nodes import Node, NodeKind
from aibemu.arm.reader import MAX_DEPTH, MAX_ERRORS, Document, read

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def found(text: str) -> list[str]:
    return [f"{d.span.line}:{d.span.column} {d.id}" for d in read(text, "t.json").diagnostics]


def messages(text: str) -> str:
    return "\n".join(d.message for d in read(text, "t.json").diagnostics)


def root(text: str) -> Node:
    document = read(text, "t.json")
    assert document.root is not None
    assert not document.diagnostics
    return document.root


@given(VALUES, st.sampled_from([None, 0, 2]), st.booleans())
@settings(deadline=None)
def test_reads_whatever_json_writes(value: Any, indent: int | None, ascii_: bool) -> None:
    assert root(json.dumps(value, indent=indent, ensure_ascii=ascii_)).plain() == value


@given(st.text(alphabet="{}[]:,\"\\/*ab1 -\n\r\t<>'u0dtrue\ufeff\u2028"))
@settings(max_examples=400, deadline=None)
def test_any_text_is_read_to_an_end_with_places_inside_it(text: str) -> None:
    document = read(text, "t.json")

    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert document.root is not None or document.diagnostics
    for diagnostic in document.diagnostics:
        assert 1 <= diagnostic.span.line <= len(lines)
        assert 1 <= diagnostic.span.column <= len(lines[diagnostic.span.line - 1]) + 1


@given(st.text())
@settings(deadline=None)
def test_what_it_takes_without_complaint_is_json(text: str) -> None:
    document = read(text, "t.json")
    if not document.diagnostics and document.comment is None and document.root is not None:
        assert document.root.plain() == json.loads(text.removeprefix("\ufeff"))


def test_every_value_and_key_knows_its_place() -> None:
    node = root('{\n  "a": [1,\r\n\t"b"],\r  "c": null}')

    assert (node.span.line, node.span.column) == (1, 1)
    assert (node.members["a"].key_span.line, node.members["a"].key_span.column) == (2, 3)
    assert [(item.span.line, item.span.column) for item in node.members["a"].value.items] == [(2, 9), (3, 2)]
    assert (node.members["c"].key_span.line, node.members["c"].key_span.column) == (4, 3)
    assert node.span.file == "t.json"


def test_a_byte_order_mark_is_no_column() -> None:
    assert root('\ufeff{"a": 1}').members["a"].key_span.column == 2


def test_comments_are_passed_over_and_the_first_one_is_known() -> None:
    document = read('{ "a": "// no", /* b\n */ "c": 1 } // end', "t.json")

    assert document.root is not None
    assert document.root.plain() == {"a": "// no", "c": 1}
    assert document.comment is not None
    assert (document.comment.line, document.comment.column) == (1, 17)


def test_a_comment_that_never_ends_is_an_error_at_its_begin() -> None:
    assert found('{"a": 1} /* b')[0] == "1:10 J01"


def test_trailing_commas_are_called_that_and_reading_goes_on() -> None:
    document = read('{"a": [1, 2,], "b": {"c": 3,},}', "t.json")

    assert document.root is not None
    assert document.root.plain() == {"a": [1, 2], "b": {"c": 3}}
    assert [d.message for d in document.diagnostics] == [
        "trailing comma before `]`", "trailing comma before `}`", "trailing comma before `}`",
    ]  # fmt: skip
    assert [d.span.column for d in document.diagnostics] == [12, 28, 30]
    assert document.reliable


def test_duplicate_keys_are_reported_and_the_last_counts() -> None:
    document = read('{"a": 1,\n "a": 2}', "t.json")

    assert document.root is not None
    assert document.root.plain() == {"a": 2}
    assert "first in line 1" in document.diagnostics[0].message
    assert found('{"a": 1,\n "a": 2}') == ["2:2 J03"]


def test_all_slips_come_at_once() -> None:
    text = '{\n "a": True,\n "b" 1\n "c": <x>,\n \'d\': .5,,\n}'
    assert found(text) == ["2:7 J01", "3:5 J01", "3:7 J01", "4:7 J01", "5:2 J01", "5:7 J01", "5:9 W09", "5:10 J01"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("// only a comment", "the file is empty"),
        ('{"a": }', "a value is missing here, before `}`"),
        ('{"a"', "a `:` is missing"),
        ('{"a": 1 "b": 2}', "a comma is missing here"),
        ("[1,,2]", "one comma too many"),
        ("[1] x", "text after the end"),
        ("[1]]", "text after the end"),
        ("[1}", "closes nothing"),
        ('{"a": [1}', "this `[` is not closed before the `}` in line 1"),
        ('{"a": [1]', "this `{` is never closed"),
        ('["a]', "this string is not closed on its line"),
        ("[“a”]", "not in straight double quotes"),
        ("[None]", "`None` is not JSON"),
        ("[undefined]", "`undefined` is not a JSON value"),
        ("[01]", "`01` is not a JSON value"),
        ("[+1]", "`+1` is not a JSON value"),
        ("[NaN]", "`NaN` is not a JSON value"),
        ("[1e999]", "too large"),
        (f"[{'9' * 5000}]", "too large"),
        ("[1:2]", "a `:` in an array"),
        ("{[1]: 2}", "a key is missing here"),
        ("[\xa01]", "the invisible character U+00A0"),
        (r'["\d"]', r"`\d` is not an escape"),
        (r'["\u12"]', r"`\u` is not an escape"),
        (r'["\ud83d"]', "half of a character"),
        (r'["\ud83d\u0041"]', "half of a character"),
        ('["\x07"]', "control character U+0007"),
    ],
)
def test_slips_are_named_as_what_they_are(text: str, words: str) -> None:
    assert words in messages(text)


def test_an_unclosed_string_is_one_finding_not_five() -> None:
    assert found('{\n "a": ["b],\n "c": 1\n}') == ["2:8 J01"]


def test_escapes_are_decoded() -> None:
    assert root(r'"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"').value == '"\\/\b\f\n\r\té😀'


def test_shape_is_not_trusted_after_unmatched_brackets() -> None:
    def reliable(text: str) -> bool:
        return read(text, "t.json").reliable

    assert not reliable('{"a": [1}')
    assert not reliable('["a')
    assert reliable('{"a": 1 "b": <x>}')


def test_deep_nesting_is_a_finding() -> None:
    for text in ("[" * 100_000, '{"a":' * 100_000, "[{" * 50_000 + '"' + "}]" * 50_000):
        document: Document = read(text, "t.json")
        # `[{[` lacks a key: that is said first.
        assert document.diagnostics[-1].id in ("J04", "J01")
        assert not document.reliable
    ok = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert read(ok, "t.json").diagnostics == ()
    assert [d.id for d in read(f"[{ok}]", "t.json").diagnostics] == ["J04"]


def test_reading_does_not_eat_the_stack_of_its_caller() -> None:
    def deeper(levels: int) -> Document:
        return deeper(levels - 1) if levels else read("[" * MAX_DEPTH + "]" * MAX_DEPTH, "t.json")

    assert deeper(sys.getrecursionlimit() // 3).diagnostics == ()


def test_errors_are_bounded() -> None:
    assert len(read("[" + "x " * 10_000 + "]", "t.json").diagnostics) == MAX_ERRORS


def test_numbers_keep_their_type() -> None:
    values = root("[1, -0, 1.0, 1e2, 123456789012345678901234567890]").plain()
    assert values == [1, 0, 1.0, 100.0, 123456789012345678901234567890]
    assert [type(value) for value in values] == [int, int, float, float, int]
    assert root("[true]").items[0].kind is NodeKind.BOOLEAN


def test_an_expression_may_go_over_several_lines() -> None:
    document = read('{"a": "[concat(\n  \'x\\"\',\n  \'y\')]",\n "b": 1}', "f")
    assert [(d.id, d.severity.value) for d in document.diagnostics] == [("W09", "warning")]
    assert document.root is not None
    assert document.root.plain() == {"a": "[concat(\n  'x\"',\n  'y')]", "b": 1}


def test_text_may_go_over_several_lines() -> None:
    document = read('{"a": "one\n two\\n",\n "b": ["x\r\ny"]}', "f")
    assert [(d.id, d.severity.value) for d in document.diagnostics] == [("W09", "warning"), ("W09", "warning")]
    assert document.root is not None
    assert document.root.plain() == {"a": "one\n two\n", "b": ["x\r\ny"]}


@pytest.mark.parametrize("text", ['{"a": "[x\n]}', '{"a": "text\nmore,\n "b": "]"}', '{"a": "[x,\n "b": "]", "c": 1}'])
def test_a_forgotten_quote_is_no_expression_over_several_lines(text: str) -> None:
    assert any("not closed" in d.message for d in read(text, "f").diagnostics)
