"""Signals and the cancel file pull the token once."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from aibemu.clock import CancelToken
from aibemu.engine.cancel import obey_signals, watch
from aibemu.engine.runs import Run


def test_sigterm_cancels_and_the_old_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    token = CancelToken()
    with obey_signals(token):
        os.kill(os.getpid(), signal.SIGTERM)
        assert token.event.wait(30)
    assert "SIGTERM" in token.reason
    assert signal.getsignal(signal.SIGTERM) is before


def test_cancel_file_pulls_the_token_and_says_so_once(tmp_path: Path) -> None:
    token, calls = CancelToken(), threading.Semaphore(0)
    run = Run(tmp_path)
    with watch(run, token, lambda: calls.release()):
        run.request_cancel()
        assert calls.acquire(timeout=30)
    assert token
    assert not calls.acquire(blocking=False)


def test_a_signal_that_comes_while_the_token_is_waited_for_does_not_lock_up() -> None:
    token = CancelToken()

    def interrupted_in_wait() -> None:
        with token.event._cond:  # type: ignore[attr-defined] # where a handler may find the main thread
            token.cancel("signal")

    thread = threading.Thread(target=interrupted_in_wait, daemon=True)
    thread.start()
    thread.join(30)
    assert token
    assert not thread.is_alive()
