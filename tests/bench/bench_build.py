"""Time aibemu against Packer's qemu builder: same image, same steps, same accelerator, in one run, taking turns.

    .venv/bin/python -m tests.bench.bench_build [--rounds 3] [--home DIR] [--json FILE]

The image is the base image's generic variant, which both provision from a NoCloud seed. Both copy or overlay it, boot,
do the steps of `tests/bench/work.py`, deprovision, power off and leave a qcow2. What is compared is proven the same
first: the manifests that the guests printed must be equal. Prints a table and the ratios; asserts no time. `--home`
holds the base image (default: AIBEMU_TEST_HOME).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from aibemu import plugins
from aibemu.clock import SystemClock
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from tests import nocloud
from tests.bench import packer, work

BOUND = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One build: seconds of wall time, and the manifest its guest printed."""

    seconds: float
    manifest: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All builds of one program, in seconds."""

    name: str
    minimum: float
    median: float
    samples: tuple[float, ...]


Build = Callable[[Path], Sample]


def packer_build(program: Path, machine: packer.Machine) -> Build:
    """A build by Packer, from its start to the finished qcow2."""

    def build(folder: Path) -> Sample:
        upload = work.write_upload(folder)
        template = packer.template(folder, machine, work.STEPS, upload)
        done = packer.build(program, template, bound=BOUND)
        if done.status != 0 or done.disk is None:
            raise RuntimeError(f"packer failed:\n{done.log[-4000:]}")
        return Sample(seconds=done.seconds, manifest=tuple(work.manifest(done.lines())))

    return build


def aibemu_build(home: Home, options: Sequence[str] = ()) -> Build:
    """A build by aibemu, the start of Python included; the store is linked, so nothing is kept from build to build."""

    def build(folder: Path) -> Sample:
        own = Home.at(folder / "home")
        shutil.copytree(home.images, own.images, copy_function=os.link, ignore=shutil.ignore_patterns("tmp", "locks"))
        template = work.write_template(folder, work.STEPS, work.write_upload(folder))
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "aibemu", "run", str(template), *options], stdin=subprocess.DEVNULL,
            env=os.environ | {"AIBEMU_HOME": str(folder / "home")}, capture_output=True, text=True, timeout=BOUND,
            check=False,
        )  # fmt: skip
        seconds = time.monotonic() - started
        if done.returncode != 0:
            raise RuntimeError(f"aibemu failed:\n{done.stderr[-4000:]}")
        run = next(path.parent for path in own.runs.glob("*/events.ndjson"))
        return Sample(seconds=seconds, manifest=tuple(work.manifest(work.step_lines(run))))

    return build


def measure(builds: dict[str, Build], rounds: int, scratch: Path) -> list[Summary]:
    """`rounds` builds of each, in turn, so that a busy minute hits all; RuntimeError if they did not do the same."""
    samples: dict[str, list[Sample]] = {name: [] for name in builds}
    for number in range(rounds):
        for name, build in builds.items():
            with tempfile.TemporaryDirectory(dir=scratch, prefix=f"{name}-{number}-") as folder:
                sample = build(Path(folder))
            print(f"round {number + 1}: {name} {sample.seconds:.1f} s", file=sys.stderr)
            samples[name].append(sample)
    manifests = {sample.manifest for found in samples.values() for sample in found}
    if len(manifests) != 1 or not min(manifests):
        raise RuntimeError("the builds did not leave the same files: run tests/e2e/test_packer_parity.py")
    return [summarise(name, [sample.seconds for sample in found]) for name, found in samples.items()]


def summarise(name: str, seconds: Sequence[float]) -> Summary:
    return Summary(
        name=name, minimum=min(seconds), median=statistics.median(seconds),
        samples=tuple(round(value, 2) for value in seconds),
    )  # fmt: skip


def table(found: Sequence[Summary], reference: str) -> list[str]:
    """Text columns; the ratios are to `reference`: below 1 is faster."""
    base = next(summary for summary in found if summary.name == reference)
    lines = [f"{'':12} {'min s':>8} {'median s':>9} {'min ratio':>10} {'median ratio':>13}"]
    for one in found:
        ratios = f"{one.minimum / base.minimum:10.2f} {one.median / base.median:13.2f}"
        lines.append(f"{one.name:12} {one.minimum:8.1f} {one.median:9.1f} {ratios}")
    return lines


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time aibemu against Packer on the same work.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--home", type=Path, default=os.environ.get("AIBEMU_TEST_HOME"))
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    return parser.parse_args()


def main() -> int:
    """Measure and print; 4 when Packer or the base image is missing."""
    options = arguments()
    program = packer.find()
    home = Home.at(Path(options.home).absolute()) if options.home else None
    image = ImageStore(home.images, SystemClock()).find("debian-12") if home else None
    if program is None or home is None or image is None:
        print("needs packer 1.x on PATH, and --home DIR with the base image debian-12 in it", file=sys.stderr)
        return 4
    accelerator = plugins.load("aibemu.drivers", "qemu")({}).accelerator().name
    generic = nocloud.generic_variant(image, home)
    machine = packer.Machine(base=generic, disk_bytes=image.virtual_size, accelerator=accelerator)
    with tempfile.TemporaryDirectory(dir=home.images.parent, prefix="bench-") as scratch:
        own = nocloud.generic_home(Path(scratch, "home"), generic)
        builds = {"packer": packer_build(program, machine), "aibemu": aibemu_build(own)}
        found = measure(builds, options.rounds, Path(scratch))
    value = {
        "accelerator": accelerator, "rounds": options.rounds, "base": image.digest,
        "results": [asdict(summary) for summary in found],
        "ratio": {"min": found[1].minimum / found[0].minimum, "median": found[1].median / found[0].median},
    }  # fmt: skip
    print("\n".join(table(found, "packer")), file=sys.stderr)
    text = json.dumps(value, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
