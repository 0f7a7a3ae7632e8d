"""Run a test many times beside a busy CPU, until it fails: `make stress T=tests/unit/x/test_y.py::test_z`.

    python -m tests.tools.stress [--times N] [--busy N] TEST [PYTEST ARGUMENTS]

A test that waits for a time instead of for what it has seen passes on an idle machine and fails on one like this. The
repetitions are one pytest, so fixtures of a module or session are made once. Ends as pytest ends.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

# Keeps a core busy, and ends when whoever started it is gone, however that happened.
BUSY = "import os\nparent = int(os.environ['AIBEMU_STRESS_PARENT'])\nwhile os.getppid() == parent: sum(range(100_000))"


class Repeat:
    """The plugin: every test as often as `times` says, each with a number in its name."""

    def __init__(self, times: int) -> None:
        self.times = times

    @pytest.fixture
    def repetition(self, request: pytest.FixtureRequest) -> object:
        return request.param

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.fixturenames.append("repetition")
        ids = [f"{number} of {self.times}" for number in range(1, self.times + 1)]
        metafunc.parametrize("repetition", range(self.times), ids=ids, indirect=True)


@contextmanager
def busy(count: int) -> Iterator[list[int]]:
    """`count` processes that use the CPU, each with its process id; they are gone afterwards."""
    environment = {**os.environ, "AIBEMU_STRESS_PARENT": str(os.getpid())}
    processes = [subprocess.Popen([sys.executable, "-c", BUSY], env=environment) for _ in range(count)]
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def stress(times: int, count: int, arguments: Sequence[str]) -> int:
    """Run pytest on `arguments`; its exit status."""
    with busy(count):
        return int(pytest.main(["-q", "-x", "--timeout=300", *arguments], plugins=[Repeat(times)]))


def main() -> int:
    """Read the command line, run; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.stress", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=50, metavar="N")
    parser.add_argument("--busy", type=int, default=2 * (os.cpu_count() or 1), metavar="N", help="busy processes")
    given, arguments = parser.parse_known_args()
    if not arguments:
        parser.error("name a test: tests/unit/x/test_y.py::test_z")
    return stress(given.times, given.busy, arguments)


if __name__ == "__main__":
    sys.exit(main())
