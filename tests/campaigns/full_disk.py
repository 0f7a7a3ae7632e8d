"""Fill the disk at a random instant, or give a build too small a one; then make room, and the next commands work.

    python -m tests.campaigns.full_disk [--rounds 60] [--seed N]

Builds and imports on scripted guests, with layers, a VHD, a qcow2 and a managed image to write. Full by turns: the disk
of the home, of `--out`, of a VHD's uri (a tmpfs each, which needs root); else the bound of the system on the size of a
file, which needs nothing. After each nothing half-written is left, no record is torn, and the same command succeeds.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from tests.campaigns.counts import Counts
from tests.campaigns.programs import (
    Ended,
    Place,
    command_line,
    fill_home,
    make_image,
    managed_image,
    place,
    run_rounds,
    write_template,
)
from tests.e2e.lab import left_over

MIB = 2**20
# Room for everything, with what aibemu wants to be free before it begins.
ROOMY = 1024 * MIB
# Bytes that a build or an import writes into one folder, and seconds that it takes, at most about.
WRITES, TAKES = 8 * MIB, 3.0
# How a command may end whose disk is full: it needed no more, it failed, the host is not ready.
ENDINGS = frozenset({0, 1, 4})
# What somebody asks for while the disk is full, the last one to make room.
MEANWHILE: Sequence[Sequence[str]] = (
    ("status",), ("images", "list"), ("cache", "list"), ("logs",), ("outputs",), ("clean",),
    ("cache", "prune", "--all", "--yes"), ("clean", "--all", "--yes"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a round takes place. full: the folder whose disk gets full."""

    place: Place
    folder: Path
    image: Path
    full: Path

    @property
    def own(self) -> tuple[Path, ...]:
        """Folders of the user, out and uri."""
        return self.folder / "out", self.folder / "uri"

    def words(self, action: str) -> list[str | Path]:
        """The command whose disk gets full."""
        if action == "import":
            return ["images", "import", self.image, "--alias", "mine", "--os-type", "Linux"]
        guest: list[str | Path] = [
            "--driver-option",
            "freezes=yes",
            "--driver-option",
            f"script={self.folder / 'guest.json'}",
        ]
        kinds: list[str | Path] = [
            "--cache",
            "--freeze",
            "--also",
            "qcow2",
            "--out",
            self.own[0],
            "--on-error",
            "cleanup",
        ]
        return ["run", self.folder / "template.json", "--driver", "scripted", *guest, *kinds]


@cache
def may_mount() -> bool:
    """Whether this process may have disks of its own."""
    with tempfile.TemporaryDirectory(prefix="aibemu-mount-") as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True, check=False)
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return mounted.returncode == 0


@contextmanager
def prepared(root: Place, what: str, number: int) -> Iterator[Site]:
    """Folders and a home of the round's own; the one named `what` is a disk of its own, if any is."""
    folder = root.folder / f"round-{number}"
    full = folder / what
    for name in ("home", "out", "uri"):
        (folder / name).mkdir(parents=True)
    if what != "file":
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOMY}", "none", full], check=True)
    try:
        site = Site(
            place=replace(root, home=folder / "home"), folder=folder, image=root.folder / "mine.qcow2", full=full
        )
        fill_home(folder / "home", root.folder / "disk.qcow2")
        lines = [f"line {number} {'=' * 200}" for number in range(2000)]
        (folder / "guest.json").write_text(json.dumps([{"match": "echo much", "stdout": lines, "delay": 0.2}]))
        steps = [{"type": "Shell", "name": name, "inline": [f"echo {name}"]} for name in ("much", "more")]
        vhd = {"type": "VHD", "runOutputName": "disk", "uri": str(folder / "uri" / "disk.vhd")}
        write_template(folder / "template.json", steps, [vhd, managed_image("full")])
        yield site
    finally:
        if what != "file":
            subprocess.run(["umount", "--lazy", full], check=True)


def size_of_disk(folder: Path, more: int) -> None:
    """Leave this disk so many bytes of room. Its size cannot become less than what is on it, which may be growing."""
    command: list[str | Path] = ["mount", "-o", f"remount,size={used(folder) + more}", folder]
    while subprocess.run(command, capture_output=True, check=False).returncode != 0:
        command[2] = f"remount,size={used(folder) + more}"


