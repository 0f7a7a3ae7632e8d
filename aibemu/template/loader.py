"""A file becomes a Template, or a list of everything that is wrong with it.

read -> (evaluate) -> find the resource -> mark what is unresolved -> validate -> rules -> assemble
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aibemu.errors import UsageError
from aibemu.template import rules
from aibemu.template.assembly import Origin, assemble
from aibemu.template.diagnostics import Diagnostic, TemplateInvalid
from aibemu.template.documents import ARM_FIELDS_OF_BARE, Found, find_resource, name_from_file, rename, syntax_of
from aibemu.template.findings import Findings, closest, shorten
from aibemu.template.model import Template
from aibemu.template.nodes import Kind, Node
from aibemu.template.reader import Document, read
from aibemu.template.spec import IMAGE_TEMPLATE, NEWEST, OLDEST_ACCEPTED, STRICT_SINCE, VERSIONS
from aibemu.template.unresolved import Marker
from aibemu.template.validator import Spot, Validator
from aibemu.template.view import View

# ARM itself takes 4 MB.
MAX_BYTES = 8 * 1024 * 1024

Evaluate = Callable[[Node], Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A valid template; diagnostics are its warnings and notes, in the order of the file."""

    template: Template
    diagnostics: tuple[Diagnostic, ...]


def load(
    path: Path,
    *,
    name: str | None = None,
    known_kinds: frozenset[str],
    api_version: str | None = None,
    evaluate: Evaluate | None = None,
) -> Loaded:
    """Read and check a template file.

    name: which image template of a deployment, or the name of a bare body. known_kinds: customizers that can be run.
    api_version: judge by this one. evaluate: makes a document without expressions of one with them.
    Raises TemplateInvalid with all findings when one is an error, UsageError when the file cannot be read at all.
    """
    if api_version is not None:
        _check_option(api_version)
    return load_text(
        read_text(path), path, name=name, known_kinds=known_kinds, api_version=api_version, evaluate=evaluate
    )


def load_text(
    text: str,
    path: Path,
    *,
    name: str | None = None,
    known_kinds: frozenset[str],
    api_version: str | None = None,
    evaluate: Evaluate | None = None,
) -> Loaded:
    """Like `load`, for text that has been read already; `path` gives the places and the folder."""
    findings = Findings()
    document = read(text, str(path))
    findings.extend(document.diagnostics)
    found = _find(document, findings, name=name, evaluate=evaluate)
    if found is None:
        raise TemplateInvalid(findings.sorted())
    if found.bare:
        found = _complete(found, document, findings, path=path, name=name)
    marker = Marker(syntax_of(found, evaluated=evaluate is not None))
    resource = marker.mark(found.resource)
    version = _version(marker.mark(found.version) if found.version else None, found, findings, api_version)
    marker.report(findings)
    checked = Validator(version, known_kinds, findings).check(
        resource, IMAGE_TEMPLATE, Spot(path=IMAGE_TEMPLATE.name, name="")
    )
    view = View(checked, IMAGE_TEMPLATE.name)
    rules.apply(view, rules.Context(version=version, kinds=known_kinds, findings=findings))
    if findings.failed:
        raise TemplateInvalid(findings.sorted())
    origin = Origin(file=str(path), directory=str(path.absolute().parent), version=version)
    return Loaded(template=assemble(view, origin), diagnostics=findings.sorted())


def read_text(path: Path) -> str:
    """The text of a template file. Raises UsageError, saying what the file is instead."""
    if path.suffix.casefold() in (".bicep", ".bicepparam"):
        raise UsageError(
            f"{path} is Bicep: a later version of aibemu reads it, this one reads the JSON that Bicep compiles to",
            hint=f"compile it first: `bicep build {path}` or `az bicep build --file {path}`",
        )
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, not a template", hint="name the template file in it") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error}") from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES // 1024 // 1024} MiB, and no template is")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UsageError(
            f"{path} is UTF-16, not UTF-8", hint="save it as UTF-8 (PowerShell: Set-Content -Encoding utf8)"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path} is not UTF-8 text (line {line})", hint="save it as UTF-8") from None


