"""What aibemu knows of guest operating systems: the protocol, and one package for each.

The image's os_type chooses the system, once per machine, through the entry-point group `aibemu.systems`: the name of an
entry point is an os_type as Azure writes it (`Linux`), the entry point a class without arguments. The engine knows
machines, phases and layers; all that is said to a guest, or read from its console and its disk, is here.
`aibemu.testing.systems` has the suite that every system must pass.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, cast

from aibemu import plugins
from aibemu.customizers import Customizer
from aibemu.errors import HostNotReady

if TYPE_CHECKING:
    from aibemu.clock import Deadline
    from aibemu.communicators import Communicator, Credentials
    from aibemu.customizers import StepSettings
    from aibemu.fabric.identity import Identity
    from aibemu.fabric.vm import VirtualMachine
    from aibemu.hardware import Hardware
    from aibemu.hypervisor import Media
    from aibemu.images import BaseImage, ImageInfo
    from aibemu.systems.findings import GeneralizeFinding, Prepared, Sealed
    from aibemu.systems.freezing import GuestFreezing
    from aibemu.systems.starting import StartingMachine
    from aibemu.systems.traits import Advice, Booting, Trouble

GROUP = "aibemu.systems"
# The hint for an image whose system is not supported.
OTHER_SYSTEM = "use an image of another system; if this one is taken for what it is not: aibemu images describe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A guest that a step can use."""

    communicator: Communicator
    # What changes with each boot.
    boot_id: str
    # How its first boot ended: done, degraded, error, or absent when nothing in it says so.
    first_boot: str = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootSigns:
    """What a piece of the console's text says of a boot."""

    # How far it is, in a few words of the system's own; "" when nothing in the text tells.
    stage: str = ""
    # Whether all is over that a first boot does: who may log in then may log in for good.
    first_boot_over: bool = False
    # What went wrong that may keep people from getting in, in sentences; the boot goes on.
    troubles: tuple[str, ...] = ()


class DeprovisionStep(Customizer, Protocol):
    """A customizer that the engine runs last, hidden, as AIB does. When it fails, its outcome has a hint."""

    @property
    def kind(self) -> str:
        """The type that AIB's log gives it: `Shell`."""
        ...


