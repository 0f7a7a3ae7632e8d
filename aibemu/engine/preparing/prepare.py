"""Everything that can fail before a machine exists: the template, its source, its scripts, its targets, the host.

The service finds these at submission, so they are not part of a run: nothing is recorded, and all errors of one kind
come at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from aibemu import plugins
from aibemu.arm.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.artifacts import ArtifactStore, parse_mapping
from aibemu.artifacts import Request as FetchRequest
from aibemu.clock import Clock, Deadline
from aibemu.cloud.ids import staging_group_id, template_id
from aibemu.cloud.local import LocalCloud
from aibemu.customizers import Customizer, StepSettings
from aibemu.distributors import Distributor, DistributorTools
from aibemu.engine.preparing.host import Continued, this_host
from aibemu.engine.preparing.identities import machine_identities
from aibemu.engine.preparing.sources import resolve
from aibemu.engine.preparing.starts import Reuser, hypervisor_key, surroundings
from aibemu.errors import Span, UsageError
from aibemu.events import Emit
from aibemu.fabric.vm import ManagedIdentity
from aibemu.hypervisor import HypervisorDriver
from aibemu.images.catalogue import Catalogue
from aibemu.images.store import ImageStore
from aibemu.layers.store import LayerStore
from aibemu.paths import Home
from aibemu.plan.alike import still_left_out
from aibemu.plan.model import Fetched, Plan
from aibemu.plan.planner import Host, PreparedStep, make_plan
from aibemu.plan.reuse import Wish
from aibemu.runs.drivers import make_driver
from aibemu.settings import Settings
from aibemu.submission.examine import examine
from aibemu.submission.request import TemplateRequest
from aibemu.template.model import StepSpec, Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asked for. offline: nothing is fetched, and machines reach nothing. identities: ID=COMMAND. wish:
    what may be reused of earlier builds. continues: what an earlier run left.
    """

    template: TemplateRequest
    driver: str = "qemu"
    driver_options: Mapping[str, str] = field(default_factory=dict)
    wish: Wish = field(default_factory=Wish)
    offline: bool = False
    identities: tuple[str, ...] = ()
    continues: Continued = field(default_factory=Continued)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A plan, and what else was found on the way. secrets: values of secure parameters, never to be shown. host: what
    the plan was made for.
    """

    plan: Plan
    driver: HypervisorDriver
    reuser: Reuser
    diagnostics: tuple[Diagnostic, ...]
    secrets: frozenset[str]
    store: ImageStore
    cloud: LocalCloud
    distributor: Callable[[str], Distributor]
    host: Host
    identities: tuple[ManagedIdentity, ...] = ()


def prepare(
    request: Request, *, home: Home, settings: Settings, clock: Clock, deadline: Deadline, emit: Emit
) -> Prepared:
    """Load, check, resolve, fetch, plan, choose what the plan starts from; raise the first kind of error with all of
    its instances."""
    earlier = request.continues
    host = this_host(settings.memory_cap_mib, earlier)
    prepared = prepare_again(
        request, home=home, settings=settings, clock=clock, deadline=deadline, emit=emit, host=host
    )  # fmt: skip
    plan, reuser = prepared.plan, prepared.reuser
    skipped = still_left_out(earlier.skipped, earlier.failed, earlier.steps, plan.steps)
    reuser = replace(reuser, wish=replace(reuser.wish, skipped=skipped))
    return replace(prepared, plan=reuser.choose(plan), reuser=reuser)


def prepare_again(
    request: Request, *, home: Home, settings: Settings, clock: Clock, deadline: Deadline, emit: Emit, host: Host
) -> Prepared:
    """The same without the choice, for another attempt of a run, which knows more. host: that of the first plan, for
    the run's machines may have some of the memory at the moment."""
    driver = make_driver(request.driver, request.driver_options, home)
    loaded = examine(request.template, home=home, settings=settings, clock=clock, build=True).require()
    template = loaded.template
    identities = machine_identities(template, settings=settings.identities, given=request.identities)
    store = ImageStore(home.images, clock)
    cloud = LocalCloud(home.cloud, clock)
    source = resolve(
        template.source, store=store, cloud=cloud, catalogue=Catalogue.load(home), location=template.location
    )  # fmt: skip
    distributors = _checked_distributors(template, cloud, store, clock)
    steps, validators = _fetched(
        template, ArtifactStore(home.cache / "artifacts", clock), request, settings, deadline, emit
    )
    plan = make_plan(
        template,
        template_id=template_id(settings.subscription_id, settings.resource_group, template.name),
        staging_group=staging_group_id(settings.subscription_id, settings.resource_group, template),
        source=source, steps=steps, validators=validators, host=host,
        hypervisor=hypervisor_key(driver, template, source.image.info, settings),
        surroundings=surroundings(template, source, identities, settings, offline=request.offline),
    )  # fmt: skip
    on = driver.capabilities().freezes
    return Prepared(
        plan=plan, driver=driver, diagnostics=loaded.diagnostics,
        reuser=Reuser(wish=request.wish, layers=LayerStore(home.layers), clock=clock, on=on),
        secrets=loaded.secrets, store=store, cloud=cloud, distributor=distributors.__getitem__, identities=identities,
        host=host,
    )  # fmt: skip


