"""Layers with real guests: what a build starts from, what it runs again, and what of the old run is still seen then.

One cold boot for all of it: every other build starts from a layer of the first, or of one that did; so do builds of
other files (fixture `warm_base`). All templates have the same name (a script can read it, so it decides which layers
fit) and lie in folders of their own. What a step left and saw it prints as `word=value`; `markers` has a word for each
time that a step ran.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from aibemu.layers import Layer
from aibemu.layers.store import LayerStore
from tests.e2e.conftest import Shelf
from tests.e2e.lab import (
    QUICK,
    VM_SIZE,
    Base,
    Build,
    Event,
    aibemu,
    answer,
    copy_layer,
    fresh_home,
    is_open,
    left_over,
    machine_processes,
    managed_image,
    run,
    template,
)
from tests.e2e.platform import leaf

pytestmark = pytest.mark.vm

MIB = 1024**2
NAMES = ["one", "two", "settings", "four"]
IMDS = "http://169.254.169.254/metadata/instance/compute/name?api-version=2021-02-01&format=text"
LOOK = [
    "echo clock=$(date +%s.%N)",
    "echo markers=$(cat /etc/aibemu-* | sort)",
    "echo hostname=$(hostname)",
    "echo file=$(cat /etc/hostname)",
    f"echo imds=$(curl --silent --header Metadata:true '{IMDS}')",
    "echo keys=$(sudo sha256sum /home/packer/.ssh/authorized_keys)",
    "echo random=$(head -c 16 /dev/urandom | base64)",
    "echo boot=$(cat /proc/sys/kernel/random/boot_id)",
    "echo sessions=$(grep -sla '^sshd: packer@' /proc/[0-9]*/cmdline | wc -l)",
    "echo instance=$(sudo cat /var/lib/cloud/data/instance-id)",
    "echo hostkeys=$(sudo sha256sum /etc/ssh/ssh_host_ed25519_key /etc/ssh/ssh_host_rsa_key | sha256sum)",
]
# Kills the builder when the memory of a guest is written, but is no layer yet.
KILLER = """\
import os, signal
from aibemu_drivers.qemu.monitor import Monitor

migrate = Monitor.migrate

def migrate_and_die(self, command, *rest):
    migrate(self, command, *rest)
    if command == "migrate":
        os.kill(os.getpid(), signal.SIGKILL)

Monitor.migrate = migrate_and_die
"""


def looking(name: str) -> list[str]:
    """Lines that leave a mark of their step and say what there is to see."""
    return [f"echo {name} | sudo tee -a /etc/aibemu-{name} >/dev/null", *LOOK]


def inline(name: str, *more: str) -> dict[str, Any]:
    return {"type": "Shell", "name": name, "inline": [*looking(name), *more]}


SETTINGS = {"type": "File", "name": "settings", "sourceUri": "settings.conf", "destination": "/tmp/settings.conf"}
TWO = {"type": "Shell", "name": "two", "scriptUri": "two.sh"}
VM = f"echo vm=$({leaf('vmId')})"
SHARED = [inline("one", VM, "echo uuid=$(sudo cat /sys/class/dmi/id/product_uuid)"), TWO, SETTINGS]
FOUR = inline("four", QUICK)
RESTART = inline("four", "sudo reboot")
CHANGE = "echo changed=yes\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """One home for all builds. stack: closes them."""

    home: Path
    folder: Path
    stack: ExitStack

    @property
    def store(self) -> LayerStore:
        return LayerStore(self.home / "layers")

    def layer(self, label: str, build: Build) -> Layer:
        """The one that `build` made."""
        (found,) = [one for one in self.store.layers() if (one.label, one.run) == (label, build.run)]
        return found

    def write(self, name: str, *last: dict[str, Any], script: str = "", **properties: Any) -> Path:
        """The shared steps, then `last`; script: more lines for two.sh."""
        folder = self.folder / "templates" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "two.sh").write_text("\n".join(["#!/bin/sh", *looking("two"), script]))
        (folder / "settings.conf").write_text("colour = blue\n")
        content = template("layered", customize=[*SHARED, *last], distribute=[managed_image(name)], **properties)
        (folder / "template.json").write_text(json.dumps(content, indent=1))
        return folder / "template.json"

    def start(self, name: str, *words: str | Path, verb: str = "run", home: Path | None = None) -> Build:
        build = Build(home or self.home, words, self.folder / name, verb)
        self.stack.callback(build.close)
        return build


def finish(*builds: Build) -> None:
    for build in builds:
        assert build.wait() == 0, build.stdout + build.stderr


def seen(build: Build, step: str) -> dict[str, str]:
    """What one step printed; nothing on standard error."""
    assert build.lines(step, "stderr") == []
    return dict(line.split("=", 1) for line in build.lines(step))


def cached(build: Build) -> list[str]:
    return [event["label"] for event in build.events("step.cached")]


def ran(build: Build) -> list[str]:
    """Labels of the customizers that were run."""
    return [event["label"] for event in build.events("step.started") if event["phase"] == "customize"]


def frozen(build: Build) -> list[str]:
    return [event["label"] for event in build.events("layer.frozen")]


def started_from(build: Build) -> str:
    """The label of the layer, or "" for a boot."""
    (restored,) = build.events("machine.restored") or [{"label": ""}]
    return str(restored["label"])


@pytest.fixture(scope="module", autouse=True)
def _layers_are_on() -> Iterator[None]:
    """Where CI is set there are none."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CI", "AIBEMU_CACHE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, base: Base, _layers_are_on: None) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("layers")
    home = fresh_home(folder / "home", base)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home / "layers", ignore_errors=True)  # some GiB
        stack.callback(aibemu, home, "clean", "--all", "--yes")  # a kept machine that no test freed
        yield Lab(home=home, folder=folder, stack=stack)


