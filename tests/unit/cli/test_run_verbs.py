"""status, logs, outputs, cancel and clean over runs on disk."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from aibemu import __version__
from aibemu.cli.app import App
from aibemu.clock import SystemClock
from aibemu.events import Kind
from aibemu.telemetry import Telemetry
from aibemu.views.ndjson import NdjsonView


def test_status_lists_and_shows(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    lines = aibemu("status").out.splitlines()
    assert lines[0].split() == ["RUN", "STATE", "TEMPLATE", "STARTED", "(UTC)", "TIME"]
    assert lines[1].split()[:3] == [run.id, "Failed", "demo"]
    text = aibemu("status", run.id[:4]).out
    assert "FAILED in phase customize after 2.0s: Install" in text
    assert "likely remedy: inline commands run as the unprivileged build user" in text
    assert "\x1b" not in text
    value = json.loads(aibemu("status", run.id, "-o", "json").out)["data"]
    assert value["lastRunStatus"]["runState"] == "Failed"
    assert (value["alive"], value["steps"][0]["exit_code"]) == (False, 1)


def test_status_without_runs(aibemu: Any) -> None:
    assert aibemu("status").out == "no runs yet\n"
    assert aibemu("status", "zz").code == 2


def test_logs(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    assert aibemu("logs").out == "one\ntwo\n"
    assert aibemu("logs", run.id, "--validation").out == ""
    assert aibemu("logs", "--step", "install").out.splitlines()[1].endswith("Permission denied")
    assert aibemu("logs", "--step", "1").out == aibemu("logs", "--step", "c1").out
    events = [json.loads(line) for line in aibemu("logs", "--events").out.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert json.loads(aibemu("logs", "-o", "json").out)["data"]["lines"] == ["one", "two"]
    said = aibemu("logs", "--step", "nope")
    assert said.code == 2 and "c1: Install" in said.err
    assert aibemu("logs", "--events", "--validation").code == 2


def test_logs_of_the_platform(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    assert aibemu("logs", "--platform").out == ""
    entry = {
        "at": "2026-11-24T10:00:01.234567Z", "service": "imds", "method": "GET", "agent": "curl/7", "status": 400,
        "target": "/metadata/instance?a\x1b[2J", "answer": '{"error":\n "no header"}',
    }  # fmt: skip
    whole = json.dumps(entry) + "\n" + json.dumps(entry | {"status": 200, "service": "wireserver"}) + '\n{"at": "20'
    run.platform_journal("build").write_text(whole)
    run.platform_journal("validate").write_text('{"full": "enough"}\n')
    assert aibemu("logs", "--platform").out.splitlines() == [
        "10:00:01.234 build    imds         400 GET  /metadata/instance?a  curl/7",
        '             {"error": "no header"}',
        "10:00:01.234 build    wireserver   200 GET  /metadata/instance?a  curl/7",
        "validate: enough",
    ]
    poll = entry | {"agent": "WALinuxAgent/2.7", "status": 200}
    run.platform_journal("verify").write_text((json.dumps(poll) + "\n") * 4)
    said = aibemu("logs", "--platform").out.splitlines()
    assert sum("WALinuxAgent" in line for line in said) == 1 and said[-1].startswith("(and 3 times the agent asked")
    run.platform_journal("verify").unlink()
    data = json.loads(aibemu("logs", "--platform", "-o", "json").out)["data"]
    assert [item["machine"] for item in data["requests"]] == ["build", "build", "validate"]
    assert aibemu("logs", "--platform", "--follow").code == 2


def test_logs_of_what_is_not_generalised(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    assert "nothing was found" in aibemu("logs", "--findings").out
    finding = {
        "level": "warning", "check": "no host keys", "message": "/etc/ssh/ssh_host_rsa_key", "azure": "takes it",
        "review": "would not", "fix": "",
    }  # fmt: skip
    event = {"v": 1, "seq": 99, "at": "2026-11-24T10:00:01Z", "run": run.id, "kind": "finding", **finding}
    with run.events_file.open("a") as stream:
        stream.write(json.dumps(event) + "\n")
    assert aibemu("logs", "--findings").out.splitlines() == [
        "warning: no host keys: /etc/ssh/ssh_host_rsa_key", "  Azure   takes it", "  review  would not",
    ]  # fmt: skip
    assert json.loads(aibemu("logs", "--findings", "-o", "json").out)["data"]["findings"] == [finding]


def test_logs_follow_until_the_run_is_over(aibemu: Any, make_run: Any) -> None:
    run, lock = make_run(alive=True, ended=None)

    def build() -> None:
        never, clock = threading.Event(), SystemClock()
        with run.log("customization.log").open("ab", buffering=0) as stream:
            for part in (b"thr", b"ee\nfo", b"ur\nfive"):
                clock.wait(never, 0.2)
                stream.write(part)
        lock.release()

    thread = threading.Thread(target=build)
    thread.start()
    assert aibemu("logs", "--follow").out == "one\ntwo\nthree\nfour\nfive\n"
    thread.join()


def test_outputs(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    text = aibemu("outputs").out
    assert text.splitlines()[:2] == ["out (VHD): ok", "  artifact  file:///disk.vhd"]
    assert f"{run.outputs}/out/disk.vhd (8 KiB, 8 KiB on disk)" in text
    (output,) = json.loads(aibemu("outputs", run.id, "-o", "json").out)["data"]["outputs"]
    assert (output["runOutputName"], output["files"][0]["bytes"]) == ("out", 8192)


def test_the_size_of_a_file_and_what_it_takes_on_disk_are_apart(aibemu: Any, make_run: Any) -> None:
    """The size is what a target in Azure must have."""
    run, _ = make_run()
    with (run.outputs / "out" / "disk.vhd").open("r+b") as stream:
        stream.truncate(3 << 30)  # sparse, as a VHD is
    (output,) = json.loads(aibemu("outputs", "-o", "json").out)["data"]["outputs"]
    (file,) = output["files"]
    assert file["bytes"] == 3 << 30 and 8192 <= file["bytesOnDisk"] < 1 << 20
    assert "disk.vhd (3.0 GiB, 8 KiB on disk)" in aibemu("outputs").out
    value = json.loads(aibemu("clean", run.id, "--yes", "-o", "json").out)["data"]
    assert value["bytes"] > 3 << 30 and 8192 <= value["bytesOnDisk"] < 1 << 20
    assert value["runs"][0]["bytes"] == value["bytes"]


def test_outputs_of_the_image_store_are_known_by_their_id(aibemu: Any, make_run: Any, home: Path) -> None:
    digest = "0123456789ab" + "c" * 52
    run, _ = make_run()
    with run.events_file.open("a") as stream:
        event = {
            "v": 1, "seq": 99, "at": "2026-11-23T10:00:00.000000Z", "run": run.id, "kind": "output.finished",
            "run_output_name": "image", "target": "ManagedImage", "status": "ok", "artifact": "/subscriptions/x",
            "paths": [str(home / "images" / "blobs" / f"{digest}.qcow2")], "seconds": 1.0, "error": None,
        }  # fmt: skip
        stream.write(json.dumps(event) + "\n")
    assert "  image     0123456789ab (aibemu images show 0123456789ab)" in aibemu("outputs").out.splitlines()
    disk, image = json.loads(aibemu("outputs", "-o", "json").out)["data"]["outputs"]
    assert (disk["files"][0]["image"], image["files"][0]["image"]) == (None, digest)


def test_outputs_as_a_box(aibemu: Any, make_run: Any, tmp_path: Path) -> None:
    run, _ = make_run()
    box = tmp_path / "my image.box"
    done = aibemu("outputs", "--box", str(box))
    assert (done.code, done.out.splitlines()[1]) == (0, f"to use it: vagrant box add --name NAME '{box}'")
    assert "Vagrant's user was not added to the box: its root file system is not ext" in done.err
    data = json.loads(aibemu("outputs", run.id, "--box", str(box), "-o", "json").out)["data"]
    assert data == {"run": run.id, "box": str(box), "bytes": box.stat().st_size, "login": False}
    box.unlink()
    (run.outputs / "out" / "disk.vhd").unlink()
    done = aibemu("outputs", run.id, "--box", str(box))
    assert done.code == 2 and f"run {run.id} has no image here to make a box of" in done.err
    assert not box.exists()


def test_cancel_waits_until_the_run_is_over(aibemu: Any, make_run: Any) -> None:
    run, lock = make_run(alive=True, ended=None)

    def build() -> None:
        never, clock = threading.Event(), SystemClock()
        while not run.cancel_file.exists():
            clock.wait(never, 0.05)
        lock.release()

    thread = threading.Thread(target=build)
    thread.start()
    said = aibemu("cancel")
    thread.join()
    assert (said.code, said.err) == (0, f"canceling run {run.id}\n")


def test_after_a_cancel_it_is_said_how_to_go_on(aibemu: Any, make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run, lock = make_run(alive=True, ended="Canceled")
    monkeypatch.setattr("aibemu.cli.cancel._over", lambda *_: True)
    said = aibemu("cancel", run.id)
    lock.release()
    assert said.out.splitlines() == [
        f"run {run.id}: Canceled", f"go on with it, from what it had done: aibemu resume {run.id}",
    ]  # fmt: skip


def wait_for_answer(run: Any, **more: Any) -> None:
    view = NdjsonView(run.events_file)
    chain = Telemetry(run.id, [view], SystemClock(), lambda value: value, first=100)
    choices = more.pop("choices", ["retry", "skip", "keep", "give-up"])
    chain.emit(Kind.RUN_WAITING, title="customizer Install failed", choices=choices, **more)
    chain.close()


def test_a_run_that_waits_for_an_answer_says_so_and_what_to_type(aibemu: Any, make_run: Any) -> None:
    run, lock = make_run(alive=True, ended=None)
    error = {"code": "CUSTOMIZER_FAILED", "message": "customizer Install failed: x", "hint": "look at \x1b[2Jit"}
    wait_for_answer(run, error=error)
    assert aibemu("status").out.splitlines()[1].endswith(f"waits for an answer: aibemu resume {run.id}")
    lines = aibemu("status", run.id).out.splitlines()
    assert "waits      for an answer" in lines
    assert "  why:   customizer Install failed: x" in lines and "  likely remedy: look at it" in lines
    typed = lines[lines.index("  type to answer:") + 1 : lines.index("  type to answer:") + 5]
    commands = ("resume {}", "resume {} --skip", "shell {}", "cancel {}")
    assert [line.split("  ")[2] for line in typed] == [f"aibemu {one.format(run.id)}" for one in commands]
    value = json.loads(aibemu("status", run.id, "-o", "json").out)["data"]
    assert value["waiting"] == "customizer Install failed" and value["error"] is None
    assert value["answers"][0]["command"] == f"aibemu resume {run.id}"
    lock.release()
    assert "waits" not in aibemu("status").out, "nobody waits in a run that was killed"


def test_a_paused_run_is_gone_on_with(aibemu: Any, make_run: Any) -> None:
    run, lock = make_run(alive=True, ended=None)
    wait_for_answer(run, choices=["go-on", "give-up"])
    text = aibemu("status", run.id).out
    lock.release()
    assert f"    aibemu resume {run.id}  go on\n" in text and "--skip" not in text
    assert "customizer Install failed" in text


def test_who_watches_a_run_hears_that_it_waits(aibemu: Any, make_run: Any) -> None:
    run, lock = make_run(alive=True, ended=None)
    wait_for_answer(run)

    def answered() -> None:
        lock.release()

    said: list[Any] = []
    thread = threading.Thread(target=lambda: said.append(aibemu("status", run.id, "--watch")))
    with pytest.MonkeyPatch.context() as patch:
        heard = threading.Event()
        say = App.say

        def hear(app: App, text: str) -> None:
            say(app, text)
            heard.set()

        patch.setattr(App, "say", hear)
        thread.start()
        assert heard.wait(20)
        answered()
        thread.join()
    assert said[0].err == f"run {run.id} waits for an answer: customizer Install failed; see: aibemu status {run.id}\n"


def test_cancel_says_when_it_does_not_converge(aibemu: Any, make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run, lock = make_run(alive=True, ended=None)
    monkeypatch.setattr("aibemu.cli.cancel.BOUND", 0.3)
    said = aibemu("cancel", run.id)
    lock.release()
    assert said.code == 1 and "has not ended within 0.3 seconds" in said.err


def test_cancel_what_does_not_build(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    assert "is not building: it is Failed" in aibemu("cancel", run.id).err
    assert aibemu("cancel").code == 2


def test_clean_leaves_young_and_living_runs(aibemu: Any, make_run: Any) -> None:
    old, _ = make_run()
    living, lock = make_run(alive=True, ended=None)
    assert aibemu("clean").out == "nothing to clean\n"
    dry = aibemu("clean", "--all", "--dry-run").out
    assert old.id in dry and living.id not in dry and dry.splitlines()[-1].startswith("1 run, ")
    assert "would be freed" in dry
    assert old.directory.exists()
    value = json.loads(aibemu("clean", "--older-than", "0s", "--yes", "-o", "json").out)["data"]
    assert [run["id"] for run in value["runs"]] == [old.id]
    assert value["bytes"] >= 8192 and value["bytesOnDisk"] >= 8192
    assert not old.directory.exists() and living.directory.exists()
    assert f"run {living.id} is building" in aibemu("clean", living.id).err
    lock.release()


def test_clean_frees_kept_machines(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run(kept=True)
    assert "kept machine" in aibemu("status").out
    said = aibemu("clean", run.id, "--yes")
    assert f"freed machine {run.id}-build" in said.err
    assert not run.directory.exists()


@pytest.mark.parametrize("age", ["7", "d", "-1d", "7 days", ""])
def test_clean_wants_an_age(aibemu: Any, age: str) -> None:
    said = aibemu("clean", f"--older-than={age}")
    assert said.code == 2 and "is not an age" in said.err


def test_drivers(aibemu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from aibemu import plugins
    from aibemu.errors import HostNotReady

    real = plugins.load

    def load(group: str, name: str) -> Any:
        if name == "dryrun":
            raise HostNotReady("the plugin 'dryrun' cannot be imported: no licence")
        return real(group, name)

    monkeypatch.setattr(plugins, "load", load)
    data = {item["name"]: item for item in json.loads(aibemu("drivers", "-o", "json").out)["data"]["drivers"]}
    assert data["dryrun"] == {
        "name": "dryrun", "distribution": "aibemu", "version": __version__, "usable": False, "health": "error",
        "bootsGuests": False, "firmwares": [], "screenshots": False, "azurePlatform": False, "freezes": False,
        "savesDisks": False, "dryRun": False, "problem": "the plugin 'dryrun' cannot be imported: no licence",
        "findings": [],
    }  # fmt: skip
    assert "no licence" in aibemu("drivers").out


def test_drivers_tell_package_health_and_capabilities(aibemu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from aibemu import plugins
    from aibemu.hypervisor import Capabilities, Finding, Firmware, Level

    class Driver:
        found: Any = ()

        def __init__(self, options: object, folders: object) -> None:
            """As drivers are made."""

        def capabilities(self) -> Capabilities:
            return Capabilities(
                boots_guests=True, screenshots=True, firmwares=frozenset(Firmware), wires=True, freezes=True
            )  # fmt: skip

        def check(self) -> Any:
            return self.found

    def found(level: Level) -> Finding:
        return Finding(check="program", level=level, message=f"a {level.value}", fix="apt-get install it")

    monkeypatch.setattr(plugins, "names", lambda group: frozenset({"qemu"}))
    monkeypatch.setattr(plugins, "load", lambda group, name: Driver)
    for findings, health, told in (
        ((), "ok", []),
        ((found(Level.OK),), "ok", []),
        ((found(Level.NOTE),), "note", ["qemu: program: note: a note", "  fix: apt-get install it"]),
        ((found(Level.OK), found(Level.ERROR), found(Level.NOTE)), "error",
         ["qemu: program: error: a error", "  fix: apt-get install it"]),
    ):  # fmt: skip
        monkeypatch.setattr(Driver, "found", findings)
        lines = aibemu("drivers").out.splitlines()
        assert lines[0].split() == ["DRIVER", "PACKAGE", "HEALTH", "CAPABILITIES"]
        assert re.split(" {2,}", lines[1]) == [
            "qemu", f"aibemu {__version__}", health,
            "boots guests, Azure's platform, layers with memory, screenshots, BIOS, UEFI",
        ]  # fmt: skip
        assert [line for line in lines[2:] if line] == told
        (data,) = json.loads(aibemu("drivers", "-o", "json").out)["data"]["drivers"]
        assert (data["health"], len(data["findings"]), data["usable"]) == (health, len(findings), True)


def test_doctor_ends_with_4_when_something_would_stop_a_build(
    aibemu: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aibemu.hypervisor import Finding, Level

    finding = Finding(check="kvm", level=Level.ERROR, message="not there", fix="modprobe kvm")
    monkeypatch.setattr("aibemu.cli.doctor.examine", lambda *arguments: [finding])
    said = aibemu("doctor")
    assert said.code == 4
    assert said.out.splitlines()[:2] == ["ERROR    kvm: not there", "         fix: modprobe kvm"]
    assert said.out.splitlines()[-1] == "1 problem would stop a build"
    value = json.loads(aibemu("doctor", "-o", "json").out)
    assert value["data"]["ready"] is False and value["data"]["findings"][0]["fix"] == "modprobe kvm"
    assert (value["status"], value["error"]["code"]) == ("error", "HOST_NOT_READY")
    assert value["error"]["details"]["lines"] == ["kvm: not there"]


def test_doctor_of_a_ready_host_has_nothing_to_fix(aibemu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from aibemu.hypervisor import Finding, Level

    finding = Finding(check="python", level=Level.OK, message="3.11", fix="install Python 3.11 or newer")
    monkeypatch.setattr("aibemu.cli.doctor.examine", lambda *arguments: [finding])
    value = json.loads(aibemu("doctor", "-o", "json").out)
    assert (value["status"], value["error"], value["data"]["ready"]) == ("success", None, True)
    assert value["data"]["findings"][0]["fix"] is None


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_mistyped_driver_is_found_first(aibemu: Any, verb: str) -> None:
    said = aibemu(verb, "nosuch.json", "--driver", "dryrn")
    assert said.code == 2
    assert said.err.splitlines()[0] == "error: there is no driver 'dryrn'"
    assert "  hint: did you mean dryrun?" in said.err
