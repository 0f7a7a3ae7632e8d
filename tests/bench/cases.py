"""The builds that are measured: Packer's, and aibemu's cold, warm and edited ones, which share the home of a round."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aibemu.paths import Home
from tests.bench import child, packer, work
from tests.bench.shares import Account, Event, account, customizers, of_kind
from tests.e2e.lab import Base, fresh_home, read_events

BOUND = 900.0
PACKER, COLD, WARM, EDITED = "packer", "cold", "warm", "edited"
# The second template's own first step, and the first template's last step after a change.
OTHER_FIRST = work.Step(name="Another", lines=("echo 'another template'", *work.SURROUNDINGS.lines))
EDITED_LAST = replace(work.MANIFEST, lines=(*work.MANIFEST.lines, "echo 'one line more'"))
OTHER_STEPS = (OTHER_FIRST, *work.STEPS[1:])
EDITED_STEPS = (*work.STEPS[:-1], EDITED_LAST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One build. manifest: what its guest printed of its files. account, peak_bytes: aibemu only."""

    seconds: float
    manifest: tuple[str, ...]
    account: Account | None = None
    peak_bytes: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What the builds of one round share. base: a home with the image only. folder: thrown away after the round."""

    folder: Path
    base: Home
    machine: packer.Machine
    program: Path | None

    @property
    def home(self) -> Path:
        return self.folder / "home"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What makes a build the case it is called: the layer that it starts from, and how many steps run."""

    layer: str | None
    steps: int


def packer_case(one: Round) -> Sample:
    """Packer, from its start to the finished qcow2."""
    assert one.program is not None
    folder = one.folder / PACKER
    folder.mkdir()
    template = packer.template(folder, one.machine, work.STEPS, work.write_upload(folder))
    done = packer.build(one.program, template, bound=BOUND)
    if done.status != 0 or done.disk is None:
        raise RuntimeError(f"packer failed:\n{done.log[-4000:]}")
    return Sample(seconds=done.seconds, manifest=tuple(work.manifest(done.lines())))


def cold_case(one: Round) -> Sample:
    """No layer anywhere: it boots, and freezes for those after it. What QEMU can do is known, as on any other day."""
    fresh_home(one.home, Base(home=one.base, probed=one.base.cache / "qemu"))
    return _build(one, "first", work.STEPS, Expected(layer=None, steps=len(work.STEPS)))


def warm_case(one: Round) -> Sample:
    """Another template on the same image: it starts from the provisioned layer."""
    return _build(one, "second", OTHER_STEPS, Expected(layer="provisioned", steps=len(OTHER_STEPS)))


def edited_case(one: Round) -> Sample:
    """The first template with its last step changed: all others are cached."""
    return _build(one, "first", EDITED_STEPS, Expected(layer=work.STEPS[-2].name, steps=1))


CASES: Mapping[str, Callable[[Round], Sample]] = {
    PACKER: packer_case, COLD: cold_case, WARM: warm_case, EDITED: edited_case,
}  # fmt: skip


def _build(one: Round, name: str, steps: Sequence[work.Step], expected: Expected) -> Sample:
    """A build by aibemu, the start of Python included."""
    template = work.write_template(one.folder, steps, work.write_upload(one.folder), name=name)
    done = child.run(["run", str(template)], environment(one), one.folder, BOUND)
    if done.status != 0:
        raise RuntimeError(f"aibemu failed:\n{done.said[-4000:]}")
    directory = _record(one.home / "runs", done.pid)
    events = read_events(directory)
    _check(events, expected, one.machine)
    return Sample(
        seconds=done.seconds, manifest=tuple(work.manifest(work.step_lines(directory))),
        account=account(events, done.started, done.seconds), peak_bytes=done.peak_bytes,
        warnings=tuple(event["message"] for event in of_kind(events, "notice") if event["level"] == "warning"),
    )  # fmt: skip


def environment(one: Round) -> dict[str, str]:
    """The caller's, with Packer's memory; without CI, which switches layers off, and other settings of aibemu's."""
    kept = {name: text for name, text in os.environ.items() if name != "CI" and not name.startswith("AIBEMU_")}
    return kept | {"AIBEMU_HOME": str(one.home), "AIBEMU_MEMORY_CAP_MIB": str(one.machine.memory_mib)}


def _record(runs: Path, pid: int) -> Path:
    """The directory of the run that this process was."""
    for path in runs.glob("*/events.ndjson"):
        with path.open() as stream:
            if json.loads(stream.readline()).get("pid") == pid:
                return path.parent
    raise RuntimeError(f"no run of process {pid} in {runs}")


def _check(events: Sequence[Event], expected: Expected, machine: packer.Machine) -> None:
    """RuntimeError if this was another kind of build, or another machine than Packer's."""
    layer = next((event["label"] for event in of_kind(events, "machine.restored")), None)
    found = Expected(layer=layer, steps=len(customizers(events)))
    if found != expected:
        said = [event["message"] for event in of_kind(events, "notice")]
        raise RuntimeError("\n".join([f"not what is measured: {found} instead of {expected}", *said]))
    shape = [(event["cpus"], event["memory_mib"]) for event in of_kind(events, "machine.started")]
    if shape != [(machine.cpus, machine.memory_mib)]:
        raise RuntimeError(f"aibemu's machines had {shape}, Packer's {machine.cpus} CPUs and {machine.memory_mib} MiB")