def _find(
    document: Document, findings: Findings, *, name: str | None, evaluate: Evaluate | None
) -> Found | None:  # fmt: skip
    """The resource in a document whose shape can be trusted."""
    if document.root is None or not document.reliable:
        return None
    root = evaluate(document.root) if evaluate else document.root
    if root.kind is Kind.UNKNOWN:
        return None
    return find_resource(root, findings, name=name)


def _complete(found: Found, document: Document, findings: Findings, *, path: Path, name: str | None) -> Found:
    """A bare body: its name comes from the command line or the file when it has none; and what is odd about it."""
    resource = found.resource
    if name is not None:
        resource = rename(resource, name, resource.span)
    elif resource.find("name") is None:
        name = name_from_file(path.stem)
        resource = rename(resource, name, resource.span)
        findings.note(
            "T03", resource.span, f"the template has no name: '{name}' is used", hint="choose one with --name"
        )
    if document.comment:
        message = "comments: fine for aibemu and in deployments; `az image builder create` refuses a body with them"
        findings.warning("W09", document.comment, message)
    for key in ARM_FIELDS_OF_BARE:
        member = resource.members.get(key)
        if member:
            findings.note("W05", member.key_span, _for_arm(key), path=IMAGE_TEMPLATE.name)
    return Found(resource=resource.without(*ARM_FIELDS_OF_BARE), version=found.version, bare=True)


def _for_arm(key: str) -> str:
    """`az image builder create` sends only location, tags, identity and properties of a body; az rest sends all."""
    use = "aibemu judges by it" if key == "apiVersion" else "aibemu does not need it"
    return (
        f"'{key}' in a bare body is no field of the service: {use}, `az image builder create` does not send it; "
        f"sent as it is (az rest), it is ignored before api version {STRICT_SINCE} and refused since"
    )


def _version(node: Node | None, found: Found, findings: Findings, option: str | None) -> str:
    """The API version to judge by; an unknown one is an error, and the newest is used to go on."""
    root = found.resource.span
    if option is not None:
        return option
    if node is None or node.kind is Kind.NULL:
        if found.bare:
            message = f"the template does not say its api version: {NEWEST} is used"
            findings.note("T04", root, message, hint="choose one with --api-version")
        else:
            findings.error("S02", root, "Missing field 'apiVersion'", hint=f'write "apiVersion": "{NEWEST}"')
        return NEWEST
    return _known_version(node, findings)


def _known_version(node: Node, findings: Findings) -> str:
    if node.kind is Kind.UNKNOWN:
        findings.note("T04", node.span, f"the api version is not known yet: {NEWEST} is used")
        return NEWEST
    text = str(node.value).lower()
    if text not in VERSIONS:
        near = closest(text, VERSIONS)
        message = f"there is no api version '{shorten(str(node.value))}' of image templates"
        hint = f"did you mean {near}? There are {', '.join(VERSIONS)}" if near else f"there are {', '.join(VERSIONS)}"
        findings.error("T05", node.span, message, hint=hint)
        return NEWEST
    if text < OLDEST_ACCEPTED:
        message = f"the service refuses api version {text} since May 2020"
        findings.error("T05", node.span, message, hint=f"use {NEWEST}")
    return text


def _check_option(version: str) -> None:
    if version not in VERSIONS or version < OLDEST_ACCEPTED:
        usable = [known for known in VERSIONS if known >= OLDEST_ACCEPTED]
        near = closest(version, usable)
        raise UsageError(
            f"--api-version {shorten(version)}: there is no such api version of image templates",
            hint=(f"did you mean {near}? " if near else "") + f"There are {', '.join(usable)}",
        )
