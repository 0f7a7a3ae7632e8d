"""What every guest system promises, as tests that need no machine. Subclass it in a test module:

    class TestMine(SystemContract):
        def new_system(self) -> GuestSystem:
            return MySystem()

Its guest follows a script and says yes to everything else (`aibemu.testing.guest`). Needs pytest.
"""

from __future__ import annotations

import json
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from aibemu import plugins
from aibemu.clock import Clock, Deadline, forever
from aibemu.communicators import Communicator, Credentials
from aibemu.customizers import StepSettings
from aibemu.errors import ProvisionFailed
from aibemu.fabric.identity import Identity, fresh_identity
from aibemu.fabric.vm import ImageReference, Nic, VirtualMachine
from aibemu.hardware import Hardware
from aibemu.hypervisor import FrozenRefused
from aibemu.images import BaseImage, Generation, ImageInfo, Provisioning
from aibemu.systems import GuestSystem
from aibemu.systems.freezing import Restoration
from aibemu.systems.traits import Trouble
from aibemu.testing.clock import FakeClock
from aibemu.testing.guest import ScriptedCommunicator, ScriptedMachine
from aibemu.testing.script import Script
from aibemu.testing.steps import ScriptedGuest

WORDS = {"resource group": "IT_one"}


@dataclass(kw_only=True)
class ScriptedStart:
    """A machine that comes up: the public fake of `aibemu.systems.starting.StartingMachine`."""

    identity: Identity
    credentials: Credentials
    folder: Path
    communicator: ScriptedCommunicator = field(default_factory=ScriptedCommunicator)
    clock: Clock = field(default_factory=FakeClock)
    awaits_first_boot: bool = True
    boots_guest: bool = False
    # The serial console.
    text: str = ""
    # Who logged in, one after the other, and what people were told.
    logins: list[Credentials] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def console(self) -> Callable[[], str]:
        said = 0

        def read() -> str:
            nonlocal said
            before, said = said, len(self.text)
            return self.text[before:]

        return read

    def check(self) -> None:
        return

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def await_server(self, bound: Deadline) -> None:
        bound.check()

    def connect(self, bound: Deadline, credentials: Credentials | None = None) -> Communicator:
        self.logins.append(credentials or self.credentials)
        return self.communicator


