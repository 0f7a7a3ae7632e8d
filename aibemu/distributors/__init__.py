"""Distributors write the finished image where the template says: one file each, found through `aibemu.distributors`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from aibemu.redact import Redactor

if TYPE_CHECKING:
    from aibemu.clock import Clock, Deadline
    from aibemu.cloud.local import LocalCloud
    from aibemu.images import ImageInfo
    from aibemu.images.store import ImageStore
    from aibemu.template.model import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedImage:
    """The image to distribute and what is known of the run that made it.

    disk: qcow2 (an overlay with its backing files; read it with qemu-img, never change it), off and generalised.
    staging_group: ARM id of the staging resource group. out: the run's folder for files of this target
    (`RUN/outputs/<safe runOutputName>/`, made by the distributor). source_version: the exact version of the source
    image (x.y.z) or "" when it has none, for versioning scheme Source. api_version decides legacy version numbers.
    managed_resource_tags, template_tags, location: of the template.
    """

    disk: Path
    info: ImageInfo
    run_id: str
    template_id: str
    template_name: str
    api_version: str
    location: str
    staging_group: str
    out: Path
    source_version: str
    tags: Mapping[str, str] = field(default_factory=dict)
    # The sha256 of `disk`, where that is one whole file as the image store makes them; "" for any other.
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What came of one target. Exactly one of artifact_id (images) and artifact_uri (VHD) is set.

    paths: local files that hold it, most useful first. notes: what a person should know (emulated differently...).
    """

    run_output_name: str
    kind: str
    artifact_id: str | None
    artifact_uri: str | None
    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What is known of the source image before the build: the finished one has the same system and generation.

    info: None where the image is not here (a dry run). version: its exact version (x.y.z, or an id that ends with it),
    "" when it has none.
    """

    info: ImageInfo | None
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributorTools:
    """What the distributors of a run may use. `say` tells a person something (NOTICE); directory: where the template
    file is.

    first_version: what versioning `Latest` gives an empty definition (not published by Azure, so a setting).
    source: what the finished image will have of its source; None where nobody looked.
    storing: held while the finished disk is put into the store, which one target does for all. redactor: takes secrets
    out of what is written beside an artifact.
    """

    cloud: LocalCloud
    store: ImageStore
    clock: Clock
    say: Callable[[str], None]
    directory: Path
    first_version: str = "1.0.0"
    source: SourceFacts | None = None
    storing: threading.Lock = field(default_factory=threading.Lock)
    redactor: Redactor = field(default_factory=Redactor)


class Distributor(Protocol):
    """Made once per run without arguments. Raises `aibemu.errors.DistributeFailed`; leaves nothing half-written.

    Targets are distributed side by side, so one distributor is used by several threads.

    It may have `would(finished, target, tools) -> Sequence[str]`, too, for dry runs: what `distribute` would do, in
    pieces that follow "would ", as `write web.vhd`. There is no disk in `finished` then.
    """

    def check(self, target: Target, tools: DistributorTools) -> None:
        """Before anything starts: refuse what cannot end well (version exists already, folder not writable).

        Raises `aibemu.errors.UsageError` or `TemplateInvalid` with the target's span.
        """
        ...

    def writes_to(self, target: Target) -> str:
        """The place that a checked target fills or counts up: those of one kind that name the same go one after the
        other, in the template's order."""
        ...

    def distribute(
        self, finished: FinishedImage, target: Target, tools: DistributorTools, deadline: Deadline
    ) -> Artifact: ...


@runtime_checkable
class Claims(Protocol):
    """A distributor that can tell before a build what a target will be, so that two builds at once do not both write
    it."""

    def claims(self, target: Target, directory: Path, source_version: str) -> str | None:
        """The id, file or address that a checked target writes and no other build may; None when it is chosen later.

        directory: where the template file is. source_version: as in `FinishedImage`.
        """
        ...


@runtime_checkable
class Tells(Protocol):
    """What a distributor has besides that says what it would do; see `Distributor`."""

    def would(self, finished: FinishedImage, target: Target, tools: DistributorTools) -> Sequence[str]: ...


def what_it_would_do(
    distributor: Distributor, finished: FinishedImage, target: Target, tools: DistributorTools
) -> Sequence[str]:
    """The distributor's own words; nothing of one that has none."""
    return distributor.would(finished, target, tools) if isinstance(distributor, Tells) else ()
