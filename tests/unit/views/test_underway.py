"""What is seen while it goes on: a boot's stage, the console's last line, a line that has no end yet."""

from __future__ import annotations

import io
from typing import Any

import pytest

from aibemu.clock import SystemClock
from aibemu.events import Event, Kind, Passing
from aibemu.redact import Redactor
from aibemu.reports.fold import fold
from aibemu.telemetry import Telemetry
from aibemu.views.live import LiveView
from aibemu.views.plain import PlainView
from tests.unit.views.test_console_views import Fixed, Terminal, event

REPORT = "the guest's report"


@pytest.fixture(autouse=True)
def capable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the suite was started from must not matter."""
    monkeypatch.setenv("TERM", "xterm-256color")


def started(**fields: Any) -> Event:
    return event(
        Kind.MACHINE_STARTED, "provision", machine="m", role="build", cpus=2, memory_mib=1024, firmware="bios",
        endpoint="127.0.0.1:1", **fields,
    )  # fmt: skip


def booting(stage: str, seconds: float, awaited: str = REPORT, line: str = "") -> Event:
    return event(
        Kind.MACHINE_BOOTING, "provision", machine="m", stage=stage, awaited=awaited, line=line, seconds=seconds
    )


def passing(text: str, **whose: str) -> Passing:
    return Passing(read=lambda: text, **whose)


def tree(view: LiveView) -> list[str]:
    return [line.rstrip() for line in str(view._tree()).splitlines()]


def test_the_tree_says_how_far_a_boot_is_and_how_long_it_took_the_last_time() -> None:
    stream = Terminal()
    view = LiveView(stream, Fixed(), color=False)
    for item in (event(Kind.PHASE_STARTED, "provision"), started(last_boot_seconds=48.0), booting("kernel", 12.0)):
        view.on_event(item)
    rows = tree(view)
    assert rows[0].split()[1:] == ["provision", "20s"]
    assert rows[1] == f"   build machine: kernel, waiting for {REPORT}  20s (last time 48s)"
    view.on_passing(passing("[  OK  ] Reached \x1b[2Jtarget", machine="m"))
    assert tree(view)[2] == "     [  OK  ] Reached target"
    view.on_event(event(Kind.MACHINE_READY, "provision", machine="m", seconds=1.0))
    assert "kernel" not in "\n".join(tree(view))
    view.close()
    assert "so far" not in stream.getvalue(), "what is in the tree is no line above it"


def test_the_tree_shows_a_line_that_has_no_end_yet() -> None:
    view = LiveView(Terminal(), Fixed(), color=False)
    view.on_event(event(Kind.PHASE_STARTED, "customize"))
    view.on_event(event(Kind.STEP_STARTED, "customize", "c1", step_kind="Shell", label="Install", index=0, total=1))
    view.on_event(event(Kind.STEP_OUTPUT, "customize", "c1", stream="stdout", line="whole"))
    view.on_passing(passing("Reading 45%", step="c1"))
    assert tree(view)[2:5] == ["   Install  20s", "     whole", "     Reading 45%"]
    view.on_passing(passing("", step="c1"))
    assert "Reading" not in "\n".join(tree(view))
    view.on_passing(passing("of another step", step="c2"))
    assert "another" not in "\n".join(tree(view))
    view.close()


def test_a_restart_in_a_step_is_seen_until_the_step_goes_on() -> None:
    view = LiveView(Terminal(), Fixed(), color=False)
    view.on_event(event(Kind.PHASE_STARTED, "customize"))
    view.on_event(event(Kind.STEP_STARTED, "customize", "c1", step_kind="Shell", label="Install", index=0, total=1))
    view.on_event(booting("firmware", 300.0, "its next boot"))
    assert any("firmware, waiting for its next boot" in row for row in tree(view))
    view.on_event(event(Kind.STEP_OUTPUT, "customize", "c1", stream="stdout", line="back"))
    assert not any("firmware" in row for row in tree(view))
    view.close()


def test_a_plain_log_gets_few_lines_of_a_boot() -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    view.on_event(started(last_boot_seconds=48.0))
    for number in range(60):
        view.on_event(booting(f"stage {number}", float(number)))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + 5
    assert lines[1] == f"build machine: stage 10, waiting for {REPORT}, 10s so far (last time 48s)"


def test_status_knows_how_far_a_boot_is_and_that_it_is_not_ready() -> None:
    summary = fold([started(), booting("kernel", 3.0)])
    (machine,) = summary.machines
    assert (machine.state, machine.boot) == ("started", f"kernel, waiting for {REPORT}")


class Seeing:
    """A view that sees what passes."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_event(self, event: Event) -> None:
        return

    def on_passing(self, passing: Passing) -> None:
        self.seen.append(passing.read())
        if len(self.seen) == 5:
            raise ValueError("too much")

    def close(self) -> None:
        return


class Record:
    """One that does not."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        return


def test_what_passes_is_in_no_record_and_has_no_secret() -> None:
    seeing, record = Seeing(), Record()
    chain = Telemetry("run", [record], SystemClock(), Redactor(["hunter2-secret"]), shown=[seeing])
    for text in ("pass hunter2-secret now", "pass hunter2-se", "pass hunter2-secret", "ready "):
        chain.show_passing(text=text, step="c1")
    assert record.events == []
    chain.show_passing(text="at which it fails ", step="c1")
    chain.show_passing(text="one that is not seen any more ", step="c1")
    chain.close()
    assert [event.fields["message"] for event in record.events] == [
        "unfinished lines are not shown any more: ValueError: too much"
    ]
    assert seeing.seen == ["pass *** now", "pass ", "pass ***", "ready ", "at which it fails "]
