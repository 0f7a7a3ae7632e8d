"""Taking out of a guest what let this run in: by a task of the guest, at the very end, for it ends the connection."""

from __future__ import annotations

from aibemu.clock import Deadline
from aibemu.communicators import Communicator
from aibemu.errors import Expired
from aibemu.systems.windows.media import script

TASK = "aibemu-leave"
SCRIPT = r"C:\Windows\Temp\aibemu-leave.ps1"
# What setup.ps1 notes first. A guest without it was up already: nothing was put into it.
NOTED = r"reg.exe query HKLM\SOFTWARE\aibemu /v user"
CREATE = (
    f"schtasks.exe /create /f /tn {TASK} /sc once /st 00:00 /ru SYSTEM /rl HIGHEST /tr "
    f'"powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -File {SCRIPT}"'
)
RUN = f"schtasks.exe /run /tn {TASK}"
# Seconds, before scaling, for each of these.
BOUND = 60.0


def leave(communicator: Communicator, deadline: Deadline) -> bool:
    """See `aibemu.systems.GuestSystem.leave`."""
    try:
        _, noted = communicator.output(NOTED, deadline=deadline.within(BOUND))
        if "REG_SZ" not in noted:
            return False
        communicator.write(script("leave.ps1"), SCRIPT, deadline=deadline.within(BOUND))
        for command in (CREATE, RUN):
            status = communicator.run(command, deadline=deadline.within(BOUND))
            if not status.ok:
                raise ConnectionError(f"`{command.partition(' /tr')[0]}` ended with {status.code}")
    except Expired as error:
        deadline.check()
        raise ConnectionError(f"no answer: {error.message}") from error
    return True