def _checked_distributors(
    template: Template, cloud: LocalCloud, store: ImageStore, clock: Clock
) -> Mapping[str, Distributor]:
    """By kind of target. All targets that cannot end well, at once, as findings about the template."""
    distributors = {target.kind: _distributor(target.kind) for target in template.distribute}
    tools = DistributorTools(
        cloud=cloud, store=store, clock=clock, directory=Path(template.directory), say=lambda text: None
    )
    findings = []
    for target in template.distribute:
        try:
            distributors[target.kind].check(target, tools)
        except UsageError as error:
            why = "; ".join([error.message, *error.details])
            path = f"ImageTemplate.properties.distribute[{target.index}]"
            findings.append(
                Diagnostic(
                    id="E79", severity=Severity.ERROR, message=why, span=error.span or target.span, path=path,
                    hint=error.hint,
                )
            )  # fmt: skip
    if findings:
        raise TemplateInvalid(findings)
    return distributors


def _distributor(kind: str) -> Distributor:
    made: Distributor = plugins.load("aibemu.distributors", kind)()
    return made


def _fetched(
    template: Template,
    artifacts: ArtifactStore,
    request: Request,
    settings: Settings,
    deadline: Deadline,
    emit: Emit,
) -> tuple[list[PreparedStep], list[PreparedStep]]:
    """Every script and file on this host, in one go, so that all that are missing are named at once."""
    step_settings = StepSettings(script_uri_sudo=settings.script_uri_sudo, reboot_in_shell=settings.reboot_in_shell)
    specs = (*template.customize, *template.validate.steps)
    made = [(spec, _customizer(spec, step_settings)) for spec in specs]
    wanted = [
        FetchRequest(uri=need.uri, sha256=need.sha256, span=_uri_span(spec))
        for spec, step in made
        for need in step.needs()
    ]
    found = iter(
        artifacts.fetch_all(
            wanted, base=Path(template.directory),
            mappings=[parse_mapping(text) for text in (*request.template.mappings, *settings.mappings)],
            deadline=deadline, emit=emit, offline=request.offline,
        )
    )  # fmt: skip
    prepared = []
    for spec, step in made:
        files = [next(found) for _ in step.needs()]
        prepared.append(
            PreparedStep(
                spec=spec, step=step,
                files=tuple(Fetched(uri=f.uri, path=f.path, sha256=f.sha256, size=f.size) for f in files),
            )
        )  # fmt: skip
    count = len(template.customize)
    return prepared[:count], prepared[count:]


def _uri_span(spec: StepSpec) -> Span:
    return spec.option_spans.get("scriptUri") or spec.option_spans.get("sourceUri") or spec.span


def _customizer(spec: StepSpec, settings: StepSettings) -> Customizer:
    made: Customizer = plugins.load("aibemu.customizers", spec.kind)(spec, settings)
    return made
