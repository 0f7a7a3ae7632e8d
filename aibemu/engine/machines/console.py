"""The serial console: reading it, what of it people are shown, and what is kept of it."""

from __future__ import annotations

import re
from pathlib import Path

from aibemu.engine.services import Services
from aibemu.files import make_folder, write_bytes
from aibemu.hypervisor import ConsolePart, Machine
from aibemu.reading import in_words

# A message may be cut by the end of what was read last time: so many bytes of that come again. More than the longest
# line that ends a boot has (aibemu.systems.windows: progress).
OVERLAP = 1024
# Colours, cursor movements and carriage returns of boot loaders and systemd.
_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][A-Za-z0-9]|[=>cM78])|[\x00-\x08\x0b-\x1f\x7f]")


class ConsoleReader:
    """Follows a machine's console from its last start on."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        # How far it was read, in bytes.
        self.position = 0
        self._floor = 0

    def forget(self) -> None:
        """What was read so far does not come again, whatever was cut by its end."""
        self._floor = self.position

    def read(self) -> str:
        """What is new, after the end of what came before it; all of it at first."""
        part = self._machine.console(max(self._floor, self.position - OVERLAP))
        self.position = part.end
        return part.text


def last_lines(console: str, count: int = 20) -> list[str]:
    """The last `count` lines with something on them, without control characters."""
    lines = (_CONTROL.sub("", line).rstrip() for line in console.splitlines())
    return [line for line in lines if line][-count:]


def save_console(services: Services, role: str, said: ConsolePart) -> Path:
    """Keep what a machine said, without secrets, with the run; the file. Its first line says so when the beginning is
    lost. OSError as of the disk."""
    lost = f"the first {in_words(said.start)} of this console were not kept (setting console_limit)"
    head = f"[aibemu: {lost}]\n" if said.start else ""
    text = services.redactor.beheaded(said.text) if said.start else said.text
    return keep_text(services, f"{role}.log", head + text)


def keep_text(services: Services, name: str, text: str) -> Path:
    """Keep a text of a guest's, without secrets, with the run; the file. OSError as of the disk."""
    folder = services.run.console
    make_folder(folder)
    write_bytes(folder / name, services.redactor.text(text).encode("utf-8", "replace"))
    return folder / name
