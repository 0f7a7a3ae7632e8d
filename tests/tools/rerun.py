"""Run pytest; run what failed once more, alone and one at a time; tell what passes then as FLAKY. `.ci/run` uses it.

    python -m tests.tools.rerun --flaky FILE --timeout SECONDS [--at-most N] [--within SECONDS] -- PYTEST ARGUMENTS

Ends with 0 if every test passed, then or when it ran alone, else as pytest ended. A FLAKY test is a bug: the report of
it, with the text of its first failure, is appended to FILE for the caller to print at the end.

Nothing runs once more where it could not help: when pytest did not come to its end (the tests after that have not
run), when a file could not be collected, or when more failed than flakes would. Tests that share a fixture whose set-up
failed are one failure, and run once more together.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

# pytest's own: some tests failed.
TESTS_FAILED = 1
# How long a pytest that has a time limit for its test may take beyond it before it is killed.
GRACE = 60.0
# Of a failure's text, the end says most.
TEXT_LINES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """timeout: seconds for one test. at_most: failures that may be flakes. within: seconds for all reruns."""

    timeout: float
    at_most: int
    within: float


@dataclass(slots=True, kw_only=True)
class Failure:
    """Tests that failed for one reason, which is one test unless a fixture of several could not be set up."""

    tests: list[str]
    text: str


@dataclass(slots=True, kw_only=True)
class Record:
    """What tests.tools.recording wrote of one pytest."""

    failures: list[Failure] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    last_started: str = ""
    ended: bool = False

    @property
    def failed(self) -> set[str]:
        return {test for failure in self.failures for test in failure.tests}


def read_record(path: Path) -> Record:
    """The record in `path`; one without an end if there is no file, or if it breaks off."""
    record, reasons, seen = Record(), dict[str, Failure](), set[str]()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:  # pytest was killed while it wrote this line
            return record
        kind, test = entry["kind"], entry.get("test", "")
        if kind == "start":
            record.last_started = test
        elif kind == "passed":
            record.passed.add(test)
        elif kind == "broken":
            record.broken.append(entry["text"])
        elif kind == "end":
            record.ended = True
        elif test not in seen:  # a second failure of the same test says less: its teardown, after its body
            seen.add(test)
            _add_failure(record, reasons, entry)
    return record


def _add_failure(record: Record, reasons: dict[str, Failure], entry: dict[str, str]) -> None:
    test = entry["test"]
    reason = f"{test.partition('::')[0]} {entry['crash']}" if entry["when"] == "setup" and entry["crash"] else test
    if reason in reasons:
        reasons[reason].tests.append(test)
        return
    reasons[reason] = Failure(tests=[test], text=entry["text"])
    record.failures.append(reasons[reason])


def why_not(record: Record, limits: Limits) -> str | None:
    """Why nothing of `record` is worth running once more; None if it is."""
    if record.broken:
        return f"not run once more, for this is no single test's fault: {record.broken[0].strip().splitlines()[0]}"
    if not record.ended:
        after = f" while {record.last_started} ran" if record.last_started else ""
        return f"not run once more, for pytest did not come to its end{after}: the tests after that have not run"
    if len(record.failures) > limits.at_most:
        return f"not run once more: {len(record.failures)} failures are more than {limits.at_most}, and no flakes"
    return None


def pytest_run(record: Path, arguments: Sequence[str], limit: float | None = None) -> int:
    """Run pytest in a process of its own, at most `limit` seconds; its exit status, 128 + signal if it was killed."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.tools.recording", "--record", str(record), *arguments]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        status = ended(process)
    except KeyboardInterrupt:
        process.wait()  # it got the same signal, and cleans up
        raise
    return status if status >= 0 else 128 - status


def ended(process: subprocess.Popen[bytes]) -> int:
    """End a pytest that hangs: as Ctrl-C does, so that fixtures end the machines they have; else at once."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def passes_alone(failure: Failure, record: Path, limits: Limits, remaining: float) -> bool:
    """Run the tests of `failure`, and nothing beside them. remaining: seconds until there is no more time at all."""
    timeout = max(1.0, min(limits.timeout, remaining))  # pytest takes 0 for no limit
    arguments = ["-n", "0", "-q", "--no-header", f"--timeout={timeout:.0f}", *failure.tests]
    longest = min(len(failure.tests) * timeout, remaining) + GRACE
    status = pytest_run(record, arguments, longest)
    again = read_record(record)
    return status == 0 and again.ended and not again.failed and set(failure.tests) <= again.passed


def describe(failure: Failure) -> str:
    """What FILE is told of a flake: a line for each test, then the end of what it said when it failed."""
    lines = failure.text.splitlines()
    if len(lines) > TEXT_LINES:
        lines = [f"({len(lines) - TEXT_LINES} lines before)", *lines[-TEXT_LINES:]]
    return "".join(
        [*(f"FLAKY   {test}\n" for test in failure.tests), *(f"        {line}".rstrip() + "\n" for line in lines)]
    )


def rerun(record: Record, folder: Path, limits: Limits, flaky: Path) -> bool:
    """Run once more what failed; True if all of it passed."""
    end = time.monotonic() + limits.within
    passed = True
    for number, failure in enumerate(record.failures):
        remaining = end - time.monotonic()
        more = f" and {len(failure.tests) - 1} more" if len(failure.tests) > 1 else ""
        if remaining <= 0:
            say(f"no time left to run once more: {failure.tests[0]}{more}")
            passed = False
            continue
        say(f"once more, alone: {failure.tests[0]}{more}")
        if passes_alone(failure, folder / f"{number}.ndjson", limits, remaining):
            with flaky.open("a", encoding="utf-8") as file:
                file.write(describe(failure))
        else:
            passed = False
    return passed


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Read the command line, run; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.rerun", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flaky", type=Path, required=True, metavar="FILE")
    parser.add_argument("--timeout", type=float, required=True, metavar="SECONDS", help="of one test")
    parser.add_argument("--at-most", type=int, default=10, metavar="N", help="more failures than these are no flakes")
    parser.add_argument("--within", type=float, default=900.0, metavar="SECONDS", help="for all that runs once more")
    parser.add_argument("pytest", nargs="*", metavar="ARGUMENT")
    given = parser.parse_args()
    limits = Limits(timeout=given.timeout, at_most=given.at_most, within=given.within)
    with tempfile.TemporaryDirectory(prefix="aibemu-rerun-") as name:
        folder = Path(name)
        status = pytest_run(folder / "all.ndjson", [f"--timeout={limits.timeout:.0f}", *given.pytest])
        if status == 0:
            return 0
        record = read_record(folder / "all.ndjson")
        if status != TESTS_FAILED and not record.broken and record.ended:
            return status  # interrupted, no tests, wrong usage
        if reason := why_not(record, limits):
            say(reason)
            return status
        return 0 if record.failures and rerun(record, folder, limits, given.flaky) else status


if __name__ == "__main__":
    sys.exit(main())
