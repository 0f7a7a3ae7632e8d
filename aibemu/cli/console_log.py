"""What machines said on their serial consoles, for `aibemu logs --console`: cleaned, line by line.

While a machine is there its driver has the console; when it was destroyed, the run has what was saved of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from aibemu.cli.app import App
from aibemu.cli.reader import wait_for_more
from aibemu.cli.runs import summarize
from aibemu.communicators.lines import Lines
from aibemu.hypervisor import HypervisorDriver
from aibemu.reading import in_words
from aibemu.records import open_regular
from aibemu.redact import Redactor
from aibemu.runs.access import ROLES
from aibemu.runs.drivers import driver_of
from aibemu.runs.store import Run
from aibemu.text import harmless

LOOK_EVERY = 0.3  # seconds


class _Console:
    """One machine's, read on and on."""

    def __init__(self, run: Run, role: str) -> None:
        self._directory, self._saved = run.machines / role, run.console / f"{role}.log"
        self._clean = Redactor()
        self._place = 0
        self._live = False
        self._start_anew()

    def _start_anew(self) -> None:
        self._heard: list[str] = []
        self._cutter = Lines(self._heard.append)

    def lines(self, driver: HypervisorDriver | None) -> Iterator[str]:
        """Whole lines that are new."""
        machine = driver.find(self._directory) if driver is not None else None
        if machine is not None:
            part = machine.console(self._place)
            if part.start > self._place:
                self._start_anew()
                lost = in_words(part.start - self._place)
                yield f"[aibemu: {lost} of this console were not kept (setting console_limit)]"
            data, self._place, self._live = part.data, part.end, True
        elif self._live or (saved := open_regular(self._saved)) is None:  # what was read of the machine is the same
            data = b""
        else:
            with saved as stream:
                stream.seek(self._place)
                data = stream.read()
            self._place += len(data)
        self._cutter.feed(data)
        yield from self._shown()

    def end(self) -> Iterator[str]:
        """A last line without an end, such as a login prompt."""
        self._cutter.close()
        yield from self._shown()

    def _shown(self) -> Iterator[str]:
        """Of what a boot loader overwrites only the last is kept; lines with nothing on them are left out."""
        heard = list(self._heard)
        self._heard.clear()
        for line in heard:
            if text := harmless(line).rstrip():
                yield self._clean({"stream": "console", "line": text})["line"]


def console_lines(app: App, run: Run, *, follow: bool) -> Iterator[str]:
    """All machines of the run, one after the other; where there are several, each with its name first."""
    driver = driver_of(summarize(run), app.home)
    consoles = {role: _Console(run, role) for role in ROLES}
    shown = ""
    while True:
        alive = run.alive()
        driver = driver or driver_of(summarize(run), app.home)
        for role, console in consoles.items():
            for line in console.lines(driver):
                if shown != role and (shown or role != ROLES[0]):
                    yield f"== {role} machine"
                shown = role
                yield line
        if not (follow and alive):
            break
        wait_for_more(app, LOOK_EVERY)
    for console in consoles.values():
        yield from console.end()
