"""The Linux deprovision script: put into place first, overwritten by who wants to, printed and run last, as root.

Order and texts: facts, service 5 ("Order") and 4.5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aibemu.customizers import Description, Guest, Need, Outcome, StepSettings
from aibemu.customizers.shell import run_script
from aibemu.images import BaseImage

DEPROVISION_PATH = "/tmp/DeprovisioningScript.sh"
# AIB's own default (facts: service 5).
DEFAULT_SCRIPT = """WAAGENT=/usr/sbin/waagent
waagent -version 1> /dev/null 2>&1
if [ $? -eq 0 ]; then
  WAAGENT=waagent
fi
$WAAGENT -force -deprovision+user && export HISTSIZE=0 && sync
"""
MISSING = (
    f"Deprovisioning script [{DEPROVISION_PATH}] could not be found. Image build may fail or the VM created from the "
    "Image may not boot. Please make sure the deprovisioning script is not accidentally deleted by a Customizer in the "
    "Template."
)
# Printed, then run, in one script: `sh FILE` makes messages start with the path, as in the service's logs. What was
# deleted is trimmed after it, for the user that could do so is gone then: only what is used is converted.
_RUNNER = f"""if [ -e {DEPROVISION_PATH} ]; then cat {DEPROVISION_PATH}; else echo "{MISSING}"; fi
sh {DEPROVISION_PATH}
status=$?
fstrim -a >/dev/null 2>&1
exit $status
"""

# What a step says that puts the agent into the image, or does without it.
_KNOWS = re.compile(r"(?i)waagent|walinuxagent|python-azure-agent|DeprovisioningScript\.sh")
FAILED = "its output is above; a customizer may have removed it (cleaning /tmp does), or the Azure agent"


def at_the_end(command: str) -> str:
    """The line of a Shell customizer that has `command` run as root after the agent's deprovisioning.

    Most traces cannot go sooner: sshd needs its host keys and sudo its rule until then.
    """
    return f"echo '{command}; sync' >> {DEPROVISION_PATH}"


class Deprovision:
    """The hidden last step. Runs as root whatever the settings say: deleting the build user needs it."""

    kind = "Shell"

    def __init__(self, settings: StepSettings) -> None:
        self.settings = settings
        self.remote = f"/tmp/script_{settings.rng.randrange(9999)}.sh"

    def needs(self) -> Sequence[Need]:
        return ()

    def describe(self) -> Description:
        return Description(
            local_name=f"/tmp/packer-shell{self.settings.rng.randrange(10**8, 10**10)}",
            remote=self.remote,
            command=f"chmod +x {self.remote}; sudo -E {self.remote}",
        )

    def inputs(self) -> object:
        return {"deprovision": DEFAULT_SCRIPT}

    def would(self) -> Sequence[str]:
        return [f"print {DEPROVISION_PATH} into the log", f"run as root: sh {DEPROVISION_PATH}"]

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome:
        # Not `-e`: the missing-script message and the run are one script, its status is that of the run.
        outcome = run_script(
            guest, f"#!/bin/sh\n{_RUNNER}".encode(), remote=self.remote, sudo=True, settings=self.settings
        )
        return replace(outcome, hint=FAILED) if outcome.error else outcome


def lacks_agent(image: BaseImage, steps: str) -> str | None:
    """What to say before a build of an image without the agent that the service's own script runs; None where it has
    it, where it is not known, and where the steps of the template, which `steps` has, seem to know."""
    facts = image.info.linux
    if facts is None or facts.seen_in or facts.has_waagent or _KNOWS.search(steps):
        return None
    return (
        f"image {image.short} has no Azure agent (waagent): at the end of the build the service's deprovision script "
        "ends with status 127 on it, and the build fails. Three ways out: an image that was built for Azure (aibemu "
        f"images list --catalogue); a customizer that writes a script of your own to {DEPROVISION_PATH}; or a copy of "
        f"this image with the agent in it: aibemu images prepare {image.short} --agent"
    )
