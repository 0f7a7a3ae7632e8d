"""ARM resource ids, and the names that Image Builder makes from them.

Ids compare without regard to case, as Azure's do, and print as they were written. `path_parts` turns one into names
that are safe on any file system: two ids are equal exactly when their path parts are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import NAMESPACE_URL, UUID, uuid5

from aibemu.errors import Span, UsageError
from aibemu.names import name_problem, reserved

if TYPE_CHECKING:
    from aibemu.template.model import Template

IMAGE = ("Microsoft.Compute", ("images",))
DEFINITION = ("Microsoft.Compute", ("galleries", "images"))
IMAGE_VERSION = ("Microsoft.Compute", ("galleries", "images", "versions"))
TEMPLATE = ("Microsoft.VirtualMachineImages", ("imageTemplates",))
RUN_OUTPUT = ("Microsoft.VirtualMachineImages", ("imageTemplates", "runOutputs"))
GROUP = ("", ())

ResourceType = tuple[str, tuple[str, ...]]

_PROVIDER = re.compile(r"[A-Za-z][A-Za-z0-9]*(\.[A-Za-z0-9]+)*\Z")
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")
_LONGEST = 180
_STAGING_CHARACTERS = 40
# The value of createdBy/usedBy as seen on real staging groups.
_SERVICE = "AzureVMImageBuilder"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResourceId:
    """`/subscriptions/S/resourceGroups/G[/providers/P/type/name...]`; provider "" and no types for a resource group."""

    subscription: str
    group: str
    provider: str = ""
    types: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
        pairs = "".join(f"/{kind}/{name}" for kind, name in zip(self.types, self.names, strict=True))
        return f"{head}/providers/{self.provider}{pairs}" if self.provider else head

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResourceId) and str(self).lower() == str(other).lower()

    def __hash__(self) -> int:
        return hash(str(self).lower())

    @property
    def name(self) -> str:
        """The last segment."""
        return self.names[-1] if self.names else self.group

    @property
    def kind(self) -> ResourceType:
        return self.provider, self.types

    @property
    def type(self) -> str:
        """E.g. `Microsoft.Compute/galleries/images`."""
        return "/".join((self.provider, *self.types)) if self.provider else "Microsoft.Resources/resourceGroups"

    @property
    def parent(self) -> ResourceId:
        """The id one type up; the resource group for a top-level resource."""
        if len(self.types) > 1:
            return replace(self, types=self.types[:-1], names=self.names[:-1])
        return ResourceId(subscription=self.subscription, group=self.group)

    def child(self, kind: str, name: str) -> ResourceId:
        """The id of a resource below this one; `UsageError` for a name that no id can hold."""
        return parse_id(f"{self}/{kind}/{_checked(name, kind, str(self), None)}")

    def is_a(self, kind: ResourceType) -> bool:
        """Whether provider and types are `kind`, in any case."""
        provider, types = kind
        return (self.provider.lower(), [word.lower() for word in self.types]) == (
            provider.lower(), [word.lower() for word in types],
        )  # fmt: skip

    def as_service_writes(self) -> str:
        """The id as Image Builder's own answers have it: lower-case `resourcegroups` (facts: service 1.2, 1.7)."""
        return str(self).replace("/resourceGroups/", "/resourcegroups/", 1)

    def path_parts(self) -> tuple[str, ...]:
        """The id as names for folders: lower-case, percent-encoded, never `.`, `..` or a hidden name."""
        return tuple(_encode(segment) for segment in str(self).lower().split("/")[1:])


def parse_id(
    text: str, *, expected: ResourceType | None = None, what: str = "resource id", span: Span | None = None
) -> ResourceId:
    """Read an ARM id, and check that it is of kind `expected`; `UsageError` at `span` naming `what` otherwise."""
    segments = text.split("/")
    bare = segments[0] == "" and len(segments) >= 5
    if not (bare and segments[1].lower() == "subscriptions" and segments[3].lower() == "resourcegroups"):
        raise _malformed(what, text, "it must begin with /subscriptions/<id>/resourceGroups/<name>", expected, span)
    subscription, group = (_checked(segments[i], what, text, span) for i in (2, 4))
    rest = segments[5:]
    if not rest:
        found = ResourceId(subscription=subscription, group=group)
    else:
        if len(rest) < 4 or len(rest) % 2 or rest[0].lower() != "providers":
            raise _malformed(
                what, text, "after the resource group comes /providers/<namespace>/<type>/<name>", expected, span
            )
        provider, types = rest[1], tuple(rest[2::2])
        if not _PROVIDER.match(provider) or not all(_TYPE.match(word) for word in types):
            raise _malformed(what, text, f"{'/'.join((provider, *types))!r} is not a provider and type", expected, span)
        names = tuple(_checked(name, what, text, span) for name in rest[3::2])
        found = ResourceId(subscription=subscription, group=group, provider=provider, types=types, names=names)
    if expected is not None and not found.is_a(expected):
        raise _malformed(what, text, f"it names a {found.type}", expected, span)
    return found


def template_id(subscription: str, group: str, name: str) -> str:
    """The id of a local image template."""
    provider, types = TEMPLATE
    return str(parse_id(f"/subscriptions/{subscription}/resourceGroups/{group}/providers/{provider}/{types[0]}/{name}"))


def staging_group_name(template_group: str, template_name: str, guid: UUID) -> str:
    """`IT_`, the first 40 characters of `<group>_<name>`, `_`, the guid (facts: service 1.10)."""
    return f"IT_{f'{template_group}_{template_name}'[:_STAGING_CHARACTERS]}_{str(guid).lower()}"


def staging_group_id(subscription: str, group: str, template: Template) -> str:
    """The staging group of a template: the user's own, else the one that the service makes.

    A template keeps its staging group over all runs, so the guid is derived from the template's id, not drawn.
    """
    if template.staging_resource_group:
        return str(parse_id(template.staging_resource_group, expected=GROUP, what="stagingResourceGroup"))
    guid = uuid5(NAMESPACE_URL, template_id(subscription, group, template.name).lower())
    return str(ResourceId(subscription=subscription, group=staging_group_name(group, template.name, guid)))


def staging_tags(template: ResourceId, *, user_supplied: bool) -> Mapping[str, str]:
    """The tags on a staging group: who made it, or who uses one that the user supplied (facts: service 1.10)."""
    return {
        "usedBy" if user_supplied else "createdBy": _SERVICE,
        "imageTemplateName": template.name,
        "imageTemplateResourceGroupName": template.group,
    }


def location_key(location: str) -> str:
    """A region's short name: `East US` and `eastus` are one region."""
    return "".join(location.split()).lower()


def _checked(name: str, what: str, text: str, span: Span | None) -> str:
    if not name:
        raise _malformed(what, text, "a name is empty", None, span)
    if why := name_problem(name) or reserved(name):
        raise _malformed(what, text, f"{name[:100]!r} cannot be a name: it {why}", None, span)
    return name


def _malformed(what: str, text: str, why: str, expected: ResourceType | None, span: Span | None) -> UsageError:
    hint = None
    if expected is not None:
        provider, types = expected
        tail = "".join(f"/{kind}/<name>" for kind in types)
        hint = "write /subscriptions/<id>/resourceGroups/<name>" + (f"/providers/{provider}{tail}" if provider else "")
    return UsageError(f"{what} {text!r} is not a resource id that fits", details=[why], hint=hint, span=span)


def _encode(segment: str) -> str:
    name = quote(segment, safe="").replace("~", "%7E")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _LONGEST:
        name = f"{name[:100]}~{hashlib.sha256(segment.encode()).hexdigest()}"
    return name
