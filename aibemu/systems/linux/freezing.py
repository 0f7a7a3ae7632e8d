"""A frozen Linux guest: what must be known of it, and how it becomes another run's when it is restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aibemu.clock import Clock, Deadline
from aibemu.communicators import Communicator, Credentials, Stream
from aibemu.communicators.login_shell import in_sh
from aibemu.errors import ProvisionFailed
from aibemu.files import write_bytes
from aibemu.hypervisor import FrozenRefused
from aibemu.reading import read_text
from aibemu.systems import Ready
from aibemu.systems.freezing import Restoration
from aibemu.systems.linux.boot_id import boot_id
from aibemu.systems.linux.restoring import SEED_BYTES, Renewal, clock_command, restore_script
from aibemu.systems.starting import StartingMachine


class LinuxFreezing:
    """See `aibemu.systems.GuestFreezing`.

    state: private_key (OpenSSH text of a key that may log in), public_line (its line in authorized_keys), session
    (process id of the old connection's sshd in the guest, or 0), own_words (names of the old run's that cloud-init
    wrote into files of its own, such as its resource group, by what they are).
    """

    asks_for_memory = False
    keeps_identity = False

    def credentials(self, folder: Path, user: str, state: Mapping[str, Any]) -> Credentials:
        raise FrozenRefused("a Linux guest is given the login of each run")

    def state(
        self, communicator: Communicator, credentials: Credentials, words: Mapping[str, str], deadline: Deadline
    ) -> Mapping[str, Any]:
        assert credentials.key_file is not None, "a Linux guest is logged in to by a key"
        return {
            "private_key": read_text(credentials.key_file), "public_line": credentials.public_key,
            "session": communicator.session(deadline=deadline), "own_words": dict(words),
        }  # fmt: skip

    def restore(self, machine: StartingMachine, before: Restoration, bound: Deadline) -> Ready:
        """One script, through the layer's own key."""
        renewal = _renewal(machine, before)
        key = machine.folder / "layer_key"
        write_bytes(key, before.state["private_key"].encode(), mode=0o600)
        communicator = machine.connect(bound, Credentials(user=machine.identity.user, key_file=key))
        boot_id = _renew(communicator, machine.clock, renewal, before, bound)
        communicator.become(machine.credentials)
        key.unlink()
        return Ready(communicator=communicator, boot_id=boot_id)

    def set_clock(self, communicator: Communicator, clock: Clock, deadline: Deadline) -> None:
        communicator.run(in_sh(clock_command(clock.now().timestamp())), deadline=deadline)


def _renewal(machine: StartingMachine, before: Restoration) -> Renewal:
    state = before.state
    try:
        state["private_key"].encode()
        return Renewal(
            user=machine.identity.user, hostname=(before.identity.hostname, machine.identity.hostname),
            public_line=(state["public_line"], machine.credentials.public_key), session=int(state["session"]),
            own_words={old: before.words[name] for name, old in state["own_words"].items() if old},
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FrozenRefused(f"its record does not say how to log in to its guest: {error!r}") from error


def _renew(communicator: Communicator, clock: Clock, renewal: Renewal, before: Restoration, bound: Deadline) -> str:
    """Have the guest run the script; its boot id."""
    now = clock.now()
    renewal = replace(renewal, slept=(now - before.made).total_seconds())
    script = restore_script(renewal, now=now.timestamp(), seed=before.rng.randbytes(SEED_BYTES))
    said: dict[Stream, list[str]] = {stream: [] for stream in Stream}
    status = communicator.run(
        "sudo -n sh", deadline=bound, stdin=script, on_line=lambda stream, line: said[stream].append(line)
    )  # fmt: skip
    if not status.ok:
        details = [f"exit status {status.code}", *said[Stream.STDERR][-3:]]
        raise ProvisionFailed("the guest could not be given this run's key and name", details=details)
    return said[Stream.STDOUT][-1].strip() if said[Stream.STDOUT] else boot_id(communicator, bound)
