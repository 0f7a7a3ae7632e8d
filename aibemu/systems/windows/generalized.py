"""The offline proof that a Windows image is generalised, and nothing of its build is in it: judged by `Seen`.

ERROR is what keeps a new machine from coming up in Azure, WARNING what only a security review objects to. What could
not be looked at is told as not proven, and nothing is said of it (facts: guest-platform 5, windows-images 1.2 and 9.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from aibemu.hypervisor import Level
from aibemu.images.windows import GENERALIZED
from aibemu.systems.findings import GeneralizeFinding, Rule, judged
from aibemu.systems.windows.deprovision import DEPROVISION_PATH
from aibemu.systems.windows.seeing import Seen

# SetupType of an image that sets itself up at its next boot.
_SETS_UP = 2
# How many things of a kind are named.
_SHOWN = 8
_LAST_STEP = f"let {DEPROVISION_PATH} run Sysprep.exe /oobe /generalize /quiet /quit, and wait for it"


def judge(seen: Seen) -> Iterator[GeneralizeFinding]:
    """A finding for each check that could be made, OK or not: errors first."""
    return judged(CHECKS, seen)


def unproven(seen: Seen) -> str:
    """Which checks could not be made, and the first reason; "" when all were."""
    if not seen.troubles:
        return ""
    names = [one.check for one in CHECKS if one.look(seen) is None]
    what = f"not proven: {', '.join(names)}; " if names else ""
    return f"{what}{seen.troubles[0]}"


def _state(seen: Seen) -> str | None:
    if seen.image_state is None or seen.image_state == GENERALIZED:
        return None if seen.image_state is None else ""
    return f"ImageState is {seen.image_state or 'not set'}"


def _setup(seen: Seen) -> str | None:
    if seen.setup is None:
        return None
    found = [f"{name} is {seen.setup.get(name)}" for name in ("SystemSetupInProgress", "OOBEInProgress")
             if seen.setup.get(name) != 1]  # fmt: skip
    if seen.setup.get("SetupType") != _SETS_UP:
        found.insert(0, f"SetupType is {seen.setup.get('SetupType')}")
    return ", ".join(found)


def _tag(seen: Seen) -> str | None:
    if seen.succeeded is None:
        return None
    return "" if seen.succeeded else r"there is no Windows\System32\Sysprep\Sysprep_succeeded.tag"


def _all(get: Callable[[Seen], tuple[str, ...] | None]) -> Callable[[Seen], str | None]:
    def look(seen: Seen) -> str | None:
        found = get(seen)
        if found is None:
            return None
        return ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if found[_SHOWN:] else "")

    return look


CHECKS: tuple[Rule[[Seen]], ...] = (
    Rule(
        level=Level.ERROR, check="Windows is generalised",
        wrong="Windows is not generalised", look=_state, fix=_LAST_STEP,
        azure="a machine of the image has the build machine's identity, and Azure's creation of it times out",
        review="all machines share one identity",
    ),
    Rule(
        level=Level.ERROR, check="the next boot sets Windows up",
        wrong="the next boot does not set Windows up", look=_setup, fix=_LAST_STEP,
        azure="Windows boots without a new name and without the administrator that Azure is to make",
    ),
    Rule(
        level=Level.ERROR, check="no answer file waits",
        wrong="answer file left behind", look=_all(lambda seen: seen.answers),
        azure="Setup takes it before the one that Azure gives: the machine gets other names and users than it shall",
        review="an answer file may hold passwords",
        fix=r"Remove-Item C:\Windows\Panther\unattend.xml before Sysprep, as the default script does",
    ),
    Rule(
        level=Level.ERROR, check="drivers of Azure's disks are loaded",
        wrong="drivers of Azure's disks are not loaded", look=_all(lambda seen: seen.unprepared),
        azure="Windows stops with 0x7B (INACCESSIBLE_BOOT_DEVICE) at its first boot there",
        fix="have qemu-utils or libguestfs-tools installed (aibemu doctor): aibemu mends this itself where it can",
    ),
    Rule(
        level=Level.WARNING, check="Sysprep says that it succeeded",
        wrong="Sysprep does not say that it succeeded", look=_tag, fix=_LAST_STEP,
        azure="Azure does not look",
    ),
    Rule(
        level=Level.WARNING, check="no certificate of the build",
        wrong="certificate of the build left behind", look=_all(lambda seen: seen.certificates),
        azure="Azure does not look; machines of the service have the certificate of their own build",
        review="its key is the same on all machines of the image",
    ),
    Rule(
        level=Level.WARNING, check="WinRM is as it was",
        wrong="WinRM is not as it was", look=_all(lambda seen: seen.access),
        azure="Azure does not look; machines of the service keep the listener of their own build",
        review="what let the build in may let others in",
    ),
    Rule(
        level=Level.WARNING, check="no scripts of the build",
        wrong="scripts of the build left behind", look=_all(lambda seen: seen.leftovers),
        azure="Windows runs them again at the first boot of a new machine, where they find nothing to do",
        review="they name the build's user",
    ),
    Rule(
        level=Level.WARNING, check="no profile of the build user",
        wrong="profile of the build user left behind", look=_all(lambda seen: seen.profiles),
        azure="machines come up; one whose administrator has the same name gets another folder",
        review="the build user's files are in the image",
    ),
    Rule(
        level=Level.NOTE, check="no deprovision script",
        wrong="deprovision script left behind",
        look=lambda seen: None if seen.deprovision is None else (f"{DEPROVISION_PATH} is there" * seen.deprovision),
        azure="images of the service have it too",
    ),
)  # fmt: skip
