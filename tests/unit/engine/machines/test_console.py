"""What people are shown of a console, and what is kept of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aibemu.engine.machines.console import ConsoleReader, last_lines, save_console
from aibemu.hypervisor import ConsolePart
from aibemu.redact import Redactor
from aibemu.systems.windows.progress import fatal


def test_last_lines_are_readable() -> None:
    text = "one\r\n\x1b[0;32m  OK  \x1b[0m two\n\n\x1b[2J\n" + "three\n"
    assert last_lines(text, 2) == ["  OK   two", "three"]


def test_a_console_without_its_beginning_says_so(tmp_path: Path) -> None:
    services: Any = SimpleNamespace(run=SimpleNamespace(console=tmp_path / "console"), redactor=Redactor(["hunter2"]))
    saved = save_console(services, "build", ConsolePart(start=3 << 20, data=b"password hunter2\nlast\n"))
    said = saved.read_text(encoding="utf-8").splitlines()
    assert said[0] == "[aibemu: the first 3 MiB of this console were not kept (setting console_limit)]"
    assert said[2:] == ["last"] and "hunter2" not in said[1]
    assert save_console(services, "build", ConsolePart(start=0, data=b"all\n")).read_text(encoding="utf-8") == "all\n"


def test_the_longest_line_that_ends_a_boot_is_read_however_it_comes() -> None:
    said = b"[aibemu] failed: user: " + b"x" * 577
    machine: Any = SimpleNamespace(console=lambda start: ConsolePart(start=start, data=said[start:]))
    reader = ConsoleReader(machine)
    assert fatal(reader.read()) is None, "its end has not come yet"
    said += b"\r\n"
    assert "setup in the guest failed at user: x" in str(fatal(reader.read()))
