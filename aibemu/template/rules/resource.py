"""Rules about the resource as a whole: identity, staging, validation, what happens after a failure (facts: service 1.2,
2, 3, 7.2)."""

from __future__ import annotations

from aibemu.arm.nodes import NodeKind
from aibemu.arm.resource_ids import IDENTITY, RESOURCE_GROUP
from aibemu.template.rule_context import RuleContext
from aibemu.template.spec.versions import V2020_02
from aibemu.template.view import NodeView


def check_identity(template: NodeView, context: RuleContext) -> None:
    """Since 2020-02-14: exactly one user-assigned identity (facts: service 1.2)."""
    identity = template.child("identity")
    if identity is None or context.version < V2020_02 or identity.is_unknown("userAssignedIdentities"):
        return
    if identity.is_unknown("type"):
        return
    hint = "grant one user-assigned identity to the template: the service uses it to read sources and write images"
    kind = identity.text("type")
    assigned = identity.node.get("userAssignedIdentities")
    names = list(assigned.members.values()) if assigned and assigned.kind is NodeKind.OBJECT else []
    if kind == "None":
        context.bad("E07", identity, "type", "The template needs an identity of type 'UserAssigned'", hint)
    elif not identity.has("type"):
        message = "Missing field 'type': the identity needs it"
        context.findings.error("E07", identity.span, message, path=identity.path, hint='write "type": "UserAssigned"')
    elif not names and (assigned is None or assigned.kind is NodeKind.OBJECT):
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
        elif IDENTITY.fits(name.key):
            context.check_names(name.key, name.key_span, identity.path)


def check_staging(template: NodeView, context: RuleContext) -> None:
    """stagingResourceGroup is the id of a resource group, not a name."""
    if properties := template.child("properties"):
        context.need_id(properties, "stagingResourceGroup", RESOURCE_GROUP, id_="E78")


def check_validation(template: NodeView, context: RuleContext) -> None:
    """What sourceValidationOnly ignores, and what continueDistributeOnFailure lets through."""
    properties = template.child("properties")
    validate = properties.child("validate") if properties else None
    if properties is None or validate is None:
        return
    if validate.flag("sourceValidationOnly") and properties.items("customize"):
        message = "sourceValidationOnly is true: the source itself is validated, and customize is ignored"
        context.findings.warning("W81", validate.at("sourceValidationOnly"), message, path=validate.path)
    if validate.flag("continueDistributeOnFailure") and validate.items("inVMValidations"):
        message = (
            "continueDistributeOnFailure is true: an image that fails its validation is distributed all the same; "
            "the run is 'Failed' nevertheless"
        )
        hint = "look at the result of the run before you use the image"
        where = validate.at("continueDistributeOnFailure")
        context.findings.note("W82", where, message, path=validate.path, hint=hint)


def check_error_handling(template: NodeView, context: RuleContext) -> None:
    """`abort` keeps the build machine (facts: service 2)."""
    properties = template.child("properties")
    handling = properties.child("errorHandling") if properties else None
    if handling is None:
        return
    for field in ("onCustomizerError", "onValidationError"):
        if handling.text(field) == "abort":
            message = f"{field} is 'abort': after a failure the build machine stays, and costs until it is deleted"
            hint = "delete the template, or the staging resources, when you have looked at it"
            context.findings.note("W86", handling.at(field), message, path=handling.path, hint=hint)
            return


CHECKS = (check_identity, check_staging, check_validation, check_error_handling)
