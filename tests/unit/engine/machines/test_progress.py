"""What people read while a machine comes up, and when a guest does not answer any more."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.communicators import Refusal
from aibemu.communicators.silence import FIRST_NOTICE, Growing, telling_silence
from aibemu.engine.machines.boot_times import FILE, MOST, BootTimes
from aibemu.engine.machines.logins import MOST_REFUSALS, REFUSED_BOUND
from aibemu.engine.machines.progress import (
    MOST_NOTICES,
    MOST_STAGES,
    REPORT,
    Progress,
)
from aibemu.events import Kind
from aibemu.fabric.health import Client, HealthReport
from aibemu.hypervisor import ConsolePart
from aibemu.paths import Home
from aibemu.testing.clock import FakeClock
from aibemu.testing.system import FakeSystem

READY = HealthReport(state="Ready", by=Client.CLOUD_INIT)


class Watched:
    """A machine that is being waited for; `tick` is a look of the watchdog."""

    def __init__(self, home: Home, *, slowness: float = 1.0, verdict: HealthReport | None = None, **more: Any) -> None:
        self.clock = FakeClock()
        self.said: list[tuple[Kind, dict[str, Any]]] = []
        self.passed: list[str] = []
        self.console = ""
        services: Any = SimpleNamespace(
            clock=self.clock, accelerator=SimpleNamespace(slowness=slowness), run=SimpleNamespace(id="run1"), home=home,
            emit=lambda kind, **fields: self.said.append((kind, fields)),
            telemetry=SimpleNamespace(show_passing=lambda *, text, machine: self.passed.append(text)),
        )  # fmt: skip
        machine: Any = SimpleNamespace(id="m", console=self.read)
        platform: Any = SimpleNamespace(verdict=verdict)
        self.progress = Progress(services, machine, "build", FakeSystem().boot_signs, platform=platform, **more)

    def read(self, since: int = 0) -> ConsolePart:
        return ConsolePart(start=since, data=self.console.encode()[since:])

    def say(self, *lines: str) -> None:
        """The console says it, and is looked at."""
        self.console += "".join(f"{line}\n" for line in lines)
        self.progress()

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            self.progress()

    def of(self, kind: Kind) -> list[dict[str, Any]]:
        return [fields for said, fields in self.said if said is kind]

    @property
    def notices(self) -> list[str]:
        return [fields["message"] for fields in self.of(Kind.NOTICE)]


@pytest.fixture
def watched(home: Home) -> Watched:
    return Watched(home)


def test_each_new_stage_is_told_with_the_consoles_last_line(watched: Watched) -> None:
    with watched.progress.awaiting(REPORT):
        watched.say("stage: wood", "knock")
        watched.clock.advance(3)
        watched.say("stage: wood", "\x1b[31mknock\x1b[0m again")
        watched.say("stage: stone")
    told = [(one["stage"], one["awaited"], one["line"], one["seconds"]) for one in watched.of(Kind.MACHINE_BOOTING)]
    assert told == [("", REPORT, "", 0.0), ("wood", REPORT, "knock", 0.0), ("stone", REPORT, "stage: stone", 3.0)]
    assert watched.passed == ["knock", "knock again", "stage: stone"]


def test_what_boot_loaders_end_their_lines_with_says_nothing(watched: Watched) -> None:
    with watched.progress.awaiting(REPORT):
        watched.say("Loading Linux 6.1 ...", ".", "'")
        watched.pass_time(FIRST_NOTICE + 1)
    assert "the console's last line: Loading Linux 6.1 ...;" in watched.notices[0]


def test_what_nobody_waits_for_is_not_told(watched: Watched) -> None:
    """Who is root in the guest can write stages to the console for ever."""
    watched.say("stage: wood", "trouble: rain")
    watched.pass_time(1000)
    assert watched.said == [] and watched.passed == []


def test_a_machine_that_boots_again_and_again_does_not_fill_the_record(watched: Watched) -> None:
    with watched.progress.awaiting(REPORT):
        for number in range(3 * MOST_STAGES):
            watched.say(f"stage: {number % 2}")
    assert len(watched.of(Kind.MACHINE_BOOTING)) == MOST_STAGES


def test_a_boot_that_stands_still_is_told_at_growing_intervals(watched: Watched) -> None:
    with watched.progress.awaiting("SSH"):
        watched.say("stage: stone", "the last words")
        watched.progress.silent(9.0, "the guest refused the login of u: no")
        watched.pass_time(FIRST_NOTICE - 1)
        assert watched.notices == []
        watched.pass_time(2)
        assert len(watched.notices) == 1
        watched.pass_time(FIRST_NOTICE * 8)
    assert len(watched.notices) == 4  # after 20, 40, 80 and 160 seconds
    first = watched.notices[0]
    for words in (
        "waiting for SSH", "no progress for 20s", "it is at: stone", "the guest refused the login of u: no",
        "the console's last line: the last words", "aibemu logs run1 --console", "aibemu cancel run1",
    ):  # fmt: skip
        assert words in first
    assert watched.of(Kind.NOTICE)[0]["level"] == "warning"


def test_progress_is_no_silence(watched: Watched) -> None:
    with watched.progress.awaiting(REPORT):
        for number in range(10):
            watched.say(f"stage: {number}")
            watched.pass_time(FIRST_NOTICE - 2)
    assert watched.notices == []


def test_a_slow_host_and_a_boot_that_always_takes_long_are_waited_for_longer(home: Home) -> None:
    for watched in (Watched(home, slowness=5.0), Watched(home, last_boot=10 * FIRST_NOTICE)):
        with watched.progress.awaiting(REPORT):
            watched.pass_time(FIRST_NOTICE * 5 - 2)
            assert watched.notices == []
            watched.pass_time(4)
        assert len(watched.notices) == 1


def test_a_guest_that_has_reported_and_never_opens_its_server(home: Home) -> None:
    watched = Watched(home, verdict=READY)
    with watched.progress.awaiting("SSH"):
        watched.progress.silent(30.0, "no SSH server answered on 127.0.0.1 port 22")
        watched.pass_time(FIRST_NOTICE + 1)
    assert "the guest has reported Ready" in watched.notices[0]
    assert "no SSH server answered" in watched.notices[0] and "the console says nothing" in watched.notices[0]


def test_trouble_on_the_console_is_told_at_once_and_once(watched: Watched) -> None:
    with watched.progress.awaiting("SSH"):
        watched.say("trouble: it rains")
        watched.say("trouble: it rains")
        watched.say("trouble: it snows")
    assert [notice.split(";")[0] for notice in watched.notices] == ["it rains", "it snows"]


def test_a_guest_that_answers_no_more_in_a_step_is_told_and_that_it_answers_again(watched: Watched) -> None:
    tick: Callable[[float], None] = lambda seconds: watched.progress.silent(seconds, "its SSH server does not answer")  # noqa: E731
    watched.say("fork: no memory")
    for seconds in (0, 5, FIRST_NOTICE, FIRST_NOTICE + 1, FIRST_NOTICE * 2, FIRST_NOTICE * 3):
        tick(seconds)
    assert len(watched.notices) == 2
    assert "has not answered for 20s" in watched.notices[0] and "fork: no memory" in watched.notices[0]
    tick(0)
    tick(1)
    assert watched.notices[2:] == ["the build machine answers again"]
    tick(FIRST_NOTICE)
    assert len(watched.notices) == 4


def test_a_guest_that_falls_silent_again_and_again_does_not_fill_the_record(watched: Watched) -> None:
    for _ in range(3 * MOST_NOTICES):
        watched.progress.silent(FIRST_NOTICE, "no answer")
        watched.progress.silent(0.0, "")
    assert len([fields for fields in watched.of(Kind.NOTICE) if fields["level"] == "warning"]) == MOST_NOTICES
    assert len(watched.notices) <= 2 * MOST_NOTICES


def test_a_server_that_answers_is_not_said_to_be_silent(watched: Watched) -> None:
    with watched.progress.awaiting("the end of its first boot"):
        watched.progress.silent(0.0, "its SSH server does not answer")
        watched.pass_time(FIRST_NOTICE + 1)
    assert "does not answer" not in watched.notices[0]


def test_what_is_waited_for_again_is_told_again(watched: Watched) -> None:
    with watched.progress.awaiting("the whole"), watched.progress.awaiting("a part"):
        watched.say("stage: stone")
    told = [(one["stage"], one["awaited"]) for one in watched.of(Kind.MACHINE_BOOTING)]
    assert told == [("", "the whole"), ("", "a part"), ("stone", "a part"), ("stone", "the whole")]


def test_intervals_grow_from_what_was_told() -> None:
    growing = Growing(10)
    assert [growing.due(seconds) for seconds in (9, 10, 11, 19, 20, 100, 199, 200, 3, 10)] == [
        False, True, False, False, True, True, False, True, False, True,
    ]  # fmt: skip


def test_who_runs_a_command_by_hand_is_told_too() -> None:
    told: list[str] = []
    tell = telling_silence(told.append, "the build machine of run r", 2.0)
    for seconds in (0, 39, 40, 41, 80, 0):
        tell(seconds, "its SSH server does not answer")
    assert [text.split(":")[0] for text in told] == [
        "the build machine of run r has not answered for 40s", "the build machine of run r has not answered for 1m20s",
    ]  # fmt: skip


# Logins that are refused


def refusal(count: int, seconds: float = 0.0, *, for_now: bool = False) -> Refusal:
    return Refusal(count=count, seconds=seconds, answer="no", for_now=for_now)


def test_before_the_first_boot_is_over_a_refused_key_is_normal(watched: Watched) -> None:
    """The guest makes the user in the course of it, however long it takes."""
    assert not any(watched.progress.logins.hopeless(refusal(count, 600.0 * count)) for count in range(1, 50))


def test_after_it_some_more_refusals_are_final(watched: Watched) -> None:
    for count in range(1, 8):
        assert not watched.progress.logins.hopeless(refusal(count))
    with watched.progress.awaiting("SSH"):
        watched.say("up")
    # One may have been under way when it was over.
    judged = [watched.progress.logins.hopeless(refusal(count)) for count in range(8, 8 + MOST_REFUSALS)]
    assert judged == [False, False, True]
    assert not watched.progress.logins.hopeless(refusal(0, for_now=True))


def test_refusals_that_begin_anew_are_counted_anew(watched: Watched) -> None:
    watched.progress.logins.hopeless(refusal(5))
    with watched.progress.awaiting("SSH"):
        watched.say("up")
    assert [watched.progress.logins.hopeless(refusal(count)) for count in (1, 2, 3)] == [False, False, True]


@pytest.mark.parametrize("reported", [True, False])
def test_a_guest_that_reported_or_was_entered_is_given_a_while(home: Home, reported: bool) -> None:
    """Some report before it has made the user; a guest that reboots refuses everybody for a moment."""
    watched = Watched(home, slowness=2.0, verdict=READY if reported else None)
    if not reported:
        watched.progress.logins.entered = True
    assert not watched.progress.logins.hopeless(refusal(30, 2 * REFUSED_BOUND - 1))
    assert watched.progress.logins.hopeless(refusal(31, 2 * REFUSED_BOUND))
    assert not watched.progress.logins.hopeless(refusal(31, 2 * REFUSED_BOUND, for_now=True))


# How long it took the last time


def test_a_boot_that_is_over_is_kept_for_the_next(home: Home, watched: Watched) -> None:
    times = BootTimes(home.cache)
    assert times.last("key") is None
    watched.clock.advance(42)
    watched.progress.booted("key")
    assert times.last("key") == 42.0
    Watched(home, boots=False).progress.booted("other")
    assert times.last("other") is None


def test_only_the_newest_are_kept(home: Home) -> None:
    times = BootTimes(home.cache)
    for number in range(MOST + 5):
        times.note(f"key {number}", 1.0 + number)
        if number % 50 == 0:
            times.note("often", 9.0)
    assert times.last("key 0") is None and times.last(f"key {MOST + 4}") == MOST + 5.0 and times.last("often") == 9.0


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"[1]", b'{"key": "x"}', b'{"key": -1}', b'{"key": NaN}', b'{"key": 1e999}', b'{"key": true}',
     b"[" * 20000, b'{"key": 1, "a": "' + b"x" * 100_000 + b'"}', b""],
)  # fmt: skip
def test_a_damaged_file_is_as_good_as_none(home: Home, content: bytes) -> None:
    home.cache.mkdir(parents=True)
    (home.cache / FILE).write_bytes(content)
    times = BootTimes(home.cache)
    assert times.last("key") is None
    times.note("key", 5.0)
    assert times.last("key") == 5.0


def test_a_cache_that_cannot_be_written_is_no_error(home: Home) -> None:
    home.cache.parent.mkdir(parents=True, exist_ok=True)
    home.cache.write_text("a file")
    BootTimes(home.cache).note("key", 5.0)


def test_a_long_line_of_the_console_is_cut_before_a_token(watched: Watched) -> None:
    """What is left of it would not be known for one."""
    with watched.progress.awaiting(REPORT):
        watched.say("x" * 180 + " eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.c2lnbmF0dXJl")
    assert watched.passed == ["x" * 180 + " "]
