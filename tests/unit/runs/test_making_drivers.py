"""Each verb has the driver that a run was built with: its name, its options, and the folders of the installation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from aibemu import plugins
from aibemu.cli.main import run as program
from aibemu.clock import SystemClock
from aibemu.events import Kind
from aibemu.hypervisor import Capabilities, DriverFolders, Finding, Firmware, Leftover
from aibemu.paths import Home
from aibemu.reports.summary import RunSummary
from aibemu.runs.drivers import driver_of, make_driver
from aibemu.runs.store import Run, RunStore
from aibemu.runs.sweep import sweep
from aibemu.telemetry import Telemetry
from aibemu.views.ndjson import NdjsonView

OPTIONS = {"uri": "far:away", "key": "/k"}


class Left:
    """What a hypervisor still has of a machine whose directory is gone."""

    def __init__(self, id: str) -> None:
        self.id, self.directory, self.ended = id, Path("/gone"), 0

    def destroy(self) -> None:
        self.ended += 1


class FakeDriver:
    """Notes how it is made, and has no machine but what a test says is left."""

    name = "fake"
    made: ClassVar[list[FakeDriver]] = []
    left: ClassVar[Sequence[Left]] = ()

    def __init__(self, options: Mapping[str, str], folders: DriverFolders) -> None:
        self.options, self.folders = options, folders
        self.made.append(self)

    def capabilities(self) -> Capabilities:
        return Capabilities(boots_guests=True, screenshots=False, firmwares=frozenset(Firmware))

    def check(self) -> Sequence[Finding]:
        return ()

    def find(self, directory: Path) -> None:
        return None

    def list(self, owner: str) -> Sequence[Leftover]:
        return [one for one in self.left if one.id.startswith(owner) and not one.ended]


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> list[FakeDriver]:
    """The drivers that were made, the first one first."""
    made: list[FakeDriver] = []
    monkeypatch.setattr(FakeDriver, "made", made)
    monkeypatch.setattr(FakeDriver, "left", ())
    monkeypatch.setattr(plugins, "names", lambda group: frozenset({"fake"}))
    monkeypatch.setattr(plugins, "broken", lambda group: {})
    load = plugins.load
    monkeypatch.setattr(
        plugins, "load", lambda group, name: FakeDriver if group == "aibemu.drivers" else load(group, name)
    )
    return made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Named by an option only: what the environment names is another one."""
    monkeypatch.setenv("AIBEMU_HOME", str(tmp_path / "another"))
    return Home.at(tmp_path / "home")


def record(home: Home, *, ended: bool = True, **more: Any) -> Run:
    run, lock = RunStore(home.runs).create()
    view = NdjsonView(run.events_file)
    chain = Telemetry(run.id, [view], SystemClock(), lambda value: value)
    chain.emit(Kind.RUN_STARTED, template="demo", driver="fake", **more)
    chain.emit(Kind.MACHINE_STARTED, machine=f"{run.id}-build", role="build", memory_mib=512, endpoint="127.0.0.1:9")
    if ended:
        chain.emit(Kind.RUN_FINISHED, state="Failed", sub_state="", message="m", seconds=1.0, error=None)
    view.close()
    lock.release()
    (run.machines / "build").mkdir(parents=True)
    return run


def folders_of(home: Home) -> DriverFolders:
    return DriverFolders(cache=home.cache / "fake", runs=home.runs)


def test_a_driver_gets_its_options_and_folders_of_its_own(home: Home, drivers: list[FakeDriver]) -> None:
    made: object = make_driver("fake", OPTIONS, home)
    assert drivers == [made]
    assert (drivers[0].options, drivers[0].folders) == (OPTIONS, folders_of(home))


def test_a_run_that_names_no_driver_has_none_and_an_old_one_has_no_options(
    home: Home, drivers: list[FakeDriver]
) -> None:
    assert driver_of(RunSummary(), home) is None
    assert driver_of(RunSummary(driver="fake"), home) is not None
    assert drivers[0].options == {}


@pytest.mark.parametrize(
    ("verb", "ended"),
    [
        (("shell", "{run}"), True), (("exec", "{run}", "--", "true"), True), (("destroy", "{run}", "--yes"), True),
        (("clean", "{run}", "--yes"), True), (("resume", "{run}", "--yes"), True), (("status",), False),
        (("doctor",), False),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_every_verb_has_the_driver_of_the_run(
    home: Home, drivers: list[FakeDriver], verb: tuple[str, ...], ended: bool, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = record(home, ended=ended, driver_options=OPTIONS)
    if verb[0] == "resume":
        _can_be_resumed(run, tmp_path)
    program(["--home", str(home.root), *(word.format(run=run.id) for word in verb)])
    assert drivers, capsys.readouterr().err
    assert (drivers[0].options, drivers[0].folders) == (OPTIONS, folders_of(home))


def _can_be_resumed(run: Run, folder: Path) -> None:
    from aibemu.engine.preparing.options import BuildOptions, DriverChoice
    from aibemu.submission.request import TemplateRequest

    (folder / "t.json").write_text("{}")
    options = BuildOptions(
        template=TemplateRequest.of_file(folder / "t.json", folder), subscription_id="s", resource_group="g",
        driver=DriverChoice(name="fake", options=OPTIONS),
    )  # fmt: skip
    run.request_file.write_text(json.dumps(options.to_json()))


@pytest.mark.parametrize("verb", ["doctor", "drivers"])
def test_verbs_about_drivers_use_the_folders_of_the_home_that_was_given(
    home: Home, drivers: list[FakeDriver], verb: str
) -> None:
    program(["--home", str(home.root), verb])
    own = folders_of(home)
    # doctor also makes the driver of the settings, whose folder has another name.
    found = [(made.options, made.folders.runs, made.folders.cache.parent) for made in drivers]
    assert found and all(one == ({}, own.runs, own.cache.parent) for one in found)


def test_a_machine_whose_directory_is_gone_is_ended_with_its_dead_run(
    home: Home, drivers: list[FakeDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record(home, ended=False)
    left, foreign = Left(f"{run.id}-build"), Left("other-build")
    monkeypatch.setattr(FakeDriver, "left", (left, foreign))
    (said,) = sweep(home, SystemClock())
    assert f"machine {left.id}, whose directory was gone" in said
    assert (left.ended, foreign.ended) == (1, 0)
    assert sweep(home, SystemClock()) == []
