"""The disk of a machine before its first boot: changed by its system, told, and no machine starts when it cannot be."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aibemu.clock import CancelToken, Deadline, forever
from aibemu.disks import Unreadable
from aibemu.engine.machines.first_disk import prepare_disk
from aibemu.errors import AibemuError, BuildCancelled, Expired, HostNotReady, ProvisionFailed
from aibemu.events import Kind
from aibemu.processes import ToolFailed
from aibemu.systems.findings import Prepared
from aibemu.systems.linux.system import LinuxSystem
from aibemu.testing.system import FakeSystem
from tests.unit.engine.test_failing_phases import context

DONE = Prepared(changes=("pci is switched on",), notes=("one file is left",))


@pytest.fixture
def this(tmp_path: Path) -> Any:
    made = context(tmp_path)
    made.services.driver.capabilities = lambda: SimpleNamespace(boots_guests=True)
    return made


def prepare(this: Any, result: Any, deadline: Deadline | None = None) -> None:
    class System(FakeSystem):
        def prepare(self, disk: Any, info: Any, *, deadline: Deadline) -> Prepared | None:
            with disk() as file:
                assert (file, info) == (Path("d.qcow2"), "info")
            if isinstance(result, BaseException):
                raise result
            return result  # type: ignore[no-any-return]

    machine: Any = SimpleNamespace(id="r-build", disk=lambda: nullcontext(Path("d.qcow2")))
    info: Any = "info"
    prepare_disk(this.services, machine, "build", System(), info, deadline or forever())


def test_what_was_changed_is_told_with_the_machine_that_it_was_done_for(this: Any) -> None:
    prepare(this, DONE)
    (kind, fields), (other, noted) = this.said
    assert (kind, fields["machine"], fields["role"]) == (Kind.DISK_PREPARED, "r-build", "build")
    assert fields["changes"] == ["pci is switched on"] and fields["seconds"] >= 0
    assert other is Kind.NOTICE and noted["message"] == "the disk of the build machine: one file is left"


def test_nothing_to_change_is_told_too(this: Any) -> None:
    prepare(this, Prepared())
    assert [fields["changes"] for _, fields in this.said] == [[]]


def test_a_system_that_needs_nothing_is_not_asked_to_open_the_disk(this: Any) -> None:
    prepare(this, None)
    machine: Any = SimpleNamespace(id="m", disk=None)
    info: Any = None
    prepare_disk(this.services, machine, "build", LinuxSystem(), info, forever())
    assert this.said == []


def test_where_no_guest_boots_from_the_disk_nothing_is_done(this: Any) -> None:
    this.services.driver.capabilities = lambda: SimpleNamespace(boots_guests=False)
    prepare(this, AssertionError())
    assert this.said == []


@pytest.mark.parametrize(
    "error",
    [
        HostNotReady("the disk is full", hint="free some"), Unreadable("hibernated", hint="wake it"),
        Unreadable("a driver"), ToolFailed(["qemu-img"], 1, "no space"), Expired("too slow"),
    ],
)  # fmt: skip
def test_what_cannot_be_prepared_is_not_started(this: Any, error: AibemuError) -> None:
    with pytest.raises(
        ProvisionFailed, match="the build machine was not started, for its disk could not be prepared: "
    ) as (failed):
        prepare(this, error)
    assert error.message in failed.value.message and failed.value.details == error.details
    assert failed.value.hint == (error.hint or FakeSystem.advice.image) and this.said == []


def test_the_end_of_the_build_is_told_as_that(this: Any) -> None:
    cancel = CancelToken()
    cancel.cancel("enough")
    with pytest.raises(BuildCancelled):
        prepare(this, Expired("too slow"), Deadline(clock=this.services.clock, cancel=cancel))