@pytest.fixture(scope="module")
def first_and_listed(lab: Lab, shelf: Shelf) -> tuple[Build, list[dict[str, Any]]]:
    """The one that boots, and the layers that there were after it."""
    with shelf.lock:
        build = lab.start("first", lab.write("first", FOUR))
        shelf.take(build)
    finish(build)
    return build, answer(lab.home, "cache", "list")["layers"]


@pytest.fixture(scope="module")
def first(first_and_listed: tuple[Build, list[dict[str, Any]]]) -> Build:
    return first_and_listed[0]


@pytest.fixture(scope="module")
def edited(lab: Lab, first: Build) -> list[Build]:
    """The template of `first` with another last step; twice at once."""
    conf = "echo conf=$(cat /tmp/settings.conf)"
    builds = [
        lab.start(name, lab.write(name, inline("four", conf, f"echo edit={name}", *more)))
        for name, *more in (["edit-1"], ["edit-2", QUICK])
    ]
    finish(*builds)
    return builds


@pytest.fixture(scope="module")
def changed(lab: Lab, first: Build, edited: list[Build]) -> Build:
    """The template of `first` with another two.sh, and `four` restarts the machine. It runs beside other tests."""
    return lab.start("changed", lab.write("first", RESTART, inline("five", QUICK), script=CHANGE))


@pytest.fixture(scope="module")
def failed(lab: Lab, changed: Build) -> list[Build]:
    """Two builds whose third script fails; the machine of the second is kept."""
    words: Sequence[list[str]] = ([], ["--on-error", "keep"])
    builds = [
        lab.start(name, lab.write(name, inline("three", "exit 3"), inline("four")), *more)
        for name, more in zip(("failed", "kept"), words, strict=True)
    ]
    for build in builds:
        assert build.wait() == 1, build.stdout + build.stderr
    return builds


def test_the_first_build_boots_and_makes_layers(lab: Lab, first_and_listed: tuple[Build, list[dict[str, Any]]]) -> None:
    first, listed = first_and_listed
    assert started_from(first) == ""
    assert (cached(first), ran(first)) == ([], NAMES)
    assert frozen(first) == ["provisioned", *NAMES]
    assert {one["label"] for one in listed} == {"provisioned", *NAMES}
    assert {one["run"] for one in listed} == {first.run}
    assert not any(one["inUse"] for one in listed)
    assert "azure-arm: markers=four one two" in (first.directory / "customization.log").read_text()
    (output,) = answer(lab.home, "outputs", first.run)["outputs"]
    assert output["runOutput"]["properties"]["provisioningState"] == "Succeeded"
    (ready,) = first.events("machine.ready")
    assert {seen(first, "c4")[name] for name in ("hostname", "file", "imds")} == {ready["hostname"]}
    # Generation 1: SMBIOS has the first three fields byte-swapped.
    said = seen(first, "c1")
    assert UUID(said["uuid"]) == UUID(bytes=UUID(said["vm"]).bytes_le)
    assert left_over(first.directory, lab.home / "layers") == []


