"""A person's words in a Windows guest: the program of `aibemu exec RUN -- PROGRAM WORD...` gets each.

Judged by others: cmd's documented rules as `fixtures/guests/cmd_syntax.py` has them, with every variable there is; and
Python's own writer of command lines for the C library of Windows.
"""

from __future__ import annotations

import base64
import re
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aibemu.powershell import encoded
from aibemu.systems.windows.commands import command, quote, start_script
from fixtures.guests.cmd_syntax import Simple, expand, parse
from fixtures.guests.guest import words as split

# No argument has a NUL. Half of the words are made of what cmd, PowerShell and the C library give a meaning to.
ODD = "\"'\u2019\\%!^&|<>()=,;@`$ \t\r\n*?[]{}~:-/a1"
WORDS = st.text(ODD, max_size=12) | st.text(st.characters(exclude_characters="\0"), max_size=12)
LINE = re.compile(
    r"powershell -NoProfile -ExecutionPolicy Bypass (?:-InputFormat None )?-EncodedCommand ([A-Za-z0-9+/=]+)"
)


def started(line: str) -> str | None:
    """The script of a line that PowerShell runs, None of one that cmd runs."""
    match = LINE.fullmatch(line)
    return base64.b64decode(match[1]).decode("utf-16-le", "surrogatepass") if match else None


def literal(script: str, name: str) -> str:
    """The value of the line `name = '...'`, read as PowerShell reads a literal: two quotes of any kind are one."""
    text = script[script.index(f"{name} = '") + len(name) + 4 :]
    value, at = "", 0
    while True:
        if text[at] in "'\u2018\u2019\u201a\u201b":
            if text[at + 1] not in "'\u2018\u2019\u201a\u201b":
                return value
            at += 1
        value, at = value + text[at], at + 1


@given(
    st.sampled_from(["prog", "C:\\b\\prog.exe", "C:\\a b\\prog.exe", "C:/prog.exe", "@prog", "it's"]),
    st.lists(WORDS, max_size=4),
)
@example("prog", ["%PATH%"])
@example("prog", ['a" & del "b'])
@example("prog", ["a\\\\", 'b"', "", "\\"])
@example("prog", ["^", "a^&b", "!x!"])
@example("prog", ["two\nlines", "\udcff", "\uffff"])
def test_every_word_arrives(program: str, words: list[str]) -> None:
    line = command([program, *words, "last"])
    if (script := started(line)) is None:
        assert not line.startswith('"'), "cmd /c would take the quotes off"
        node = parse(expand(line, lambda name: "EXPANDED", keep_unknown=True))
        assert isinstance(node, Simple) and not node.redirections
        assert split(node.text) == [program, *words, "last"]
        return
    assert literal(script, "$name") == program
    assert literal(script, "$how.Arguments") == subprocess.list2cmdline([*words, "last"])
    assert split(literal(script, "$how.Arguments")) == [*words, "last"]


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_a_line_for_the_c_library_is_as_others_write_it(words: list[str]) -> None:
    assert literal(start_script(["x", *words]), "$how.Arguments") == subprocess.list2cmdline(words)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["ipconfig", "/all"], "ipconfig /all"),
        (["cmd", "/c", "dir C:\\a b"], 'cmd /c "dir C:\\a b"'),
        (["prog", "", "a&b", "C:\\a b\\"], 'prog "" "a&b" "C:\\a b\\\\"'),
    ],
)
def test_what_cmd_leaves_alone_goes_through_cmd(words: list[str], line: str) -> None:
    assert command(words) == line and started(line) is None


@pytest.mark.parametrize("word", ["%PATH%", 'say "x"', "a!", "two\nlines", "\udcff", "\x1b"])
def test_what_cmd_would_change_is_started_by_powershell(word: str) -> None:
    script = started(command(["prog", word]))
    assert script is not None and "Process]::Start" in script and "@@" not in script


def test_a_word_that_is_no_unicode_is_encoded_all_the_same() -> None:
    assert base64.b64decode(encoded("\udcff")) == b"\xff\xdc"


def test_quotes_for_the_c_library() -> None:
    assert quote('\\"') == '\\\\\\"' and quote("") == '""'
