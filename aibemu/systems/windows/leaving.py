"""Taking out of a guest what let this run in: by a task of the guest, at the very end, for it ends the connection."""

from __future__ import annotations

from aibemu.clock import Deadline
from aibemu.communicators import Communicator
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
    _, noted = communicator.output(NOTED, deadline=deadline.within(BOUND))
    if "REG_SZ" not in noted:
        return False
    communicator.write(script("leave.ps1"), SCRIPT, deadline=deadline.within(BOUND))
    for command in (CREATE, RUN):
        status = communicator.run(command, deadline=deadline.within(BOUND))
        if status.disconnected and command is RUN:
            break  # it may have been started, and then it goes off
        if not status.ok:
            why = "lost its connection" if status.disconnected else f"ended with {status.code}"
            raise ConnectionError(f"`{command.partition(' /tr')[0]}` {why}")
    return True
