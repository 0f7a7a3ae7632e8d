"""A program that is kept open: it is bounded, whatever it does, and never waited for by both sides at once."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.disks import dialogue
from aibemu.disks.dialogue import Dialogue, NoAnswer
from aibemu.errors import BuildCancelled

LONG = b"x" * 1_000_000 + b"\n"  # more than the pipes hold both ways


def never(heard: bytearray) -> bool:
    return False


@pytest.fixture
def cat() -> Iterator[Dialogue]:
    with Dialogue(["cat"], patience=30) as program:
        yield program


def test_questions_longer_than_a_pipe_are_answered(cat: Dialogue) -> None:
    for question in (b"short\n", LONG, b"again\n"):
        assert cat.ask(question, lambda heard: heard.endswith(b"\n"), forever().within(60)) == question


def test_one_that_does_not_read_is_bounded() -> None:
    with Dialogue(["sleep", "60"], patience=0.1) as program:
        start = time.monotonic()
        with pytest.raises(NoAnswer, match=r"^it does not answer$"):
            program.ask(LONG, never, forever().within(0.2))
    assert time.monotonic() - start < 30


def test_one_that_says_too_much_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "MOST", 3 << 20)
    with Dialogue(["yes"], patience=30) as program, pytest.raises(NoAnswer, match=r"^it says more than 3 MiB$"):
        program.ask(b"", never, forever().within(60))


def test_it_need_not_be_read_to_the_end() -> None:
    token = CancelToken()
    token.cancel("enough")
    program = Dialogue(["yes"], patience=30)
    with pytest.raises(BuildCancelled):
        program.ask(b"", never, Deadline(clock=SystemClock(), cancel=token))
    start = time.monotonic()
    program.close()
    assert time.monotonic() - start < 15, "it was waited for"
    program.close()


def test_only_the_complaint_about_this_question_is_told(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "print('banner', file=sys.stderr, flush=True)\n"
        "for number, line in enumerate(sys.stdin):\n"
        "    print(f'no {line.strip()}', file=sys.stderr, flush=True)\n"
        "    if number: sys.exit(1)\n"
        "    print('done', flush=True)\n"
    )
    with Dialogue([sys.executable, "-c", script], patience=30) as program:
        program.ask(b"first\n", lambda heard: heard == b"done\n", forever().within(60))
        with pytest.raises(NoAnswer) as caught:
            program.ask(b"second\n", never, forever().within(60))
    assert (caught.value.why, caught.value.said) == ("it ended", "no second")
    assert str(caught.value) == "it ended: no second"