class SystemContract:
    """The suite."""

    def new_system(self) -> GuestSystem:
        """The entry point of `aibemu.systems`."""
        raise NotImplementedError

    def new_info(self) -> ImageInfo:
        """An image of this system that can be booted."""
        return ImageInfo(
            os_type="Linux", os_name="A system", generation=Generation.V1, provisioning=Provisioning.NOCLOUD,
            generalized=True, origin="contract",
        )  # fmt: skip

    @pytest.fixture
    def scratch(self, tmp_path: Path) -> Path:
        return tmp_path

    @pytest.fixture
    def system(self) -> GuestSystem:
        return self.new_system()

    @pytest.fixture
    def start(self, system: GuestSystem, scratch: Path) -> ScriptedStart:
        return new_start(system, scratch / "work", "builder", 1)

    # What it is

    def test_its_communicator_is_installed_and_its_paths_have_rules(self, system: GuestSystem) -> None:
        assert system.communicator in plugins.names("aibemu.communicators")
        assert system.path.basename(system.path.join("folder", "file")) == "file"
        assert system.advice.image and system.advice.without_platform and system.advice.host_name

    def test_a_good_image_is_not_refused(self, system: GuestSystem, scratch: Path) -> None:
        info = self.new_info()
        assert system.objection(info) is None and system.remedy(info)
        image = BaseImage(
            digest="0" * 64, path=scratch, virtual_size=1, file_size=1, created="2026-01-01T00:00:00Z", info=info
        )
        assert all(isinstance(doubt, str) for doubt in system.doubts(image))

    def test_it_wants_hardware_of_which_ports_are_no_part(self, system: GuestSystem) -> None:
        """They are its communicator's."""
        assert system.hardware(self.new_info()).guest_ports == Hardware().guest_ports

    @pytest.mark.parametrize(
        "trouble", [Trouble(no_network=True), Trouble(crash="0x7B (0x1, 0x2, 0x3, 0x4)"), Trouble()]
    )
    def test_other_devices_are_none_that_were_tried_and_come_to_an_end(
        self, system: GuestSystem, trouble: Trouble
    ) -> None:
        tried = [system.hardware(self.new_info())]
        while (other := system.other_hardware(self.new_info(), tried[-1], trouble)) is not None:
            assert other not in tried and other.guest_ports == Hardware().guest_ports
            tried.append(other)

    def test_its_key_is_the_same_each_time(self, system: GuestSystem) -> None:
        assert list(system.key()) == list(self.new_system().key())
        assert json.dumps(list(system.key()))

    # Who logs in

    def test_credentials_are_fresh_and_their_secrets_are_in_private_files(
        self, system: GuestSystem, scratch: Path
    ) -> None:
        made = []
        for number in (1, 2):
            folder = scratch / str(number)
            folder.mkdir()
            one = system.credentials(folder, "builder", repeatable(number))
            secrets = [path for path in (one.key_file, one.password_file) if path]
            assert one.user == "builder" and secrets
            assert all(path.parent == folder for path in secrets)
            assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in secrets)
            made.append([path.read_text() for path in secrets])
            text = json.dumps(one.as_json())
            assert Credentials.from_json(json.loads(text)) == one
            assert not any(secret.strip() in text for secret in made[-1])
        assert made[0] != made[1]

    @pytest.mark.parametrize("provisioning", list(Provisioning))
    def test_its_discs_are_files_of_the_folder(
        self, system: GuestSystem, start: ScriptedStart, provisioning: Provisioning
    ) -> None:
        info = replace(self.new_info(), provisioning=provisioning)
        discs = system.discs(start.folder, info, start.identity, new_vm(start), "en-US")
        assert all(disc.is_file() and disc.parent == start.folder for disc in (*discs.cdroms, *discs.sticks))

    # Coming up

    def test_it_is_ready_once_somebody_is_logged_in(self, system: GuestSystem, start: ScriptedStart) -> None:
        ready = system.await_ready(start, forever(start.clock))
        assert ready.communicator is start.communicator and start.logins == [start.credentials]
        assert ready.boot_id == system.boot_id(start.communicator, forever(start.clock))
        assert ready.first_boot in {"done", "degraded", "error", "absent"} and start.warnings == []

    def test_each_boot_has_an_id_of_its_own(self, system: GuestSystem, start: ScriptedStart) -> None:
        machine = start.communicator.machine
        first = system.boot_id(start.communicator, forever(start.clock))
        assert first == system.boot_id(start.communicator, forever(start.clock)) != ""
        machine.reboot()
        assert system.boot_id(start.communicator, forever(start.clock)) != first
        machine.power_off()
        with pytest.raises(ConnectionError):
            system.boot_id(start.communicator, forever(start.clock))

    def test_a_console_without_trouble_is_not_fatal(self, system: GuestSystem) -> None:
        assert system.fatal("") is None
        assert system.fatal("all is well\nlogin: ") is None
        assert system.starved("all is well\nlogin: ") is None

    def test_a_console_without_signs_tells_no_stage(self, system: GuestSystem) -> None:
        for text in ("", "all is well\nlogin: ", "\x00 \ufffd[31m" * 1000):
            signs = system.boot_signs(text)
            assert (signs.stage, signs.first_boot_over, signs.troubles) == ("", False, ())

    def test_what_it_leaves_in_the_guest_may_fail_to_get_there(self, system: GuestSystem, start: ScriptedStart) -> None:
        system.after_boot(start.communicator, forever(start.clock))
        full = ScriptedCommunicator(Script.parse([{"match": "^upload:", "exit": 1, "stderr": ["no room"]}]))
        if start.communicator.files:
            with pytest.raises(ProvisionFailed, match="no room"):
                system.after_boot(full, forever(start.clock))

    def test_it_says_what_the_guest_is_called(self, system: GuestSystem) -> None:
        named = ScriptedCommunicator(Script.parse([{"match": "", "stdout": ["pkrvm1"]}]))
        assert system.host_name(named, forever(FakeClock())) == "pkrvm1"

    # Its last step

    def test_its_last_step_runs_and_says_what_to_do_when_it_fails(self, system: GuestSystem) -> None:
        step = system.deprovision(StepSettings(rng=repeatable(1)))
        assert step.kind and step.describe().command and list(step.needs()) == []
        assert json.dumps(step.inputs())
        guest = ScriptedGuest(system)
        assert step.apply(guest, ()).error is None and guest.communicator.transcript
        failing = ScriptedGuest(system, Script.parse([{"match": "", "exit": 3}]))
        outcome = step.apply(failing, ())
        assert outcome.error and outcome.hint

    # Freezing

    def test_a_restored_guest_becomes_this_runs(self, system: GuestSystem, start: ScriptedStart, scratch: Path) -> None:
        if system.freezing is None:
            pytest.skip("guests of this system are not frozen")
        bound = forever(start.clock)
        state = dict(system.freezing.state(start.communicator, start.credentials, WORDS, bound))
        assert json.loads(json.dumps(state)) == state
        assert not {"hostname", "user", "vm_id", "mac"} & set(state), "these are the identity's, in the same record"
        later = new_start(system, scratch / "later", "builder", 2)
        if system.freezing.keeps_identity:
            later.credentials = system.freezing.credentials(later.folder, start.identity.user, state)
            assert later.credentials.password() == start.credentials.password()
            assert later.credentials.certificate == start.credentials.certificate
        before = Restoration(
            state=state, identity=start.identity, made=datetime(2026, 1, 1, tzinfo=UTC), words=WORDS,
            rng=repeatable(3),
        )  # fmt: skip
        ready = system.freezing.restore(later, before, bound)
        assert ready.communicator is later.communicator and ready.boot_id
        kept = system.freezing.keeps_identity
        assert later.logins and (later.logins[0] == later.credentials) is kept, "else it has the other run's login only"
        system.freezing.set_clock(ready.communicator, start.clock, bound)

    def test_a_state_that_is_none_is_refused(self, system: GuestSystem, start: ScriptedStart) -> None:
        if system.freezing is None:
            pytest.skip("guests of this system are not frozen")
        nothing = Restoration(
            state={}, identity=start.identity, made=datetime(2026, 1, 1, tzinfo=UTC), words=WORDS, rng=repeatable(3)
        )
        with pytest.raises(FrozenRefused):
            if system.freezing.keeps_identity:
                system.freezing.credentials(start.folder, start.identity.user, {})
            system.freezing.restore(start, nothing, forever(start.clock))


def repeatable(number: int) -> random.Random:
    """Random numbers that are the same each time."""
    return random.Random(number)  # noqa: S311 - for tests


def new_start(system: GuestSystem, folder: Path, user: str, number: int) -> ScriptedStart:
    """A machine of `user` that comes up, with credentials of its own in `folder`."""
    folder.mkdir()
    rng = repeatable(number)
    return ScriptedStart(
        identity=fresh_identity(user, rng), credentials=system.credentials(folder, user, rng), folder=folder,
        communicator=ScriptedCommunicator(machine=ScriptedMachine()),
    )  # fmt: skip


def new_vm(start: ScriptedStart) -> VirtualMachine:
    """The machine as its platform knows it."""
    identity = start.identity
    key = start.credentials.public_key
    return VirtualMachine(
        vm_id=identity.vm_id, name=identity.hostname, computer_name=identity.hostname, admin_username=identity.user,
        public_keys=(key,) if key else (), subscription_id="s", tenant_id="t", resource_group="g", location="l",
        vm_size="Standard_B1s", generation="V1", image=ImageReference(id="/i"),
        nic=Nic(mac=identity.mac, address=IPv4Address("10.0.0.4"), subnet=IPv4Network("10.0.0.0/24")),
    )  # fmt: skip
