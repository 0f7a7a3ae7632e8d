"""The resources that a template declares, unrolled: loops, conditions, nested deployments; what reference() gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Protocol

from aibemu.arm.evaluate import copies
from aibemu.arm.evaluate.outputs import Output
from aibemu.arm.evaluate.template_scope import TemplateScope
from aibemu.arm.expressions.errors import ExpressionError
from aibemu.arm.expressions.frame import Frame, Spot
from aibemu.arm.expressions.values import has_unknown, members_of, node_of
from aibemu.arm.nodes import Node, NodeKind
from aibemu.arm.resource_ids import resource_id

DEPLOYMENTS = "microsoft.resources/deployments"
NOT_EVALUATED = ("comments", "metadata")  # of a resource: for people, ARM takes them as they are
IMAGE_TEMPLATES = "microsoft.virtualmachineimages/imagetemplates"


class ResourceScope(TemplateScope, Protocol):
    """One template, as its resources see it: they have templates nested in them."""

    @property
    def handed_down(self) -> bool:
        """True with the outer scope: the template is a value of its parent, and may be made of expressions."""
        ...

    @property
    def resources(self) -> Resources:
        """What the template declares."""
        ...

    @property
    def busy(self) -> bool:
        """True while something of this template is being evaluated."""
        ...

    def nested(self, instance: Instance) -> ResourceScope | None:
        """The template inside of a nested deployment; None when it is not here."""
        ...

    @property
    def outermost(self) -> ResourceScope:
        """The template that it is nested in, however deep; itself if it is in none."""
        ...

    def outputs(self) -> Mapping[str, Output]:
        """The outputs of this template, by name."""
        ...

    def check_parameters(self) -> None:
        """Resolve every parameter, used or not; what is wrong with one is a finding."""
        ...

    def check_handed_down(self) -> None:
        """Evaluate all that the parent of a template with the outer scope evaluates, needed or not."""
        ...

    def check_variables(self) -> None:
        """Evaluate every variable, used or not; what is wrong with one is a finding."""
        ...


class Instance:
    """One resource: a turn of its loop, or the resource as it stands. symbol: its symbolic name, or empty. parent: the
    resource that it is written inside of: type and name are then what is added to those of the parent."""

    def __init__(
        self, scope: ResourceScope, symbol: str, node: Node, frame: Frame, parent: Instance | None = None
    ) -> None:
        self.scope = scope
        self.symbol = symbol
        self.node_as_written = node
        self.node = node.without("copy", "resources")
        self.children = node.find("resources")
        self.frame = frame
        self.parent = parent
        self.opening = False

    @cached_property
    def own_type(self) -> str:
        """Its type as it is written."""
        return self.text("type") or ""

    @cached_property
    def _inside(self) -> bool:
        """Whether type and name go on from those of its parent. One that is written inside of another resource may have
        its full type and name too, or be of another type altogether: then the name is shorter than the type."""
        if self.parent is None or not self.own_type:
            return False
        name = self.text("name")
        return name is None or name.count("/") >= self.own_type.count("/")

    @cached_property
    def kind(self) -> str:
        """Its type."""
        kind = self.own_type
        return f"{self.parent.kind}/{kind}" if self.parent is not None and self._inside else kind

    @cached_property
    def name(self) -> str | None:
        """Its name, or None when that is not known."""
        name = self.text("name")
        if self.parent is None or name is None or not self._inside:
            return name
        return None if self.parent.name is None else f"{self.parent.name}/{name}"

    @property
    def existing(self) -> bool:
        """Whether its template only names it."""
        existing = self.node.find("existing")
        return existing is not None and existing.value is True

    @cached_property
    def deployed(self) -> bool | None:
        """False when its condition says so, or it is one that exists already; None when that is not known."""
        if self.existing:
            return False
        condition = self.node.find("condition")
        if condition is None:
            return True
        with self._quietly:
            value = self.scope.evaluate(condition, self.scope.before(self.frame))
        if value.kind is NodeKind.UNKNOWN:
            return None
        if value.kind is not NodeKind.BOOLEAN:
            message = f"a condition is true or false, and not {value.kind.value}"
            self.scope.findings.error("X03", condition.span, message)
            return None
        return bool(value.value)

    @property
    def _quietly(self) -> AbstractContextManager[None]:
        """What only Azure knows is an error where an image template needs it, and only there."""
        return nullcontext() if self._matters else self.scope.work.without_azure()

    @cached_property
    def _matters(self) -> bool:
        return holds(self.node, IMAGE_TEMPLATES)

    @property
    def is_deployment(self) -> bool:
        return self.kind.casefold() == DEPLOYMENTS

    @cached_property
    def body(self) -> Node:
        """All of it, evaluated; of a nested deployment, without its template, which has a scope of its own."""
        node = self.node.without("condition")
        if self.is_deployment and (properties := node.find("properties")):
            member = node.members.get("properties")
            if member is not None:
                without = replace(member, value=properties.without("template", "parameters"))
                node = replace(node, members={**node.members, "properties": without})
        # Resources of different types may have the same name.
        what = f"resource '{self.symbol or f'{self.kind}/{self.name}'}'"
        evaluated = self.scope.once(
            what, lambda: self.scope.kept(self.scope.evaluate(node.without(*NOT_EVALUATED), self.frame))
        )
        as_written = {key: member for key, member in node.members.items() if key.casefold() in NOT_EVALUATED}
        return replace(evaluated, members={**evaluated.members, **as_written})

    @cached_property
    def id(self) -> str | None:
        """Its resource id, or None when that is not known."""
        if self.name is None or "/" not in self.kind:
            return None
        try:
            around = self._around()
            other = self.text("scope")
            if other is not None:
                around = other.rstrip("/") if other.startswith("/") else f"{around}/providers/{other}"
            return resource_id(around, self.kind, self.name.split("/"))
        except ExpressionError:
            return None

    def _around(self) -> str:
        """The scope that it is deployed into; a nested deployment may name another one."""
        if not self.is_deployment:
            return self.scope.target_scope
        subscription, group = self.text("subscriptionId"), self.text("resourceGroup")
        own = f"/subscriptions/{subscription or self.scope.surroundings.subscription_id}"
        if group is not None:
            return f"{own}/resourceGroups/{group}"
        return own if subscription is not None else self.scope.target_scope

    @cached_property
    def nested(self) -> ResourceScope | None:
        """The template of a nested deployment, if it is here. Raises ExpressionError inside of a circle."""
        if self.opening:
            raise ExpressionError(f"the deployment '{self.name}' needs itself")
        self.opening = True
        try:
            return self.scope.nested(self) if self.is_deployment else None
        finally:
            self.opening = False

    def answer(self, *, whole: bool) -> Node:
        """What reference() gives: `properties`, or all of it."""
        span = self.node.span
        if self.nested is not None:
            with self.scope.work.without_azure():
                made = self.nested.outputs()
            # A value that only Azure knows is left out, so that whoever asks for it is told; after an error, it may be
            # the error that made it unknown.
            told = self.scope.findings.failed
            values = {
                key: {"type": output.type, **({"value": output.value} if told or not has_unknown(output.value) else {})}
                for key, output in made.items()
            }
            properties = node_of({"outputs": values, "provisioningState": "Succeeded"}, span)
        else:
            properties = self.body.find("properties") or node_of({}, span)
        if not whole:
            return properties
        own = {"id": self.id, "name": self.name, "type": self.kind, "properties": properties}
        return replace(self.body, members={**self.body.members, **members_of(own, span)})

    def text(self, key: str) -> str | None:
        """A member that is text, evaluated. Of a resource whose condition is false, ARM looks at nothing else."""
        node = self.node.find(key)
        if node is None:
            return None
        skipped = self.deployed is False and self.node.find("condition") is not None
        with self.scope.work.unheard() if skipped else self._quietly:
            value = self.scope.evaluate(node, self.scope.before(self.frame))
        return str(value.value) if value.kind is NodeKind.STRING else None


class Resources:
    """The resources of one template."""

    def __init__(self, scope: ResourceScope) -> None:
        self.scope = scope
        self.unrolling = False

    @cached_property
    def all(self) -> tuple[Instance, ...]:
        """Every resource, loops unrolled, in the order of the template."""
        self.unrolling = True
        try:
            return tuple(self._unrolled())
        finally:
            self.unrolling = False

    def _unrolled(self) -> Iterator[Instance]:
        frame = self.scope.frame(Spot.RESOURCE)
        for symbol, node in self._declared():
            copy = node.find("copy")
            loop = copies.loop_of(copy) if copy else None
            if loop is None:
                yield from _with_children(Instance(self.scope, symbol, node, frame))
                continue
            with nullcontext() if holds(node, IMAGE_TEMPLATES) else self.scope.work.without_azure():
                found = copies.turns(self.scope, loop, self.scope.before(frame))
            for index in found or ():
                label = f"{symbol}[{index}]" if symbol else ""
                yield from _with_children(Instance(self.scope, label, node, frame.resource_turn(loop.name, index)))

    def _declared(self) -> Iterator[tuple[str, Node]]:
        return declared(self.scope.root.find("resources"))

    @property
    def labels(self) -> Iterator[str]:
        """Symbolic names, and names of loops: they are known of a loop without a turn too."""
        for symbol, node in self._declared():
            copy = node.find("copy")
            loop = copies.loop_of(copy) if copy else None
            yield from (label for label in (symbol, loop.name if loop else "") if label)

    @property
    def everywhere(self) -> Iterator[Instance]:
        """These, and those of nested deployments."""
        for instance in self.all:
            yield instance
            # One that is being opened asks for something itself, and has nothing to give yet. The same holds for one
            # that is asking for what is handed down to it.
            if instance.opening or instance.deployed is False or (inner := instance.nested) is None:
                continue
            if not inner.busy:
                yield from inner.resources.everywhere

    def find(self, target: str) -> Instance | None:
        """The resource of a symbolic name, a name or an id."""
        wanted = target.casefold().rstrip("/")
        for instance in self.all:
            if wanted in (instance.symbol.casefold(), (instance.name or "").casefold()):
                return instance
        if not wanted.startswith("/"):
            return None
        for instances in (self.all, self.everywhere):
            for instance in instances:
                if (instance.id or "").casefold() == wanted:
                    return instance
        return None

    def refer(self, target: str, *, whole: bool) -> Node | None:
        """What reference() gives, or None when only Azure knows."""
        instance = self.find(target)
        if instance is not None and instance.existing:
            instance = self._made_elsewhere((instance.id or "").casefold())
        if instance is None or instance.deployed is False:
            return None
        return instance.answer(whole=whole)

    def _made_elsewhere(self, wanted: str) -> Instance | None:
        """What a template calls `existing` may be made by another one of the same deployment."""
        outermost = self.scope.outermost.resources
        if not wanted or outermost.unrolling:
            return None
        made = (one for one in outermost.everywhere if (one.id or "").casefold() == wanted)
        return next((one for one in made if not one.existing), None)

    def refer_all(self, symbol: str, *, whole: bool) -> list[Node] | None:
        """What references() gives for a loop."""
        prefix = f"{symbol.casefold()}["
        found = [instance for instance in self.all if instance.symbol.casefold().startswith(prefix)]
        known = any(name.casefold() == symbol.casefold() for name, _ in self._declared() if name)
        return [instance.answer(whole=whole) for instance in found] if found or known else None


def declared(resources: Node | None) -> Iterator[tuple[str, Node]]:
    """An array, or objects by symbolic name (languageVersion 2.0)."""
    if resources is None:
        return
    yield from (("", node) for node in resources.items if node.kind is NodeKind.OBJECT)
    yield from ((m.key, m.value) for m in resources.members.values() if m.value.kind is NodeKind.OBJECT)


def holds(node: Node, kind: str) -> bool:
    """True for a resource of that type (in lower case) as it is written, and for a nested deployment with one."""
    own = (node.text("type") or "").casefold()
    properties = node.find("properties") if own == DEPLOYMENTS else None
    template = properties.find("template") if properties is not None else None
    inside = declared(template.find("resources")) if template is not None else ()
    return own == kind or any(holds(inner, kind) for _, inner in inside)


def _with_children(instance: Instance) -> Iterator[Instance]:
    """A resource and those written inside of it. Those cannot have loops of their own, and are in its turn."""
    yield instance
    for symbol, node in declared(instance.children):
        yield from _with_children(Instance(instance.scope, symbol, node, instance.frame, instance))
