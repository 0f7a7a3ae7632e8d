"""Lines as Packer shows them, however the bytes were cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.communicators import lines as module
from aibemu.communicators.lines import Lines, clean
from aibemu.redact import Redactor

BYTES = st.lists(st.sampled_from([b"a", b"\r", b"\n", b" ", b"\t", "ü".encode(), "漢".encode(), b"\xff", b"\x1c"])).map(
    b"".join
)


def cut(*chunks: bytes) -> list[str]:
    seen: list[str] = []
    cutter = Lines(seen.append)
    for chunk in chunks:
        cutter.feed(chunk)
    cutter.close()
    return seen


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"plain", "plain"),
        (b"", ""),
        (b"  kept in front, dropped behind \t ", "  kept in front, dropped behind"),
        (b"windows\r", "windows"),
        (b" 10%\r 50%\r100%", "100%"),
        (b" 10%\r100%\r", "100%"),
        (b"nbsp\xc2\xa0\xe2\x80\x83", "nbsp"),
        (b"not space for Go\x1c", "not space for Go\x1c"),
        (b"bad \xff byte", "bad \ufffd byte"),
    ],
)
def test_clean(line: bytes, shown: str) -> None:
    assert clean(line) == shown


def test_blank_lines_and_a_last_line_without_its_end() -> None:
    assert cut(b"a\n\n", b"b") == ["a", "", "b"]
    assert cut(b"a\n") == ["a"]
    assert cut() == []


def test_a_line_is_given_as_soon_as_it_ends() -> None:
    seen: list[str] = []
    cutter = Lines(seen.append)
    cutter.feed(b"one\ntw")
    assert seen == ["one"]
    cutter.feed(b"o\n")
    assert seen == ["one", "two"]


@given(BYTES, st.lists(st.integers(0, 60)))
def test_how_the_bytes_are_cut_does_not_matter(content: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(c, len(content)) for c in cuts), len(content)]
    pieces = [content[a:b] for a, b in itertools.pairwise(edges)]
    whole = content.split(b"\n")
    expected = [clean(line) for line in (whole if whole[-1] else whole[:-1])]
    assert cut(*pieces) == expected


def test_an_endless_progress_bar_keeps_its_last_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 50)
    assert cut(*(b"\r%3d%%" % number for number in range(100)), b"\n") == [" 99%"]
    assert cut(*(b"%3d%%\r" % number for number in range(100)), b"\n") == [" 99%"]


def test_an_endless_line_is_cut_between_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 50)
    seen = cut("ü€".encode() * 100)
    assert "".join(seen) == "ü€" * 100
    assert all(len(line.encode()) <= 50 for line in seen)


def test_what_has_no_end_yet_is_shown_as_a_terminal_would() -> None:
    seen: list[str] = []
    shown: list[str] = []
    cutter = Lines(seen.append, shown.append)
    for chunk in (b"one\n", b"Reading 10%", b"\rReading 50%", b"\r", b"\nnext? ", b"y\nlast"):
        cutter.feed(chunk)
    cutter.close()
    assert seen == ["one", "Reading 50%", "next? y", "last"], "lines are Packer's, whatever was shown meanwhile"
    assert shown == ["Reading 10%", "Reading 50%", "Reading 50%", "next?", "last", ""]


def test_of_a_line_that_never_ends_a_piece_is_shown() -> None:
    shown: list[str] = []
    cutter = Lines(lambda line: None, shown.append)
    cutter.feed(b"xx " * (module.LONGEST // 2) + b"x")
    assert module.SHOWN - 3 <= len(shown[-1]) <= module.SHOWN and set(shown[-1].split(" ")) == {"xx", "x"}


def test_of_a_line_that_never_ends_no_half_of_a_word_is_shown() -> None:
    """Half a signature would not be known for one."""
    shown: list[str] = []
    cutter = Lines(lambda line: None, shown.append)
    cutter.feed(b"GET https://x.example/y?sig=" + b"Secret%2B" * 300)
    assert shown == [""]
    cutter.feed(b" 45% 46%")
    assert shown[-1] == "45% 46%"


@pytest.mark.parametrize(
    "secret", ["https://a/b?sig=Zm9v%2BYmFyYmF6", "Bearer abcDEF123ghiJKL456m", "pa\u00df w\u00f6rter"]
)
def test_where_an_endless_line_is_cut_no_secret_becomes_two_halves(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 5000)
    redactor = Redactor(["pa\u00df w\u00f6rter"])
    for before in range(4950, 5010, 3):
        seen: list[str] = []
        cutter = Lines(seen.append, cut=redactor.cut)
        content = b"\xff" * before + f" {secret} ".encode() + b"x" * 12_000
        for at in range(0, len(content), 700):
            cutter.feed(content[at : at + 700])
        cutter.close()
        assert len(seen) > 3 and "".join(seen).count(secret) == 1
        assert "".join(map(redactor.text, seen)) == redactor.text("".join(seen))
