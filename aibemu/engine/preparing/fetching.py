"""The customizers and validators of a template, made once, with every script and file that they need on this host."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from aibemu import plugins
from aibemu.artifacts import ArtifactStore, FetchRequest, parse_mappings, policy_of
from aibemu.clock import Deadline
from aibemu.customizers import Customizer, StepSettings
from aibemu.engine.preparing.installation import Installation
from aibemu.engine.preparing.options import BuildOptions
from aibemu.errors import Span
from aibemu.events import Emit
from aibemu.plan.model import Fetched
from aibemu.plan.planner import PreparedStep
from aibemu.reading import read_bytes
from aibemu.redact import Redactor
from aibemu.settings import Settings
from aibemu.template.model import StepSpec, Template

_MOST_READ = 256 * 1024  # bytes of a file: scripts are smaller
Prepared = tuple[Customizer, PreparedStep]


def prepare_steps(
    template: Template,
    options: BuildOptions,
    installation: Installation,
    step_settings: StepSettings,
    *,
    emit: Emit,
    deadline: Deadline,
    redactor: Redactor,
) -> list[Prepared]:
    """Every step, the customizers first; all that is to be fetched in one go, so that all that are missing are named at
    once."""
    made = [(spec, _customizer(spec, step_settings)) for spec in (*template.customize, *template.validate.steps)]
    wanted = [
        FetchRequest(uri=need.uri, sha256=need.sha256, span=_uri_span(spec), limit=need.limit)
        for spec, step in made
        for need in step.needs()
    ]
    settings = installation.settings
    policy = policy_of(settings.download_size, settings.download_time)
    mappings = (*options.template.mappings, *settings.mappings)
    found = iter(
        ArtifactStore(installation.home.cache / "artifacts", installation.clock, policy, redactor.text).fetch_all(
            wanted, base=Path(template.directory),
            mappings=parse_mappings(mappings, options.template.folder),
            deadline=deadline, emit=emit, offline=options.guest.offline,
            held=options.sent.files if options.sent else None,
        )
    )  # fmt: skip
    prepared = []
    for spec, step in made:
        files = tuple(
            Fetched(uri=one.uri, path=one.path, sha256=one.sha256, size=one.size)
            for one in (next(found) for _ in step.needs())
        )
        prepared.append((step, PreparedStep(spec=spec, step=step, files=files)))
    return prepared


def make_step_settings(settings: Settings, log_id: str, rng: random.Random) -> StepSettings:
    """What steps take from the settings and from their build."""
    return StepSettings(
        script_uri_sudo=settings.script_uri_sudo,
        reboot_in_shell=settings.reboot_in_shell,
        powershell_wrapper=settings.powershell_wrapper,
        sysprep_timeout=settings.sysprep_timeout,
        log_id=log_id,
        rng=rng,
    )


def prepared_only(steps: Sequence[Prepared]) -> list[PreparedStep]:
    """What the planner wants of them."""
    return [prepared for _, prepared in steps]


def what_steps_say(steps: Sequence[Prepared]) -> str:
    """What customizers say, and what is in the files that they run or put into place, as far as these are texts."""
    texts = []
    for step, prepared in steps:
        texts.append(str(step.inputs()))
        texts += [read_bytes(file.path).decode(errors="replace") for file in prepared.files if file.size <= _MOST_READ]
    return "\n".join(texts)


def _uri_span(spec: StepSpec) -> Span:
    return spec.option_spans.get("scriptUri") or spec.option_spans.get("sourceUri") or spec.span


def _customizer(spec: StepSpec, settings: StepSettings) -> Customizer:
    made: Customizer = plugins.load("aibemu.customizers", spec.kind)(spec, settings)
    return made
