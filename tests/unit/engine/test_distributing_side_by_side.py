"""Targets are written side by side: what comes of them is in the template's order, and nothing is left running."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.cloud.local import LocalCloud
from aibemu.distributors import Artifact, DistributorTools, FinishedImage
from aibemu.engine.phases.distribute import distribute
from aibemu.engine.state import BuildState
from aibemu.errors import BuildCancelled, BuildTimedOut, DistributeFailed, Span
from aibemu.events import Event, Kind
from aibemu.files import replacing
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.redact import Redactor
from aibemu.reports.fold import fold
from aibemu.runs.store import Run
from aibemu.settings import Settings
from aibemu.telemetry import Telemetry
from aibemu.template.model import Target

TEMPLATE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.VirtualMachineImages/imageTemplates/t"
PATIENCE = 10.0  # seconds for what takes no time
Work = Callable[[Target, Deadline], None]


@dataclass
class Recorder:
    events: list[Event] = field(default_factory=list)

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        return None


@dataclass
class FakeDistributor:
    """Does the work and leaves a file; two targets with one `place` write to the same."""

    work: Work
    folder: Path

    def check(self, target: Target, tools: DistributorTools) -> None:
        return None

    def writes_to(self, target: Target) -> str:
        return str(target.options.get("place", target.run_output_name))

    def distribute(
        self, finished: FinishedImage, target: Target, tools: DistributorTools, deadline: Deadline
    ) -> Artifact:
        path = self.folder / target.run_output_name
        with replacing(path, sync=False) as partial:
            partial.write_text("half")
            self.work(target, deadline)
        return Artifact(
            run_output_name=target.run_output_name, kind=target.kind, artifact_id=None, artifact_uri=path.as_uri(),
            paths=(path,), notes=(f"of {target.run_output_name}",),
        )  # fmt: skip


@dataclass
class Scene:
    ctx: BuildState
    token: CancelToken
    recorder: Recorder
    cloud: LocalCloud
    folder: Path

    def left(self) -> list[str]:
        """What is in the folder that the fake distributor writes."""
        return sorted(path.name for path in self.folder.iterdir())

    def finished(self) -> dict[str, str]:
        """Output -> how it ended, in the order of the ends."""
        ends = [event.fields for event in self.recorder.events if event.kind is Kind.OUTPUT_FINISHED]
        return {fields["run_output_name"]: fields["status"] for fields in ends}


def scene(folder: Path, names: str, work: Work, *, places: dict[str, str] | None = None) -> Scene:
    targets = tuple(
        Target(
            kind="VHD", index=index, run_output_name=name, artifact_tags={},
            options={"place": place} if (place := (places or {}).get(name)) else {},
            span=Span(file="t.json", line=index + 1, column=1),
        )
        for index, name in enumerate(names.split())
    )  # fmt: skip
    info = ImageInfo(
        os_type="Linux", os_name="Debian", generation=Generation.V1, provisioning=Provisioning.NOCLOUD,
        generalized=True, origin="x",
    )  # fmt: skip
    plan: Any = SimpleNamespace(
        targets=targets, template_id=TEMPLATE, staging_group="/x", timeout_seconds=60,
        source=SimpleNamespace(image=SimpleNamespace(info=info), exact_version=""),
        template=SimpleNamespace(
            directory=str(folder), name="t", api_version="2024-02-01", location="westeurope", tags={}
        ),
    )  # fmt: skip
    (folder / "made").mkdir()
    clock, token, recorder = SystemClock(), CancelToken(), Recorder()
    cloud = LocalCloud(folder / "cloud", clock)
    distributor = FakeDistributor(work, folder / "made")
    telemetry = Telemetry("r", [recorder], clock, lambda value: value)
    services: Any = SimpleNamespace(
        clock=clock, run=Run(folder / "run"), telemetry=telemetry, emit=telemetry.emit,
        stores=SimpleNamespace(cloud=cloud, images=None), settings=Settings(), log_id="g", dry_run=False,
        redactor=Redactor(),
        options=SimpleNamespace(outputs=SimpleNamespace(also=(), compress=False)),
    )  # fmt: skip
    nothing: Any = None
    planned: Any = SimpleNamespace(plan=plan, distributors={"VHD": distributor})
    deadline = Deadline(clock=clock, cancel=token)
    ctx = BuildState(services=services, planned=planned, deadline=deadline, fleet=nothing, room=nothing)
    ctx.disk = folder / "disk.qcow2"
    return Scene(ctx=ctx, token=token, recorder=recorder, cloud=cloud, folder=folder / "made")


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Any:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("distribute")] == []


def wait_for_end(target: Target, deadline: Deadline) -> None:
    deadline.sleep(PATIENCE)
    raise AssertionError("nobody ended it")


def test_results_are_in_the_templates_order_whichever_is_ready_first(tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=PATIENCE)
    over = {name: threading.Event() for name in ("b", "c", "")}
    over[""].set()
    after = {"a": "b", "b": "c", "c": ""}

    def backwards(target: Target, deadline: Deadline) -> None:
        together.wait()  # all three at once
        assert over[after[target.run_output_name]].wait(PATIENCE)
        if target.run_output_name in over:
            over[target.run_output_name].set()

    this = scene(tmp_path, "a b c", backwards)
    gone = {
        "id": f"{TEMPLATE}/runOutputs/gone", "name": "gone", "properties": {"provisioningState": "Succeeded"},
        "type": "Microsoft.VirtualMachineImages/imageTemplates/runOutputs",
    }  # fmt: skip
    this.cloud.put_run_output(TEMPLATE, "gone", gone)
    distribute(this.ctx)
    assert [artifact.run_output_name for artifact in this.ctx.end.artifacts] == ["a", "b", "c"]
    assert [document["name"] for document in this.cloud.run_outputs(TEMPLATE)] == ["a", "b", "c"]
    assert this.left() == ["a", "b", "c"]
    assert [output.run_output_name for output in fold(this.recorder.events).outputs] == ["a", "b", "c"]
    inside = [event for event in this.recorder.events if event.kind is not Kind.RUN_FINISHED]
    assert {event.phase for event in inside} == {"distribute"}
    assert [event.seq for event in inside] == list(range(1, len(inside) + 1))


def test_the_fold_does_not_go_by_who_started_first(tmp_path: Path) -> None:
    this = scene(tmp_path, "a b", lambda target, deadline: None)
    for number, name in ((1, "b"), (0, "a")):
        this.ctx.emit(Kind.OUTPUT_STARTED, run_output_name=name, target="VHD", index=number, total=2)
    assert [output.run_output_name for output in fold(this.recorder.events).outputs] == ["a", "b"]


def test_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    second = threading.Event()

    def work(target: Target, deadline: Deadline) -> None:
        if target.run_output_name == "c":
            second.set()
            raise DistributeFailed("no room for c")
        assert second.wait(PATIENCE)
        if target.run_output_name == "b":
            raise OSError(28, "No space left on device")

    this = scene(tmp_path, "a b c d e f", work)
    with pytest.raises(DistributeFailed, match="2 of 6 targets could not be written: b: VHD output b") as caught:
        distribute(this.ctx)
    assert str(caught.value.span) == "t.json:2:1"
    assert [artifact.run_output_name for artifact in this.ctx.end.artifacts] == ["a", "d", "e", "f"]
    assert [(failure.index, failure.name) for failure in this.ctx.end.failures] == [(1, "b"), (2, "c")]
    assert this.finished() == {name: "failed" if name in "bc" else "ok" for name in "abcdef"}
    assert this.left() == ["a", "d", "e", "f"]
    this.ctx.end.error = caught.value
    assert this.ctx.conclude().state == "PartiallySucceeded"


def test_a_cancel_ends_all_that_run_and_starts_no_more(tmp_path: Path) -> None:
    running = threading.Barrier(4, timeout=PATIENCE, action=lambda: this.token.cancel("cancelled by aibemu cancel"))

    def work(target: Target, deadline: Deadline) -> None:
        running.wait()
        wait_for_end(target, deadline)

    this = scene(tmp_path, "a b c d e f", work)
    with pytest.raises(BuildCancelled, match="cancelled by aibemu cancel"):
        distribute(this.ctx)
    assert this.left() == [] and this.ctx.end.artifacts == [] and this.ctx.end.failures == []
    assert this.finished() == dict.fromkeys("abcd", "failed")
    assert {output.error for output in fold(this.recorder.events).outputs} == {"cancelled by aibemu cancel"}
    assert this.cloud.run_outputs(TEMPLATE) == []


def test_what_was_ready_before_a_cancel_is_known(tmp_path: Path) -> None:
    def work(target: Target, deadline: Deadline) -> None:
        if target.run_output_name == "a":
            wait_for_end(target, deadline)

    this = scene(tmp_path, "a b", work)
    watch = this.recorder.on_event

    def then_cancel(event: Event) -> None:
        watch(event)
        if event.kind is Kind.OUTPUT_FINISHED:
            this.token.cancel("enough")

    this.recorder.on_event = then_cancel  # type: ignore[method-assign]
    with pytest.raises(BuildCancelled, match="enough"):
        distribute(this.ctx)
    assert [artifact.run_output_name for artifact in this.ctx.end.artifacts] == ["b"]
    assert this.left() == ["b"]


def test_the_builds_timeout_ends_all(tmp_path: Path) -> None:
    class Leaping(SystemClock):
        """Has all but a moment of the build's time pass when both run."""

        passed = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.passed

    clock = Leaping()
    running = threading.Barrier(2, timeout=PATIENCE, action=lambda: setattr(clock, "passed", 99.8))

    def work(target: Target, deadline: Deadline) -> None:
        running.wait()
        wait_for_end(target, deadline)

    this = scene(tmp_path, "a b", work)
    this.ctx.deadline = replace(this.ctx.deadline, clock=clock, build_ends=clock.monotonic() + 100)
    with pytest.raises(BuildTimedOut):
        distribute(this.ctx)
    assert this.left() == []
    assert this.finished() == dict.fromkeys("ab", "failed")


