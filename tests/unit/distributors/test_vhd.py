"""VHD targets on this host: content, alignment, sparseness, where they go, and nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.distributors.vhd import VhdDistributor
from aibemu.distributors.vhd_format import ALIGNMENT, read_footer
from aibemu.errors import BuildCancelled, DistributeFailed, HostNotReady, UsageError

if TYPE_CHECKING:
    from tests.unit.distributors.conftest import World

SIGNED = "https://acct.blob.core.windows.net/vhds/gold.vhd?sp=cw&se=2099-01-01&sig=c2VjcmV0"


def everything_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_file_is_the_disk_a_whole_mib_and_a_footer(world: World) -> None:
    artifact = VhdDistributor().distribute(world.finished, world.target("VHD"), world.tools, forever())
    path = world.finished.out / "out1.vhd"
    data = path.read_bytes()
    size = len(data) - 512
    assert size % ALIGNMENT == 0 and 0 < size - len(world.content) < ALIGNMENT
    assert data[: len(world.content)] == world.content
    assert not any(data[len(world.content) : size])
    footer = read_footer(data[-512:])
    assert footer is not None and footer.size == size
    assert footer.created == world.tools.clock.now()
    assert (artifact.artifact_uri, artifact.artifact_id) == (path.as_uri(), None)
    assert (artifact.paths, artifact.kind, artifact.run_output_name) == ((path,), "VHD", "out1")


def test_the_file_stays_sparse(world: World) -> None:
    VhdDistributor().distribute(world.finished, world.target("VHD"), world.tools, forever())
    stat = (world.finished.out / "out1.vhd").stat()
    assert stat.st_size > 5 * 1024 * 1024
    assert stat.st_blocks * 512 < 1024 * 1024


def test_every_target_has_an_id_of_its_own(world: World) -> None:
    ids = set()
    for name in ("one", "two"):
        VhdDistributor().distribute(world.finished, world.target("VHD", name), world.tools, forever())
        footer = read_footer((world.finished.out / f"{name}.vhd").read_bytes()[-512:])
        assert footer is not None
        ids.add(footer.unique_id)
    assert len(ids) == 2


@pytest.mark.parametrize("form", ["relative", "absolute", "url", "folder"])
def test_a_local_uri_gets_a_copy_of_its_own(world: World, form: str) -> None:
    path = world.tools.directory / "images" / ("out1.vhd" if form == "folder" else "gold.vhd")
    uri = {
        "relative": "images/gold.vhd", "absolute": str(path), "url": path.as_uri(), "folder": f"{path.parent}/",
    }[form]  # fmt: skip
    target = world.target("VHD", uri=uri)
    VhdDistributor().check(target, world.tools)
    artifact = VhdDistributor().distribute(world.finished, target, world.tools, forever())
    own = world.finished.out / "out1.vhd"
    assert path.read_bytes() == own.read_bytes()
    assert artifact.artifact_uri == path.as_uri() and artifact.paths == (path, own)
    assert path.stat().st_nlink == own.stat().st_nlink == 1
    # Again, over the first one, as the next run does.
    VhdDistributor().check(target, world.tools)
    VhdDistributor().distribute(world.finished, target, world.tools, forever())
    assert everything_in(path.parent) == [path.name]


def test_a_file_that_is_not_a_vhd_is_not_overwritten(world: World) -> None:
    (world.tools.directory / "notes.txt").write_text("keep me" * 200)
    target = world.target("VHD", uri="notes.txt")
    with pytest.raises(UsageError, match="is not a VHD") as caught:
        VhdDistributor().check(target, world.tools)
    assert caught.value.span == target.span


def test_artifact_tags_are_kept_beside_the_file(world: World) -> None:
    target = world.target("VHD", tags={"source": "aib"})
    VhdDistributor().distribute(world.finished, target, world.tools, forever())
    assert json.loads((world.finished.out / "out1.tags.json").read_text()) == {"source": "aib"}


def test_a_cancelled_build_leaves_no_file(world: World) -> None:
    cancel = CancelToken()
    cancel.cancel("stop")
    with pytest.raises(BuildCancelled):
        VhdDistributor().distribute(
            world.finished, world.target("VHD"), world.tools, Deadline(clock=SystemClock(), cancel=cancel)
        )
    assert everything_in(world.finished.out) == []


def test_a_failing_conversion_leaves_the_old_file_and_names_the_target(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = world.target("VHD")
    VhdDistributor().distribute(world.finished, target, world.tools, forever())
    old = (world.finished.out / "out1.vhd").read_bytes()

    def half(source: object, partial: Path, *_: object, **__: object) -> None:
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(partial))

    monkeypatch.setattr("aibemu.distributors.vhd.copy_extents", half)
    with pytest.raises(DistributeFailed, match="No space left on device") as caught:
        VhdDistributor().distribute(world.finished, target, world.tools, forever())
    assert caught.value.span == target.span
    assert (world.finished.out / "out1.vhd").read_bytes() == old
    assert everything_in(world.finished.out) == ["out1.vhd"]


def test_room_is_checked_before_anything_is_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1024})())
    with pytest.raises(DistributeFailed, match="not enough disk space"):
        VhdDistributor().distribute(world.finished, world.target("VHD"), world.tools, forever())
    assert everything_in(world.finished.out) == []


def test_a_blob_without_a_token_is_kept_here_and_said_so(world: World) -> None:
    target = world.target("VHD", uri=SIGNED.partition("?")[0])
    VhdDistributor().check(target, world.tools)
    artifact = VhdDistributor().distribute(world.finished, target, world.tools, forever())
    assert artifact.artifact_uri == (world.finished.out / "out1.vhd").as_uri()
    assert "not uploaded to https://acct.blob.core.windows.net/vhds/gold.vhd" in artifact.notes[0]


def test_a_missing_library_is_said_before_anything_starts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    VhdDistributor().check(world.target("VHD", uri=SIGNED), world.tools)
    monkeypatch.setattr("aibemu.distributors.blob.find_spec", missing)
    with pytest.raises(HostNotReady) as caught:
        VhdDistributor().check(world.target("VHD", uri=SIGNED), world.tools)
    assert caught.value.commands == ('pip install "aibemu[blob]"',)
    VhdDistributor().check(world.target("VHD"), world.tools)


def test_names_from_templates_are_no_paths(world: World) -> None:
    artifact = VhdDistributor().distribute(world.finished, world.target("VHD", "../../x"), world.tools, forever())
    assert artifact.paths[0].parent == world.finished.out
