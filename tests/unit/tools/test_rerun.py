"""tests.tools.rerun on small suites made here: what is a flake, what is a failure, and what is neither."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tools.rerun import Failure, describe

ROOT = Path(__file__).parents[3]
# Only the plugins that count: to load them all takes five times as long.
OPTIONS = "--import-mode=importlib -p no:cacheprovider -p xdist -p pytest_timeout"
# What a test of these suites needs to act otherwise the second time.
HEAD = """
import os, pathlib, signal, pytest

def first(name):
    mark = pathlib.Path(__file__).with_name(name + ".seen")
    if mark.exists():
        return False
    mark.touch()
    return True
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How the run ended, what it printed, and what it wrote about flakes."""

    status: int
    said: str
    flaky: str

    @property
    def flakes(self) -> list[str]:
        return re.findall(r"^FLAKY   (.+)$", self.flaky, re.MULTILINE)


def run(folder: Path, suite: str, *arguments: str, options: tuple[str, ...] = ()) -> Done:
    """Run `suite` as the tests of a project in `folder`."""
    (folder / "pytest.ini").write_text(f"[pytest]\naddopts = {OPTIONS}\n")
    (folder / "test_suite.py").write_text(HEAD + suite)
    flaky = folder / "flaky"
    command = [sys.executable, "-m", "tests.tools.rerun", "--flaky", str(flaky), "--timeout", "60", *options, "--"]
    done = subprocess.run(
        [*command, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Done(
        status=done.returncode, said=done.stdout + done.stderr, flaky=flaky.read_text() if flaky.exists() else ""
    )


def test_what_passes_runs_once(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_good():\n    assert first('good')\n")
    assert (done.status, done.flaky) == (0, "")
    assert "1 passed" in done.said.splitlines()[-1]


def test_what_passes_alone_is_told_as_flaky_and_the_run_passes(tmp_path: Path) -> None:
    suite = "def test_good():\n    pass\n\ndef test_shy():\n    assert not first('shy'), 'not in company'\n"
    done = run(tmp_path, suite, "-n", "2")
    assert done.status == 0, done.said
    assert done.flakes == ["test_suite.py::test_shy"]
    assert "AssertionError: not in company" in done.flaky
    assert "once more, alone: test_suite.py::test_shy" in done.said
    assert "1 passed" in done.said.splitlines()[-1], "pytest's summary closes the output"


def test_what_fails_again_fails_the_run_and_a_flake_beside_it_is_told_all_the_same(tmp_path: Path) -> None:
    suite = "def test_shy():\n    assert not first('shy')\n\ndef test_bad():\n    assert False, 'always'\n"
    done = run(tmp_path, suite)
    assert done.status == 1
    assert done.flakes == ["test_suite.py::test_shy"]
    assert "always" not in done.flaky


def test_a_crash_of_a_worker_is_a_failure_of_the_test_that_ran(tmp_path: Path) -> None:
    suite = """
def test_good():
    pass

