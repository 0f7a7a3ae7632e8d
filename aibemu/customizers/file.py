"""The File customizer and validator on Linux, as Packer's file provisioner does it (facts: provisioners 1.3).

The file is written as the build user, so only where that user may write (in practice /tmp and its home); the parent
directory must exist; a destination that ends in `/` gets the source's base name; there is no retry.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from aibemu.communicators import UploadFailed
from aibemu.customizers import Description, Guest, Need, Outcome, StepSettings
from aibemu.template.model import StepSpec

# The service recommends to keep File sources below this (facts: service 3); larger ones work but are slow there.
RECOMMENDED_BYTES = 20 * 1024 * 1024
# The mode of the service's own downloaded copy, which Packer carries over.
MODE = 0o644
HINT = (
    "the folder of the destination must exist, and the build user, who is not root, must be allowed to write there: "
    "copy to /tmp, and move the file with sudo in a Shell step"
)


class File:
    """One File step."""

    def __init__(self, spec: StepSpec, settings: StepSettings) -> None:
        self.spec = spec
        self.uri: str = spec.options.get("sourceUri") or ""
        self.destination = resolve_destination(self.uri, spec.options.get("destination") or "")
        self.local_name = f"/tmp/{settings.log_id}.{spec.index}.customizer.fp"

    def needs(self) -> Sequence[Need]:
        return (Need(uri=self.uri, sha256=self.spec.options.get("sha256Checksum") or None),)

    def describe(self) -> Description:
        return Description(
            local_name=self.local_name, remote=self.destination, command="", source=self.uri,
            destination=self.destination,
        )  # fmt: skip

    def inputs(self) -> object:
        return {"destination": self.destination}

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome:
        source = files[0]
        warnings: tuple[str, ...] = ()
        if (size := source.stat().st_size) > RECOMMENDED_BYTES:
            warnings = (
                f"{size / 2**20:.0f} MiB: the service recommends less than 20 MB for File; "
                "download larger files in a Shell step",
            )
        try:
            guest.communicator.upload(source, self.destination, deadline=guest.deadline, mode=MODE)
        except UploadFailed as error:
            lost = " (the connection was lost)" if error.disconnected else ""
            return Outcome(exit_code=None, error=f"Upload failed: {error}{lost}", warnings=warnings, hint=HINT)
        return Outcome(exit_code=0, warnings=warnings)


def resolve_destination(uri: str, destination: str) -> str:
    """The path in the guest: `destination`, plus the source's base name where it ends in `/`."""
    if not destination.endswith("/"):
        return destination
    path = urlsplit(uri).path if "://" in uri else uri
    return destination + posixpath.basename(unquote(path))
