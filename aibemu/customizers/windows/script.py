"""Running a PowerShell script as Packer's powershell provisioner does (facts: provisioners 1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from aibemu.customizers import PACKER_ENVIRONMENT, Guest, Outcome, StepSettings
from aibemu.customizers.windows.elevated import SYSTEM, fresh_mark, task_script, wrapper_command
from aibemu.customizers.windows.hearing import Hearing
from aibemu.customizers.windows.names import Names
from aibemu.customizers.windows.running import put, remove, run
from aibemu.customizers.windows.texts import assignments, text, with_mark

# Of the setting `powershell_wrapper`: inline lines are put into try and catch, as by Packer since 1.14.
WRAPPED = "new"


class Account(Enum):
    """By whom a script is run. USER: the build user, by WinRM. ELEVATED: the build user, by a scheduled task. SYSTEM:
    Local System, by a scheduled task."""

    USER = "user"
    ELEVATED = "elevated"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One script, and how it is run."""

    names: Names
    # Of the file, with its byte order mark if it has one.
    content: bytes
    account: Account = Account.USER
    valid: tuple[int, ...] = (0,)
    # It sets its variables and its exit code itself: Packer's newer wrapper is around it.
    wrapped: bool = False

    @property
    def command(self) -> str:
        """The command line that Packer would log."""
        return inner_command(self) if self.account is Account.USER else wrapper_command(self.names)


def inner_command(script: Script) -> str:
    """What runs the script itself. Packer's line that is to silence progress makes a variable of an odd name, no more;
    it stays as it is, for scripts see the same then."""
    path = script.names.script
    if script.wrapped:
        return f"powershell -executionpolicy bypass -file {path}"
    return (
        'powershell -executionpolicy bypass "& { if (Test-Path variable:global:ProgressPreference)'
        "{set-variable -name variable:global:ProgressPreference -value 'SilentlyContinue'};"
        f". {script.names.environment}; &'{path}'; exit $LastExitCode }}\""
    )


def inline_content(lines: Sequence[str], *, wrapped: bool) -> bytes:
    """The file of inline lines: one script of all of them, so that `exit` in one ends all."""
    body = "".join(f"{line}\n" for line in lines)
    if wrapped:
        body = text("wrapper", {"ENVIRONMENT": assignments(PACKER_ENVIRONMENT), "SCRIPT": body.removesuffix("\n")})
    return with_mark(body)


def run_script(guest: Guest, script: Script, settings: StepSettings) -> Outcome:
    """Put its files there, run it, remove them when it ended well: Packer leaves those of a script that failed.

    After a restart in the midst of it what the wrapper removes is removed here, too: nobody else knows the names.
    """
    names, stdin = script.names, None
    hearing = Hearing(guest.on_line)
    wanted = [] if script.wrapped else [(names.environment, with_mark(assignments(PACKER_ENVIRONMENT)))]
    if script.account is not Account.USER:
        mark = fresh_mark()
        hearing = Hearing(guest.on_line, mark)
        user = SYSTEM
        if script.account is Account.ELEVATED:
            user = guest.credentials.user
            try:
                stdin = f"{guest.credentials.password()}\n".encode()
            except (OSError, ValueError) as error:
                return Outcome(exit_code=None, error=f"the step cannot be run elevated: {error}")
        wrapper = task_script(names, inner_command(script), user=user, deadline=guest.deadline, mark=mark)
        wanted.append((names.elevated, wrapper))
    wanted.append((names.script, script.content))
    if failed := put(guest, wanted):
        return failed
    outcome = run(guest, script.command, hearing, valid=script.valid, settings=settings, stdin=stdin)
    if not outcome.error:
        elevated = script.account is not Account.USER
        left = [path for path, _ in wanted if path != names.elevated or outcome.rebooted]
        log, task = ([names.log], names.task) if elevated and outcome.rebooted else ([], None)
        remove(guest, [*left, *log], task=task, again=True)
    return outcome
