"""At most so many builds at once have machines, in the order in which they asked; who waits says for what."""

from __future__ import annotations

from typing import Any

import pytest

from aibemu.clock import CancelToken, Deadline
from aibemu.engine.turns import Turns
from aibemu.errors import BuildCancelled
from aibemu.events import Kind
from aibemu.testing.clock import FakeClock


class Told:
    """What was emitted."""

    def __init__(self) -> None:
        self.fields: list[dict[str, Any]] = []

    def __call__(self, kind: Kind, /, **fields: Any) -> None:
        assert kind is Kind.NOTICE
        self.fields.append(fields)


class Passing(FakeClock):
    """While somebody waits, `action` happens."""

    def __init__(self, action: Any) -> None:
        super().__init__()
        self.action = action

    def wait(self, event: Any, seconds: float) -> bool:
        self.action()
        return super().wait(event, seconds)


def test_the_first_go_and_the_next_waits_until_one_is_over_and_says_so() -> None:
    turns, told = Turns(most=2), Told()
    web, db, queue = (turns.ask(name) for name in ("web", "db", "queue"))
    clock = Passing(db.give_back)
    deadline = Deadline(clock=clock)
    assert web.wait(deadline, told) == db.wait(deadline, told) == 0
    assert told.fields == []
    assert queue.wait(deadline, told) > 0
    assert [fields["awaited"] for fields in told.fields] == ["its turn: 2 builds at once; before it: web, db", ""]
    assert told.fields[0]["message"] == "waiting for its turn: 2 builds at once; before it: web, db"
    assert queue.wait(deadline, told) == 0, "it has its turn: another attempt need not wait"


def test_they_go_in_the_order_in_which_they_asked() -> None:
    turns, told = Turns(most=1), Told()
    first, second, third = (turns.ask(name) for name in ("1", "2", "3"))
    first.give_back()
    first.give_back()
    assert turns.before(third) == ["2"]
    assert second.wait(Deadline(clock=FakeClock()), told) == 0
    second.give_back()
    assert turns.before(third) == []


def test_who_waits_can_be_cancelled_and_is_out_of_the_way_then() -> None:
    turns, told, cancel = Turns(most=1), Told(), CancelToken()
    turns.ask("first")
    waiting, last = turns.ask("waiting"), turns.ask("last")
    clock = Passing(lambda: cancel.cancel("not wanted"))
    with pytest.raises(BuildCancelled, match="not wanted"):
        waiting.wait(Deadline(clock=clock, cancel=cancel), told)
    waiting.give_back()
    assert turns.before(last) == ["first"]


def test_a_turn_goes_back_when_the_build_cannot_begin() -> None:
    turns = Turns(most=1)
    with pytest.raises(OSError), turns.given_back(turns.ask("first")):
        raise OSError("disk full")
    assert turns.before(turns.ask("second")) == []


@pytest.mark.parametrize(("fail_fast", "before"), [(True, ["first"]), (False, [])])
def test_after_a_failure_nobody_gets_a_turn_where_that_stops_all(fail_fast: bool, before: list[str]) -> None:
    """The next must not begin before it is cancelled."""
    turns = Turns(most=1, fail_fast=fail_fast)
    first, second = turns.ask("first"), turns.ask("second")
    first.failed = True
    first.give_back()
    assert turns.before(second) == before


def test_many_names_are_cut() -> None:
    turns, told, cancel = Turns(most=1), Told(), CancelToken()
    waiting = [turns.ask(str(number)) for number in range(6)][-1]
    cancel.cancel("enough")
    with pytest.raises(BuildCancelled):
        waiting.wait(Deadline(clock=FakeClock(), cancel=cancel), told)
    assert told.fields[0]["awaited"].endswith("before it: 0, 1, 2 and 2 more")
