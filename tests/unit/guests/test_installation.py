"""The programs of the machine start from wherever the checkout and its Python are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.guests.installation import interpreter_lines


@pytest.mark.parametrize(
    "folder", ["plain", "a blank", "it's a blank", "x" * 120], ids=["plain", "blank", "quote", "long"]
)
def test_a_script_finds_its_python(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    python = tmp_path / folder / "python"
    python.symlink_to(sys.executable)
    script = tmp_path / "script"
    script.write_text(interpreter_lines(str(python)) + "import sys\nprint(sys.argv[1:])\n", encoding="utf-8")
    script.chmod(0o755)

    done = subprocess.run([script, "a b", "$x", "'"], capture_output=True, text=True, check=True)

    assert done.stdout == """['a b', '$x', "'"]\n"""
