"""What people see: plain lines, the live tree, annotations; and that a terminal is never left broken."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest

from aibemu.clock import SystemClock
from aibemu.events import Event, Kind
from aibemu.text import harmless
from aibemu.views.console import console_views
from aibemu.views.github import GithubView
from aibemu.views.live import LiveView
from aibemu.views.plain import PlainView


class Fixed(SystemClock):
    def now(self) -> datetime:
        return datetime(2026, 11, 23, 10, 1, 5, tzinfo=UTC)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def capable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests bring their own terminal; what the suite was started from must not matter."""
    monkeypatch.setenv("TERM", "xterm-256color")


def event(kind: Kind, phase: str | None = None, step: str | None = None, **fields: Any) -> Event:
    return Event(
        seq=1, at="2026-11-23T10:00:45.000000Z", run="3f2c9a1b", kind=kind, phase=phase, step=step, fields=fields
    )


STORY = [
    event(
        Kind.RUN_STARTED, template="demo", file="t.json", driver="qemu", timeout_minutes=240, steps=[
            {"id": "c1", "kind": "Shell", "label": "Install", "span": "t.json:4:9"}], validators=[], targets=[{}],
        image={"os_name": "Debian 12", "generation": "V1"}, exact_version="1.0.0",
        accelerator={"name": "tcg", "reason": "KVM does not run", "slowness": 5.0},
    ),
    event(Kind.PHASE_STARTED, "customize"),
    event(Kind.STEP_STARTED, "customize", "c1", step_kind="Shell", label="Install", index=0, total=1,
          span="t.json:4:9"),
    event(Kind.STEP_OUTPUT, "customize", "c1", stream="stdout",
          line="hello \x1b[31mred\x1b[0m \x1b]0;title\x07[b]x[/b]"),
    event(Kind.STEP_OUTPUT, "customize", "c1", stream="stderr", line="oops"),
]  # fmt: skip
END = [
    event(Kind.STEP_FINISHED, "customize", "c1", status="failed", exit_code=1, seconds=3.0, error="Script exited"),
    event(Kind.NOTICE, level="warning", message="careful"),
    event(Kind.RUN_FINISHED, state="Failed", seconds=193.0, error={"code": "X", "message": "m"}),
]


def test_plain_is_one_line_per_fact_without_colour_or_escapes() -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    for item in (*STORY, *END):
        view.on_event(item)
    assert stream.getvalue().splitlines() == [
        "run 3f2c9a1b: template demo (t.json)",
        "  source: Debian 12 (V1, version 1.0.0)",
        "  driver: qemu, tcg: KVM does not run; waits are 5 times as long",
        "  plan: 1 customizer, 0 validators, 1 target; at most 240 minutes",
        "== customize",
        "-- 1/1 Install (Shell, t.json:4:9)",
        "   | hello red [b]x[/b]",
        "   ! oops",
        "-- Install: failed (3.0s): Script exited",
        "warning: careful",
        "run 3f2c9a1b: Failed after 3m13s",
    ]


def test_quiet_keeps_what_went_wrong_and_verbose_adds_the_time() -> None:
    quiet, verbose = io.StringIO(), io.StringIO()
    for item in (*STORY, *END):
        PlainView(quiet, verbosity=-1).on_event(item)
    assert len(quiet.getvalue().splitlines()) == 3
    PlainView(verbose, verbosity=1).on_event(STORY[1])
    assert verbose.getvalue() == "10:00:45 == customize\n"


def test_plain_colours_only_when_asked() -> None:
    stream = io.StringIO()
    PlainView(stream, color=True).on_event(STORY[1])
    assert stream.getvalue() == "\x1b[1m== customize\x1b[0m\n"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[2J\x1b[Hx", "x"), ("\x1b]8;;http://a\x07l\x1b]8;;\x1b\\", "l"), ("a\x9b31mb\x08", "a31mb"),
        ("a\tb", "a       b"), ("\x1bP1$r\x1b\\q", "q"), ("tr\u202eic", "tric"),
    ],
)  # fmt: skip
def test_guest_text_cannot_command_a_terminal(text: str, left: str) -> None:
    assert harmless(text) == left


def test_live_shows_lines_and_a_tree_and_puts_the_terminal_back() -> None:
    stream = Terminal()
    view = LiveView(stream, Fixed(), color=False)
    for item in STORY:
        view.on_event(item)
    tree = view._tree()
    assert "▸ customize      20s  0/1\n   Install  20s\n     hello red [b]x[/b]\n     oops" in str(tree)
    view.close()
    view.close()
    text = stream.getvalue()
    assert "   | hello red [b]x[/b]" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "\x1b]0;" not in text


