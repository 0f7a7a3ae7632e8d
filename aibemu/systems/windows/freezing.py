"""A Windows guest in a layer: what must be known of it, and going on from it.

It keeps its name, its password and its certificate: another name takes a restart, and a new certificate a new listener
while one is logged in by the old one. So builds that go on from one layer have these in common, and the layer holds
them, readable for its owner only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aibemu.clock import Clock, Deadline
from aibemu.communicators import Communicator, Credentials
from aibemu.hypervisor import FrozenRefused
from aibemu.reading import read_text
from aibemu.systems import Ready
from aibemu.systems.freezing import Restoration
from aibemu.systems.starting import StartingMachine
from aibemu.systems.windows.commands import await_boot_id, clock_command
from aibemu.systems.windows.login import CERTIFICATE, KEY, PASSWORD, known_credentials


class WindowsFreezing:
    """See `aibemu.systems.freezing.GuestFreezing`.

    state: password, certificate and key (PEM) of the guest's WinRM server.
    """

    # A restored Windows was seen to hang for minutes, for its clock, its interrupt controller and a TPM go on from
    # elsewhere (facts: windows-images 8), and none of it can be tried where aibemu is developed.
    asks_for_memory = True
    keeps_identity = True

    def state(
        self, communicator: Communicator, credentials: Credentials, words: Mapping[str, str], deadline: Deadline
    ) -> Mapping[str, Any]:
        assert credentials.password_file is not None, "a Windows guest is logged in to by a password"
        folder = credentials.password_file.parent
        return {
            "password": credentials.password(), "certificate": read_text(folder / CERTIFICATE),
            "key": read_text(folder / KEY),
        }  # fmt: skip

    def credentials(self, folder: Path, user: str, state: Mapping[str, Any]) -> Credentials:
        try:
            secrets = {PASSWORD: state["password"], CERTIFICATE: state["certificate"], KEY: state["key"]}
            return known_credentials(folder, user, secrets)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # Its own words may have the password in them.
            what = type(error).__name__
            raise FrozenRefused(f"its record does not say how to log in to its guest ({what})") from None

    def restore(self, machine: StartingMachine, before: Restoration, bound: Deadline) -> Ready:
        """One that boots has its clock from its machine's; one that does not is told."""
        communicator = machine.connect(bound)
        if not before.boots:
            self.set_clock(communicator, machine.clock, bound)
        return Ready(communicator=communicator, boot_id=await_boot_id(machine, communicator, bound))

    def set_clock(self, communicator: Communicator, clock: Clock, deadline: Deadline) -> None:
        communicator.run(clock_command(clock.now()), deadline=deadline)
