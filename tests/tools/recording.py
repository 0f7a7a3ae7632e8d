"""A pytest plugin that writes down, line by line, how each test ended: `-p tests.tools.recording --record FILE`.

One JSON object a line, written at once, so that a pytest that is killed leaves what it knew. `kind` is one of

    start     `test` begins
    failed    `test` failed; `when` (setup, call, teardown; ??? if its process died), `text`, `crash` (place, message)
    passed    the body of `test` passed (its teardown may still fail)
    broken    no single test's fault: a file that cannot be collected, an error of pytest itself; `text`
    end       pytest came to its end, with `status`

With pytest-xdist only the process that collects the reports writes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", type=Path, metavar="FILE", help="write down how each test ended")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--record")
    if path is not None and not hasattr(config, "workerinput"):
        grouped = getattr(config.option, "dist", "no") == "loadgroup"
        config.pluginmanager.register(Recorder(path=path.absolute(), grouped=grouped))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Appends to `path`. grouped: pytest-xdist adds `@GROUP` to the names of tests."""

    path: Path
    grouped: bool

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write("start", test=self._name(nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self._write(
                "failed", test=self._name(report.nodeid), when=report.when, text=report.longreprtext,
                crash="" if crash is None else str(crash),
            )  # fmt: skip
        elif report.passed and report.when == "call":
            self._write("passed", test=self._name(report.nodeid))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write("broken", text=f"{report.nodeid}\n{report.longreprtext}")

    def pytest_internalerror(self, excrepr: Any) -> None:
        self._write("broken", text=str(excrepr))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if not (session.shouldfail or session.shouldstop):  # -x, --maxfail: tests after that have not run
            self._write("end", status=int(exitstatus))

    def _name(self, nodeid: str) -> str:
        if self.grouped and nodeid.rfind("@") > nodeid.rfind("]"):
            return nodeid[: nodeid.rfind("@")]
        return nodeid

    def _write(self, kind: str, **more: Any) -> None:
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(json.dumps({"kind": kind, **more}) + "\n")
