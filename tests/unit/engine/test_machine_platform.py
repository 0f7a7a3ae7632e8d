"""What a run tells a machine's platform, and what it hears from it."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.clock import Deadline, forever
from aibemu.disks.guestfs import DebugfsFailed
from aibemu.disks.libguestfs import Unreadable
from aibemu.engine.machines import boot as booting
from aibemu.engine.machines import starting
from aibemu.engine.machines.boot import VERIFY, VERIFY_USER, boot
from aibemu.engine.machines.fabric import start_platform
from aibemu.engine.machines.watchdog import Watchdog
from aibemu.engine.phases import generalize as generalizing
from aibemu.engine.phases.generalize import _verify_boot
from aibemu.engine.preparing.identities import machine_identities, parse_identity
from aibemu.engine.preparing.vm import describe_vm, subnet_of
from aibemu.errors import AibemuError, Expired, GeneralizeFailed, HostNotReady, ProvisionFailed, Span, UsageError
from aibemu.events import Kind
from aibemu.fabric.handle import Platform
from aibemu.fabric.health import Client, HealthReport
from aibemu.fabric.identity import Identity, fresh_identity
from aibemu.fabric.serve import Bounds
from aibemu.fabric.vm import ImageReference, ManagedIdentity
from aibemu.hypervisor import AZURE_SMBIOS, MachineSpec
from aibemu.images import Generation, Provisioning
from aibemu.plan.model import MachineShape
from aibemu.processes import ToolFailed
from aibemu.settings import Settings
from aibemu.systems import Ready
from aibemu.systems.linux.system import LinuxSystem
from aibemu.systems.starting import StartingMachine
from aibemu.template.model import ManagedImageSource, PlatformImage, SharedImageVersionSource, Source, VmProfile
from aibemu.testing.guest import ScriptedCommunicator
from aibemu.testing.system import FakeSystem
from aibemu_drivers.records import spec_from_json, spec_to_json
from tests.unit.engine.test_failing_phases import FakeMachine, context
from tests.unit.fabric.machines import machine

SPAN = Span(file="t.json", line=1, column=1)
GROUP = "/subscriptions/s/resourceGroups/images"
WEB = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web"
VAULT = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/Vault"
DEBIAN = PlatformImage(publisher="Debian", offer="debian-12", sku="12", version="latest", plan=None, span=SPAN)
READY = HealthReport(state="Ready", by=Client.CLOUD_INIT)
FAILED = HealthReport(state="NotReady", substatus="ProvisioningFailed", description="no disk", by=Client.CLOUD_INIT)


def a_plan(
    source: Source = DEBIAN,
    provisioning: Provisioning = Provisioning.AZURE,
    generation: Generation = Generation.V1,
    **profile: Any,
) -> Any:
    template = SimpleNamespace(
        vm_profile=VmProfile(**profile), location="northeurope", managed_resource_tags={"team": "blue"}, source=source
    )
    info = SimpleNamespace(generation=generation, os_type="Linux", provisioning=provisioning, linux=None)
    image = SimpleNamespace(info=info, digest="d")
    return SimpleNamespace(
        template=template, source=SimpleNamespace(image=image, exact_version="0.2.3", plan=None),
        staging_group="/subscriptions/s/resourceGroups/IT_images_t_1",
        template_id=f"{GROUP}/providers/Microsoft.VirtualMachineImages/imageTemplates/t",
        machine=MachineShape(cpus=1, memory_mib=512, disk_bytes=(4 << 30) + 1, firmware="bios", vm_size="Standard_B1s"),
    )  # fmt: skip


def test_a_machine_is_a_vm_of_the_staging_group(tmp_path: Path) -> None:
    identities = (ManagedIdentity.local(WEB),)
    with_these: dict[str, Any] = {"settings": Settings(), "identities": identities}
    who = fresh_identity("packer", random.Random(1))
    vm = describe_vm(a_plan(), who, "ssh-ed25519 AAAA", **with_these)
    assert (vm.resource_group, vm.location, vm.vm_size) == ("IT_images_t_1", "northeurope", "Standard_B1s")
    assert (vm.name, vm.computer_name, vm.admin_username) == (who.hostname, who.hostname, "packer")
    assert vm.disk_gib == 5  # a begun one counts
    assert vm.tags == {
        "createdBy": "AzureVMImageBuilder", "imageTemplateName": "t", "imageTemplateResourceGroupName": "images",
        "team": "blue",
    }  # fmt: skip
    assert (vm.nic.mac, vm.nic.address, vm.nic.subnet) == (
        who.mac, IPv4Address("10.0.0.4"), IPv4Network("10.0.0.0/24")
    )  # fmt: skip
    assert vm.identities == identities
    assert vm.smbios_uuid.bytes == who.vm_id.bytes_le and vm.vm_id == who.vm_id
    second = describe_vm(a_plan(generation=Generation.V2), who, "k", **with_these)
    assert second.smbios_uuid == who.vm_id


@pytest.mark.parametrize(
    ("source", "reference"),
    [
        (
            DEBIAN,
            ImageReference(publisher="Debian", offer="debian-12", sku="12", version="latest", exact_version="0.2.3"),
        ),
        (ManagedImageSource(image_id="/i", span=SPAN), ImageReference(id="/i")),
        (SharedImageVersionSource(image_version_id="/v/latest", span=SPAN), ImageReference(id="0.2.3")),
    ],
)
def test_it_knows_the_image_it_was_made_from(source: Source, reference: ImageReference) -> None:
    who = fresh_identity("p", random.Random(1))
    assert describe_vm(a_plan(source), who, "k", settings=Settings(), identities=()).image == reference


@pytest.mark.parametrize(
    ("subnets", "expected"),
    [
        ((), "10.0.0.0/24"),
        (("other=10.9.0.0/24",), "10.0.0.0/24"),
        (("BUILD=10.9.0.0/24",), "10.9.0.0/24"),
        (("build=10.9.0.0/24", "Net/build=10.8.0.0/29"), "10.8.0.0/29"),
        (("else/build=10.9.0.0/24",), "10.0.0.0/24"),
    ],
)
def test_a_subnets_addresses_are_a_setting(subnets: tuple[str, ...], expected: str) -> None:
    subnet = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/net/subnets/build"
    template = a_plan(vnet_config={"subnetId": subnet}).template
    assert subnet_of(template, subnets) == IPv4Network(expected)
    assert subnet_of(a_plan().template, subnets) == IPv4Network("10.0.0.0/24")
    assert subnet_of(a_plan(vnet_config={"subnetId": "x"}).template, subnets) == IPv4Network("10.0.0.0/24")


def test_identities_and_their_commands() -> None:
    template = a_plan(user_assigned_identities=(WEB, VAULT)).template
    plain = machine_identities(template, settings=(), given=())
    assert [one.resource_id for one in plain] == [WEB, VAULT] and not any(one.command for one in plain)
    own = plain[1].client_id
    web, vault = machine_identities(
        template, settings=("nobody=x", "web=old"), given=(f"{WEB.upper()}=az 'two words'", f"{own}=y {{resource}}")
    )
    assert web.command == ("az", "two words") and vault.command == ("y", "{resource}")
    assert machine_identities(template, settings=("VAULT=z",), given=())[1].command == ("z",)


@pytest.mark.parametrize("text", ["web", "web=", "=az", "web='az", " =x"])
def test_what_is_no_identity_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--identity"):
        parse_identity(text)


def test_an_identity_that_the_template_has_not_is_refused() -> None:
    for known in ((), (WEB,)):
        template = a_plan(user_assigned_identities=known).template
        with pytest.raises(UsageError, match="--identity vault: the build VM has no such identity") as caught:
            machine_identities(template, settings=(), given=("vault=x",))
        assert caught.value.details == (known or ("vmProfile.userAssignedIdentities is empty",))


READY_AT_LAST = booting._ready


class Told:
    """A platform that has heard these reports."""

    def __init__(self, *reports: HealthReport, alive: bool = True, asked_for_address: bool = True) -> None:
        self.said, self.living, self.asked_for_address = reports, alive, asked_for_address
        self.link = SimpleNamespace(nic="n", uplink="u")

    @property
    def verdict(self) -> HealthReport | None:
        return self.said[0] if self.said else None

    def alive(self) -> bool:
        return self.living

    def await_listening(self, deadline: Deadline) -> None:
        deadline.check()

    def failure(self) -> ProvisionFailed:
        return ProvisionFailed("the platform ended", details=["MemoryError"])

    def wait_for_verdict(self, deadline: Deadline, check: Any) -> HealthReport:
        check()
        for report in self.said:
            return report
        raise Expired("never")


class Made:
    def __init__(self) -> None:
        self.made: list[Any] = []

    def machine_made(self, role: str, machine: object) -> None:
        self.made.append((role, machine))

    def machine_started(self, role: str, started: object) -> None:
        assert (role, "started") not in self.made

    def platform_made(self, role: str, platform: object) -> None:
        self.made.append((role, platform))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run whose driver attaches wires, with `lab.platform` as every machine's; the boot ends after the report."""
    this = context(tmp_path)
    machine: Any = FakeMachine(slow=1000)
    machine.start = lambda deadline: None
    machine.endpoint = lambda port: ("127.0.0.1", 9)
    specs: list[MachineSpec] = []

    def create(spec: MachineSpec) -> Any:
        specs.append(spec)
        return machine

    this.services.driver.create = create
    this.services.driver.capabilities = lambda: SimpleNamespace(wires=True, screenshots=False, boots_guests=True)
    this.platform, this.specs, this.owner = Told(READY), specs, Made()
    monkeypatch.setattr(starting, "start_platform", lambda *_: this.platform)
    monkeypatch.setattr(booting, "_ready", lambda *_: "ready")
    return this


