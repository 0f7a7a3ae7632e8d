"""From a request to a checked template and everything that was found in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aibemu import plugins
from aibemu.arm.diagnostics import Diagnostic, TemplateInvalid
from aibemu.clock import forever
from aibemu.redact import Redactor
from aibemu.submission.remote import Looker
from aibemu.submission.request import TemplateRequest
from aibemu.submission.source import TemplateSource, read_source
from aibemu.submission.suppressions import load_suppressions
from aibemu.template.loader import Loaded, Understood, finish, judge, understand
from aibemu.template.remote import Files
from aibemu.template.rule_context import RuleContext
from aibemu.template.rules.files import files_of
from aibemu.template.view import NodeView

if TYPE_CHECKING:
    from aibemu.clock import Clock, Deadline
    from aibemu.events import Emit, Kind
    from aibemu.paths import Home
    from aibemu.settings import Settings

Suppressed = tuple[Diagnostic, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """loaded: None when there is an error. diagnostics: every finding that is to be shown; suppressed: those that are
    not, each with the reason. secrets: values never to be shown."""

    loaded: Loaded | None
    diagnostics: tuple[Diagnostic, ...]
    suppressed: tuple[Suppressed, ...]
    secrets: frozenset[str]

    def require(self) -> Loaded:
        """The template. Raises TemplateInvalid when there is none."""
        if self.loaded is None:
            raise TemplateInvalid(self.diagnostics, self.secrets)
        return self.loaded


def unheard(kind: Kind, /, **fields: Any) -> None:
    """What happens meanwhile is told to nobody."""


def examine(
    request: TemplateRequest, *, home: Home, settings: Settings, clock: Clock, build: bool, redactor: Redactor,
    deadline: Deadline | None = None, emit: Emit = unheard, kinds: frozenset[str] | None = None,
) -> Examined:  # fmt: skip
    """Read, evaluate, check. build: the template is to be built, and not only looked at. emit: hears of downloads.
    kinds: customizers that this aibemu can run; None: all that are installed.
    redactor: learns the secrets as soon as they are known, so that no error of what comes after shows one.

    Raises UsageError, HostNotReady (no Bicep compiler) and, for what is not JSON or not Bicep, TemplateInvalid; what
    `deadline` raises.
    """
    deadline = deadline or forever(clock)
    kinds = plugins.names("aibemu.customizers") if kinds is None else kinds
    if supplied := (*settings.supplied, *request.supplied):
        from aibemu.submission.parameters import supplied_secrets

        redactor.learn(supplied_secrets(supplied))
    source = read_source(request, home=home, settings=settings, clock=clock, deadline=deadline)
    document = request.document
    inputs = replace(source.inputs, targets=plugins.names("aibemu.distributors"))
    understood = understand(
        source.text, Path(document.name), inputs, kinds, file=source.file, directory=document.base
    )  # fmt: skip
    redactor.learn(understood.secrets)
    files = _look(understood, request, home, settings, deadline, emit, redactor)
    if build:
        # The build fetches every file, and says of all at once which cannot be had or are not those of their checksum.
        files = {uri: replace(file, sha256="") for uri, file in files.items() if not file.problem}
    judge(understood, kinds, build=build, files=files, wrapper=settings.powershell_wrapper, now=clock.now())
    if understood.resource is not None and settings.check_scripts:
        _check_scripts(understood.resource, understood.context(kinds, files=files), deadline)
    return _concluded(understood, source, request, redactor)


def _look(
    understood: Understood, request: TemplateRequest, home: Home, settings: Settings, deadline: Deadline, emit: Emit,
    redactor: Redactor,
) -> Files:  # fmt: skip
    if understood.resource is None or not any(files_of(understood.resource)):
        return {}
    from aibemu.artifacts import policy_of

    looker = Looker(
        base=request.document.base, folder=request.folder, mappings=(*request.mappings, *settings.mappings),
        online=request.online, cache=home.cache / "artifacts", mask=redactor.text,
        policy=policy_of(settings.download_size, settings.download_time), deadline=deadline, emit=emit,
    )  # fmt: skip
    return looker.look(understood.resource)


def _check_scripts(resource: NodeView, context: RuleContext, deadline: Deadline) -> None:
    """What programs on this machine say of the scripts: the shell's own syntax check, shellcheck."""
    from aibemu.template.scripts import collect

    if scripts := collect(resource, context):
        from aibemu.submission.checkers import check_scripts

        context.findings.extend(check_scripts(scripts, deadline))


def _concluded(
    understood: Understood, source: TemplateSource, request: TemplateRequest, redactor: Redactor
) -> Examined:  # fmt: skip
    """Tell places in Bicep, take away what is suppressed, mask what is secret."""
    found = understood.findings.sorted()
    secrets = understood.secrets
    if source.locate is not None:
        from aibemu.submission.compiled import as_in_bicep, in_bicep

        secrets |= set(as_in_bicep(secrets))
        redactor.learn(secrets)
        understood, found = in_bicep(understood, source.diagnostics, source.locate, request.document.name)
    applied = load_suppressions(Path(request.document.name), request.folder, request.disabled).apply(found)
    kept = tuple(_masked(found, redactor) for found in applied.kept)
    suppressed = tuple((_masked(found, redactor), reason) for found, reason in applied.suppressed)
    failed = understood.findings.failed or understood.resource is None
    loaded = None if failed else replace(finish(understood), diagnostics=kept)
    return Examined(loaded=loaded, diagnostics=kept, suppressed=suppressed, secrets=secrets)


def _masked(found: Diagnostic, redactor: Redactor) -> Diagnostic:
    mask = redactor.text
    return replace(found, message=mask(found.message), hint=found.hint and mask(found.hint), path=mask(found.path))
