"""Does Azure's own template engine say the same as ours of this template? The user's Bicep CLI has that engine
(`bicep snapshot`): it is asked, and what differs is told.

The engine looks nothing up. What only Azure knows it leaves as text (`[reference(...)]`), and so it does with the time,
new GUIDs, environment() and secure parameters: there anything goes. It drops metadata and what is null of a resource.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.arm.evaluate.deployment import evaluate, open_template
from aibemu.arm.evaluate.work import ONLY_AZURE_KNOWS
from aibemu.arm.findings import Findings
from aibemu.arm.nodes import Json, Node, NodeKind
from aibemu.arm.places import Places
from aibemu.arm.reader import read
from aibemu.errors import HostNotReady, UsageError
from aibemu.files import write_private
from aibemu.processes import Finished, run_tool
from aibemu.reading import read_text
from aibemu.records import parse_json
from aibemu.submission.bicep_said import understand
from aibemu.submission.compilations import NO_NETWORK
from aibemu.submission.source import read_source
from aibemu.template.documents import is_deployment

if TYPE_CHECKING:
    from aibemu.arm.evaluate.deployment_scope import DeploymentScope
    from aibemu.arm.evaluate.resources import Instance
    from aibemu.arm.expressions.surroundings import Surroundings
    from aibemu.clock import Clock, Deadline
    from aibemu.paths import Home
    from aibemu.settings import Settings
    from aibemu.submission.request import TemplateRequest

TIMEOUT = 120.0
# Members that are told apart from the body, or that the engine works out itself.
_NOT_COMPARED = {"id", "type", "name", "dependson", "condition", "scope", "metadata"}
_UNKNOWN = "(not known: only Azure has it)"
# Beside the errors, the CLI says that there were some.
_SUMMARY = "Failed to generate snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """where: an id, or `output NAME`, with the path in it; "" for the whole template. azure, aibemu: plain values, or
    as a sentence what one says of it."""

    where: str
    azure: Json
    aibemu: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """bicep: the version of the CLI. resources, outputs: how many were compared. open: how many values the engine, or
    aibemu, leaves to Azure. refused: why both refuse the template; "" for what is compared. secrets: values never to be
    shown."""

    bicep: str
    resources: int
    outputs: int
    open: int
    differences: Sequence[Difference]
    refused: str
    secrets: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the engine says: resources and outputs, or why it refuses the template."""

    resources: Sequence[Mapping[str, Json]] = ()
    outputs: Mapping[str, Json] | None = None
    refused: str = ""


def compare(
    request: TemplateRequest, *, home: Home, settings: Settings, clock: Clock, deadline: Deadline
) -> Comparison:  # fmt: skip
    """Ask both. Raises HostNotReady without a `bicep` that has `snapshot`, UsageError for what is no deployment
    template, TemplateInvalid for what is not JSON or Bicep, and what `deadline` raises."""
    program = _program()
    source = read_source(request, home=home, settings=settings, clock=clock, deadline=deadline)
    root = read(source.text, source.file).root
    around = source.inputs.surroundings
    if root is None or around is None or not is_deployment(root):
        raise UsageError(
            f"{request.document.name} is no deployment template: there is nothing to evaluate in it",
            hint="give a template that has $schema and resources, or Bicep",
        )
    findings = Findings(source.file)
    places = Places({**source.inputs.texts, source.file: source.text})
    scope = open_template(root, findings, places, around, source.inputs.given)
    evaluate(scope)
    values = {given.name: _given(scope, given.name, given.node) for given in source.inputs.given.values()}
    told = ask(program, source.text, values, around, root.text("$schema") or "", deadline)
    errors = [one for one in findings.sorted() if one.severity is Severity.ERROR and one.id != ONLY_AZURE_KNOWS]
    judge = Judge()
    judge.all(scope, told, errors)
    version = run_tool([program, "--version"], deadline=deadline, seconds=TIMEOUT).stdout.strip()
    return Comparison(
        bicep=version, resources=judge.resources, outputs=judge.outputs, open=judge.open,
        differences=judge.found, refused=judge.refused, secrets=frozenset(scope.work.secrets),
    )  # fmt: skip


