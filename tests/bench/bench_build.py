"""Time aibemu against Packer's qemu builder: same image, same steps, same machine, in one run, taking turns.

    .venv/bin/python -m tests.bench.bench_build [--rounds 3] [--home DIR] [--only CASE...] [--json FILE]

The image is the base image's generic variant, which both provision from a NoCloud seed. Both copy or overlay it, boot,
do the steps of `tests/bench/work.py`, deprovision, power off and leave a qcow2; both have 2 CPUs and 1 GiB. The cases:

    packer   Packer's whole run
    cold     aibemu in a home without layers, making them included
    warm     another template on the same image, in that home: it starts from the provisioned layer
    edited   the first template with its last step changed, to the finished image

Each round has a home of its own, thrown away after it; Packer has the first turn and the last by turns, and what was
written is flushed before each. What Packer and the cold build did is proven to be the same: the manifests that their
guests printed must be equal. Prints two tables to standard error, JSON to standard output; asserts no time. `--home`
holds the base image (default: AIBEMU_TEST_HOME). Needs about 5 GB there. Packer does not wait for the guest's
cloud-init as aibemu does.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from aibemu.clock import SystemClock
from aibemu.images import BaseImage
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from aibemu.runs.drivers import make_driver
from tests import nocloud
from tests.bench import packer
from tests.bench.cases import CASES, COLD, EDITED, PACKER, WARM, Round, Sample
from tests.bench.tables import as_json, figures, share_table, table


def order(wanted: Collection[str], number: int) -> list[str]:
    """What is built in round `number`, in turn: warm and edited builds start from what a cold one left."""
    needed = {*wanted, COLD} if {WARM, EDITED} & set(wanted) else set(wanted)
    names = [name for name in CASES if name in needed]
    return names if number % 2 == 0 or PACKER not in names else [*names[1:], PACKER]


def measure(one: Round, number: int, wanted: Collection[str]) -> Iterator[tuple[str, Sample]]:
    """One round; of each wanted case a sample."""
    for name in order(wanted, number):
        os.sync()
        sample = CASES[name](one)
        print(f"round {number + 1}: {name} {sample.seconds:.1f} s", file=sys.stderr, flush=True)
        for text in sample.warnings:
            print(f"  {text}", file=sys.stderr)
        if name in wanted:
            yield name, sample


def differences(samples: dict[str, list[Sample]]) -> list[str]:
    """How the files of Packer's and the cold builds differ; the reference is the first build's."""
    same = [sample for name in (PACKER, COLD) for sample in samples.get(name, ())]
    if not all(sample.manifest for sample in same):
        return ["a guest printed no manifest"]
    for sample in same[1:]:
        if found := list(difflib.unified_diff(same[0].manifest, sample.manifest, n=0, lineterm="")):
            return found
    return []


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time aibemu against Packer on the same work.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--home", type=Path, default=os.environ.get("AIBEMU_TEST_HOME"))
    parser.add_argument(
        "--only", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE",
        help=f"of {', '.join(CASES)}; a cold build is made for the last two in any case",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    return parser.parse_args()


@contextlib.contextmanager
def surroundings(home: Home, image: BaseImage) -> Iterator[tuple[Path, Home, packer.Machine]]:
    """A scratch folder beside the images, a home there with the generic image only, and the machine for both."""
    generic = nocloud.generic_variant(image, home)
    with tempfile.TemporaryDirectory(dir=home.images.parent, prefix="bench-") as name:
        scratch = Path(name)
        own = nocloud.generic_home(scratch / "base", generic)
        # What the probe finds is kept there, and copied from there.
        driver = make_driver("qemu", {}, own)
        machine = packer.Machine(
            base=generic, disk_bytes=image.virtual_size, accelerator=driver.accelerator().name
        )  # fmt: skip
        yield scratch, own, machine


def main() -> int:
    """Measure and print; 1 when the builds did not do the same, 4 when Packer or the base image is missing."""
    options = arguments()
    program = packer.find()
    home = Home.at(Path(options.home).absolute()) if options.home else None
    image = ImageStore(home.images, SystemClock()).find("debian-12") if home else None
    if home is None or image is None or (program is None and PACKER in options.only):
        print("needs packer 1.x on PATH, and --home DIR with the base image debian-12 in it", file=sys.stderr)
        return 4
    samples: dict[str, list[Sample]] = {name: [] for name in CASES if name in options.only}
    with surroundings(home, image) as (scratch, own, machine):
        for number in range(options.rounds):
            with tempfile.TemporaryDirectory(dir=scratch, prefix=f"{number}-") as folder:
                one = Round(folder=Path(folder), base=own, machine=machine, program=program)
                for name, sample in measure(one, number, options.only):
                    samples[name].append(sample)
    value = {"accelerator": machine.accelerator, "rounds": options.rounds, "base": image.digest}
    return report(samples, value, options.json)


def report(samples: dict[str, list[Sample]], head: dict[str, Any], target: Path | None) -> int:
    """The tables and the JSON."""
    found, differing = figures(samples), differences(samples)
    print("\n".join([*table(found), "", *share_table(samples)]), file=sys.stderr)
    text = json.dumps({**head, "same_files": not differing, **as_json(samples, found)}, indent=1)
    print(text)
    if target:
        target.write_text(text + "\n")
    if differing:
        print("\n".join(["the builds did not leave the same files:", *differing]), file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
