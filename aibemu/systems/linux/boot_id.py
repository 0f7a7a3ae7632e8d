"""Which boot of a Linux guest this is."""

from __future__ import annotations

from aibemu.clock import Deadline
from aibemu.communicators import Communicator
from aibemu.errors import Expired

COMMAND = "cat /proc/sys/kernel/random/boot_id"


def boot_id(communicator: Communicator, deadline: Deadline) -> str:
    """What changes with each boot; connects anew if need be. `ConnectionError` when the guest does not say it."""
    try:
        status, text = communicator.output(COMMAND, deadline=deadline)
    except Expired as error:
        raise ConnectionError(error.message) from error
    if not status.ok or not text.strip():
        raise ConnectionError("the guest did not say its boot id")
    return text.strip()
