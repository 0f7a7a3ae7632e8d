"""What a Windows image lacks for a build, in sentences for people: `images import`, `images show`, `plan`, `run`."""

from __future__ import annotations

from aibemu.images import ImageInfo
from aibemu.images.needs import Need
from aibemu.images.windows import WindowsFacts

_OLDEST = 14393  # Windows Server 2016 and the Windows 10 of that year


def objection(info: ImageInfo) -> str | None:
    """Why it can never come up here, in words that follow "cannot be booted: "; None when nothing is known."""
    facts = info.windows
    if facts is None or not facts.image_state or facts.generalized:
        return None
    return f"{_not_generalized(facts)}: Setup does not run at its next boot, so aibemu gets no login"


def needs(reference: str, info: ImageInfo) -> list[Need]:
    """All that stands between an image and a build, the worst first. reference: how to name it in commands."""
    facts = info.windows
    if facts is None:
        return []
    found = [*_first_boot(facts), *_hardware(reference, facts)]
    if facts.evaluation:
        found.append(
            Need(
                text="it is an evaluation copy: unless it is activated, Windows shuts itself down about once an hour "
                "(wlms.exe, event 1074), in the middle of a build too",
                hint="let the machine reach the Internet, and begin the template with: slmgr.vbs /ato",
            )
        )
    if facts.build and facts.build < _OLDEST:
        found.append(
            Need(
                text=f"build {facts.build} is older than Windows Server 2016: nothing here was made for it",
                hint="take Windows Server 2016 or newer, or Windows 10 or 11",
            )
        )
    return found


def _first_boot(facts: WindowsFacts) -> list[Need]:
    found = []
    if facts.image_state and not facts.generalized:
        found.append(
            Need(
                text=f"{_not_generalized(facts)}: Setup does not run at its next boot, so aibemu gets no login",
                hint="where it was made run %WINDIR%\\System32\\Sysprep\\Sysprep.exe /oobe /generalize /shutdown, and "
                "import it again",
            )
        )
    if facts.answer_files:
        found.append(
            Need(
                text=f"Setup would take an answer file of the image, not aibemu's: {', '.join(facts.answer_files)}",
                run="on the disk of each machine it is kept from that before the first boot",
                hint="to be without: delete it where the image was made, before Sysprep, and import it again",
            )
        )
    if any(path.endswith("ErrorHandler.cmd") for path in facts.setup_scripts):
        found.append(
            Need(
                text="it was generalised with Azure's provisioning agent still in it (ErrorHandler.cmd): Setup may "
                "stop at a window called ERROR HANDLER",
                hint="where it was made delete C:\\Windows\\OEM and C:\\Windows\\Setup\\Scripts before Sysprep",
            )
        )
    if any(name.startswith("cloudbase-init") for name in facts.agents):
        found.append(
            Need(
                text="cloudbase-init is installed: it may rename and restart the machine during its first boot",
                hint="switch its service off where the image was made, if a build is disturbed by it",
            )
        )
    return found


def _hardware(reference: str, facts: WindowsFacts) -> list[Need]:
    found = []
    if facts.unprepared:
        found.append(
            Need(
                text=f"drivers that it needs to boot on other hardware are switched off: {', '.join(facts.unprepared)}",
                run="on the disk of each machine they are switched on before the first boot",
                hint="to have a copy of the image in which they are on",
                command=f"aibemu images prepare {reference}",
            )
        )
    if facts.filters:
        found.append(
            Need(
                text=f"filter drivers of other makers are loaded with its disks: {', '.join(facts.filters)}; they may "
                "keep it from booting on other hardware",
                hint="if it ends with stop code 0x7B, uninstall their programs where the image was made",
            )
        )
    return found


def _not_generalized(facts: WindowsFacts) -> str:
    return f"it is not generalised ({facts.image_state})"
