"""Windows as an entry point of `aibemu.systems`: an answer file and aibemu's own setup set it up, and WinRM gets in."""

from __future__ import annotations

import hashlib
import ntpath
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Credentials, UploadFailed
from aibemu.customizers import StepSettings
from aibemu.customizers.windows.texts import packaged
from aibemu.errors import ProvisionFailed
from aibemu.fabric.identity import Identity
from aibemu.fabric.vm import VirtualMachine
from aibemu.hardware import Hardware
from aibemu.hypervisor import Media
from aibemu.images import BaseImage, ImageInfo
from aibemu.images.windows_needs import needs, objection
from aibemu.systems import BootSigns, Ready
from aibemu.systems.starting import StartingMachine
from aibemu.systems.traits import Advice, Booting, Trouble
from aibemu.systems.windows.answers import Answers, answer_file
from aibemu.systems.windows.commands import HOST_NAME, await_boot_id, boot_id, command
from aibemu.systems.windows.deprovision import DEPROVISION_PATH, Deprovision, default_file
from aibemu.systems.windows.devices import hardware
from aibemu.systems.windows.fallbacks import ADDRESS_WITHIN, other_hardware
from aibemu.systems.windows.first_disk import prepare_disk, rules
from aibemu.systems.windows.freezing import WindowsFreezing
from aibemu.systems.windows.last_looks import powered_off
from aibemu.systems.windows.leaving import leave
from aibemu.systems.windows.login import fresh_credentials
from aibemu.systems.windows.media import password_of, write_media
from aibemu.systems.windows.progress import boot_signs, crash, fatal, overdue
from aibemu.systems.windows.sealing import look_at, seal_disk

if TYPE_CHECKING:
    from aibemu.systems.findings import GeneralizeFinding, Prepared, Sealed

ADVICE = Advice(
    image="use a generalised image of Windows Server 2016 or newer, or of Windows 10 or 11",
    without_platform="a Windows image",
    refused="the image's policy may not let local accounts log in over the network, or WinRM's Basic and NTLM are off",
    host_name="an answer file in C:\\Windows\\Panther or in Sysprep's folder may set the name",
    lost="look at the pictures of its screen beside the saved console; the setting hardware gives the machine other "
    "devices",
)
UNREAD = (
    "its registry was not read: it is not known which Windows it is, and whether it is generalised; if it is not, it "
    "will boot and never be ready"
)
# Of the name of a Windows user.
LONGEST_USER = 20
# Accounts and groups that Windows has itself, and words that its setup takes for none. Azure takes no `administrator`
# either.
NO_USERS = frozenset({
    "administrator", "administrators", "defaultaccount", "guest", "guests", "localservice", "networkservice", "none",
    "system", "users", "wdagutilityaccount",
})  # fmt: skip


