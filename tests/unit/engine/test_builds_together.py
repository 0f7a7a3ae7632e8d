"""Several builds of one call: each ends by itself, whatever happens to the others, and wherever it is carried out."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.clock import CancelToken
from aibemu.engine.together import CancelAll, Ended, Together
from aibemu.errors import BuildCancelled, CustomizerFailed, HostNotReady

PATIENCE = 20


@dataclass
class Build:
    """At a place of the test: `ends` says how, or raises; until `go` is set, or it is cancelled, it goes on."""

    name: str
    error: BaseException | None = None
    raises: BaseException | None = None
    go: threading.Event = field(default_factory=threading.Event)
    reasons: list[str] = field(default_factory=list)

    @property
    def run(self) -> Any:
        return SimpleNamespace(id=self.name)

    def cancel(self, reason: str = "cancelled") -> None:
        self.reasons.append(reason)
        self.go.set()

    def wait(self) -> Any:
        assert self.go.wait(PATIENCE)
        if self.raises:
            raise self.raises
        error = BuildCancelled(self.reasons[0]) if self.reasons else self.error
        return SimpleNamespace(error=error)


@dataclass
class Elsewhere:
    """A place that is not this machine."""

    refuses: str = ""

    def start(self, prepared: Any, views: Any) -> Any:
        views(prepared.build.run)
        if prepared.build.name == self.refuses:
            raise HostNotReady("no worker has that much memory")
        return prepared.build


def prepared(build: Build) -> Any:
    template = SimpleNamespace(name=build.name)
    return SimpleNamespace(plan=SimpleNamespace(template=template), cancel=CancelToken(), build=build)


def carry_out(*builds: Build, place: Any = None, fail_fast: bool = False) -> dict[str, Ended]:
    together = Together(place=place or Elsewhere(), fail_fast=fail_fast)
    seen: list[str] = []

    def views(one: Any) -> Any:
        def of(run: Any) -> tuple[()]:
            seen.append(run.id)
            return ()

        return of

    ended = together.build([prepared(build) for build in builds], views)
    assert seen == [build.name for build in builds]
    return {build.name: one for build, one in zip(builds, ended, strict=True)}


def over(name: str, **how: Any) -> Build:
    build = Build(name, **how)
    build.go.set()
    return build


def test_each_ends_by_itself_and_a_bug_of_one_is_its_own() -> None:
    bug = ZeroDivisionError("a bug")
    ended = carry_out(over("web"), over("db", error=CustomizerFailed("no")), over("queue", raises=bug))
    assert ended["web"].error is None and ended["web"].report is not None
    assert isinstance(ended["db"].error, CustomizerFailed)
    assert (ended["queue"].error, ended["queue"].report) == (bug, None)
    assert [one.run.id for one in ended.values() if one.run] == ["web", "db", "queue"]
    assert not any(one.stopped for one in ended.values())


def test_one_that_cannot_begin_has_no_run_and_the_others_go_on() -> None:
    ended = carry_out(over("web"), over("db"), place=Elsewhere(refuses="web"))
    assert isinstance(ended["web"].error, HostNotReady) and ended["web"].run is None
    assert ended["db"].error is None


@pytest.mark.parametrize("first", ["fails", "cannot begin", "has a bug"])
def test_fail_fast_stops_the_others_and_says_for_whom(first: str) -> None:
    bad = over(
        "web", error=CustomizerFailed("no") if first == "fails" else None,
        raises=ZeroDivisionError() if first == "has a bug" else None,
    )  # fmt: skip
    going = Build("db")
    ended = carry_out(bad, going, place=Elsewhere(refuses="web" if first == "cannot begin" else ""), fail_fast=True)
    assert going.reasons == ["stopped, as web failed (--fail-fast)"]
    assert ended["db"].stopped and not ended["web"].stopped


def test_one_that_succeeds_though_it_was_stopped_is_no_stopped_one() -> None:
    class TooLate(Build):
        def wait(self) -> Any:
            assert self.go.wait(PATIENCE)
            return SimpleNamespace(error=None)

    ended = carry_out(over("web", error=CustomizerFailed("no")), TooLate("db"), fail_fast=True)
    assert ended["db"].error is None and not ended["db"].stopped


def test_a_cancel_reaches_those_that_are_there_and_those_that_come() -> None:
    cancels = CancelAll()
    before = cancels.one()
    cancels.cancel("interrupted by SIGINT")
    cancels.cancel("again")
    assert before and before.reason == "interrupted by SIGINT"
    after = cancels.one()
    assert after and after.reason == "interrupted by SIGINT"


def test_one_that_was_cancelled_by_itself_leaves_the_others_alone() -> None:
    cancels = CancelAll()
    one, other = cancels.one(), cancels.one()
    one.cancel("aibemu cancel")
    assert one and not other and not cancels
