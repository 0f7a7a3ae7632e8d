"""Linux as an entry point of `aibemu.systems`: cloud-init or the Azure agent sets it up, and SSH gets in."""

from __future__ import annotations

import hashlib
import posixpath
import random
import shlex
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Credentials, UploadFailed
from aibemu.customizers import StepSettings
from aibemu.errors import ProvisionFailed
from aibemu.fabric.identity import Identity
from aibemu.fabric.vm import VirtualMachine
from aibemu.hardware import Hardware
from aibemu.hypervisor import Media
from aibemu.images import BaseImage, ImageInfo, Provisioning, linux_needs
from aibemu.systems import BootSigns, Ready
from aibemu.systems.findings import GeneralizeFinding, Sealed
from aibemu.systems.linux.boot_id import boot_id, boot_id_after_login
from aibemu.systems.linux.console import fatal as ended_by
from aibemu.systems.linux.console import starved
from aibemu.systems.linux.deprovision import DEFAULT_SCRIPT, DEPROVISION_PATH, Deprovision, lacks_agent
from aibemu.systems.linux.devices import choices, hardware
from aibemu.systems.linux.discs import write_discs
from aibemu.systems.linux.first_boot import ENDED, LAST_STAGE, await_on_console, wait_for_first_boot
from aibemu.systems.linux.freezing import LinuxFreezing
from aibemu.systems.linux.progress import boot_signs
from aibemu.systems.starting import StartingMachine
from aibemu.systems.traits import Advice, Booting, Trouble

ADVICE = Advice(
    image="use an image with cloud-init or the Azure agent, such as a distribution's cloud image; if this one has it, "
    "say so: aibemu images describe",
    without_platform="an image with cloud-init that accepts the NoCloud data source",
    refused="the image's sshd may not take the key (AllowUsers, AuthorizedKeysFile, PubkeyAcceptedAlgorithms without "
    "ssh-ed25519), or the user is locked, expired, or was never made: the saved console says what cloud-init did",
    host_name="a customizer may have set preserve_hostname, or written /etc/hostname after deprovisioning",
    lost="look at the saved console; an image that boots elsewhere may lack virtio drivers, or need the other "
    "generation",
)