def start(lab: Any, plan: Any, role: str = "build") -> Any:
    planned: Any = SimpleNamespace(plan=plan, identities=(), secrets=frozenset())
    return boot(lab.services, role, planned=planned, base=Path("/b"), deadline=forever(), owner=lab.owner)


def test_an_image_for_azure_is_ready_when_it_says_so(lab: Any) -> None:
    assert start(lab, a_plan()) == "ready"
    assert [role for role, _ in lab.owner.made] == ["build", "build"]  # platform and machine
    (spec,) = lab.specs
    assert spec.smbios == AZURE_SMBIOS and spec.wire.address == IPv4Address("10.0.0.4")
    assert [path.name for path in spec.cdroms] == ["provisioning.iso"]
    (reported,) = [fields for kind, fields in lab.said if kind is Kind.MACHINE_REPORTED]
    assert (reported["state"], reported["by"]) == ("Ready", "cloud-init")


def test_what_a_machine_may_write_on_this_host_is_a_setting(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Settings(console_limit=1 << 20, platform_log_limit=5)
    lab.services.settings = limits
    start(lab, a_plan())
    assert lab.specs[0].console_bytes == 1 << 20
    assert spec_from_json(spec_to_json(lab.specs[0]), lab.specs[0].directory).console_bytes == 1 << 20
    told: list[Any] = []
    lab.services.options.template = SimpleNamespace(folder=Path())
    monkeypatch.setattr(Platform, "start", lambda *_, **given: told.append(given["bounds"]))
    start_platform(lab.services, "build", machine(), frozenset())
    assert told == [Bounds(journal=5, console=1 << 20)]


def test_a_generic_image_has_its_seed_and_is_not_waited_for(lab: Any) -> None:
    lab.platform = Told()
    assert start(lab, a_plan(provisioning=Provisioning.NOCLOUD)) == "ready"
    (spec,) = lab.specs
    assert spec.smbios is None and spec.wire is not None
    assert [path.name for path in spec.cdroms] == ["seed.iso"]


def test_an_image_of_which_nothing_is_known_finds_both(lab: Any) -> None:
    lab.platform = Told()
    assert start(lab, a_plan(provisioning=Provisioning.UNKNOWN)) == "ready"
    (spec,) = lab.specs
    assert spec.smbios == AZURE_SMBIOS
    assert [path.name for path in spec.cdroms] == ["provisioning.iso", "seed.iso"]


def test_a_guest_that_reports_a_failure_ends_the_wait_with_its_words(lab: Any) -> None:
    lab.platform = Told(FAILED)
    with pytest.raises(ProvisionFailed, match="the guest reports that its provisioning failed: no disk"):
        start(lab, a_plan())


def test_a_guest_that_never_reports_is_not_ready_in_time(lab: Any) -> None:
    lab.platform = Told()
    with pytest.raises(ProvisionFailed, match="did not become ready in time"):
        start(lab, a_plan())


@pytest.mark.parametrize(
    ("platform", "why"), [(Told(alive=False), "the platform ended; MemoryError"), (Told(FAILED), "no disk")]
)
def test_the_watch_sees_what_the_platform_sees(lab: Any, platform: Any, why: str) -> None:
    watchdog = Watchdog(FakeMachine(slow=10), "build", lab.services, platform, system=FakeSystem())  # type: ignore[arg-type]
    with pytest.raises(ProvisionFailed, match=why):
        watchdog()
    Watchdog(FakeMachine(slow=10), "build", lab.services, Told(READY, FAILED), system=FakeSystem())()  # type: ignore[arg-type]


def test_what_a_guest_reports_when_it_is_up_ends_no_build(lab: Any) -> None:
    """The agent gives up after half an hour on keys that a customizer removed; in Azure nobody listens any more."""
    watchdog = Watchdog(FakeMachine(slow=10), "build", lab.services, Told(FAILED), system=FakeSystem())  # type: ignore[arg-type]
    watchdog.booting = False
    watchdog()


def test_another_user_for_the_machine_that_proves_the_image(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    users: list[str] = []

    def remember(user: str, rng: random.Random) -> Identity:
        users.append(user)
        return fresh_identity(user, rng)

    monkeypatch.setattr(booting, "fresh_identity", remember)
    start(lab, a_plan())
    start(lab, a_plan(), VERIFY)
    assert users == ["packer", VERIFY_USER]


def verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: Any) -> list[Any]:
    """What `_verify_boot` says and releases when the boot gives `outcome`: a host name, or an error."""
    this = context(tmp_path)
    this.state.disk = tmp_path / "disk"
    seen: list[Any] = this.said

    def come_up(role: str, base: Path, *_: object) -> Any:
        assert (role, base) == (VERIFY, this.state.disk)
        if isinstance(outcome, Exception):
            raise outcome
        return SimpleNamespace(
            communicator=SimpleNamespace(output=lambda command, deadline: (0, f"{outcome}\n")),
            system=LinuxSystem(),
            identity=SimpleNamespace(hostname="pkrvmnew", user=VERIFY_USER),
        )

    ctx: Any = SimpleNamespace(
        disk=this.state.disk, deadline=forever(), services=this.services, emit=this.services.emit, planned=None,
        fleet=SimpleNamespace(boot=come_up, release=lambda role: seen.append(("released", role))),
    )  # fmt: skip
    _verify_boot(ctx)
    return seen


def test_an_image_that_comes_up_anew_is_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, (kind, fields), released = verified(tmp_path, monkeypatch, "pkrvmnew")
    assert kind is Kind.NOTICE and "host name pkrvmnew, user another" in fields["message"]
    assert released == ("released", VERIFY)
    assert verified(tmp_path, monkeypatch, "PKRVMNEW")[-1] == released, "Windows may write it in another case"


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        ("pkrvmold", "keeps its host name: pkrvmold"),
        (ProvisionFailed("silence"), "does not come up as a new machine: silence"),
    ],
)
def test_one_that_does_not_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: Any, why: str
) -> None:
    with pytest.raises(GeneralizeFailed, match=why):
        verified(tmp_path, monkeypatch, outcome)


