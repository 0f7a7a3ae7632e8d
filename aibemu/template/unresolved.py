"""Values that nobody knows yet: `<placeholders>` meant for sed, those of other tools (`#{x}#`, `$(x)`, `{{x}}`), and
expressions in a body where none is evaluated.

`fill` puts values in for placeholders. `mark` makes what is left UNKNOWN nodes, so that no rule judges them and one E08
lists them all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from aibemu.arm.findings import Findings, shorten
from aibemu.arm.foreign import foreign_placeholders, of_tool
from aibemu.arm.nodes import Member, Node, NodeKind
from aibemu.errors import Span
from aibemu.template.spec.distributors import DISTRIBUTOR
from aibemu.template.spec.steps import CUSTOMIZER, SCRIPT_FIELDS, VALIDATOR


class Role(StrEnum):
    """What a text is for: the service, which has to understand it; the shell of a script; a path in the guest, which
    may have the guest's own variables; or people, so that any text will do."""

    SERVICE = "service"
    SCRIPT = "script"
    GUEST = "guest"
    PEOPLE = "people"


class Syntax(StrEnum):
    """How text in brackets is meant. BARE: the body as the service gets it, where only what looks like an ARM function
    call can be a mistake. LITERAL: of a deployment template, evaluated already."""

    BARE = "bare"
    LITERAL = "literal"


_PLACEHOLDER = re.compile(r"<[A-Za-z_][A-Za-z0-9_.-]{0,60}>")
_ONLY_PLACEHOLDER = re.compile(r"<[^<>]{1,80}>")
# One end of a placeholder is missing.
_HALF_PLACEHOLDER = re.compile(r"<[A-Za-z_][\w .-]{0,80}|[A-Za-z_][\w .-]{0,80}>")
# Text of a script that no shell reads: what follows a `#`.
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*", re.MULTILINE)
_BLOCK_COMMENT = re.compile(r"<#.*?(?:#>|\Z)", re.DOTALL)
_ROLES = {
    **dict.fromkeys(SCRIPT_FIELDS, Role.SCRIPT), "destination": Role.GUEST,
    "tags": Role.PEOPLE, "artifactTags": Role.PEOPLE, "managedResourceTags": Role.PEOPLE,
}  # fmt: skip
_TYPES = frozenset(one.tag for shape in (CUSTOMIZER, VALIDATOR, DISTRIBUTOR) for one in shape.variants)
_CALL = re.compile(r"\[\s*[A-Za-z_][\w.]*\s*\(.*\)[^()]*\]", re.DOTALL)


def is_expression(text: str, syntax: Syntax) -> bool:
    """True for a string in a bare body that ARM should have evaluated."""
    return syntax is Syntax.BARE and text[:1] == "[" and _CALL.fullmatch(text) is not None


def fill(node: Node, values: Mapping[str, str]) -> tuple[Node, frozenset[str]]:
    """Put values in for placeholders, in keys and in text, as sed would; the tree, and the names that were used.

    values: by name, without the brackets.
    """
    used: set[str] = set()

    def text(old: str) -> str:
        for name, value in values.items():
            if f"<{name}>" in old:
                used.add(name)
                old = old.replace(f"<{name}>", value)
        return old

    def walk(node: Node) -> Node:
        if node.kind is NodeKind.OBJECT:
            members = {
                key: Member(key, member.key_span, walk(member.value))
                for key, member in ((text(old), member) for old, member in node.members.items())
            }
            return replace(node, members=members)
        if node.kind is NodeKind.ARRAY:
            return replace(node, items=tuple(map(walk, node.items)))
        if node.kind is NodeKind.STRING and isinstance(node.value, str) and "<" in node.value:
            return replace(node, value=text(node.value))
        return node

    return walk(node), frozenset(used)


def placeholders(text: str) -> list[str]:
    """The `<placeholders>` in a string, with their brackets."""
    if _ONLY_PLACEHOLDER.fullmatch(text):
        return [text]
    return _PLACEHOLDER.findall(text)


def half_placeholder(text: str) -> bool:
    """True for `<name` and `name>`."""
    return _HALF_PLACEHOLDER.fullmatch(text) is not None


def _harmless(script: str) -> frozenset[str]:
    """What looks like a placeholder in a script, and is none, or goes to no command: tags of XML that it writes
    (`</tag>` is there too), and what is only in comments."""
    tags = frozenset(f"<{tag}>" for tag in re.findall(r"</([\w.-]+)", script))
    if "#" not in script:
        return tags
    told = _COMMENT.sub("", _BLOCK_COMMENT.sub("", script))
    return tags | frozenset(placeholders(script)) - frozenset(placeholders(told))