class LinuxSystem:
    """See `aibemu.systems.GuestSystem`."""

    communicator = "ssh"
    path = posixpath
    advice = ADVICE
    freezing = LinuxFreezing()
    seals_disks = False
    boots_images = True
    booting = Booting()

    def objection(self, info: ImageInfo) -> str | None:
        if info.provisioning is Provisioning.NONE:
            return "nothing in it configures a first boot (no cloud-init), so nobody could log in"
        return linux_needs.objection(info)

    def remedy(self, info: ImageInfo) -> str:
        return linux_needs.remedy(info) or ADVICE.image

    def doubts(self, image: BaseImage) -> Sequence[str]:
        doubts = linux_needs.unusual(choices(hardware(image.info.linux)), image.info.linux)
        if image.info.provisioning is Provisioning.UNKNOWN:
            doubts.append(
                f"it is not known whether {image.short} has cloud-init; if not, it will boot and never be ready"
            )
        return doubts

    def deprovision_doubt(self, image: BaseImage, steps: str) -> str | None:
        return lacks_agent(image, steps)

    def needs_acceleration(self, info: ImageInfo) -> str | None:
        """Emulated ones take minutes."""
        return None

    def reports(self, info: ImageInfo) -> bool:
        """Only what looks for Azure's platform and for nothing else is sure to."""
        return info.provisioning is Provisioning.AZURE

    def hardware(self, info: ImageInfo) -> Hardware:
        return hardware(info.linux)

    def other_hardware(self, info: ImageInfo, hardware: Hardware, trouble: Trouble) -> Hardware | None:
        return None

    def credentials(self, folder: Path, user: str, rng: random.Random) -> Credentials:
        """A key pair. Of `rng` nothing is used: a key is not to be guessed."""
        from aibemu.communicators.ssh.keys import generate

        pair = generate(folder)
        return Credentials(user=user, key_file=pair.private, public_key=pair.public_line)

    def discs(self, folder: Path, info: ImageInfo, identity: Identity, vm: VirtualMachine, locale: str) -> Media:
        return Media(cdroms=write_discs(folder, info.provisioning, identity, vm))

    def prepare(self, disk: Callable[[], AbstractContextManager[Path]], info: ImageInfo, *, deadline: Deadline) -> None:
        """Nothing: what an image needs is in it."""

    def await_ready(self, machine: StartingMachine, bound: Deadline) -> Ready:
        """The server's banner, a login, and cloud-init has finished."""
        told = machine.awaits_first_boot and _hears_of_last_stage(machine, bound)
        over = told and ENDED.search(machine.console()()) is not None
        communicator = machine.connect(bound)
        if told and not over:
            # A user's first session starts a service manager for him, seconds in an emulated guest: beside that stage.
            communicator.run("true", deadline=bound)
            await_on_console(machine.console(), ENDED, machine.check, bound)
        first_boot = "absent"
        if machine.awaits_first_boot:
            first_boot = wait_for_first_boot(communicator, machine.warn, bound)
        if not over:
            # The login was made while cloud-init still worked: a new one sees the locale and groups that it set.
            communicator.reconnect(bound)
        return Ready(communicator=communicator, boot_id=boot_id_after_login(communicator, bound), first_boot=first_boot)

    def boot_signs(self, console: str) -> BootSigns:
        return boot_signs(console)

    def fatal(self, console: str) -> str | None:
        return ended_by(console)

    def starved(self, console: str) -> str | None:
        return starved(console)

    def crash(self, said: str) -> str:
        return f"the guest reported a panic: {said}"

    def overdue(self, console: str) -> str:
        """What the console says of a boot is told as it comes."""
        return ""

    def powered_off(self, info: ImageInfo, disk: Path | None, deadline: Deadline) -> str:
        return ""

    def after_boot(self, communicator: Communicator, deadline: Deadline) -> None:
        """The deprovision script: a customizer may overwrite it, or delete it by mistake."""
        try:
            communicator.write(DEFAULT_SCRIPT.encode(), DEPROVISION_PATH, deadline=deadline, mode=0o644)
        except UploadFailed as error:
            raise ProvisionFailed(
                f"the deprovision script could not be written to {DEPROVISION_PATH}: {error}",
                hint="the build user must be able to write to /tmp of the source image",
            ) from error

    def boot_id(self, communicator: Communicator, deadline: Deadline) -> str:
        return boot_id(communicator, deadline)

    def host_name(self, communicator: Communicator, deadline: Deadline) -> str:
        _, said = communicator.output("hostname", deadline=deadline)
        return said.strip()

    def command(self, words: Sequence[str], *, as_root: bool) -> str:
        text = words[0] if len(words) == 1 else shlex.join(words)
        if not as_root:
            return text
        return f"sudo -n -- {text}" if len(words) > 1 else f'sudo -n -- "${{SHELL:-/bin/sh}}" -c {shlex.quote(text)}'

    def deprovision(self, settings: StepSettings) -> Deprovision:
        return Deprovision(settings)

    def leave(self, communicator: Communicator, deadline: Deadline) -> bool:
        """The deprovision script has taken out what there was."""
        return False

    def generalized(
        self, disk: Path, user: str, *, scratch: Path, deadline: Deadline, tell: Callable[[str], None]
    ) -> Iterable[GeneralizeFinding]:
        from aibemu.disks.reading import open_files
        from aibemu.disks.system_files import SystemFiles
        from aibemu.systems.linux.generalized import prove
        from aibemu.systems.linux.growth import unused

        files = open_files(disk, "qcow2", scratch, deadline, tell=tell)
        if files is None:
            return []
        with files:
            found, unseen = prove(files, user)
            if isinstance(files, SystemFiles):
                found += unused(files)
        if unseen:
            tell(unseen)
        return found

    def seal(self, disk: Path, user: str, *, deadline: Deadline) -> Sealed:
        """Nothing: all that is to go goes with the deprovision script, as in Azure."""
        return Sealed()

    def key(self) -> Sequence[str]:
        return (hashlib.sha256(DEFAULT_SCRIPT.encode()).hexdigest(),)


def _hears_of_last_stage(machine: StartingMachine, bound: Deadline) -> bool:
    """Where the console tells how far cloud-init is, wait until it is in its last stage, for a login before that takes
    time from it. True when it is, or is over."""
    if not machine.boots_guest:
        return False
    machine.await_server(bound)
    return await_on_console(machine.console(), LAST_STAGE, machine.check, bound)
