"""Rules about the resource as a whole: identity, time, disk, staging."""

from __future__ import annotations

from aibemu.template.nodes import Kind
from aibemu.template.resource_ids import IDENTITY, RESOURCE_GROUP
from aibemu.template.rules.context import Context
from aibemu.template.spec.versions import V2020_02
from aibemu.template.view import View


def check_identity(template: View, context: Context) -> None:
    """Since 2020-02-14: exactly one user-assigned identity (facts: service 1.2)."""
    identity = template.child("identity")
    if identity is None or context.version < V2020_02 or identity.is_unknown("userAssignedIdentities"):
        return
    if identity.is_unknown("type"):
        return
    hint = "grant one user-assigned identity to the template: the service uses it to read sources and write images"
    kind = identity.text("type")
    assigned = identity.node.get("userAssignedIdentities")
    names = list(assigned.members.values()) if assigned and assigned.kind is Kind.OBJECT else []
    if kind == "None":
        context.bad("E07", identity, "type", "The template needs an identity of type 'UserAssigned'", hint)
    elif not identity.has("type"):
        message = "Missing field 'type': the identity needs it"
        context.findings.error("E07", identity.span, message, path=identity.path, hint='write "type": "UserAssigned"')
    elif not names and (assigned is None or assigned.kind is Kind.OBJECT):
        message = "Missing field 'userAssignedIdentities': exactly one identity is needed, there is none"
        context.findings.error("E07", identity.at("userAssignedIdentities"), message, path=identity.path, hint=hint)
    elif len(names) > 1:
        message = f"exactly one identity is needed in userAssignedIdentities, there are {len(names)}"
        hint = "identities for the build machine belong into properties.vmProfile.userAssignedIdentities"
        context.findings.error("E07", names[1].key_span, message, path=identity.path, hint=hint)
    for name in names:
        if "<" not in name.key and not name.key.startswith("[") and not IDENTITY.fits(name.key):
            message = f"'{name.key}' is not the resource id of a user-assigned identity"
            context.findings.error(
                "E07", name.key_span, message, path=identity.path, hint=f"the form is {IDENTITY.example}"
            )


def check_timeout(template: View, context: Context) -> None:
    """1 to 5 minutes: accepted, and the run fails (facts: service 3)."""
    properties = template.child("properties")
    minutes = properties.integer("buildTimeoutInMinutes") if properties else None
    if properties and minutes is not None and 1 <= minutes <= 5:
        message = (
            f"a buildTimeoutInMinutes of {minutes} is accepted, and the run fails: 'client_jwt will expire within "
            "5 minutes, please use a JWT that is valid for at least 5 minutes'"
        )
        where = properties.at("buildTimeoutInMinutes")
        context.findings.warning("E71", where, message, path=properties.path, hint="use 6 or more, or 0 for 240")


def check_staging(template: View, context: Context) -> None:
    """stagingResourceGroup is the id of a resource group, not a name."""
    if properties := template.child("properties"):
        context.need_id(properties, "stagingResourceGroup", RESOURCE_GROUP, id_="E78")


RULES = (check_identity, check_timeout, check_staging)