def test_live_that_breaks_goes_on_with_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    view = LiveView(stream, Fixed(), color=False)
    view.on_event(STORY[1])
    assert view._console is not None

    def broken(*args: object, **options: object) -> None:
        raise ValueError("no such style")

    monkeypatch.setattr(view._console, "print", broken)
    for item in (STORY[2], *STORY[3:]):
        view.on_event(item)
    view.close()
    after = stream.getvalue().partition("warning: the live view failed (ValueError: no such style)")
    assert after[0].rindex("\x1b[?25h") > after[0].rindex("\x1b[?25l")
    assert after[2].splitlines()[1:] == ["-- 1/1 Install (Shell, t.json:4:9)", "   | hello red [b]x[/b]", "   ! oops"]


def test_live_that_cannot_start_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    view = LiveView(stream, Fixed(), color=False)

    def broken() -> None:
        raise RuntimeError("no terminfo")

    monkeypatch.setattr(view, "_start", broken)
    view.on_event(STORY[1])
    view.on_event(STORY[2])
    assert stream.getvalue().splitlines() == [
        "warning: the live view failed (RuntimeError: no terminfo); plain lines follow",
        "== customize",
        "-- 1/1 Install (Shell, t.json:4:9)",
    ]


def test_annotations_stay_on_one_line() -> None:
    stream = io.StringIO()
    view = GithubView(stream)
    for item in (*STORY, END[0], event(Kind.NOTICE, level="warning", message="a\n::error::b 100%")):
        view.on_event(item)
    assert stream.getvalue().splitlines() == [
        "::error file=t.json,line=4,col=9::Install: Script exited",
        "::warning::a%0A::error::b 100%25",
    ]


def annotated(*events: Event) -> list[str]:
    stream = io.StringIO()
    view = GithubView(stream, lambda file: f"images/{file}")
    for one in events:
        view.on_event(one)
    return stream.getvalue().splitlines()


def test_a_cause_is_annotated_once_with_its_place_in_the_repository() -> None:
    lost = event(Kind.MACHINE_LOST, "customize", "c1", machine="m", why="the machine powered itself off")
    failed = {"exit_code": None, "seconds": 3.0, "error": "the machine powered itself off (build machine)"}
    ended = event(Kind.RUN_FINISHED, state="Failed", error={"code": "PROVISION_FAILED", "message": failed["error"]})
    where = "::error file=images/t.json,line=4,col=9::Install: "
    started = STORY[2]
    assert annotated(started, lost, event(Kind.STEP_FINISHED, "customize", "c1", status="failed", **failed), ended) == [
        f"{where}the machine powered itself off (build machine)"
    ]
    assert annotated(started, lost, event(Kind.STEP_FINISHED, "customize", "c1", status="cancelled", **failed)) == [
        f"{where}the machine powered itself off"
    ]


def test_what_nothing_else_told_is_annotated_with_the_end() -> None:
    def ended(code: str, **more: Any) -> Event:
        return event(Kind.RUN_FINISHED, state="Failed", error={"code": code, "message": "took too long", **more})

    assert annotated(ended("BUILD_TIMED_OUT")) == ["::error::took too long"]
    assert annotated(ended("X", span="t.json:7:3")) == ["::error file=images/t.json,line=7,col=3::took too long"]
    assert annotated(ended("CANCELLED")) == []
    lost = event(Kind.MACHINE_LOST, "provision", machine="m", why="the kernel panicked")
    assert annotated(lost, ended("PROVISION_FAILED")) == ["::error::the kernel panicked"]


def test_a_warning_is_annotated_once_however_often_a_retry_tells_it() -> None:
    warning = event(Kind.NOTICE, level="warning", message="first boot ended degraded")
    assert annotated(warning, event(Kind.RUN_RETRIED), warning) == ["::warning::first boot ended degraded"]


def test_the_choice_of_views() -> None:
    def names(stream: Any, verbosity: int = 0, **environ: str) -> list[str]:
        views = console_views(stream, Fixed(), color=False, verbosity=verbosity, environ=environ)
        return [type(view).__name__ for view in views]

    assert names(Terminal(), TERM="xterm") == ["LiveView"]
    assert names(Terminal(), TERM="dumb") == ["PlainView"]
    assert names(Terminal(), TERM="xterm", CI="true") == ["PlainView"]
    assert names(Terminal(), -1, TERM="xterm") == ["PlainView"]
    assert names(io.StringIO(), TERM="xterm", GITHUB_ACTIONS="true") == ["PlainView", "GithubView"]
