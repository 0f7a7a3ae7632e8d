"""What people see of several builds at once: names before lines, a row for each on a terminal, nothing that hangs."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console, Group

from aibemu.clock import SystemClock
from aibemu.events import Event, Kind, Passing
from aibemu.views.console import annotating_views, shared_view
from aibemu.views.live_several import LiveSeveral
from aibemu.views.several import PlainSeveral, Shared
from aibemu.views.stream import releasable
from tests.unit.views.test_console_views import STORY, Fixed, Terminal, event

NAMES = ("web", "database")


def of(run: str, story: Event) -> Event:
    return replace(story, run=run)


def waiting(run: str, awaited: str) -> Event:
    return of(run, event(Kind.NOTICE, level="note", message=f"waiting for {awaited}", awaited=awaited))


def shared(stream: Any, *, verbosity: int = 0, names: tuple[str, ...] = NAMES, **environ: str) -> Shared:
    return shared_view(stream, Fixed(), names, color=False, verbosity=verbosity, environ=environ)


def lines_of(view: Shared, stream: io.StringIO) -> list[str]:
    view.close()
    return stream.getvalue().splitlines()


def test_without_a_terminal_each_line_begins_with_its_template(monkeypatch: pytest.MonkeyPatch) -> None:
    view = shared(stream := io.StringIO())
    assert isinstance(view.drawing, PlainSeveral)
    web, database = view.member("1", "web"), view.member("2", "database")
    web.on_event(of("1", STORY[0]))
    database.on_event(of("2", STORY[0]))
    for one in STORY[1:]:
        web.on_event(of("1", one))
    lines = lines_of(view, stream)
    assert lines[0] == "web      | run 1: template demo (t.json)"
    assert "database | run 2: template demo (t.json)" in lines
    assert lines[-1] == "web      |    ! oops"
    assert all(line.startswith(("web      | ", "database | ")) for line in lines)


def test_quiet_shows_only_what_went_wrong() -> None:
    view = shared(stream := io.StringIO(), verbosity=-1)
    member = view.member("1", "web")
    for one in (*STORY, event(Kind.NOTICE, level="warning", message="careful")):
        member.on_event(of("1", one))
    assert lines_of(view, stream) == ["web      | warning: careful"]


def test_an_event_that_was_read_back_is_told_of_its_own_build() -> None:
    """`machine.restored` has a field `run`, which stands in the record where the run's id stands in others."""
    view = shared(stream := io.StringIO())
    member = view.member("1", "web")
    restored = Event.from_json(
        of("1", event(Kind.MACHINE_RESTORED, machine="1-build", label="x", run="other", seconds=1.0)).as_json()
    )
    assert restored.run == "other"
    member.on_event(restored)
    (line,) = lines_of(view, stream)
    assert line.startswith("web      | the machine: ")


def test_a_name_cannot_command_a_terminal_or_a_ci_system() -> None:
    view = shared(stream := io.StringIO(), CI="true")
    member = view.member("1", "::error::x\x1b[2J")
    member.on_event(of("1", STORY[1]))
    (line,) = lines_of(view, stream)
    assert "\x1b" not in line and not line.startswith("::error")


def live(width: int = 70, height: int = 24, names: tuple[str, ...] = NAMES) -> tuple[Shared, Terminal]:
    stream = Terminal()
    view = shared(stream, names=names, TERM="xterm")
    assert isinstance(view.drawing, LiveSeveral)
    screen = view.drawing._screen()
    screen.size = type(screen.size)(width, height)  # as a terminal of that size has it
    return view, stream


def rows(view: Shared) -> list[str]:
    """The rows under the lines, as they are drawn on that terminal."""
    drawing: Any = view.drawing
    screen = drawing._screen()
    paper = Console(file=io.StringIO(), width=screen.width, height=screen.height)
    with paper.capture() as captured:
        paper.print(Group(drawing._tree()))
    return str(captured.get()).splitlines()


@pytest.fixture(autouse=True)
def capable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def busy() -> Iterator[tuple[Shared, Terminal]]:
    """Two builds: one in a step, one that waits."""
    view, stream = live(width=100)
    web, database = view.member("1", "web"), view.member("2", "database")
    for one in STORY:
        web.on_event(of("1", one))
    database.on_event(of("2", STORY[0]))
    database.on_event(waiting("2", "its turn: 1 build at once; before it: web"))
    yield view, stream
    view.close()