class GuestSystem(Protocol):
    """One operating system of guests. It has no state: what belongs to a machine is handed in."""

    @property
    def communicator(self) -> str:
        """A name in the entry-point group `aibemu.communicators`."""
        ...

    @property
    def path(self) -> ModuleType:
        """The rules of its paths: `posixpath`, `ntpath`, or a module with the same functions."""
        ...

    @property
    def advice(self) -> Advice: ...

    @property
    def boots_images(self) -> bool:
        """Whether a real machine is made of its images. False: only drivers whose guests are up already run them, those
        that boot no guests (`aibemu.hypervisor.Capabilities.boots_guests`)."""
        ...

    @property
    def booting(self) -> Booting: ...

    @property
    def seals_disks(self) -> bool:
        """Whether `seal` has anything to do."""
        ...

    @property
    def freezing(self) -> GuestFreezing | None:
        """None where guests of this system are saved in no layers: each build boots, and nothing is cached."""
        ...

    def objection(self, info: ImageInfo) -> str | None:
        """Why an image of this system can never come up here, in words that follow "cannot be booted: "."""
        ...

    def remedy(self, info: ImageInfo) -> str:
        """What to do about an `objection`: the text of a hint."""
        ...

    def doubts(self, image: BaseImage) -> Sequence[str]:
        """What may keep it from coming up, in sentences."""
        ...

    def deprovision_doubt(self, image: BaseImage, steps: str) -> str | None:
        """Why the step that makes an image will fail on a machine of this one, and what to do, in sentences; None when
        nothing is known against it. steps: what the template's own steps say and run, in one text."""
        ...

    def needs_acceleration(self, info: ImageInfo) -> str | None:
        """Why its machines are of no use on a CPU that is emulated, in words that follow a colon; None when they are.
        A build refuses to make such a machine then, unless it is told to (`slow`)."""
        ...

    def reports(self, info: ImageInfo) -> bool:
        """Whether a guest of this image tells the platform that it is provisioned, where there is a platform."""
        ...

    def hardware(self, info: ImageInfo) -> Hardware:
        """The devices that an image has drivers for. Ports are its communicator's, and added by the engine."""
        ...

    def other_hardware(self, info: ImageInfo, hardware: Hardware, trouble: Trouble) -> Hardware | None:
        """The devices to try next when a guest of this image does not come up with `hardware`: its machine is made once
        more, from the image. None when others would do no better."""
        ...

    def credentials(self, folder: Path, user: str, rng: random.Random) -> Credentials:
        """Fresh ones, with their secrets in files of `folder`, which exists."""
        ...

    def discs(self, folder: Path, info: ImageInfo, identity: Identity, vm: VirtualMachine, locale: str) -> Media:
        """Write what the guest finds in its drives at its first boot, as files of `folder`, where its credentials lie.
        info: of its image. locale: the language and region that it gets where it must be given one, `en-US`."""
        ...

    def prepare(
        self, disk: Callable[[], AbstractContextManager[Path]], info: ImageInfo, *, deadline: Deadline
    ) -> Prepared | None:
        """Change the system disk (qcow2, the machine's own) of a machine that was never started, so that a guest of
        that image comes up with the hardware and the discs of this system. disk: gives it; not called where nothing is
        ever to do, as None says. HostNotReady, Unreadable, ToolFailed, and what `deadline` raises: then the machine is
        thrown away."""
        ...

    def await_ready(self, machine: StartingMachine, bound: Deadline) -> Ready:
        """Wait until steps can run: server, login, first boot. Raises what the waits raise, and ConnectionError."""
        ...

    def boot_signs(self, console: str) -> BootSigns:
        """How far a boot is, by a piece of what the console says: the last sign in it counts. Called for every piece,
        several times a second, so it must be cheap."""
        ...

    def fatal(self, console: str) -> str | None:
        """What ended a boot, in one sentence, by what the console says; None while it may still come up."""
        ...

    def starved(self, console: str) -> str | None:
        """Of a boot that has ended, by what the console says: what a busy host did to the guest, in one sentence
        without a full stop. Such a machine is started once more. None when the host is not known to be to blame."""
        ...

    def crash(self, said: str) -> str:
        """What it means, in a sentence, that the guest told the hypervisor `said` of its crash
        (`aibemu.hypervisor.Machine.panic`)."""
        ...

    def overdue(self, console: str) -> str:
        """Of a boot that took too long: what its console says of why, in a sentence; "" for nothing."""
        ...

    def powered_off(self, info: ImageInfo, disk: Path | None, deadline: Deadline) -> str:
        """Why a machine of that image may have gone off by itself while it was used, and what to do; "" for nothing
        better than `Advice.lost`. disk: its system disk (qcow2), for reading, where it can be read. Raises what ends
        the build; that the disk cannot be read is no reason to."""
        ...

    def after_boot(self, communicator: Communicator, deadline: Deadline) -> None:
        """Before the first customizer: put into place what a template may overwrite. `ProvisionFailed`."""
        ...

    def boot_id(self, communicator: Communicator, deadline: Deadline) -> str:
        """What changes with each boot; `ConnectionError` when the guest does not answer."""
        ...

    def host_name(self, communicator: Communicator, deadline: Deadline) -> str:
        """What the guest calls itself; "" when it does not say."""
        ...

    def command(self, words: Sequence[str], *, as_root: bool) -> str:
        """What its login shell is to run for a person: one word is given to the shell as it is, several are quoted for
        it. as_root: by whoever may do everything there."""
        ...

    def deprovision(self, settings: StepSettings) -> DeprovisionStep:
        """The step that makes an image of the machine."""
        ...

    def leave(self, communicator: Communicator, deadline: Deadline) -> bool:
        """After the last step: ask the guest to take out what let this run in, which may end the connection, and to
        power itself off. False when there is nothing to ask for; then its power button is pressed. OSError,
        `UploadFailed` and `Expired` when it cannot be asked."""
        ...

    def generalized(
        self, disk: Path, user: str, *, scratch: Path, deadline: Deadline, tell: Callable[[str], None]
    ) -> Iterable[GeneralizeFinding]:
        """The offline proof: look at the system disk (qcow2) of a machine that is off, whose build user was `user`.
        scratch: for large files. tell: hears why nothing could be looked at. HostNotReady, ToolFailed, Unreadable,
        DebugfsFailed."""
        ...

    def seal(self, disk: Path, user: str, *, deadline: Deadline) -> Sealed:
        """Change the system disk (qcow2, nobody else's) of a machine that is off, whose build user was `user`: what
        cannot be done while somebody is logged in, and what must be another way elsewhere. `GeneralizeFailed` for a
        disk that is no image of this system; after what else is raised (HostNotReady, ToolFailed, Unreadable, Expired)
        the caller throws the changes away, and asks `generalized` for the proof."""
        ...

    def key(self) -> Sequence[str]:
        """What of this system a layer depends on, besides image and machine: it changes when layers made by an earlier
        aibemu are no use."""
        ...


def load(os_type: str) -> GuestSystem:
    """The system of an os_type; `HostNotReady` when guests of it are not supported."""
    if os_type not in plugins.names(GROUP):
        raise HostNotReady(
            f"the guest's system cannot be run: {unsupported(os_type, booted=True)}", hint=OTHER_SYSTEM,
            commands=["aibemu images list"],
        )  # fmt: skip
    return cast("GuestSystem", plugins.load(GROUP, os_type)())


def for_image(info: ImageInfo) -> GuestSystem:
    """The system of an image; raises what `load` raises."""
    return load(info.os_type)


def runnable(*, booted: bool) -> list[str]:
    """The os_types of guests that can be run. booted: their images are booted; else they are up already."""
    return [name for name in sorted(plugins.names(GROUP)) if not booted or load(name).boots_images]


def unsupported(os_type: str, *, booted: bool) -> str | None:
    """Why guests of an os_type are not run; None if they are. booted: as for `runnable`."""
    known = runnable(booted=booted)
    if os_type in known:
        return None
    return f"it is a {os_type or 'nameless'} image, and only {' and '.join(known)} guests are run so far"