def test_a_bug_in_one_ends_all_and_is_what_is_raised(tmp_path: Path) -> None:
    together = threading.Barrier(2, timeout=PATIENCE)

    def work(target: Target, deadline: Deadline) -> None:
        together.wait()
        if target.run_output_name == "b":
            raise ZeroDivisionError("a bug")
        wait_for_end(target, deadline)

    this = scene(tmp_path, "a b", work)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        distribute(this.ctx)
    assert this.left() == []
    assert this.finished() == dict.fromkeys("ab", "failed")


def test_a_second_ctrl_c_waits_for_the_threads_too(tmp_path: Path) -> None:
    class Impatient(SystemClock):
        """Ctrl-C in the thread that waits, when both run."""

        def wait(self, event: threading.Event, seconds: float) -> bool:
            if threading.current_thread() is threading.main_thread() and together.n_waiting == 0 and begun.is_set():
                raise KeyboardInterrupt
            return super().wait(event, seconds)

    together, begun = threading.Barrier(2, timeout=PATIENCE), threading.Event()

    def work(target: Target, deadline: Deadline) -> None:
        together.wait()
        begun.set()
        wait_for_end(target, deadline)

    this = scene(tmp_path, "a b", work)
    this.ctx.deadline = replace(this.ctx.deadline, clock=Impatient())
    with pytest.raises(KeyboardInterrupt):
        distribute(this.ctx)
    assert this.left() == []


def test_targets_that_write_to_one_place_go_in_the_templates_order(tmp_path: Path) -> None:
    order: list[str] = []
    slow = threading.Event()

    def work(target: Target, deadline: Deadline) -> None:
        if target.run_output_name == "a":
            assert slow.wait(PATIENCE)
        elif target.run_output_name == "b":
            slow.set()
        order.append(target.run_output_name)

    this = scene(tmp_path, "a b c", work, places={"a": "gallery", "c": "gallery"})
    distribute(this.ctx)
    assert order.index("a") < order.index("c")
    assert [artifact.run_output_name for artifact in this.ctx.end.artifacts] == ["a", "b", "c"]


@pytest.mark.parametrize("places", [{}, {"a": "x", "b": "x"}])
def test_no_thread_is_made_where_nothing_can_go_side_by_side(tmp_path: Path, places: dict[str, str]) -> None:
    threads: list[threading.Thread] = []
    names = "a b" if places else "a"
    this = scene(
        tmp_path, names, lambda target, deadline: threads.append(threading.current_thread()), places=places
    )  # fmt: skip
    distribute(this.ctx)
    assert set(threads) == {threading.current_thread()}
