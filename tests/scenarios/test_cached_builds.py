"""Builds that start from layers of earlier ones: what runs again, what does not, and what is said about it."""

from __future__ import annotations

import errno
import json
import re
from typing import Any

import pytest

from aibemu.errors import Expired, ProvisionFailed
from aibemu.layers.store import LayerStore
from tests.scenarios.layered import Workshop, layers_made, restored, statuses

ALL = ["one", "two", "three"]


def stored(shop: Workshop) -> list[str]:
    return sorted(layer.label for layer in LayerStore(shop.home.layers).layers())


def test_the_first_build_makes_a_layer_after_each_step(shop: Workshop) -> None:
    seen = shop.build()
    assert shop.ran(seen) == ALL
    assert layers_made(seen) == ["provisioned", *ALL]
    assert restored(seen) == []
    assert stored(shop) == sorted(["provisioned", *ALL])
    assert not list(shop.home.layers.rglob("*.partial"))


def test_built_again_unchanged_no_step_runs(shop: Workshop) -> None:
    first = shop.build()
    assert first.run is not None
    seen = shop.build()
    assert shop.ran(seen) == []
    assert restored(seen) == ["three"] and layers_made(seen) == []
    assert statuses(seen) == {"c1": "cached", "c2": "cached", "c3": "cached"}
    (outcome,) = seen.summary.outputs
    assert outcome.status == "ok"
    hows = [event["how"] for event in seen.events if event["kind"] == "step.cached"]
    assert len(hows) == 3
    assert all(how.startswith("cached ") and how.endswith(f" ago by run {first.run.id}") for how in hows)
    assert any("sh /tmp/DeprovisioningScript.sh" in entry for entry in seen.told["build"])  # that is never cached
    assert not any("cloud-init status" in entry for entry in seen.told["build"])


def test_an_edit_of_the_last_step_runs_that_step_only(shop: Workshop) -> None:
    shop.build()
    shop.steps["three"] += " more"
    seen = shop.build()
    assert shop.ran(seen) == ["three"]
    assert restored(seen) == ["two"] and layers_made(seen) == ["three"]
    assert statuses(seen) == {"c1": "cached", "c2": "cached", "c3": "ok"}
    shop.steps["three"] = "echo #three#"
    assert shop.ran(shop.build()) == []  # what was before the edit is still there


def test_an_edit_in_the_middle_runs_what_follows_too(shop: Workshop) -> None:
    shop.build()
    shop.steps["two"] += " more"
    assert shop.ran(shop.build()) == ["two", "three"]


def test_a_step_more_at_the_end_runs_alone_and_one_less_runs_none(shop: Workshop) -> None:
    shop.build()
    shop.steps["four"] = "echo #four#"
    assert shop.ran(shop.build()) == ["four"]
    del shop.steps["four"], shop.steps["three"]
    seen = shop.build()
    assert shop.ran(seen) == [] and restored(seen) == ["two"]


def test_a_step_with_another_name_is_the_same_step(shop: Workshop) -> None:
    shop.build()
    shop.steps = {"uno": "echo #one#", "two": "echo #two#", "three": "echo #three#"}
    assert restored(shop.build()) == ["three"]


def test_another_content_of_a_script_at_the_same_place_runs_it_again(shop: Workshop) -> None:
    shop.steps["two"] = "@setup.sh"
    shop.write()
    script = shop.work / "setup.sh"
    script.write_text("echo #two#\n")
    assert shop.ran(shop.build()) == ALL
    assert shop.ran(shop.build()) == []
    script.write_text("echo #two# changed\n")
    assert shop.ran(shop.build()) == ["two", "three"]


def test_another_machine_is_another_beginning(shop: Workshop) -> None:
    shop.build()
    shop.write(vmProfile={"osDiskSizeGB": 1})
    seen = shop.call(args=["--driver-option", "freezes=yes"], exit=0)
    assert shop.ran(seen) == ALL and restored(seen) == []


# What is asked for


