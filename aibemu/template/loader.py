"""A file becomes a Template, or a list of everything that is wrong with it.

`understand`: read -> fill placeholders -> evaluate -> find the resource -> mark what is unresolved -> validate
`judge`: the rules. `assemble`: the Template, when there is no error. `load` does all three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aibemu.arm.diagnostics import Diagnostic, TemplateInvalid
from aibemu.arm.findings import Findings, listed
from aibemu.arm.nodes import Json, Node, NodeKind
from aibemu.arm.places import Places
from aibemu.arm.reader import Document, read
from aibemu.errors import UsageError
from aibemu.reading import Unfit, in_words, read_bytes
from aibemu.template import rules
from aibemu.template.api_versions import check_option, version_of
from aibemu.template.assembly import Origin, assemble
from aibemu.template.az_body import note_dropped
from aibemu.template.documents import (
    ARM_FIELDS_OF_BARE,
    TYPE,
    Found,
    from_body,
    from_deployment,
    is_deployment,
    name_from_file,
    rename,
)
from aibemu.template.guessed import check_by_all
from aibemu.template.model import Template
from aibemu.template.remote import Files
from aibemu.template.spec import IMAGE_TEMPLATE, NEWEST, STRICT_SINCE
from aibemu.template.unresolved import Marker, Syntax, fill
from aibemu.template.validator import FieldPlace, Validator
from aibemu.template.view import NodeView

if TYPE_CHECKING:
    from aibemu.arm.evaluate.deployment import Evaluated
    from aibemu.arm.evaluate.parameters import Given
    from aibemu.arm.expressions.surroundings import Surroundings

# ARM itself takes 4 MB.
MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What goes into a template besides its file.

    name: which image template of a deployment, or the name of a bare body. api_version: judge by this one. given:
    values of parameters by name in lower case; placeholders: values for `<NAME>`, by NAME. texts: of the other files
    that values come from, by the name that their spans carry. surroundings: the Azure around; None for local defaults.
    targets: distributors of plugins.
    """

    name: str | None = None
    api_version: str | None = None
    given: Mapping[str, Given] = field(default_factory=dict)
    placeholders: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    surroundings: Surroundings | None = None
    targets: frozenset[str] = frozenset()


class OutputValue(NamedTuple):
    """An output of the deployment: its declared type and plain value, None when it is secure or not known yet."""

    type: str
    value: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A file, read and checked against the schema. resource: None when there is nothing to judge. directory: the
    folder that relative names in it start from."""

    path: Path
    directory: Path
    version: str
    resource: NodeView | None
    findings: Findings
    places: Places
    outputs: Mapping[str, OutputValue] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    beside: tuple[rules.Beside, ...] = ()

    def context(
        self, known_kinds: frozenset[str], *, build: bool = True, files: Files | None = None, wrapper: str = "old",
        now: datetime | None = None,
    ) -> rules.RuleContext:  # fmt: skip
        """What rules get besides the resource. files: what is known of scripts and files; wrapper: the setting
        powershell_wrapper; now: the time."""
        return rules.RuleContext(
            version=self.version, kinds=known_kinds, findings=self.findings, build=build, files=files or {},
            places=self.places, wrapper=wrapper, now=now, beside=self.beside,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A valid template; diagnostics are its warnings and notes, in the order of the file. secrets: values of secure
    parameters, never to be shown."""

    template: Template
    diagnostics: tuple[Diagnostic, ...]
    outputs: Mapping[str, OutputValue] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()


def load(
    path: Path,
    *,
    name: str | None = None,
    known_kinds: frozenset[str],
    api_version: str | None = None,
    inputs: Inputs | None = None,
    build: bool = True,
) -> Loaded:
    """Read and check a template file.

    known_kinds: customizers that can be run. name and api_version win over those of `inputs`. build: it is to be built.
    Raises TemplateInvalid with all findings when one is an error, UsageError when the file cannot be read at all.
    """
    inputs = inputs or Inputs()
    inputs = replace(inputs, name=name or inputs.name, api_version=api_version or inputs.api_version)
    return load_text(read_text(path), path, known_kinds=known_kinds, inputs=inputs, build=build)


