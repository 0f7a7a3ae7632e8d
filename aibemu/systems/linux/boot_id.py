"""Which boot of a Linux guest this is."""

from __future__ import annotations

from aibemu.clock import Deadline
from aibemu.communicators import Communicator
from aibemu.errors import Expired, ProvisionFailed

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


def boot_id_after_login(communicator: Communicator, deadline: Deadline) -> str:
    """The same of a guest that has let in: `ProvisionFailed` when it runs no command, with what it says instead."""
    try:
        return boot_id(communicator, deadline)
    except ConnectionError:
        heard: list[str] = []
        status = communicator.run(COMMAND, deadline=deadline, on_line=lambda _, line: heard.append(line))
        if not status.code:
            raise
        raise ProvisionFailed(
            f"the guest lets the build user in and runs none of its commands (exit status {status.code})",
            details=heard[-3:],
            hint="give the user a login shell in the source image (/etc/cloud/cloud.cfg: default_user, shell; "
            "/etc/default/useradd), and no ForceCommand in sshd's configuration",
        ) from None
