"""Running a command elevated: a scheduled task does it, as Packer has it (facts: provisioners 1.2.1).

What Packer's text lacks, this one has: the log is read on from where it was read to; a task that cannot be registered,
does not start or is gone ends the step at once, with the reason; it ends with the build's time. The password of the
build user goes in by standard input, and is in no file.
"""

from __future__ import annotations

import math
import secrets
from xml.sax.saxutils import escape

from aibemu.clock import Deadline
from aibemu.customizers.windows.names import Names
from aibemu.customizers.windows.texts import text, with_mark

SYSTEM = "SYSTEM"
# Kinds of logon of the task scheduler: by password, and that of a service account, which has none.
_BY_PASSWORD, _SERVICE_ACCOUNT = 1, 5
# How long a task may take to start, seconds.
START_SECONDS = 60


def fresh_mark() -> str:
    """What the wrapper's own words begin with; no script can guess it."""
    return f"AIBEMU-TASK-{secrets.token_hex(8)}"


def task_script(
    names: Names, command: str, *, user: str, deadline: Deadline, mark: str, heartbeat: int = 0, stays: bool = False
) -> bytes:  # fmt: skip
    """The wrapper: a file that runs `command` as a task of `user`, SYSTEM or one whose password it is told.

    heartbeat: seconds between two lines that say how busy the machine is, 0 for none. stays: it is run again, and does
    not remove itself.
    """
    as_system = user == SYSTEM
    left = "$log" if stays else f"$log, '{names.elevated}'"
    return with_mark(
        text(
            "elevated",
            {
                "MARK": mark, "TASK": names.task, "USER": user.replace("'", "''"), "LEFT": left,
                "LOGON": _SERVICE_ACCOUNT if as_system else _BY_PASSWORD, "HEARTBEAT": heartbeat,
                "XML_USER": escape(user), "XML_LOGON": "" if as_system else "<LogonType>Password</LogonType>",
                "XML_COMMAND": escape(f"{command} > {names.log} 2>&1"), "LIMIT": _limit(deadline),
                "START_SECONDS": START_SECONDS,
            },
        )
    )  # fmt: skip


def wrapper_command(names: Names) -> str:
    """How the wrapper is run, as Packer runs its own."""
    return f'powershell -executionpolicy bypass -file "{names.elevated}"'


def _limit(deadline: Deadline) -> str:
    """The time that the task scheduler gives the task; PT0S is for ever."""
    left = deadline.remaining()
    return "PT0S" if math.isinf(left) else f"PT{max(1, math.ceil(left))}S"
