"""Ctrl-C at the moments when nobody could catch an exception."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Sends the signal when `aibemu.cli.main` is about to be imported.
WHILE_IMPORTING = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "aibemu.cli.main":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""
# Sends it when the program is over and the interpreter ends.
AT_THE_END = "import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
# Sends it when the command is about to be run.
IN_A_VERB = """
import os, signal
import aibemu.cli.main as program
def invoke(app, arguments, before=program._invoke):
    os.kill(os.getpid(), signal.SIGINT)
    return before(app, arguments)
program._invoke = invoke
"""
START = 'import sys\nsys.argv = ["aibemu", "drivers"]\nfrom aibemu.cli.start import start\nstart()\n'


def ended(program: str, *, ignored: bool = False) -> tuple[int, str]:
    before = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" if ignored else ""
    done = subprocess.run(
        [sys.executable, "-c", before + program + START], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("program", [WHILE_IMPORTING, AT_THE_END], ids=["importing", "ending"])
def test_an_early_or_late_interrupt_ends_the_program_without_a_word(program: str) -> None:
    assert ended(program) == (-signal.SIGINT, "")


def test_an_interrupt_of_a_verb_is_said() -> None:
    status, said = ended(IN_A_VERB)
    assert status == 130
    assert "interrupted" in said and "Traceback" not in said


@pytest.mark.parametrize("program", [WHILE_IMPORTING, IN_A_VERB, AT_THE_END], ids=["importing", "verb", "ending"])
def test_an_interrupt_that_was_ignored_before_stays_ignored(program: str) -> None:
    assert ended(program, ignored=True) == (0, "")


def typed(folder: Path, *words: str, home: str | None = None, before: str = "") -> tuple[int, str]:
    """The program as somebody starts it in `folder`. before: Python that runs first."""
    environ = {name: value for name, value in os.environ.items() if name != "AIBEMU_HOME"}
    program = f"{before}\nimport sys\nsys.argv = ['aibemu', *{words!r}]\nfrom aibemu.cli.start import start\nstart()\n"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60, cwd=folder,
        env={**environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        | ({} if home is None else {"AIBEMU_HOME": home}),
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("home", ["", "relative"])
def test_in_a_folder_that_was_removed(tmp_path: Path, home: str) -> None:
    gone = "import os, tempfile\nfolder = tempfile.mkdtemp()\nos.chdir(folder)\nos.rmdir(folder)"
    status, said = typed(tmp_path, "eval", "1", home=home or str(tmp_path / "home"), before=gone)
    assert status == 2 and "the folder that you are in was removed" in said


@pytest.mark.parametrize("words", [("status",), ("--output", "json", "status"), ("status", "--home", "~nobody99/x")])
def test_a_home_of_nobody(tmp_path: Path, words: tuple[str, ...]) -> None:
    status, said = typed(tmp_path, *words, home="~nobody99/x" if "--home" not in words else str(tmp_path))
    assert status == 2 and "a user who does not exist" in said
    assert ("--output" in words) == said.startswith("{")


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["eval 1", "nonsense", "--output json eval 1"])
def test_without_its_streams(tmp_path: Path, closed: str, words: str) -> None:
    command = f'exec "$1" -m aibemu {words} {closed}'
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "AIBEMU_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == (2 if words == "nonsense" else 0)
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("words", ["eval 1", "--output json eval 1", "--output json eval nonsense()"])
def test_onto_a_full_disk(tmp_path: Path, words: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "aibemu", *words.split(" ")], stdout=full, stderr=subprocess.PIPE, text=True,
            check=False, timeout=60, env={**os.environ, "AIBEMU_HOME": str(tmp_path)},
        )  # fmt: skip
    assert done.returncode in (3, 4) and "error:" in done.stderr
    assert "Traceback" not in done.stderr