@pytest.mark.parametrize(
    "error",
    [
        HostNotReady("not enough disk space"), DebugfsFailed("it ended"), Unreadable("no kernel"),
        ToolFailed(["qemu-img"], 1, "no space"),
    ],
)  # fmt: skip
def test_a_disk_that_cannot_be_looked_into_fails_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: AibemuError
) -> None:
    this = context(tmp_path)
    this.state.disk = tmp_path / "disk"

    def broken(*args: object, **words: object) -> None:
        raise error

    monkeypatch.setattr("aibemu.disks.reading.open_files", broken)
    build: Any = SimpleNamespace(system=LinuxSystem(), identity=SimpleNamespace(user="packer"))
    generalizing._prove(this.state, build)
    (kind, fields) = this.said[-1]
    assert kind is Kind.NOTICE and fields["message"].endswith(
        f"not proven that the image is generalised: {error.message}"
    )


def test_a_run_ends_its_platforms_with_its_machines(tmp_path: Path) -> None:
    this = context(tmp_path)
    order: list[str] = []
    machine: Any = SimpleNamespace(destroy=lambda: order.append("machine"), id="m")
    platform: Any = SimpleNamespace(stop=lambda: order.append("platform"))
    fleet = this.state.fleet
    fleet.platform_made("build", platform)
    fleet.machine_made("build", machine)
    fleet.platform_made("validate", platform)  # its machine was never made
    with fleet:
        pass
    assert order == ["platform", "machine", "platform"]


