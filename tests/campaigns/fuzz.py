"""Damaged inputs for everything that reads what others wrote: no traceback, no more than 2 s, no more than 500 MB.

    python -m tests.campaigns.fuzz TARGET|all [--seconds 180] [--seed N] [--keep FOLDER] [--guided]

Inputs are fixtures of this project, damaged at random, of 64 KiB at most; the same for the same seed. `--guided`: those
that reach new code are damaged further, by atheris (`pip install atheris`); it takes a minute to start, and pays in an
hour, not in a minute. What a fault is, is in
`tests.campaigns.hunting`; inputs with faults are kept in FOLDER, and `--try FILE` runs one of them again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.campaigns.fuzz_targets import NAMES, target
from tests.campaigns.hunting import Fault, Hunt
from tests.campaigns.mutation import LONGEST, mutated

# Seconds between two counts that a guided hunt leaves: atheris ends the process by itself.
_COUNT_EVERY = 1.0
_COUNTS = "counts.json"


def report(hunt: Hunt) -> dict[str, Any]:
    """The counts."""
    return {
        "inputs": hunt.inputs, "work": round(hunt.work, 1), "slowest": round(hunt.slowest, 3), "found": hunt.found,
        "lines": hunt.lines(),
    }  # fmt: skip


def keep(hunt: Hunt, folder: Path) -> None:
    """Write the inputs with faults to the folder, and beside each what happened."""
    for alike in hunt.faults.values():
        for number, fault in enumerate(alike):
            _keep(fault, folder / f"{hunt.target.name}-{fault.place.replace('/', '_').replace(':', '-')}-{number}")


def _keep(fault: Fault, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.input").write_bytes(fault.content)
    path.with_name(f"{path.name}.txt").write_text(f"{fault.what}\n{fault.trace}", "utf-8", "backslashreplace")


def guided(name: str, seconds: float, seed: int, folder: Path) -> None:
    """Let atheris choose what is damaged further. Does not return: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["aibemu"]):
        found = target(name, folder / "work")
    hunt = Hunt(found)
    began = told = time.process_time()

    def one(content: bytes) -> None:
        nonlocal told
        hunt.one(content)
        now = time.process_time()
        if now - told > _COUNT_EVERY or now - began > seconds:
            told = now
            keep(hunt, folder / "kept")
            (folder / _COUNTS).write_text(json.dumps(report(hunt)))

    def change(content: bytes, most: int, number: int) -> bytes:
        rng = random.Random(number)
        if rng.random() < 0.3:
            return bytes(atheris.Mutate(content, most))
        return mutated(rng, found.seeds, found.words, content or None)[:most]

    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(found.seeds):
        (corpus / str(number)).write_bytes(content[:LONGEST])
    options = (f"-max_total_time={seconds + 2:.0f}", f"-seed={seed or 1}", f"-max_len={LONGEST}", "-verbosity=0")
    more = ("-rss_limit_mb=0", "-timeout=300", "-len_control=0", "-print_final_stats=0")
    atheris.Setup(["fuzz", *options, *more, str(corpus)], one, custom_mutator=change)
    atheris.Fuzz()


def hunted(name: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The counts of one target: guided in a process of its own, or by seeds in this one."""
    if not given.guided:
        hunt = Hunt(target(name, folder / "work"))
        hunt.go(random.Random(given.seed), seconds=given.seconds)
        keep(hunt, folder / "kept")
        return report(hunt)
    counts = folder / _COUNTS
    words = [name, "--inside", str(folder), "--seconds", str(given.seconds), "--seed", str(given.seed)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaigns.fuzz", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, check=False, errors="replace",
    )  # fmt: skip
    found: dict[str, Any] = json.loads(counts.read_text()) if counts.exists() else report(Hunt(target(name, folder)))
    if done.returncode:
        found["lines"].append(f"{name}: the process ended with {done.returncode}: {done.stderr[-2000:]}")
        found["found"] += 1
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, run; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=[*NAMES, "all"])
    parser.add_argument("--seconds", type=float, default=180.0, metavar="N", help="of work, for each target")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for inputs with faults")
    parser.add_argument("--guided", action="store_true", help="by coverage, with atheris")
    parser.add_argument("--try", dest="again", type=Path, metavar="FILE", help="run this one input")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.inside:
        guided(given.target, given.seconds, given.seed, given.inside)
    if given.guided and importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install atheris")
    with tempfile.TemporaryDirectory(prefix="aibemu-fuzz-") as name:
        folder = Path(name)
        if given.again:
            hunt = Hunt(target(given.target, folder / "work"))
            hunt.one(given.again.read_bytes())
            sys.stdout.writelines(f"{line}\n" for line in (*hunt.lines(), f"{hunt.slowest:.2f} s"))
            return 1 if hunt.found else 0
        return _all([*NAMES] if given.target == "all" else [given.target], given, folder)


def _all(names: Sequence[str], given: argparse.Namespace, folder: Path) -> int:
    faults = 0
    sys.stdout.write(
        f"seed {given.seed}\n{'':<12} {'inputs':>9} {'work':>7} {'seconds':>8} {'slowest':>8} {'faults':>7}\n"
    )
    for name in names:
        began = time.monotonic()
        found = hunted(name, given, folder / name)
        took = time.monotonic() - began
        row = f"{name:<12} {found['inputs']:>9} {found['work']:>7.0f} {took:>8.0f}"
        row += f" {found['slowest']:>8.2f} {found['found']:>7}"
        sys.stdout.writelines(f"{line}\n" for line in (row, *(f"  {line}" for line in found["lines"])))
        sys.stdout.flush()
        faults += found["found"]
        if given.keep and (folder / name / "kept").is_dir():
            given.keep.mkdir(parents=True, exist_ok=True)
            for path in (folder / name / "kept").iterdir():
                (given.keep / path.name).write_bytes(path.read_bytes())
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
