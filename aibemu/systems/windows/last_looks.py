"""Why a Windows machine that was used went off by itself: by its event log, which its disk has, and by its image.

An evaluation copy that is not activated, or whose term is over, is shut down about every hour by a service of its own,
wlms.exe (facts: windows-images 6). Windows writes who asked for a shutdown: event 1074 in the log System.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.errors import AibemuError
from aibemu.images import ImageInfo

_LOG = "Windows\\System32\\winevt\\Logs\\System.evtx"
# Texts of event logs are UTF-16. Of the one who asked Windows has the whole path, however its name is written.
_SERVICE = "wlms.exe"
_EVENT = (1074).to_bytes(2, "little")
# Not one of an earlier time, which the image may have brought: it is among the last things that were written.
_AT_THE_END = timedelta(minutes=10)
_ACTIVATE = (
    "let the machine reach the Internet and activate it in the first step: cscript //b "
    "C:\\Windows\\System32\\slmgr.vbs /ato; when its term is over, import a newer evaluation image, or another edition"
)
_ASKED = "a step asked for it, or Sysprep with /shutdown did: leave that to aibemu, and restarts to WindowsRestart"


def powered_off(info: ImageInfo, disk: Path | None, deadline: Deadline) -> str:
    """See `aibemu.systems.GuestSystem.powered_off`."""
    name = info.windows.product if info.windows else info.os_name
    if disk is not None and _says_so(disk, deadline):
        return f"this evaluation copy of Windows shut itself down (event 1074, {_SERVICE}): {_ACTIVATE}"
    if info.windows is not None and info.windows.evaluation:
        return f"{name} shuts itself down about every hour when it is not activated, or over: {_ACTIVATE}; or {_ASKED}"
    return f"{_ASKED}; an evaluation copy of Windows that is not activated does it, too (aibemu images show)"


def _says_so(disk: Path, deadline: Deadline) -> bool:
    from aibemu.disks.event_log import records
    from aibemu.disks.hives import open_windows

    last, said = timedelta(), None
    try:
        with open_windows(disk, "qcow2", deadline) as windows:
            log = windows.file(_LOG)
            for record in records(log) if log else ():
                last = max(last, record.written)
                if _EVENT in record.content and _SERVICE.encode("utf-16-le") in record.content.lower():
                    said = max(said or record.written, record.written)
    except AibemuError:
        deadline.check()
        return False
    return said is not None and last - said <= _AT_THE_END
