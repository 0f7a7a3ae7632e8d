"""A template that puts the Azure agent of the distribution into a Linux image: what `images prepare --agent` builds."""

from __future__ import annotations

import json
from collections.abc import Sequence

from aibemu.images import BaseImage, ImageInfo
from aibemu.images.linux import WAAGENT

# The label of a prepared image: the digest of the one that it was made from.
LABEL = "agent-put-into"
# By the package managers of those that have the agent. It must not take over from a cloud-init that sets the image up:
# the packages leave that as it is (Provisioning.Agent=auto).
SCRIPT = f"""set -e
if [ -e /usr/sbin/{WAAGENT} ]; then exit 0; fi
if command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q update
  apt-get -q -y install walinuxagent || apt-get -q -y install {WAAGENT}
elif command -v dnf >/dev/null; then
  dnf -y install WALinuxAgent
elif command -v tdnf >/dev/null; then
  tdnf -y install WALinuxAgent
elif command -v yum >/dev/null; then
  yum -y install WALinuxAgent
elif command -v zypper >/dev/null; then
  zypper --non-interactive install python-azure-agent
else
  echo "none of apt-get, dnf, tdnf, yum and zypper is there" >&2
  exit 1
fi
{WAAGENT} -version || /usr/sbin/{WAAGENT} -version
"""


def objection(info: ImageInfo) -> str | None:
    """Why the agent is not put into such an image, in a sentence; None when it may be."""
    if info.os_type != "Linux":
        return f"only Linux images get the Azure agent, and this is a {info.os_type} image"
    if info.linux is not None and not info.linux.seen_in and info.linux.has_waagent:
        return "it has the agent already: " + ", ".join(info.linux.agents)
    return None


def image_id(image: BaseImage, subscription: str, group: str) -> str:
    """What the prepared copy is called in the local cloud while it is made."""
    where = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/images"
    return f"{where}/aibemu-agent-{image.short}"


def template(image: BaseImage, target: str) -> str:
    """The text of the template. target: the id of the managed image that it makes."""
    source = target.rsplit("/", 1)[0] + f"/aibemu-source-{image.short}"
    step = {"type": "Shell", "name": "Azure agent", "inline": _as_root(SCRIPT)}
    output = {"type": "ManagedImage", "imageId": target, "location": "local", "runOutputName": "agent"}
    return json.dumps(
        {
            "type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01",
            "name": f"aibemu-agent-{image.short}", "location": "local",
            "identity": {"type": "UserAssigned", "userAssignedIdentities": {f"{target.partition('/providers/')[0]}"
                "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/aibemu": {}}},
            "properties": {
                "source": {"type": "ManagedImage", "imageId": source}, "customize": [step], "distribute": [output],
            },
        }, indent=2,
    )  # fmt: skip


def _as_root(script: str) -> Sequence[str]:
    """The lines of a step, whose user is not root."""
    return ["sudo -n sh -s <<'END_OF_AGENT'", *script.splitlines(), "END_OF_AGENT"]