class WindowsSystem:
    """See `aibemu.systems.GuestSystem`."""

    communicator = "winrm"
    path = ntpath
    advice = ADVICE
    freezing = WindowsFreezing()
    # off_patience: updates that are finished while Windows goes off take minutes.
    booting = Booting(patience=6.0, console_tells=False, off_patience=5.0, address_within=ADDRESS_WITHIN)
    seals_disks = True
    boots_images = True

    def objection(self, info: ImageInfo) -> str | None:
        return objection(info)

    def remedy(self, info: ImageInfo) -> str:
        return ADVICE.image

    def doubts(self, image: BaseImage) -> Sequence[str]:
        facts = image.info.windows
        if facts is None or not facts.image_state:
            return [f"{UNREAD} (aibemu images show {image.short})"]
        return [str(need) for need in needs(image.short, image.info)]

    def deprovision_doubt(self, image: BaseImage, steps: str) -> str | None:
        return None

    def needs_acceleration(self, info: ImageInfo) -> str | None:
        """What was seen of emulated ones (facts: windows-images 2): hours for the first boot, or no end."""
        return "on emulated CPUs Windows takes hours for its first boot alone, and newer versions may never get there"

    def reports(self, info: ImageInfo) -> bool:
        """What is put into it does, whatever agents the image has."""
        return True

    def hardware(self, info: ImageInfo) -> Hardware:
        return hardware(info.windows)

    def other_hardware(self, info: ImageInfo, hardware: Hardware, trouble: Trouble) -> Hardware | None:
        return other_hardware(info, hardware, trouble)

    def credentials(self, folder: Path, user: str, rng: random.Random) -> Credentials:
        """A password and a certificate. Of `rng` nothing is used: they are not to be guessed."""
        if len(user) > LONGEST_USER:
            raise ProvisionFailed(
                f"the build user {user} cannot be a Windows user: a name has {LONGEST_USER} characters at most",
                hint="give the setting build_user a shorter one",
            )
        if user.lower() in NO_USERS:
            raise ProvisionFailed(
                f"the build user {user} cannot be made in Windows: it has an account or a group of that name itself",
                hint="give the setting build_user another name",
            )
        return fresh_credentials(folder, user)

    def discs(self, folder: Path, info: ImageInfo, identity: Identity, vm: VirtualMachine, locale: str) -> Media:
        answers = Answers(
            computer=identity.hostname, user=identity.user, password=password_of(folder), facts=info.windows,
            locale=locale,
        )  # fmt: skip
        return write_media(folder, answers)

    def prepare(
        self, disk: Callable[[], AbstractContextManager[Path]], info: ImageInfo, *, deadline: Deadline
    ) -> Prepared:
        return prepare_disk(disk, info, deadline)

    def await_ready(self, machine: StartingMachine, bound: Deadline) -> Ready:
        """A login by the pinned certificate, and PowerShell answers: WinRM does so first."""
        communicator = machine.connect(bound)
        found = await_boot_id(machine, communicator, bound)
        return Ready(communicator=communicator, boot_id=found, first_boot="done" if machine.boots_guest else "absent")

    def boot_signs(self, console: str) -> BootSigns:
        return boot_signs(console)

    def fatal(self, console: str) -> str | None:
        return fatal(console)

    def starved(self, console: str) -> str | None:
        return None

    def crash(self, said: str) -> str:
        return crash(said)

    def overdue(self, console: str) -> str:
        return overdue(console)

    def powered_off(self, info: ImageInfo, disk: Path | None, deadline: Deadline) -> str:
        return powered_off(info, disk, deadline)

    def after_boot(self, communicator: Communicator, deadline: Deadline) -> None:
        """The deprovision script: a customizer may overwrite it, edit it, or delete it by mistake."""
        try:
            communicator.write(default_file(), DEPROVISION_PATH, deadline=deadline)
        except UploadFailed as error:
            raise ProvisionFailed(
                f"the deprovision script could not be written to {DEPROVISION_PATH}: {error}",
                hint="the build user must be an administrator of the source image",
            ) from error

    def boot_id(self, communicator: Communicator, deadline: Deadline) -> str:
        return boot_id(communicator, deadline)

    def host_name(self, communicator: Communicator, deadline: Deadline) -> str:
        _, said = communicator.output(HOST_NAME, deadline=deadline)
        return said.strip()

    def command(self, words: Sequence[str], *, as_root: bool) -> str:
        """as_root: the build user is an administrator, so it is the same."""
        return command(words)

    def deprovision(self, settings: StepSettings) -> Deprovision:
        return Deprovision(settings)

    def leave(self, communicator: Communicator, deadline: Deadline) -> bool:
        return leave(communicator, deadline)

    def generalized(
        self, disk: Path, user: str, *, scratch: Path, deadline: Deadline, tell: Callable[[str], None]
    ) -> Iterable[GeneralizeFinding]:
        found, why = look_at(disk, user, deadline)
        if why:
            tell(why)
        return found

    def seal(self, disk: Path, user: str, *, deadline: Deadline) -> Sealed:
        return seal_disk(disk, user, deadline)

    def key(self) -> Sequence[str]:
        """All that is put into a guest or runs in it, by name and content, and what is done to its disk before; to the
        hardware the engine looks itself."""
        package = "aibemu.systems.windows"
        names = sorted(entry.name for entry in files(package).iterdir() if entry.name.endswith((".ps1", ".cmd")))
        texts = {name: packaged(package, name).encode() for name in names}
        anybody = Answers(computer="computer", user="user", password="password", facts=None, locale="en-US")  # noqa: S106
        texts["answer file"] = answer_file(anybody)
        return (*(f"{name} {hashlib.sha256(text).hexdigest()}" for name, text in texts.items()), rules())