class Marker:
    """Walks a resource once and keeps what it finds, in order: (text, place)."""

    def __init__(self, syntax: Syntax) -> None:
        self.syntax = syntax
        self.expressions: list[tuple[str, Span]] = []
        self.placeholders: list[tuple[str, Span]] = []
        self.doubtful: list[tuple[str, Span]] = []
        self.halves: list[tuple[str, Span]] = []
        # Of other tools: where the service cannot take them, and where it takes any text.
        self.foreign: list[tuple[str, Span]] = []
        self.labels: list[tuple[str, Span]] = []

    def mark(self, node: Node, role: Role = Role.SERVICE, *, listed: bool = False) -> Node:
        """The tree with unknown values as UNKNOWN nodes. listed: the node stands in an array, as steps do."""
        if node.kind is NodeKind.OBJECT:
            members = {}
            if listed and role is Role.SERVICE and node.text("type") not in (None, *_TYPES):
                role = Role.GUEST  # a plugin's own, who knows what for
            for key, member in node.members.items():
                step_name = listed and key == "name" and "type" in node.members
                inner = Role.PEOPLE if step_name else _ROLES.get(key, role)
                members[key] = Member(key, member.key_span, self.mark(member.value, inner))
                self.placeholders += [(found, member.key_span) for found in placeholders(key)]
                if role is Role.SERVICE:
                    self.foreign += [(found, member.key_span) for found in foreign_placeholders(key)]
            return replace(node, members=members)
        if node.kind is NodeKind.ARRAY:
            return self._array(node, role)
        return self._text(node, role, frozenset())

    def _array(self, node: Node, role: Role) -> Node:
        harmless: frozenset[str] = frozenset()
        if role is Role.SCRIPT:
            harmless = _harmless("\n".join(item.value for item in node.items if isinstance(item.value, str)))
        items = (
            self._text(item, role, harmless) if item.kind is NodeKind.STRING else self.mark(item, role, listed=True)
            for item in node.items
        )
        return replace(node, items=tuple(items))

    def _text(self, node: Node, role: Role, harmless: frozenset[str]) -> Node:
        if node.kind is not NodeKind.STRING or not isinstance(node.value, str):
            return node
        text = node.value
        if is_expression(text, self.syntax):
            self.expressions.append((text, node.span))
            return replace(node, kind=NodeKind.UNKNOWN)
        found = [(name, node.span) for name in placeholders(text) if name not in harmless]
        if role is Role.SCRIPT:
            self.doubtful += found
            return node
        others = [(name, node.span) for name in foreign_placeholders(text)] if not found else []
        halves = [(text, node.span)] if role is Role.SERVICE and half_placeholder(text) else []
        self.placeholders += found
        self.halves += halves
        if role is Role.SERVICE:
            self.foreign += others
        elif role is Role.PEOPLE:
            self.labels += others
        unknown = found or halves or (others and role is Role.SERVICE)
        return replace(node, kind=NodeKind.UNKNOWN) if unknown else node

    def report(self, findings: Findings) -> None:
        """One E08 for all placeholders, one for all expressions, each listing them with their lines."""
        for found in (
            self.placeholders, self.expressions, self.doubtful, self.halves, self.foreign, self.labels
        ):  # fmt: skip
            found.sort(key=lambda entry: (entry[1].line, entry[1].column))
        if self.placeholders:
            name = self.placeholders[0][0]
            findings.error(
                "E08",
                self.placeholders[0][1],
                f"unresolved placeholders: {_listing(self.placeholders)}",
                hint=f"give each a value: --set {name.strip('<>')}=VALUE, or put it into the file",
            )
        if self.expressions:
            findings.error(
                "E08",
                self.expressions[0][1],
                f"expressions that are not evaluated: {_listing(self.expressions)}",
                hint="the service takes a bare body as it is: expressions only work in a deployment template",
            )
        self._report_others(findings)
        if self.doubtful:
            message = f"this looks like a placeholder, and goes to the shell as it is: {_listing(self.doubtful)}"
            findings.warning("E08", self.doubtful[0][1], message)

    def _report_others(self, findings: Findings) -> None:
        """Placeholders that `--set` does not fill."""
        if self.halves:
            text = self.halves[0][0].strip("<>")
            message = f"a placeholder of which one end is missing: {_listing(self.halves)}"
            hint = f"write '<{text}>', and give it a value with --set, or put the value into the file"
            findings.error("E08", self.halves[0][1], message, hint=hint)
        for found, say, more in (
            (self.foreign, findings.error, ""),
            (self.labels, findings.warning, "; the service takes it as it is"),
        ):
            if found:
                tool, hint = of_tool(found[0][0])
                message = f"placeholders of another tool ({tool}) that have no value yet: {_listing(found)}{more}"
                say("E08", found[0][1], message, hint=hint)


def _listing(found: list[tuple[str, Span]]) -> str:
    """`<a>` (lines 3, 9), `<b>` (line 4)."""
    lines: dict[str, list[int]] = {}
    for text, span in found:
        places = lines.setdefault(shorten(text, 60), [])
        if span.line not in places:
            places.append(span.line)
    return ", ".join(
        f"{text} (line{'s' if len(places) > 1 else ''} {', '.join(map(str, places))})" for text, places in lines.items()
    )
