"""What every distributor promises, as tests. Subclass it in a test module and say how to make one, and a target:

    class TestMine(DistributorContract):
        def new_distributor(self) -> Distributor:
            return Mine()

        def target(self, surroundings: Surroundings, name: str) -> Target:
            return make_target("Mine", name, folder=str(surroundings.root / "mine"))

The disk is a small qcow2 overlay without an operating system. Needs pytest, `qemu-img` and `qemu-io`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from aibemu.clock import CancelToken, Clock, Deadline, SystemClock, forever
from aibemu.cloud.ids import template_id
from aibemu.cloud.local import LocalCloud
from aibemu.distributors import Artifact, Distributor, DistributorTools, FinishedImage, what_it_would_do
from aibemu.errors import BuildCancelled, DistributeFailed, Span
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.images.store import ImageStore
from aibemu.processes import run_tool
from aibemu.template.model import Target

MIB = 1 << 20
# Not a whole number of MiB, so that rounding shows.
DISK_SIZE = 5 * MIB + 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """All that a distributor meets, below the folder `root`."""

    root: Path
    finished: FinishedImage
    tools: DistributorTools
    # The bytes of the finished disk.
    content: bytes
    # What the distributor told people.
    said: list[str] = field(default_factory=list)


def make_disk(folder: Path) -> tuple[Path, bytes]:
    """A qcow2 overlay on a qcow2 base, with data in both, and the bytes of the disk."""
    content = bytearray(DISK_SIZE)
    content[: 3 * 4096] = b"base" * 3072
    content[2 * MIB : 2 * MIB + 200_000] = bytes(range(250)) * 800
    raw, base, overlay = folder / "base.raw", folder / "base.qcow2", folder / "disk.qcow2"
    raw.write_bytes(content)
    run_tool(["qemu-img", "convert", "-O", "qcow2", raw, base], deadline=forever())
    run_tool(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", overlay], deadline=forever()
    )  # fmt: skip
    run_tool(["qemu-io", "-c", "write -P 90 4M 64k", overlay], deadline=forever())
    content[4 * MIB : 4 * MIB + 65536] = b"\x5a" * 65536
    raw.unlink()
    return overlay, bytes(content)


def make_surroundings(root: Path, disk: tuple[Path, bytes], clock: Clock | None = None) -> Surroundings:
    """An empty store and an empty cloud below `root`, and what the engine says of a finished `disk`."""
    clock, said = clock or SystemClock(), list[str]()
    info = ImageInfo(
        os_type="Linux", os_name="Debian 12", generation=Generation.V1, provisioning=Provisioning.NOCLOUD,
        generalized=True, origin="run 3f2c9a1b output out1",
    )  # fmt: skip
    finished = FinishedImage(
        disk=disk[0], info=info, run_id="3f2c9a1b", template_id=template_id("sub", "rg", "gold"), template_name="gold",
        api_version="2024-02-01", location="eastus", staging_group="/subscriptions/sub/resourceGroups/IT_rg_gold_1",
        out=root / "outputs" / "out1", source_version="12.0.20240102",
    )  # fmt: skip
    (root / "templates").mkdir(parents=True)
    tools = DistributorTools(
        cloud=LocalCloud(root / "cloud", clock), store=ImageStore(root / "images", clock), clock=clock,
        say=said.append, directory=root / "templates",
    )  # fmt: skip
    return Surroundings(root=root, finished=finished, tools=tools, content=disk[1], said=said)


def make_target(kind: str, name: str, tags: Mapping[str, str] | None = None, **options: object) -> Target:
    """The first target of a template, with these options."""
    span = Span(file="template.json", line=12, column=5)
    return Target(kind=kind, index=0, run_output_name=name, artifact_tags=tags or {}, options=options, span=span)


class DistributorContract:
    """The suite."""

    def new_distributor(self) -> Distributor:
        """A distributor as the engine makes it."""
        raise NotImplementedError

    def target(self, surroundings: Surroundings, name: str) -> Target:
        """A target that can be written, `name` its runOutputName; targets of two names write to two places.

        What must be there before, is made here.
        """
        raise NotImplementedError

    @pytest.fixture
    def surroundings(self, tmp_path: Path) -> Surroundings:
        (tmp_path / "disk").mkdir()
        return make_surroundings(tmp_path / "surroundings", make_disk(tmp_path / "disk"))

    @pytest.fixture
    def distributor(self) -> Distributor:
        return self.new_distributor()

    def test_a_check_finds_nothing_and_changes_nothing(
        self, distributor: Distributor, surroundings: Surroundings
    ) -> None:
        target = self.target(surroundings, "out1")
        before = files_below(surroundings.root)
        distributor.check(target, surroundings.tools)
        distributor.check(target, surroundings.tools)
        assert files_below(surroundings.root) == before

    def test_what_it_would_do_is_told_and_not_done(self, distributor: Distributor, surroundings: Surroundings) -> None:
        """By `would`, if it has that: for dry runs, which have no disk."""
        target = self.target(surroundings, "out1")
        before = files_below(surroundings.root)
        finished = replace(surroundings.finished, disk=surroundings.root / "no disk")
        told = what_it_would_do(distributor, finished, target, surroundings.tools)
        assert all(told)
        assert files_below(surroundings.root) == before

    def test_the_place_is_known_before_anything_is_written(
        self, distributor: Distributor, surroundings: Surroundings
    ) -> None:
        first, second = (self.target(surroundings, name) for name in ("out1", "out2"))
        assert distributor.writes_to(first)
        assert distributor.writes_to(first) == self.new_distributor().writes_to(first)
        assert distributor.writes_to(first) != distributor.writes_to(second)

    def test_the_artifact_says_what_came_of_the_target(
        self, distributor: Distributor, surroundings: Surroundings
    ) -> None:
        target = self.target(surroundings, "out1")
        artifact = _distribute(distributor, surroundings, target)
        assert (artifact.run_output_name, artifact.kind) == ("out1", target.kind)
        assert (artifact.artifact_id is None) != (artifact.artifact_uri is None), "an image or a file, not both"
        assert all(path.is_file() for path in artifact.paths)

    def test_its_first_file_holds_the_disk(self, distributor: Distributor, surroundings: Surroundings) -> None:
        artifact = _distribute(distributor, surroundings, self.target(surroundings, "out1"))
        if not artifact.paths:
            pytest.skip("this distributor leaves no local file")
        raw = surroundings.root / "read.raw"
        run_tool(["qemu-img", "convert", "-O", "raw", artifact.paths[0], raw], deadline=forever())
        assert raw.read_bytes()[: len(surroundings.content)] == surroundings.content

    def test_the_finished_disk_is_not_touched(self, distributor: Distributor, surroundings: Surroundings) -> None:
        """Other targets read it at the same time."""
        before = surroundings.finished.disk.read_bytes()
        _distribute(distributor, surroundings, self.target(surroundings, "out1"))
        assert surroundings.finished.disk.read_bytes() == before

    def test_two_targets_at_once(self, distributor: Distributor, surroundings: Surroundings) -> None:
        targets = [self.target(surroundings, name) for name in ("out1", "out2")]
        with ThreadPoolExecutor(2) as pool:
            artifacts = list(pool.map(lambda target: _distribute(distributor, surroundings, target), targets))
        assert [artifact.run_output_name for artifact in artifacts] == ["out1", "out2"]
        assert all(path.is_file() for artifact in artifacts for path in artifact.paths)

    def test_a_cancel_leaves_nothing_half_written(self, distributor: Distributor, surroundings: Surroundings) -> None:
        target = self.target(surroundings, "out1")
        before = files_below(surroundings.root)
        cancel = CancelToken()
        cancel.cancel("stop")
        deadline = Deadline(clock=surroundings.tools.clock, cancel=cancel)
        with pytest.raises(BuildCancelled):
            distributor.distribute(surroundings.finished, target, surroundings.tools, deadline)
        assert files_below(surroundings.root) == before

    def test_what_goes_wrong_is_told_at_the_target(self, distributor: Distributor, surroundings: Surroundings) -> None:
        target = self.target(surroundings, "out1")
        finished = replace(surroundings.finished, disk=surroundings.root / "nothing.qcow2")
        with pytest.raises(DistributeFailed) as caught:
            distributor.distribute(finished, target, surroundings.tools, forever())
        assert caught.value.span == target.span


def _distribute(distributor: Distributor, surroundings: Surroundings, target: Target) -> Artifact:
    """As the engine does it: checked first, with a folder of the target's own."""
    distributor.check(target, surroundings.tools)
    finished = replace(surroundings.finished, out=surroundings.root / "outputs" / target.run_output_name)
    return distributor.distribute(finished, target, surroundings.tools, forever())


def files_below(root: Path) -> Sequence[Path]:
    """Every file below `root` but locks, which stay."""
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.name.endswith("lock"))
