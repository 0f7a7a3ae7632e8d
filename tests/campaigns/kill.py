"""Kill a build at a random instant; then one verb after the other is the next command, and nothing may be left.

    python -m tests.campaigns.kill [--rounds 100] [--seed N]

Needs AIBEMU_TEST_HOME with the base image (./test.sh makes it). Builds are real: QEMU guests from a layer, with a VHD,
a qcow2 and a managed image to write, so that an instant can be in each phase. What is killed by turns: the program, the
machine, the platform (SIGKILL each); the program is also sent SIGTERM, SIGINT and SIGHUP.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aibemu.paths import Home
from tests.campaigns.counts import Counts
from tests.e2e.lab import QUICK, WARM, Base, Build, aibemu, fresh_home, left_over, managed_image, write_template

# Seconds from a kill or a signal to the end of the program; it may have to wait for a machine that is gone.
ENDS_WITHIN = 30.0
# How the program may end: success (it was over already), a failed build, cancelled, killed.
ENDINGS = frozenset({0, 1, 5, 130, -signal.SIGKILL})
PHASES = ("provision", "customize", "generalize", "distribute")
# Seconds after the beginning of a phase.
SOON = 2.0
BEFORE_A_RUN = frozenset({-signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP})


def _machine(build: Build, mark: str) -> list[int]:
    """Processes of the run's machines whose command line has `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if mark in line and f"{build.home}/" in line:
                found.append(int(entry.name))
    return found


def _kill_all(pids: list[int]) -> bool:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return bool(pids)


def _signal(build: Build, number: signal.Signals) -> bool:
    build.process.send_signal(number)
    return True


# What is done to a build, by its name in the table; whether anything was there to be hit.
BLOWS: Mapping[str, Callable[[Build], bool]] = {
    "program": lambda build: _signal(build, signal.SIGKILL),
    "QEMU": lambda build: _kill_all(_machine(build, "qemu-system")),
    "platform": lambda build: _kill_all(_machine(build, "aibemu.fabric.serve")),
    "SIGTERM": lambda build: _signal(build, signal.SIGTERM),
    "SIGINT": lambda build: _signal(build, signal.SIGINT),
    "SIGHUP": lambda build: _signal(build, signal.SIGHUP),
}
# The next command, and the exit codes that it may have: a template or a run that is not there is no fault here.
VERBS: tuple[tuple[tuple[str, ...], frozenset[int]], ...] = (
    (("status",), frozenset({0})),
    (("cache", "list"), frozenset({0})),
    (("images", "list"), frozenset({0})),
    (("plan", "TEMPLATE"), frozenset({0})),
    (("validate", "TEMPLATE"), frozenset({0})),
    (("logs",), frozenset({0, 3, 4})),
    (("outputs",), frozenset({0})),
    (("exec", "RUN", "--", "true"), frozenset({2, 3, 4, 5})),
    (("clean",), frozenset({0, 2})),
    (("cache", "prune"), frozenset({0, 2})),
    (("run", "TEMPLATE", "--driver", "dryrun", "--no-freeze"), frozenset({0})),
)


@dataclass(slots=True)
class Campaign:
    """home: has the layer that builds start from. within: seconds that a whole build takes at most."""

    home: Path
    folder: Path
    within: float
    chance: random.Random
    counts: Counts = field(default_factory=Counts)

    def round(self, number: int) -> None:
        """One build, one blow, one next command."""
        blow, (words, allowed) = list(BLOWS)[number % len(BLOWS)], VERBS[number % len(VERBS)]
        folder = self.folder / f"round-{number}"
        own = folder / "own"
        path = write_template(folder, "killed", customize=STEPS, distribute=targets(own))
        build = Build(self.home, [path, *WARM, "--also", "qcow2", "--out", own / "out"], folder / "build")
        try:
            self._until_the_instant(build)
            phase = current_phase(build)
            hit = BLOWS[blow](build)
            faults = ended(build, lambda: not hit or boots_instead(build))
            run = build.run if build.events() else "none"
            done = aibemu(self.home, *(word.replace("TEMPLATE", str(path)).replace("RUN", run) for word in words))
        finally:
            build.close()
        if done.returncode not in allowed:
            faults.append(f"`{' '.join(words)}` ended with {done.returncode}: {(done.stderr or done.stdout)[-400:]}")
        faults += [f"`{' '.join(words)}` printed a traceback" for text in (done.stdout, done.stderr) if TRACE in text]
        faults += [f"left: {what}" for what in left_over(self.home, own)]
        self.counts.add(phase, blow, [f"round {number} ({blow} in {phase}): {fault}" for fault in faults])

    def _until_the_instant(self, build: Build) -> None:
        """By turns at any time, and soon after a phase began: some are so short that the first rarely meets them."""
        if self.chance.random() < 0.5:
            _let_run(build, self.chance.uniform(0.0, self.within))
            return
        wanted = self.chance.choice(PHASES)
        while build.process.poll() is None and current_phase(build) != wanted:
            _let_run(build, 0.05)
        _let_run(build, self.chance.uniform(0.0, SOON))