def load_text(
    text: str, path: Path, *, known_kinds: frozenset[str], inputs: Inputs | None = None, build: bool = True
) -> Loaded:
    """Like `load`, for text that has been read already; `path` gives the places and the folder."""
    understood = understand(text, path, inputs or Inputs(), known_kinds)
    judge(understood, known_kinds, build=build)
    return finish(understood)


def understand(
    text: str, path: Path, inputs: Inputs, known_kinds: frozenset[str], *, file: str | None = None,
    directory: Path | None = None,
) -> Understood:  # fmt: skip
    """Everything up to the schema. file: what places name, if not `path`. directory: that of `path`, unless given.
    Raises UsageError for a bad api_version."""
    if inputs.api_version is not None:
        check_option(inputs.api_version)
    file = file or str(path)
    findings = Findings(file)
    places = Places({**inputs.texts, file: text})
    document = read(text, file, inputs.placeholders)
    findings.extend(document.diagnostics)
    root = _filled(document, findings, inputs)
    directory = directory or path.absolute().parent
    nothing = Understood(
        path=path, directory=directory, version=NEWEST, resource=None, findings=findings, places=places
    )  # fmt: skip
    if root is None:
        return nothing
    if is_deployment(root):
        evaluated = _evaluate(root, findings, places, inputs)
        found = from_deployment(evaluated, root, findings, inputs.name) if evaluated.readable else None
        nothing = replace(
            nothing, secrets=evaluated.secrets, outputs=_plain_outputs(evaluated), beside=_beside(evaluated, found)
        )  # fmt: skip
    else:
        found = _complete(from_body(root, findings), document, findings, path=path, inputs=inputs)
    return replace(nothing, **_checked(found, findings, inputs, known_kinds)) if found else nothing


def _checked(found: Found, findings: Findings, inputs: Inputs, known_kinds: frozenset[str]) -> dict[str, Json]:
    """The resource against the schema of its version: `version` and `resource` of an Understood."""
    marker = Marker(Syntax.BARE if found.bare else Syntax.LITERAL)
    resource = marker.mark(found.resource)
    said = marker.mark(found.version) if found.version else None
    version = inputs.api_version or version_of(said, findings, bare=found.bare, span=found.resource.span)
    marker.report(findings)
    if inputs.api_version is None and said is not None and said.kind is NodeKind.UNKNOWN:
        checked = check_by_all(resource, known_kinds, inputs.targets, findings)
    else:
        checked = Validator(version, known_kinds, findings, inputs.targets).check(
            resource, IMAGE_TEMPLATE, FieldPlace(path=IMAGE_TEMPLATE.name, name="")
        )
    return {"version": version, "resource": NodeView(checked, IMAGE_TEMPLATE.name)}


def judge(
    understood: Understood, known_kinds: frozenset[str], *, build: bool = True, files: Files | None = None,
    wrapper: str = "old", now: datetime | None = None,
) -> None:  # fmt: skip
    """Apply the rules; findings go to those of `understood`. The rest as for `Understood.context`."""
    if understood.resource is not None:
        context = understood.context(known_kinds, build=build, files=files, wrapper=wrapper, now=now)
        rules.apply(understood.resource, context)


def finish(understood: Understood) -> Loaded:
    """The Template. Raises TemplateInvalid when there is an error."""
    diagnostics = understood.findings.sorted()
    if understood.findings.failed or understood.resource is None:
        raise TemplateInvalid(diagnostics, understood.secrets)
    origin = Origin(file=str(understood.path), directory=str(understood.directory), version=understood.version)
    return Loaded(
        template=assemble(understood.resource, origin), diagnostics=diagnostics, outputs=understood.outputs,
        secrets=understood.secrets,
    )  # fmt: skip


def read_text(path: Path, folder: Path = Path(), *, pipe: bool = True, what: str = "template") -> str:
    """The text of a template file, or of another one (`what` it is to be), a name that starts from `folder`; with
    `pipe` it may be that of a pipe. Raises UsageError, saying what the file is instead."""
    try:
        data = read_bytes(Path(folder, path), limit=MAX_BYTES, pipe=pipe)
    except Unfit as error:
        hint = _instead(Path(folder, path), what)
        raise UsageError(f"{path} {error.strerror}: it is no {what}", hint=hint) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error}") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UsageError(
            f"{path} is UTF-16, not UTF-8", hint="save it as UTF-8 (PowerShell: Set-Content -Encoding utf8)"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path} is not UTF-8 text (line {line})", hint="save it as UTF-8") from None