def test_on_a_terminal_each_has_a_row_with_what_it_does_or_waits_for(busy: tuple[Shared, Terminal]) -> None:
    view, stream = busy
    first, last_line, second = rows(view)
    assert first.split() == ["▸", "web", "20s", "customize", "0/1:", "Install"]
    assert last_line == "     oops"
    assert second.split()[0] == "database" and "waiting for its turn: 1 build at once; before it: web" in second
    assert "web      | == customize" in stream.getvalue(), "lines scroll above, with their names"


def test_what_is_unfinished_is_in_the_row(busy: tuple[Shared, Terminal]) -> None:
    view, _ = busy
    web = view.member("1", "web")
    web.on_passing(Passing(read=lambda: "42 %", step="c1"))
    assert "     42 %" in rows(view)


def test_rows_end_with_the_terminal_and_a_build_that_ends_says_how() -> None:
    view, _ = live(width=30)
    member = view.member("1", "web")
    member.on_event(of("1", STORY[0]))
    member.on_event(waiting("1", "memory: the machine needs 4096 MiB, 1500 MiB are left; run 3f2c9a1b holds 8192 MiB"))
    (row,) = rows(view)
    assert len(row) <= 30 and "waiting for" in row
    member.on_event(
        of("1", event(Kind.RUN_FINISHED, state="Failed", sub_state="", message="", seconds=3.0, error=None))
    )
    (row,) = rows(view)
    assert row.split() == ["✘", "web", "3.0s", "Failed"]
    view.close()


def test_more_builds_than_rows_show_those_that_run_and_count_the_others() -> None:
    names = tuple(f"t{number}" for number in range(12))
    view, _ = live(height=10, names=names)
    for number, name in enumerate(names):
        member = view.member(str(number), name)
        member.on_event(of(str(number), STORY[0]))
        if number < 2:
            ended = event(Kind.RUN_FINISHED, state="Succeeded", sub_state="", message="", seconds=3.0, error=None)
            member.on_event(of(str(number), ended))
        elif number > 3:
            member.on_event(waiting(str(number), "its turn: 2 builds at once; before it: t2, t3"))
    shown = rows(view)
    assert len(shown) == 6
    assert [row.split()[1] for row in shown[:2]] == ["t2", "t3"]
    assert shown[-1].strip() == "and 7 more builds: 5 waiting, 2 over"
    view.close()


def test_a_live_view_that_fails_goes_on_in_plain_lines_with_names(monkeypatch: pytest.MonkeyPatch) -> None:
    view, stream = live()
    member = view.member("1", "web")
    member.on_event(of("1", STORY[0]))
    with monkeypatch.context() as broken:
        broken.setattr(LiveSeveral, "_flush", lambda self: 1 / 0)
        member.on_event(of("1", STORY[1]))
    member.on_event(of("1", STORY[2]))
    view.close()
    text = stream.getvalue()
    assert "the live view failed (ZeroDivisionError" in text
    assert "web      | == customize" in text and "web      | -- 1/1 Install" in text


def test_annotations_are_for_github_alone() -> None:
    assert annotating_views(io.StringIO(), {}, str) == []
    (view,) = annotating_views(stream := io.StringIO(), {"GITHUB_ACTIONS": "true"}, str)
    view.on_event(event(Kind.NOTICE, level="warning", message="careful"))
    assert stream.getvalue() == "::warning::careful\n"


def test_a_reader_who_does_not_read_holds_up_no_end() -> None:
    """A build that is over gives up waiting; the view is closed when all are, and lets go of the stream then."""
    there, here = os.pipe()
    with os.fdopen(here, "w", encoding="utf-8") as pipe, releasable(pipe) as stream:
        view = shared_view(stream, SystemClock(), NAMES, color=False, verbosity=0, environ={})
        member = view.member("1", "web")
        flood = of("1", event(Kind.STEP_OUTPUT, "customize", "c1", stream="stdout", line="x" * (1 << 20)))
        writing = threading.Thread(target=member.on_event, args=(flood,), daemon=True)
        writing.start()
        while not member._writing:
            threading.Event().wait(0.01)
        member.give_up()
        assert member.stuck and not stream.released, "the others may still show something"  # type: ignore[attr-defined]
        view.close()
        writing.join(20)
        assert not writing.is_alive()
    os.close(there)