def test_only_what_was_edited_runs_again(first: Build, edited: list[Build]) -> None:
    for number, build in enumerate(edited, start=1):
        assert started_from(build) == "settings"
        assert (cached(build), ran(build), frozen(build)) == (NAMES[:3], ["four"], ["four"])
        after = seen(build, "c4")
        assert after["markers"] == "four one two", "an earlier step ran again"
        assert (after["conf"], after["edit"]) == ("colour = blue", f"edit-{number}")
        assert build.lines("c1") == []
        assert [event["run"] for event in build.events("machine.restored")] == [first.run]
        assert left_over(build.directory) == []


def test_a_guest_that_was_taken_up_is_this_runs(first: Build, edited: list[Build]) -> None:
    before, *after = [seen(build, "c4") for build in (first, *edited)]
    for build, now in zip(edited, after, strict=True):
        assert now["boot"] == before["boot"], "it booted"
        assert now["hostname"] == now["file"] == now["imds"]
        assert now["sessions"] == "1", "a connection of the old run is left"
        (said,) = [event for event in build.events("step.output") if event["line"].startswith("clock=")]
        (asked,) = [event for event in build.events("step.started") if event["step"] == "c4"]
        assert instant(asked) - 3 < float(now["clock"]) < instant(said) + 3
        assert now["instance"] == before["instance"]
    for name in ("hostname", "keys", "random"):
        assert len({now[name] for now in (before, *after)}) == 3, name


def instant(event: Event) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def test_another_vm_size_starts_anew(lab: Lab, first: Build) -> None:
    for size, start in ((VM_SIZE, "from a layer"), ("Standard_D4s_v3", None)):
        path = lab.write("size", FOUR, vmProfile={"vmSize": size})
        plan = answer(lab.home, "plan", path)
        assert (plan["start"] is None) == (start is None), plan
        assert [step["cached"] for step in plan["customize"]] == [start is not None] * 4


def test_a_failed_build_is_resumed(lab: Lab, failed: list[Build]) -> None:
    build = failed[0]
    assert started_from(build) == "settings"
    assert ran(build) == ["three"]
    assert frozen(build) == []
    assert left_over(build.directory) == []
    lab.write("failed", inline("three"), inline("four", QUICK))
    resumed = lab.start("resumed", build.run, verb="resume")
    finish(resumed)
    assert resumed.events("run.started")[0]["resumes"] == build.run
    assert (cached(resumed), ran(resumed)) == (NAMES[:3], ["three", "four"])
    assert seen(resumed, "c5")["markers"] == "four one three two"


def test_a_kept_machine_is_used_and_destroyed(lab: Lab, failed: list[Build]) -> None:
    build = failed[1]
    assert machine_processes(build.directory) == {"QEMU", "platform"}
    hostname = seen(build, "c4")["hostname"]
    done = aibemu(lab.home, "exec", build.run, "--", "hostname")
    assert (done.returncode, done.stdout) == (0, f"{hostname}\n"), done.stderr
    assert aibemu(lab.home, "exec", build.run, "--", "sh", "-c", "exit 7").returncode == 7
    shell = aibemu(lab.home, "shell", build.run, typed="hostname\nwhoami\nexit 5\n")
    assert (shell.returncode, shell.stdout.splitlines()[-2:]) == (0, [hostname, "packer"]), shell.stderr
    destroyed = answer(lab.home, "destroy", build.run, "--yes")["destroyed"]
    assert f"machine {build.run}-build" in destroyed
    assert left_over(build.directory) == []
    assert [port for port in build.ports() if is_open(port)] == []
    assert "has no machine any more" in aibemu(lab.home, "exec", build.run, "--", "hostname").stderr


def test_killed_while_it_freezes(lab: Lab, first: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab.folder / "killer").mkdir()
    (lab.folder / "killer" / "sitecustomize.py").write_text(KILLER)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(lab.folder / "killer"))
        build = lab.start("killed", lab.write("killed", inline("killed")))
    assert build.wait() == -9, build.stdout + build.stderr
    assert build.events("step.finished")[-1]["status"] == "ok"
    assert machine_processes(build.directory) == {"QEMU", "platform"}, "they outlive their maker"
    mine = list((lab.home / "layers" / "files").glob(f".*.{build.process.pid}-*.partial"))
    assert [path.stat().st_size > 50 * MIB for path in mine] == [True]
    status = aibemu(lab.home, "status")
    assert f"run {build.run} had died: cleaned up machine {build.run}-build" in status.stderr, status.stderr
    assert left_over(build.directory) == []
    assert "killed" not in {one["label"] for one in answer(lab.home, "cache", "list")["layers"]}
    answer(lab.home, "cache", "prune", "--yes")
    assert not mine[0].exists()


