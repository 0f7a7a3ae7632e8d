"""Resource ids from types and names: pure text, in the documented shapes."""

from __future__ import annotations

import re

from aibemu.arm.expressions.errors import ExpressionError
from aibemu.arm.expressions.frame import Frame
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.resource_ids import provider_path, resource_id

_TYPE = re.compile(r"[^/\s]+(?:/[^/\s]+)+")
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def _split(function: str, arguments: tuple[str, ...], most_before: int) -> tuple[list[str], str, list[str]]:
    """What comes before the type, the type, the names. The type is the first argument with a slash in it."""
    for place, text in enumerate(arguments[: most_before + 1]):
        if _TYPE.fullmatch(text):
            return list(arguments[:place]), text, list(arguments[place + 1 :])
    raise ExpressionError(
        f"{function} is given no resource type", hint="a type is written 'Microsoft.Compute/images', namespace included"
    )


def _resource_id(frame: Frame, *arguments: str) -> str:
    """resourceId([subscriptionId], [resourceGroupName], type, name...). In a deployment above resource groups, without
    the name of one: subscriptionResourceId()."""
    around = frame.scope.surroundings
    before, kind, names = _split("resourceId", arguments, 2)
    if frame.scope.above_groups and len(before) < 2:
        if before and not _GUID.fullmatch(before[0]):
            message = f"resourceId is given a resource group, '{before[0]}', in a deployment above resource groups"
            raise ExpressionError(
                message, hint="give it the subscription too: resourceId(subscription, group, type, ...)"
            )
        return _subscription_resource_id(frame, *arguments)
    subscription, group = around.subscription_id, around.resource_group
    if len(before) == 2:
        subscription, group = before
    elif before and _GUID.fullmatch(before[0]):
        subscription = before[0]
    elif before:
        group = before[0]
    return resource_id(f"/subscriptions/{subscription}/resourceGroups/{group}", kind, names)


def _subscription_resource_id(frame: Frame, *arguments: str) -> str:
    before, kind, names = _split("subscriptionResourceId", arguments, 1)
    subscription = before[0] if before else frame.scope.surroundings.subscription_id
    return resource_id(f"/subscriptions/{subscription}", kind, names)


def _management_group_resource_id(frame: Frame, *arguments: str) -> str:
    before, kind, names = _split("managementGroupResourceId", arguments, 1)
    group = before[0] if before else frame.scope.surroundings.management_group
    return f"/providers/Microsoft.Management/managementGroups/{group}/{provider_path(kind, names)}"


def _tenant_resource_id(*arguments: str) -> str:
    before, kind, names = _split("tenantResourceId", arguments, 0)
    return f"/{'/'.join([*before, provider_path(kind, names)])}"


def _extension_resource_id(scope: str, kind: str, *names: str) -> str:
    if not _TYPE.fullmatch(kind):
        raise ExpressionError(f"'{kind}' is not a resource type", hint="for example 'Microsoft.Authorization/locks'")
    return f"{scope.rstrip('/')}/{provider_path(kind, list(names))}"


TABLE: tuple[Function, ...] = (
    fn("resourceId", "string string...", _resource_id, scoped=True),
    fn("subscriptionResourceId", "string string...", _subscription_resource_id, scoped=True),
    fn("managementGroupResourceId", "string string...", _management_group_resource_id, scoped=True),
    fn("tenantResourceId", "string string...", _tenant_resource_id),
    fn("extensionResourceId", "string string string...", _extension_resource_id),
)