def test_the_next_command_ends_the_platform_of_a_dead_run(tmp_path: Path) -> None:
    from aibemu.runs.store import Run
    from aibemu.runs.sweep import destroy_machines

    run = Run(tmp_path / "run")
    platform = Platform.start(
        run.platform / "build", machine(), journal=run.platform_journal("build"), offline=False
    )  # fmt: skip
    platform.await_listening(forever())
    assert destroy_machines(run, None) == [f"the platform of machine {run.id}-build"]
    assert not platform.alive() and not run.platform.exists()
    assert run.platform_journal("build").exists()


def test_all_waits_of_a_boot_are_counted_from_one_zero(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = lab.services.clock

    class Slow(LinuxSystem):
        def await_ready(self, machine: StartingMachine, bound: Deadline) -> Ready:
            clock.advance(20)
            communicator = machine.connect(bound)
            clock.advance(10)
            return Ready(communicator=communicator, boot_id="b")

    def told(deadline: Deadline, check: object) -> HealthReport:
        clock.advance(90)
        return READY

    lab.platform.wait_for_verdict = told
    lab.services.driver.communicator = lambda *_: ScriptedCommunicator()
    monkeypatch.setattr(starting, "for_image", lambda info: Slow())
    monkeypatch.setattr(booting, "_ready", READY_AT_LAST)
    start(lab, a_plan())
    waits = (Kind.MACHINE_REPORTED, Kind.MACHINE_CONNECTED, Kind.MACHINE_READY)
    assert [fields["seconds"] for kind, fields in lab.said if kind in waits] == [90, 110, 120]