def test_kills_its_worker():
    if first("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
"""
    done = run(tmp_path, suite, "-n", "1")
    assert done.status == 0, done.said
    assert done.flakes == ["test_suite.py::test_kills_its_worker"]
    assert "crashed" in done.flaky


def test_a_crash_each_time_is_a_failure(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_kills():\n    os.kill(os.getpid(), signal.SIGKILL)\n", "-n", "1")
    assert (done.status, done.flakes) == (1, []), done.said


def test_a_pytest_that_died_has_not_run_everything_and_is_never_flaky(tmp_path: Path) -> None:
    suite = """
def test_kills():
    if first("kill"):
        os.kill(os.getpid(), signal.SIGKILL)

def test_last():
    pass
"""
    done = run(tmp_path, suite)
    assert (done.status, done.flakes) == (128 + 9, [])
    assert "pytest did not come to its end while test_suite.py::test_kills ran" in done.said


def test_a_file_that_cannot_be_collected_is_never_flaky(tmp_path: Path) -> None:
    suite = "if first('import'):\n    raise ImportError('half written')\n\ndef test_good():\n    pass\n"
    done = run(tmp_path, suite, "-n", "1")
    assert (done.status, done.flakes) == (1, []), done.said
    assert "no single test's fault" in done.said


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_run_that_stopped_at_its_first_failure_has_not_run_the_rest(tmp_path: Path, workers: str) -> None:
    suite = "def test_a_shy():\n    assert not first('shy')\n\ndef test_bad():\n    assert False\n"
    done = run(tmp_path, suite, "-n", workers, "-x")
    assert done.status != 0


def test_many_failures_are_no_flakes(tmp_path: Path) -> None:
    suite = "@pytest.mark.parametrize('n', range(3))\ndef test_shy(n):\n    assert not first(str(n))\n"
    done = run(tmp_path, suite, options=("--at-most", "2"))
    assert (done.status, done.flakes) == (1, [])
    assert "3 failures are more than 2" in done.said


def test_tests_of_one_fixture_are_one_failure_and_share_it_when_they_run_again(tmp_path: Path) -> None:
    suite = """
@pytest.fixture(scope="module")
def machine():
    assert not first("boot"), "it did not boot"
    if not first("second boot"):
        raise AssertionError("set up for each test")

@pytest.mark.parametrize("n", range(5))
def test_uses(machine, n):
    pass
"""
    done = run(tmp_path, suite, options=("--at-most", "1"))
    assert done.status == 0, done.said
    assert done.flakes == [f"test_suite.py::test_uses[{n}]" for n in range(5)]
    assert done.flaky.count("it did not boot") >= 1
    assert "and 4 more" in done.said


def test_a_teardown_that_fails_is_a_failure_of_its_test(tmp_path: Path) -> None:
    suite = """
@pytest.fixture
def socket():
    yield
    assert not first("left"), "still open"

def test_uses(socket):
    pass
"""
    done = run(tmp_path, suite)
    assert (done.status, done.flakes) == (0, ["test_suite.py::test_uses"]), done.said


def test_what_is_skipped_alone_has_not_passed(tmp_path: Path) -> None:
    suite = "def test_odd():\n    assert not first('odd')\n    pytest.skip('nothing to do')\n"
    done = run(tmp_path, suite)
    assert (done.status, done.flakes) == (1, [])


def test_a_test_that_hangs_alone_is_stopped(tmp_path: Path) -> None:
    """Alone it may take what is left of the time for all reruns."""
    suite = "import threading\n\ndef test_hangs():\n    assert not first('hang')\n    threading.Event().wait()\n"
    done = run(tmp_path, suite, options=("--within", "2"))
    assert (done.status, done.flakes) == (1, []), done.said
    assert "Timeout" in done.said


def test_without_time_nothing_runs_once_more(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_shy():\n    assert not first('shy')\n", options=("--within", "0"))
    assert (done.status, done.flakes) == (1, [])
    assert "no time left" in done.said


def test_names_with_blanks_and_groups_are_found_again(tmp_path: Path) -> None:
    """pytest-xdist puts the group behind the name."""
    suite = """
@pytest.mark.xdist_group("vm")
@pytest.mark.parametrize("text", ["a b", "x@y", "a::b"])
def test_shy(text):
    assert not first(text.replace(":", "_"))
"""
    done = run(tmp_path, suite, "-n", "1", "--dist", "loadgroup")
    assert done.status == 0, done.said
    assert sorted(done.flakes) == [f"test_suite.py::test_shy[{text}]" for text in ("a b", "a::b", "x@y")]


@pytest.mark.parametrize(("arguments", "status"), [(("-m", "nothing"), 5), (("--no-such-option",), 4)])
def test_other_ends_are_pytests_own(tmp_path: Path, arguments: tuple[str, ...], status: int) -> None:
    done = run(tmp_path, "def test_good():\n    pass\n", *arguments)
    assert (done.status, done.flaky) == (status, "")


def test_a_long_text_keeps_its_end() -> None:
    text = "\n".join(f"line {number}" for number in range(100))
    told = describe(Failure(tests=["a::b"], text=text)).splitlines()
    assert told[:3] == ["FLAKY   a::b", "        (40 lines before)", "        line 40"]
    assert told[-1] == "        line 99"