def used(folder: Path) -> int:
    """Bytes in whole pages; none at all would be no bound."""
    told = os.statvfs(folder)
    return max(told.f_blocks - told.f_bfree, 1) * told.f_frsize


def suffer(site: Site, action: str, way: str, chance: random.Random) -> list[str]:
    """The command with its disk full, what is asked meanwhile, and room again; what was wrong."""
    words = site.words(action)
    if way == "file":
        done = site.place.aibemu(*words, file_limit=chance.randrange(4096, 4 * MIB), within=90)
        return judge(done, f"`{action}`", ENDINGS)
    if way == "small":
        size_of_disk(site.full, chance.randrange(ROOMY))
        done = site.place.aibemu(*words, within=90)
    else:
        program = site.place.start(*words)
        program.ended(chance.uniform(0.0, TAKES))
        size_of_disk(site.full, chance.choice((0, 0, chance.randrange(WRITES))))
        done = program.ended(90) or program.close()
    faults = judge(done, f"`{action}`", ENDINGS)
    meanwhile = MEANWHILE[chance.randrange(len(MEANWHILE))]
    faults += judge(site.place.aibemu(*meanwhile), f"`{' '.join(meanwhile)}` while full", frozenset({0, 2, 3, 4}))
    size_of_disk(site.full, ROOMY)
    return faults


def judge(done: Ended, what: str, allowed: frozenset[int]) -> list[str]:
    """What was wrong with the end of a command."""
    faults = done.faults(what)
    if not faults and done.code not in allowed:
        faults.append(f"{what} ended with {done.code} after {done.seconds:.0f} s: {(done.err or done.out)[-600:]}")
    return faults


def torn(site: Site) -> list[str]:
    """Files that are half there: records, images, disks."""
    found = []
    for path in [*site.folder.rglob("*.json"), *site.folder.rglob("*.ndjson")]:
        text = path.read_text(errors="replace")
        try:
            for part in text.splitlines() if path.suffix == ".ndjson" else [text]:
                json.loads(part)
        except ValueError as error:
            found.append(f"{path.relative_to(site.folder)} is torn: {error}")
    for path in [*site.folder.rglob("*.vhd"), *site.folder.rglob("*.qcow2")]:
        kind = "vpc" if path.suffix == ".vhd" else "qcow2"
        words: list[str | Path] = ["qemu-img", "check" if kind == "qcow2" else "info", "-f", kind, path]
        looked = subprocess.run(words, capture_output=True, text=True, check=False)
        if looked.returncode != 0:
            found.append(f"{path.relative_to(site.folder)} is no disk: {(looked.stderr or looked.stdout)[-200:]}")
        if kind == "vpc" and path.read_bytes()[-512:-504] != b"conectix":
            found.append(f"{path.relative_to(site.folder)} has no end")
    return [*found, *(f"left: {what}" for what in left_over(site.folder))]


def play(root: Place, number: int, chance: random.Random) -> tuple[str, str, list[str]]:
    """One round."""
    what = ("home", "home", "out", "uri", "file")[number % 5] if may_mount() else "file"
    action = "run" if what in ("out", "uri") or number % 3 else "import"
    way = "file" if what == "file" else "small" if chance.random() < 0.2 else "filled"
    with prepared(root, what, number) as site:
        faults = suffer(site, action, way, chance)
        faults += judge(site.place.aibemu("status"), "`status` with room", frozenset({0}))
        faults += [f"after `{action}`: {fault}" for fault in torn(site)]
        again = site.place.aibemu(*site.words(action), within=90)
        faults += judge(again, f"`{action}` with room", frozenset({0}))
        faults += [f"after it with room: {fault}" for fault in torn(site)]
        names = sorted(path.name for folder in site.own for path in folder.rglob("*") if path.is_file())
        if action == "run" and names.count("disk.vhd") < 1:
            faults.append(f"outputs are missing: {names}")
    return f"{action}, {what}", way, faults


def campaign(rounds: int, seed: int, first: int = 0) -> Counts:
    """So many rounds."""
    with place("full-disk") as root:
        make_image(root.folder, 5, system="mke2fs").rename(root.folder / "mine.qcow2")
        make_image(root.folder)
        return run_rounds(lambda number, chance: play(root, number, chance), rounds, seed, first=first)


if __name__ == "__main__":
    sys.exit(command_line("full_disk", __doc__ or "", campaign, rounds=60))