def _let_run(build: Build, seconds: float) -> None:
    """Until the instant, or the end of the build."""
    try:
        build.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


TRACE = "Traceback (most recent call last)"
STEPS: list[dict[str, Any]] = [
    {"type": "Shell", "name": "Work", "inline": ["for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done"]},
    {"type": "Shell", "name": "Own", "inline": [QUICK]},
]


def targets(folder: Path) -> list[dict[str, Any]]:
    """A VHD where the user wants it, and a managed image."""
    return [{"type": "VHD", "runOutputName": "disk", "uri": str(folder / "disk.vhd")}, managed_image("killed")]


def current_phase(build: Build) -> str:
    """The phase that had begun last."""
    if build.process.poll() is not None:
        return "over"
    started = build.events("phase.started")
    return str(started[-1]["phase"]) if started else "preparing"


def boots_instead(build: Build) -> bool:
    """Whether it gave up the layer, whose machine was hit, and boots another one."""
    return any("could not be used" in str(event["message"]) for event in build.events("notice"))


def ended(build: Build, goes_on: Callable[[], bool]) -> list[str]:
    """Wait for the program; what was wrong with its end. goes_on: whether it rightly works on, for nothing was hit, or
    it boots instead of starting from a layer: then it is told to end."""
    begun = time.monotonic()
    while build.process.poll() is None and not goes_on() and time.monotonic() - begun < ENDS_WITHIN:
        _let_run(build, 0.5)
    if build.process.poll() is None and goes_on():
        build.process.send_signal(signal.SIGTERM)
    try:
        status = build.process.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        build.kill()
        return [f"the program did not end within {ENDS_WITHIN:g} s"]
    # Before there is a run, a signal has its usual effect.
    allowed = ENDINGS if build.events() else ENDINGS | BEFORE_A_RUN
    faults = [] if status in allowed else [f"the program ended with {status} after {time.monotonic() - begun:.1f} s"]
    return faults + [f"the program printed a traceback: {build.stderr[-400:]}" for _ in range(TRACE in build.stderr)]


@contextmanager
def prepared(base: Base) -> Iterator[tuple[Path, Path, float]]:
    """A folder, a home in it with the layer, and the seconds that a build from the layer took."""
    with tempfile.TemporaryDirectory(prefix="aibemu-kill-") as name:
        folder = Path(name)
        home = fresh_home(folder / "home", base)
        # The first build boots and makes the layer. Its step is another one, so that each round runs its own.
        first = write_template(folder / "first", "killed", customize=STEPS[1:])
        path = write_template(folder, "killed", customize=STEPS, distribute=targets(folder / "own"))
        succeed(Build(home, [first, "--cache", "--freeze"], folder / "boots"))
        begun = time.monotonic()
        succeed(Build(home, [path, *WARM], folder / "warm"))
        yield folder, home, time.monotonic() - begun


def succeed(build: Build) -> None:
    """Wait for a build that nothing is done to."""
    if build.wait() != 0:
        raise SystemExit(f"a build failed:\n{build.stderr[-2000:]}")


def main() -> int:
    """Read the command line, run; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.kill", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=None, metavar="N")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    root = os.environ.get("AIBEMU_TEST_HOME")
    if not root:
        parser.error("AIBEMU_TEST_HOME is not set: ./test.sh sets it, and builds the base image there")
    base = Base(home=Home.at(Path(root).expanduser()), probed=Path(root) / "none")
    # Whoever starts this in the background may ignore signals, and builds would, too.
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(one) is signal.SIG_IGN:
            signal.signal(one, signal.SIG_DFL)
    with prepared(base) as (folder, home, took):
        sys.stdout.write(f"seed {seed}; a build takes {took:.0f} s\n")
        campaign = Campaign(home, folder, took, random.Random(seed))
        for number in range(given.rounds):
            before = len(campaign.counts.faults)
            campaign.round(number)
            sys.stdout.writelines(f"{fault}\n" for fault in campaign.counts.faults[before:])
            sys.stdout.flush()
        sys.stdout.writelines(f"{line}\n" for line in campaign.counts.table())
    return 1 if campaign.counts.faults else 0


if __name__ == "__main__":
    sys.exit(main())
