"""The WindowsUpdate customizer: rounds of searching and installing, with restarts between them, until nothing is found.

Semantics and words are those of the Packer plugin that AIB uses (facts: provisioners 1.5). What waits for ever there is
bounded here: the search, the Windows Modules Installer, rounds that find the same updates again and again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path

from aibemu.communicators import OnLine, Stream, unfinished_of
from aibemu.customizers import Description, Guest, Need, Outcome, StepSettings
from aibemu.customizers.windows.elevated import SYSTEM, fresh_mark, task_script
from aibemu.customizers.windows.hearing import Hearing
from aibemu.customizers.windows.names import FOLDER, fresh_names
from aibemu.customizers.windows.restart import why_not_restarted
from aibemu.customizers.windows.running import DISCONNECTED, put, remove
from aibemu.customizers.windows.texts import text, with_mark
from aibemu.powershell import quoted
from aibemu.template.model import StepSpec
from aibemu.text import counted

CRITERIA = "BrowseOnly=0 and IsInstalled=0"
FILTERS = ("include:$true",)
# What updateLimit 0 stands for.
LIMIT = 1000
SCRIPT = f"{FOLDER}/packer-windows-update.ps1"
WRAPPER = "C:/Windows/Temp/packer-windows-update-elevated.ps1"
COMMAND = f"PowerShell -ExecutionPolicy Bypass -OutputFormat Text -File {WRAPPER}"
RESTART = 'shutdown.exe -f -r -t 0 -c "packer restart"'
# Exit codes: nothing is left to do; restart and go on. The second of these is 101 as an HRESULT.
DONE, AGAIN = 0, frozenset({101, 2147942501})
# Rounds in all, and rounds in a row that may find the same updates.
ROUNDS, SAME = 30, 3
# Bounds in seconds: a restart, before scaling; the search; TiWorker, and how long it must be gone.
RESTART_SECONDS = 4 * 3600.0
SEARCH_SECONDS, INSTALLER_SECONDS, QUIET_SECONDS = 3600, 1800, 15
HEARTBEAT_SECONDS = 60
_FOUND = re.compile(r"Found Windows update \([^)]*\): (.*)")


class WindowsUpdate:
    """One WindowsUpdate step."""

    def __init__(self, spec: StepSpec, settings: StepSettings) -> None:
        options = spec.options
        self.criteria = str(options.get("searchCriteria") or CRITERIA)
        self.filters: tuple[str, ...] = tuple(options.get("filters") or FILTERS)
        self.limit = int(options.get("updateLimit") or LIMIT)
        self.names = replace(fresh_names(settings.rng), script=SCRIPT, elevated=WRAPPER)

    def needs(self) -> Sequence[Need]:
        return ()

    def describe(self) -> Description:
        return Description(local_name="", remote=SCRIPT, command=COMMAND)

    def inputs(self) -> object:
        return {"criteria": self.criteria, "filters": list(self.filters), "limit": self.limit}

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome:
        found: list[frozenset[str]] = []
        for _ in range(ROUNDS):
            ended = self._round(guest, found)
            if isinstance(ended, Outcome):
                return ended
            if ended is _Next.ROUND:
                continue
            if len(found) >= SAME and found[-1] and len(set(found[-SAME:])) == 1:
                return _stuck(found[-1])
            if failed := _restart(guest):
                return failed
        error = f"Windows Update wanted {ROUNDS} restarts in a row and is not done"
        return Outcome(exit_code=101, error=error, hint="a larger updateLimit, or filters that leave out what fails")

    def script(self) -> bytes:
        """One round, as a file."""
        values = {
            "CRITERIA": quoted(self.criteria), "FILTERS": ", ".join(quoted(one) for one in self.filters),
            "LIMIT": self.limit, "SEARCH_SECONDS": SEARCH_SECONDS, "INSTALLER_SECONDS": INSTALLER_SECONDS,
            "QUIET_SECONDS": QUIET_SECONDS,
        }  # fmt: skip
        return with_mark(text("updates", values))

    def _round(self, guest: Guest, found: list[frozenset[str]]) -> Outcome | _Next:
        """One round, and what comes after it."""
        mark = fresh_mark()
        inner = f"PowerShell -NoProfile -ExecutionPolicy Bypass -File {SCRIPT}"
        wrapper = task_script(
            self.names, inner, user=SYSTEM, deadline=guest.deadline, mark=mark, heartbeat=HEARTBEAT_SECONDS
        )  # fmt: skip
        guest.say("Uploading the Windows update elevated script...")
        guest.say("Uploading the Windows update script...")
        if failed := put(guest, [(WRAPPER, wrapper), (SCRIPT, self.script())]):
            return failed
        guest.say("Running Windows update...")
        titles = _Titles(guest.on_line)
        hearing = Hearing(titles, mark)
        status = guest.communicator.run(COMMAND, deadline=guest.deadline, on_line=hearing)
        if status.disconnected:
            why = "the connection was lost while updates were installed, and the machine did not reboot"
            return _Next.ROUND if guest.rebooted() else Outcome(exit_code=DISCONNECTED, error=why)
        found.append(frozenset(titles.found))
        if hearing.failure:
            return Outcome(exit_code=None, error=f"Windows update script did not finish: {hearing.failure}")
        if status.code in AGAIN:
            return _Next.RESTART
        if status.code != DONE:
            error = f"Windows update script exited with non-zero exit status: {status.code}"
            return Outcome(exit_code=status.code, error=error, hint=_hint(titles.last))
        remove(guest, [SCRIPT])
        return Outcome(exit_code=0)


class _Next(Enum):
    """What comes after a round: a restart before the next one, or that one at once, for the machine has restarted."""

    RESTART = "restart"
    ROUND = "round"


class _Titles:
    """An `OnLine` that keeps the titles of the updates that a round found, and its last line."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line = on_line
        self.found: list[str] = []
        self.last = ""

    def __call__(self, stream: Stream, line: str) -> None:
        if update := _FOUND.match(line):
            self.found.append(update[1])
        self.last = line.strip() or self.last
        self._on_line(stream, line)

    def unfinished(self, stream: Stream, words: str) -> None:
        """See `aibemu.communicators.unfinished_of`."""
        if show := unfinished_of(self._on_line):
            show(stream, words)


def _restart(guest: Guest) -> Outcome | None:
    """Between two rounds. The next round looks first whether a restart is still pending."""
    guest.say("Restarting the machine...")
    guest.say("Waiting for machine to become available...")
    done = guest.restart(RESTART, None, RESTART_SECONDS)
    if failed := why_not_restarted(guest, done, "4h", accepted=(0,)):
        return failed
    guest.say("Restart complete")
    return None


def _stuck(titles: frozenset[str]) -> Outcome:
    """Rounds that change nothing."""
    shown = "; ".join(sorted(titles)[:5])
    error = f"{SAME} rounds in a row found the same {counted(len(titles), 'update')}, which did not install: {shown}"
    return Outcome(exit_code=101, error=error, hint="leave them out by a filter: exclude:$_.Title -like '*...*'")


def _hint(last: str) -> str | None:
    """By the script's last words."""
    if "criteria" in last:
        return "searchCriteria is in the language of Windows Update: BrowseOnly=0 and IsInstalled=0"
    if last.startswith("ERROR: the search"):
        return "is Windows Update reachable from the guest?"
    return "an expression in filters may name a property that updates do not have" if "property" in last else None
