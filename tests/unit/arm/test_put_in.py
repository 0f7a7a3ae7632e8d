"""Placeholders outside quotes: what sed would make of the file, at the places of the file."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from aibemu.arm.put_in import put_in
from aibemu.arm.reader import read

TEXT = """{
  "minutes": <minutes>, // <minutes> here is left
  "regions": [ <regions> ],
  "quoted": "<minutes>", "broken": tru
}"""


def test_values_are_put_in_as_sed_does_it_and_places_stay_those_of_the_file() -> None:
    document = read(TEXT, "t.json", {"minutes": "60", "regions": '"westeurope", "northeurope"', "other": "1"})
    assert document.used == {"minutes", "regions"}
    root = document.root
    assert root is not None
    regions = root.members["regions"].value
    assert root.members["minutes"].value.value == 60
    assert [item.value for item in regions.items] == ["westeurope", "northeurope"]
    assert {str(item.span) for item in regions.items} == {"t.json:3:16"}
    assert root.members["quoted"].value.value == "<minutes>", "it is filled when the string is read"
    assert str(root.members["quoted"].value.span) == "t.json:4:13"
    (wrong,) = document.diagnostics
    assert str(wrong.span) == "t.json:4:36"


def test_a_value_that_is_no_json_is_an_error_at_its_placeholder() -> None:
    document = read(TEXT.replace(', "broken": tru', ""), "t.json", {"minutes": "6o", "regions": ""})
    assert [str(one.span) for one in document.diagnostics] == ["t.json:2:14"]


def test_without_a_value_the_hint_says_how_to_give_it() -> None:
    document = read('{"minutes": <minutes>}', "t.json")
    (wrong,) = document.diagnostics
    assert wrong.hint == 'give it a value: --set minutes=VALUE; or write "<minutes>" if it is a text'


NAMES = st.sampled_from(["a", "b-c", "D_1"])
VALUES = st.dictionaries(NAMES, st.sampled_from(["1", '"x"', "", "[1, 2]", "<a>", "1, 2"]))
PIECES = st.sampled_from(
    ['"text"', '"<a>"', '"\\"<a>"', "<a>", "<b-c>", "<D_1>", "<no>", " ", "\n", ",", "/* <a> */", "//\n"]
)


@given(st.lists(PIECES), VALUES)
def test_all_else_stays_where_it_is(pieces: list[str], values: dict[str, str]) -> None:
    text = "".join(pieces)
    filled = put_in(text, values)
    outside = re.compile(r"<(a|b-c|D_1)>")
    kept = iter(pieces)
    expected = "".join(
        piece if piece[:1] in '"/' else outside.sub(lambda m: values.get(m[1], m[0]), piece) for piece in kept
    )
    assert filled.text == expected
    for begin, end, there in filled.pieces:
        assert filled.text[begin:end] == text[there : there + end - begin]
        assert [filled.original(at) for at in range(begin, end)] == list(range(there, there + end - begin))
    assert put_in(text, {}).text == text


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_any_json_can_be_put_in(value: object) -> None:
    filled = put_in('{"a": <value>}', {"value": json.dumps(value)})
    assert json.loads(filled.text) == {"a": value}
