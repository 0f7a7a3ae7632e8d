"""The WindowsUpdate customizer: rounds of searching and installing, with restarts between them, until nothing is found.

Semantics and words are those of the Packer plugin that AIB uses (facts: provisioners 1.5). What waits for ever there is
bounded here: the search, the Windows Modules Installer, rounds that find the same updates again and again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from aibemu.communicators import OnLine, Stream, cut_of, unfinished_of
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
# After a restart: whether Windows wants another one before anything can be installed.
CHECK_WRAPPER = "C:/Windows/Temp/packer-windows-update-pending-reboot-elevated.ps1"
CHECK_COMMAND = f"PowerShell -ExecutionPolicy Bypass -OutputFormat Text -File {CHECK_WRAPPER}"
RESTART = 'shutdown.exe -f -r -t 0 -c "packer restart"'
# Exit codes: nothing is left to do; restart and go on. The second of these is 101 as an HRESULT.
DONE, AGAIN = 0, frozenset({101, 2147942501})
# Restarts in all, and rounds in a row that may find the same updates.
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
        # What a line of a wrapper begins with that says why it gave up; both wrappers stay for the whole step.
        self._mark = fresh_mark()

    def needs(self) -> Sequence[Need]:
        return ()

    def describe(self) -> Description:
        return Description(local_name="", remote=SCRIPT, command=COMMAND)

    def inputs(self) -> object:
        return {"criteria": self.criteria, "filters": list(self.filters), "limit": self.limit}

    def would(self) -> Sequence[str]:
        return [
            f"search for updates by: {self.criteria}",
            f"take those that pass the filters: {'; '.join(self.filters)} (at most {self.limit} in a round)",
            f"put {WRAPPER}, {CHECK_WRAPPER} and {SCRIPT} into the guest",
            f"run as Local System: {COMMAND}",
            f"restart Windows by: {RESTART}; wait at most {RESTART_SECONDS / 3600:g} hours until it is up again",
            f"do both again until no update is left, at most {ROUNDS} times",
        ]

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome:
        found: list[frozenset[str]] = []
        if failed := self._upload(guest):
            return failed
        pending = False
        for _ in range(ROUNDS):
            if not pending:
                ended = self._round(guest, found)
                if isinstance(ended, Outcome):
                    return ended
                if ended is _Next.ROUND:
                    continue
                if len(found) >= SAME and found[-1] and len(set(found[-SAME:])) == 1:
                    return _stuck(found[-1])
            restarted = self._restart(guest)
            if isinstance(restarted, Outcome):
                return restarted
            pending = restarted is _Next.RESTART
        error = f"Windows Update wanted {ROUNDS} restarts in a row and is not done"
        return Outcome(exit_code=101, error=error, hint="a larger updateLimit, or filters that leave out what fails")

    def after_restart(self, guest: Guest) -> Outcome:
        """What comes after the last restart has found that nothing is left to do; what it found that by goes."""
        remove(guest, [SCRIPT, WRAPPER, CHECK_WRAPPER])
        return Outcome(exit_code=0)

    def script(self) -> bytes:
        """One round, as a file."""
        values = {
            "CRITERIA": quoted(self.criteria), "FILTERS": ", ".join(quoted(one) for one in self.filters),
            "LIMIT": self.limit, "SEARCH_SECONDS": SEARCH_SECONDS, "INSTALLER_SECONDS": INSTALLER_SECONDS,
            "QUIET_SECONDS": QUIET_SECONDS,
        }  # fmt: skip
        return with_mark(text("updates", values))

    def _upload(self, guest: Guest) -> Outcome | None:
        """Put the three files there, once, as the plugin does and in its words: they stay until the step is over."""
        check = self._wrapper(guest, CHECK_WRAPPER, " -OnlyCheckForRebootRequired")
        for what, path, content in (
            ("elevated script", WRAPPER, self._wrapper(guest, WRAPPER, "")),
            ("check for reboot required elevated script", CHECK_WRAPPER, check),
            ("script", SCRIPT, self.script()),
        ):
            guest.say(f"Uploading the Windows update {what}...")
            if failed := put(guest, [(path, content)]):
                return failed
        return None

    def _wrapper(self, guest: Guest, path: str, arguments: str) -> bytes:
        """What runs the script as Local System."""
        inner = f"PowerShell -NoProfile -ExecutionPolicy Bypass -File {SCRIPT}{arguments}"
        return task_script(
            replace(self.names, elevated=path), inner, user=SYSTEM, deadline=guest.deadline, mark=self._mark,
            heartbeat=HEARTBEAT_SECONDS, stays=True,
        )  # fmt: skip

    def _run(self, guest: Guest, command: str, hears: OnLine) -> _Ran | Outcome:
        """Run the script through a wrapper; an `Outcome` when that one gave up."""
        hearing = Hearing(hears, self._mark)
        guest.command_started(command)
        status = guest.communicator.run(command, deadline=guest.deadline, on_line=hearing)
        guest.command_ended(command, DISCONNECTED if status.code is None else status.code)
        if hearing.failure:
            return Outcome(exit_code=None, error=f"Windows update script did not finish: {hearing.failure}")
        return _Ran(code=status.code, lost=status.disconnected)

    def _round(self, guest: Guest, found: list[frozenset[str]]) -> Outcome | _Next:
        """One round, and what comes after it."""
        guest.say("Running Windows update...")
        titles = _Titles(guest.on_line)
        ran = self._run(guest, COMMAND, titles)
        if isinstance(ran, Outcome):
            return ran
        if ran.lost:
            return _Next.ROUND if guest.rebooted() else _lost("while updates were installed")
        found.append(frozenset(titles.found))
        if ran.code in AGAIN:
            return _Next.RESTART
        if ran.code != DONE:
            return _failed(ran.code, titles.last)
        remove(guest, [SCRIPT, WRAPPER, CHECK_WRAPPER])
        return Outcome(exit_code=0)

    def _restart(self, guest: Guest) -> Outcome | _Next:
        """Between two rounds; then Windows says whether it wants another restart before anything is installed."""
        guest.say("Restarting the machine...")
        guest.command_started(RESTART)
        guest.say("Waiting for machine to become available...")
        done = guest.restart(RESTART, None, RESTART_SECONDS)
        guest.command_ended(RESTART, DISCONNECTED if done.command.code is None else done.command.code)
        if failed := why_not_restarted(guest, done, "4h", accepted=(0,)):
            return failed
        guest.say("Checking for pending restart...")
        titles = _Titles(guest.on_line)
        ran = self._run(guest, CHECK_COMMAND, titles)
        if isinstance(ran, Outcome):
            return ran
        if ran.lost and not guest.rebooted():
            return _lost("while Windows was asked whether another restart is pending")
        if ran.code in AGAIN:
            return _Next.RESTART
        if not ran.lost and ran.code != DONE:
            return _failed(ran.code, titles.last)
        guest.say("Restart complete")
        return _Next.ROUND


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """How the script ended: its exit code, or None; lost: the connection went away."""

    code: int | None
    lost: bool


class _Next(Enum):
    """What comes next: a restart, or a round at once, for the machine has restarted."""

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

    def cut(self, text: str, most: int) -> int:
        """See `aibemu.communicators.cut_of`."""
        return cut_of(self._on_line)(text, most)


def _lost(when: str) -> Outcome:
    """The connection is gone, and the machine did not restart."""
    return Outcome(exit_code=DISCONNECTED, error=f"the connection was lost {when}, and the machine did not reboot")


def _failed(code: int | None, last: str) -> Outcome:
    """The script ended with a code that means neither done nor restart. last: its last words."""
    error = f"Windows update script exited with non-zero exit status: {code}"
    return Outcome(exit_code=code, error=error, hint=_hint(last))


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
