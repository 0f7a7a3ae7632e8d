"""Putting a disk aside at a reset, with a QEMU that is late, silent or refuses: what it is told, and what is heard."""

from __future__ import annotations

from typing import Any

import pytest

from aibemu.clock import forever
from aibemu.errors import FreezeFailed
from aibemu_drivers.qemu import freezing
from aibemu_drivers.qemu.freezing import RESET_FIRST, MachineLost
from tests.unit.drivers.test_qemu_freezing import LEAP, SOON, Ending, Guest, accept, ending, guest, patience, refuse

__all__ = ["ending", "guest", "patience"]

BOOTS_ON = ["set-action", "system_reset", "cont"]
LEAVES = ["set-action", "query-status", "set-action", "query-status"]


def happens(reason: str) -> Any:
    """For `Guest.does`: QEMU accepts, and the guest does something at once."""

    def answer(request: dict[str, Any]) -> list[dict[str, Any]]:
        return [*accept(request), {"event": "SHUTDOWN", "data": {"guest": True, "reason": reason}}]

    return answer


def silence(request: dict[str, Any]) -> list[dict[str, Any]]:
    return []


def restarts_at_once(guest: Guest) -> None:
    guest.does["set-action"] = lambda request: (
        happens("guest-reset")(request) if guest.told.count("set-action") == 1 else accept(request)
    )


def heard(guest: Guest) -> None:
    assert guest.machine._monitor.caught.wait(SOON)


def test_it_is_put_aside_and_the_machine_boots_on(guest: Guest) -> None:
    restarts_at_once(guest)
    with guest.machine.saving_at_reset(forever()) as look:
        heard(guest)
        assert look() and not look()
        told = list(guest.told)
    assert told == ["qmp_capabilities", "set-action", "blockdev-add", "blockdev-snapshot", *BOOTS_ON]
    assert guest.told == told, "on leaving there is nothing more to do"
    saved = guest.machine.saved_disk(guest.layers, forever())
    assert guest.left() == [saved.disks[0].name] and saved.disks[0].samefile(guest.disk)
    assert guest.disk_goes_to() != guest.disk


def test_a_reset_is_caught_or_done_at_every_instant_of_leaving(guest: Guest) -> None:
    """One that is under way is still stopped at: were it not, QEMU would end of it."""
    asked: list[dict[str, Any]] = []

    def act(request: dict[str, Any]) -> list[dict[str, Any]]:
        asked.append(request["arguments"])
        return happens("guest-reset")(request) if request["arguments"] == {"reboot": "reset"} else accept(request)

    guest.does["set-action"] = act
    guest.does["query-status"] = lambda request: [{"return": {"status": "shutdown"}, "id": request["id"]}]
    with guest.machine.saving_at_reset(forever()) as look:
        assert not look()
    assert asked == [
        {"reboot": "shutdown", "shutdown": "pause"}, {"reboot": "reset"}, {"reboot": "reset", "shutdown": "poweroff"},
    ]  # fmt: skip
    assert guest.told[-3:] == BOOTS_ON and guest.disk_goes_to() == guest.disk


def test_without_a_reset_all_is_as_it_was(guest: Guest) -> None:
    with guest.machine.saving_at_reset(forever()) as look:
        assert not look()
    assert guest.told == ["qmp_capabilities", "set-action", *LEAVES]
    assert [path.name for path in guest.folder.glob("disk-*")] == [guest.disk.name]


def test_a_qemu_that_cannot_stop_at_resets_does_as_ever(guest: Guest) -> None:
    guest.does["set-action"] = lambda request: refuse(request, "The command set-action has not been found")
    with pytest.raises(FreezeFailed), guest.machine.saving_at_reset(forever()):
        raise AssertionError("it is not waited for")
    assert guest.told == ["qmp_capabilities", "set-action"]
    assert [path.name for path in guest.folder.glob("disk-*")] == [guest.disk.name]


def test_a_refused_snapshot_is_told_after_the_machine_has_booted_on(guest: Guest) -> None:
    restarts_at_once(guest)
    guest.does["blockdev-snapshot"] = refuse
    with guest.machine.saving_at_reset(forever()) as look:
        heard(guest)
        with pytest.raises(FreezeFailed):
            look()
        assert guest.told[-3:] == BOOTS_ON and not look()
    assert guest.disk_goes_to() == guest.disk


def test_a_snapshot_without_an_answer_leaves_no_disk_to_trust(guest: Guest, patience: Ending) -> None:
    restarts_at_once(guest)
    guest.does["blockdev-snapshot"] = patience.comes_before(silence)
    late, saving = pytest.raises(MachineLost, match="which file"), guest.machine.saving_at_reset
    with late, saving(patience.deadline.within(LEAP)) as look:
        heard(guest)
        look()
    assert guest.told[-3:] == BOOTS_ON


@pytest.mark.parametrize("command", ["blockdev-add", "blockdev-snapshot", "set-action", "system_reset", "cont"])
def test_the_builds_end_ends_it_soon_whatever_qemu_does_not_answer(guest: Guest, ending: Ending, command: str) -> None:
    restarts_at_once(guest)
    with pytest.raises(ending.raised), guest.machine.saving_at_reset(ending.deadline) as look:
        heard(guest)
        guest.does[command] = ending.comes_before(silence)
        look()
    assert ending.ago() < SOON
    assert guest.told[-1] in BOOTS_ON


def test_a_machine_that_stands_for_good_is_lost(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    restarts_at_once(guest)
    monkeypatch.setattr(freezing, "GO_ON_BOUND", 0.3)
    guest.does["cont"] = lambda request: refuse(request, RESET_FIRST)
    with pytest.raises(MachineLost, match="cont"), guest.machine.saving_at_reset(forever()) as look:
        heard(guest)
        look()
    assert guest.told.count("cont") > 1, "QEMU may not have done the reset yet"


def test_a_guest_that_goes_off_ends_its_qemu(guest: Guest) -> None:
    guest.does["set-action"] = lambda request: (
        happens("guest-shutdown")(request) if guest.told.count("set-action") == 1 else accept(request)
    )
    guest.does["query-status"] = lambda request: [{"return": {"status": "shutdown"}, "id": request["id"]}]
    with guest.machine.saving_at_reset(forever()) as look:
        assert guest.machine._monitor.went_off.wait(SOON)
        assert not look()
    assert guest.told[-1] == "quit" and "system_reset" not in guest.told
