"""One template at work: its parameters, variables and functions, and how any value of it is evaluated.

A nested template has a scope of its own. With the outer scope (ARM's default) it is a value in its parent, which
evaluates it first; what is an expression then, after two brackets became one, the nested template evaluates itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from aibemu.arm.evaluate import copies
from aibemu.arm.evaluate.declared import Declared
from aibemu.arm.evaluate.groups import made_group
from aibemu.arm.evaluate.interpreter import Interpreter
from aibemu.arm.evaluate.limits import within_limits
from aibemu.arm.evaluate.nesting import Outer, above_groups, nested_template
from aibemu.arm.evaluate.outputs import Output, outputs
from aibemu.arm.evaluate.own_functions import OwnFunctions
from aibemu.arm.evaluate.parameters import Declarations, Given
from aibemu.arm.evaluate.resources import Instance, Resources
from aibemu.arm.evaluate.shape import Shape
from aibemu.arm.evaluate.work import MAX_TOTAL, MAX_WORK, OF_A_TEMPLATE, Work
from aibemu.arm.expressions import ExpressionError, Unknowable, is_expression, loses_bracket, parse, unescape
from aibemu.arm.expressions.frame import Frame, Spot
from aibemu.arm.expressions.secrets import Secrets
from aibemu.arm.expressions.surroundings import Surroundings
from aibemu.arm.findings import Findings, hint_of, shorten
from aibemu.arm.nodes import Member, Node, NodeKind
from aibemu.arm.places import Locate
from aibemu.errors import Span

_LOOPS = frozenset({Spot.RESOURCE, Spot.START, Spot.VARIABLE})  # where `copy` in an object makes properties
# What of a template with the outer scope is still as it is written: its parent evaluates it when it is needed. The rest
# was evaluated when the template was opened.
_AS_WRITTEN = frozenset({Spot.RESOURCE, Spot.START, Spot.OUTPUT})


class DeploymentScope:
    """One template. given: the values of its parameters, by name in lower case; outer: what evaluates it first, for the
    outer scope; outermost: the template that it is nested in, however deep."""

    def __init__(
        self,
        root: Node,
        work: Work,
        surroundings: Surroundings,
        *,
        given: Mapping[str, Given] | None = None,
        outer: Outer | None = None,
        outermost: DeploymentScope | None = None,
    ) -> None:
        self.root = root
        self.work = work
        self.surroundings = surroundings
        self.outer = outer
        self.readable = True
        self.outermost = outermost or self
        self.resources = Resources(self)
        self.declarations = Declarations(self, given or {})
        self.own = OwnFunctions(self, root.find("functions"))
        self._variables: dict[str, Node] = {}
        self._busy: list[str] = []

    @property
    def findings(self) -> Findings:
        return self.work.findings

    @property
    def secrets(self) -> Secrets:
        return self.work.secrets

    def frame(self, spot: Spot) -> Frame:
        """Outside of any loop."""
        return Frame(scope=self, spot=spot)

    def before(self, frame: Frame) -> Frame:
        """The frame for what must be known before anything is deployed."""
        return replace(frame, spot=Spot.START)

    @property
    def above_groups(self) -> bool:
        """True for a deployment into a subscription or above it."""
        return above_groups(self.root)

    @property
    def target_scope(self) -> str:
        """What resources are deployed into."""
        return self.surroundings.subscription_scope if self.above_groups else self.surroundings.group_scope

    # What its parts ask for.

    def nested(self, instance: Instance) -> DeploymentScope | None:
        """The template of a nested deployment at work; None when it is not here."""
        inner = nested_template(instance)
        if inner is None:
            return None
        if not self.work.afford(OF_A_TEMPLATE):
            message = (
                f"there are too many nested deployments: loops in loops make more than {MAX_WORK // OF_A_TEMPLATE}"
            )
            self.findings.error("X03", instance.node.span, message)
            return None
        scope = DeploymentScope(
            inner.root, self.work, inner.surroundings, given=inner.given, outer=inner.outer, outermost=self.outermost
        )
        scope.read(strict=False)
        return scope

    def outputs(self) -> Mapping[str, Output]:
        """The outputs whose condition is true, by name."""
        return outputs(self)

    def check_parameters(self) -> None:
        """Resolve every parameter, used or not."""
        if self.readable:
            self.declarations.check_all()

    def check_variables(self) -> None:
        """Evaluate every variable, used or not."""
        variables = self.root.find("variables") if self.readable else None
        if variables is None:
            return
        names = {key: member.key_span for key, member in variables.without("copy").members.items()}
        self._check_loop_names(variables, {name.casefold() for name in names})
        names |= {loop.name: loop.span for loop in self._loops.values()}
        for name, span in names.items():
            try:
                self.variable(name)
            except ExpressionError as error:
                self.findings.error(error.id, span, error.message, hint=error.hint, azure=error.azure)

    def _check_loop_names(self, variables: Node, seen: set[str]) -> None:
        """A loop whose name is an expression may come out with that of another variable; `declared` tells the rest."""
        copy, frame = variables.find("copy"), self.frame(Spot.VARIABLE)
        computed: set[str] = set()
        for loop in copies.loops_in(copy) or () if copy is not None else ():
            name = copies.name_of(self, loop, frame).casefold()
            if name in seen and (is_expression(loop.name) or name in computed):
                self.findings.error(
                    "X10", loop.span, f"there are two variables '{name}'", hint="give the loop another name"
                )
            seen.add(name)
            if is_expression(loop.name):
                computed.add(name)

    def check_handed_down(self) -> None:
        """Evaluate all that the parent of a template with the outer scope evaluates, needed or not."""
        for part in ("resources", "outputs"):
            written = self.root.find(part)
            if self.handed_down and written is not None:
                self.as_handed_down(written)

    def read(self, *, strict: bool) -> None:
        """Check what ARM checks when it reads a template. strict: it is the outermost one."""
        self.readable = Shape(self.root, self.findings, strict=strict).check()
        if self.readable and not within_limits(self.root, self.findings):
            self.readable = False
        if self.readable:
            Declared(self.root, self.findings, strict=strict).check()
            self.own.check()

    # What expressions ask for.

    def parameter(self, name: str) -> Node:
        """The value; raises ExpressionError when there is no such parameter."""
        return self.declarations.value(name)

    def variable(self, name: str) -> Node:
        """The value, evaluated when it is first asked for."""
        key = name.casefold()
        if key not in self._variables:
            entry = self._declared_variable(name)
            self._variables[key] = self.once(f"variable '{name}'", entry)
        return self._variables[key]

    def _declared_variable(self, name: str) -> Callable[[], Node]:
        frame = self.frame(Spot.VARIABLE)
        variables = self.root.find("variables")
        declared = variables.without("copy") if variables else None
        found = declared.find(name) if declared else None
        if found is not None:
            return lambda: self.evaluate(found, frame)
        loops = self._loops
        if loop := loops.get(name.casefold()):
            return lambda: copies.array(self, loop, frame)
        known = [*(declared.members if declared else ()), *(loop.name for loop in loops.values())]
        raise ExpressionError(f"there is no variable '{name}'", id_="X04", hint=hint_of(name, known))

    @cached_property
    def _loops(self) -> Mapping[str, copies.Loop]:
        """The loops of variables, by name in lower case; a name may be an expression."""
        variables, frame = self.root.find("variables"), self.frame(Spot.VARIABLE)
        loops = copies.loops_of(variables).values() if variables else ()
        named = [replace(loop, name=copies.name_of(self, loop, frame)) for loop in loops]
        return {loop.name.casefold(): loop for loop in named}

    @property
    def busy(self) -> bool:
        """True while something of this template is being evaluated: it has nothing to give yet."""
        return bool(self._busy)

    def once(self, what: str, make: Callable[[], Node]) -> Node:
        """Evaluate something that others may ask for meanwhile; a circle is an error."""
        if what.casefold() in self._busy:
            circle = " -> ".join([*self._busy[self._busy.index(what.casefold()) :], what.casefold()])
            raise ExpressionError(f"this goes round in a circle: {circle}")
        self._busy.append(what.casefold())
        try:
            return make()
        finally:
            self._busy.pop()

    def call_own(self, name: str, arguments: Sequence[Node], depth: int) -> Node:
        """Call a function that the template declares. depth: how many are being called around it."""
        return self.own.call(name, arguments, depth)

    def spend(self) -> None:
        """Count one call of a function. Raises ExpressionError when it is too much."""
        self.work.spend()

    def weigh(self, node: Node, *, worked_on: bool = False) -> None:
        """Raises ExpressionError when a value is too large to be used."""
        self.work.weigh(node, worked_on=worked_on)

    def kept(self, node: Node) -> Node:
        """What was made of a part of the template, unless that is too much in all."""
        if self.work.keep(node):
            return node
        message = f"the template is too large: written out it has more than {MAX_TOTAL >> 20} MiB"
        self.findings.error("X03", node.span, message)
        return Node(NodeKind.UNKNOWN, node.span)

    def group(self) -> dict[str, Any]:
        """What resourceGroup() gives. What the templates say of a group that they make themselves is known."""
        if self.above_groups:
            message = "a deployment above resource groups has no resource group: resourceGroup() is refused there"
            raise ExpressionError(message, hint="use subscription(), or deployment().location for the location")
        own = self.surroundings.group()
        return {**own, **made_group(self.outermost, str(own["id"]))}

    def deployment(self) -> dict[str, Any]:
        """What deployment() gives. templateLink is the file, so that what lies beside it is found; in Azure only a
        template that is deployed from an address has one."""
        link = {"templateLink": {"uri": self.surroundings.template_uri}} if self.surroundings.template_uri else {}
        return {
            "name": self.surroundings.deployment_name,
            **({"location": self.surroundings.location} if self.above_groups else {}),
            "properties": {
                **link,
                "template": {
                    "$schema": self.root.text("$schema") or "",
                    "contentVersion": self.root.text("contentVersion") or "",
                },
                "templateHash": "",
                "parameters": {},
                "mode": "Incremental",
                "provisioningState": "Accepted",
            },
        }

    def refer(self, target: str, *, whole: bool) -> Node | None:
        """What reference() gives for a resource that this template declares."""
        return self.resources.refer(target, whole=whole)

    def refer_all(self, target: str, *, whole: bool) -> list[Node] | None:
        """What references() gives for a copy loop by its symbolic name."""
        return self.resources.refer_all(target, whole=whole)

    # Evaluating.

    def evaluate(self, node: Node, frame: Frame) -> Node:
        """The tree without expressions, in keys and values; property copies unrolled."""
        return self.value_of(self.as_handed_down(node) if frame.spot in _AS_WRITTEN else node, frame)

    @property
    def handed_down(self) -> bool:
        """True with the outer scope: the template is a value of its parent, and may be made of expressions."""
        return self.outer is not None

    def as_handed_down(self, node: Node) -> Node:
        """A part of the template as its parent hands it down: evaluated by it, for a template with the outer scope."""
        return node if self.outer is None else self.outer.evaluate(node)

    def value_of(self, node: Node, frame: Frame) -> Node:
        """Like `evaluate`, of what has been evaluated by the parent where that is needed."""
        if node.kind is NodeKind.STRING:
            return self.text(node, frame)
        if node.kind is NodeKind.ARRAY:
            return replace(node, items=tuple(self.value_of(item, frame) for item in node.items))
        if node.kind is not NodeKind.OBJECT:
            return node
        members: dict[str, Member] = {}
        made: set[str] = set()  # names that are not as written, in lower case
        for member in node.members.values():
            loops = copies.loops_in(member.value) if member.key.casefold() == "copy" and frame.spot in _LOOPS else None
            if loops is None:
                key = self.key(member, frame)
                self._once_each(members, made, key, member.key_span, written=key == member.key)
                members[key] = Member(key, member.key_span, self.value_of(member.value, frame))
                continue
            for loop in loops:
                name = copies.name_of(self, loop, frame)
                self._once_each(members, made, name, loop.span, written=False)
                members[name] = Member(name, loop.span, copies.array(self, replace(loop, name=name), frame))
        return replace(node, members=members)

    def _once_each(
        self, members: Mapping[str, Member], made: set[str], key: str, span: Span, *, written: bool
    ) -> None:  # fmt: skip
        """Tell of two property names that come out the same, unless both are as written (then the last one counts)."""
        if written and not made:
            return
        folded = key.casefold()
        if folded in made or (not written and any(name.casefold() == folded for name in members)):
            self.findings.error("X03", span, f"two properties come out with the same name, '{shorten(key)}'")
        if not written:
            made.add(folded)

    def key(self, member: Member, frame: Frame) -> str:
        """A key of an object; one that cannot be evaluated stays as it is."""
        if not is_expression(member.key):
            return unescape(member.key)
        value = self.text(Node(NodeKind.STRING, member.key_span, member.key), frame)
        if value.kind is NodeKind.STRING:
            return str(value.value)
        if value.kind is not NodeKind.UNKNOWN:
            message = f"the key {shorten(member.key)} is not text: it is {value.kind.value}"
            self.findings.error("X03", member.key_span, message)
        return member.key

    def text(self, node: Node, frame: Frame) -> Node:
        """A string: evaluated when it is an expression. What goes wrong is reported, and the value then unknown."""
        text = str(node.value)
        if not is_expression(text):
            if loses_bracket(text):
                left = shorten(text[1:], 60)
                message = f"ARM takes one bracket away where a text begins with `[[`: of this, `{left}` is left"
                hint = "write `[[[ ... ]]`, or put something before it: `true; [[ ... ]]`"
                self.findings.warning("X12", node.span, message, hint=hint)
            return replace(node, value=unescape(text)) if text.startswith("[[") else node
        inside = self.work.places.string(node)
        found = self.compute(text[1:-1], frame, lambda at: inside.at(at + 1))
        return replace(node, kind=NodeKind.UNKNOWN) if found is None else found

    def compute(self, text: str, frame: Frame, place: Locate) -> Node | None:
        """The value of an expression, without its brackets; None when it has none, which is reported where `place` says
        that an offset is."""
        try:
            return Interpreter(frame, place).value(parse(text))
        except ExpressionError as error:
            self.findings.error(error.id, place(error.at or 0), error.message, hint=error.hint, azure=error.azure)
        except Unknowable:
            pass
        except RecursionError:
            self.findings.error("X03", place(0), "the expression, or what it uses, is nested too deeply")
        return None
