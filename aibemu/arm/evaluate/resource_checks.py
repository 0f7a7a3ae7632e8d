"""What ARM refuses of the resources of one template: types, names, versions, loops, deployments, duplicates, circles.

What ARM says of one resource was asked of Azure's own engine (fixtures/judged-deployments). Duplicates and circles are
found by the service itself, before it deploys anything ("is defined multiple times in a template", "Circular dependency
detected on resource"): the engine alone does not look at them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from aibemu.arm.evaluate import copies
from aibemu.arm.evaluate.resources import IMAGE_TEMPLATES, Instance, Resources, declared
from aibemu.arm.expressions import is_expression
from aibemu.arm.expressions.frame import Spot
from aibemu.arm.expressions.values import described
from aibemu.arm.findings import listed, shorten
from aibemu.arm.nodes import Node, NodeKind
from aibemu.errors import Span

_MODES = ("Parallel", "Serial")
_SCOPES = ("inner", "outer", "notspecified")
_SUBSCRIPTION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ID = "X11"


def check_resources(resources: Resources) -> None:
    """Findings for the resources of one template, and for what they are to each other."""
    checks = _Checks(resources)
    for _, node in declared(resources.scope.root.find("resources")):
        checks.declaration(node)
    for instance in resources.all:
        if instance.deployed is not False or (instance.existing and instance.node.find("condition") is None):
            checks.instance(instance)
    checks.together()


class _Checks:
    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.scope = resources.scope
        # A template that was handed down as a value may have been made of expressions.
        self.literal = not self.scope.handed_down
        self.profile = self.scope.root.text("apiProfile") is not None

    def fail(self, span: Span, message: str, *, hint: str | None = None) -> None:
        self.scope.findings.error(_ID, span, message, hint=hint)

    # As declared: whether it is deployed or not.

    def declaration(self, node: Node, parent: Node | None = None) -> None:
        what = _called(node)
        self._type(node.find("type"), inside=parent is not None)
        version = node.find("apiVersion")
        # Of an image template its schema tells (S02), which says too what aibemu then does.
        image = (node.text("type") or "").casefold() == IMAGE_TEMPLATES
        told = version is None and image and node.find("existing") is None
        if not self.profile and not told and (version is None or version.kind is NodeKind.NULL or version.value == ""):
            span = version.span if version is not None else node.span
            self.fail(span, f"{what} has no apiVersion", hint='for example "apiVersion": "2024-02-01"')
        tags = node.find("tags")
        if tags is not None and tags.kind is NodeKind.STRING and not is_expression(str(tags.value)):
            self.fail(tags.span, f"the tags of {what} must be an object, not '{shorten(str(tags.value), 40)}'")
        copy = node.find("copy")
        if copy is not None and copy.kind is NodeKind.OBJECT:
            if parent is not None:
                hint = "move it out, to the other resources, with its full type and name"
                self.fail(copy.span, f"{what} is written inside of another resource, and cannot have a loop", hint=hint)
            else:
                self._copy(copy, what)
        for _, child in declared(node.find("resources")):
            self.declaration(child, node)

    def _type(self, type_: Node | None, *, inside: bool) -> None:
        """inside: of another resource, whose type it may go on from."""
        if type_ is None or type_.kind is NodeKind.UNKNOWN:
            return
        if is_expression(str(type_.value)):
            if self.literal:
                self.fail(type_.span, "the type of a resource cannot be an expression", hint="write the type itself")
        elif type_.kind is not NodeKind.STRING or ("/" not in str(type_.value) and not inside):
            shown = f"'{shorten(str(type_.value))}'" if type_.kind is NodeKind.STRING else described(type_)
            self.fail(type_.span, f"{shown} is no type of a resource", hint="for example 'Microsoft.Compute/galleries'")

    def _copy(self, copy: Node, what: str) -> None:
        frame = self.scope.before(self.scope.frame(Spot.RESOURCE))
        mode, size = copy.find("mode"), copy.find("batchSize")
        name = copy.find("name")
        if name is not None and name.kind not in (NodeKind.STRING, NodeKind.NULL, NodeKind.UNKNOWN):
            self.fail(name.span, f"the name of the loop of {what} must be text, not {described(name)}")
        said = self.scope.evaluate(mode, frame) if mode is not None else None
        known = said is None or said.kind is not NodeKind.UNKNOWN
        chosen = str(said.value).casefold() if said is not None else "parallel"
        if mode is not None and known and chosen not in {one.casefold() for one in _MODES}:
            message = f"the loop of {what} has the mode '{shorten(str(mode.value), 40)}'"
            self.fail(mode.span, message, hint=f"a mode is {listed(_MODES)}")
        elif size is not None and known and chosen != "serial":
            self.fail(
                size.span, f"the loop of {what} has a batchSize, and is not Serial", hint='write "mode": "Serial"'
            )
        if size is not None:
            number = self.scope.evaluate(size, frame)
            if number.kind is not NodeKind.UNKNOWN and (
                number.kind is not NodeKind.NUMBER or not isinstance(number.value, int)
            ):
                self.fail(size.span, f"the batchSize of {what} must be a whole number, not {described(number)}")

    # As deployed.

    def instance(self, instance: Instance) -> None:
        node, what = instance.node, _called(instance.node)
        name = node.find("name")
        if name is None or name.kind is NodeKind.NULL or name.value == "":
            self.fail(name.span if name is not None else node.span, "the resource has no name", hint='"name": "web"')
            return
        value = self.scope.evaluate(name, self.scope.before(instance.frame))
        if value.kind is not NodeKind.UNKNOWN and (value.kind is not NodeKind.STRING or not value.value):
            shown = described(value) if value.kind is not NodeKind.STRING else "empty"
            self.fail(name.span, f"the name of a resource must be text, and it is {shown}")
            return
        if value.kind is NodeKind.STRING and not value.secret:
            self._segments(instance, name, str(value.value))
        scope = node.find("scope")
        around = self.scope.evaluate(scope, self.scope.before(instance.frame)) if scope is not None else None
        if around is not None and around.kind not in (NodeKind.STRING, NodeKind.NULL, NodeKind.UNKNOWN):
            self.fail(around.span, f"the scope of {what} must be text, not {described(around)}")
        location = node.find("location")
        if instance.existing and location is not None:
            self.fail(location.span, f"{what} is an existing one, and cannot have a location", hint="remove it")
        if instance.is_deployment:
            self._deployment(instance, what)
            return
        for key in () if instance.existing else ("subscriptionId", "resourceGroup"):
            found = node.find(key)
            if found is not None:
                hint = "put the resource into a nested deployment there"
                self.fail(found.span, f"only a deployment may have {key}, and {what} is none", hint=hint)

    def _segments(self, instance: Instance, name: Node, value: str) -> None:
        """A name has a segment for each segment of its type after the provider's. A resource that is written inside of
        another one may be named from there on: then for each segment of its type."""
        type_ = instance.own_type
        if not type_ or is_expression(type_):
            return
        kinds, names = type_.rstrip("/").split("/"), value.split("/")
        wanted = len(kinds) - 1
        fits = {wanted, len(kinds)} if instance.parent is not None else {wanted}
        if "" in names and len(names) in fits:
            self.fail(name.span, f"the name '{shorten(value)}' has an empty part", hint="remove the `/`")
        elif len(names) not in fits and (wanted or instance.parent is not None):
            one = len(kinds) if instance.parent is not None else wanted
            message = f"the name '{shorten(value)}' has {len(names)} parts, and the type '{shorten(type_)}' wants {one}"
            hint = f"with a name for each part of the type: {'/'.join(f'NAME{n + 1}' for n in range(one))}"
            self.fail(name.span, message, hint=hint)

    def _deployment(self, instance: Instance, what: str) -> None:
        properties = instance.node.find("properties")
        if properties is not None and properties.kind is not NodeKind.OBJECT:
            properties = self.scope.evaluate(properties, instance.frame)
        if properties is None or properties.kind is NodeKind.NULL:
            self.fail(instance.node.span, f"{what} has no properties")
            return
        if properties.kind is not NodeKind.OBJECT:
            return
        template, link = properties.find("template"), properties.find("templateLink")
        if template is None and link is None:
            self.fail(properties.span, f"{what} has neither a template nor a templateLink")
        elif template is not None and link is not None:
            self.fail(link.span, f"{what} has a template and a templateLink: ARM takes one of them")
        elif link is not None and link.kind is NodeKind.OBJECT and not (link.find("uri") or link.find("id")):
            self.fail(link.span, f"the templateLink of {what} has neither a uri nor an id")
        elif link is not None and link.kind is NodeKind.STRING and not is_expression(str(link.value)):
            self.fail(link.span, f"the templateLink of {what} must be an object", hint='{"uri": "https://..."}')
        self._kind_of_template(instance, template, what)
        options = properties.find("expressionEvaluationOptions")
        scope = options.find("scope") if options is not None else None
        value = self.scope.evaluate(scope, instance.frame) if scope is not None else None
        if value is not None and value.kind is NodeKind.STRING and str(value.value).casefold() not in _SCOPES:
            self.fail(value.span, f"there is no scope '{shorten(str(value.value), 40)}'", hint="it is inner or outer")
        self._place(instance, what)

    def _kind_of_template(self, instance: Instance, template: Node | None, what: str) -> None:
        if template is None:
            return
        value = self.scope.evaluate(template, instance.frame) if template.kind is NodeKind.STRING else template
        if value.kind not in (NodeKind.OBJECT, NodeKind.UNKNOWN):
            self.fail(template.span, f"the template of {what} must be an object, not {described(value)}")

    def _place(self, instance: Instance, what: str) -> None:
        """Where it is deployed into: above resource groups it needs a location, in one it cannot have one."""
        node = instance.node
        subscription = instance.text("subscriptionId")
        if subscription and not _SUBSCRIPTION.fullmatch(subscription):
            found = node.find("subscriptionId")
            span = found.span if found is not None else node.span
            self.fail(span, f"'{shorten(subscription, 60)}' is no id of a subscription", hint="a GUID")
        group, location = instance.text("resourceGroup"), node.find("location")
        if node.find("scope") is not None or (node.find("resourceGroup") is not None and group is None):
            above = node.find("scope") is not None
        else:
            above = not group and (node.find("subscriptionId") is not None or self.scope.above_groups)
        if above and location is None:
            hint = '"location": "westeurope": Azure keeps the record of the deployment there'
            self.fail(node.span, f"{what} is deployed above resource groups, and needs a location", hint=hint)
        elif not above and location is not None and not (node.find("resourceGroup") is not None and group is None):
            message = f"{what} is deployed into a resource group, and cannot have a location"
            self.fail(location.span, message, hint="remove it: a resource group has its own")

    # What they are to each other.

    def together(self) -> None:
        deployed = [one for one in self.resources.all if one.deployed is True and one.name is not None]
        seen: dict[str, Instance] = {}
        for one in deployed:
            key = f"{one.id or ''}|{one.kind}|{one.name}".casefold()
            if key in seen:
                line = seen[key].node.span.line
                message = f"the resource '{shorten(one.name or '')}' is there twice (first in line {line})"
                if one.node.span == seen[key].node.span:
                    message = f"each turn of the loop makes the same resource, '{shorten(one.name or '')}'"
                hint = "give each a name of its own; in a loop with copyIndex()"
                self.fail(one.node.span, message, hint=hint)
            seen.setdefault(key, one)
        self._circles(deployed)
        self._loops()

    def _loops(self) -> None:
        """With symbolic names ARM refuses two loops of one name; without them they are only hard to tell apart."""
        names: dict[str, Node] = {}
        resources = self.scope.root.find("resources")
        for _, node in declared(resources):
            copy = node.find("copy")
            loop = copies.loop_of(copy) if copy is not None else None
            if copy is None or loop is None or is_expression(loop.name):
                continue
            if loop.name.casefold() in names:
                line = names[loop.name.casefold()].span.line
                message = f"two loops are called '{shorten(loop.name)}' (the other one in line {line})"
                hint = "give each a name of its own: dependsOn and copyIndex() call loops by their names"
                tell = (
                    self.scope.findings.error
                    if resources is not None and resources.members
                    else self.scope.findings.warning
                )
                tell(_ID, copy.span, message, hint=hint)
            names[loop.name.casefold()] = copy

    def _circles(self, deployed: list[Instance]) -> None:
        known: dict[str, list[Instance]] = {}
        for one in deployed:
            for handle in handles(one):
                known.setdefault(handle.casefold(), []).append(one)
        after = {id(one): [other for target in targets(one) for other in known.get(target, ())] for one in deployed}
        told: set[int] = set()
        finished: set[int] = set()
        for one in deployed:
            way = _circle(one, after, finished)
            if way and id(way[0]) not in told:
                told.update(id(each) for each in way)
                names = " -> ".join(shorten(each.name or "?", 60) for each in (*way, way[0]))
                depends = way[0].node.find("dependsOn")
                span = depends.span if depends is not None else way[0].node.span
                self.fail(span, f"dependsOn goes round in a circle: {names}", hint="remove one of them")


def _circle(start: Instance, after: Mapping[int, list[Instance]], finished: set[int]) -> list[Instance]:
    """The circle that is reached from there first, or nothing. finished: those that lead to none."""
    way: list[Instance] = []
    on_way: set[int] = set()
    open_: list[tuple[Instance, Iterator[Instance]]] = (
        [(start, iter(after[id(start)]))] if id(start) not in finished else []
    )
    for one, _ in open_:
        way.append(one)
        on_way.add(id(one))
    while open_:
        current, rest = open_[-1]
        following = next(rest, None)
        if following is None:
            open_.pop()
            way.pop()
            on_way.discard(id(current))
            finished.add(id(current))
        elif id(following) in on_way:
            numbers = [number for number, each in enumerate(way) if each is following]
            finished.update(id(each) for each in way)
            return way[numbers[0] :]
        elif id(following) not in finished:
            way.append(following)
            on_way.add(id(following))
            open_.append((following, iter(after.get(id(following), ()))))
    return []


def handles(instance: Instance) -> Iterator[str]:
    """What dependsOn may call a resource."""
    loop = instance.node_as_written.find("copy")
    yield from (
        name
        for name in (
            instance.name, instance.id, instance.symbol, instance.symbol.partition("[")[0],
            f"{instance.kind}/{instance.name}", loop.text("name") if loop is not None else "",
            instance.text("name") if instance.parent is not None else "",
        )
        if name
    )  # fmt: skip


def targets(instance: Instance) -> Iterator[str]:
    """What a resource depends on, in lower case, as it is written there."""
    depends = instance.body.find("dependsOn")
    for item in depends.items if depends is not None else ():
        if item.kind is NodeKind.STRING:
            yield str(item.value).casefold().rstrip("/")


def _called(node: Node) -> str:
    """How messages call a resource."""
    name = node.text("name")
    return f"the resource '{shorten(name, 60)}'" if name else "the resource"
