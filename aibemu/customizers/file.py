"""The File customizer and validator, as Packer's file provisioner does it (facts: provisioners 1.3).

The file is written as the build user: on Linux only where that user may write (in practice /tmp and its home), on
Windows, where it is an administrator, anywhere. The parent directory must exist; a destination that ends in `/`, on
Windows too, gets the source's base name; there is no retry.
"""

from __future__ import annotations

import ntpath
import posixpath
import re
from collections.abc import Sequence
from dataclasses import replace
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
WINDOWS_HINT = "the folder of the destination must exist: make it in a PowerShell step before this one"
WINDOWS_FOLDER_HINT = "a destination that is a folder ends in / (not in \\): the name of the source is put after it"
_HOME = re.compile(r"(?:~|\$HOME|\$\{HOME\})/(?P<rest>.*)", re.DOTALL)
# What the look at a destination on Windows ends with. The words are ours: those of cmd depend on the language.
NO_PARENT, IS_FOLDER = 3, 4
_WHY = {
    NO_PARENT: ("the folder {parent} does not exist", WINDOWS_HINT),
    IS_FOLDER: ("{destination} is a folder", WINDOWS_FOLDER_HINT),
}


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

    def would(self) -> Sequence[str]:
        mode = "" if ntpath.splitdrive(self.destination)[0] else f" (mode {MODE:04o})"
        return [f"put {self.uri} at {self.destination}{mode}, as the build user; its folder must be there"]

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome:
        source = files[0]
        on_windows = guest.system.path is ntpath
        warnings: tuple[str, ...] = ()
        if (size := source.stat().st_size) > RECOMMENDED_BYTES:
            warnings = (
                f"{size / 2**20:.0f} MiB: the service recommends less than 20 MB for File; "
                f"download larger files in a {'PowerShell' if on_windows else 'Shell'} step",
            )
        if on_windows and (refused := _no_place(guest, self.destination)):
            return replace(refused, warnings=warnings)
        try:
            mode = None if on_windows else MODE
            destination = self.destination if on_windows else from_home(self.destination)
            guest.communicator.upload(source, destination, deadline=guest.deadline, mode=mode)
        except UploadFailed as error:
            lost = " (the connection was lost)" if error.disconnected else ""
            hint = WINDOWS_HINT if on_windows else HINT
            return Outcome(exit_code=None, error=f"Upload failed: {error}{lost}", warnings=warnings, hint=hint)
        return Outcome(exit_code=0, warnings=warnings)


def _no_place(guest: Guest, destination: str) -> Outcome | None:
    """What is wrong with a destination on Windows; None when a file can be written there.

    The service's documentation wants the folder to be there, while Packer's WinRM makes it: what is built here must be
    built there by either.
    """
    there = ntpath.normpath(destination)
    parent = ntpath.dirname(there)
    look = f'if exist "{there}\\" (exit {IS_FOLDER})'
    if parent:
        look += f' else if not exist "{parent}\\" exit {NO_PARENT}'
    status = guest.communicator.run(look, deadline=guest.deadline)
    if status.disconnected:
        return Outcome(exit_code=None, error="Upload failed: the connection was lost")
    if destination.endswith("\\"):
        return Outcome(exit_code=None, error=f"Upload failed: {destination} names no file", hint=WINDOWS_FOLDER_HINT)
    why, hint = _WHY.get(status.code or 0, ("", ""))
    if not why:
        return None
    return Outcome(exit_code=None, error=f"Upload failed: {why.format(parent=parent, destination=there)}", hint=hint)


def from_home(destination: str) -> str:
    """The path in a Linux guest. Packer copies with scp, and the guest's shell reads the path, so that `~` and `$HOME`
    at its beginning are the home of the build user: where a path without `/` at its beginning starts, too."""
    match = _HOME.fullmatch(destination)
    return f"./{match['rest']}" if match else destination


def resolve_destination(uri: str, destination: str) -> str:
    """The path in the guest: `destination`, plus the source's base name where it ends in `/`."""
    if not destination.endswith("/"):
        return destination
    path = urlsplit(uri).path if "://" in uri else uri
    return destination + posixpath.basename(unquote(path))
