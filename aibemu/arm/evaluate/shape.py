"""The frame of a deployment template: what ARM must find before it evaluates anything.

The rules are those of Azure's own template engine, which was asked about each (fixtures/judged-deployments). It reads
the outermost template strictly: a member that it does not know is an error there, and is passed over in a nested one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from aibemu.arm.expressions import is_expression
from aibemu.arm.expressions.values import described
from aibemu.arm.findings import Findings, listed, shorten
from aibemu.arm.nodes import Member, Node, NodeKind
from aibemu.errors import Span
from aibemu.suggestions import did_you_mean

SCHEMAS = ("2014-04-01-preview", "2015-01-01", "2018-05-01", "2019-04-01", "2019-08-01")
_LANGUAGE = re.compile(r"2\.0|[12]\.\d{1,2}-experimental")
_OBJECT, _ARRAY = frozenset({NodeKind.OBJECT}), frozenset({NodeKind.ARRAY})
_EITHER = _OBJECT | _ARRAY
_SCALAR = frozenset({NodeKind.STRING, NodeKind.NUMBER, NodeKind.BOOLEAN})
# Of a template: what each member must be, where ARM says so.
_TEMPLATE = {
    "$schema": frozenset({NodeKind.STRING}), "contentVersion": _SCALAR, "languageVersion": frozenset({NodeKind.STRING}),
    "apiProfile": frozenset({NodeKind.STRING}), "definitions": _OBJECT, "parameters": _OBJECT, "functions": _ARRAY,
    "variables": _OBJECT, "resources": _EITHER, "outputs": _OBJECT, "metadata": _OBJECT, "imports": _OBJECT,
    "extensions": _OBJECT, "asserts": _OBJECT,
}  # fmt: skip
_NEEDED = ("$schema", "contentVersion", "resources")
_TYPE = (
    "type", "allowedValues", "minLength", "maxLength", "minValue", "maxValue", "pattern", "metadata", "nullable",
    "items", "prefixItems", "properties", "additionalProperties", "discriminator", "sealed", "$ref",
)  # fmt: skip
_RESOURCE = (
    "type", "name", "apiVersion", "location", "tags", "dependsOn", "condition", "copy", "comments", "metadata", "scope",
    "properties", "sku", "kind", "plan", "zones", "identity", "managedBy", "managedByExtended", "extendedLocation",
    "placement", "id", "resources", "existing", "import", "extension", "asserts", "subscriptionId", "resourceGroup",
    "@options",
)  # fmt: skip
_COPY = ("name", "count", "mode", "batchSize")
_FEATURES = {
    "definitions": "types of your own", "imports": "imports", "extensions": "extensions", "asserts": "asserts",
}  # fmt: skip
_NEWER = ("extensions", "asserts")  # what languageVersion 2.0 does not have yet
_SYMBOL = re.compile(r"\w+(::\w+)*", re.ASCII)  # Bicep writes `parent::child`
MEMBERS_OF_A_TYPE = _TYPE
MEMBERS_OF_A_PARAMETER = (*_TYPE, "defaultValue")
MEMBERS_OF_AN_OUTPUT = (*_TYPE, "value", "copy", "condition")


class Shape:
    """Checks one template. strict: it is the outermost one, in which no unknown member may be."""

    def __init__(self, root: Node, findings: Findings, *, strict: bool) -> None:
        self.root = root
        self.findings = findings
        self.strict = strict
        self.readable = True

    def check(self) -> bool:
        """Findings for all that ARM refuses; False for what cannot be evaluated: a part is no part of a template."""
        for key in _NEEDED:
            if self.root.find(key) is None:
                self.fail(self.root.span, f"the template has no {key}", hint=_HINTS[key])
        for member in self.root.members.values():
            self._check_part(member)
        if self.readable:
            self._check_schema()
            self._check_language()
            for resource in _entries(self.root.find("resources")):
                self._check_resource(resource)
        return self.readable

    def fail(self, span: Span, message: str, *, hint: str | None = None) -> None:
        self.findings.error("X09", span, message, hint=hint)

    def _check_part(self, member: Member) -> None:
        wanted = next((kinds for key, kinds in _TEMPLATE.items() if key.casefold() == member.key.casefold()), None)
        if wanted is None:
            self.unknown(member, tuple(_TEMPLATE), "a template")
        elif member.value.kind not in wanted | {NodeKind.UNKNOWN}:
            kinds = " or ".join(_WORDS[kind] for kind in NodeKind if kind in wanted)
            message = f"{member.key} of the template must be {kinds}, not {_said(member.value)}"
            self.fail(member.value.span, message)
            self.readable = False

    def unknown(self, member: Member, known: tuple[str, ...], what: str) -> None:
        """A member that ARM does not know: refused in the outermost template, passed over in others."""
        if self.strict and member.key.casefold() not in {key.casefold() for key in known}:
            hint = did_you_mean(member.key, known, quoted=True) or "remove it; remarks go into `metadata` or a comment"
            self.fail(member.key_span, f"'{shorten(member.key, 60)}' is no member of {what}", hint=hint)

    def _check_schema(self) -> None:
        schema = self.root.find("$schema")
        if (
            schema is not None
            and schema.kind is NodeKind.STRING
            and not any(one in str(schema.value) for one in SCHEMAS)
        ):
            message = f"ARM does not know the $schema '{shorten(str(schema.value), 100)}'"
            self.fail(schema.span, message, hint=f"the versions are {listed(SCHEMAS, 'and')}; {_HINTS['$schema']}")
        version = self.root.find("contentVersion")
        if version is not None and version.value == "":
            self.fail(version.span, "contentVersion of the template is empty", hint=_HINTS["contentVersion"])

    def _check_language(self) -> None:
        version = self.root.find("languageVersion")
        text = str(version.value) if version is not None else ""
        if version is not None and version.kind is not NodeKind.UNKNOWN and not _LANGUAGE.fullmatch(text):
            self.fail(
                version.span, f"there is no languageVersion '{shorten(text, 40)}'", hint='it is "2.0", or left out'
            )
        for key, what in _FEATURES.items():
            part = self.root.find(key)
            if part is None:
                continue
            if version is None:
                self.fail(part.span, f"a template has {what} only with a languageVersion", hint=_TWO)
            elif text == "2.0" and key in _NEWER:
                self.fail(part.span, f"languageVersion 2.0 has no {what}", hint=f"remove {key}")
        resources = self.root.find("resources")
        if resources is None:
            return
        if version is None and resources.members:
            message = "resources with symbolic names (an object) need a languageVersion"
            self.fail(resources.span, message, hint=f"{_TWO}, or make `resources` an array")
        elif version is not None and resources.items:
            message = f"with languageVersion {text}, `resources` is an object: each resource has a symbolic name"
            self.fail(resources.span, message, hint='write "resources": {"NAME": {...}}')
        for member in resources.members.values():
            if not _SYMBOL.fullmatch(member.key):
                message = f"the symbolic name '{shorten(member.key, 60)}' may hold letters, digits and `_` only"
                self.fail(member.key_span, message)

    def _check_resource(self, node: Node) -> None:
        if node.kind is NodeKind.UNKNOWN:
            return
        if node.kind is not NodeKind.OBJECT:
            self.fail(node.span, f"a resource is an object, not {_said(node)}")
            return
        for member in node.members.values():
            self.unknown(member, _RESOURCE, "a resource")
        type_ = node.find("type")
        if type_ is None or (type_.kind is not NodeKind.UNKNOWN and not type_.value):
            self.fail(node.span, "the resource has no type", hint='for example "Microsoft.Compute/galleries"')
        comments, existing = node.find("comments"), node.find("existing")
        if comments is not None and comments.kind not in _SCALAR | {NodeKind.UNKNOWN}:
            self.fail(comments.span, f"`comments` must be text, not {_said(comments)}")
        if existing is not None and self.root.find("languageVersion") is None:
            self.fail(existing.span, "an existing resource needs a languageVersion", hint=_TWO)
        elif existing is not None and existing.kind is not NodeKind.BOOLEAN:
            self.fail(existing.span, f"`existing` must be true or false, not {_said(existing)}")
        for key, part in (("import", "imports"), ("extension", "extensions")):
            alias, known = node.find(key), self.root.find(part)
            if alias is not None and (known is None or known.find(str(alias.value)) is None):
                self.fail(alias.span, f"the template declares no {key} '{shorten(str(alias.value), 40)}'")
        asserts = node.find("asserts")
        if asserts is not None and self.root.find("languageVersion") is None:
            self.fail(asserts.span, "asserts need a languageVersion", hint="remove them")
        self._check_depends(node.find("dependsOn"))
        self._check_copy(node.find("copy"))
        inner = node.find("resources")
        if inner is not None and inner.kind is not NodeKind.ARRAY:
            self.fail(inner.span, f"`resources` of a resource must be an array, not {_said(inner)}")
        for child in _entries(inner):
            self._check_resource(child)

    def _check_depends(self, depends: Node | None) -> None:
        if depends is None or depends.kind is NodeKind.UNKNOWN:
            return
        if depends.kind is not NodeKind.ARRAY:
            hint = 'an array, for example ["NAME"]; its items may be expressions'
            self.fail(depends.span, f"dependsOn must be an array, not {_said(depends)}", hint=hint)
        for item in depends.items:
            if item.kind not in _SCALAR | {NodeKind.UNKNOWN} or item.value == "":
                self.fail(item.span, f"dependsOn holds names or ids of resources, not {_said(item)}")

    def _check_copy(self, copy: Node | None) -> None:
        if copy is None or copy.kind is NodeKind.UNKNOWN:
            return
        if copy.kind is not NodeKind.OBJECT:
            self.fail(copy.span, f"`copy` of a resource must be an object, not {_said(copy)}", hint=_LOOP)
            return
        for key in ("name", "count"):
            found = copy.find(key)
            if found is None or found.kind is NodeKind.NULL or found.value == "":
                self.fail(copy.span, f"the loop of a resource has no {key}", hint=_LOOP)
        for member in copy.members.values():
            self.unknown(member, _COPY, "the loop of a resource")


def _entries(resources: Node | None) -> Iterator[Node]:
    if resources is not None:
        yield from resources.items
        yield from (member.value for member in resources.members.values())


def _said(node: Node) -> str:
    """What a value is, for a message; what is text in brackets is an expression."""
    if node.kind is NodeKind.STRING:
        text = str(node.value)
        return "an expression" if is_expression(text) else f"'{shorten(text, 40)}'"
    return described(node)


_WORDS = {
    NodeKind.STRING: "text", NodeKind.NUMBER: "a number", NodeKind.BOOLEAN: "true or false",
    NodeKind.OBJECT: "an object", NodeKind.ARRAY: "an array",
}  # fmt: skip
_TWO = 'write "languageVersion": "2.0"'
_LOOP = 'for example "copy": {"name": "loop", "count": 2}'
_HINTS = {
    "$schema": '"https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#" is the usual one',
    "contentVersion": 'write "contentVersion": "1.0.0.0"',
    "resources": 'write "resources": [...]',
}
