"""Running a command of a step on Windows: its files are put there just before, it runs once, and how it ended is data.

A lost connection is neither 0 nor run again: Packer's WinRM communicator calls it 16001 (facts: provisioners 0, 2.1).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence

from aibemu.communicators import ExitStatus, UploadFailed
from aibemu.customizers import Guest, Outcome, StepSettings, ended_badly
from aibemu.customizers.windows.hearing import Hearing
from aibemu.errors import ProvisionFailed

# Packer's exit code of a command whose WinRM connection was lost.
DISCONNECTED = 16001
# How often a file is written before anything has run: a step before may have restarted the machine.
TRIES = 3
# What installers end with when they want a restart, and succeeded otherwise.
_WANT_RESTART = frozenset({3010, 1641})
# Results of the task scheduler itself.
_TASK_RESULTS = {
    267014: "the scheduled task was ended, by somebody or by the end of the time",
    2147942402: "the scheduled task found no program to run",
    2147943726: "the scheduled task could not log in: user or password is wrong",
}


def put(guest: Guest, files: Sequence[tuple[str, bytes]]) -> Outcome | None:
    """Write files (path, content) that a step is about to use. None when they are there, else how the step ended."""
    for path, content in files:
        for number in range(1, TRIES + 1):
            try:
                guest.communicator.write(content, path, deadline=guest.deadline)
                break
            except UploadFailed as error:
                # Nothing has run yet, so that writing it again does no harm.
                if number == TRIES or not error.disconnected or not guest.rebooted():
                    lost = " (the connection was lost)" if error.disconnected else ""
                    return Outcome(exit_code=None, error=f"Error uploading script: {path}: {error}{lost}")
    return None


def run(
    guest: Guest, command: str, hearing: Hearing, *, valid: Collection[int], settings: StepSettings,
    stdin: bytes | None = None,
) -> Outcome:  # fmt: skip
    """Run `command` once, to its end."""
    status = guest.communicator.run(command, deadline=guest.deadline, on_line=hearing, stdin=stdin)
    if status.disconnected:
        return _lost(guest, valid, settings)
    if hearing.failure:
        return Outcome(exit_code=None, error=f"the elevated step was not run to its end: {hearing.failure}")
    allowed = tuple(valid)
    if error := ended_badly(status, allowed):
        return Outcome(exit_code=status.code, error=error, hint=_hint(status, allowed))
    return Outcome(exit_code=status.code, warnings=hearing.warnings())


def remove(guest: Guest, paths: Sequence[str], *, task: str | None = None, again: bool = False) -> None:
    """Delete files, and a scheduled task; it need not succeed, not even to be told to the guest. By cmd, which starts
    at once. again: when the machine restarts meanwhile, once more after its next boot."""
    names = " ".join('"{}"'.format(path.replace("/", "\\")) for path in paths)
    command = f"del /f /q {names} >nul 2>&1"
    if task:
        command += f" & schtasks /delete /f /tn {task} >nul 2>&1"
    with contextlib.suppress(ProvisionFailed):
        status = guest.communicator.run(command, deadline=guest.deadline)
        if again and status.disconnected and guest.rebooted():
            guest.communicator.run(command, deadline=guest.deadline)


def _lost(guest: Guest, valid: Collection[int], settings: StepSettings) -> Outcome:
    """The script is never run again. It counts as done only when the machine really rebooted, and that is accepted."""
    error = ended_badly(ExitStatus(code=DISCONNECTED), tuple(valid))
    if error is None:
        return Outcome(exit_code=DISCONNECTED, rebooted=guest.rebooted())
    if not guest.rebooted():
        return Outcome(exit_code=DISCONNECTED, error=f"{error} (the connection was lost, the machine did not reboot)")
    if settings.reboot_in_shell != "accept":
        return Outcome(exit_code=DISCONNECTED, error=f"{error} (the machine rebooted)")
    return Outcome(
        exit_code=None,
        rebooted=True,
        warnings=(
            "the script rebooted the machine and its exit code was lost; lines after the reboot did not run. The "
            "service may fail here (16001): leave the restart to a WindowsRestart step, or set reboot_in_shell: fail",
        ),
    )


def _hint(status: ExitStatus, valid: tuple[int, ...]) -> str | None:
    if status.code in _WANT_RESTART and status.code is not None:
        codes = ", ".join(str(code) for code in sorted({*valid, status.code}))
        return (
            f"an installer that wants a restart: put validExitCodes [{codes}] here and a WindowsRestart step after it"
        )
    return _TASK_RESULTS.get(status.code or 0)