def _program() -> str:
    if program := shutil.which("bicep"):
        return program
    raise HostNotReady(
        "there is no `bicep` on PATH, which has Azure's own template engine in it",
        hint="install the Bicep CLI (`az bicep` has no snapshot), and put it on PATH",
    )


def _given(scope: DeploymentScope, name: str, node: Node) -> Json:
    """A parameter as the template has it: text of a command line is read as its type."""
    from aibemu.arm.expressions.errors import ExpressionError

    try:
        found = scope.parameter(name)
    except ExpressionError:
        return node.plain()
    return node.plain() if found.kind is NodeKind.UNKNOWN else found.plain()


def ask(
    program: str, text: str, values: Mapping[str, Json], around: Surroundings, schema: str, deadline: Deadline
) -> Prediction:  # fmt: skip
    """What the engine in `program` says of the template `text` with these values of its parameters."""
    lines = ["using './main.json'", *(f"param {name} = {as_bicep(value)}" for name, value in values.items())]
    with tempfile.TemporaryDirectory(prefix="aibemu-evaluator-") as name:
        folder = Path(name)
        write_private(folder / "main.json", text.encode())
        write_private(folder / "main.bicepparam", "\n".join([*lines, ""]).encode())
        command = [program, "snapshot", str(folder / "main.bicepparam"), *_context(around, schema)]
        done = run_tool(command, deadline=deadline, check=False, seconds=TIMEOUT, env={**os.environ, **NO_NETWORK})
        if done.status != 0:
            return Prediction(refused=_refusal(done, folder))
        try:
            answer = parse_json(read_text(folder / "main.snapshot.json", encoding="utf-8-sig"))
            return Prediction(resources=answer["predictedResources"], outputs=answer.get("outputs") or {})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise HostNotReady(f"`bicep snapshot` ended without a prediction: {error}") from None


def _context(around: Surroundings, schema: str) -> list[str]:
    """The engine refuses what a deployment of that scope has not."""
    words = [
        "--tenant-id",
        around.tenant_id,
        "--deployment-name",
        around.deployment_name,
        "--location",
        around.location,
    ]
    if "subscriptiondeploymenttemplate" in schema.casefold():
        return [*words, "--subscription-id", around.subscription_id]
    if "managementgroupdeploymenttemplate" in schema.casefold():
        return [*words, "--management-group-id", around.management_group]
    if "tenantdeploymenttemplate" in schema.casefold():
        return words
    words[-2:] = []
    return [
        *words, "--subscription-id", around.subscription_id, "--resource-group", around.resource_group,
        "--location", around.location,
    ]  # fmt: skip


def _refusal(done: Finished, folder: Path) -> str:
    """The engine's own words. Raises HostNotReady for a program that does not know what it is asked."""
    speech = understand(done.stderr)
    words = [said.message for said in speech.placed if said.severity is Severity.ERROR]
    words += [line for line in speech.first if not (words and line.startswith(_SUMMARY))]
    if any("'snapshot'" in line and "Unrecognized" in line for line in words) or not words:
        raise HostNotReady(
            "this `bicep` has no `snapshot`, and so no template engine that can be asked", details=words[:5],
            hint="install a newer Bicep CLI (0.41 or later)",
        )  # fmt: skip
    if words[0].startswith("Unhandled exception"):
        raise HostNotReady("`bicep snapshot` crashed", details=words[:5])
    return "; ".join(words[:3]).replace(f"{folder}/", "")


