"""Before a build: whether its targets, and its staging group, fit what is in the local cloud already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from aibemu import plugins
from aibemu.arm.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.cloud.ids import parse_id
from aibemu.distributors import Distributor, DistributorTools, SourceFacts
from aibemu.engine.preparing.installation import Installation, Stores
from aibemu.errors import Span, UsageError
from aibemu.plan.model import ResolvedImage
from aibemu.redact import Redactor
from aibemu.runs.store import RunStore
from aibemu.template.model import Target, Template


def checked_distributors(
    template: Template, source: ResolvedImage, stores: Stores, installation: Installation, redactor: Redactor, *,
    check: bool = True,
) -> Mapping[str, Distributor]:  # fmt: skip
    """By kind of target. All targets that cannot end well, at once, as findings about the template. check: False where
    another computer has done that, which writes them."""
    distributors = {target.kind: _distributor(target.kind) for target in template.distribute}
    tools = DistributorTools(
        cloud=stores.cloud, store=stores.images, clock=installation.clock, directory=Path(template.directory),
        say=lambda text: None, redactor=redactor,
        source=SourceFacts(info=source.image.info if source.known else None, version=source.exact_version),
    )  # fmt: skip
    if not check:
        return distributors
    findings = [*_refused(template, distributors, tools), *_taken_staging(template, stores, installation)]
    if findings:
        raise TemplateInvalid(findings)
    return distributors


def _refused(
    template: Template, distributors: Mapping[str, Distributor], tools: DistributorTools
) -> Iterator[Diagnostic]:  # fmt: skip
    for target in template.distribute:
        try:
            distributors[target.kind].check(target, tools)
        except UsageError as error:
            yield _finding(target, error)


def _finding(target: Target, error: UsageError) -> Diagnostic:
    return Diagnostic(
        id="E79", severity=Severity.ERROR, message="; ".join([error.message, *error.details]),
        span=error.span or target.span, path=f"ImageTemplate.properties.distribute[{target.index}]", hint=error.hint,
    )  # fmt: skip


def _taken_staging(template: Template, stores: Stores, installation: Installation) -> Iterator[Diagnostic]:
    """A staging group of the user's own belongs to one template, which has its tags on it (facts: service 3, 7.2)."""
    if not template.staging_resource_group:
        return
    where = parse_id(template.staging_resource_group, what="stagingResourceGroup")
    tags = (stores.cloud.staging_group(str(where)) or {}).get("tags", {})
    name, group = str(tags.get("imageTemplateName", "")), str(tags.get("imageTemplateResourceGroupName", ""))
    settings = installation.settings
    own = (template.name.casefold(), settings.resource_group.casefold())
    if not name or (name.casefold(), group.casefold()) == own or not _has_runs(installation, group, name):
        return
    yield Diagnostic(
        id="E79", severity=Severity.ERROR, span=Span(file=template.file, line=1, column=1),
        path="ImageTemplate.properties.stagingResourceGroup",
        message=f"the staging group {where} is in use by the image template '{name}' of the group '{group}'",
        hint="give each template a staging group of its own; a template lets go of its group when its runs are "
        "deleted: aibemu clean",
    )  # fmt: skip


def _has_runs(installation: Installation, group: str, name: str) -> bool:
    """Whether there is a run of that template: here a template is there as long as one of its runs is."""
    tail = f"/resourcegroups/{group}/providers/microsoft.virtualmachineimages/imagetemplates/{name}".casefold()
    for run in RunStore(installation.home.runs).runs():
        started = run.started()
        if started and str(started.fields.get("template_id", "")).casefold().endswith(tail):
            return True
    return False


def _distributor(kind: str) -> Distributor:
    made: Distributor = plugins.load("aibemu.distributors", kind)()
    return made
