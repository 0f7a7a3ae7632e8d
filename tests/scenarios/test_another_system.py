"""A guest of an operating system that does not exist, through all five phases: nothing in the engine knows which one it
is. `aibemu.testing.system` has the system, its communicator and its customizers; they are installed as any plugin.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import SystemClock, forever
from aibemu.cloud.local import LocalCloud
from aibemu.communicators import Credentials
from aibemu.events import Kind
from aibemu.images import Provisioning
from aibemu.images.store import ImageStore
from aibemu.runs.access import access_of
from aibemu.testing.plugins import write_distribution
from aibemu.testing.system import ENTRY_POINTS, OS_TYPE, SEAL, FakeSystem
from tests.scenarios.layered import CASE, Workshop, layers_made
from tests.scenarios.observing import Seen

IMAGES = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/aibemu/providers/Microsoft.Compute/images"
SOURCE = {"type": "ManagedImage", "imageId": f"{IMAGES}/nine"}
STEPS = [
    {"type": "PowerShell", "name": "first", "inline": ["echo one", "echo two"]},
    {"type": "WindowsRestart", "name": "again", "restartCommand": "restart now", "restartCheckCommand": "up?"},
    {"type": "PowerShell", "name": "last", "inline": ["echo three"]},
]
RESTARTS = {"match": "^restart", "reboot": True, "disconnect": True}


@pytest.fixture
def nine(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A workshop whose store has an image of the system, and whose aibemu knows the system."""
    monkeypatch.syspath_prepend(str(write_distribution(tmp_path / "site", "plan9", ENTRY_POINTS)))
    put_image(shop, os_type=OS_TYPE)
    shop.guest = [RESTARTS]
    return shop


def put_image(shop: Workshop, **changes: Any) -> None:
    """Make a stored image the managed image `nine`, with another record."""
    store = ImageStore(shop.home.images, SystemClock())
    debian = store.find(store.aliases()["Debian:debian-12:12:0.20260101.1"])
    assert debian is not None
    raw = shop.home.images.parent / "nine.raw"
    raw.write_bytes(repr(changes).encode().ljust(3 << 20, b"\0"))  # equal bytes would be the same image
    image = store.add(
        raw, replace(debian.info, **{"os_name": "Plan 9", **changes}), deadline=forever(), source_format="raw"
    )
    LocalCloud(shop.home.cloud, SystemClock()).put_managed_image(
        SOURCE["imageId"], location="westeurope", digest=image.digest, info=image.info, tags={}, source_id=""
    )


def build(shop: Workshop, exit: int = 0, **properties: Any) -> Seen:
    """`aibemu run` on guests that could be frozen."""
    validate = {"inVMValidations": [{"type": "PowerShell", "name": "check", "inline": ["echo fine"]}]}
    shop.write(**{"source": SOURCE, "customize": STEPS, "validate": validate, **properties})
    return shop.call(args=["--driver-option", "freezes=yes"], exit=exit, clock="fake")


def test_it_is_built_through_all_five_phases(nine: Workshop) -> None:
    seen = build(nine)
    phases = [(event["phase"], event["status"]) for event in seen.events if event["kind"] == "phase.finished"]
    assert phases == [(name, "ok") for name in ("provision", "customize", "generalize", "validate", "distribute")]
    steps = [event["label"] for event in seen.events if event["kind"] == "step.started"]
    assert steps == ["first", "again", "last", "deprovision script", "check"]
    told = [entry.splitlines()[0] for entry in seen.told["build"]]
    assert told == [
        f"upload {SEAL} None", "upload C:\\sys\\step0.rc None", "run echo one", "run echo two", "run restart now",
        "run up?", "upload C:\\sys\\step2.rc None", "run echo three", f"run seal {SEAL}",
    ]  # fmt: skip
    assert not any(word in " ".join(told) for word in ("sudo", "/tmp", "waagent", "cloud-init"))
    image = seen.cloud()[f"{IMAGES}/web".lower()]
    assert image["properties"]["storageProfile"]["osDisk"]["osType"] == OS_TYPE


