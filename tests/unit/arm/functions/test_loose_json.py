"""json() takes what ARM's reader takes, which is more than JSON; strings keep what looks like syntax."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.arm.expressions.errors import ExpressionError
from aibemu.arm.functions.json_text import from_json


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{'a': 'b'}", {"a": "b"}),
        ("{a: 1, $b_2 : [true]}", {"a": 1, "$b_2": [True]}),
        ('{"a": [1, 2, ], }', {"a": [1, 2]}),
        ("[1,,010, 0x1F, .5, undefined", [1, None, 8, 31, 0.5, None]),
        ('/* one */ {"a": 1 // two\n}', {"a": 1}),
        ('{"a": "x\n\ty"}', {"a": "x\n\ty"}),
        (r"{'a': 'it\'s \"so\" and " + '"so"' + r" \n'}", {"a": 'it\'s "so" and "so" \n'}),
        ("{'u': 'https://x/y,}'}", {"u": "https://x/y,}"}),
        ("{'a': \"it's // no /* comment */, ]\"}", {"a": "it's // no /* comment */, ]"}),
    ],
)
def test_loose_json(text: str, expected: Any) -> None:
    assert from_json(text) == expected


@pytest.mark.parametrize("text", ["", "{", "{'a'}", "'", "{a b: 1}", "abc", "{" * 100_000])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(ExpressionError, match="not JSON"):
        from_json(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_json_is_read_as_python_reads_it(value: Any) -> None:
    assert from_json(json.dumps(value)) == value


@given(st.text(alphabet="{}[]'\",:/*\\ab1\n ", max_size=30))
def test_loose_json_gives_a_value_or_says_what_is_wrong(text: str) -> None:
    try:
        from_json(text)
    except ExpressionError as caught:
        assert "not JSON" in caught.message


@pytest.mark.parametrize(
    "text", ["{a" + " //" * 200 + "\nx", "{a" + "/**/" * 200 + "!", "{" + "a" * 50_000, "[" + '"' * 2001]
)
def test_odd_text_takes_no_time(text: str) -> None:
    """Each took minutes, or quadratic time, with an expression that can be matched in more ways than one."""
    with pytest.raises(ExpressionError, match="not JSON"):
        from_json(text)
