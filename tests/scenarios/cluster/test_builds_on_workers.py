"""Builds on the workers of a cluster that stays whole: what comes back is as if it had been built here."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.engine.api import BuildOptions
from aibemu.errors import BuildCancelled, CustomizerFailed, HostNotReady, ImageMissing, UsageError
from aibemu.events import Kind
from aibemu.paths import Home
from aibemu.runs.store import RunStore
from tests.scenarios.cluster.clients import Client, in_step, worker_of
from tests.scenarios.cluster.processes import Processes, until

GUEST = "- {match: '#two#', exit: 7, stderr: [no such package]}"
SLOW = "- {match: '#two#', delay: 600}"


@pytest.fixture
def client(lasting: Processes, make_client: Callable[[str], Client]) -> Iterator[Client]:
    yield make_client(lasting.address)


def with_step(wanted: BuildOptions, **step: object) -> BuildOptions:
    """The template with one step more."""
    document = json.loads(wanted.template.document.text)
    document["resources"][0]["properties"]["customize"].append(step)
    text = replace(wanted.template.document, text=json.dumps(document))
    return replace(wanted, template=replace(wanted.template, document=text))


def test_a_failed_step_is_told_as_here(client: Client) -> None:
    handle = client.begin(client.template("fails", guest=GUEST))
    report = handle.wait()
    assert isinstance(report.error, CustomizerFailed)
    assert report.error.span is not None and report.error.span.file == "fails.json"
    assert report.error.span == handle._running.prepared.plan.steps[1].spec.span
    log = report.run.log("customization.log").read_text()
    assert "no such package" in log
    events = list(report.run.events())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    started = [event for event in events if event.kind is Kind.STEP_STARTED]
    assert [event.step for event in started] == ["c1", "c2"]
    assert {event.run for event in events} == {report.run.id}
    machine = next(event for event in events if event.kind is Kind.MACHINE_STARTED)
    assert machine.fields["machine"].startswith(report.run.id) and machine.fields["access"] is None
    assert not [path for path in report.run.directory.rglob("*") if path.name.startswith("machines")]


def test_scripts_files_and_mapped_addresses_are_sent_by_digest_and_once(
    client: Client, lasting: Processes, tmp_path: Path
) -> None:
    folder = client.folder / "scripts"
    folder.mkdir()
    (folder / "a.sh").write_text("echo from a mapped address\n")
    (client.folder / "motd").write_bytes(b"x" * 5_000_000)
    wanted = client.template("files")
    wanted = with_step(wanted, type="Shell", name="mapped", scriptUri="https://example.com/s/a.sh")
    wanted = with_step(wanted, type="File", name="file", sourceUri="motd", destination="/tmp/motd")
    request = replace(wanted.template, mappings=(f"https://example.com/s={folder}",))
    report = client.begin(replace(wanted, template=request)).wait()
    assert report.summary.state == "Succeeded", report.error
    worker = lasting.workers[worker_of(report.run)]
    digest = hashlib.sha256(b"x" * 5_000_000).hexdigest()
    assert (worker.home.cache / "artifacts" / "files" / digest).stat().st_size == 5_000_000
    assert not list(worker.home.cache.rglob("*.incoming"))
    told = [e.fields["message"] for e in report.run.events() if e.kind is Kind.NOTICE]
    assert sum("sending a file" in text for text in told) == 2
    # The other worker may get the next ones: at the third at the latest one has it.
    again = [client.begin(replace(wanted, template=request)).wait() for _ in range(2)]
    for one in again:
        if worker_of(one.run) == worker.name:
            assert not any("sending" in str(event.fields.get("message")) for event in one.run.events())


def test_secrets_are_in_no_record_of_either_side(client: Client, lasting: Processes) -> None:
    wanted = client.template("secrets", guest="- {match: 'pass', stdout: ['it is Sw0rdfish-of-mine']}")
    document = json.loads(wanted.template.document.text)
    document["parameters"] = {"password": {"type": "secureString"}}
    document["resources"][0]["properties"]["customize"] = [
        {"type": "Shell", "name": "one", "inline": ["[concat('login --pass ', parameters('password'))]"]},
        {"type": "Shell", "name": "two", "inline": ["echo [[not an expression]"]},
    ]  # fmt: skip
    text = replace(wanted.template.document, text=json.dumps(document))
    request = replace(wanted.template, document=text, parameters=("password=Sw0rdfish-of-mine",))
    report = client.begin(replace(wanted, template=request)).wait()
    assert report.summary.state == "Succeeded", report.error
    worker = lasting.workers[worker_of(report.run)]
    homes = (client.home.runs, worker.home.runs)
    kept = [path for home in homes for path in home.rglob("*") if path.is_file() and path.name != "request.json"]
    assert kept and not [path for path in kept if b"Sw0rdfish" in path.read_bytes()]
    assert b"Sw0rdfish" not in worker.log.read_bytes()


def test_a_cancel_ends_the_build_on_the_worker_within_ten_seconds(client: Client, lasting: Processes) -> None:
    handle = client.begin(client.template("slow", guest=SLOW))
    in_step(handle.run, "c2")
    worker = lasting.workers[worker_of(handle.run)]
    theirs = RunStore(worker.home.runs).runs()[0]
    handle.cancel("not wanted any more")
    report = handle.wait()
    assert isinstance(report.error, BuildCancelled) and "not wanted any more" in str(report.error)
    until(theirs.finished, "the end of the worker's run")
    last = list(theirs.events())[-1]
    assert (last.kind, last.fields["state"]) == (Kind.RUN_FINISHED, "Canceled")
    assert not theirs.machines.exists() or not list(theirs.machines.iterdir())


def test_a_failed_validation_distributes_if_the_template_says_so(client: Client) -> None:
    validate = {
        "inVMValidations": [{"type": "Shell", "name": "check", "inline": ["echo #check#"]}],
        "continueDistributeOnFailure": True,
    }  # fmt: skip
    wanted = client.template("validated", guest="- {match: '#check#', exit: 3}", validate=validate)
    report = client.begin(wanted).wait()
    assert report.error is not None and report.error.code == "VALIDATION_FAILED"
    assert [output.status for output in report.summary.outputs] == ["ok"]
    assert client.home.cloud.exists()


def test_an_image_that_is_not_here_is_asked_for_before_anything_is_sent(client: Client) -> None:
    source = {"type": "PlatformImage", "publisher": "a", "offer": "b", "sku": "c", "version": "latest"}
    with pytest.raises(ImageMissing):
        client.begin(client.template("nothing", source=source))


def test_what_needs_somebody_at_the_machine_is_refused(client: Client) -> None:
    from aibemu.engine.asking import Pauses

    wanted = replace(client.template("paused"), pauses=Pauses(before=("one",)))
    with pytest.raises(UsageError, match="not with builds on other computers"):
        client.begin(wanted)
    assert not RunStore(client.home.runs).runs()


def test_builds_wait_for_a_worker_with_room(client: Client) -> None:
    """Each of two workers has its CPUs; a third build of as many waits, and says for what."""
    big = {"vmSize": "Standard_D64s_v3"}
    slow = [client.begin(client.template(f"slow{number}", guest=SLOW, vmProfile=big)) for number in (1, 2)]
    for handle in slow:
        in_step(handle.run, "c2")
    assert {worker_of(handle.run) for handle in slow} == {"one", "two"}
    third = client.begin(client.template("third", vmProfile=big))
    until(lambda: [e for e in third.run.events() if e.fields.get("awaited")], "that it waits")
    assert not [e for e in third.run.events() if e.fields.get("message", "").startswith("built on")]
    slow[0].cancel()
    report = third.wait()
    slow[1].cancel()
    assert report.summary.state == "Succeeded" and report.summary.awaits == ""
    for handle in slow:
        handle.wait()


def test_two_clients_do_not_hear_each_other(
    client: Client, lasting: Processes, make_client: Callable[[str], Client], scenario_home: Home
) -> None:
    other = make_client(lasting.address)
    together = threading.Barrier(2)
    found = {}

    def build(name: str, asks: Client) -> None:
        together.wait(60)
        found[name] = asks.begin(asks.template(name)).wait()

    threads = [threading.Thread(target=build, args=item) for item in (("left", client), ("right", other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert {name: report.summary.state for name, report in found.items()} == {
        "left": "Succeeded", "right": "Succeeded",
    }  # fmt: skip
    assert {report.summary.template for report in found.values()} == {"left", "right"}


def test_a_cluster_with_room_for_nothing_says_what_it_has(client: Client) -> None:
    from aibemu.cluster.resources import CPUS, VERSION, check_room

    with pytest.raises(HostNotReady, match="no worker of the cluster has room"):
        check_room({CPUS: 4096, VERSION: 1}, client.cluster.workers(client.deadline))