def test_the_record_says_how_to_get_in_without_the_password(nine: Workshop) -> None:
    seen = build(nine)
    (started, *_) = [event for event in seen.events if event["kind"] == "machine.started"]
    access = access_of(started)
    assert access is not None and access.communicator == "fake" and access.credentials.key_file is None
    file = access.credentials.password_file
    assert file is not None and file.parent.name == "build"
    assert started["key"] == "" and started["user"] == access.credentials.user == "packer"
    assert started["endpoint"] == f"{access.host}:{access.port}"
    assert not file.exists(), "a secret of a machine that is gone"


def test_a_guest_that_prints_its_password_tells_it_nobody(nine: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    password = "Zj4-Known-To-This-Test"

    def known(self: FakeSystem, folder: Path, user: str, rng: random.Random) -> Credentials:
        file = folder / "password"
        file.write_text(password)
        return Credentials(user=user, password_file=file)

    monkeypatch.setattr(FakeSystem, "credentials", known)
    nine.guest = [RESTARTS, {"match": "^echo one", "stdout": [f"{password} is how to get in"]}]
    seen = build(nine)
    assert seen.run is not None
    holding = [
        file for file in seen.run.directory.rglob("*") if file.is_file() and password.encode() in file.read_bytes()
    ]
    assert holding == [] and password not in seen.out + seen.err
    assert "*** is how to get in" in (seen.run.directory / "customization.log").read_text()


def test_its_guests_are_not_frozen_and_each_build_boots(nine: Workshop) -> None:
    for _ in range(2):
        seen = build(nine)
        assert layers_made(seen) == []
        assert [event for event in seen.events if event["kind"] == "machine.restored"] == []
        assert len(seen.told["build"]) == 9


def test_a_boot_that_its_console_ends_is_told_in_its_words_and_the_record_says_how_to_get_in(nine: Workshop) -> None:
    path = nine.write(source=SOURCE, customize=STEPS)
    (path.parent / "guest.yaml").write_text(json.dumps({"boot": {"fail": "stuck", "console": ["panic: no fossil"]}}))
    seen = nine.call(args=[], exit=1, clock="fake")
    assert "the system gave up: no fossil" in seen.err
    assert seen.run is not None
    (started,) = [event for event in seen.run.events() if event.kind is Kind.MACHINE_STARTED]
    assert access_of(started.fields) is not None


def test_its_last_step_may_fail(nine: Workshop) -> None:
    nine.guest = [RESTARTS, {"match": "^seal", "exit": 3}]
    seen = build(nine, exit=1)
    assert "the deprovision script failed: Script exited with non-zero exit status: 3" in seen.err
    assert "is it still there?" in seen.err


def test_a_guest_that_does_not_restart_is_no_endless_wait(nine: Workshop) -> None:
    nine.guest = []
    seen = build(nine, exit=1)
    assert "it did not restart (exit status 0)" in seen.err


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"os_type": "Inferno"}, "it is a Inferno image, and only Linux and Plan9 and Windows guests are run so far"),
        ({"os_type": OS_TYPE, "generalized": False}, "nobody has sealed it"),
        ({"os_type": "Linux", "provisioning": Provisioning.NONE}, "nothing in it configures a first boot"),
    ],
)
def test_an_image_that_no_system_takes_is_refused(nine: Workshop, changes: dict[str, Any], why: str) -> None:
    put_image(nine, **changes)
    nine.write(source=SOURCE)
    seen = nine.call(args=[], exit=4)
    assert f"cannot be booted: {why}" in seen.err and seen.run is None


def test_the_template_is_one_of_the_others() -> None:
    """What is changed here is the source and the steps."""
    assert json.loads(CASE.read_text())["resources"][0]["properties"]["distribute"][0]["imageId"] == f"{IMAGES}/web"
