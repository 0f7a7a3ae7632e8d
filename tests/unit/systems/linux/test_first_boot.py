"""How far cloud-init is, as the console tells it."""

from __future__ import annotations

import re

import pytest

from aibemu.clock import Deadline
from aibemu.errors import Expired
from aibemu.systems.linux.first_boot import CONSOLE_PATIENCE, ENDED, LAST_STAGE, await_on_console
from aibemu.testing.clock import FakeClock

STAGES = (
    "[   18.2] cloud-init[338]: Cloud-init v. 22.4.2 running 'init-local' at Tue, 24 Nov 2026 18:53:24 +0000.\n",
    "[   41.0] cloud-init[401]: Cloud-init v. 22.4.2 running 'modules:config' at Tue, 24 Nov 2026 18:53:47 +0000.\n",
    "[   47.5] cloud-init[477]: Cloud-init v. 24.1-0ubuntu1 running 'modules:final' at Tue, 24 Nov 2026.\n",
    "[   48.9] cloud-init[477]: Cloud-init v. 24.1-0ubuntu1 finished at Tue, 24 Nov 2026 19:06:17 +0000.\n",
)


class Console:
    """Says one stage more every ten seconds."""

    def __init__(self, *lines: str) -> None:
        self.clock, self.text, self.looks = FakeClock(), "", 0
        for number, line in enumerate(lines):
            self.clock.at(10 * number, lambda line=line: self.say(line))  # type: ignore[misc]
        self.clock.advance(0)

    def say(self, line: str) -> None:
        self.text += line

    def look(self) -> None:
        self.looks += 1

    def wait(self, words: re.Pattern[str], bound: float = 1000) -> tuple[bool, int]:
        deadline = Deadline(clock=self.clock).within(bound)
        return await_on_console(lambda: self.text, words, self.look, deadline), round(self.clock.monotonic())


def test_each_stage_is_waited_for() -> None:
    console = Console(*STAGES)
    assert console.wait(LAST_STAGE) == (True, 20)
    assert console.wait(ENDED) == (True, 30)
    assert console.looks > 100, "a machine that dies meanwhile would not be noticed"
    assert console.wait(LAST_STAGE) == (True, 30), "one that is over is past its last stage"


def test_a_console_that_does_not_tell_is_not_waited_for() -> None:
    assert Console("login: ").wait(ENDED) == (False, 0)


def test_patience_ends_and_so_does_the_time_for_the_boot() -> None:
    assert Console(STAGES[0]).wait(ENDED) == (False, CONSOLE_PATIENCE)
    with pytest.raises(Expired):
        Console(STAGES[0]).wait(ENDED, bound=5)
