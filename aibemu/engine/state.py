"""The state of one run while it runs: what each phase leaves for the next, and how all of it ends.

Cleanup always happens, in reverse order, under a bound of its own, whatever ended the run; only machines that the error
policy keeps are left.
"""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from aibemu.clock import Deadline
from aibemu.customizers import StepSettings
from aibemu.distributors import Artifact
from aibemu.engine.asking import Answer, Question
from aibemu.engine.machines.boot import Booted, boot
from aibemu.engine.machines.freezing import Freezer, thaw
from aibemu.engine.outcome import Conclusion, Ended, Failure, conclude
from aibemu.engine.services import Services
from aibemu.errors import AibemuError, BuildCancelled, DistributeFailed, FreezeFailed
from aibemu.events import Kind, Phase, RunState, RunSubState
from aibemu.fabric.handle import Platform
from aibemu.files import remove
from aibemu.hypervisor import Machine
from aibemu.layers import Layer
from aibemu.plan.alike import still_left_out
from aibemu.plan.model import Plan, step_json


@dataclass(slots=True)
class RunContext:
    """One run, from provision to distribute."""

    plan: Plan
    services: Services
    deadline: Deadline
    freezer: Freezer
    disk: Path | None = None  # the generalised system disk, once there is one
    error: BaseException | None = None  # what ended the run
    validation_error: AibemuError | None = None
    artifacts: list[Artifact] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    sub_state: RunSubState | None = None
    said: dict[str, Any] = field(default_factory=dict)  # what the last step that ran to its end said
    running: str = ""  # id of the customizer that ran last
    skipped: set[str] = field(default_factory=set)  # ids of steps that a person left out
    _again: bool = False
    _besides: tuple[list[threading.Thread], list[BaseException]] = field(default_factory=lambda: ([], []))
    _machines: dict[str, Machine] = field(default_factory=dict)
    _platforms: dict[str, Platform] = field(default_factory=dict)
    _booted: dict[str, Booted] = field(default_factory=dict)
    _kept: set[str] = field(default_factory=set)
    _disk_held: ExitStack = field(default_factory=ExitStack)
    _started: float = 0.0

    @property
    def ended_by(self) -> BaseException | None:
        """What the run failed of. A failed validation always fails it, also when a target failed after it (facts:
        service 2); only what stopped the run as a whole (cancel, timeout, a bug) counts for more.
        """
        if self.validation_error is not None and (self.error is None or isinstance(self.error, DistributeFailed)):
            return self.validation_error
        return self.error

    @property
    def emit(self) -> Any:
        return self.services.emit

    @property
    def build(self) -> Booted:
        """The machine that is customized."""
        return self._booted["build"]

    @property
    def step_settings(self) -> StepSettings:
        settings = self.services.settings
        return StepSettings(
            script_uri_sudo=settings.script_uri_sudo, reboot_in_shell=settings.reboot_in_shell,
            log_id=self.services.log_id, rng=self.services.rng,
        )  # fmt: skip

    def __enter__(self) -> RunContext:
        self._started = self.services.clock.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Destroy what is not kept, then say how the run ended. A bug is recorded and goes on up."""
        if error is not None:
            self.error = error
        self._await_besides()  # what they raise is of a run that has failed already
        self.freezer.settle()
        for role in list({**self._platforms, **self._machines})[::-1]:
            self._release_at_last(role)
        self.freezer.prune()
        if not self._machines:
            # Started, but not handed over any more: a second Ctrl-C came between the two.
            for stray in Platform.below(self.services.run.platform):
                stray.stop()
            for folder in (self.services.run.work, self.services.run.machines, self.services.run.platform):
                remove(folder)
        self._finish()

    def _release_at_last(self, role: str) -> None:
        """One machine that cannot be destroyed must not keep the others alive, nor the run from having an end."""
        try:
            self.release(role)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is said, and the rest goes on
            why = ": ".join([error.message, *error.details[:2]]) if isinstance(error, AibemuError) else str(error)
            self.emit(
                Kind.NOTICE, level="warning",
                message=f"the {role} machine was not destroyed: {why}; try `aibemu clean {self.services.run.id}`",
            )  # fmt: skip

    def _finish(self) -> None:
        end = self.conclusion()
        self.emit(
            Kind.RUN_FINISHED, state=end.state, sub_state=end.sub_state, message=end.message, error=end.error,
            seconds=self.services.clock.monotonic() - self._started,
        )  # fmt: skip

    def conclusion(self) -> Conclusion:
        """How it ended, as the service would put it."""
        return conclude(
            Ended(
                error=self.ended_by, sub_state=self.sub_state, written=len(self.artifacts), failures=self.failures,
                targets=len(self.plan.targets), staging_group=self.plan.staging_group, run=self.services.run.id,
                log_id=self.services.log_id,
            )
        )  # fmt: skip

    @contextmanager
    def phase(self, phase: Phase, sub_state: RunSubState | None) -> Iterator[None]:
        """Bracket a phase with its events; lastRunStatus moves to `sub_state`."""
        clock = self.services.clock
        started = clock.monotonic()
        status = "failed"
        with self.services.telemetry.phase(phase.value):
            self.emit(Kind.PHASE_STARTED)
            if sub_state:
                self.enter(sub_state)
            try:
                self.deadline.check()
                yield
                status = "ok"
            except BuildCancelled:
                status = "cancelled"
                raise
            finally:
                self.emit(Kind.PHASE_FINISHED, status=status, seconds=clock.monotonic() - started)

    def skip(self, phase: Phase) -> None:
        """Record that a phase had nothing to do."""
        with self.services.telemetry.phase(phase.value):
            self.emit(Kind.PHASE_FINISHED, status="skipped", seconds=0.0)

    def enter(self, sub_state: RunSubState) -> None:
        """Move lastRunStatus on."""
        self.sub_state = sub_state
        self.emit(Kind.RUN_STATE, state=RunState.RUNNING.value, sub_state=sub_state.value, message="")

    def boot(self, role: str, base: Path, base_format: str = "qcow2") -> Booted:
        """Boot a machine that this run owns."""
        self._forget_entry(role)
        booted = boot(
            self.services, role, plan=self.plan, base=base, base_format=base_format, deadline=self.deadline, owner=self
        )
        self._booted[role] = booted
        return booted

    def thaw(self, layer: Layer) -> None:
        """Take the build machine up from a layer; `FreezeFailed` leaves none."""
        self._forget_entry("build")
        try:
            self._booted["build"] = thaw(
                self.services, layer, plan=self.plan, base=self.plan.source.image.path, deadline=self.deadline,
                owner=self,
            )  # fmt: skip
        except FreezeFailed:
            self.release("build")
            raise

    def _forget_entry(self, role: str) -> None:
        if role == "build":
            self.services.run.entered_file.unlink(missing_ok=True)

    def ask(self, question: Question) -> Answer:
        """Ask a person. What they take to answer is not the build's time."""
        assert self.services.ask is not None
        clock = self.services.clock
        began = clock.monotonic()
        # Before anybody hears that it waits, or a quick answer would go too.
        self.services.run.answer_file.unlink(missing_ok=True)
        self.emit(Kind.RUN_WAITING, title=question.title, choices=[choice.value for choice in question.choices])
        try:
            answer = self.services.ask(question, replace(self.deadline, build_ends=math.inf))
        finally:
            self.deadline = replace(
                self.deadline, build_ends=self.deadline.build_ends + clock.monotonic() - began
            )  # fmt: skip
        self.emit(Kind.RUN_ANSWERED, answer=answer.value)
        return answer

    def choose(self, plan: Plan, useless: Collection[str] = ()) -> Plan:
        """The plan with its start: from whatever layer may be used, in a later attempt also this run's own."""
        reuser = self.services.reuser
        if self._again:
            return reuser.again(plan, self.freezer.made, useless, self.skipped)
        return reuser.choose(plan, useless)

    def start_over(self, *, skip: bool) -> None:
        """Make ready for another attempt with the template as it is now. skip: without the step that failed.

        Raises what making a plan raises; nothing is changed then.
        """
        plan = self.services.replan()
        before = [step_json(step) for step in self.plan.steps]
        skipped = still_left_out(self.skipped, self.running if skip and self.running else None, before, plan.steps)
        self._await_besides()
        self._besides[1].clear()
        self.freezer.settle()  # as long as the machine has its links, nobody prunes what is being published
        for role in list(self._booted):
            self.release(role)
        for role in list(self._machines):
            self.release(role)
        self._again = True
        self.skipped = set(skipped)
        self.plan = self.choose(plan)
        self.freezer.plan = self.plan
        self.error = self.validation_error = self.disk = None
        self.artifacts.clear()
        self.failures.clear()
        self.emit(
            Kind.RUN_RETRIED, steps=[step_json(step) for step in plan.steps],
            validators=[step_json(step) for step in plan.validators], skipped=sorted(self.skipped),
        )  # fmt: skip

    def beside(self, work: Callable[[], None]) -> None:
        """Do what nothing waits for in a thread of its own; `join` ends it, and raises what it raised."""
        context = contextvars.copy_context()

        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again by `join`
                self._besides[1].append(error)

        thread = threading.Thread(target=context.run, args=(run,), name="beside")
        thread.start()
        self._besides[0].append(thread)

    def join(self) -> None:
        """Wait for what was begun by `beside`."""
        self._await_besides()
        errors = self._besides[1]
        if errors:
            error = errors[0]
            errors.clear()
            raise error

    def _await_besides(self) -> None:
        threads = self._besides[0]
        while threads:
            threads.pop().join()

    def pause(self, when: str, label: str) -> None:
        """Wait until a person lets the run go on; `BuildCancelled` if they end it."""
        answer = self.ask(
            Question(
                title=f"paused {when} {label}", details=(), choices=(Answer.GO_ON, Answer.GIVE_UP),
                run=self.services.run.id, role="build",
            )
        )  # fmt: skip
        if answer is Answer.GIVE_UP:
            raise BuildCancelled(f"ended by hand {when} {label}")

    def machine_made(self, role: str, machine: Machine) -> None:
        self._machines[role] = machine

    def platform_made(self, role: str, platform: Platform) -> None:
        self._platforms[role] = platform

    def hold(self, disk: AbstractContextManager[Path]) -> Path:
        """Have the build machine's disk to read until the machine is released, for what comes after it reads it."""
        return self._disk_held.enter_context(disk)

    def keep(self, role: str) -> None:
        """Leave a machine running after the run, and say how to get in."""
        if booted := self._booted.get(role):
            # The validate machine's disk lies over the build machine's, which is off but must stay.
            self._kept |= {role, "build"} & self._machines.keys()
            self.emit(Kind.MACHINE_KEPT, machine=booted.machine.id, command=booted.communicator.describe())

    def release(self, role: str) -> None:
        """Close the connection and, unless kept, destroy the machine and its secrets."""
        if booted := self._booted.pop(role, None):
            booted.communicator.close()
        if role == "build":
            self._disk_held.close()
        if role in self._kept:
            return
        if machine := self._machines.get(role):
            machine.destroy()
            del self._machines[role]
        if platform := self._platforms.pop(role, None):
            platform.stop()
        remove(self.services.run.work / role)