def as_bicep(value: Json) -> str:
    """A value as Bicep writes it."""
    if isinstance(value, str):
        text = value.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\${")
        return "'" + "".join(sign if sign >= " " else f"\\u{{{ord(sign):x}}}" for sign in text) + "'"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{as_bicep(str(key))}: {as_bicep(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_bicep, value)) + "]"
    return f"json('{json.dumps(value)}')" if isinstance(value, float) else json.dumps(value)


def is_left(value: Json) -> bool:
    """True for what the engine leaves to Azure."""
    return isinstance(value, str) and value.startswith("[") and value.endswith("]") and not value.startswith("[[")


def _holds_left(value: Json) -> bool:
    if isinstance(value, dict):
        return any(is_left(key) or _holds_left(item) for key, item in value.items())
    return any(map(_holds_left, value)) if isinstance(value, list) else is_left(value)


class Judge:
    """Compares, and counts. refused: why both refuse the template, in our words."""

    def __init__(self) -> None:
        self.resources = self.outputs = self.open = 0
        self.refused = ""
        self.found: list[Difference] = []

    def all(self, scope: DeploymentScope, told: Prediction, errors: Sequence[Diagnostic]) -> None:
        """Compare a template that was evaluated. errors: what of it aibemu refuses."""
        refused = "; ".join(f"{one.message} ({one.id})" for one in errors[:3])
        if told.refused or refused:
            if told.refused and refused:
                self.refused = refused
            else:
                self.found.append(Difference(where="", azure=told.refused or "accepted", aibemu=refused or "accepted"))
            return
        mine: dict[str, list[Instance]] = {}
        for one in scope.resources.everywhere:
            if one.deployed is not False:
                mine.setdefault((one.id or "").casefold(), []).append(one)
        for wanted in told.resources:
            self._resource(wanted, mine)
        outputs = {name.casefold(): output.value for name, output in scope.outputs().items()}
        for name, value in (told.outputs or {}).items():
            self.outputs += 1
            self.found += self._value(value, outputs.get(name.casefold()), f"output {name}")

    def _resource(self, wanted: Mapping[str, Json], mine: Mapping[str, Sequence[Instance]]) -> None:
        id_ = str(wanted.get("id"))
        if is_left(id_):
            self.open += 1
            return
        self.resources += 1
        # Some templates write a resource twice.
        tried = [list(self._body(wanted, one, id_)) for one in mine.get(id_.casefold(), ())]
        missing = [Difference(where=id_, azure="deployed", aibemu="not deployed")]
        nearest: list[Difference] = min(tried, key=len) if tried else missing
        self.found += nearest

    def _body(self, wanted: Mapping[str, Json], one: Instance, id_: str) -> Iterator[Difference]:
        body = {key: value for key, value in wanted.items() if key.casefold() not in _NOT_COMPARED}
        members = {
            key: member for key, member in one.body.members.items()
            if member.value.kind is not NodeKind.NULL and key.casefold() not in _NOT_COMPARED
        }  # fmt: skip
        yield from self._object(body, Node(NodeKind.OBJECT, one.body.span, members=members), id_)

    def _value(self, wanted: Json, found: Node | None, where: str) -> Iterator[Difference]:
        unknown = found is not None and found.kind is NodeKind.UNKNOWN
        if is_left(wanted) or (unknown and _holds_left(wanted)):
            self.open += 1
        elif unknown:
            yield Difference(where=where, azure=wanted, aibemu=_UNKNOWN)
        elif isinstance(wanted, dict) and found is not None and found.kind is NodeKind.OBJECT:
            yield from self._object(wanted, found, where)
        elif isinstance(wanted, list) and found is not None and len(found.items) == len(wanted):
            for number, item in enumerate(wanted):
                yield from self._value(item, found.items[number], f"{where}[{number}]")
        elif found is None or json.dumps(wanted) != json.dumps(found.plain()):
            yield Difference(where=where, azure=wanted, aibemu=None if found is None else found.shown())

    def _object(self, wanted: Mapping[str, Json], found: Node, where: str) -> Iterator[Difference]:
        known = {key.casefold(): (key, value) for key, value in wanted.items() if not is_left(key)}
        self.open += len(wanted) - len(known)
        for key, value in known.values():
            yield from self._value(value, found.find(key), f"{where}.{key}")
        if len(known) == len(wanted):
            for key, member in found.members.items():
                if key.casefold() not in known:
                    yield Difference(where=f"{where}.{key}", azure=None, aibemu=member.value.shown())


def as_data(comparison: Comparison) -> dict[str, Any]:
    """For programs: {bicep, agrees, resources, outputs, open, differences: [{where, azure, aibemu}]}."""
    return {
        "bicep": comparison.bicep, "agrees": not comparison.differences, "resources": comparison.resources,
        "outputs": comparison.outputs, "open": comparison.open, "refused": comparison.refused or None,
        "differences": [
            {"where": one.where, "azure": one.azure, "aibemu": one.aibemu} for one in comparison.differences
        ],
    }  # fmt: skip