@contextmanager
def small_file_system(place: Path, size: int) -> Iterator[None]:
    """A tmpfs; the test is skipped where only root may mount one."""
    place.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "aibemu-test", str(place)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        run("umount", place)


def test_the_disk_is_full_when_it_freezes(lab: Lab, first: Build, base: Base) -> None:
    """A home whose layers are on a file system that has room for one layer, not for two."""
    home = fresh_home(lab.folder / "small", base)
    layer = lab.layer("settings", first)
    size = sum(path.stat().st_blocks * 512 for path in layer.files)
    with small_file_system(home / "layers", size + 64 * MIB):
        copy_layer(layer, lab.store, home / "layers")
        there = sorted((home / "layers" / "files").iterdir())
        build = lab.start("full", lab.write("full", inline("four", "echo full"), inline("five", QUICK)), home=home)
        finish(build)
        assert started_from(build) == "settings"
        assert (ran(build), frozen(build)) == (["four", "five"], [])
        (notice,) = [event for event in build.events("notice") if "without making layers" in event["message"]]
        assert "this build goes on without making layers" in build.stderr
        assert notice["level"] == "warning"
        assert sorted((home / "layers" / "files").iterdir()) == there
        assert left_over(home) == []


def test_another_script_at_the_same_path_runs_again(changed: Build) -> None:
    finish(changed)
    assert started_from(changed) == "one"
    assert (cached(changed), ran(changed)) == (["one"], ["two", "settings", "four", "five"])
    assert frozen(changed) == ["two", "settings", "four", "five"]
    after = seen(changed, "c2")
    assert (after["markers"], after["changed"]) == ("one two", "yes")


def test_a_machine_that_restarted_is_a_layer_like_others(lab: Lab, changed: Build) -> None:
    finish(changed)
    build = lab.start("after", lab.write("after", RESTART, inline("five", QUICK, "echo more=yes"), script=CHANGE))
    finish(build)
    assert (started_from(build), ran(build)) == ("four", ["five"])
    before, after = seen(changed, "c4"), seen(build, "c5")
    assert after["boot"] != before["boot"], "it did not restart"
    assert after["markers"] == "five four one two"
    assert after["hostname"] == after["file"] == after["imds"] != before["hostname"]
    for name in ("instance", "hostkeys"):
        assert after[name] == before[name], "it was taken for a new machine"


def test_four_at_once_from_one_layer_that_somebody_prunes(lab: Lab, first: Build, base: Base) -> None:
    home = fresh_home(lab.folder / "pruned", base)
    layer = lab.layer("settings", first)
    copy_layer(layer, lab.store, home / "layers")
    pause = ["--pause-before", "four"]  # until all have started from the layer
    builds = [
        lab.start(name, lab.write(name, inline("four", f"echo which={name}", QUICK)), *pause, home=home)
        for name in ("side-1", "side-2", "side-3", "side-4")
    ]
    for build in builds:
        build.wait_for("run.waiting")
    assert {event["layer"] for build in builds for event in build.events("machine.restored")} == {layer.id}
    files = [home / "layers" / "files" / path.name for path in layer.files]
    before = [digest(path) for path in files]
    pruned = answer(home, "cache", "prune", "--all", "--yes")["layers"]
    assert layer.id not in {one["id"] for one in pruned}
    for build in builds:
        gone_on = aibemu(home, "resume", build.run)
        assert gone_on.returncode == 0, gone_on.stderr
    finish(*builds)
    assert [seen(build, "c4")["which"] for build in builds] == ["side-1", "side-2", "side-3", "side-4"]
    assert {seen(build, "c4")["markers"] for build in builds} == {"four one two"}
    assert len({seen(build, "c4")["hostname"] for build in builds}) == 4
    assert [digest(path) for path in files] == before
    answer(home, "cache", "prune", "--all", "--yes")
    assert list((home / "layers" / "files").iterdir()) == []
    assert left_over(home) == []


def digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
