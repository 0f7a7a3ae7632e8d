"""The reader of files that may be damaged: a value with bounds, or an error with the file's name; it never waits."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.errors import UsageError
from aibemu.records import (
    DamagedFile,
    DamagedRecordWarning,
    parse_json,
    read_bytes,
    read_json,
    read_record,
    read_records,
    text_of,
)
from aibemu.yaml_places import compose, load, read_text

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda below: st.lists(below) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), below),
)  # fmt: skip


@given(plain)
def test_what_json_can_hold_comes_back(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
def test_bytes_are_a_value_or_a_value_error(content: bytes) -> None:
    try:
        parse_json(content)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"), (b"  \n", "it is empty"), (b"{", "it is not JSON"), (b"\xff", "it is not text"),
        (b"[" * 10**6, "nested too deeply"), (b'{"a":' * 10**5, "nested too deeply"), (b"NaN", "NaN is no number"),
        (b'[-Infinity]', "is no number"), (b"9" * 5000, "too large"), (b"[1e999]", "too large"),
        (b'{"a": 1, "a": 2}', "'a' is there twice"), (b'"\\ud800"', "it is not text"),
    ],
)  # fmt: skip
def test_what_python_lets_through_is_damage_too(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=why) as caught:
        read_json(path)
    assert str(path) in caught.value.message and caught.value.hint and caught.value.exit_code == 4


def test_another_kind_of_thing_in_the_place_of_a_file_is_damage_and_nobody_waits_for_it(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("folder", "fifo", "loop", "file", "x" * 300)]
    paths[0].mkdir()
    os.mkfifo(paths[1])
    paths[2].symlink_to("loop")
    paths[3].touch()
    paths[3] /= "below"
    kinds = ["it is a folder, not a file", "it is a pipe, not a file", *3 * ["it is no file"], "it is a device, not a"]
    for path, words in zip((*paths, Path("/dev/zero")), kinds, strict=True):
        with pytest.raises(DamagedFile, match=words):
            read_bytes(path)
    assert read_bytes(tmp_path / "nothing") is None


def test_no_more_is_read_than_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(DamagedFile, match="it has 1 TiB, more than the 16 MiB that are read at most"):
        read_json(path)


def test_a_damaged_record_costs_that_record_and_is_told_once(tmp_path: Path) -> None:
    for name, content in (
        ("a", '{"name": "a"}'),
        ("b", '{"name": 7}'),
        ("c", "null"),
        ("d", "{"),
        ("e", '{"name": "e"}'),
    ):
        (tmp_path / f"{name}.json").write_text(content)
    (tmp_path / "d.json.damaged").touch()

    def read() -> list[str]:
        paths = sorted(tmp_path.glob("*.json"))
        return read_records(paths, lambda path: read_record(path, lambda value: text_of(value, "name")))

    with pytest.warns(DamagedRecordWarning) as told:
        assert read() == ["a", "e"]
    said = [str(warning.message) for warning in told]
    assert len(said) == 3 and all("was damaged: " in text for text in said)
    assert "name must be a text, not '7'" in said[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read() == ["a", "e"]
    assert (tmp_path / "d.json.damaged-2").read_text() == "{"


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "more than 100000 values"), ("a: &a [*a]\n", "holds itself"), ("a: 1\na: 2\n", "'a' is there twice"),
        ("[" * 20_000, "not YAML"), ("a: 2020-99-99\n", "not YAML"), ("a: " + "9" * 6000, "not YAML"),
        ("a: [", "not YAML"), (f"a: [{'b,' * 32_000}]", "more than 20000 values"),
    ],
)  # fmt: skip
def test_yaml_has_bounds(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        load(text, "f.yaml", what="it")


def test_yaml_that_is_right_comes_back() -> None:
    assert load("a: &x [1, 2]\nb: *x\nc: 2020-01-01\n", "f", what="it")["b"] == [1, 2]
    assert load("", "f", what="it") is None and compose("", "f", what="it") is None


def test_a_yaml_file_is_read_as_text_or_named(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    assert read_text(path, what="the file") is None
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_text(path, what="the file") == "a: 1\n"
    for content in (b"\xff\xfe", b" " * (2 << 20)):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=f"the file {path} cannot be read: "):
            read_text(path, what="the file")
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match="it is a folder, not a file"):
        read_text(path, what="the file")
