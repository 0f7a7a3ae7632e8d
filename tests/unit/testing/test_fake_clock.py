from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.clock import CancelToken, Clock, Deadline
from aibemu.errors import BuildCancelled, BuildTimedOut, Expired
from aibemu.testing.clock import START, FakeClock


def test_waiting_takes_no_time_and_lets_time_pass() -> None:
    clock: Clock = FakeClock()
    assert clock.wait(threading.Event(), 3600) is False
    assert clock.monotonic() == 3600
    assert (clock.now() - START).total_seconds() == 3600


def test_an_event_that_is_set_ends_a_wait_at_once() -> None:
    clock = FakeClock()
    event = threading.Event()
    event.set()
    assert clock.wait(event, 60) is True
    assert clock.monotonic() == 0


def test_a_scheduled_action_stops_the_wait_where_it_sets_the_event() -> None:
    clock = FakeClock()
    event = threading.Event()
    clock.at(5, event.set)
    assert clock.wait(event, 60) is True
    assert clock.monotonic() == 5


def test_a_cancel_in_the_middle_of_a_sleep() -> None:
    clock = FakeClock()
    token = CancelToken()
    clock.at(2.5, lambda: token.cancel("Ctrl-C"))
    with pytest.raises(BuildCancelled, match="Ctrl-C"):
        Deadline(clock=clock, cancel=token).sleep(10)
    assert clock.monotonic() == 2.5


def test_deadlines_end_when_they_should() -> None:
    clock = FakeClock()
    deadline = Deadline(clock=clock, build_ends=10, slowness=5)
    with pytest.raises(Expired):
        deadline.within(1).poll(lambda: False)
    assert clock.monotonic() == pytest.approx(5, abs=0.2)
    with pytest.raises(BuildTimedOut):
        deadline.poll(lambda: False)
    assert clock.monotonic() == pytest.approx(10, abs=0.2)


def test_waiting_for_ever_is_an_error_and_not_a_hang() -> None:
    with pytest.raises(AssertionError, match="for ever"):
        FakeClock().wait(threading.Event(), math.inf)


@given(st.lists(st.floats(min_value=0, max_value=1000), max_size=20), st.floats(min_value=0, max_value=1000))
def test_actions_happen_in_order_and_only_when_due(moments: list[float], until: float) -> None:
    clock = FakeClock()
    seen: list[float] = []
    for moment in moments:
        clock.at(moment, lambda: seen.append(clock.monotonic()))
    clock.advance(until)
    assert seen == sorted(moment for moment in moments if moment <= until)
    assert clock.monotonic() == until
