"""A home with runs in it, and a way to call the program as a person would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import SystemClock
from aibemu.events import Kind
from aibemu.files import FileLock
from aibemu.runs.store import Run, RunStore
from aibemu.telemetry import Telemetry
from aibemu.views.ndjson import NdjsonView

FAILED = "Script exited with non-zero exit status: 1. Allowed exit codes are: [0]"


@dataclass
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "TF_BUILD", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIBEMU_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def aibemu(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    from aibemu.cli.main import run

    def call(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return call


@pytest.fixture
def make_run(home: Path) -> Callable[..., tuple[Run, FileLock]]:
    def make(*, alive: bool = False, ended: str | None = "Failed", kept: bool = False) -> tuple[Run, FileLock]:
        run, lock = RunStore(home / "runs").create()
        view = NdjsonView(run.events_file)
        chain = Telemetry(run.id, [view], SystemClock(), lambda value: value)
        step: dict[str, Any] = {"id": "c1", "kind": "Shell", "label": "Install", "span": "t.json:4:9"}
        chain.emit(
            Kind.RUN_STARTED, template="demo", file="t.json", driver="scripted", log_id="guid", steps=[step],
            validators=[], targets=[], timeout_minutes=240, template_id="",
        )  # fmt: skip
        with chain.phase("customize"):
            chain.emit(Kind.PHASE_STARTED)
            with chain.step("c1"):
                chain.emit(Kind.STEP_STARTED, step_kind="Shell", label="Install", index=0, total=1, span="t.json:4:9")
                chain.emit(Kind.STEP_OUTPUT, stream="stdout", line="first\x1b[2J")
                chain.emit(Kind.STEP_OUTPUT, stream="stderr", line="mkdir: cannot create directory: Permission denied")
                if ended:
                    chain.emit(Kind.STEP_FINISHED, status="failed", exit_code=1, seconds=1.0, error=FAILED, bytes={})
        run.log("customization.log").write_text("one\ntwo\n")
        if kept:
            (run.machines / "build").mkdir(parents=True)
            chain.emit(Kind.MACHINE_KEPT, machine=f"{run.id}-build", command="ssh -p 4 packer@127.0.0.1")
        output = run.outputs / "out" / "disk.vhd"
        output.parent.mkdir(parents=True)
        output.write_bytes(b"x" * 8192)
        chain.emit(
            Kind.OUTPUT_FINISHED, run_output_name="out", target="VHD", status="ok", artifact="file:///disk.vhd",
            paths=[str(output)], seconds=1.0, error=None,
        )  # fmt: skip
        if ended:
            error = {"code": "CUSTOMIZER_FAILED", "message": f"customizer Install failed: {FAILED}", "commands": []}
            chain.emit(Kind.RUN_FINISHED, state=ended, sub_state="Customizing", message="m", seconds=2.0, error=error)
        chain.close()
        if not alive:
            lock.release()
        return run, lock

    return make
