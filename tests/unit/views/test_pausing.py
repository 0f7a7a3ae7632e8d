"""Making room for a prompt: the tree goes and comes back, and nothing that happened meanwhile is lost or in the way."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest

from aibemu.events import Kind
from aibemu.text import harmless
from aibemu.views.console import Pausable, console_views
from aibemu.views.live import LiveView
from aibemu.views.plain import PlainView
from tests.unit.views.test_console_views import END, STORY, Fixed, Terminal, event

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture(autouse=True)
def capable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def stream() -> Terminal:
    return Terminal()


@pytest.fixture
def view(stream: Terminal) -> Any:
    made = LiveView(stream, Fixed(), color=False)
    yield made
    made.close()


def notice(text: str) -> Any:
    return event(Kind.NOTICE, level="warning", message=text)


def test_a_paused_terminal_is_somebody_elses(view: LiveView, stream: Terminal) -> None:
    for item in STORY:
        view.on_event(item)
    view.pause()
    text = stream.getvalue()
    assert "   ! oops" in text, "what was gathered is said first"
    assert text.count(HIDE) == text.count(SHOW) == 1 and text.rindex(SHOW) > text.rindex(HIDE)
    assert text.endswith("\x1b[1A\x1b[2K"), "the tree is wiped off, line by line"
    view.on_event(notice("meanwhile"))
    view.on_event(END[0])
    assert stream.getvalue() == text
    stream.write("retry? y\n")
    view.resume()
    after = stream.getvalue().partition("retry? y\n")[2]
    assert after.count("warning: careful") == 0
    assert after.index("warning: meanwhile") < after.index("-- Install: failed (3.0s)")
    assert after.count(HIDE) == 1 and SHOW not in after, "the tree is back"
    view.on_event(notice("careful"))
    assert "warning: careful" in stream.getvalue()
    view.close()
    assert stream.getvalue().endswith("\x1b[1A\x1b[2K") and stream.getvalue().count(SHOW) == 2


def test_the_tree_knows_what_happened_meanwhile(view: LiveView) -> None:
    for item in STORY:
        view.on_event(item)
    view.pause()
    view.on_event(event(Kind.PHASE_FINISHED, "customize", status="ok", seconds=4.0))
    assert "✔ customize" in str(view._tree())


def test_twice_is_once(view: LiveView, stream: Terminal) -> None:
    view.on_event(STORY[1])
    view.resume()
    view.pause()
    view.pause()
    view.resume()
    view.resume()
    assert (stream.getvalue().count(HIDE), stream.getvalue().count(SHOW)) == (2, 1)


def test_before_the_first_event(view: LiveView, stream: Terminal) -> None:
    view.pause()
    view.resume()
    view.pause()
    assert stream.getvalue() == ""
    view.on_event(STORY[1])
    assert stream.getvalue() == ""
    view.resume()
    assert "== customize" in stream.getvalue() and HIDE in stream.getvalue()


@pytest.mark.parametrize("before", [[], STORY])
def test_a_run_that_ends_while_paused_says_how(view: LiveView, stream: Terminal, before: list[Any]) -> None:
    for item in before:
        view.on_event(item)
    view.pause()
    view.on_event(END[-1])
    view.close()
    assert harmless(stream.getvalue().splitlines()[-1]) == "run 3f2c9a1b: Failed after 3m13s"
    assert stream.getvalue().count(HIDE) == stream.getvalue().count(SHOW)


def test_after_the_end_it_does_nothing(view: LiveView, stream: Terminal) -> None:
    view.on_event(STORY[1])
    view.close()
    text = stream.getvalue()
    view.pause()
    view.resume()
    view.close()
    assert stream.getvalue() == text


def test_a_view_that_cannot_pause_goes_on_with_plain_lines(
    view: LiveView, stream: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    view.on_event(STORY[1])
    assert view._live is not None
    stop = view._live.stop

    def broken() -> None:
        stop()
        raise ValueError("no terminal any more")

    monkeypatch.setattr(view._live, "stop", broken)
    view.pause()
    assert "the live view failed (ValueError: no terminal any more); plain lines follow" in stream.getvalue()
    view.on_event(notice("one"))
    view.resume()
    view.pause()
    view.on_event(notice("two"))
    view.close()
    after = stream.getvalue().partition("plain lines follow\n")
    assert after[2] == "warning: one\nwarning: two\n"
    assert after[0].rindex(SHOW) > after[0].rindex(HIDE)


def test_a_view_that_cannot_come_back_goes_on_with_plain_lines(
    view: LiveView, stream: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    view.on_event(STORY[1])
    view.pause()
    view.on_event(notice("meanwhile"))

    def broken() -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(view, "_start", broken)
    view.resume()
    view.on_event(notice("later"))
    view.close()
    assert stream.getvalue().partition("plain lines follow\n")[2] == "warning: meanwhile\nwarning: later\n"


def test_events_of_another_thread_while_somebody_pauses(view: LiveView, stream: Terminal) -> None:
    count = 300

    def tell() -> None:
        for number in range(count):
            view.on_event(notice(f"number {number};"))

    thread = threading.Thread(target=tell)
    thread.start()
    while thread.is_alive():
        view.pause()
        view.resume()
    thread.join()
    view.close()
    text = stream.getvalue()
    places = [text.find(f"number {number};") for number in range(count)]
    assert -1 not in places and places == sorted(places)
    assert all(text.count(f"number {number};") == 1 for number in range(count))
    assert text.count(HIDE) == text.count(SHOW)


def test_plain_lines_and_a_prompt_get_along() -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    view.pause()
    view.on_event(STORY[1])
    view.resume()
    assert stream.getvalue() == "== customize\n"


def test_which_views_can_be_paused() -> None:
    def pausable(stream: Any, **environ: str) -> list[bool]:
        views = console_views(stream, Fixed(), color=False, verbosity=0, environ=environ)
        return [isinstance(view, Pausable) for view in views]

    assert pausable(Terminal(), TERM="xterm") == [True]
    assert pausable(io.StringIO(), GITHUB_ACTIONS="true") == [True, False]
