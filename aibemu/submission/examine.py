"""From a request to a checked template and everything that was found in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aibemu import plugins
from aibemu.arm.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.arm.findings import Findings
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
    from datetime import datetime

    from aibemu.clock import Clock, Deadline
    from aibemu.events import Emit, Kind
    from aibemu.paths import Home
    from aibemu.settings import Settings

Suppressed = tuple[Diagnostic, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """loaded: None when there is an error. diagnostics: every finding that is to be shown; suppressed: those that are
    not, each with the reason. secrets: values never to be shown. again: as `with_fetched`, or None."""

    loaded: Loaded | None
    diagnostics: tuple[Diagnostic, ...]
    suppressed: tuple[Suppressed, ...]
    secrets: frozenset[str]
    again: Callable[[Mapping[str, Path]], Examined] | None = None

    def with_fetched(self, files: Mapping[str, Path]) -> Examined:
        """Judged once more, with files that were fetched since, by their URIs."""
        return self if self.again is None else self.again(files)

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
    inspection = _Inspection(
        understood=understood, source=source, request=request, settings=settings, kinds=kinds, build=build,
        redactor=redactor, now=clock.now(),
        deadline=deadline, before=understood.findings.sorted(),
        looker=lambda: _looker(request, home, settings, deadline, emit, redactor),
    )  # fmt: skip
    files: Files = {}
    if understood.resource is not None and any(files_of(understood.resource)):
        files = inspection.looker().look(understood.resource)
    return inspection.judged(files)


def _looker(
    request: TemplateRequest, home: Home, settings: Settings, deadline: Deadline, emit: Emit, redactor: Redactor
) -> Looker:
    from aibemu.artifacts import policy_of

    return Looker(
        base=request.document.base, folder=request.folder, mappings=(*request.mappings, *settings.mappings),
        online=request.online, cache=home.cache / "artifacts", mask=redactor.text,
        policy=policy_of(settings.download_size, settings.download_time), deadline=deadline, emit=emit,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inspection:
    """A template that was understood, in front of the rules. looker: made where a template names files. before: what
    was found until then."""

    understood: Understood
    source: TemplateSource
    request: TemplateRequest
    settings: Settings
    kinds: frozenset[str]
    build: bool
    redactor: Redactor
    now: datetime
    looker: Callable[[], Looker]
    deadline: Deadline
    before: tuple[Diagnostic, ...]

    def judged(self, files: Files, earlier: Files | None = None, said: Sequence[Diagnostic] = ()) -> Examined:
        """Judge it with the files that are known. earlier, said: those of a judgement before, and what programs on
        this machine said of their scripts, which are not asked again."""
        findings = Findings(self.understood.findings.main)
        findings.extend(self.before)
        understood = replace(self.understood, findings=findings)
        if self.build:
            # The build fetches every file, and says of all at once which cannot be had or are not those of their
            # checksum.
            files = {uri: replace(file, sha256="") for uri, file in files.items() if not file.problem}
        wrapper = self.settings.powershell_wrapper
        judge(understood, self.kinds, build=self.build, files=files, wrapper=wrapper, now=self.now)
        told = list(said)
        if understood.resource is not None and self.settings.check_scripts:
            context = understood.context(self.kinds, files=files)
            told += _check_scripts(understood.resource, context, self.deadline, earlier)
            findings.extend(told)

        def again(paths: Mapping[str, Path]) -> Examined:
            new = [(uri, path) for uri, path in paths.items() if uri not in files]
            looker = self.looker() if new else None
            more = {uri: looker.examined(path, uri) for uri, path in new} if looker else {}
            return self.judged({**files, **more}, files, told) if more else concluded

        concluded = replace(_concluded(understood, self.source, self.request, self.redactor), again=again)
        return concluded


def _check_scripts(
    resource: NodeView, context: RuleContext, deadline: Deadline, earlier: Files | None
) -> list[Diagnostic]:
    """What programs on this machine say of the scripts: the shell's own syntax check, shellcheck. earlier: files whose
    scripts, and those of the template, were checked before; None: none was."""
    from aibemu.template.scripts import collect

    scripts = collect(resource, context)
    if earlier is not None:
        scripts = tuple(one for one in scripts if not one.inline and one.step.text("scriptUri") not in earlier)
    if not scripts:
        return []
    from aibemu.submission.checkers import check_scripts

    return check_scripts(scripts, deadline)


def _concluded(
    understood: Understood, source: TemplateSource, request: TemplateRequest, redactor: Redactor
) -> Examined:  # fmt: skip
    """Tell places in Bicep, take away what is suppressed, mask what is secret."""
    found: Sequence[Diagnostic] = understood.findings.sorted()
    secrets = understood.secrets
    if source.locate is not None:
        from aibemu.submission.compiled import as_in_bicep, in_bicep

        secrets |= set(as_in_bicep(secrets))
        redactor.learn(secrets)
        understood, found = in_bicep(understood, source.diagnostics, source.locate, request.document.name)
    found = _without_echo(found)
    applied = load_suppressions(Path(request.document.name), request.folder, request.disabled).apply(found)
    kept = tuple(_masked(found, redactor) for found in applied.kept)
    suppressed = tuple((_masked(found, redactor), reason) for found, reason in applied.suppressed)
    failed = understood.findings.failed or understood.resource is None
    loaded = None if failed else replace(finish(understood), diagnostics=kept)
    return Examined(loaded=loaded, diagnostics=kept, suppressed=suppressed, secrets=secrets)


def _without_echo(found: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Without the notes that lines were not judged, in scripts that the shell itself cannot read: one mistake is told
    once."""
    from aibemu.template.scripts.unread import is_about_lines

    broken = {(one.span.file, one.path) for one in found if one.id == "W31" and one.severity is Severity.WARNING}
    return tuple(one for one in found if not ((one.span.file, one.path) in broken and is_about_lines(one)))


def _masked(found: Diagnostic, redactor: Redactor) -> Diagnostic:
    mask = redactor.text
    return replace(found, message=mask(found.message), hint=found.hint and mask(found.hint), path=mask(found.path))
