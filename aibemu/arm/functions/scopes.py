"""Functions about where an expression stands: parameters, variables, loops, lambdas, and the scopes around."""

from __future__ import annotations

from collections.abc import Mapping

from aibemu.arm.expressions.errors import CALLED, ExpressionError, Unknowable
from aibemu.arm.expressions.frame import Frame, Spot
from aibemu.arm.expressions.surroundings import ENVIRONMENT
from aibemu.arm.expressions.values import Value
from aibemu.arm.findings import listed
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.nodes import Node, NodeKind
from aibemu.suggestions import did_you_mean

# The user of aibemu is not known to Azure: deployer() gives an id that no account has.
DEPLOYER = "00000000-0000-0000-0000-000000000003"


def _parameters(frame: Frame, name: str) -> Node:
    if frame.spot is Spot.FUNCTION:
        return _named(frame.arguments, name, "parameter of this function")
    return _known(frame.scope.parameter(name))


def _variables(frame: Frame, name: str) -> Node:
    if frame.spot is Spot.FUNCTION:
        raise ExpressionError("a function of the template's own cannot use variables", hint="give it a parameter")
    if frame.spot is Spot.DEFAULT:
        raise ExpressionError("the default value of a parameter cannot use variables", hint="use parameters()")
    return _known(frame.scope.variable(name))


def _known(node: Node) -> Node:
    if node.kind is NodeKind.UNKNOWN:
        raise Unknowable
    return node


def _named(values: Mapping[str, Node], name: str, what: str) -> Node:
    found = values.get(name.casefold())
    if found is None:
        question = did_you_mean(name, values, quoted=True)
        hint = question or (f"there are {listed(values, 'and')}" if values else None)
        raise ExpressionError(f"there is no {what} '{name}'", id_="X04", hint=hint)
    return _known(found)


def _lambda_variables(frame: Frame, name: str) -> Node:
    return _named(frame.lambdas, name, "lambda variable")


def _copy_index(frame: Frame, first: Node | None = None, offset: int = 0) -> int:
    """copyIndex(), copyIndex(offset), copyIndex('loop'), copyIndex('loop', offset)."""
    name = frame.loop
    if first is not None and isinstance(first.value, str):
        name = first.value.casefold()
    elif first is not None and isinstance(first.value, int):
        offset = first.value
    if name is None and frame.copies:
        raise ExpressionError(
            "copyIndex() without a name counts the loop of a resource, and there is none around this",
            hint=f"name the loop: copyIndex('{next(reversed(list(frame.copies)))}')",
        )
    if name is None:
        raise ExpressionError("copyIndex() is outside of any copy loop")
    if name not in frame.copies:
        loops = listed(frame.copies, "and") or "none"
        raise ExpressionError(f"there is no copy loop '{name}' around this", hint=f"the loops around it: {loops}")
    if offset < 0:
        raise ExpressionError(
            f"copyIndex() counts from 0 or more, not from {offset}", hint=f"subtract: sub(copyIndex(), {-offset})",
            azure=f"The template language function '{CALLED}' has an invalid argument. The offset must be a postive "
            "integer value or zero.",
        )  # fmt: skip
    return frame.copies[name] + offset


def _only_in_defaults(frame: Frame, name: str) -> None:
    if frame.spot is not Spot.DEFAULT:
        raise ExpressionError(
            f"{name}() can only be used in the default value of a parameter",
            hint="declare a parameter with that default, and use the parameter here",
        )


def _utc_now(frame: Frame, pattern: str = "yyyyMMddTHHmmssZ") -> str:
    from aibemu.arm.functions.dates import format_utc

    _only_in_defaults(frame, "utcNow")
    return format_utc(frame.scope.surroundings.now, pattern)


def _new_guid(frame: Frame) -> str:
    _only_in_defaults(frame, "newGuid")
    return frame.scope.surroundings.new_guid()


def _deployer(frame: Frame) -> Value:
    around = frame.scope.surroundings
    return {"objectId": DEPLOYER, "tenantId": around.tenant_id, "userPrincipalName": ""}


TABLE: tuple[Function, ...] = (
    fn("parameters", "string", _parameters, scoped=True, public=True),
    fn("variables", "string", _variables, scoped=True, public=True),
    fn("lambdaVariables", "string", _lambda_variables, scoped=True),
    fn("copyIndex", "[string|int int]", _copy_index, scoped=True, public=True),
    fn("utcNow", "[string]", _utc_now, scoped=True),
    fn("newGuid", "", _new_guid, scoped=True),
    fn("subscription", "", lambda frame: frame.scope.surroundings.subscription(), scoped=True),
    fn("resourceGroup", "", lambda frame: frame.scope.group(), scoped=True),
    fn("tenant", "", lambda frame: frame.scope.surroundings.tenant(), scoped=True),
    fn("managementGroup", "", lambda frame: frame.scope.surroundings.management(), scoped=True),
    fn("deployment", "", lambda frame: frame.scope.deployment(), scoped=True),
    fn("environment", "", lambda: ENVIRONMENT),
    fn("deployer", "", _deployer, scoped=True),
)