def _instead(path: Path, what: str) -> str:
    """What to do when `path` is there, and is not read."""
    if path.is_dir():
        return "name the template file in it" if what == "template" else "name a file in it"
    if path.is_file():
        return f"name a smaller file: a {what} of {in_words(MAX_BYTES)} at most is read"
    if path.is_fifo():
        return f"start what writes to the pipe first; it must write at most {in_words(MAX_BYTES)}, and then close it"
    return f"name a file that holds the {what}; what a command prints can be given as <(COMMAND)"


def _filled(document: Document, findings: Findings, inputs: Inputs) -> Node | None:
    """The document with its placeholders filled, when its shape can be trusted."""
    if document.root is None or not document.reliable or document.root.kind is NodeKind.UNKNOWN:
        return None
    if not inputs.placeholders:
        return document.root
    root, used = fill(document.root, inputs.placeholders)
    for name in inputs.placeholders:
        if name not in used | document.used:
            message = f"--set {name}: there is no placeholder <{name}> in the file"
            findings.warning("E08", document.root.span, message)
    return root


def _evaluate(root: Node, findings: Findings, places: Places, inputs: Inputs) -> Evaluated:
    """What a deployment template would deploy. The evaluator is imported only for one."""
    from aibemu.arm.evaluate.deployment import evaluate, open_template
    from aibemu.arm.expressions.surroundings import Surroundings

    around = inputs.surroundings or Surroundings()
    return evaluate(open_template(root, findings, places, around, inputs.given))


def _plain_outputs(evaluated: Evaluated) -> dict[str, OutputValue]:
    return {
        name: OutputValue(output.type, None if output.secure else output.value.shown())
        for name, output in evaluated.outputs.items()
    }


def _beside(evaluated: Evaluated, found: Found | None) -> tuple[rules.Beside, ...]:
    """What rules look at of the rest of the deployment: other resources, and the image templates that are not meant."""
    others = tuple(
        rules.Beside(type=one.kind.casefold(), name=one.name or "", id=one.id or "", node=one.body)
        for one in evaluated.others
        if one.kind.casefold() in rules.BESIDE
    )
    rest = (one for one in evaluated.resources if found and one.span != found.resource.span)
    return (
        *others, *(rules.Beside(type=TYPE.casefold(), name=one.text("name") or "", id="", node=one) for one in rest)
    )  # fmt: skip


def _complete(
    found: Found | None, document: Document, findings: Findings, *, path: Path, inputs: Inputs
) -> Found | None:  # fmt: skip
    """A bare body: its name comes from the command line or the file when it has none; and what is odd about it."""
    if found is None:
        return None
    resource = found.resource
    if inputs.name is not None:
        resource = rename(resource, inputs.name, resource.span)
    elif resource.find("name") is None:
        name = name_from_file(path.stem)
        resource = rename(resource, name, resource.span)
        findings.note(
            "T03", resource.span, f"the template has no name: '{name}' is used", hint="choose one with --name"
        )
    if inputs.given:
        first = next(iter(inputs.given.values()))
        names = listed((given.name for given in inputs.given.values()), "and")
        message = f"this is the body of a resource, and takes no parameters; given: {names}"
        findings.error("X06", first.span, message, hint="only a deployment template has parameters")
    if document.comment:
        message = "comments: fine for aibemu and in deployments; `az image builder create` refuses a body with them"
        findings.warning("W09", document.comment, message)
    for key in ARM_FIELDS_OF_BARE:
        member = resource.members.get(key)
        if member:
            findings.note("W05", member.key_span, _for_arm(key), path=IMAGE_TEMPLATE.name)
    body = resource.without(*ARM_FIELDS_OF_BARE)
    if found.version is None and inputs.api_version is None:
        note_dropped(body, findings)
    return Found(resource=body, version=found.version, bare=True)


def _for_arm(key: str) -> str:
    """`az image builder create` sends only location, tags, identity and properties of a body; az rest sends all."""
    use = "aibemu uses it to choose the rules" if key == "apiVersion" else "aibemu does not need it"
    return (
        f"'{key}' is not a field of the template body: {use}, `az image builder create` drops it, `az rest` sends it, "
        f"and the service ignores it before api version {STRICT_SINCE} and refuses it since"
    )
