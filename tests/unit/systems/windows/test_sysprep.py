"""Why Sysprep failed, by what its logs say; the lines are those that people report (facts: windows-images 5)."""

from __future__ import annotations

import pytest

from aibemu.clock import forever
from aibemu.communicators import ExitStatus
from aibemu.images.windows import GENERALIZED
from aibemu.systems.windows.sysprep import LONGEST, SHOWN, Logs, cause, fetch_logs, read_logs
from aibemu.testing.clock import FakeClock
from aibemu.testing.guest import ScriptedCommunicator
from aibemu.testing.script import Script

DONE = ExitStatus(code=0)
AT = "2026-11-30 04:00:00, Error                 SYSPRP "


@pytest.mark.parametrize(
    ("line", "why", "fix"),
    [
        (
            "Package Microsoft.BingSearch_1.1.38.0_x64__8wekyb3d8bbwe was installed for a user, but not provisioned "
            "for all users. This package will not function properly in the sysprep image.",
            "Microsoft.BingSearch_1.1.38.0_x64__8wekyb3d8bbwe", "-Name Microsoft.BingSearch |",
        ),
        (
            "BitLocker-Sysprep: BitLocker is on for the OS volume. Turn BitLocker off to run Sysprep. (0x80310039)",
            "BitLocker", "manage-bde -off C:",
        ),
        ("ValidateBitLockerState failed [0x80310039]", "BitLocker", "PreventDeviceEncryption"),
        (
            "Sysprep_Clean_Validate_Opk: Audit mode cannot be turned on if there is an active scenario.; "
            "hr = 0x800F0975",
            "reserved storage", "/set-reservedstoragestate",
        ),
        ("SLReArmWindows failed: hr = 0xc004d307", "rearm count", "slmgr /dlv"),
        ("There are pending updates that require a reboot", "wait for a restart", "WindowsRestart step last"),
        (
            "RunExternalDlls:Not running DLLs; either the machine is in an invalid state or we couldn't update the "
            "recorded state, dwRet = 31",
            "an earlier Sysprep failed", "take Sysprep out of the customizers",
        ),
        (
            "ActionPlatform::LaunchModule: Failure occurred while executing 'MRTGeneralize' from "
            "C:\\Windows\\System32\\mrt_sysprep.dll; dwRet = 0x5",
            "MRTGeneralize of mrt_sysprep.dll (0x5)", "that part of Windows",
        ),
    ],
)  # fmt: skip
def test_frequent_causes_are_named(line: str, why: str, fix: str) -> None:
    for name in ("setuperr", "setupact"):
        found = cause(Logs(lines={name: (f"{AT}{line}", "2026-11-30 04:00:01, Info       the end")}))
        assert why in found.why and fix in found.fix


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("IMAGE_STATE_COMPLETE", "never began"), ("IMAGE_STATE_UNDEPLOYABLE", "did not finish"),
        ("IMAGE_STATE_SPECIALIZE_RESEAL_TO_OOBE", "setting itself up"), (GENERALIZED, "does not end"),
        ("IMAGE_STATE_OTHER", "ImageState is IMAGE_STATE_OTHER"), ("", "does not say its ImageState"),
    ],
)  # fmt: skip
def test_a_log_that_tells_nothing_leaves_the_state(state: str, why: str) -> None:
    found = cause(Logs(state=state, lines={"setupact": ("2026-11-30 04:00:00, Info  SYSPRP all is well",)}))
    assert why in found.why and found.fix


def test_errors_count_more_than_what_came_later_in_the_other_log() -> None:
    logs = Logs(lines={"setupact": ("0x800F0975",), "setuperr": ("0x80310039",)})
    assert "BitLocker" in cause(logs).why


def test_of_one_log_the_last_line_that_tells_counts() -> None:
    lines = ("0x80310039", "There are pending updates", "2026-11-30 04:00:00, Info  SYSPRP all is well")
    assert "wait for a restart" in cause(Logs(lines={"setuperr": lines})).why


def test_the_guests_answer_is_read_line_by_line() -> None:
    logs = read_logs("state X\nfile setuperr\nline one\nline \nline  two\nfile nobody\nline three\nnoise\n", DONE)
    assert logs.state == "X" and logs.lines == {"setuperr": ("one", "", " two", "three")} and not logs.trouble
    assert "ended with 1" in read_logs("", ExitStatus(code=1)).trouble


def test_people_are_shown_the_end_of_the_telling_log_cut() -> None:
    many = tuple("x" * 2000 for _ in range(100))
    last = Logs(lines={"setuperr": ("",), "setupact": many}).last
    assert len(last) == SHOWN and all(len(line) == LONGEST for line in last)
    assert Logs(lines={}).last == ()


def test_lines_of_any_length_and_any_content_are_looked_at_in_time() -> None:
    hostile = ("BitLocker: " * 100_000, "Package " + "a" * 1_000_000, "executing '" * 100_000, "\x1b[2J\x00")
    assert cause(Logs(state="X", lines={"setuperr": hostile})).why == "ImageState is X"


def test_a_guest_that_does_not_answer_costs_only_the_logs() -> None:
    silent = ScriptedCommunicator(Script.parse([{"match": "EncodedCommand", "delay": 10_000.0}]))
    clock = FakeClock()
    logs = fetch_logs(silent, forever(clock))
    assert logs.lines == {} and logs.trouble
