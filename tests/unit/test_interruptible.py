"""Calls in a thread of their own: results, errors, and a caller that does not wait any more."""

from __future__ import annotations

import threading

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.errors import BuildCancelled
from aibemu.interruptible import Interruptible
from aibemu.testing.clock import FakeClock


def test_results_and_errors_are_the_calls_own(clock: FakeClock) -> None:
    calls = Interruptible(Deadline(clock=clock), name="calls")
    assert calls.call(lambda: 7) == 7
    assert calls.call(threading.current_thread).name == "calls"
    with pytest.raises(ZeroDivisionError):
        calls.call(lambda: 1 // 0)
    assert calls.call(lambda: "still there") == "still there"
    calls.end()


def test_an_abandoned_call_answers_no_other(clock: FakeClock) -> None:
    token, begun, go_on = CancelToken(), threading.Event(), threading.Event()
    deadline = Deadline(clock=clock, cancel=token)
    calls = Interruptible(deadline, name="calls")

    def hang() -> str:
        begun.set()
        token.cancel("stop")
        assert go_on.wait(30)
        return "late"

    with pytest.raises(BuildCancelled):
        calls.call(hang)
    assert begun.is_set()
    token.event = threading.Event()
    go_on.set()
    assert calls.call(lambda: "mine") == "mine"
    calls.end()


def test_what_is_asked_for_later_is_done_before_the_thread_ends(clock: FakeClock) -> None:
    calls = Interruptible(Deadline(clock=clock), name="calls")
    thread = calls.call(threading.current_thread)
    done: list[int] = []
    calls.later(lambda: done.append(1 // 0))
    calls.later(lambda: done.append(2))
    calls.end()
    thread.join(30)
    assert (done, thread.is_alive()) == ([2], False)


def test_a_server_that_never_answers_does_not_hold_up_a_cancel() -> None:
    token = CancelToken()
    threading.Timer(0.2, token.cancel, ["stop"]).start()
    never = threading.Event()
    with pytest.raises(BuildCancelled):
        Interruptible(Deadline(clock=SystemClock(), cancel=token), name="upload").call(lambda: never.wait(20))
    assert not never.is_set()
    never.set()


def test_an_error_of_a_single_request_is_raised() -> None:
    def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        Interruptible(Deadline(clock=SystemClock()), name="upload").call(fail)
