"""A template as a value: what the author asked for, checked and with every default filled in.

Names and shapes are the service's (facts: service 1.2, 1.3). Option maps hold plain JSON values under the service's
own camelCase names, so that a customizer or distributor from a plugin needs no class here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from aibemu.arm.nodes import Json
from aibemu.errors import Span

Options = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformImage:
    """A marketplace image. `version` may be `latest`; `plan` is planInfo {planName, planProduct, planPublisher}."""

    publisher: str
    offer: str
    sku: str
    version: str
    plan: Mapping[str, str] | None
    span: Span

    @property
    def urn(self) -> str:
        return f"{self.publisher}:{self.offer}:{self.sku}:{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedImageSource:
    """A managed image of the local cloud, by resource id."""

    image_id: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedImageVersionSource:
    """A gallery image version of the local cloud, by resource id; the last segment may be `latest`."""

    image_version_id: str
    span: Span


Source = PlatformImage | ManagedImageSource | SharedImageVersionSource


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """A customizer or an in-VM validator.

    index counts from 0 in its own list; options as in the template, without type and name.
    """

    kind: str
    index: int
    name: str
    options: Options
    span: Span
    option_spans: Mapping[str, Span] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How people know it: its name, or kind and position counted from 1."""
        return self.name or f"{self.kind} #{self.index + 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A distribute entry; options without type, runOutputName and artifactTags."""

    kind: str
    index: int
    run_output_name: str
    artifact_tags: Mapping[str, str]
    options: Options
    span: Span


class OnError(StrEnum):
    CLEANUP = "cleanup"
    ABORT = "abort"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmProfile:
    """vm_size "" = the service's default for the generation; os_disk_size_gb 0 = as the source (at disk_span)."""

    vm_size: str = ""
    os_disk_size_gb: int = 0
    user_assigned_identities: tuple[str, ...] = ()
    vnet_config: Options = field(default_factory=dict)
    disk_span: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Validate:
    continue_distribute_on_failure: bool = False
    source_validation_only: bool = False
    steps: tuple[StepSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One imageTemplates resource.

    directory: where the template file is; relative scriptUri/sourceUri values are resolved against it.
    document: the resource as JSON, for records. build_timeout_minutes: as written, 0 = the service's 240.
    """

    name: str
    location: str
    api_version: str
    tags: Mapping[str, str]
    identities: tuple[str, ...]
    source: Source
    customize: tuple[StepSpec, ...]
    validate: Validate
    optimize_vm_boot: bool
    distribute: tuple[Target, ...]
    on_customizer_error: OnError
    on_validation_error: OnError
    build_timeout_minutes: int
    vm_profile: VmProfile
    staging_resource_group: str
    managed_resource_tags: Mapping[str, str]
    file: str
    directory: str
    document: Options
