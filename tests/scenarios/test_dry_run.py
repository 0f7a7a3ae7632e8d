"""A dry run is never taken for the real thing: it writes nothing but its own record, and is called so everywhere."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from aibemu.paths import Home
from aibemu.testing.plugins import write_distribution
from tests.scenarios.case import CASES, Step
from tests.scenarios.layered import Workshop
from tests.scenarios.observing import Seen, observe

CASE = CASES / "success-all-targets"
# What a run that is over may leave in its directory.
RECORD = {"run.lock", "events.ndjson", "template.json", "request.json", "ended"}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Workshop:
    """A home without any image, and a template for all three kinds of targets; its VHD has a `uri`."""
    made = Workshop(work=tmp_path / "work", home=Home.at(tmp_path / "home"), patch=monkeypatch, capture=capsys)
    shutil.copytree(CASE, made.work)
    document = json.loads((CASE / "template.json").read_text())
    vhd = next(one for one in document["resources"][0]["properties"]["distribute"] if one["type"] == "VHD")
    vhd["uri"] = str(tmp_path / "elsewhere" / "web.vhd")
    (tmp_path / "elsewhere").mkdir()
    (made.work / "template.json").write_text(json.dumps(document))
    return made


def call(shop: Workshop, *command: str, exit: int = 0, recorded: bool = False) -> Seen:
    step = Step(at="a dry run", values={"command": list(command), "recorded": recorded, "clock": "real"})
    seen = observe(step, work=shop.work, home=shop.home, patch=shop.patch, capture=shop.capture)
    assert seen.code == exit, f"exit {seen.code}\n{seen.out}\n{seen.err}"
    return seen


def dry(shop: Workshop, *args: str, **given: Any) -> Seen:
    return call(shop, "run", "template.json", "--driver", "dryrun", *args, recorded=True, **given)


def answer(seen: Seen) -> Any:
    return json.loads(seen.out)["data"]


def contents(*roots: Path) -> dict[str, str]:
    """Every file below `roots` with what is in it, and every folder."""
    found = sorted(path for root in roots if root.exists() for path in (root, *root.rglob("*")))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in found}


def kept(shop: Workshop) -> dict[str, str]:
    """All that outlives a run, but for what was fetched."""
    home = shop.home
    return contents(home.images, home.cloud, home.layers, shop.work, shop.work.parent / "elsewhere")


def test_it_writes_nothing_but_its_record_and_needs_no_image(shop: Workshop) -> None:
    before = kept(shop)
    seen = dry(shop, "--out", "out", "--also", "qcow2", "--verify-boot", "--on-error", "keep")
    assert kept(shop) == before
    assert seen.run is not None
    assert {path.name for path in seen.run.directory.iterdir()} <= RECORD
    assert "nothing is known here of" in seen.err and "Debian:debian-12:12:latest is not in the store" in seen.err


def test_what_a_real_build_left_stays_as_it_was(shop: Workshop, scenario_home: Home) -> None:
    """The managed image, the gallery version, run outputs, lastRunStatus, the VHD, `--out` and layers."""
    shop.home = scenario_home
    real = shop.call(
        command=["run", "template.json", "--driver-option", "freezes=yes", "--out", "out"],
        recorded=True, exit=0,
    )  # fmt: skip
    assert "the driver scripted only plays guests" in real.err  # nor is that taken for a build
    before = kept(shop)
    assert len(list((shop.work / "out").iterdir())) > 1 and any(shop.home.layers.iterdir())
    seen = dry(shop, "--out", "out")
    assert kept(shop) == before
    assert [step.status for step in seen.summary.steps] == ["not run"] * 3
    # The real one's documents are not shown as the dry run's.
    (output, *_) = answer(call(shop, "outputs", seen.summary.id, "-o", "json"))["outputs"]
    assert (output["status"], output["artifact"], output["files"], output["runOutput"]) == (
        "not written",
        None,
        [],
        None,
    )
    assert answer(call(shop, "outputs", real.summary.id, "-o", "json"))["outputs"][0]["runOutput"]


def test_it_is_called_a_dry_run_wherever_it_is_named(shop: Workshop) -> None:
    seen = dry(shop)
    run = seen.summary.id
    assert f"dry run {run}: template" in seen.err and "Succeeded" not in seen.out + seen.err
    assert seen.out.splitlines()[-1] == f"dry run {run}: nothing was run, nothing was written"
    for words in (["status"], ["status", run], ["outputs"], ["logs"], ["logs", "--step", "c1"], ["clean", "--all"]):
        more = ["--dry-run"] if words[0] == "clean" else []
        said = call(shop, *words, *more).out
        assert "dry run" in said and "Succeeded" not in said, (words, said)
    assert call(shop, "destroy", run).out == f"dry run {run} has no machine: nothing to destroy\n"
    assert "log  " not in call(shop, "status", run).out  # it has none
    assert "WebServer          -  not run" in call(shop, "status", run).out
    assert "web-vhd (VHD): not written" in call(shop, "outputs", run).out


def test_programs_have_a_field_for_it(shop: Workshop) -> None:
    seen = dry(shop, "-o", "json", "--out", "out")
    data = answer(seen)
    assert (data["dryRun"], data["out"], data["lastRunStatus"]["runState"]) == (True, None, "DryRun")
    assert [(one["status"], one["artifact"], one["paths"]) for one in data["outputs"]] == [
        ("not written", None, [])
    ] * 3
    (listed,) = answer(call(shop, "status", "-o", "json"))["runs"]
    assert (listed["dryRun"], listed["state"]) == (True, "DryRun")
    assert {step["status"] for step in listed["steps"]} == {"not run"}
    assert {phase["status"] for phase in listed["phases"]} == {"not run"}
    for words in (["outputs"], ["logs"], ["logs", "--events"], ["logs", "--console"], ["logs", "--step", "c1"]):
        assert answer(call(shop, *words, "-o", "json"))["dryRun"] is True, words
    for option, name in (("--findings", "findings"), ("--platform", "requests")):
        said = answer(call(shop, "logs", option, "-o", "json"))
        assert (said["dryRun"], said[name]) == (True, []), option
    assert answer(call(shop, "destroy", listed["id"], "-o", "json"))["dryRun"] is True
    assert answer(call(shop, "clean", "--all", "--dry-run", "-o", "json"))["runs"][0]["dryRun"] is True
    started = seen.events[0]
    assert started["dry_run"] is True
    assert {event["kind"] for event in seen.events} >= {"step.not_run", "output.not_written"}
    assert not {event["kind"] for event in seen.events} & {"step.started", "step.finished", "output.finished"}


def test_there_is_nothing_in_it_to_go_on_with_or_to_get_into(shop: Workshop) -> None:
    seen = dry(shop)
    for words in (["resume"], ["resume", "--skip"], ["exec", seen.summary.id, "--", "id"]):
        said = call(shop, *words, exit=2)
        assert "is a dry run" in said.err, words


def test_validations_in_a_guest_are_not_run_either(shop: Workshop) -> None:
    shutil.copy(CASES / "validation-fails" / "template.json", shop.work / "template.json")
    for path in (CASES / "validation-fails").iterdir():
        shutil.copy(path, shop.work)
    seen = dry(shop)
    assert {step.id: step.status for step in seen.summary.steps}["v1"] == "not run"
    assert seen.run is not None and not seen.run.log("validation.log").exists()


def test_it_can_be_cancelled(shop: Workshop) -> None:
    (shop.home.runs).mkdir(parents=True)
    step = Step(
        at="a dry run that is cancelled",
        values={
            "command": ["run", "template.json", "--driver", "dryrun"], "clock": "real",
            "cancel": {"when": "run.started", "how": "file"},
        },
    )  # fmt: skip
    seen = observe(step, work=shop.work, home=shop.home, patch=shop.patch, capture=shop.capture)
    assert (seen.code, seen.summary.state) in {(130, "Canceled"), (0, "DryRun")}  # whichever was first
    assert seen.summary.shown_state.startswith("dry run")
    assert "aibemu resume" not in seen.err


def test_any_driver_that_boots_nothing_is_one(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what the driver says of itself that counts, not what it is called."""
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "idle_driver.py").write_text(
        textwrap.dedent("""
        from aibemu_drivers.dryrun import DryrunDriver

        class IdleDriver(DryrunDriver):
            name = "idle"
        """)
    )
    write_distribution(folder, "aibemu-idle", {"aibemu.drivers": {"idle": "idle_driver:IdleDriver"}})
    monkeypatch.syspath_prepend(folder)
    before = kept(shop)
    seen = call(shop, "run", "template.json", "--driver", "idle", recorded=True)
    assert seen.summary.dry_run and kept(shop) == before
    sys.modules.pop("idle_driver", None)


def test_a_dry_run_of_an_earlier_version_is_called_one_and_can_be_deleted(shop: Workshop) -> None:
    """Its record has no field for it, but options that the driver does not have any more, and a machine."""
    seen = dry(shop)
    assert seen.run is not None
    text = seen.run.events_file.read_text().replace(',"dry_run":true', "")
    text = text.replace('"driver_options":{}', '"driver_options":{"script":"/nowhere"}').replace("DryRun", "Succeeded")
    seen.run.events_file.write_text(text)
    (seen.run.machines / "build").mkdir(parents=True)
    (seen.run.machines / "build" / "machine.json").write_text('{"driver": "dryrun", "spec": {}}')
    said = call(shop, "status").out
    assert "dry run" in said and "Succeeded" not in said
    call(shop, "clean", seen.summary.id, "--yes")
    assert not seen.run.directory.exists()
