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
from aibemu.submission.request import TemplateRequest
from aibemu.template.loader import Inputs

if TYPE_CHECKING:
    from aibemu.arm.expressions.surroundings import Surroundings
    from aibemu.clock import Clock, Deadline
    from aibemu.paths import Home
    from aibemu.settings import Settings
    from aibemu.submission.bicep import Compiled
    from aibemu.submission.compiled import Locate, Located
    from aibemu.submission.parameters import Values


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSource:
    """text: ARM JSON. file: where that text can be looked at, as findings name it. diagnostics: the compiler's.
    locate: from places in what was compiled to those in Bicep; None where nothing was compiled."""

    text: str
    file: str
    inputs: Inputs
    diagnostics: Sequence[Diagnostic] = ()
    locate: Locate | None = None


def read_source(
    request: TemplateRequest, *, home: Home, settings: Settings, clock: Clock, deadline: Deadline | None = None
) -> TemplateSource:
    """Read all that was asked for. Raises UsageError, HostNotReady and TemplateInvalid, and what `deadline` raises."""
    from aibemu.submission.bicep import is_bicep

    document = request.document
    typed = Path(document.name)
    deadline = deadline or forever(clock)
    compiled = compile_bicep(typed, request.folder, deadline, home, clock) if is_bicep(typed) else None
    located = _located(request, compiled is not None)
    text = _template_of(compiled, typed) if compiled else document.text
    file = located.template(text, typed, home) if compiled and located else document.name
    values = _values(request, compiled, located, deadline, home, clock)
    inputs = Inputs(
        name=request.name,
        api_version=request.api_version,
        given=values.given if values else {},
        placeholders=_placeholders(request),
        texts=values.texts if values else {},
        surroundings=surroundings(request, settings, clock),
    )
    said = compiled.diagnostics if compiled else ()
    return TemplateSource(text=text, file=file, inputs=inputs, diagnostics=said, locate=located)


def _located(request: TemplateRequest, compiled: bool) -> Located | None:
    """For the places of what is compiled: the template, or parameters."""
    if not compiled and not any(_names_bicepparam(argument) for argument in request.parameters):
        return None
    from aibemu.submission.compiled import Located

    return Located(request.folder)


def _names_bicepparam(argument: str) -> bool:
    return argument.casefold().endswith(".bicepparam")


def _template_of(compiled: Compiled, path: Path) -> str:
    if compiled.template is None:
        raise UsageError(
            f"{path} names no Bicep file in its `using`: there is no template",
            hint=f"give the template, and this file with it: aibemu validate FILE --parameters {path}",
        )
    return compiled.template


def compile_bicep(path: Path, folder: Path, deadline: Deadline, home: Home, clock: Clock) -> Compiled:
    """The seam for another compiler. path: as typed in `folder`."""
    from aibemu.submission.bicep import compile_file
    from aibemu.submission.compilations import Memory

    return compile_file(path, folder, deadline, Memory(home.cache / "bicep" / "compiled", clock.now().timestamp()))


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
    request: TemplateRequest, compiled: Compiled | None, located: Located | None, deadline: Deadline, home: Home,
    clock: Clock,
) -> Values | None:  # fmt: skip
    """The parameters: those of a .bicepparam first, what was typed wins."""
    from aibemu.submission.parameters import Values, read_document, read_parameters

    values = Values()
    if compiled and located and compiled.parameters is not None:
        read_document(compiled.parameters, located.parameters(compiled.parameters, Path(request.document.name)), values)
    for argument in request.parameters:
        path = Path(argument.removeprefix("@"))
        if located and _names_bicepparam(argument) and Path(request.folder, path).exists():
            text = compile_bicep(path, request.folder, deadline, home, clock).parameters or "{}"
            read_document(text, located.parameters(text, path), values)
        else:
            read_parameters(argument, values, request.folder)
    return values
