"""Signals and the cancel file pull the token once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from aibemu.cli.signals import obey_signals
from aibemu.clock import CancelToken
from aibemu.runs.mailbox import watch
from aibemu.runs.store import Run


def test_sigterm_cancels_and_the_old_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    token = CancelToken()
    with obey_signals(token):
        os.kill(os.getpid(), signal.SIGTERM)
        assert token.event.wait(30)
    assert "SIGTERM" in token.reason
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_was_ignored_stays_ignored(number: signal.Signals) -> None:
    """As `nohup` and a shell's background jobs start programs."""
    before = signal.signal(number, signal.SIG_IGN)
    other = signal.SIGTERM if number != signal.SIGTERM else signal.SIGHUP
    try:
        token = CancelToken()
        with obey_signals(token):
            os.kill(os.getpid(), number)
            assert not token
            os.kill(os.getpid(), other)
            assert token.event.wait(30)
        assert other.name in token.reason
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_cancel_file_pulls_the_token_and_says_so_once(tmp_path: Path) -> None:
    token, calls = CancelToken(), threading.Semaphore(0)
    run = Run(tmp_path)
    with watch(run, token, lambda: calls.release()):
        run.request_cancel()
        assert calls.acquire(timeout=30)
    assert token
    assert not calls.acquire(blocking=False)


def test_a_signal_may_come_at_any_moment_of_a_wait() -> None:
    """Between any two instructions a handler may run, and what it sets ends the wait."""
    moments = 0
    while pulled_in_wait(moments):
        moments += 1
    assert moments > 10


def pulled_in_wait(moment: int) -> bool:
    """Pull a token before the instruction `moment` of a wait for it. False when the wait has fewer before it sleeps."""
    token, left, pulled = CancelToken(), moment, False

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left, pulled
        frame.f_trace_opcodes = True
        if event == "opcode" and not token:
            if left == 0:
                pulled = True
                token.cancel("signal")
            left -= 1
        return trace

    # An assertion, not a hang, for what is not woken; and a wait that is asleep already ends soon.
    soon = threading.Timer(1, lambda: token.cancel("later"))
    soon.start()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        woken = token.event.wait(10)
    finally:
        sys.settrace(before)
        soon.cancel()
    assert woken, f"a signal at instruction {moment} is lost"
    return pulled
