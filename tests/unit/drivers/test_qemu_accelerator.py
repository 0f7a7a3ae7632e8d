"""The probe, with a QEMU that is a shell script: its timing and status are the test's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from aibemu.errors import HostNotReady, UsageError
from aibemu_drivers.qemu import accelerator as module
from aibemu_drivers.qemu.accelerator import Probed, probe

FAKE = """#!/bin/sh
echo "$*" >> "{log}"
case "$*" in
  *--version*) echo "{version}" ;;
  *"-accel kvm"*) {kvm} ;;
  *sandbox*) {sandbox} ;;
  *) {tcg} ;;
esac
"""


class FakeHost:
    def __init__(self, scratch: Path) -> None:
        self.program = scratch / "bin/qemu-system-x86_64"
        self.program.parent.mkdir()
        self.log = scratch / "log"
        self.kvm_device = scratch / "kvm"
        self.kvm_device.touch()
        self.cache = scratch / "cache"
        self.behave()

    def behave(self, *, kvm: str = "exit 85", tcg: str = "exit 85", sandbox: str = "", version: str = "7.2") -> None:
        self.program.write_text(
            FAKE.format(log=self.log, kvm=kvm, tcg=tcg, sandbox=sandbox or tcg, version=f"QEMU emulator {version}")
        )
        self.program.chmod(0o755)

    def probe(self, *, fresh: bool = False, **options: str) -> Probed:
        return probe(options, self.cache, fresh=fresh, kvm=self.kvm_device)

    def payloads(self) -> int:
        return sum("isa-debug-exit" in line for line in self.log.read_text().splitlines())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    host = FakeHost(tmp_path)
    monkeypatch.setenv("PATH", f"{host.program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(module, "KVM_BOUND", 30.0)  # what is quick here is so on a busy machine, too
    return host


@pytest.fixture
def brief(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `host`, which gives more time."""
    monkeypatch.setattr(module, "KVM_BOUND", 0.3)


def test_kvm_that_runs_the_payload_is_taken(host: FakeHost) -> None:
    found = host.probe()
    assert (found.accelerator.name, found.accelerator.slowness, found.sandbox) == ("kvm", 1.0, True)


@pytest.mark.usefixtures("brief")
def test_kvm_that_is_slow_is_not_taken_and_the_reason_says_so(host: FakeHost) -> None:
    host.behave(kvm="exec sleep 600")
    found = host.probe().accelerator
    assert (found.name, found.slowness) == ("tcg", 5.0)
    assert "no working KVM" in found.reason and "hangs" in found.reason


def test_kvm_that_aborts_is_not_taken_and_qemus_words_are_the_reason(host: FakeHost) -> None:
    host.behave(kvm='echo "qemu: error: failed to set MSR 0x10a" >&2; kill -ABRT $$')
    found = host.probe().accelerator
    assert found.name == "tcg"
    assert "failed to set MSR 0x10a" in found.reason


@pytest.mark.usefixtures("brief")
def test_a_busy_host_gives_kvm_more_time(host: FakeHost) -> None:
    host.behave(tcg="sleep 0.4; exit 85", kvm="sleep 0.5; exit 85")
    assert host.probe().accelerator.name == "kvm"


def test_without_a_device_or_permission_kvm_is_not_even_tried(host: FakeHost) -> None:
    host.kvm_device.unlink()
    found = host.probe()
    assert found.accelerator.name == "tcg"
    assert "there is no" in found.accelerator.reason
    assert "kvm" not in host.log.read_text().replace(str(host.kvm_device), "")


def test_a_device_that_may_not_be_opened_says_how_to_get_it(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Any, *rest: Any, **options: Any) -> int:
        if path == host.kvm_device:
            raise PermissionError(13, "Permission denied")
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    found = host.probe()
    assert found.accelerator.name == "tcg"
    assert found.fix is not None and "usermod -aG kvm" in found.fix


def test_the_option_overrides_and_is_checked(host: FakeHost) -> None:
    host.behave(kvm="exit 1")
    assert host.probe(accelerator="kvm").accelerator.name == "kvm"
    assert host.probe(accelerator="tcg").accelerator.name == "tcg"
    with pytest.raises(UsageError, match="'fast'"):
        host.probe(accelerator="fast")


def test_the_answer_is_remembered_until_something_changes(host: FakeHost) -> None:
    first = host.probe()
    count = host.payloads()
    assert host.probe() == first
    assert host.payloads() == count
    host.probe(fresh=True)
    assert host.payloads() == 2 * count
    host.behave(version="8.0")
    host.probe()
    assert host.payloads() == 3 * count
    host.kvm_device.unlink()
    assert host.probe().accelerator.name == "tcg"


@pytest.mark.parametrize("damage", ["{", "[]", '{"key": 1}', "null"])
def test_a_damaged_memory_is_forgotten(host: FakeHost, damage: str) -> None:
    first = host.probe()
    (host.cache / "accelerator.json").write_text(damage)
    assert host.probe().accelerator.name == first.accelerator.name


def test_a_cache_that_cannot_be_written_is_no_error(host: FakeHost) -> None:
    host.cache.write_text("a file, not a folder")
    assert host.probe().accelerator.name == "kvm"


def test_a_qemu_without_seccomp_runs_without_its_sandbox(host: FakeHost) -> None:
    host.behave(sandbox='echo "sandboxing request but seccomp is not compiled in" >&2; exit 1')
    assert host.probe().sandbox is False


def test_a_qemu_that_runs_nothing_is_an_error_with_its_words(host: FakeHost) -> None:
    host.behave(tcg='echo "could not load PC BIOS" >&2; exit 1')
    with pytest.raises(HostNotReady, match="smallest guest") as failed:
        host.probe()
    assert any("could not load PC BIOS" in line for line in failed.value.details)


def test_a_qemu_that_ends_without_running_the_payload_proves_nothing(host: FakeHost) -> None:
    host.behave(kvm="exit 0")
    assert host.probe().accelerator.name == "tcg"
