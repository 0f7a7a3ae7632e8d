"""VHD: a fixed VHD as Azure takes it, sparse on disk; kept with the run, and put where `uri` says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

from aibemu.clock import Deadline
from aibemu.disks.convert import DiskInfo, ensure_space, extents, flush, info, needed, to_raw
from aibemu.distributors import Artifact, DistributorTools, FinishedImage
from aibemu.distributors.blob import check_library, upload_page_blob
from aibemu.distributors.common import distributing
from aibemu.distributors.destinations import (
    BlobDestination,
    Destination,
    LocalDestination,
    check_local,
    check_token,
    parse_destination,
)
from aibemu.distributors.sparse import copy_extents, duplicate
from aibemu.distributors.vhd_format import build_footer, rounded_up
from aibemu.errors import DistributeFailed
from aibemu.files import make_folder, replacing, write_json
from aibemu.paths import safe_name
from aibemu.template.model import Target


class VhdDistributor:
    """Option: uri, empty for the run's own folder (facts: service 1.3)."""

    def check(self, target: Target, tools: DistributorTools) -> None:
        destination = _destination(target, tools)
        if isinstance(destination, LocalDestination):
            check_local(destination.path, target.span)
        elif isinstance(destination, BlobDestination) and destination.signed:
            check_token(destination, tools.clock.now(), target.span)
            check_library()

    def writes_to(self, target: Target) -> str:
        return str(target.options.get("uri") or target.run_output_name)

    def would(self, finished: FinishedImage, target: Target, tools: DistributorTools) -> Sequence[str]:
        name, destination = safe_name(target.run_output_name), _destination(target, tools)
        pieces = [f"write a fixed VHD into the folder of the run: outputs/{name}/{name}.vhd"]
        if isinstance(destination, LocalDestination):
            there = " (a file is there, and is replaced)" if destination.path.exists() else ""
            pieces.append(f"copy it to {destination.path}{there}")
        elif isinstance(destination, BlobDestination):
            signed = destination.signed
            pieces.append(f"{'upload it as a page blob to' if signed else 'not upload it to'} {destination.address}")
        return pieces

    def claims(self, target: Target, directory: Path, source_version: str) -> str | None:
        place = parse_destination(
            str(target.options.get("uri") or ""), directory=directory, name=target.run_output_name, span=target.span
        )
        if isinstance(place, LocalDestination):
            return str(place.path)
        return place.address if place else None

    def distribute(
        self, finished: FinishedImage, target: Target, tools: DistributorTools, deadline: Deadline
    ) -> Artifact:
        name = safe_name(target.run_output_name)
        vhd = finished.out / f"{name}.vhd"
        with distributing(target):
            destination = _destination(target, tools)
            unique = uuid5(NAMESPACE_URL, f"{finished.template_id}/{finished.run_id}/{target.run_output_name}")
            write_vhd(finished.disk, vhd, unique_id=unique, created=tools.clock.now(), deadline=deadline)
            if target.artifact_tags:
                write_json(finished.out / f"{name}.tags.json", tools.redactor.document(target.artifact_tags))
            uri, paths, notes = _deliver(vhd, destination, tools, deadline)
        return Artifact(
            run_output_name=target.run_output_name, kind=target.kind, artifact_id=None, artifact_uri=uri, paths=paths,
            notes=notes,
        )  # fmt: skip


def write_vhd(disk: Path, target: Path, *, unique_id: UUID, created: datetime, deadline: Deadline) -> int:
    """Write the qcow2 `disk` (backing files included) as a fixed VHD; its size in bytes without the footer.

    The size is rounded up to a whole MiB, as Azure asks; holes stay holes. Raises `HostNotReady` when there is no room,
    `ToolFailed`, and what `deadline` raises; then `target` is as it was.
    """
    source = info(disk, deadline=deadline, format="qcow2")
    size = rounded_up(source.virtual_size)
    footer = build_footer(size=size, unique_id=unique_id, created=created)
    make_folder(target.parent)
    ensure_space(target.parent, needed(source, deadline=deadline), f"the VHD {target.name}")
    with replacing(target) as partial:
        _copy(source, partial, deadline)
        with partial.open("r+b") as stream:
            stream.truncate(size)
            stream.seek(size)
            stream.write(footer)
        flush(partial, deadline=deadline)
        deadline.check()
    return size


def _copy(source: DiskInfo, target: Path, deadline: Deadline) -> None:
    """The disk as a sparse raw file. What lies in its files as it is, is copied from there: in smaller pieces than
    qemu-img has, which the kernel finds memory for sooner, and with the disk at work meanwhile."""
    found = extents(source, deadline=deadline)
    if found is None:
        to_raw(source, target, deadline=deadline)
    else:
        copy_extents(found, target, source.virtual_size, deadline=deadline)


def _destination(target: Target, tools: DistributorTools) -> Destination | None:
    uri = str(target.options.get("uri") or "")
    return parse_destination(uri, directory=tools.directory, name=target.run_output_name, span=target.span)


def _deliver(
    vhd: Path, destination: Destination | None, tools: DistributorTools, deadline: Deadline
) -> tuple[str, tuple[Path, ...], tuple[str, ...]]:
    """Put the finished VHD where it was asked for: artifactUri, local paths, notes."""
    if isinstance(destination, LocalDestination):
        _put_local(vhd, destination.path, deadline)
        return destination.path.as_uri(), (destination.path, vhd), ()
    if isinstance(destination, BlobDestination) and destination.signed:
        check_library()
        tools.say(f"uploading {vhd.stat().st_blocks * 512 >> 20} MiB to {destination.address}")
        done = upload_page_blob(vhd, destination, deadline=deadline, say=tools.say)
        return (
            destination.address,
            (vhd,),
            (f"{done.sent} bytes in {done.requests} requests went to {destination.address}",),
        )
    notes: tuple[str, ...] = ()
    if isinstance(destination, BlobDestination):
        notes = (
            f"kept here, not uploaded to {destination.address}: the template's identity is not emulated;"
            " add a SAS token to uri to upload it",
        )
    return vhd.absolute().as_uri(), (vhd,), notes


def _put_local(vhd: Path, path: Path, deadline: Deadline) -> None:
    """A copy: what the user does to it is not done to the run's own."""
    if path.is_dir():
        raise DistributeFailed(f"{path} is a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent.resolve() / path.name == vhd.resolve():
        return
    with replacing(path) as partial:
        duplicate(vhd, partial, deadline=deadline)
