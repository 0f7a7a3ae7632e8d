"""The text of a template and what goes into it: the file, compiled if it is Bicep, its parameters, its surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from aibemu.arm.diagnostics import Diagnostic
from aibemu.clock import forever
from aibemu.errors import UsageError
from aibemu.files import write_bytes
from aibemu.paths import safe_name
from aibemu.submission.request import TemplateRequest
from aibemu.template.loader import Inputs

if TYPE_CHECKING:
    from aibemu.arm.expressions.surroundings import Surroundings
    from aibemu.clock import Clock, Deadline
    from aibemu.paths import Home
    from aibemu.settings import Settings
    from aibemu.submission.bicep import Compiled
    from aibemu.submission.parameters import Values


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSource:
    """text: ARM JSON. file: where that text can be looked at, as findings name it. diagnostics: the compiler's."""

    text: str
    file: str
    inputs: Inputs
    diagnostics: Sequence[Diagnostic] = ()


def read_source(
    request: TemplateRequest, *, home: Home, settings: Settings, clock: Clock, deadline: Deadline | None = None
) -> TemplateSource:
    """Read all that was asked for. Raises UsageError, HostNotReady and TemplateInvalid, and what `deadline` raises."""
    from aibemu.submission.bicep import is_bicep

    document = request.document
    typed = Path(document.name)
    deadline = deadline or forever(clock)
    compiled = compile_bicep(typed, request.folder, deadline) if is_bicep(typed) else None
    text = _template_of(compiled, typed) if compiled else document.text
    file = _kept(home, typed, text) if compiled else document.name
    values = _values(request, compiled, home, deadline)
    inputs = Inputs(
        name=request.name,
        api_version=request.api_version,
        given=values.given if values else {},
        placeholders=_placeholders(request),
        texts=values.texts if values else {},
        surroundings=surroundings(request, settings, clock),
    )
    return TemplateSource(text=text, file=file, inputs=inputs, diagnostics=compiled.diagnostics if compiled else ())


def _template_of(compiled: Compiled, path: Path) -> str:
    if compiled.template is None:
        raise UsageError(
            f"{path} names no Bicep file in its `using`: there is no template",
            hint=f"give the template, and this file with it: aibemu validate FILE --parameters {path}",
        )
    return compiled.template


def compile_bicep(path: Path, folder: Path, deadline: Deadline) -> Compiled:
    """The seam for another compiler. path: as typed in `folder`."""
    from aibemu.submission.bicep import compile_file

    return compile_file(path, folder, deadline)


def surroundings(request: TemplateRequest, settings: Settings, clock: Clock) -> Surroundings:
    """The Azure around, as the settings have it; the deployment is called as az calls it, after the file."""
    from aibemu.arm.expressions.surroundings import Surroundings
    from aibemu.submission.parameters import read_supplied

    return Surroundings(
        subscription_id=settings.subscription_id,
        subscription_name=settings.subscription_name,
        tenant_id=settings.tenant_id,
        resource_group=settings.resource_group,
        location=settings.location,
        management_group=settings.management_group,
        deployment_name=Path(request.document.name).stem,
        template_uri=request.document.path.as_uri(),
        now=clock.now(),
        new_guid=lambda: str(uuid4()),
        supplied=read_supplied((*settings.supplied, *request.supplied)),
    )


def _placeholders(request: TemplateRequest) -> dict[str, str]:
    from aibemu.submission.parameters import read_placeholders

    return dict(read_placeholders(request.placeholders))


def _values(
    request: TemplateRequest, compiled: Compiled | None, home: Home, deadline: Deadline
) -> Values | None:  # fmt: skip
    """The parameters: those of a .bicepparam first, what was typed wins."""
    from aibemu.submission.parameters import Values, read_document, read_parameters

    values = Values()
    if compiled and compiled.parameters is not None:
        read_document(
            compiled.parameters, _kept(home, Path(request.document.name), compiled.parameters, "parameters"), values
        )
    for argument in request.parameters:
        path = Path(argument.removeprefix("@"))
        if path.suffix.casefold() == ".bicepparam" and Path(request.folder, path).exists():
            text = compile_bicep(path, request.folder, deadline).parameters or "{}"
            read_document(text, _kept(home, path, text, "parameters"), values)
        else:
            read_parameters(argument, values, request.folder)
    return values


def _kept(home: Home, path: Path, text: str, what: str = "template") -> str:
    """Keep what a compiler made, so that a finding in it can be looked at; its path."""
    kept = home.cache / "bicep" / f"{safe_name(path.stem)}.{what}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(kept, text.encode(), mode=0o600)  # of a .bicepparam it holds the values of secure parameters
    return str(kept)
