"""What a rule gets besides the resource, and the sentences that rules share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from aibemu.arm.findings import Findings, shorten
from aibemu.arm.nodes import Node
from aibemu.arm.places import Places
from aibemu.arm.resource_ids import IdForm
from aibemu.arm.resource_names import name_problems
from aibemu.errors import Span
from aibemu.template.remote import Files
from aibemu.template.view import NodeView


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Another resource of the same deployment. type: in lower case; id: "" when it is not known; node: its body."""

    type: str
    name: str
    id: str
    node: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleContext:
    """version: the API version to judge by; kinds: customizers that this aibemu can run; build: the template is to be
    built, not only checked; files: what is known of scripts and files; places: for places inside strings;
    wrapper: how inline PowerShell is run, `old` or `new` as the setting powershell_wrapper says; now: the time, None
    when nobody asked; beside: what else the deployment makes."""

    version: str
    kinds: frozenset[str]
    findings: Findings
    build: bool = True
    files: Files = field(default_factory=dict)
    places: Places = field(default_factory=lambda: Places({}))
    wrapper: str = "old"
    now: datetime | None = None
    beside: tuple[Beside, ...] = ()

    def bad(self, id_: str, view: NodeView, field: str, why: str, hint: str | None = None) -> None:
        """An error about a value, in the service's words."""
        found = view.node.get(field)
        value = "" if found is None else found.value
        shown = shorten(str(value).lower() if isinstance(value, bool) else str(value), 300)
        message = f"Field '{field}' has a bad value: '{shown}'. {why}"
        self.findings.error(id_, view.at(field), message, path=view.path, hint=hint)

    def check_names(self, resource_id: str, span: Span, path: str) -> None:
        """An error for each name in an id that Azure does not take."""
        for why in name_problems(resource_id):
            self.findings.error("E84", span, why, path=path, hint="no resource of Azure's has this name: correct it")

    def need_id(self, view: NodeView, field: str, form: IdForm, *, id_: str = "S03") -> bool:
        """Check a resource id; True when it is there and well formed."""
        text = view.text(field)
        if text is None or not text.strip():
            return False
        if form.fits(text):
            self.check_names(text, view.at(field), view.path)
            return True
        self.bad(id_, view, field, "It is not a resource id of the right kind", f"the form is {form.example}")
        return False
