"""Resource ids from types and names: pure text, in the documented shapes."""

from __future__ import annotations

import re

from aibemu.arm.expressions.errors import CALLED, ExpressionError
from aibemu.arm.expressions.frame import Frame
from aibemu.arm.functions.signature import Function, fn, wrong_count
from aibemu.arm.resource_ids import provider_path, resource_id

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_UNABLE = f"Unable to evaluate template language function '{CALLED}'"


def _split(function: str, arguments: tuple[str, ...], most_before: int) -> tuple[list[str], str, list[str]]:
    """What comes before the type, the type, the names. The type is the one argument with a slash in it; a slash at its
    end does not matter."""
    places = [place for place, text in enumerate(arguments) if "/" in text]
    if len(places) != 1:
        azure = (
            f"{_UNABLE}: function requires exactly one multi-segmented argument which must be resource type including "
            f"resource provider namespace. Current function arguments '{','.join(arguments)}'"
        )
        what = "is given no resource type" if not places else "is given more than one text with a slash in it"
        raise ExpressionError(
            f"{function} {what}", hint="a type is written 'Microsoft.Compute/images', namespace included", azure=azure
        )
    place = places[0]
    kind = arguments[place].rstrip("/")
    if place > most_before:
        azure = (
            f"{_UNABLE}: function requires fully qualified resource type '{kind}' as one of first {most_before + 1} "
            "arguments"
        )
        message = (
            f"{function} takes the type as argument {most_before + 1} at the latest: '{kind}' is argument {place + 1}"
        )
        raise ExpressionError(message, azure=azure)
    return list(arguments[:place]), kind, list(arguments[place + 1 :])


def _subscription(text: str) -> str:
    if not _GUID.fullmatch(text):
        azure = f"The provided value '{text}' is not valid subscription identifier"
        raise ExpressionError(
            f"'{text}' is no id of a subscription", hint="it is a GUID, as az account show gives it", azure=azure
        )
    return text


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
        subscription, group = _subscription(before[0]), before[1]
    elif before:
        group = before[0]
    return resource_id(f"/subscriptions/{subscription}/resourceGroups/{group}", kind, names)


def _subscription_resource_id(frame: Frame, *arguments: str) -> str:
    before, kind, names = _split("subscriptionResourceId", arguments, 1)
    subscription = _subscription(before[0]) if before else frame.scope.surroundings.subscription_id
    return resource_id(f"/subscriptions/{subscription}", kind, names)


def _management_group_resource_id(_frame: Frame, *arguments: str) -> str:
    """Unlike the others it always takes its scope, the name of a management group."""
    before, kind, names = _split("managementGroupResourceId", arguments, 1)
    if not before:
        raise ExpressionError("managementGroupResourceId takes a management group before the type", id_="X02",
                              azure=wrong_count(3, None, len(arguments)))  # fmt: skip
    return f"/providers/Microsoft.Management/managementGroups/{before[0]}/{provider_path(kind, names)}"


def _tenant_resource_id(*arguments: str) -> str:
    _, kind, names = _split("tenantResourceId", arguments, 0)
    return f"/{provider_path(kind, names)}"


def _extension_resource_id(scope: str, *arguments: str) -> str:
    segments = list(filter(None, scope.split("/")))
    if len(segments) < 2:
        azure = f"{_UNABLE}: the provided parent resource id '{scope}' is not a valid uri"
        raise ExpressionError(
            f"'{scope}' is no id of a resource", hint="like /subscriptions/.../providers/...", azure=azure
        )
    _, kind, names = _split("extensionResourceId", arguments, 0)
    return f"/{'/'.join(segments)}/{provider_path(kind, names)}"


TABLE: tuple[Function, ...] = (
    fn("resourceId", "string string string*", _resource_id, scoped=True),
    fn("subscriptionResourceId", "string string string*", _subscription_resource_id, scoped=True),
    fn("managementGroupResourceId", "string string string string*", _management_group_resource_id, scoped=True),
    fn("tenantResourceId", "string string string*", _tenant_resource_id),
    fn("extensionResourceId", "string string string string*", _extension_resource_id),
)
