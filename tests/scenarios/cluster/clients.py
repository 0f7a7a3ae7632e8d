"""Who asks a cluster for builds, and what is looked for in the records of its runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.cluster.connecting import Cluster, Where, connected
from aibemu.cluster.orders import elsewhere
from aibemu.cluster.remote import Elsewhere
from aibemu.engine.api import BuildHandle, BuildOptions, Installation, prepare
from aibemu.events import Event, Kind
from aibemu.paths import Home
from aibemu.runs.store import Run
from tests.scenarios.cluster.processes import until
from tests.scenarios.test_many_builds_in_one_process import options, silent


@dataclass(slots=True, kw_only=True)
class Client:
    """Who asks a cluster for builds: an installation with a home of its own."""

    installation: Installation
    folder: Path
    address: str
    warnings: list[str] = field(default_factory=list)
    _end: ExitStack = field(default_factory=ExitStack)
    _cluster: Cluster | None = None

    @property
    def home(self) -> Home:
        return self.installation.home

    @property
    def deadline(self) -> Deadline:
        return Deadline(clock=SystemClock())

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            where = Where(scheduler=self.address)
            self._cluster = self._end.enter_context(connected(where, deadline=self.deadline, warn=self.warnings.append))
        return self._cluster

    def begin(self, wanted: BuildOptions) -> BuildHandle:
        place = Elsewhere(cluster=self.cluster, host=self.cluster.host(self.deadline))
        prepared = prepare(elsewhere(wanted), self.installation, emit=silent, cancel=CancelToken(), host=place.host)
        return place.start(prepared, lambda run: [])

    def template(self, name: str, *, guest: str = "", driver: str = "", **properties: Any) -> BuildOptions:
        """Three steps on a scripted guest. properties: of the template, in place of those."""
        wanted = options(name, self.folder, guest=guest)
        if driver:
            wanted = replace(wanted, driver=replace(wanted.driver, name=driver))
        document = json.loads(wanted.template.document.text)
        resource = document["resources"][0]
        resource["properties"] |= properties
        for target in resource["properties"]["distribute"]:
            if "imageId" in target:
                target["imageId"] = target["imageId"].rpartition("/")[0] + f"/{name}"
        text = replace(wanted.template.document, text=json.dumps(document, indent=1))
        return replace(wanted, template=replace(wanted.template, document=text))

    def close(self) -> None:
        self._end.close()


def awaited(run: Run, fits: Callable[[Event], bool], what: str) -> Event:
    """The first event of a run that fits, once it is there."""
    found: Event = until(lambda: next((event for event in run.events() if fits(event)), None), what)
    return found


def in_step(run: Run, step: str) -> Event:
    return awaited(run, lambda event: event.kind is Kind.STEP_STARTED and event.step == step, f"step {step}")


def worker_of(run: Run) -> str:
    """The worker that a run was given to last."""
    said = [str(event.fields["message"]) for event in run.events() if event.kind is Kind.NOTICE]
    return [text.removeprefix("built on ").partition(",")[0] for text in said if text.startswith("built on ")][-1]
