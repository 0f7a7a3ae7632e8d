"""A made-up operating system, Plan9, with a communicator and customizers of its own: the proof of the seams.

It is as unlike Linux as the seams allow: paths with drive letters and backslashes, a password instead of a key, no
freezing, its own words for everything, and a last step that AIB has no name for. Its commands are one word and a text:
`write PATH`, `boot_id`, `sysname`, `seal`.
"""

from __future__ import annotations

import ntpath
import random
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Credentials, UploadFailed
from aibemu.customizers import Description, Guest, Need, Outcome, StepSettings, ended_badly
from aibemu.errors import Expired, ProvisionFailed
from aibemu.fabric.identity import Identity
from aibemu.fabric.vm import VirtualMachine
from aibemu.files import write_bytes
from aibemu.hardware import CdromBus, DiskBus, Hardware, NicModel
from aibemu.hypervisor import Level, Media
from aibemu.images import BaseImage, ImageInfo
from aibemu.systems import BootSigns, Ready
from aibemu.systems.findings import GeneralizeFinding, Prepared, Sealed
from aibemu.systems.starting import StartingMachine
from aibemu.systems.traits import Advice, Booting, Trouble
from aibemu.template.model import StepSpec

OS_TYPE = "Plan9"
SEAL = "C:\\sys\\seal.rc"
# What a test installs by `aibemu.testing.plugins.write_distribution`. The kinds of customizers are those that AIB has.
ENTRY_POINTS = {
    "aibemu.systems": {OS_TYPE: "aibemu.testing.system:FakeSystem"},
    "aibemu.communicators": {"fake": "aibemu.testing.talking:FakeConnector"},
    "aibemu.customizers": {
        "PowerShell": "aibemu.testing.system:FakeShell", "WindowsRestart": "aibemu.testing.system:FakeRestart"
    },
}  # fmt: skip


class FakeSystem:
    """See `aibemu.systems.GuestSystem`."""

    communicator = "fake"
    path = ntpath
    freezing = None
    seals_disks = False
    boots_images = True
    booting = Booting(patience=2.0)
    advice = Advice(
        image="use another image", without_platform="any image", host_name="look into C:\\sys\\name",
        refused="look into C:\\sys\\users",
    )  # fmt: skip

    def objection(self, info: ImageInfo) -> str | None:
        return "nobody has sealed it" if not info.generalized else None

    def remedy(self, info: ImageInfo) -> str:
        return self.advice.image

    def doubts(self, image: BaseImage) -> Sequence[str]:
        return [f"{image.short} is of a system that does not exist"]

    def deprovision_doubt(self, image: BaseImage, steps: str) -> str | None:
        return None

    def needs_acceleration(self, info: ImageInfo) -> str | None:
        """By the word of the image."""
        return "it is a slow one" if "slow" in info.os_name else None

    def reports(self, info: ImageInfo) -> bool:
        return False

    def hardware(self, info: ImageInfo) -> Hardware:
        return Hardware(disk=DiskBus.IDE, cdrom=CdromBus.IDE, nic=NicModel.E1000)

    def other_hardware(self, info: ImageInfo, hardware: Hardware, trouble: Trouble) -> Hardware | None:
        """For a crash without a disk another bus; for no network nothing."""
        return replace(hardware, disk=DiskBus.SATA) if "no disk" in trouble.crash else None

    def credentials(self, folder: Path, user: str, rng: random.Random) -> Credentials:
        file = folder / "password"
        write_bytes(file, rng.randbytes(16).hex().encode(), mode=0o600)
        return Credentials(user=user, password_file=file)

    def discs(self, folder: Path, info: ImageInfo, identity: Identity, vm: VirtualMachine, locale: str) -> Media:
        disc = folder / "names.iso"
        disc.write_text(f"{identity.hostname}\n{identity.user}\n", encoding="utf-8")
        return Media(cdroms=(disc,))

    def prepare(
        self, disk: Callable[[], AbstractContextManager[Path]], info: ImageInfo, *, deadline: Deadline
    ) -> Prepared | None:
        """Nothing: a test may put something else in its place."""
        return None

    def await_ready(self, machine: StartingMachine, bound: Deadline) -> Ready:
        communicator = machine.connect(bound)
        return Ready(communicator=communicator, boot_id=self.boot_id(communicator, bound), first_boot="done")

    def boot_signs(self, console: str) -> BootSigns:
        """It says `stage: NAME`, `trouble: WHAT`, and `up` when all is over."""
        stages = re.findall(r"^stage: (.*)", console, re.MULTILINE)
        troubles = tuple(re.findall(r"^trouble: (.*)", console, re.MULTILINE))
        over = re.search(r"^up$", console, re.MULTILINE) is not None
        return BootSigns(stage=stages[-1] if stages else "", first_boot_over=over, troubles=troubles)

    def fatal(self, console: str) -> str | None:
        found = re.search(r"^panic: (.*)", console, re.MULTILINE)
        return f"the system gave up: {found[1]}" if found else None

    def starved(self, console: str) -> str | None:
        return "its clock stood still" if "panic: no time" in console else None

    def crash(self, said: str) -> str:
        return f"the system broke down: {said}"

    def overdue(self, console: str) -> str:
        return "it never came up" if "stage:" not in console else ""

    def powered_off(self, info: ImageInfo, disk: Path | None, deadline: Deadline) -> str:
        return "look into C:\\sys\\off"

    def after_boot(self, communicator: Communicator, deadline: Deadline) -> None:
        try:
            communicator.write(b"forget everything\n", SEAL, deadline=deadline)
        except UploadFailed as error:
            raise ProvisionFailed(f"{SEAL} could not be written: {error}") from error

    def boot_id(self, communicator: Communicator, deadline: Deadline) -> str:
        try:
            status, text = communicator.output("boot_id", deadline=deadline)
        except Expired as error:
            raise ConnectionError(error.message) from error
        if not status.ok:
            raise ConnectionError("no answer")
        return text.strip()

    def host_name(self, communicator: Communicator, deadline: Deadline) -> str:
        return communicator.output("sysname", deadline=deadline)[1].strip()

    def command(self, words: Sequence[str], *, as_root: bool) -> str:
        return ("as lord " if as_root else "") + " ".join(words)

    def deprovision(self, settings: StepSettings) -> FakeSeal:
        return FakeSeal()

    def leave(self, communicator: Communicator, deadline: Deadline) -> bool:
        return False

    def generalized(
        self, disk: Path, user: str, *, scratch: Path, deadline: Deadline, tell: Callable[[str], None]
    ) -> Iterable[GeneralizeFinding]:
        """Whether the user's name is anywhere on the disk."""
        left = user.encode() in disk.read_bytes()
        level, message = (Level.ERROR, f"{user} is on the disk") if left else (Level.OK, "")
        return [
            GeneralizeFinding(
                level=level, check="user forgotten", problem=message and "user not forgotten", message=message
            )
        ]

    def seal(self, disk: Path, user: str, *, deadline: Deadline) -> Sealed:
        """Nothing: a test may put something else in its place."""
        return Sealed()

    def key(self) -> Sequence[str]:
        return ("fake", "1")


