"""Examples as whole files: the part that matters, merged into a complete template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aibemu.template.catalogue.model import Example

_GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/images"
_IDENTITY = f"{_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/builder"

_LINUX: Mapping[str, Any] = {
    "name": "web",
    "location": "westeurope",
    "identity": {"type": "UserAssigned", "userAssignedIdentities": {_IDENTITY: {}}},
    "properties": {
        "vmProfile": {"vmSize": "Standard_D2s_v3"},
        "source": {
            "type": "PlatformImage", "publisher": "Debian", "offer": "debian-12", "sku": "12-gen2", "version": "latest"
        },
        "customize": [{"type": "Shell", "name": "greet", "inline": ["echo hello"]}],
        "distribute": [
            {
                "type": "ManagedImage", "runOutputName": "image", "location": "westeurope",
                "imageId": f"{_GROUP}/providers/Microsoft.Compute/images/web",
            }
        ],
    },
}  # fmt: skip
_WINDOWS: Mapping[str, Any] = {
    **_LINUX,
    "properties": {
        **_LINUX["properties"],
        "source": {
            "type": "PlatformImage", "publisher": "MicrosoftWindowsServer", "offer": "WindowsServer",
            "sku": "2022-datacenter-g2", "version": "latest",
        },
        "customize": [
            {"type": "PowerShell", "name": "greet", "inline": ["$ErrorActionPreference = 'Stop'", "Write-Host hello"]}
        ],
    },
}  # fmt: skip
_BASES: Mapping[str, Mapping[str, Any]] = {"linux": _LINUX, "windows": _WINDOWS}


def document(example: Example) -> str:
    """The text of the file that an example stands for."""
    if example.whole:
        return example.text
    return json.dumps(_merged(_BASES[example.system], json.loads(example.text)), indent=2)


def _merged(base: Any, change: Any) -> Any:
    """`change` over `base`: objects are merged, null removes, everything else replaces."""
    if not isinstance(base, Mapping) or not isinstance(change, dict):
        return change
    merged = {key: value for key, value in base.items() if change.get(key, ...) is not None}
    return merged | {key: _merged(base.get(key), value) for key, value in change.items() if value is not None}
