"""A build is a value: several in one process, started from any thread, each with its own cancel and its own record."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import CancelToken, SystemClock
from aibemu.engine.api import BuildHandle, BuildOptions, BuildReport, Installation, prepare, start
from aibemu.engine.preparing.options import DriverChoice, OutputOptions, ReuseOptions
from aibemu.errors import BuildCancelled, CustomizerFailed
from aibemu.events import Kind
from aibemu.paths import Home
from aibemu.plan.reuse import Wish
from aibemu.runs.store import Run
from aibemu.settings import Settings
from aibemu.submission.request import Document, TemplateRequest

CASE = Path(__file__).parent / "cases/order-of-steps/template.json"
PATIENCE = 60  # seconds for what takes no time
# What differs between two runs of one template.
CHANCE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|pkrvm[a-z0-9]{10}|script_\d+|packer-shell\d+"
    r"|AIBEMU-[A-Z]+-[0-9a-f]+|ssh-ed25519 \S+|storageAccounts/[0-9a-f]{24}"
)


@pytest.fixture
def installation(scenario_home: Home) -> Installation:
    return Installation(home=scenario_home, settings=Settings(), clock=SystemClock())


def options(name: str, folder: Path, *, guest: str = "") -> BuildOptions:
    """A template of three steps, given as text. guest: a script of what its guest does."""
    document = json.loads(CASE.read_text())
    resource = document["resources"][0]
    resource["name"] = name
    resource["properties"]["customize"] = [
        {"type": "Shell", "name": step, "inline": [f"echo #{step}#"]} for step in ("one", "two", "three")
    ]
    chosen: dict[str, str] = {}
    if guest:
        (folder / f"{name}.yaml").write_text(guest)
        chosen["script"] = str(folder / f"{name}.yaml")
    request = TemplateRequest(
        document=Document(text=json.dumps(document), name=f"{name}.json", base=folder), folder=folder
    )
    return BuildOptions(
        template=request, subscription_id="11111111-1111-1111-1111-111111111111", resource_group=f"group-{name}",
        driver=DriverChoice(name="scripted", options=chosen), outputs=OutputOptions(log_format="B"),
        reuse=ReuseOptions(wish=Wish(warm=False, cache=False), freeze=False),
    )  # fmt: skip


def silent(kind: Kind, /, **fields: Any) -> None:
    """Nobody listens."""


def begin(wanted: BuildOptions, installation: Installation, **more: Any) -> BuildHandle:
    return start(prepare(wanted, installation, emit=silent, cancel=CancelToken()), **more)


def record(run: Run) -> list[Any]:
    """The events of a run without what differs between two runs of one template."""
    found = []
    for event in run.events():
        value = event.as_json()
        for name in ("at", "seconds", "pid"):
            value.pop(name, None)
        text = json.dumps(value, sort_keys=True).replace(run.id, "RUN")
        found.append(json.loads(CHANCE.sub("CHANCE", text)))
    return found


def await_step(run: Run, step: str) -> None:
    """Until that step runs."""
    never = threading.Event()
    for _ in range(PATIENCE * 100):
        if any(event.kind is Kind.STEP_STARTED and event.step == step for event in run.events()):
            return
        never.wait(0.01)
    raise AssertionError(f"step {step} of run {run.id} never began")


@pytest.fixture
def no_process_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nobody looks at the working directory, or changes it or the environment."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = dict(os.environ)
    yield
    assert Path.cwd() == tmp_path / "elsewhere"
    assert {name: text for name, text in os.environ.items() if name != "PYTEST_CURRENT_TEST"} == {
        name: text for name, text in before.items() if name != "PYTEST_CURRENT_TEST"
    }


SLOW = "- {match: '#two#', delay: 600}"
FAILS = "- {match: '#two#', exit: 7, stderr: [no such package]}"


@pytest.mark.usefixtures("no_process_state")
def test_four_at_once_leave_the_records_that_each_leaves_alone(installation: Installation, tmp_path: Path) -> None:
    """One of them is cancelled, one fails; the others do not notice."""
    wanted = {
        "well": options("well", tmp_path), "also": options("also", tmp_path),
        "fails": options("fails", tmp_path, guest=FAILS), "slow": options("slow", tmp_path, guest=SLOW),
    }  # fmt: skip
    handles: dict[str, BuildHandle] = {}
    together = threading.Barrier(len(wanted))

    def run(name: str) -> None:
        together.wait(PATIENCE)
        handles[name] = begin(wanted[name], installation)

    threads = [threading.Thread(target=run, args=(name,)) for name in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    await_step(handles["slow"].run, "c2")
    others = {name: handles[name].wait() for name in wanted if name != "slow"}
    handles["slow"].cancel("not wanted any more")
    reports = {**others, "slow": handles["slow"].wait()}
    assert {name: report.summary.state for name, report in reports.items()} == {
        "well": "Succeeded", "also": "Succeeded", "fails": "Failed", "slow": "Canceled",
    }  # fmt: skip
    assert isinstance(reports["fails"].error, CustomizerFailed)
    assert isinstance(reports["slow"].error, BuildCancelled) and "not wanted any more" in str(reports["slow"].error)
    for name in wanted:
        together_, by_itself = record(reports[name].run), record(alone(wanted[name], installation).run)
        if name == "slow":  # the cancel is told by another thread than the step's end
            together_, by_itself = (sorted(map(unnumbered, one)) for one in (together_, by_itself))
        assert together_ == by_itself, name
    assert not list(installation.home.runs.glob("*/machines"))


def unnumbered(event: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in event.items() if name != "seq"})


def alone(wanted: BuildOptions, installation: Installation) -> BuildReport:
    handle = begin(wanted, installation)
    if "slow" in wanted.template.document.name:
        await_step(handle.run, "c2")
        handle.cancel("not wanted any more")
    return handle.wait()


def test_a_build_is_of_the_subscription_and_group_that_it_names(installation: Installation, tmp_path: Path) -> None:
    report = begin(options("well", tmp_path), installation).wait()
    assert report.summary.template_id.startswith(
        "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/group-well/"
    )
    assert "group-well" in report.summary.staging


def test_a_run_that_is_built_looks_alive_to_its_own_process(installation: Installation, tmp_path: Path) -> None:
    """The lock is of the run, not of the process: a sweep of this process must not take it for dead."""
    handle = begin(options("slow", tmp_path, guest=SLOW), installation)
    assert handle.run.alive()
    handle.cancel()
    handle.wait()
    assert not handle.run.alive()


def test_a_bug_reaches_who_waits_and_the_record_has_its_end(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("aibemu.engine.build.customize", crash)
    handle = begin(options("well", tmp_path), installation)
    with pytest.raises(ZeroDivisionError):
        handle.wait()
    with pytest.raises(ZeroDivisionError):  # and who waits again
        handle.wait()
    last = list(handle.run.events())[-1]
    assert (last.kind, last.fields["error"]["code"]) == (Kind.RUN_FINISHED, "INTERNAL")
    assert not handle.run.alive()


def test_in_the_foreground_it_is_built_by_who_waits(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[threading.Thread] = []
    monkeypatch.setattr("aibemu.engine.build.customize", lambda _: seen.append(threading.current_thread()))
    handle = begin(options("well", tmp_path), installation, background=False)
    assert seen == []
    first = handle.wait()
    assert seen == [threading.current_thread()]
    assert handle.wait() is first


def test_what_is_cancelled_while_it_is_prepared_makes_no_run(installation: Installation, tmp_path: Path) -> None:
    cancel = CancelToken()
    wanted = options("well", tmp_path)
    folder = tmp_path / "scripts"
    folder.mkdir()
    cancel.cancel("too late")
    document = json.loads(wanted.template.document.text)
    document["resources"][0]["properties"]["customize"] = [{"type": "Shell", "scriptUri": "http://127.0.0.1:9/x.sh"}]
    text = replace(wanted.template.document, text=json.dumps(document))
    with pytest.raises(BuildCancelled):
        prepare(
            replace(wanted, template=replace(wanted.template, document=text)), installation,
            emit=silent, cancel=cancel,
        )  # fmt: skip
    assert not installation.home.runs.exists() or list(installation.home.runs.iterdir()) == []
