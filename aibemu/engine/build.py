"""A build, on one page: five phases in order, an error policy around them, and a record of all of it."""

from __future__ import annotations

from dataclasses import dataclass

from aibemu.clock import Deadline
from aibemu.engine.attempts import OnErrorPolicy
from aibemu.engine.machines.freezing import Freezer
from aibemu.engine.outcome import Conclusion
from aibemu.engine.phases.customize import customize
from aibemu.engine.phases.distribute import distribute
from aibemu.engine.phases.generalize import generalize
from aibemu.engine.phases.provision import provision
from aibemu.engine.phases.validate import validate
from aibemu.engine.services import Services
from aibemu.engine.state import RunContext
from aibemu.errors import AibemuError
from aibemu.plan.model import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """The run's id, how it ended in the service's words, and the error that ended it, if any."""

    run: str
    conclusion: Conclusion
    error: AibemuError | None


def run(plan: Plan, services: Services, policy: OnErrorPolicy) -> RunReport:
    """Execute `plan`. Expected failures are in the report; only bugs raise."""
    deadline = Deadline(
        clock=services.clock, cancel=services.cancel, slowness=services.accelerator.slowness,
        build_ends=services.clock.monotonic() + plan.timeout_seconds,
    )  # fmt: skip
    freezer = Freezer(services, plan, on=services.freeze)
    with RunContext(plan, services, deadline, freezer, skipped=set(services.reuser.wish.skipped)) as ctx:
        for _ in policy.attempts(ctx):
            with policy.guard(ctx):
                provision(ctx)
                customize(ctx)
                generalize(ctx)
                validate(ctx)
                distribute(ctx)
                ctx.join()
    error = ctx.ended_by
    return RunReport(
        run=services.run.id, conclusion=ctx.conclusion(), error=error if isinstance(error, AibemuError) else None
    )
