"""The service's logs, line by line: whole files for the two shapes, and the ends of builds that go wrong."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from aibemu.events import Event, Kind
from aibemu.views.customization_log import CustomizationLog

GOLDEN = Path(__file__).parent / "golden"
GUID = "7111a125-0000-4000-8000-0000deadbeef"
COMMAND = (
    "chmod +x /tmp/script_9178.sh; PACKER_BUILDER_TYPE='azure-arm' PACKER_BUILD_NAME='azure-arm'  /tmp/script_9178.sh"
)
FAILED = "Script exited with non-zero exit status: 1. Allowed exit codes are: [0]"
SHELL = {"step_kind": "Shell", "local_name": "/tmp/packer-shell3074641722", "command": COMMAND}
STARTED: Entry = (0, Kind.RUN_STARTED, None, {"log_id": GUID, "staging": "IT_rg_demo_1",
           "template_id": "/subscriptions/s/resourceGroups/rg/providers/x"})  # fmt: skip
UP: list[Entry] = [
    STARTED,
    (0, Kind.ARTIFACT_FETCHED, None, {"uri": "https://example.org/index.html", "size": 826}),
    (1, Kind.PHASE_STARTED, "provision", {}),
    (2, Kind.MACHINE_STARTED, "provision", {"machine": "r-build", "role": "build"}),
    (40, Kind.MACHINE_CONNECTED, "provision", {"machine": "r-build", "banner": "SSH-2.0"}),
    (44, Kind.MACHINE_READY, "provision", {"machine": "r-build", "first_boot": "done"}),
    (44, Kind.PHASE_FINISHED, "provision", {"status": "ok", "seconds": 43.0}),
    (44, Kind.PHASE_STARTED, "customize", {}),
    (45, Kind.STEP_STARTED, "customize", SHELL),
    (46, Kind.STEP_OUTPUT, "customize", {"stream": "stdout", "line": "Execute rule 6.1.12"}),
]
Entry = tuple[int, Kind, str | None, dict[str, Any]]


def write(path: Path, entries: list[Any], **options: Any) -> list[str]:
    view = CustomizationLog(path, **options)
    for number, (seconds, kind, phase, fields) in enumerate(entries):
        at = f"2026-11-23T10:{seconds // 60:02}:{seconds % 60:02}.000000Z"
        view.on_event(
            Event(
                seq=number, at=at, run="r", kind=kind, phase=phase, step="c1" if "step" in kind else None, fields=fields
            )
        )
    view.close()
    return path.read_text().splitlines() if path.exists() else []


def short(lines: list[str]) -> list[str]:
    return [line.replace(f"[{GUID}] ", "") for line in lines]


def test_a_build_that_ends_well(tmp_path: Path) -> None:
    hidden = {"step_kind": "Shell", "local_name": "/tmp/packer-shell1", "hidden": True,
              "command": "chmod +x /tmp/script_1.sh; sudo -E /tmp/script_1.sh"}  # fmt: skip
    line = "$WAAGENT -force -deprovision+user && export HISTSIZE=0 && sync"
    upload = {"step_kind": "File", "local_name": "/tmp/guid.1.customizer.fp", "destination": "/tmp/index.html",
              "source": "https://example.org/index.html"}  # fmt: skip
    entries = [
        *UP,
        (46, Kind.STEP_OUTPUT, "customize", {"stream": "stdout", "line": ""}),
        (46, Kind.STEP_OUTPUT, "customize", {"stream": "stderr", "line": "a warning"}),
        (
            47,
            Kind.STEP_FINISHED,
            "customize",
            {"status": "ok", "exit_code": 0, "bytes": {"stdout": 763634, "stderr": 10}},
        ),
        (48, Kind.STEP_STARTED, "customize", upload),
        (49, Kind.STEP_FINISHED, "customize", {"status": "ok", "exit_code": 0}),
        (49, Kind.PHASE_FINISHED, "customize", {"status": "ok"}),
        (180, Kind.PHASE_STARTED, "generalize", {}),
        (180, Kind.STEP_STARTED, "generalize", hidden),
        (181, Kind.STEP_OUTPUT, "generalize", {"stream": "stdout", "line": line}),
        (182, Kind.STEP_FINISHED, "generalize", {"status": "ok", "exit_code": 0, "bytes": {"stdout": 64, "stderr": 0}}),
        (190, Kind.MACHINE_STOPPED, "generalize", {"machine": "r-build", "how": "power-button"}),
        (194, Kind.PHASE_FINISHED, "generalize", {"status": "ok"}),
        (195, Kind.PHASE_STARTED, "distribute", {}),
        (196, Kind.PHASE_FINISHED, "distribute", {"status": "failed"}),
        (197, Kind.RUN_FINISHED, None, {"state": "Failed", "error": {"code": "DISTRIBUTE_FAILED", "message": "full"}}),
    ]
    assert write(tmp_path / "c.log", entries) == (GOLDEN / "success-B.log").read_text().splitlines()
    old = write(tmp_path / "a.log", entries, form="A")
    assert f"[{GUID}] PACKER OUT     azure-arm: Execute rule 6.1.12" in old
    assert old[-1] == f"Done exporting Packer logs to Azure for Packer prefix: [{GUID}] PACKER OUT"


FAILING = [
    *UP,
    (46, Kind.STEP_OUTPUT, "customize", {"stream": "stderr",
     "line": "touch: cannot touch '/buildArtifacts/imageBuilder.md': Permission denied"}),
    (47, Kind.STEP_FINISHED, "customize", {"status": "failed", "exit_code": 1, "error": FAILED,
                                           "bytes": {"stdout": 21, "stderr": 73}}),
    (48, Kind.PHASE_FINISHED, "customize", {"status": "failed"}),
]  # fmt: skip
FINISHED = (50, Kind.RUN_FINISHED, None, {"state": "Failed", "error": {"code": "CUSTOMIZER_FAILED", "message": "c1"}})


def test_a_script_that_fails(tmp_path: Path) -> None:
    entries = [*FAILING, FINISHED]
    assert write(tmp_path / "a.log", entries, form="A") == (GOLDEN / "failure-A.log").read_text().splitlines()
    new = short(write(tmp_path / "b.log", entries))
    at = "PACKER 2026/11/23 10:00:50"
    assert new[-15:] == [
        "PACKER 2026/11/23 10:00:47 [INFO] (telemetry) ending shell",
        f"{at} ui: ==> azure-arm: Provisioning step had errors: Running the cleanup provisioner, if present...",
        f"{at} ui: ==> azure-arm:",
        "PACKER ==> azure-arm: Deleting individual resources ...",
        f"{at} ui: ==> azure-arm: The resource group was not created by Packer, not deleting ...",
        f"{at} ui error: Build 'azure-arm' errored after 47 seconds: {FAILED}",
        "PACKER ==> Wait completed after 47 seconds",
        "PACKER ==> Some builds didn't complete successfully and had errors:",
        f'{at} machine readable: azure-arm,error []string{{"{FAILED}"}}',
        f"{at} ui error: --> azure-arm: {FAILED}",
        "PACKER ==> Builds finished but no artifacts were created.",
        f"{at} [INFO] (telemetry) Finalizing.",
        f"{at} waiting for all plugin processes to complete...",
        f"{at} /aib/packerInput/packer-plugin-azure: plugin process exited",
        "PACKER Done exporting Packer logs to Azure Storage.",
    ]


def test_abort_leaves_the_resources_and_says_so(tmp_path: Path) -> None:
    kept = (49, Kind.MACHINE_KEPT, None, {"machine": "r-build", "command": "ssh ..."})
    text = "\n".join(write(tmp_path / "b.log", [*FAILING, kept, FINISHED]))
    assert 'Step "StepProvision" failed, aborting...' in text
    assert "Deleting individual resources" not in text
    assert "cleanup provisioner" not in text


CUT: Entry = (
    47,
    Kind.STEP_FINISHED,
    "customize",
    {"status": "cancelled", "exit_code": None, "error": "x", "bytes": {}},
)
CUT_PHASE = (48, Kind.PHASE_FINISHED, "customize", {"status": "cancelled"})


@pytest.mark.parametrize("cause", ["cancel", "timeout"])
def test_cancel_and_timeout(tmp_path: Path, cause: str) -> None:
    asked = (46, Kind.RUN_STATE, None, {"state": "Canceling", "sub_state": "", "message": "Canceling image build"})
    code = {"cancel": "CANCELLED", "timeout": "BUILD_TIMED_OUT"}[cause]
    end = (50, Kind.RUN_FINISHED, None, {"state": "x", "error": {"code": code, "message": "context deadline exceeded"}})
    entries = [*UP, *([asked] if cause == "cancel" else []), CUT, CUT_PHASE, end]
    old = short(write(tmp_path / "a.log", entries, form="A"))
    first = "10:00:46" if cause == "cancel" else "10:00:47"
    assert old[11:] == [
        f"PACKER ERR 2026/11/23 {first} Cancelling builder after context cancellation context canceled",
        "PACKER OUT Cancelling build after receiving terminated",
        f"PACKER ERR 2026/11/23 {first} Cancelling provisioning due to context cancellation: context canceled",
        "PACKER ERR 2026/11/23 10:00:47 [ERROR] Remote command exited without exit status or exit signal.",
        "PACKER ERR 2026/11/23 10:00:47 [INFO] RPC endpoint: Communicator ended with: 2300218",
        "PACKER ERR 2026/11/23 10:00:47 [INFO] 0 bytes written for 'stdout'",
        "PACKER ERR 2026/11/23 10:00:47 [INFO] 0 bytes written for 'stderr'",
        "PACKER ERR 2026/11/23 10:00:47 [INFO] RPC client: Communicator ended with: 2300218",
        "PACKER ERR 2026/11/23 10:00:47 [INFO] (telemetry) ending shell",
        "PACKER OUT ==> azure-arm:",
        "PACKER OUT ==> azure-arm: Deleting individual resources ...",
        "PACKER OUT ==> azure-arm: The resource group was not created by Packer, not deleting ...",
        "PACKER OUT Build 'azure-arm' errored after 47 seconds: Build was cancelled.",
        "PACKER ERR 2026/11/23 10:00:50 ui error: Build 'azure-arm' errored after 47 seconds: Build was cancelled.",
        "PACKER OUT ==> Wait completed after 47 seconds",
        "PACKER OUT Cleanly cancelled builds after being interrupted.",
        "PACKER ERR 2026/11/23 10:00:50 [INFO] (telemetry) Finalizing.",
        "PACKER ERR 2026/11/23 10:00:50 waiting for all plugin processes to complete...",
        f"Done exporting Packer logs to Azure for Packer prefix: [{GUID}] PACKER OUT".replace(f"[{GUID}] ", ""),
    ]


def test_a_machine_that_never_answers(tmp_path: Path) -> None:
    entries = [
        *UP[:4],
        (9, Kind.MACHINE_LOST, "provision", {"machine": "r-build", "why": "the kernel panicked"}),
        (9, Kind.PHASE_FINISHED, "provision", {"status": "failed"}),
        (10, Kind.RUN_FINISHED, None, {"state": "Failed", "error": {"code": "PROVISION_FAILED", "message": "m"}}),
    ]
    lines = short(write(tmp_path / "b.log", entries))
    assert "PACKER 2026/11/23 10:00:09 TCP connection to SSH ip/port failed: the kernel panicked" in lines
    assert "PACKER 2026/11/23 10:00:09 ui error: ==> azure-arm: Timeout waiting for SSH." in lines
    assert 'PACKER 2026/11/23 10:00:10 machine readable: azure-arm,error []string{"Timeout waiting for SSH."}' in lines
    assert not any("cleanup provisioner" in line for line in lines)


def test_validation_has_a_log_of_its_own(tmp_path: Path) -> None:
    entries = [
        *FAILING[:-2],
        (60, Kind.PHASE_STARTED, "validate", {}),
        (61, Kind.MACHINE_STARTED, "validate", {"machine": "r-validate", "role": "validate"}),
        (62, Kind.MACHINE_CONNECTED, "validate", {}),
        (63, Kind.STEP_STARTED, "validate", SHELL),
        (64, Kind.STEP_OUTPUT, "validate", {"stream": "stdout", "line": "checking"}),
        (65, Kind.STEP_FINISHED, "validate", {"status": "failed", "exit_code": 1, "error": FAILED}),
        (66, Kind.PHASE_FINISHED, "validate", {"status": "failed"}),
        (70, Kind.PHASE_STARTED, "distribute", {}),
        (80, Kind.RUN_FINISHED, None, {"state": "Failed", "error": {"code": "VALIDATION_FAILED", "message": "v"}}),
    ]
    lines = short(write(tmp_path / "v.log", entries, validation=True))
    assert lines[0] == "PACKER 2026/11/23 10:01:00 ui: ==> azure-arm: Deploying deployment template ..."
    assert "PACKER 2026/11/23 10:01:04 ui:     azure-arm: checking" in lines
    assert f"PACKER 2026/11/23 10:01:10 ui error: Build 'azure-arm' errored after 6 seconds: {FAILED}" in lines
    assert not any("Execute rule" in line for line in lines)


def test_nothing_is_written_for_a_build_that_never_began(tmp_path: Path) -> None:
    skipped = (1, Kind.PHASE_FINISHED, "provision", {"status": "skipped"})
    assert write(tmp_path / "none.log", [STARTED, skipped, FINISHED]) == []
    assert not (tmp_path / "none.log").exists()


def test_lines_are_there_while_the_build_runs(tmp_path: Path) -> None:
    view = CustomizationLog(tmp_path / "live.log")
    for seconds, kind, phase, fields in UP:
        at = f"2026-11-23T10:00:{seconds:02}.000000Z"
        view.on_event(Event(seq=1, at=at, run="r", kind=kind, phase=phase, step=None, fields=fields))
    assert (tmp_path / "live.log").read_text().endswith("ui:     azure-arm: Execute rule 6.1.12\n")
    view.close()


def test_a_log_goes_on_when_the_disk_has_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tmp_path / "customization.log", os.write
    full = False

    def write_some(descriptor: int, content: Any) -> int:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content)

    monkeypatch.setattr(os, "write", write_some)
    view = CustomizationLog(path)
    for seq, (_, kind, phase, fields) in enumerate(UP):
        view.on_event(
            Event(seq=seq, at="2026-11-23T10:00:00Z", run="r", kind=kind, phase=phase, step="c1", fields=fields)
        )
    for number in range(30):
        full = 10 <= number < 20
        fields = {"stream": "stdout", "line": f"line {number}"}
        view.on_event(
            Event(
                seq=90,
                at="2026-11-23T10:00:00Z",
                run="r",
                kind=Kind.STEP_OUTPUT,
                phase="customize",
                step="c1",
                fields=fields,
            )
        )
    view.close()
    lines = short(path.read_text().splitlines())
    assert [line for line in lines if "line " in line or "missing" in line][10] == (
        "PACKER aibemu: 10 lines missing: the disk was full"
    )
    assert lines[-1].endswith("line 29")
