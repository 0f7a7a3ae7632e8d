"""Every function of the language: what Microsoft's documentation shows, and what is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.arm.expressions.errors import ExpressionError
from aibemu.arm.expressions.frame import Spot
from aibemu.arm.expressions.values import node_of
from aibemu.arm.functions import LAZY, MODULES
from aibemu.arm.functions.arrays import _intersection, _union
from aibemu.arm.functions.date_reading import read_moment
from aibemu.arm.functions.dates import format_utc
from aibemu.arm.functions.formatting import format_text
from aibemu.arm.functions.hashing import guid, murmur64, unique_string
from aibemu.arm.nodes import Node
from aibemu.errors import Span
from tests.unit.arm.evaluate.workbench import error, value

S = Span(file="-", line=1, column=1)

VALUES: list[tuple[str, Any]] = [
    # arrays and what may be one
    ("array(1)", [1]),
    ("array('efgh')", ["efgh"]),
    ("array(createArray(1))", [1]),
    ("concat('a', 'b', 1, true())", "ab1True"),
    ("concat(createArray('1-1'), createArray('2-1', '2-2'))", ["1-1", "2-1", "2-2"]),
    ("contains('OneTwoThree', 'e')", True),
    ("contains('OneTwoThree', 'E')", False),
    ("contains(createObject('One', 1), 'one')", True),
    ("contains(createArray('one', 'two'), 'one')", True),
    ("contains(createArray('one'), 'ONE')", False),
    ("createArray(1, 'a', createArray())", [1, "a", []]),
    ("distinct(createArray(1, 'a', json('1.0'), 'A', 'a'))", [1, "a", 1.0, "A"]),
    ("empty('')", True),
    ("empty(createArray())", True),
    ("empty(createObject('a', 1))", False),
    ("empty(null())", True),
    ("flatten(createArray(createArray('one', 'two'), createArray(), createArray('three')))", ["one", "two", "three"]),
    ("first(createArray('one', 'two'))", "one"),
    ("first('One')", "O"),
    ("first('')", ""),
    ("first(createArray())", None),
    ("last(createArray('one', 'two'))", "two"),
    ("last('One')", "e"),
    ("indexFromEnd(createArray('a', 'b', 'c'), 1)", "c"),
    ("tryIndexFromEnd(createArray('a'), 2)", None),
    ("indexOf('abcdef', 'CD')", 2),
    ("indexOf('abcdef', 'z')", -1),
    ("indexOf('Straße-X', 'x')", 7),
    ("indexOf(createArray('one', 'two'), 'two')", 1),
    ("lastIndexOf('abcabc', 'AB')", 3),
    ("lastIndexOf(createArray('one', 'two', 'one'), 'one')", 2),
    ("intersection(createArray('one', 'two', 'three'), createArray('two', 'three'))", ["two", "three"]),
    ("intersection(createObject('a', 1, 'b', 2), createObject('A', 1, 'b', 3))", {}),
    ("length(createArray(1, 2))", 2),
    ("length('four')", 4),
    ("length(createObject('a', 1))", 1),
    ("max(createArray(0, 3, 2))", 3),
    ("max(0, 3, 2)", 3),
    ("min(createArray(3, 2))", 2),
    ("range(5, 3)", [5, 6, 7]),
    ("range(-1, 2)", [-1, 0]),
    ("skip(createArray(1, 2, 3), 2)", [3]),
    ("skip('one two', 4)", "two"),
    ("skip('one', -1)", "one"),
    ("take(createArray(1, 2, 3), 2)", [1, 2]),
    ("take('on the', 2)", "on"),
    ("take('on', 9)", "on"),
    ("tryGet(createObject('a', createArray(1, 2)), 'A', 1)", 2),
    ("tryGet(createObject(), 'a', 'b')", None),
    ("tryGet(null(), 'a')", None),
    ("union(createArray('one', 'two'), createArray('two', 'three'))", ["one", "two", "three"]),
    ("union(createObject('a', createObject('x', 1), 'l', createArray(1)),"
     " createObject('a', createObject('y', 2), 'l', createArray(2)))", {"a": {"x": 1, "y": 2}, "l": [2]}),
    ("union(json('{\"a\": 1, \"A\": 2, \"b\": 3}'), json('{\"a\": 1, \"A\": 2, \"B\": null}'))", {"A": 2, "B": 3}),
    # objects
    ("createObject('a', 1, 'b', null())", {"a": 1, "b": None}),
    ("items(createObject('b', 1, 'a', 2))", [{"key": "a", "value": 2}, {"key": "b", "value": 1}]),
    ("null()", None),
    ("objectKeys(createObject('b', 1, 'a', 2))", ["a", "b"]),
    ("shallowMerge(createArray(createObject('a', createObject('x', 1)), createObject('A', createObject('y', 2))))",
     {"a": {"y": 2}}),
    # numbers
    ("add(5, -3)", 2),
    ("div(8, 3)", 2),
    ("div(-7, 2)", -3),
    ("float('1.5')", 1.5),
    ("float(3)", 3.0),
    ("int('4')", 4),
    ("mod(7, 3)", 1),
    ("mod(-7, 3)", -1),
    ("mul(5, 3)", 15),
    ("sub(7, 3)", 4),
    # truth
    ("and(true(), not(false()))", True),
    ("bool('True')", True),
    ("bool(0)", False),
    ("coalesce(null(), 'a')", "a"),
    ("coalesce(null())", None),
    ("equals('A', 'a')", False),
    ("equals(1, '1')", False),
    ("equals(createObject('a', 1), createObject('A', 1))", False),
    ("equals(null(), null())", True),
    ("greater(2, 1)", True),
    ("greaterOrEquals('b', 'a')", True),
    ("less(1, 1)", False),
    ("lessOrEquals(1, 1)", True),
    ("if(equals('a', 'a'), 'yes', 'no')", "yes"),
    ("or(false(), true())", True),
    # text
    ("base64('one, two, three')", "b25lLCB0d28sIHRocmVl"),
    ("base64ToString('b25lLCB0d28sIHRocmVl')", "one, two, three"),
    ("base64ToJson(base64('{\"a\": 1}'))", {"a": 1}),
    ("base64ToJson(base64('{''one'': ''a'', ''two'': ''b''}'))", {"one": "a", "two": "b"}),
    ("base64ToString('b25l\nLCB0 d28=')", "one, two"),
    ("base64ToString('//4=')", "\ufffd\ufffd"),
    ("dataUri('Hello')", "data:text/plain;charset=utf-8;base64,SGVsbG8="),
    ("dataUriToString('data:;base64,SGVsbG8sIFdvcmxkIQ==')", "Hello, World!"),
    ("dataUriToString('data:,Hello%20World')", "Hello World"),
    ("endsWith('abcdef', 'EF')", True),
    ("endsWith('aß', 's')", True),
    ("startsWith('abcdef', 'AB')", True),
    ("format('{0}, {1}. Formatted number: {2:N0}', 'Hello', 'User', 8175133)",
     "Hello, User. Formatted number: 8,175,133"),
    ("join(createArray('one', 'two'), ';')", "one;two"),
    ("json('{\"a\": [1, null]}')", {"a": [1, None]}),
    ("json('null')", None),
    ("padLeft('123', 10, '0')", "0000000123"),
    ("padLeft(7, 3)", "  7"),
    ("replace('123-123-1234', '-', '')", "1231231234"),
    ("split('one,two', ',')", ["one", "two"]),
    ("split('one;two,three', createArray(',', ';'))", ["one", "two", "three"]),
    ("string(createArray('a', createObject('b', true())))", '["a",{"b":true}]'),
    ("string(5)", "5"),
    ("string(true())", "True"),
    ("substring('one two three', 4, 3)", "two"),
    ("substring('abc', 3)", ""),
    ("toLower('ABC')", "abc"),
    ("toUpper('abc')", "ABC"),
    ("trim('  a b ')", "a b"),
    ("uri('http://contoso.org/firstpath/azuredeploy.json', 'nested/x.json')", "http://contoso.org/firstpath/nested/x.json"),
    ("uri('http://contoso.org/firstpath', 'myscript.sh')", "http://contoso.org/myscript.sh"),
    ("uri('http://contoso.org/firstpath/', '/myscript.sh')", "http://contoso.org/myscript.sh"),
    ("uri('http://contoso.org', 'x')", "http://contoso.org/x"),
    ("uri('https://contoso.org/a/b/main.json', '../c/x.json')", "https://contoso.org/a/c/x.json"),
    ("uri('https://contoso.org/a/main.json?sig=x/y', 'n.json')", "https://contoso.org/a/n.json"),
    ("uri('https://contoso.org/a/main.json', 'https://other.org/x')", "https://other.org/x"),
    ("buildUri(createObject('scheme', 'HTTPS', 'host', 'a.b', 'port', 8080, 'path', 'c d'))", "https://a.b:8080/c d"),
    ("parseUri('https://a.b:8080/c?d=1#f')",
     {"scheme": "https", "host": "a.b", "port": 8080, "path": "/c", "query": "?d=1"}),
    ("uriComponent('http://contoso.com/a b~')", "http%3A%2F%2Fcontoso.com%2Fa%20b~"),
    ("uriComponentToString('http%3A%2F%2Fcontoso.com')", "http://contoso.com"),
    # hashes: documented, and the vectors of others
    ("uniqueString('tyeth')", "zcztcwvu6iyg6"),
    ("uniqueString('hello', 'world')", "a7wkljktk6wne"),
    ("guid('a', 'b')", guid("a", "b")),
    # dates
    ("dateTimeAdd('2020-04-07 14:53:14Z', 'P3Y')", "2023-04-07T14:53:14Z"),
    ("dateTimeAdd('2020-04-07 14:53:14Z', '-P9D')", "2020-03-29T14:53:14Z"),
    ("dateTimeAdd('2020-04-07 14:53:14Z', 'PT1H', 'yyyy-MM-ddTHH:mm:ssZ')", "2020-04-07T15:53:14Z"),
    ("dateTimeAdd('2024-01-31T00:00:00Z', 'P1M', 'yyyy-MM-dd')", "2024-03-01"),
    ("dateTimeAdd('2024-01-01T00:00:00Z', 'P1Y', 'yyyy-MM-dd')", "2024-12-31"),
    ("dateTimeFromEpoch(1683040573)", "2023-05-02T15:16:13Z"),
    ("dateTimeToEpoch('2023-05-02T15:16:13Z')", 1683040573),
    # ranges of addresses
    ("cidrSubnet('10.144.0.0/20', 24, 0)", "10.144.0.0/24"),
    ("cidrSubnet('10.144.0.0/20', 24, 15)", "10.144.15.0/24"),
    ("cidrHost('10.144.3.0/24', 0)", "10.144.3.1"),
    ("parseCidr('10.144.0.0/20')", {
        "network": "10.144.0.0", "netmask": "255.255.240.0", "broadcast": "10.144.15.255",
        "firstUsable": "10.144.0.1", "lastUsable": "10.144.15.254", "cidr": 20,
    }),
    ("cidrSubnet('fd00::/48', 64, 2)", "fd00:0:0:2::/64"),
    # lambdas
    ("filter(range(0, 4), lambda('i', greater(lambdaVariables('i'), 1)))", [2, 3]),
    ("filter(createArray('a', 'b'), lambda('v', 'i', equals(lambdaVariables('i'), 1)))", ["b"]),
    ("map(createArray('a', 'b'), lambda('x', 'i', format('{0}{1}', lambdaVariables('x'), lambdaVariables('i'))))",
     ["a0", "b1"]),
    ("mapValues(createObject('a', 'x'), lambda('v', toUpper(lambdaVariables('v'))))", {"a": "X"}),
    ("reduce(range(1, 3), 10, lambda('cur', 'next', add(lambdaVariables('cur'), lambdaVariables('next'))))", 16),
    ("sort(createArray(3, 1, 2), lambda('a', 'b', less(lambdaVariables('a'), lambdaVariables('b'))))", [1, 2, 3]),
    ("toObject(createArray('a', 'b'), lambda('x', lambdaVariables('x')), lambda('x', 1))", {"a": 1, "b": 1}),
    ("toObject(createArray('a'), lambda('x', toUpper(lambdaVariables('x'))))", {"A": "a"}),
    ("groupBy(createArray('foo', 'bar', 'baz'), lambda('x', substring(lambdaVariables('x'), 0, 1)))",
     {"f": ["foo"], "b": ["bar", "baz"]}),
    ("map(createArray('a'), lambda('x', map(createArray('b'), lambda('y', concat(lambdaVariables('x'),"
     " lambdaVariables('y'))))))", [["ab"]]),
]  # fmt: skip

ERRORS: list[tuple[str, str]] = [
    ("array()", "takes 1 argument, not 0"),
    ("concat('a', createArray())", "concat joins text, or arrays"),
    ("contains(1, 2)", "an array and a value"),
    ("empty(1)", "takes an array"),
    ("first(1)", "argument 1"),
    ("last(createObject())", "argument 1"),
    ("indexFromEnd(createArray(1), 2)", "no item 2 from the end"),
    ("tryIndexFromEnd(createArray(1), 2147483648)", "32 bits"),
    ("indexOf(1, 2)", "argument 1"),
    ("lastIndexOf(1, 2)", "argument 1"),
    ("intersection(createArray(), createObject())", "not both"),
    ("length(1)", "argument 1"),
    ("max()", "at least 1"),
    ("max('a')", "takes numbers"),
    ("max(createArray('a'))", "takes numbers"),
    ("min(createArray())", "this one is empty"),
    ("range(0, 10001)", "0 to 10000"),
    ("skip('a', 'b')", "a whole number as argument 2"),
    ("take(1, 1)", "argument 1"),
    ("tryGet(createObject())", "at least 2"),
    ("union(createArray(), createObject())", "not both"),
    ("createObject('a')", "the last key has no value"),
    ("createObject(1, 2)", "text as a key"),
    ("items(createArray())", "an object as argument 1"),
    ("null(1)", "takes no arguments, not 1"),
    ("objectKeys('a')", "an object"),
    ("shallowMerge(createArray(1))", "an array of objects"),
    ("add('1', 2)", "a whole number as argument 1, not text"),
    ("add(9223372036854775807, 1)", "64 bits"),
    ("div(1, 0)", "division by zero"),
    ("mod(1, 0)", "division by zero"),
    ("float('x')", "not a number"),
    ("int('1.5')", "not a whole number"),
    ("int('1_000')", "not a whole number"),
    ("int(json('1e300'))", "a whole number or text as argument 1"),
    ("float('1_0')", "not a number"),
    ("flatten(createArray(createArray(1), 2))", "an array of arrays, not of a whole number"),
    ("mul(9223372036854775807, 2)", "64 bits"),
    ("sub(1)", "takes 2 arguments, not 1"),
    ("bool('yes')", "neither true nor false"),
    ("equals(1)", "takes 2"),
    ("true(1)", "takes no"),
    ("false(1)", "takes no"),
    ("greater(1, 'a')", "two numbers or two texts"),
    ("greaterOrEquals(true(), false())", "two numbers or two texts"),
    ("less(1)", "takes 2"),
    ("lessOrEquals(null(), 1)", "two numbers or two texts"),
    ("not('a')", "true or false"),
    ("if('x', 1, 2)", "true or false here"),
    ("and(true())", "at least 2"),
    ("or(1, 2)", "true or false here"),
    ("coalesce(nope())", "no function 'nope'"),
    ("distinct(1)", "an array"),
    ("buildUri(createObject())", "given no scheme"),
    ("parseUri('a')", "no URI"),
    ("lambda('x', 1)", "can only be an argument"),
    ("base64(1)", "text"),
    ("base64ToString('?')", "not base64"),
    ("base64ToJson('aGk=')", "not JSON"),
    ("dataUri()", "takes 1"),
    ("dataUriToString('x')", "not a data URI"),
    ("endsWith('a')", "takes 2"),
    ("startsWith(1, 'a')", "text"),
    ("fail('because')", "because"),
    ("format('{1}', 'a')", "no value for {1}"),
    ("format('{', 'a')", "no other half"),
    ("format('{0:q9}', 1)", "is no format for a whole number"),
    ("join('a', 'b')", "an array"),
    ("json('{')", "not JSON"),
    ("json('[1 2]')", "not JSON"),
    ("uri('http://[', 'x')", "is no address"),
    ("padLeft('a', 2, 'xy')", "one character"),
    ("padLeft('a', 17)", "1 to 16 characters, not of 17"),
    ("replace('a', '', 'b')", "no text to look for"),
    ("split(1, ',')", "text"),
    ("string()", "takes 1"),
    ("substring('abc', 2, 2)", "has no 2 characters from place 2"),
    ("substring('abc', -1)", "has no place -1"),
    ("toLower(1)", "text"),
    ("toUpper()", "takes 1"),
    ("trim(1)", "text"),
    ("uri('a')", "takes 2"),
    ("uriComponent(1)", "text"),
    ("uriComponentToString(1)", "text"),
    ("uniqueString()", "at least 1"),
    ("guid(createArray())", "argument 1"),
    ("dateTimeAdd('x', 'P1D')", "not a date"),
    ("dateTimeAdd('2020-01-01', 'P')", "not a duration"),
    ("dateTimeAdd('2020-01-01', 'P9999Y')", "no date between"),
    ("dateTimeFromEpoch('x')", "a whole number"),
    ("dateTimeFromEpoch(99999999999999)", "no date between"),
    ("dateTimeToEpoch('x')", "not a date"),
    ("cidrSubnet('10.0.0.0/24', 20, 0)", "does not fit"),
    ("cidrSubnet('10.0.0.0/24', 25, 2)", "there is no 2"),
    ("cidrHost('10.0.0.0/30', 2)", "no host 2"),
    ("parseCidr('x')", "not a range of addresses"),
    ("filter(createArray(1), lambda('x', 1))", "must give true or false"),
    ("filter(createArray(1), 1)", "a lambda as argument 2"),
    ("map(1, lambda('x', 1))", "an array"),
    ("map(createArray(1), lambda('x', nope()))", "no function 'nope'"),
    ("mapValues(1, lambda('x', 1))", "an object"),
    ("reduce(createArray(1), 0)", "takes 3"),
    ("sort(createArray(1, 2), lambda('a', 'b', 'x'))", "must give true or false"),
    ("toObject(createArray(1), lambda('x', 1))", "must give text"),
    ("groupBy(createArray(1), lambda('x', 1))", "must give text"),
    ("lambdaVariables('x')", "no lambda variable 'x'"),
    ("concat(lambda('x', 1))", "does not take a lambda"),
    ("map(createArray(1), lambda(1, 2))", "takes the names of its variables"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "expected"), VALUES, ids=[call[:60] for call, _ in VALUES])
def test_values(call: str, expected: Any) -> None:
    found = value(f"[{call}]")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(("call", "words"), ERRORS, ids=[call[:60] for call, _ in ERRORS])
def test_refusals(call: str, words: str) -> None:
    found = error(f"[{call}]")
    assert words in found.message
    assert found.id in {"X02", "X03", "X04"}


def test_every_function_has_a_case_of_either_kind() -> None:
    elsewhere = {"scopes", "resources", "azure"}  # tests/unit/template/evaluate
    tables = [import_module(f"aibemu.arm.functions.{name}").TABLE for name in MODULES if name not in elsewhere]
    names = {entry.name for table in tables for entry in table} | set(LAZY)
    for cases in (VALUES, ERRORS):
        used = {name for call, _ in cases for name in re.findall(r"(\w+)\(", call)}
        assert names - used - {"createArray", "fail"} == set()


@pytest.mark.parametrize(
    ("texts", "hash_"),
    [
        (("fu",), "6rkxbspxjmsho"),
        (("fubar",), "cj2xpqsiwjfne"),
        (("fu", "bar"), "q5wxoscxs5j6k"),
        (("/subscriptions/00000000-0000-0000-0000-000000000000", "resource-id"), "cwvxuqg24sifi"),
    ],
)
def test_unique_strings_of_others(texts: tuple[str, ...], hash_: str) -> None:
    assert unique_string(*texts) == hash_


def test_the_hash_itself() -> None:
    assert murmur64(b"hello-world") == 571013382255652050


@given(st.lists(st.text(max_size=20), min_size=1, max_size=3))
def test_unique_strings_look_like_some(texts: list[str]) -> None:
    assert re.fullmatch(r"[a-z2-7]{13}", unique_string(*texts))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("yyyyMMddTHHmmssZ", "20260102T150405Z"),
        ("yyyy-MM-dd-HH-mm-ss", "2026-01-02-15-04-05"),
        ("d", "01/02/2026"),
        ("D", "Friday, 02 January 2026"),
        ("G", "01/02/2026 15:04:05"),
        ("o", "2026-01-02T15:04:05.0607080Z"),
        ("R", "Fri, 02 Jan 2026 15:04:05 GMT"),
        ("u", "2026-01-02 15:04:05Z"),
        ("yy.M.d", "26.1.2"),
        ("ddd MMM", "Fri Jan"),
        ("h:mm tt", "3:04 PM"),
        ("'T'fff", "T060"),
        (r"\d%d", "d2"),
    ],
)
def test_date_patterns(pattern: str, text: str) -> None:
    assert format_utc(datetime(2026, 1, 2, 15, 4, 5, 60708, tzinfo=UTC), pattern) == text


def test_an_unknown_standard_pattern() -> None:
    with pytest.raises(ExpressionError, match="no date pattern"):
        format_utc(datetime(2026, 1, 2, tzinfo=UTC), "x")


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), st.sampled_from("uGosRD"))
def test_dates_are_read_as_they_are_written(moment: datetime, pattern: str) -> None:
    moment = moment.replace(microsecond=0)
    if pattern == "D":
        moment = moment.replace(hour=0, minute=0, second=0)
    assert read_moment(format_utc(moment.replace(tzinfo=UTC), pattern)).utc.local == moment


@pytest.mark.parametrize(
    ("pattern", "values", "text"),
    [
        ("{0:D3}", [7], "007"),
        ("{0:00}", [7], "07"),
        ("{0:000}", [-7], "-007"),
        ("{0:X4}", [255], "00FF"),
        ("{0:x}", [255], "ff"),
        ("{0:N}", [1234.5], "1,234.50"),
        ("{0:F1}", [1.25], "1.2"),
        ("{0:0}", [2.5], "3"),
        ("{0:N0}", [-2.5], "-2"),
        ("{0:E2}", [10**400], "1.00E+400"),
        ("{0:P1}", [0.0125], "1.3 %"),
        ("{0:N0}", [10**18], "1,000,000,000,000,000,000"),
        ("{0:#,##0}", [1234567], "1,234,567"),
        ("{0:0.##}", [1.5], "1.5"),
        ("{0:0.00}", [1.5], "1.50"),
        ("{0:P0}", [0.25], "25 %"),
        ("[{0,5}|{0,-5}]", ["ab"], "[   ab|ab   ]"),
        ("{{{0}}}", ["a"], "{a}"),
        ("{0}{1}", [True, None], "True"),
        ("{0}", [{"a": [1]}], "{'a':[1]}"),
        ("{0:yyyy}", ["2026-05-06T00:00:00Z"], "2026-05-06T00:00:00Z"),
    ],
)
def test_format(pattern: str, values: list[Any], text: str) -> None:
    assert format_text(pattern, [node_of(item, S) for item in values]) == text


@given(
    st.text(alphabet="{}0123:,-DNX.# ab", max_size=20), st.integers() | st.text(max_size=5) | st.floats(allow_nan=False)
)
def test_format_gives_text_or_says_what_is_wrong(pattern: str, item: Any) -> None:
    try:
        assert isinstance(format_text(pattern, [node_of(item, S)]), str)
    except (ExpressionError, OverflowError) as caught:
        assert isinstance(caught, ExpressionError)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abAB", max_size=2), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text("abc", min_size=1, max_size=2), json_values, max_size=4)


def plain(found: Any) -> Any:
    return found.plain() if isinstance(found, Node) else [item.plain() for item in found]


@given(objects, objects)
def test_union_of_objects(left: dict[str, Any], right: dict[str, Any]) -> None:
    merged = plain(_union(node_of(left, S), node_of(right, S)))
    assert list(merged)[: len(left)] == list(left)
    assert set(merged) == set(left) | set(right)
    assert all(
        merged[key] == right[key] for key in right if right[key] is not None and not isinstance(right[key], dict)
    )


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_union_and_intersection_of_arrays(left: list[int], right: list[int]) -> None:
    assert plain(_union(node_of(left, S), node_of(right, S))) == list(dict.fromkeys(left + right))
    common = [item for item in dict.fromkeys(left) if item in right]
    assert plain(_intersection(node_of(left, S), node_of(right, S))) == common


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_round_trips(text: str) -> None:
    quoted = text.replace("'", "''")
    assert value(f"[base64ToString(base64('{quoted}'))]") == text
    assert value(f"[uriComponentToString(uriComponent('{quoted}'))]") == text


def test_what_is_not_known_goes_through_what_only_passes_it_on() -> None:
    template = {"variables": {"bad": "[nope()]"}}
    assert error("[createObject('a', variables('bad'))]", template, Spot.OUTPUT).id == "X02"