@pytest.mark.parametrize(
    ("args", "started", "ran"),
    [
        (["--no-cache"], ["provisioned"], ALL),
        (["--cold"], [], ALL),
        (["--from", "2"], ["one"], ["two", "three"]),
        (["--from", "three"], ["two"], ["three"]),
        (["--from", "c1"], ["provisioned"], ALL),
        (["--max-age", "0s"], [], ALL),
        (["--max-age", "1h"], ["three"], []),
    ],
    ids=" ".join,
)
def test_options_that_leave_layers_unused(shop: Workshop, args: list[str], started: list[str], ran: list[str]) -> None:
    shop.build()
    seen = shop.build(*args)
    assert (restored(seen), shop.ran(seen)) == (started, ran)
    # And what ran is made anew for the next one.
    assert restored(shop.build()) == ["three"]


def test_an_unknown_step_is_refused_before_anything_runs(shop: Workshop) -> None:
    shop.write()
    seen = shop.call(args=["--driver-option", "freezes=yes", "--from", "four"], exit=2, recorded=False)
    assert "--from four: there is no such step" in seen.err
    assert "c3  three" in seen.err


def test_a_name_that_says_nocache_runs_each_time_with_all_after_it(shop: Workshop) -> None:
    shop.steps = {"one": "echo #one#", "two aibemu:nocache": "echo #two aibemu:nocache#", "three": "echo #three#"}
    shop.build()
    assert shop.ran(shop.build()) == ["two aibemu:nocache", "three"]


def test_no_freeze_makes_none_but_uses_those_there_are(shop: Workshop) -> None:
    seen = shop.build("--no-freeze")
    assert layers_made(seen) == [] and stored(shop) == []
    shop.build()
    shop.steps["three"] += " more"
    seen = shop.build("--no-freeze")
    assert (restored(seen), shop.ran(seen), layers_made(seen)) == (["two"], ["three"], [])


def test_ci_neither_makes_nor_uses_layers(shop: Workshop) -> None:
    shop.build()
    before = stored(shop)
    shop.steps["three"] += " more"
    seen = shop.build(env={"CI": "1"})
    assert (restored(seen), shop.ran(seen), layers_made(seen)) == ([], ALL, [])
    assert stored(shop) == before


@pytest.mark.parametrize("how", ["option", "setting"])
def test_ci_may_be_told_to(shop: Workshop, how: str) -> None:
    asked = ["--cache"] if how == "option" else []
    if how == "setting":
        shop.home.config.mkdir(exist_ok=True)
        (shop.home.config / "config.yaml").write_text("cache: on")
    assert layers_made(shop.build(*asked, env={"CI": "1"})) == ["provisioned", *ALL]
    assert restored(shop.build(*asked, env={"CI": "1"})) == ["three"]


def test_a_setting_switches_it_off(shop: Workshop) -> None:
    shop.home.config.mkdir(exist_ok=True)
    (shop.home.config / "config.yaml").write_text("cache: off")
    assert layers_made(shop.build()) == []


def test_a_driver_that_cannot_freeze_builds_as_ever(shop: Workshop) -> None:
    shop.write()
    seen = shop.call(exit=0)
    assert (shop.ran(seen), layers_made(seen)) == (ALL, [])
    assert not shop.home.layers.exists()


def test_a_store_that_may_hold_nothing_is_empty_after_the_build(shop: Workshop) -> None:
    shop.home.config.mkdir(exist_ok=True)
    (shop.home.config / "config.yaml").write_text("cache_size: 1K")
    assert layers_made(shop.build()) == ["provisioned", *ALL]
    assert stored(shop) == []
    assert list((shop.home.layers / "files").iterdir()) == []


# What goes wrong with layers


def test_a_layer_that_cannot_be_taken_up_is_deleted_and_the_next_best_used(shop: Workshop) -> None:
    shop.build()
    store = LayerStore(shop.home.layers)
    (bad,) = [layer for layer in store.layers() if layer.label == "three"]
    assert bad.frozen.memory is not None
    bad.frozen.memory.chmod(0o600)
    bad.frozen.memory.write_text("no memory")
    seen = shop.build("--no-freeze")
    assert stored(shop) == ["one", "provisioned", "two"]
    assert (restored(seen), shop.ran(seen)) == (["two"], ["three"])
    assert "the layer 'three' of run" in seen.err and "it is deleted" in seen.err
    assert statuses(seen) == {"c1": "cached", "c2": "cached", "c3": "ok"}


def test_a_guest_that_does_not_wake_is_booted_instead(shop: Workshop) -> None:
    shop.build()
    shop.guest = [{"match": "^sudo -n sh\n", "exit": 1}]
    seen = shop.build("--no-freeze")
    assert (restored(seen), shop.ran(seen)) == ([], ALL)
    assert seen.err.count("this build does without it") == 4
    shop.guest = []
    assert restored(shop.build()) == ["three"]  # it may have been this host, this time


