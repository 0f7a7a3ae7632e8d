"""A step that fails: tried again in the same run by whoever is asked, or later by `aibemu resume`."""

from __future__ import annotations

import errno
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import Deadline
from aibemu.engine.asking import Answer, Question
from aibemu.engine.machines.fleet import Fleet
from aibemu.engine.machines.freezing import Freezer
from aibemu.errors import BuildCancelled
from aibemu.events import Event, Kind
from aibemu.hypervisor import Capacity
from aibemu.layers import Layer
from aibemu.layers.store import LayerStore
from aibemu.paths import Home
from aibemu.runs.store import Run, RunStore
from aibemu.testing.clock import FakeClock
from aibemu.views.plain import PlainView
from tests.scenarios.layered import Workshop, layers_made, restored, statuses

FAIL = {"match": "#two# *$", "exit": 7, "stderr": ["no such package"]}
Does = Callable[[], Answer]


@pytest.fixture
def shop(shop: Workshop) -> Workshop:
    """Three steps, of which the second one fails until it is edited."""
    shop.guest = [FAIL]
    return shop


class Person:
    """Answers as told, one after the other; what they were asked is in `asked`."""

    def __init__(self, *does: Does | Answer) -> None:
        self.does = list(does)
        self.asked: list[Question] = []
        self.deadlines: list[Deadline] = []

    def __call__(self, question: Question, deadline: Deadline) -> Answer:
        self.asked.append(question)
        self.deadlines.append(deadline)
        answer = self.does.pop(0)
        return answer if isinstance(answer, Answer) else answer()

    def sit_down(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr("aibemu.cli.prompt.Prompter", lambda *_, **__: self)


@pytest.fixture
def ask(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Build with a person who does and answers these things; the build and the person."""

    def build(*does: Does | Answer, exit: int = 0, args: tuple[str, ...] = (), **values: Any) -> Any:
        person = Person(*does)
        person.sit_down(monkeypatch)
        seen = shop.build("--on-error", "ask", *args, exit=exit, **values)
        assert person.does == [], "it was not asked as often as that"
        return seen, person

    return build


def edit(shop: Workshop, name: str = "two", text: str = "echo #two# mended", answer: Answer = Answer.RETRY) -> Does:
    def do() -> Answer:
        shop.steps[name] = text
        shop.write()
        return answer

    return do


# Asked


def test_after_an_edit_only_what_failed_and_what_follows_runs_again(shop: Workshop, ask: Any) -> None:
    seen, person = ask(edit(shop))
    assert shop.ran(seen) == ["one", "two", "two", "three"]
    assert restored(seen) == ["one"]
    assert layers_made(seen) == ["provisioned", "one", "two", "three"]
    assert statuses(seen) == {"c1": "ok", "c2": "ok", "c3": "ok"}
    assert seen.summary.state == "Succeeded"
    (question,) = person.asked
    assert "customizer two failed" in question.title
    assert question.choices == (Answer.RETRY, Answer.SKIP, Answer.KEEP, Answer.GIVE_UP)
    assert (question.role, question.run, question.shell) == ("build", seen.run.id, False)


def test_the_record_says_that_it_waited_what_was_answered_and_that_it_was_tried_again(shop: Workshop, ask: Any) -> None:
    seen, _ = ask(edit(shop))
    kinds = ("run.waiting", "run.answered", "run.retried", "run.finished")
    found = [event for event in seen.events if event["kind"] in kinds]
    assert [event["kind"] for event in found] == list(kinds)
    assert found[0]["choices"] == ["retry", "skip", "keep", "give-up"]
    assert found[1]["answer"] == "retry"
    assert [step["label"] for step in found[2]["steps"]] == ["one", "two", "three"]


def test_what_it_printed_is_told_attempt_by_attempt_and_once_in_the_log(shop: Workshop, ask: Any) -> None:
    shop.guest = [{"match": "#one#", "stdout": ["said by one"]}, FAIL]
    seen, _ = ask(edit(shop))
    log = seen.run.log("customization.log").read_text()
    assert log.count("said by one") == 1
    how = rf"cached \d+ s ago by run {seen.run.id}"
    assert re.search(f"aibemu: one: {how}, not run again", log)
    one = shop.call(command=["logs", "--step", "one"], exit=0).out.splitlines()
    assert one[0] == "said by one" and re.fullmatch(f"== attempt 2: not run again, {how}", one[1]) and len(one) == 2
    two = shop.call(command=["logs", "--step", "two"], exit=0).out.splitlines()
    assert two[0] == "no such package"
    assert two[1].startswith("== attempt 2: it runs again; attempt 1: failed: Script exited with non-zero exit status")
    data = json.loads(shop.call(command=["logs", "--step", "two", "-o", "json"], exit=0).out)["data"]
    assert data["lines"] == ["no such package"]
    assert [(one["attempt"], one["lines"]) for one in data["attempts"]] == [(1, ["no such package"]), (2, [])]


def test_a_retry_without_an_edit_fails_again_and_asks_again(shop: Workshop, ask: Any) -> None:
    seen, person = ask(Answer.RETRY, Answer.RETRY, Answer.GIVE_UP, exit=1)
    assert shop.ran(seen) == ["one", "two", "two", "two"]
    assert restored(seen) == ["one", "one"]
    assert len(person.asked) == 3


def test_an_edit_of_an_earlier_step_runs_from_there(shop: Workshop, ask: Any) -> None:
    shop.guest = [{**FAIL, "times": 1}]
    seen, _ = ask(edit(shop, "one", "echo #one# other"))
    assert shop.ran(seen) == ["one", "two", "one", "two", "three"]
    assert restored(seen) == ["provisioned"]


def test_a_skipped_step_is_left_out_and_no_layer_is_made_without_it(shop: Workshop, ask: Any) -> None:
    seen, _ = ask(Answer.SKIP)
    assert shop.ran(seen) == ["one", "two", "three"]
    assert layers_made(seen) == ["provisioned", "one"]
    assert seen.summary.state == "Succeeded"
    assert "two is left out, as asked" in seen.err
    assert shop.ran(shop.build(exit=1)) == ["two"]  # and the next build has it again


def test_a_step_that_is_skipped_is_so_whatever_layers_there_are_of_it(shop: Workshop, ask: Any) -> None:
    shop.guest = []
    shop.build()
    shop.guest = [FAIL]
    seen, _ = ask(Answer.SKIP, args=("--from", "two"))
    assert restored(seen) == ["one", "one"]
    assert shop.ran(seen) == ["two", "three"]


def test_what_was_asked_to_run_runs_in_each_attempt(shop: Workshop, ask: Any) -> None:
    shop.guest = []
    shop.build()
    shop.guest = [{**FAIL, "times": 1}]
    seen, _ = ask(Answer.RETRY, args=("--from", "two"))
    assert shop.ran(seen) == ["two", "two", "three"]
    assert restored(seen) == ["one", "one"]


@pytest.mark.parametrize("option", ["--no-cache", "--cold"])
def test_in_a_build_without_the_cache_its_own_layers_are_still_used(shop: Workshop, ask: Any, option: str) -> None:
    shop.guest = []
    shop.build()
    shop.guest = [{**FAIL, "times": 1}]
    seen, _ = ask(Answer.RETRY, args=(option,))
    assert shop.ran(seen) == ["one", "two", "two", "three"]


def test_without_layers_everything_runs_again(shop: Workshop, ask: Any) -> None:
    shop.guest = [{**FAIL, "times": 1}]
    seen, _ = ask(Answer.RETRY, args=("--no-freeze",))
    assert shop.ran(seen) == ["one", "two", "one", "two", "three"]
    assert seen.summary.state == "Succeeded"


def test_keep_ends_the_run_and_leaves_the_machine(shop: Workshop, ask: Any) -> None:
    seen, _ = ask(Answer.KEEP, exit=1)
    assert [machine.role for machine in seen.summary.kept] == ["build"]
    assert (seen.run.machines / "build").is_dir()


def test_give_up_cleans_up_even_where_the_template_says_abort(shop: Workshop, ask: Any) -> None:
    shop.write(errorHandling={"onCustomizerError": "abort"})
    person = Person(Answer.GIVE_UP)
    person.sit_down(shop.patch)
    seen = shop.call(args=["--driver-option", "freezes=yes", "--on-error", "ask"], exit=1)
    assert seen.run is not None
    assert seen.summary.kept == ()
    assert not seen.run.machines.exists()


def test_a_template_that_is_no_good_now_is_said_and_asked_about_again(shop: Workshop, ask: Any) -> None:
    def spoil() -> Answer:
        (shop.work / "template.json").write_text("{")
        return Answer.RETRY

    def rename() -> Answer:
        text = json.dumps(json.loads(shop.write().read_text())).replace('"order-of-steps"', '"another"')
        (shop.work / "template.json").write_text(text)
        return Answer.RETRY

    def lose() -> Answer:
        (shop.work / "template.json").unlink()
        return Answer.RETRY

    seen, person = ask(spoil, rename, lose, edit(shop))
    assert shop.ran(seen) == ["one", "two", "two", "three"]
    assert len(person.asked) == 4
    assert person.asked[0].details != person.asked[1].details
    assert "another name" in person.asked[2].details[0]
    assert {question.title for question in person.asked} == {person.asked[0].title}
    assert seen.err.count("it cannot be tried again yet") == 3


def test_a_step_more_in_the_template_counts_from_then_on(shop: Workshop, ask: Any) -> None:
    def add() -> Answer:
        shop.steps = {"one": "echo #one#", "new": "echo #new#", "three": "echo #three#", "four": "echo #four#"}
        shop.write()
        return Answer.RETRY

    seen, _ = ask(add)
    assert shop.ran(seen) == ["one", "new", "three", "four"]
    assert statuses(seen) == {f"c{number}": "ok" for number in range(1, 5)}


def test_a_failed_validation_is_asked_about_without_skip_and_its_retry_runs_no_customizer(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.guest = [{"match": "#check#", "exit": 1, "times": 1}]
    shop.write(validate={"inVMValidations": [{"type": "Shell", "inline": ["echo #check#"]}]})
    person = Person(Answer.RETRY)
    person.sit_down(monkeypatch)
    seen = shop.call(args=["--driver-option", "freezes=yes", "--on-error", "ask"], exit=0)
    assert shop.ran(seen) == ["one", "two", "three"]
    assert restored(seen) == ["three"]
    assert person.asked[0].role == "validate"
    assert person.asked[0].choices == (Answer.RETRY, Answer.KEEP, Answer.GIVE_UP)
    assert sum("#check#" in entry for entry in seen.told["validate"]) == 2
    assert seen.summary.state == "Succeeded"


def test_what_a_person_takes_to_answer_is_not_the_builds_time(
    shop: Workshop, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr("tests.scenarios.observing._clock", lambda word: clock)

    def dawdle() -> Answer:
        clock.advance(7 * 24 * 3600)  # the build may take four hours
        return edit(shop)()

    seen, person = ask(dawdle)
    assert seen.summary.state == "Succeeded"
    assert person.deadlines[0].remaining() == float("inf")


def test_the_builds_own_time_still_counts_after_an_answer(
    shop: Workshop, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr("tests.scenarios.observing._clock", lambda word: clock)
    shop.guest = [{"match": "#one#", "delay": 3 * 3600.0}, FAIL, {"match": "#two#", "delay": 2 * 3600.0}]

    def dawdle() -> Answer:
        clock.advance(3600)
        return edit(shop)()

    seen, _ = ask(dawdle, exit=5)
    assert "buildTimeoutInMinutes" in seen.summary.error["message"]


def test_a_cancel_while_it_asks_ends_the_run(shop: Workshop, ask: Any) -> None:
    def cancel(question: Question, deadline: Deadline) -> Answer:
        deadline.cancel.cancel("Ctrl-C")
        deadline.check()
        raise AssertionError

    shop.patch.setattr("aibemu.cli.prompt.Prompter", lambda *_, **__: cancel)
    seen = shop.build("--on-error", "ask", exit=130)
    assert seen.summary.state == "Canceled"
    assert seen.run is not None and not seen.run.machines.exists()


@pytest.mark.parametrize("mode", ["cleanup", "keep"])
def test_who_said_beforehand_is_not_asked(shop: Workshop, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    Person().sit_down(monkeypatch)
    seen = shop.build("--on-error", mode, exit=1)
    assert [machine.role for machine in seen.summary.kept] == (["build"] if mode == "keep" else [])


def add_before(shop: Workshop, answer: Answer) -> Does:
    """Put a step before the one that failed: each after it has another number then."""

    def do() -> Answer:
        shop.steps = {"one": "echo #one#", "new": "echo #new#", "two": "echo #two#", "three": "echo #three#"}
        shop.write()
        return answer

    return do


def test_the_step_that_is_skipped_is_the_one_that_failed_wherever_it_is_now(shop: Workshop, ask: Any) -> None:
    seen, _ = ask(add_before(shop, Answer.SKIP))
    assert shop.ran(seen) == ["one", "two", "new", "three"]
    assert "two is left out, as asked" in seen.err


def test_a_second_skip_leaves_out_both_wherever_they_are(shop: Workshop, ask: Any) -> None:
    shop.guest = [FAIL, {"match": "#three#", "exit": 1}]
    seen, _ = ask(Answer.SKIP, add_before(shop, Answer.SKIP))
    assert shop.ran(seen) == ["one", "two", "three", "new"]
    assert [step for step, status in statuses(seen).items() if status == "ok"] == ["c1", "c2"]


def test_a_step_that_cannot_be_told_any_more_is_not_skipped(shop: Workshop, ask: Any) -> None:
    def rename() -> Answer:
        shop.steps = {"one": "echo #one#", "2": "echo #2#", "three": "echo #three#"}
        shop.write()
        return Answer.SKIP

    seen, person = ask(rename, Answer.GIVE_UP, exit=1)
    assert person.asked[1].details[0].startswith("which step two is now cannot be told")
    assert shop.ran(seen) == ["one"]


def test_another_attempt_has_the_machine_that_the_first_one_had(
    shop: Workshop, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the guest that failed still has its memory, less is free than before it."""
    found = [Capacity(memory_mib=6144, free_mib=9, cpus=2), Capacity(memory_mib=4096, free_mib=9, cpus=2)]
    monkeypatch.setattr("aibemu_drivers.scripted.ScriptedDriver.capacity", lambda _: found.pop(0))
    seen, _ = ask(edit(shop))
    assert restored(seen) == ["one"]
    assert {event["memory_mib"] for event in seen.events if event["kind"] == "machine.started"} == {3072}


def test_a_pause_at_a_step_that_was_renamed_is_none(shop: Workshop, ask: Any) -> None:
    def rename() -> Answer:
        shop.steps = {"one": "echo #one#", "two": "echo #two# mended", "3": "echo #3#"}
        shop.write()
        return Answer.RETRY

    seen, _ = ask(rename, args=("--pause-before", "three"))
    assert shop.ran(seen) == ["one", "two", "two", "3"]


def test_a_step_that_was_asked_from_may_be_renamed_to_mend_it(shop: Workshop, ask: Any) -> None:
    shop.guest = []
    shop.build()
    shop.guest = [FAIL]

    def rename() -> Answer:
        shop.steps = {"one": "echo #one#", "zwei": "echo #two# mended", "three": "echo #three#"}
        shop.write()
        return Answer.RETRY

    seen, _ = ask(rename, args=("--from", "two"))
    assert shop.ran(seen)[-1:] == ["three"]


FAIL_TOO = {"match": "#three# *$", "exit": 1}


def test_a_step_that_was_left_out_may_be_taken_out_to_try_the_next_one_again(shop: Workshop, ask: Any) -> None:
    shop.guest = [FAIL, FAIL_TOO]

    def take_out() -> Answer:
        shop.steps = {"one": "echo #one#", "three": "echo #three# mended"}
        shop.write()
        return Answer.RETRY

    seen, _ = ask(Answer.SKIP, take_out)
    assert shop.ran(seen) == ["one", "three", "three"]


def test_a_step_that_was_left_out_runs_when_it_was_edited(shop: Workshop, ask: Any) -> None:
    shop.guest = [FAIL, {**FAIL_TOO, "times": 1}]
    seen, _ = ask(Answer.SKIP, edit(shop))
    assert shop.ran(seen) == ["one", "two", "three", "two", "three"]
    assert layers_made(seen) == ["provisioned", "one", "two", "three"]  # again, for now it is what its names say


def test_what_is_being_published_is_there_for_the_next_attempt_whoever_prunes(
    shop: Workshop, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until a layer has its record only the machine's own links say that somebody needs its files."""
    publish, settle, release = LayerStore.publish, Freezer.settle, Fleet.release
    go_on = threading.Event()

    def slowly(store: LayerStore, layer: Layer) -> None:
        if layer.label == "one":
            go_on.wait(30)
        publish(store, layer)

    def await_all(freezer: Freezer) -> None:
        go_on.set()
        settle(freezer)

    def release_and_prune(fleet: Fleet, role: str) -> None:
        release(fleet, role)
        LayerStore(shop.home.layers).sweep()
        go_on.set()

    monkeypatch.setattr(LayerStore, "publish", slowly)
    monkeypatch.setattr(Freezer, "settle", await_all)
    monkeypatch.setattr(Fleet, "release", release_and_prune)
    seen, _ = ask(edit(shop))
    assert restored(seen) == ["one"]
    assert layers_made(seen) == ["provisioned", "one", "two", "three"]


# Paused


@pytest.mark.parametrize(("option", "word"), [("--pause-before", "before"), ("--pause-after", "after")])
def test_a_pause_waits_for_a_person(shop: Workshop, ask: Any, option: str, word: str) -> None:
    shop.guest = []
    ran: list[str] = []

    def look() -> Answer:
        (transcript,) = (shop.work.parent / "told").glob("*-build.ndjson")
        ran.extend(name for name in shop.steps if f"#{name}#" in transcript.read_text())
        return Answer.GO_ON

    seen, person = ask(look, args=(option, "two"))
    assert ran == (["one"] if word == "before" else ["one", "two"])
    assert person.asked[0].title == f"paused {word} two"
    assert person.asked[0].choices == (Answer.GO_ON, Answer.GIVE_UP)
    assert shop.ran(seen) == ["one", "two", "three"]


def enter(shop: Workshop, answer: Answer) -> Does:
    """What `aibemu shell` and `exec` do before they get into a machine that is being built."""

    def do() -> Answer:
        (run,) = [run for run in RunStore(shop.home.runs).runs() if run.alive()]
        run.entered_file.touch()
        return answer

    return do


def test_what_somebody_does_in_a_pause_gets_into_no_layer(shop: Workshop, ask: Any) -> None:
    shop.guest = []
    seen, _ = ask(enter(shop, Answer.GO_ON), args=("--pause-before", "two"))
    assert layers_made(seen) == ["provisioned", "one"]
    assert seen.err.count("you logged in") == 1
    assert restored(shop.build()) == ["one"]


def test_a_guest_that_somebody_was_in_is_gone_with_the_next_attempt(shop: Workshop, ask: Any) -> None:
    shop.guest = [{**FAIL, "times": 1}]
    seen, _ = ask(enter(shop, Answer.GO_ON), enter(shop, Answer.RETRY), args=("--pause-after", "one"))
    assert layers_made(seen) == ["provisioned", "one", "two", "three"]


def test_who_gives_up_in_a_pause_cancels(shop: Workshop, ask: Any) -> None:
    shop.guest = []
    seen, _ = ask(Answer.GIVE_UP, args=("--pause-after", "one"), exit=130)
    assert shop.ran(seen) == ["one"]
    assert seen.summary.state == "Canceled"


def test_a_pause_at_a_step_that_there_is_not_is_refused(shop: Workshop) -> None:
    seen = shop.build("--pause-before", "four", exit=2, recorded=False)
    assert "--pause-before four: there is no such step" in seen.err


# Resumed


def test_resume_after_an_edit_runs_what_failed_and_what_follows(shop: Workshop) -> None:
    first = shop.build(exit=1)
    assert shop.ran(first) == ["one", "two"]
    shop.steps["two"] = "echo #two# mended"
    seen = shop.resume()
    assert (restored(seen), shop.ran(seen)) == (["one"], ["two", "three"])
    assert first.run is not None
    assert seen.events[0]["resumes"] == first.run.id
    assert statuses(seen) == {"c1": "cached", "c2": "ok", "c3": "ok"}


def test_resume_in_another_folder_is_as_it_was_typed(shop: Workshop, tmp_path: Path) -> None:
    shop.steps["one"] = "@setup.sh"
    shop.write()
    (shop.work / "setup.sh").write_text("echo #one#\n")
    shop.build(exit=1)
    shop.steps["two"] = "echo #two# mended"
    shop.write()
    elsewhere = Workshop(work=tmp_path / "work" / "deep", home=shop.home, patch=shop.patch, capture=shop.capture)
    elsewhere.work.mkdir()
    seen = elsewhere.call(command=["resume"], recorded=True, exit=0)
    assert restored(seen) == ["one"]


def test_resume_skip_goes_on_without_the_step(shop: Workshop) -> None:
    shop.build(exit=1)
    seen = shop.resume("--skip")
    assert (restored(seen), shop.ran(seen)) == (["one"], ["three"])
    assert "two is left out, as asked" in seen.err
    assert layers_made(seen) == []


def test_resume_skip_leaves_it_out_whatever_layers_there_are_of_it(shop: Workshop) -> None:
    shop.guest = []
    shop.build()
    shop.guest = [FAIL]
    shop.build("--from", "two", exit=1)
    seen = shop.resume("--skip")
    assert (restored(seen), shop.ran(seen)) == (["one"], ["three"])


def test_resume_destroys_the_machine_that_was_kept(shop: Workshop) -> None:
    first = shop.build("--on-error", "keep", exit=1)
    assert first.run is not None and first.run.machines.is_dir()
    shop.steps["two"] = "echo #two# mended"
    seen = shop.resume("--yes")
    assert "destroyed" in seen.err
    assert not first.run.machines.exists()


@pytest.mark.parametrize("option", [(), ("--skip",)])
def test_resume_asks_before_a_machine_goes_that_was_kept(shop: Workshop, option: tuple[str, ...]) -> None:
    """Somebody may have worked in it; what a layer does not have is lost."""
    first = shop.build("--on-error", "keep", exit=1)
    assert first.run is not None
    refused = shop.call(command=["resume", *option], exit=2)
    assert f"nobody can be asked here whether to delete the machines of run {first.run.id}" in refused.err
    assert "what was changed in these machines is not in it" in refused.err
    (typed,) = [line.split() for line in refused.err.splitlines() if line.strip().startswith("aibemu resume")]
    assert typed[1:] == ["resume", first.run.id, *option, "--yes"]
    assert (first.run.machines / "build").is_dir() and len(list(shop.home.runs.iterdir())) == 1
    # What cannot be resumed at all is said before.
    first.run.request_file.rename(first.run.request_file.with_suffix(".away"))
    assert "cannot be resumed" in shop.call(command=["resume"], exit=2).err
    first.run.request_file.with_suffix(".away").rename(first.run.request_file)
    shop.steps["two"] = "echo #two# mended"
    shop.write()
    shop.call(command=typed[1:], recorded=True, exit=0)
    assert not first.run.machines.exists()


@pytest.mark.parametrize("place", ["aibemu.engine.api.RunStore.create", "aibemu.engine.opening.write_private_json"])
def test_resume_that_cannot_make_its_run_leaves_the_machine_that_was_kept(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Whoever looks into it has lost it else, for nothing."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere")

    first = shop.build("--on-error", "keep", exit=1)
    assert first.run is not None
    with monkeypatch.context() as patch:
        patch.setattr(place, full)
        assert "the disk is full" in shop.call(command=["resume", "--yes"], exit=4).err
    assert first.run.machines.is_dir()


def test_resume_ends_a_kept_machine_whose_record_cannot_be_read(shop: Workshop) -> None:
    first = shop.build("--on-error", "keep", exit=1)
    assert first.run is not None
    (first.run.machines / "build" / "machine.json").write_text("{")
    shop.steps["two"] = "echo #two# mended"
    assert "destroyed the unreadable record of machine" in shop.resume("--yes").err
    assert not first.run.machines.exists()


def test_a_step_that_says_nocache_is_not_run_again_by_resume_if_it_was_done(shop: Workshop) -> None:
    shop.steps = {"one aibemu:nocache": "echo #one aibemu:nocache#", "two": "echo #two#", "three": "echo #three#"}
    shop.build(exit=1)
    shop.steps["two"] = "echo #two# mended"
    assert shop.ran(shop.resume()) == ["two", "three"]


def test_a_layer_that_was_made_on_another_runs_nocache_step_is_not_taken(shop: Workshop, ask: Any) -> None:
    shop.steps = {"one": "echo #one#", "two aibemu:nocache": "echo #two aibemu:nocache#", "three": "echo #three#"}
    shop.guest = []
    shop.build()
    shop.guest = [FAIL_TOO]
    seen, _ = ask(Answer.RETRY, Answer.GIVE_UP, exit=1)
    assert shop.ran(seen) == ["two aibemu:nocache", "three", "three"]
    assert shop.ran(shop.resume(exit=1)) == ["three"]


def test_resume_of_a_build_without_the_cache_takes_its_own_layers_only(shop: Workshop) -> None:
    shop.guest = []
    shop.build()
    shop.guest = [FAIL]
    shop.build("--no-cache", exit=1)
    seen = shop.resume(exit=1)
    assert (restored(seen), shop.ran(seen)) == (["one"], ["two"])
    shop.guest = []
    assert shop.ran(shop.resume()) == ["two", "three"]  # and of the one before that


def test_resume_needs_to_know_what_was_typed(shop: Workshop) -> None:
    first = shop.build(exit=1)
    assert first.run is not None
    assert first.run.request_file.stat().st_mode & 0o777 == 0o600
    for text in ("{", "null", "[]", '{"version": 1}', '{"template": {"unknown": 1}}'):
        first.run.request_file.write_text(text)
        seen = shop.call(command=["resume"], exit=2)
        assert "what was typed to start it is not known any more" in seen.err
    first.run.request_file.unlink()
    assert "not known any more" in shop.call(command=["resume"], exit=2).err


def test_resume_without_its_template_says_so(shop: Workshop) -> None:
    shop.build(exit=1)
    (shop.work / "template.json").unlink()
    assert "is gone" in shop.call(command=["resume"], exit=2).err


@pytest.mark.parametrize("option", [(), ("--skip",)])
def test_there_is_nothing_to_resume_of_a_run_that_succeeded(shop: Workshop, option: tuple[str, ...]) -> None:
    shop.guest = []
    shop.build()
    assert "succeeded: there is nothing to go on with, or to skip" in shop.call(command=["resume", *option], exit=2).err


def test_there_is_nothing_to_skip_where_no_customizer_failed(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.guest = []
    shop.build()
    with monkeypatch.context() as patch:
        patch.setattr(Fleet, "restore", be_cancelled)
        shop.build(exit=130)
    assert "there is nothing to skip" in shop.call(command=["resume", "--skip"], exit=2).err


@pytest.mark.parametrize("option", [("--from", "two"), ("--max-age", "0s")])
def test_resume_runs_what_the_first_command_asked_to_run(shop: Workshop, option: tuple[str, str]) -> None:
    """A layer that somebody made before would have the step that has just failed."""
    shop.guest = []
    shop.build()
    shop.guest = [FAIL]
    shop.build(*option, exit=1)
    seen = shop.resume(exit=1)
    assert (restored(seen), shop.ran(seen)) == (["one"], ["two"])
    shop.guest = []
    assert shop.ran(shop.resume()) == ["two", "three"]


def test_resume_of_a_build_that_asked_from_a_step_which_is_renamed_takes_no_other_layers(shop: Workshop) -> None:
    shop.guest = []
    shop.build()
    shop.steps = {"one": "echo #one#", "zwei": "echo #two#", "three": "echo #three#"}
    shop.guest = [FAIL]
    shop.build("--from", "zwei", exit=1)
    shop.steps = {"one": "echo #one#", "two": "echo #two#", "three": "echo #three#"}
    seen = shop.resume(exit=1)
    assert (restored(seen), shop.ran(seen)) == (["provisioned"], ["one", "two"])


def test_resume_of_a_build_from_nothing_that_froze_nothing_starts_from_nothing(shop: Workshop) -> None:
    shop.guest = []
    shop.build()
    shop.guest = [FAIL]
    shop.build("--cold", "--no-freeze", exit=1)
    shop.guest = []
    seen = shop.resume()
    assert (restored(seen), shop.ran(seen)) == ([], ["one", "two", "three"])


def test_resume_skip_leaves_out_the_step_that_failed_wherever_it_is_now(shop: Workshop) -> None:
    shop.build(exit=1)
    add_before(shop, Answer.SKIP)()
    seen = shop.resume("--skip")
    assert shop.ran(seen) == ["new", "three"]
    assert "two is left out, as asked" in seen.err


def test_resume_that_cannot_begin_leaves_the_machine_that_was_kept(shop: Workshop) -> None:
    first = shop.build("--on-error", "keep", exit=1)
    assert first.run is not None
    shop.steps = {"one": "echo #one#", "2": "echo #2#", "three": "echo #three#"}
    shop.write()
    assert "which step two is now" in shop.call(command=["resume", "--skip", "--yes"], exit=2).err
    (shop.work / "template.json").write_text("{")
    shop.call(command=["resume", "--yes"], exit=3)
    assert first.run.machines.is_dir()


@pytest.fixture
def available(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], None]:
    """Make this host have so many MiB of memory available."""

    def set_to(mib: int) -> None:
        (tmp_path / "meminfo").write_text(f"MemTotal: 16777216 kB\nMemAvailable: {mib * 1024} kB\n")

    monkeypatch.setattr("aibemu_drivers.local._MEMINFO", tmp_path / "meminfo")
    return set_to


@pytest.mark.parametrize(
    ("mode", "first", "then"),
    [
        ("cleanup", 16000, 4000),
        ("cleanup", 4000, 16000),
        ("cleanup", 4000, 2100),
        ("keep", 16000, 100),
        ("keep", 4000, 16000),
    ],
)
def test_resume_has_a_machine_of_the_same_size_whatever_is_free(
    shop: Workshop, available: Callable[[int], None], mode: str, first: int, then: int
) -> None:
    """One of another size could not start from its layers."""
    available(first)
    before = shop.build("--on-error", mode, exit=1)
    available(then)
    shop.steps["two"] = "echo #two# mended"
    seen = shop.resume("--yes")
    assert restored(seen) == ["one"]
    sizes = [e["memory_mib"] for one in (before, seen) for e in one.events if e["kind"] == "machine.started"]
    assert len(set(sizes)) == 1


def test_resume_has_a_smaller_machine_where_the_cap_is_lower(shop: Workshop) -> None:
    shop.build(exit=1)
    seen = shop.resume(exit=1, env={"AIBEMU_MEMORY_CAP_MIB": "1024"})
    assert (restored(seen), shop.ran(seen)) == ([], ["one", "two"])


def test_two_builds_have_machines_of_one_size_and_share_layers_whatever_is_free(
    shop: Workshop, available: Callable[[int], None]
) -> None:
    shop.guest = []
    available(14000)
    shop.build()
    available(700)  # another build has the rest
    seen = shop.build()
    assert (restored(seen), shop.ran(seen)) == (["three"], [])


def test_each_resume_skip_leaves_out_one_more(shop: Workshop) -> None:
    shop.guest = [FAIL, FAIL_TOO]
    shop.build(exit=1)
    assert shop.ran(shop.resume("--skip", exit=1)) == ["three"]
    seen = shop.resume("--skip")
    assert (restored(seen), shop.ran(seen)) == (["one"], [])
    assert "two is left out, as asked" in seen.err and "three is left out, as asked" in seen.err


def test_resume_after_a_skip_leaves_out_what_was_skipped_and_is_as_it_was(shop: Workshop, ask: Any) -> None:
    shop.guest = [FAIL, FAIL_TOO]
    ask(Answer.SKIP, Answer.GIVE_UP, exit=1)
    shop.steps["three"] = "echo #three# mended"
    assert shop.ran(shop.resume()) == ["three"]


def test_a_run_that_goes_on_with_one_that_went_on_has_what_the_first_one_made(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.guest = []
    shop.build()
    shop.guest = [FAIL]
    shop.build("--no-cache", exit=1)

    with monkeypatch.context() as patch:
        patch.setattr(Fleet, "restore", be_cancelled)
        assert layers_made(shop.resume(exit=130)) == []
    seen = shop.resume(exit=1)
    assert (restored(seen), shop.ran(seen)) == (["one"], ["two"])


def be_cancelled(fleet: Fleet, layer: Layer, *_: object) -> None:
    raise BuildCancelled("Ctrl-C")


@pytest.mark.parametrize("more", [{"version": 1}, {"version": 2, "from_step": None, "max_age": None}])
def test_a_run_of_an_aibemu_that_remembered_less_is_resumed(shop: Workshop, more: dict[str, Any]) -> None:
    """Versions 1 and 2 of request.json hold the words of the command line."""
    first = shop.build(exit=1)
    assert first.run is not None
    options = json.loads(first.run.request_file.read_text())
    template = {name: value for name, value in options["template"].items() if name != "folder"}
    chosen = options["driver"]["options"] | {"script": "guest.yaml"}  # as it was typed in the folder `cwd`
    words = {
        "template": template | {"file": str(shop.work / "template.json")}, "cwd": str(shop.work), "out": None,
        "driver": "scripted", "driver_options": chosen, "offline": False, "identities": [],
        "verify_boot": False, "also": [], "compress": False, "log_format": None, "cold": False, "cache": None,
        "freeze": True,
    }  # fmt: skip
    first.run.request_file.write_text(json.dumps(words | more))
    shop.steps["two"] = "echo #two# mended"
    shop.write()
    (shop.work.parent / "elsewhere").mkdir()
    shop.work = shop.work.parent / "elsewhere"
    seen = shop.call(command=["resume"], recorded=True, exit=0)
    assert shop.ran(seen) == ["two", "three"]


def test_a_template_that_was_sent_and_is_in_no_file_is_resumed(shop: Workshop) -> None:
    first = shop.build(exit=1)
    assert first.run is not None
    value = json.loads(first.run.request_file.read_text())
    assert value["document"]["text"] == "", "it is in its file, which may hold secrets"
    shop.steps["two"] = "echo #two# mended"
    text = shop.write().read_text()
    shop.work.joinpath("template.json").unlink()
    value["document"] |= {"text": text, "name": "sent.json", "in_file": False}
    first.run.request_file.write_text(json.dumps(value))
    assert shop.ran(shop.call(command=["resume"], recorded=True, exit=0)) == ["two", "three"]


# Answered from another terminal


def test_resume_answers_a_run_that_waits_in_another_terminal(shop: Workshop) -> None:
    told: list[str] = []

    def other_terminal() -> None:
        run = waiting_run(shop.home)
        shop.steps["two"] = "echo #two# mended"
        shop.write()
        told.append(answer_as_resume_does(run))

    other = threading.Thread(target=other_terminal)
    other.start()
    seen = shop.build("--on-error", "ask")
    other.join(20)
    assert told == ["retry"]
    assert shop.ran(seen) == ["one", "two", "two", "three"]
    assert seen.run is not None and not seen.run.answer_file.exists()


def test_a_person_has_seen_what_happened_before_they_are_asked(
    shop: Workshop, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, shown = threading.Event(), PlainView.on_event

    def slow(view: PlainView, event: Event) -> None:
        if event.kind is Kind.RUN_WAITING:
            asked.wait(0.5)
        shown(view, event)

    def answer() -> Answer:
        asked.set()
        told.append(shop.capture.readouterr().err)
        return Answer.GIVE_UP

    told: list[str] = []
    monkeypatch.setattr(PlainView, "on_event", slow)
    ask(answer, exit=1)
    assert told[0].index("no such package") < told[0].index("waiting")


def waiting_run(home: Home) -> Run:
    """The run that waits for an answer, as soon as its record says so."""
    for _ in range(2000):
        for run in RunStore(home.runs).runs():
            if run.events_file.exists() and '"run.waiting"' in run.events_file.read_text():
                return run
        threading.Event().wait(0.005)
    raise AssertionError("no run waits")


def answer_as_resume_does(run: Run) -> str:
    from types import SimpleNamespace

    from aibemu.cli.resume import _answer

    said: list[dict[str, str]] = []
    app: Any = SimpleNamespace(result=lambda data, lines: said.append(data))
    _answer(app, run, skip=False)
    return said[0]["answer"]
