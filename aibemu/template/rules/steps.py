"""Rules about customizers and in-VM validators (facts: service 1.3, 3, 5)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aibemu.template.findings import listed
from aibemu.template.nodes import Kind
from aibemu.template.rules.context import Context
from aibemu.template.spec.steps import CUSTOMIZER
from aibemu.template.view import View

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCRIPTS = frozenset({"Shell", "PowerShell"})
_SERVICE_KINDS = frozenset(variant.tag for variant in CUSTOMIZER.variants)
# Where the build user, who is not root, may write on Linux.
_WRITABLE = ("/tmp/", "/var/tmp/", "/dev/shm/")


def steps_of(template: View) -> Iterator[View]:
    """All customizers, then all validators, of a type that the service knows."""
    properties = template.child("properties")
    if properties is None:
        return
    yield from (step for step in properties.children("customize") if step.text("type") in _SERVICE_KINDS)
    if validate := properties.child("validate"):
        yield from (step for step in validate.children("inVMValidations") if step.text("type") in _SERVICE_KINDS)


def check_plugin(template: View, context: Context) -> None:
    """The service knows the type, this aibemu has nothing that runs it."""
    for step in steps_of(template):
        kind = step.text("type")
        if kind not in context.kinds:
            message = f"'{kind}' is not supported by this version of aibemu yet (the service knows it)"
            hint = f"this aibemu runs {listed(sorted(context.kinds)) or 'no customizer at all'}"
            context.findings.error("P01", step.at("type"), message, path=step.path, hint=hint)


def check_script(template: View, context: Context) -> None:
    """Exactly one of scriptUri and inline; inline not empty."""
    for step in steps_of(template):
        if step.text("type") not in _SCRIPTS or step.is_unknown("scriptUri") or step.is_unknown("inline"):
            continue
        uri = step.node.get("scriptUri")
        has_uri = uri is not None and uri.value != ""
        if has_uri and step.has("inline"):
            message = "both scriptUri and inline are there: exactly one of them says what to run"
            context.findings.error("E20", step.at("inline"), message, path=step.path, hint="remove one of the two")
        elif not has_uri and not step.has("inline"):
            message = "Missing field 'scriptUri' or 'inline': exactly one of them says what to run"
            context.findings.error("E20", step.span, message, path=step.path)
        check_inline(step, context)


def check_inline(step: View, context: Context) -> None:
    inline = step.node.get("inline")
    if inline is None or inline.kind is not Kind.ARRAY:
        return
    texts = [item.value for item in inline.items]
    if all(text == "" or (isinstance(text, str) and not text.strip()) for text in texts):
        message = "Field 'inline' is empty: there is nothing to run"
        context.findings.error("E22", inline.span, message, path=step.path, hint="add commands, or remove the step")


def check_checksum(template: View, context: Context) -> None:
    for step in steps_of(template):
        text = step.text("sha256Checksum")
        if text and not _SHA256.fullmatch(text):
            lower = text.strip().lower()
            hint = f"write {lower}" if _SHA256.fullmatch(lower) else "`sha256sum FILE` prints it"
            context.bad("E26", step, "sha256Checksum", "A SHA-256 is 64 hex digits in lower case", hint)


def check_elevation(template: View, context: Context) -> None:
    for step in steps_of(template):
        if step.flag("runAsSystem") and not step.flag("runElevated") and not step.is_unknown("runElevated"):
            hint = 'add "runElevated": true'
            context.bad("E24", step, "runAsSystem", "It can only be true when runElevated is true", hint)


def check_file(template: View, context: Context) -> None:
    """Optional in the schema, nothing to copy without; on Linux the build user cannot write everywhere."""
    for step in steps_of(template):
        if step.text("type") != "File":
            continue
        for field in ("sourceUri", "destination"):
            if not step.has(field) or step.text(field) == "":
                message = f"Missing field '{field}': a file needs sourceUri and destination"
                context.findings.error("S02", step.at(field), message, path=step.path)
        destination = step.text("destination") or ""
        if destination.startswith("/") and not destination.startswith(_WRITABLE):
            message = f"'{destination}' is outside /tmp: on Linux a file is copied as the build user, who is not root"
            hint = "copy it to /tmp, and move it with sudo in a Shell customizer"
            context.findings.warning("E30", step.at("destination"), message, path=step.path, hint=hint)


def check_source_validation(template: View, context: Context) -> None:
    properties = template.child("properties")
    validate = properties.child("validate") if properties else None
    if properties and validate and validate.flag("sourceValidationOnly") and properties.items("customize"):
        message = "sourceValidationOnly is true: the source itself is validated, and customize is ignored"
        context.findings.warning("W81", validate.at("sourceValidationOnly"), message, path=validate.path)


RULES = (
    check_plugin,
    check_script,
    check_checksum,
    check_elevation,
    check_file,
    check_source_validation,
)
