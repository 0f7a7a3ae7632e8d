"""The form of the Azure resource ids that a template may name. The fixed segments are case-insensitive."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aibemu.arm.expressions.errors import CALLED, ExpressionError

_SUBSCRIPTION = re.compile(r"/subscriptions/[^/]+", re.IGNORECASE)
RESOURCE_GROUPS = "microsoft.resources/resourcegroups"
_GROUP = r"/subscriptions/[^/\s]+/resourceGroups/[^/\s]+"
_COMPUTE = rf"{_GROUP}/providers/Microsoft\.Compute"
_GALLERY_IMAGE = rf"{_COMPUTE}/galleries/[^/\s]+/images/[^/\s]+"


@dataclass(frozen=True, slots=True)
class IdForm:
    """One kind of resource id: `example` is what messages show."""

    pattern: str
    example: str

    def fits(self, text: str) -> bool:
        return re.fullmatch(self.pattern, text, re.IGNORECASE) is not None


RESOURCE_GROUP = IdForm(_GROUP, "/subscriptions/{id}/resourceGroups/{group}")
MANAGED_IMAGE = IdForm(
    rf"{_COMPUTE}/images/[^/\s]+",
    "/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.Compute/images/{name}",
)
# A version is judged by a rule of its own.
GALLERY_IMAGE = IdForm(
    rf"{_GALLERY_IMAGE}(?:/versions/[^/\s]+)?",
    "/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.Compute/galleries/{gallery}/images/{definition}",
)
IMAGE_VERSION = IdForm(
    rf"(?:{_GALLERY_IMAGE}|/(?:shared|community)Galleries/[^/\s]+/images/[^/\s]+)/versions/(?:latest|[0-9]+\.[0-9]+\.[0-9]+)",
    f"{GALLERY_IMAGE.example}/versions/{{1.2.3 or latest}}",
)
IDENTITY = IdForm(
    rf"{_GROUP}/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/\s]+",
    "/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}",
)


def resource_id(scope: str, kind: str, names: list[str]) -> str:
    """The id of a resource below a scope (`/subscriptions/ID/resourceGroups/NAME`). Raises ExpressionError if type and
    names do not fit. A resource group is the one resource whose id has no provider in it."""
    if kind.casefold() == RESOURCE_GROUPS and len(names) == 1 and _SUBSCRIPTION.fullmatch(scope):
        return f"{scope}/resourceGroups/{names[0]}"
    return f"{scope}/{provider_path(kind, names)}"


def provider_path(kind: str, names: list[str]) -> str:
    """`providers/A.B/c/NAME/d/NAME` of the type `A.B/c/d` and its names. Raises ExpressionError if they do not fit."""
    namespace, *types = kind.split("/")
    if len(types) != len(names):
        wanted = f"{len(types)} name{'s' if len(types) != 1 else ''}"
        azure = (
            f"Unable to evaluate template language function '{CALLED}': the type '{kind}' requires '{len(types)}' "
            "resource name argument(s)"
        )
        raise ExpressionError(
            f"the type '{kind}' needs {wanted}, there are {len(names)}",
            hint="one name for each part of the type",
            azure=azure,
        )
    # As Azure's engine has it: an empty name is as none, and the type of the last one goes.
    given = zip(filter(None, types), filter(None, names), strict=False)
    pairs = "/".join(f"{type_}/{name}" for type_, name in given)
    return f"providers/{namespace}/{pairs}"