class _Step:
    """What the customizers here share: nothing is fetched, and their names are what they do."""

    def needs(self) -> Sequence[Need]:
        return ()

    def _described(self, remote: str, command: str) -> Description:
        return Description(local_name=f"(made by {OS_TYPE})", remote=remote, command=command)


class FakeSeal(_Step):
    """The hidden last step: `seal`."""

    kind = "PowerShell"

    def describe(self) -> Description:
        return self._described(SEAL, f"seal {SEAL}")

    def inputs(self) -> object:
        return "seal"

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome:
        status = guest.communicator.run(f"seal {SEAL}", deadline=guest.deadline, on_line=guest.on_line)
        error = ended_badly(status, (0,))
        return Outcome(exit_code=status.code, error=error, hint="is it still there?" if error else None)


class FakeShell(_Step):
    """Inline lines, one command each; a file beside the seal says what was run."""

    def __init__(self, spec: StepSpec, settings: StepSettings) -> None:
        self.lines: tuple[str, ...] = tuple(spec.options.get("inline") or ())
        self.name = f"step{spec.index}.rc"

    def describe(self) -> Description:
        return self._described(self.name, "; ".join(self.lines))

    def inputs(self) -> object:
        return list(self.lines)

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome:
        target = guest.system.path.join(guest.system.path.dirname(SEAL), self.name)
        guest.communicator.write("\n".join(self.lines).encode(), target, deadline=guest.deadline)
        for line in self.lines:
            status = guest.communicator.run(line, deadline=guest.deadline, on_line=guest.on_line)
            if error := ended_badly(status, (0,)):
                return Outcome(exit_code=status.code, error=error)
        return Outcome(exit_code=0)


class FakeRestart(_Step):
    """A restart, and how it went."""

    def __init__(self, spec: StepSpec, settings: StepSettings) -> None:
        self.command = str(spec.options.get("restartCommand") or "restart")
        self.check = str(spec.options.get("restartCheckCommand") or "") or None

    def describe(self) -> Description:
        return self._described("", self.command)

    def inputs(self) -> object:
        return [self.command, self.check]

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome:
        done = guest.restart(self.command, self.check, 60.0)
        error = None if done.ready else f"it did not restart (exit status {done.command.code})"
        return Outcome(exit_code=done.command.code, error=error, rebooted=done.restarted)
