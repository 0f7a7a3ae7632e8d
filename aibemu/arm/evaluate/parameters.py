"""The parameters of a template: what was given, else the default, else null where that is allowed, else an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aibemu.arm.evaluate.template_scope import TemplateScope
from aibemu.arm.evaluate.types import TYPES, Types
from aibemu.arm.expressions.errors import ExpressionError
from aibemu.arm.expressions.frame import Frame, Spot
from aibemu.arm.findings import hint_of, listed, shorten
from aibemu.arm.nodes import Member, Node, NodeKind
from aibemu.errors import Span
from aibemu.suggestions import did_you_mean

_EXTERNAL = "is computed of an external input (externalInput), which only the tool that deploys can give"
_INTEGER = re.compile(r"-?[0-9]{1,19}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value from outside. raw: text of a command line, which is read as the declared type. vault: it is a reference
    into a key vault, and only Azure has it. external: it is computed of an external input, which whoever deploys
    has. frame: where the node, which is then all of
    `{"value": ...}`, is still to be evaluated, or None; scope: by what."""

    name: str
    span: Span
    node: Node
    raw: bool = False
    vault: bool = False
    external: bool = False
    frame: Frame | None = None
    scope: TemplateScope | None = None


class Declarations:
    """The parameters of one template. given: by name in lower case."""

    def __init__(self, scope: TemplateScope, given: Mapping[str, Given]) -> None:
        self._scope = scope
        self._given = given
        self._types = Types(scope.root.find("definitions"))
        self._values: dict[str, Node] = {}
        declared = scope.root.find("parameters")
        members = declared.members.values() if declared else ()
        self._declared = {member.key.casefold(): member for member in members}

    def value(self, name: str) -> Node:
        """The value of a parameter. Raises ExpressionError for one that is not declared."""
        member = self._declared.get(name.casefold())
        if member is None:
            known = [entry.key for entry in self._declared.values()]
            raise ExpressionError(f"there is no parameter '{name}'", id_="X04", hint=hint_of(name, known))
        key = name.casefold()
        if key not in self._values:
            self._values[key] = self._scope.once(f"parameter '{member.key}'", lambda: self._resolve(member))
        return self._values[key]

    def check_all(self) -> None:
        """Resolve every parameter, used or not, and refuse what is given and not declared: so does ARM."""
        for member in self._declared.values():
            if member.key.casefold() not in self._values:
                self.value(member.key)
        known = [entry.key for entry in self._declared.values()]
        secure = any(self._types.holds_secret(member.value) for member in self._declared.values())
        for key, given in self._given.items():
            if key not in self._declared:
                if secure and given.frame is None:  # a secret, maybe, whose name is misspelt
                    self._scope.work.secrets.hide(given.node)
                question = did_you_mean(given.name, known, quoted=True)
                hint = question or f"it has {listed(known[:12], 'and') or 'none'}"
                message = f"the template has no parameter '{shorten(given.name)}'"
                self._scope.findings.error("X06", given.span, message, hint=hint)

    def _resolve(self, member: Member) -> Node:
        declaration = member.value
        self._check_declaration(member)
        node = self._found(member)
        node = self._types.hidden(node, declaration, self._scope.work.secrets)
        for problem in self._types.problems(node, declaration, f"parameter '{member.key}'"):
            self._scope.findings.error("X06", problem.span, problem.message, hint=problem.hint)
            node = replace(node, kind=NodeKind.UNKNOWN)
        return node

    def _found(self, member: Member) -> Node:
        """The value, unchecked; unknown after an error."""
        findings, given = self._scope.findings, self._handed_down(self._given.get(member.key.casefold()))
        kind = self._types.resolved(member.value)
        type_ = (kind.text("type") or "").casefold()
        if given is not None and (given.vault or given.external):
            of = "is in a key vault, which only Azure can read"
            message = f"the value of parameter '{member.key}' {of if given.vault else _EXTERNAL}"
            findings.error("X07", given.span, message, hint=f"supply it: --parameters {member.key}=VALUE")
            return Node(NodeKind.UNKNOWN, given.span, given.name)
        if given is not None:
            node = self._read(given, type_) if given.raw else given.node
            if node.kind is not NodeKind.NULL:
                return node
        # For ARM null is no value: as if nothing were given.
        default = member.value.find("defaultValue")
        if default is not None:
            node = self._scope.evaluate(default, self._scope.frame(Spot.DEFAULT))
            if node.kind is not NodeKind.NULL:
                return node
        nullable = kind.find("nullable")
        if nullable is not None and nullable.value is True:
            return Node(NodeKind.NULL, member.key_span)
        self._say_missing(member, given, default)
        return Node(NodeKind.UNKNOWN, member.key_span, member.key)

    def _say_missing(self, member: Member, given: Given | None, default: Node | None) -> None:
        what = f"parameter '{member.key}' has no value"
        message = f"{what}: it is given null" if given is not None else what
        message += ", and no default" if default is None else ", and its default is null"
        handed_down = self._given.get(member.key.casefold())
        if handed_down is not None and handed_down.frame is not None:
            hint = f"hand one down in the parameters of the nested deployment, or declare '{member.key}' nullable"
        else:
            hint = f"give it one: --parameters {member.key}=VALUE, or --parameters FILE"
        self._scope.findings.error("X05", given.span if given is not None else member.key_span, message, hint=hint)

    def _handed_down(self, given: Given | None) -> Given | None:
        """What is handed down to a nested deployment is evaluated when it is needed there."""
        if given is None or given.frame is None:
            return given
        entry = (given.scope or self._scope).evaluate(given.node, given.frame)
        value = entry if entry.kind is NodeKind.UNKNOWN else entry.find("value")
        vault = value is None and entry.find("reference") is not None
        return replace(given, node=value or Node(NodeKind.NULL, given.span), vault=vault, frame=None)

    def _check_declaration(self, member: Member) -> None:
        type_ = self._types.resolved(member.value).find("type")
        if type_ is None and member.value.text("$ref"):
            message = f"parameter '{member.key}': there is no definition {member.value.text('$ref')}"
            self._scope.findings.error("X06", member.key_span, message)
        elif type_ is not None and str(type_.value).casefold() not in {name.casefold() for name in TYPES}:
            # Without a type, any value fits.
            message = f"parameter '{member.key}' has the type '{shorten(str(type_.value))}'"
            hint = did_you_mean(str(type_.value), TYPES, quoted=True) or f"a type is {listed(TYPES)}"
            self._scope.findings.error("X06", type_.span, message, hint=hint)

    def _read(self, given: Given, type_: str) -> Node:
        """Text of a command line as the declared type."""
        text, node = str(given.node.value), given.node
        if type_ == "int" and _INTEGER.fullmatch(text.strip()):
            return replace(node, kind=NodeKind.NUMBER, value=int(text))
        if type_ == "bool" and text.strip().casefold() in {"true", "false"}:
            return replace(node, kind=NodeKind.BOOLEAN, value=text.strip().casefold() == "true")
        if type_ in {"array", "object", "secureobject"}:
            from aibemu.arm.reader import read

            document = read(text, given.span.file)
            if document.root is not None and document.reliable and not document.diagnostics:
                return document.root
        if text == "null" and type_ not in {"string", "securestring"}:
            return replace(node, kind=NodeKind.NULL, value=None)
        return node
