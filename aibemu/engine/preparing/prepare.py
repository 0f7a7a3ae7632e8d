"""Everything that can fail before a machine exists: the template, its source, its scripts, its targets, the host.

The service finds these at submission, so they are not part of a run: nothing is recorded, and all errors of one kind
come at once.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

from aibemu.arm.diagnostics import Diagnostic
from aibemu.clock import CancelToken, Deadline
from aibemu.cloud.ids import staging_group_id, template_id
from aibemu.customizers import Customizer
from aibemu.distributors import Distributor
from aibemu.engine.preparing.buildable import check_acceleration, check_buildable, check_named_acceleration
from aibemu.engine.preparing.fetching import make_step_settings, prepare_steps, prepared_only, what_steps_say
from aibemu.engine.preparing.hardware import devices_for
from aibemu.engine.preparing.host import shape_host
from aibemu.engine.preparing.identities import machine_identities
from aibemu.engine.preparing.installation import Installation, Stores
from aibemu.engine.preparing.matching import check_system
from aibemu.engine.preparing.options import BuildOptions, Sent
from aibemu.engine.preparing.sources import check_bootable, resolve
from aibemu.engine.preparing.starts import Reuser, hypervisor_key, surroundings
from aibemu.engine.preparing.targets import checked_distributors
from aibemu.errors import HostNotReady
from aibemu.events import Emit, Kind
from aibemu.fabric.vm import ManagedIdentity
from aibemu.hypervisor import HypervisorDriver
from aibemu.images.catalogue import Catalogue
from aibemu.plan.alike import still_left_out
from aibemu.plan.model import Plan, ResolvedImage
from aibemu.plan.planner import Host, PreparedStep, make_plan
from aibemu.redact import Redactor
from aibemu.runs.drivers import make_driver
from aibemu.submission.examine import examine
from aibemu.systems import for_image
from aibemu.template.model import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a template became when it was last read: the plan, and what carries it out."""

    plan: Plan
    # By id of the step (`c1`, `v1`).
    customizers: Mapping[str, Customizer]
    # By kind of the target.
    distributors: Mapping[str, Distributor]
    # Of the machines.
    identities: tuple[ManagedIdentity, ...]
    # Values of secure parameters, never to be shown.
    secrets: frozenset[str]
    # Warnings and notes about the template.
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What stays as it is for all attempts of one build."""

    options: BuildOptions
    # Its settings have the subscription and the group of the options.
    installation: Installation
    driver: HypervisorDriver
    # What plans are made for.
    host: Host
    # Whether machines are made on this computer.
    here: bool
    stores: Stores
    # Chooses the layer that a plan starts from.
    reuser: Reuser
    # The guid that starts each line of the run's log.
    log_id: str
    # Learns secrets as they become known; what the build shows and writes goes through it.
    redactor: Redactor
    # Names of temporary files, of machines and their addresses come from it.
    rng: random.Random = field(default_factory=random.SystemRandom)


def prepare_basis(
    options: BuildOptions, installation: Installation, *, emit: Emit, cancel: CancelToken, redactor: Redactor,
    host: Host | None = None,
) -> tuple[Basis, Planned]:  # fmt: skip
    """Load, check, resolve, fetch, plan, choose what the plan starts from; raise the first kind of error with all of
    its instances. host: of the machines, where that is not this one."""
    settings = replace(
        installation.settings, subscription_id=options.subscription_id, resource_group=options.resource_group
    )
    basis = _basis(options, replace(installation, settings=settings), redactor, host)
    planned = examine_and_plan(basis, options, emit=emit, deadline=Deadline(clock=installation.clock, cancel=cancel))
    if earlier := options.continues:
        skipped = still_left_out(earlier.skipped, earlier.failed, earlier.steps, planned.plan.steps)
        basis = replace(basis, reuser=basis.reuser.leaving_out(skipped))
    return basis, replace(planned, plan=basis.reuser.choose(planned.plan))


def examine_and_plan(basis: Basis, options: BuildOptions, *, emit: Emit, deadline: Deadline) -> Planned:
    """The template of `options`, examined and planned for; what the plan starts from is not chosen yet.

    options: the build's own; for another attempt the same with the template as it is by then.
    """
    installation = basis.installation
    settings = installation.settings
    examined = examine(
        options.template, home=installation.home, settings=settings, clock=installation.clock, build=True,
        redactor=basis.redactor, deadline=deadline, emit=emit,
    )  # fmt: skip
    template = examined.require().template
    identities = machine_identities(template, settings=settings.identities, given=options.guest.identities)
    source = _source(basis, options, template, emit)
    distributors = checked_distributors(
        template, source, basis.stores, installation, basis.redactor, check=options.sent is None
    )  # fmt: skip
    step_settings = make_step_settings(settings, basis.log_id, basis.rng)
    steps = prepare_steps(
        template, options, installation, step_settings, emit=emit, deadline=deadline, redactor=basis.redactor
    )  # fmt: skip
    if options.sent is None:  # else whoever sent it has judged it
        examined = examined.with_fetched({file.uri: file.path for _, step in steps for file in step.files})
    loaded = examined.require()
    plan = _plan(basis, template, source, identities, prepared_only(steps))
    boots = source.known and plan.targets and basis.driver.capabilities().boots_guests
    say = what_steps_say(steps[: len(plan.steps)]) if boots else ""
    if boots and (doubt := for_image(source.image.info).deprovision_doubt(source.image, say)):
        emit(Kind.NOTICE, level="warning", message=doubt)
    made = {id(prepared.spec): step for step, prepared in steps}
    return Planned(
        plan=plan, customizers={one.id: made[id(one.spec)] for one in (*plan.steps, *plan.validators)},
        distributors=distributors, identities=identities, secrets=loaded.secrets, diagnostics=loaded.diagnostics,
    )  # fmt: skip


def _source(basis: Basis, options: BuildOptions, template: Template, emit: Emit) -> ResolvedImage:
    """What the template starts from. `NotBuildable` for steps that nothing here runs, for a guest that is known not to
    be supported, or not on this host, by the name of its image alone: there is no use in getting that image."""
    can, slow = basis.driver.capabilities(), options.guest.slow or basis.installation.settings.slow
    check_buildable(template, booted=can.boots_guests, by_steps=True)
    accelerated = can.boots_guests and basis.here
    try:
        found = _sent(basis, options.sent, template) or resolve(
            template.source, store=basis.stores.images, cloud=basis.stores.cloud,
            catalogue=Catalogue.load(basis.installation.home), location=template.location,
            needed=not can.dry, booted=can.boots_guests,
        )  # fmt: skip
    except HostNotReady as error:
        check_buildable(template, booted=can.boots_guests)
        if accelerated:
            check_named_acceleration(template, basis.driver.accelerator(), error, slow=slow)
        raise
    if not found.known:
        check_buildable(template, booted=can.boots_guests)
    check_system(template, found)
    if accelerated and found.known:
        warning = check_acceleration(template, found.image.info, basis.driver.accelerator(), slow=slow)
        if warning:
            emit(Kind.NOTICE, level="warning", message=warning)
    return found


def _sent(basis: Basis, sent: Sent | None, template: Template) -> ResolvedImage | None:
    if sent is None or not sent.digest:
        return None
    found = ResolvedImage(
        image=basis.stores.images.get(sent.digest), exact_version=sent.exact_version, source_id=sent.source_id,
        plan=getattr(template.source, "plan", None),
    )  # fmt: skip
    return check_bootable(found, booted=basis.driver.capabilities().boots_guests)


def _basis(options: BuildOptions, installation: Installation, redactor: Redactor, host: Host | None) -> Basis:
    driver = make_driver(options.driver.name, options.driver.options, installation.home)
    stores, capacity = installation.stores(redactor), driver.capacity()
    stores.images.check()
    stores.cloud.check()
    wish, earlier = options.reuse.wish, options.continues
    reuser = Reuser(
        wish=replace(wish, own=earlier.lineage) if earlier else wish, layers=stores.layers, clock=installation.clock,
        on=host is None and (driver.capabilities().freezes or driver.capabilities().saves_disks),
    )  # fmt: skip
    return Basis(
        options=options, installation=installation, driver=driver, stores=stores, reuser=reuser, log_id=str(uuid4()),
        redactor=redactor, here=host is None,
        host=host or shape_host(capacity.memory_mib, capacity.cpus, installation.settings.memory_cap_mib),
    )  # fmt: skip


def _plan(
    basis: Basis,
    template: Template,
    source: ResolvedImage,
    identities: tuple[ManagedIdentity, ...],
    steps: Sequence[PreparedStep],
) -> Plan:
    settings, count = basis.installation.settings, len(template.customize)
    devices = devices_for(template, source, basis.driver.capabilities(), settings)
    return make_plan(
        template,
        template_id=template_id(settings.subscription_id, settings.resource_group, template.name),
        staging_group=staging_group_id(settings.subscription_id, settings.resource_group, template),
        source=source,
        steps=steps[:count],
        validators=steps[count:],
        host=basis.host,
        hypervisor=hypervisor_key(
            basis.driver, template, source.image.info, settings, devices.hardware, always=basis.options.reuse.always
        ),
        devices=devices,
        surroundings=surroundings(template, source, identities, settings, offline=basis.options.guest.offline),
    )
