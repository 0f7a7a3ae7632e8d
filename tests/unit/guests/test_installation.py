"""The programs of the machine start from wherever the checkout and its Python are."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.guests.installation import interpreter_lines

NAME = "ProgramFiles(x86)"


@pytest.mark.parametrize("folder", ["plain", "a blank", "it's a blank", 'a "$HOME" \\ blank', "x" * 120])
def test_a_script_finds_its_python_and_its_variables(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    python = tmp_path / folder / "python"
    # With a long name it is a link, as in a virtual environment: the line has no room for all paths.
    if len(folder) > 100:
        python.symlink_to(sys.executable)
    else:
        python.write_text(f'#!/usr/bin/env -S sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
        python.chmod(0o755)
    script = tmp_path / "script"
    script.write_text(interpreter_lines(str(python)) + "import sys\nprint(sys.argv[1:])\n", encoding="utf-8")
    script.chmod(0o755)

    done = subprocess.run([script, "a b", "$x", "'"], capture_output=True, text=True, check=True)

    assert done.stdout == """['a b', '$x', "'"]\n"""


def test_a_path_with_a_blank_loses_no_variable(tmp_path: Path) -> None:
    line = interpreter_lines("/a blank/python").replace('"/a blank/python"', f'"{sys.executable}"')
    assert line.startswith("#!/usr/bin/env -S ")
    script = tmp_path / "script"
    script.write_text(f"{line}import os; print(os.environ[{NAME!r}])\n", encoding="utf-8")
    script.chmod(0o755)

    done = subprocess.run([script], env={NAME: "here"}, capture_output=True, text=True, check=True)

    assert done.stdout == "here\n"