@pytest.mark.parametrize("fault", ["no memory", "busy"])
def test_a_fault_of_the_host_deletes_no_layer(shop: Workshop, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    from aibemu_drivers.scripted.machine import RecordedMachine

    shop.build()
    start = RecordedMachine.start

    def lack_memory(self: RecordedMachine, *args: Any) -> None:
        if self.spec.frozen:
            raise ProvisionFailed("the host has no 3584 MiB of free memory")
        start(self, *args)

    def be_late(*_: object) -> None:
        raise Expired("took too long")

    with monkeypatch.context() as patch:
        if fault == "busy":
            patch.setattr("aibemu.systems.linux.freezing.LinuxFreezing.restore", be_late)
        else:
            patch.setattr(RecordedMachine, "start", lack_memory)
        seen = shop.build("--no-freeze")
    assert (restored(seen), shop.ran(seen)) == ([], ALL)
    assert seen.err.count("this build does without it") == 4 and "deleted" not in seen.err
    assert restored(shop.build()) == ["three"]


def test_a_full_disk_ends_the_build_and_deletes_no_layer(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.build()
    with monkeypatch.context() as patch:
        patch.setattr("aibemu.communicators.ssh.keys.generate", full)
        assert "the disk is full" in shop.build(exit=4).err
    assert stored(shop) == sorted(["provisioned", *ALL])


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("what", "left"), [("history.replacing", ["provisioned"]), ("store.write_private_json", [])],
    ids=["history", "record"],
)  # fmt: skip
def test_a_layer_that_cannot_be_written_down_leaves_no_files(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, what: str, left: list[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(f"aibemu.layers.{what}", full)
        seen = shop.build()
    assert seen.err.count("goes on without making layers") >= 1
    layers = list(LayerStore(shop.home.layers).layers())
    assert stored(shop) == left  # nothing was said before the first step
    assert set((shop.home.layers / "files").iterdir()) == {path for layer in layers for path in layer.files}


def test_a_build_that_makes_no_layer_keeps_the_store_within_its_bounds_too(shop: Workshop) -> None:
    shop.build()
    seen = shop.build(env={"AIBEMU_CACHE_SIZE": "1K"})
    assert (restored(seen), layers_made(seen)) == (["three"], [])
    assert stored(shop) == [] and list((shop.home.layers / "files").iterdir()) == []


def test_files_that_are_gone_are_no_layer(shop: Workshop) -> None:
    shop.build()
    for path in (shop.home.layers / "files").glob("*.memory"):
        path.unlink()
    seen = shop.build()
    assert (restored(seen), shop.ran(seen)) == ([], ALL)


def test_a_failed_first_boot_is_not_frozen(shop: Workshop) -> None:
    shop.guest = [{"match": "command -v cloud-init", "exit": 1}]
    seen = shop.build()
    assert (layers_made(seen), stored(shop)) == ([], [])
    assert "first boot ended error" in seen.err and "the first boot failed: no layers are made of it" in seen.err
    shop.guest = []
    assert layers_made(shop.build()) == ["provisioned", *ALL]


def test_a_degraded_first_boot_is_told_of_by_each_build_that_starts_from_it(shop: Workshop) -> None:
    shop.guest = [{"match": "command -v cloud-init", "exit": 2}]
    first = shop.build()
    assert layers_made(first) == ["provisioned", *ALL] and first.run is not None
    shop.guest = []
    for step in ("three", "one"):
        shop.steps[step] += " more"
        seen = shop.build()
        assert restored(seen)
        assert seen.err.count(f"first boot ended degraded, in run {first.run.id}") == 1


# The plan, and the cache


def planned(shop: Workshop, *args: str) -> dict[str, Any]:
    seen = shop.call(command=["plan", "template.json", "--driver", "scripted", "--output", "json", *args], exit=0)
    data: dict[str, Any] = json.loads(seen.out)["data"]
    return data


def test_a_plan_for_a_driver_that_cannot_freeze_uses_nothing(shop: Workshop) -> None:
    shop.build()
    data = planned(shop)
    assert data["start"] is None
    assert [step["cached"] for step in data["customize"]] == [False] * 3


def test_the_plan_says_what_is_cached_and_why_the_rest_runs(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    from aibemu_drivers.scripted import ScriptedDriver

    first = shop.build()
    assert first.run is not None
    shop.steps["three"] += " more"
    shop.write()
    # `plan` takes no options of drivers: here every scripted guest can be frozen.
    real = ScriptedDriver.__init__
    monkeypatch.setattr(
        ScriptedDriver, "__init__", lambda self, options, folders: real(self, {**options, "freezes": "yes"}, folders)
    )
    data = planned(shop)
    assert [step["cached"] for step in data["customize"]] == [True, True, False]
    reasons = [step["reason"] for step in data["customize"]]
    assert all(one.startswith("cached ") and one.endswith(f"ago by run {first.run.id}") for one in reasons[:2])
    assert reasons[2] == "runs: no cached result for this content"
    assert data["start"] == data["customize"][1]["fingerprint"]
    text = shop.call(command=["plan", "template.json", "--driver", "scripted"], exit=0).out
    assert "  start       from the layer after two\n" in text
    assert f"ago by run {first.run.id}\n" in text
    assert "from the layer after provisioning" in shop.call(
        command=["plan", "template.json", "--driver", "scripted", "--no-cache"], exit=0
    ).out  # fmt: skip
    cold = shop.call(command=["plan", "template.json", "--driver", "scripted", "--cold"], exit=0).out
    assert "boots the source image" in cold
    assert [step["reason"] for step in planned(shop, "--from", "one")["customize"]] == [
        "runs: asked for by --from", "runs: a step before it runs", "runs: a step before it runs",
    ]  # fmt: skip


def test_the_cache_is_listed_pruned_and_found(shop: Workshop) -> None:
    seen = shop.build()
    assert seen.run is not None
    listed = shop.call(command=["cache", "list"], exit=0).out.splitlines()
    assert [line.split()[1] for line in listed[1:5]].count("provisioned") == 1
    assert all("order-of-steps" in line and seen.run.id in line for line in listed[1:5])
    assert listed[-1].startswith("4 layers, ")
    assert shop.call(command=["cache", "path"], exit=0).out.strip() == str(shop.home.layers)
    kept = shop.call(command=["cache", "prune", "--older-than", "1h", "--yes"], exit=0).out
    assert kept.startswith("0 layers deleted")
    assert shop.call(command=["cache", "prune", "--all", "--yes"], exit=0).out.startswith("4 layers deleted, ")
    assert not list((shop.home.layers / "files").iterdir())
    assert shop.call(command=["cache", "list"], exit=0).out == "no layers yet\n"
    assert shop.ran(shop.build()) == ALL


def test_the_key_to_a_frozen_guest_is_in_no_file_that_others_may_read(shop: Workshop) -> None:
    shop.build()
    holders = [
        path for path in shop.home.runs.parent.rglob("*")
        if path.is_file() and b"OPENSSH PRIVATE KEY" in path.read_bytes()
    ]  # fmt: skip
    assert holders and {path.parent.name for path in holders} == {"records"}
    assert {path.stat().st_mode & 0o777 for path in holders} == {0o600}


def test_the_log_says_that_a_step_was_cached_and_what_it_said_is_kept_without_a_secret_of_it(shop: Workshop) -> None:
    key = ["-----BEGIN OPENSSH PRIVATE KEY-----", "b3BlbnNzaC1rZXktdjEAAAAA", "-----END OPENSSH PRIVATE KEY-----"]
    shop.guest = [{"match": "#one#", "stdout": ["said by one", *key]}]
    first = shop.build()
    assert first.run is not None
    shop.steps["three"] += " more"
    shop.guest = []
    seen = shop.build()
    assert shop.ran(seen) == ["three"] and seen.run is not None
    log = seen.run.log("customization.log").read_text()
    assert "said by one" not in log and log.count("Provisioning with shell script") == 1 + 1  # the deprovision script
    assert re.search(rf"azure-arm: aibemu: one: cached \d+ s ago by run {first.run.id}, not run again", log)
    asked = shop.call(command=["logs", seen.run.id, "--step", "one"], exit=0).out.splitlines()
    assert asked[0].startswith("== attempt 1: not run, cached") and asked[1] == "said by one"
    for run in (first.run, seen.run):
        text = run.log("customization.log").read_text() + run.events_file.read_text()
        assert key[1] not in text
