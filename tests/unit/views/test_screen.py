"""The one door for foreign text: nothing gets through that commands a terminal, or in a pipeline a CI system."""

from __future__ import annotations

import io
import json
import re
import time
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.reports.annotations import command
from aibemu.text import clean_json, defused, painted
from aibemu.views.screen import LONGEST, PassedOn, Screen, in_pipeline
from tests.runners import COMMANDS, HIDDEN, disguises, taken

# Text that is made of what commands are made of.
PIECES = st.lists(
    st.sampled_from(
        ["#", "##", ":", "::", "[", "]", "vso", "VSO", "ſ", "error", " ", "\t", "\r", "\n", "é", "\ud800", *HIDDEN]
    )
).map("".join)
FOREIGN = PIECES | st.text() | st.sampled_from([text for one in COMMANDS for text in disguises(one)])
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f]")


def through(text: str, *, color: bool = False, pipeline: bool = True) -> str:
    stream = io.StringIO()
    Screen(stream=stream, color=color, pipeline=pipeline).line(text)
    return stream.getvalue()


@given(FOREIGN)
def test_nothing_commands_a_terminal_or_a_runner(text: str) -> None:
    shown = through(text)
    assert shown.endswith("\n") and shown.count("\n") == 1
    assert not CONTROLS.search(shown) and taken(shown) == []


@given(st.lists(FOREIGN, max_size=4))
def test_nor_do_several_lines_or_coloured_parts(texts: list[str]) -> None:
    line = painted(*((text, "31;1") if number % 2 else text for number, text in enumerate(texts)))
    shown = through(line, color=True)
    assert taken(shown) == [] and not CONTROLS.search(re.sub(r"\x1b\[31;1m|\x1b\[0m", "", shown))
    stream = io.StringIO()
    Screen(stream=stream, pipeline=True).lines("\n".join(texts))
    assert taken(stream.getvalue()) == [] and not CONTROLS.search(stream.getvalue())


def test_each_known_command_is_one_until_it_passes() -> None:
    """The test's own rule sees what the door has to stop."""
    assert all(taken(one) for one in COMMANDS)
    everything = [text for one in COMMANDS for text in disguises(one)]
    assert len(everything) > 500 and sum(bool(taken(text)) for text in everything) > 500


def test_only_in_a_pipeline_is_text_changed_that_a_terminal_does_not_obey() -> None:
    for text in ("##[group]x", "::1 localhost", "##vso[a.b]", "a\tb"):
        assert through(text, pipeline=False) == f"{text}\n"
    assert through("## Setup :: x ##") == "## Setup :: x ##\n"
    assert through("x ##vso[a.b]y") == "x # #vso[a.b]y\n"
    assert through(" ::error::x") == " : :error::x\n"


@pytest.mark.parametrize("name", ["CI", "TF_BUILD", "GITHUB_ACTIONS"])
def test_what_says_that_it_is_a_pipeline(name: str) -> None:
    assert in_pipeline({name: "True"}) and not in_pipeline({name: "", "HOME": "/"})


def test_colours_are_aibemus_own() -> None:
    line = painted(("error:", "31;1"), " \x1b[32mgreen\x1b[0m")
    assert through(line, color=True, pipeline=False) == "\x1b[31;1merror:\x1b[0m green\n"
    assert through(line, color=False, pipeline=False) == "error: green\n"
    assert through(line + "", color=True, pipeline=False) == "error: green\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_the_locale_cannot_show_is_no_error(encoding: str) -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding) as stream:
        Screen(stream=stream, pipeline=True).line("a☃\udcfc#\udcfc#[x]")
        stream.flush()
        assert taken(raw.getvalue().decode(encoding)) == []


def test_without_a_stream_nothing_is_written() -> None:
    screen = Screen(stream=None)
    screen.line("x")
    screen.flush()


# JSON, XML, annotations


@given(st.dictionaries(FOREIGN, FOREIGN | st.lists(FOREIGN, max_size=2), max_size=3), st.sampled_from([None, 1]))
def test_json_means_the_same_and_commands_nobody(value: object, indent: int | None) -> None:
    for ascii_only in (True, False):
        shown = clean_json(json.dumps(value, indent=indent, ensure_ascii=ascii_only))
        assert json.loads(shown) == value
        assert taken(shown) == [] and not CONTROLS.search(shown)


@given(FOREIGN)
def test_xml_means_the_same_and_commands_nobody(text: str) -> None:
    told = re.sub("[^\t\n\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)
    root = ElementTree.Element("a", b=told)
    root.text = f"\n{told}"
    stream = io.StringIO()
    for line in ElementTree.tostring(root, encoding="us-ascii").decode().split("\n"):
        Screen(stream=stream).xml(line)
    read = ElementTree.fromstring(stream.getvalue())
    assert (read.text, read.get("b")) == (f"\n{told}", told)
    assert taken(stream.getvalue()) == []


@given(FOREIGN, FOREIGN)
def test_an_annotation_is_the_only_command_of_its_line(message: str, file: str) -> None:
    stream = io.StringIO()
    Screen(stream=stream, pipeline=True).command(command("error", message, file=file, line=3))
    head, _, data = stream.getvalue().removeprefix("::").partition("::")
    assert head.startswith("error file=") and head.endswith(",line=3") and "::" not in head
    assert taken(f"{head}|{data}") == [] and stream.getvalue().count("\n") == 1
    assert not CONTROLS.search(stream.getvalue())


# Bytes that are passed on


@given(st.lists(FOREIGN, max_size=6), st.integers(1, 7))
def test_bytes_pass_as_they_are_but_commands(texts: list[str], size: int) -> None:
    data = "\n".join(texts).encode("utf-8", "surrogatepass")
    out = bytearray()
    passed = PassedOn(out.extend)
    for at in range(0, len(data), size):
        passed.feed(data[at : at + size])
    passed.close()
    assert taken(out.decode("utf-8", "replace")) == []
    assert not out or out.endswith(b"\n")
    plain = data if not data or data.endswith(b"\n") else data + b"\n"
    if defused(plain.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape") == plain:
        assert bytes(out) == plain


def test_half_a_command_waits_for_the_other_half() -> None:
    out: list[bytes] = []
    passed = PassedOn(out.append)
    passed.feed(b"first\n##vs")
    assert out == [b"first\n"]
    passed.feed(b"o[a.b]\n\xff\n")
    passed.feed(b"##vso")
    passed.close()
    assert out[1:] == [b"# #vso[a.b]\n\xff\n", b"# #vso\n"]


def test_a_line_without_end_is_not_held_back_for_ever() -> None:
    out = bytearray()
    passed = PassedOn(out.extend)
    for _ in range(3):
        passed.feed(b"x" * LONGEST)
    assert len(out) > LONGEST


@pytest.mark.parametrize("piece", ["#", "##", "::", "\r", "##a", "é", "#é", "\x1b", "\x1b]", "##\u0301", ": ", "##vso"])
def test_a_long_line_is_no_burden(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    started = time.process_time()
    through(text), defused(text), clean_json(text)
    assert time.process_time() - started < 3
