"""Each target of the fuzz campaign for a moment, with the same inputs each time; and what a hunt takes for a fault."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.campaigns import hunting
from tests.campaigns.fuzz_targets import NAMES, target
from tests.campaigns.hunting import Hunt, Target
from tests.campaigns.mutation import LONGEST, mutated

# Inputs of each target: about a second's.
INPUTS = {
    "templates": 30, "expressions": 500, "parameters": 1000, "scripts": 60, "frames": 1500, "requests": 500,
    "answers": 400, "config": 40, "records": 40, "disks": 500, "partitions": 500, "image_sets": 500,
    "packed": 200, "page_lists": 300,
    "redactor": 25, "texts": 250, "initramfs": 300, "registry": 200, "windows_volume": 100, "efi": 60,
    "xfs": 60, "btrfs": 60, "lvm": 200,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_short_hunt_finds_nothing(name: str, tmp_path: Path) -> None:
    hunt = Hunt(target(name, tmp_path))
    hunt.go(random.Random(f"short {name}"), inputs=INPUTS[name])
    assert hunt.inputs == INPUTS[name]
    assert hunt.lines() == []


@pytest.mark.parametrize("name", NAMES)
def test_sound_inputs_are_no_faults(name: str, tmp_path: Path) -> None:
    hunt = Hunt(target(name, tmp_path))
    seeds = random.Random(name).sample(range(len(hunt.target.seeds)), min(15, len(hunt.target.seeds)))
    for number in seeds:
        hunt.one(hunt.target.seeds[number])
    assert seeds
    assert hunt.lines() == []


def fails(content: bytes) -> None:
    raise LookupError(content)


def works(content: bytes) -> None:
    ends = time.process_time() + 0.05
    while time.process_time() < ends:
        continue


def fills(content: bytes) -> None:
    assert bytes(b"x" * (20 << 20))


@pytest.mark.parametrize(("run", "found"), [(fails, "LookupError"), (works, "0."), (fills, "more memory")])
def test_what_a_fault_is(run: object, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hunting, "SLOW", 0.01 if run is works else 60.0)
    monkeypatch.setattr(hunting, "LARGEST_MEMORY", (1 << 20) if run is fills else (1 << 40))
    hunt = Hunt(Target(name="t", run=run, seeds=[b"a"]))  # type: ignore[arg-type]
    hunt.one(b"a")
    assert [found in line for line in hunt.lines()] == [True]


def test_what_goes_on_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(content: bytes) -> None:
        while True:
            try:
                works(content)
            except Exception:  # noqa: BLE001
                continue

    monkeypatch.setattr(hunting, "GIVEN_UP", 0.1)
    hunt = Hunt(Target(name="t", run=stuck, seeds=[b"a"]))
    hunt.one(b"a")
    assert hunt.lines()[0].startswith("t: Endless: ")


def test_the_same_seed_gives_the_same_inputs() -> None:
    def inputs(seed: int) -> list[bytes]:
        chance = random.Random(seed)
        return [mutated(chance, [b'{"a": 1}', b"xyz" * 100], [b"word"]) for _ in range(300)]

    assert inputs(1) == inputs(1) != inputs(2)
    assert len(set(inputs(1))) > 200
    assert max(map(len, inputs(1))) == LONGEST
