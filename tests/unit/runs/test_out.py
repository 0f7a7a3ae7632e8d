"""`--out`: copies that are the user's own, whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.cloud.local import LocalCloud
from aibemu.errors import BuildCancelled, HostNotReady
from aibemu.paths import Home
from aibemu.reports.summary import OutputSummary
from aibemu.runs.out import copy_outputs
from aibemu.runs.store import Run, RunStore

TEMPLATE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.VirtualMachineImages/imageTemplates/t"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


@pytest.fixture
def run(home: Home) -> Run:
    run, lock = RunStore(home.runs).create()
    lock.release()
    run.log("customization.log").write_text("said\n")
    return run


def outputs(run: Run, home: Home) -> list[OutputSummary]:
    """A VHD of the run, and a stored image."""
    vhd, image = run.outputs / "vhd" / "disk.vhd", home.images / "blobs" / f"{'a' * 64}.qcow2"
    for path in (vhd, image):
        path.parent.mkdir(parents=True)
        path.write_bytes(path.suffix.encode() * 1000)
    image.chmod(0o444)
    return [
        OutputSummary(run_output_name=name, status="ok", paths=(str(path),))
        for name, path in (("v", vhd), ("i", image))
    ]


def copy(run: Run, home: Home, out: Path, deadline: Deadline | None = None) -> list[Path]:
    clock = SystemClock()
    return copy_outputs(
        out, run, outputs(run, home), TEMPLATE, LocalCloud(home.cloud, clock), deadline or forever()
    )  # fmt: skip


def test_what_the_user_writes_to_a_copy_is_not_written_to_the_run_or_the_store(
    run: Run, home: Home, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    made = copy(run, home, out)
    assert made == [out / "v" / "disk.vhd", out / "i" / "i.qcow2", out / "customization.log"]
    for path in made:
        assert path.stat().st_nlink == 1 and not path.is_symlink()
        with path.open("r+b") as stream:
            stream.write(b"mine")
    own = [run.outputs / "vhd" / "disk.vhd", *(home.images / "blobs").iterdir(), run.log("customization.log")]
    assert [path.read_bytes()[:4] for path in own] == [b".vhd", b".qco", b"said"]


def test_a_cancel_leaves_nothing_half_copied(run: Run, home: Home, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    cancel = CancelToken()
    cancel.cancel("stop")
    with pytest.raises(BuildCancelled):
        copy(run, home, out, Deadline(clock=SystemClock(), cancel=cancel))
    assert [path for path in out.rglob("*") if path.is_file()] == []


def test_room_is_looked_for_before_anything_is_copied(
    run: Run, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, size: int, what: str) -> None:
        raise HostNotReady(f"not enough disk space for {what}")

    monkeypatch.setattr("aibemu.distributors.sparse._reflink", lambda source, target: False)
    monkeypatch.setattr("aibemu.distributors.sparse.ensure_space", full)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(HostNotReady, match=f"the copies in {out}"):
        copy(run, home, out)
    assert list(out.iterdir()) == []
