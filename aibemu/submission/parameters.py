"""`--parameters`, `--set` and `--supply`, as typed, to values with places.

The forms of `--parameters` are those of az: a parameters file, `NAME=VALUE`, `NAME=@FILE`, or a JSON object.

What is malformed is not repeated in an error: it may be a secret that stands in the wrong place, and nobody knows yet
which values are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from aibemu.arm.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.arm.evaluate.parameters import Given
from aibemu.arm.expressions.surroundings import key_of
from aibemu.arm.findings import shorten
from aibemu.arm.nodes import Json, Member, Node, NodeKind
from aibemu.arm.reader import read
from aibemu.errors import Span, UsageError
from aibemu.records import parse_json
from aibemu.redact import SHORTEST_LINE
from aibemu.template.loader import read_text
from aibemu.text import nth

COMMAND_LINE = "--parameters"
_ASSIGNMENT = re.compile(r"([A-Za-z_][\w-]*)=(.*)", re.DOTALL)
# What a parameters file is called.
_FILES = (".json", ".jsonc", ".bicepparam")
# What a message of the reader repeats of the text.
_QUOTED = re.compile(r"`[^`]*`|\"[^\"]*\"")
_SUPPLIED = re.compile(r"\s*([A-Za-z]+)\s*\(\s*'([^']+)'[^)]*\)\s*=(.*)", re.DOTALL)


@dataclass(slots=True, kw_only=True)
class Values:
    """given: by name in lower case. texts: of the files they come from, by the name in their spans."""

    given: dict[str, Given] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def take(self, given: Given) -> None:
        """A later value of the same name wins."""
        self.given[given.name.casefold()] = given


def read_parameters(argument: str, values: Values, folder: Path) -> None:
    """Read one argument; names of files start from `folder`.

    Raises UsageError for what cannot be read, TemplateInvalid for a file that is not JSON."""
    if argument.lstrip().startswith("{"):
        read_document(argument, COMMAND_LINE, values)
    elif match := _ASSIGNMENT.fullmatch(argument):
        _assignment(match.group(1), match.group(2), values, folder)
    else:
        path = Path(argument.removeprefix("@"))
        shown = str(path) if path.suffix.casefold() in _FILES and "=" not in argument else "a value"
        read_document(_text(path, shown, folder, "parameters file"), str(path), values)


def _assignment(name: str, text: str, values: Values, folder: Path) -> None:
    span = Span(file=COMMAND_LINE, line=1, column=1)
    if text.startswith("@"):
        path = Path(text[1:])
        text = _text(path, f"{name}=@FILE", folder, f"value for {name}")
        span = Span(file=str(path), line=1, column=1)
    values.take(Given(name=name, span=span, node=Node(NodeKind.STRING, span, text), raw=True))


def _text(path: Path, shown: str, folder: Path, what: str) -> str:
    try:
        there = Path(folder, path).exists()
    except (OSError, ValueError):  # too long for a name, or with a NUL in it
        there = False
    if not there:
        raise UsageError(
            f"--parameters {shorten(shown)}: there is no such file",
            hint="a parameter is given as NAME=VALUE, a parameters file by its path",
        )
    return read_text(path, folder, what=what)


def read_document(text: str, file: str, values: Values) -> None:
    """Read a parameters file; `file` is how its places are called."""
    values.texts[file] = text
    document = read(text, file)
    errors = [found for found in document.diagnostics if found.severity is Severity.ERROR]
    if errors or document.root is None:
        raise _invalid(file, [_without_values(found) for found in document.diagnostics])
    root = document.root
    holder = root.find("parameters") or root
    if root.kind is not NodeKind.OBJECT or holder.kind is not NodeKind.OBJECT:
        message = "this is not a parameters file: it holds no object with parameters"
        raise _invalid(file, [_wrong(root, message)])
    for member in holder.members.values():
        if not member.key.startswith("$") and not (holder is root and member.key == "contentVersion"):
            values.take(_entry(member, file))


def _invalid(file: str, diagnostics: Sequence[Diagnostic]) -> TemplateInvalid:
    """Without the lines of the file: they hold values."""
    return TemplateInvalid(diagnostics, texts={file: ""})


def _without_values(found: Diagnostic) -> Diagnostic:
    return replace(found, message=_QUOTED.sub("...", found.message), hint=None)


def _entry(member: Member, file: str) -> Given:
    """`{"value": ...}`, `{"reference": ...}` or `{"expression": ...}`."""
    entry = member.value
    value = entry.find("value") if entry.kind is NodeKind.OBJECT else None
    if value is not None:
        return Given(name=member.key, span=member.key_span, node=value)
    if entry.kind is NodeKind.OBJECT and entry.find("reference") is not None:
        return Given(name=member.key, span=member.key_span, node=entry, vault=True)
    if entry.kind is NodeKind.OBJECT and entry.find("expression") is not None:
        # Of a .bicepparam with externalInput(): whoever deploys is asked for it, by `externalInputDefinitions`.
        return Given(name=member.key, span=member.key_span, node=entry, external=True)
    message = f"parameter '{shorten(member.key)}': a parameters file says " + '{"value": ...} for each'
    raise _invalid(file, [_wrong(entry, message)])


def _wrong(node: Node, message: str) -> Diagnostic:
    hint = 'the form is {"parameters": {"NAME": {"value": VALUE}}}'
    return Diagnostic(id="X06", severity=Severity.ERROR, message=message, span=node.span, hint=hint)


def read_placeholders(arguments: Sequence[str]) -> Mapping[str, str]:
    """`NAME=VALUE`, with or without the angle brackets around the name."""
    found = {}
    for number, argument in enumerate(arguments, 1):
        name, separator, value = argument.partition("=")
        name = name.strip().removeprefix("<").removesuffix(">")
        if not separator or not name:
            raise UsageError(
                f"--set is not NAME=VALUE ({nth(number, arguments)})",
                hint="for <subscriptionID>: --set subscriptionID=VALUE",
            )
        found[name] = value
    return found


def read_supplied(arguments: Sequence[str]) -> Mapping[str, Json]:
    """`FUNCTION('TARGET')=JSON`; text that is not JSON is taken as text."""
    found: dict[str, Json] = {}
    for number, argument in enumerate(arguments, 1):
        match = _SUPPLIED.fullmatch(argument)
        if match is None:
            raise UsageError(
                f"--supply, or the setting supplied, is not FUNCTION('TARGET')=VALUE ({nth(number, arguments)})",
                hint='for example --supply "reference(\'myIdentity\')={\\"principalId\\": \\"...\\"}"',
            )
        function, target, text = match.groups()
        found[key_of(function, target)] = _json_or_text(text)
    return found


def supplied_secrets(arguments: Sequence[str]) -> Iterator[str]:
    """What `listKeys()` and its like give are keys: the long texts in it. What is malformed is passed over."""
    for argument in arguments:
        match = _SUPPLIED.fullmatch(argument)
        if match and match.group(1).casefold().startswith("list"):
            yield from _long_texts(_json_or_text(match.group(3)))


def _long_texts(value: Json) -> Iterator[str]:
    if isinstance(value, str) and len(value) >= SHORTEST_LINE:
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _long_texts(item)


def _json_or_text(text: str) -> Json:
    try:
        value: Json = parse_json(text)
        return value
    except ValueError:
        return text
