"""How long does a fixed VHD take, next to `cp --sparse=always` of the same data?

    .venv/bin/python -m tests.bench.bench_disk [--rounds 9] [--folder DIR] [--json]

The disk is a qcow2 overlay on a qcow2 base: 3 GiB with 600 MB of random bytes in pieces of 4 KiB to 4 MiB, a quarter of
them in the overlay. Ours is all of `aibemu.distributors.vhd.write_vhd`: looking at the disk, making sure of room,
converting, footer, flush, rename. `cp` copies the same data from a sparse raw file; then its file and folder are
flushed by fsync, as ours are. Both read from a warm page cache and write to one folder, in turn, the first changing
each round; before each the file system is idle (sync). `qemu-img convert` with our options and the same flush is shown
to tell what of ours is not the conversion. Asserts no time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from aibemu.clock import forever
from aibemu.disks.convert import info, to_raw
from aibemu.distributors.vhd import write_vhd
from aibemu.distributors.vhd_format import FOOTER_SIZE
from aibemu.files import fsync

SIZE = 3 << 30
DATA = 600_000_000
PIECES = (4 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20)
BLOCK = 4096
OURS, CP, QEMU = "our VHD", "cp --sparse=always", "qemu-img convert"
Samples = dict[str, list[float]]


def pieces(rng: random.Random) -> Iterator[tuple[int, int]]:
    """(offset, length) of the data, spread over the disk with holes between."""
    lengths: list[int] = []
    while (left := DATA - sum(lengths)) > 0:
        lengths.append(min(rng.choice(PIECES), left - left % -BLOCK))
    hole = (SIZE - sum(lengths)) // len(lengths) // BLOCK * BLOCK
    offset = 0
    for length in lengths:
        yield offset, length
        offset += length + hole


def make_disk(folder: Path) -> tuple[Path, Path]:
    """(the overlay, a sparse raw file of the same data)."""
    rng = random.Random(20)
    base, disk, raw, piece = (folder / name for name in ("base.qcow2", "disk.qcow2", "disk.raw", "piece"))
    above: list[tuple[int, bytes]] = []
    with raw.open("wb") as stream:
        stream.truncate(SIZE)
        for number, (offset, length) in enumerate(pieces(rng)):
            content = rng.randbytes(length)
            if number % 4 == 0:
                above.append((offset, content))
            else:
                stream.seek(offset)
                stream.write(content)
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, base])
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk])
    with raw.open("r+b") as stream:
        for offset, content in above:
            stream.seek(offset)
            stream.write(content)
            piece.write_bytes(content)
            run(["qemu-io", "-f", "qcow2", "-c", f"write -q -s {piece} {offset} {len(content)}", disk])
    return disk, raw


def run(command: Sequence[str | Path]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def flushed(write: Callable[[Path], None]) -> Callable[[Path], None]:
    """The same with a flush of the file and of its folder at the end."""

    def both(target: Path) -> None:
        write(target)
        fsync(target)
        fsync(target.parent)

    return both


def contestants(disk: Path, raw: Path) -> dict[str, Callable[[Path], None]]:
    def ours(target: Path) -> None:
        write_vhd(disk, target, unique_id=UUID(int=1), created=datetime(2026, 1, 1, tzinfo=UTC), deadline=forever())

    def cp(target: Path) -> None:
        run(["cp", "--sparse=always", raw, target])

    def qemu(target: Path) -> None:
        to_raw(info(disk, deadline=forever(), format="qcow2"), target, deadline=forever())

    return {OURS: ours, CP: flushed(cp), QEMU: flushed(qemu)}


def seconds(write: Callable[[Path], None], target: Path, sources: Sequence[Path]) -> float:
    target.unlink(missing_ok=True)
    for source in sources:
        run(["cat", source])
    os.sync()
    started = time.perf_counter()
    write(target)
    return time.perf_counter() - started


def check(vhd: Path, raw: Path) -> None:
    """What was timed must be the disk, and sparse."""
    if vhd.stat().st_size != SIZE + FOOTER_SIZE or vhd.stat().st_blocks > raw.stat().st_blocks * 1.05:
        raise RuntimeError(f"{vhd} has {vhd.stat().st_size} bytes in {vhd.stat().st_blocks} blocks")
    run(["cmp", "-n", str(SIZE), vhd, raw])


def compare(folder: Path, rounds: int) -> Samples:
    disk, raw = make_disk(folder)
    writers = list(contestants(disk, raw).items())
    sources = [*folder.glob("*.qcow2"), raw]
    samples: Samples = {name: [] for name, _ in writers}
    for number in range(rounds + 1):
        turn = number % len(writers)
        for name, write in writers[turn:] + writers[:turn]:
            target = folder / "out"
            taken = seconds(write, target, sources)
            if number > 0:  # the first round warms up
                samples[name].append(taken)
            elif name == OURS:
                check(target, raw)
            target.unlink()
    return samples


def described(samples: Samples) -> dict[str, object]:
    """Everything, for programs: seconds of each, and ratios to `cp` by rounds and of the medians."""
    value: dict[str, object] = {"seconds": samples}
    for name in (OURS, QEMU):
        value[f"{name} / cp"] = {
            "rounds": [mine / other for mine, other in zip(samples[name], samples[CP], strict=True)],
            "medians": statistics.median(samples[name]) / statistics.median(samples[CP]),
        }
    return value


def report(samples: Samples) -> None:
    print(f"{'':20} {'min s':>8} {'median s':>9} {'max s':>8}")
    for name, found in samples.items():
        print(f"{name:20} {min(found):8.3f} {statistics.median(found):9.3f} {max(found):8.3f}")
    for name in (OURS, QEMU):
        ratios = [mine / other for mine, other in zip(samples[name], samples[CP], strict=True)]
        of_medians = statistics.median(samples[name]) / statistics.median(samples[CP])
        print(
            f"{name} / cp: {of_medians:.2f} of the medians; by rounds {min(ratios):.2f} {statistics.median(ratios):.2f}"
            f" {max(ratios):.2f} (minimum, median, maximum)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where to work, e.g. on another disk (about 3 GB)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aibemu-bench-", dir=options.folder) as name:
        samples = compare(Path(name), options.rounds)
    if options.json:
        print(json.dumps(described(samples)))
    else:
        report(samples)


if __name__ == "__main__":
    main()
