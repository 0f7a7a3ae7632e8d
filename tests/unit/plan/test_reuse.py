"""Which layer a build starts from, and what each step is said to do and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.errors import Span, UsageError
from aibemu.images import BaseImage, Generation, ImageInfo, Provisioning
from aibemu.plan.fingerprint import chain, root
from aibemu.plan.model import Fetched, Plan, ResolvedImage
from aibemu.plan.planner import Host, PreparedStep, make_plan
from aibemu.plan.reuse import Known, Wish, find_step, reuse
from aibemu.template.model import OnError, PlatformImage, StepSpec, Template, Validate, VmProfile
from aibemu.text import age_words, parse_age

SPAN = Span(file="t.json", line=1, column=1)
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
NEW = "runs: no cached result for this content"
AFTER = "runs: a step before it runs"


class Inputs:
    def __init__(self, value: object) -> None:
        self.value = value

    def inputs(self) -> object:
        return self.value


def prepared(index: int, name: str, option: str, content: str) -> PreparedStep:
    spec = StepSpec(kind="Shell", index=index, name=name, options={"inline": [option]}, span=SPAN)
    file = Fetched(uri="u", path=Path("/f"), sha256=content * 64, size=1)
    return PreparedStep(spec=spec, step=Inputs({"inline": [option]}), files=(file,))


def plan(
    *names: str, options: Mapping[int, str] | None = None, contents: Mapping[int, str] | None = None,
    vm_size: str = "", disk_gb: int = 0, digest: str = "a", hypervisor: tuple[str, ...] = ("qemu", "7.2"),
    surroundings: Mapping[str, object] | None = None,
) -> Plan:  # fmt: skip
    """Steps with these names; options and contents of some of them by index."""
    template = Template(
        name="t", location="westeurope", api_version="2024-02-01", tags={}, identities=("i",),
        source=PlatformImage(publisher="p", offer="o", sku="s", version="latest", plan=None, span=SPAN), customize=(),
        validate=Validate(), optimize_vm_boot=False, distribute=(), on_customizer_error=OnError.CLEANUP,
        on_validation_error=OnError.CLEANUP, build_timeout_minutes=0,
        vm_profile=VmProfile(vm_size=vm_size, os_disk_size_gb=disk_gb), staging_resource_group="",
        managed_resource_tags={}, file="t.json", directory="/", document={},
    )  # fmt: skip
    info = ImageInfo(
        os_type="Linux", os_name="Debian", generation=Generation.V1, provisioning=Provisioning.NOCLOUD,
        generalized=True, origin="test",
    )  # fmt: skip
    image = BaseImage(
        digest=digest * 64, path=Path("/x"), virtual_size=1 << 32, file_size=1, created="t", info=info
    )  # fmt: skip
    steps = [
        prepared(number, name, (options or {}).get(number, "echo"), (contents or {}).get(number, "c"))
        for number, name in enumerate(names)
    ]
    return make_plan(
        template, template_id="/t", staging_group="/rg",
        source=ResolvedImage(image=image, exact_version="1.0.0", source_id="p:o:s:1.0.0", plan=None), steps=steps,
        validators=steps[:1], host=Host(cpus=64, memory_mib=1 << 20), hypervisor=hypervisor,
        surroundings=surroundings or {},
    )  # fmt: skip


def stored(of: Plan, *which: int, ages: Mapping[int, timedelta] | None = None) -> dict[str, Known]:
    """Layers of some steps of a plan, by number, each made on the one before it; 0 is the provisioned machine. An hour
    old each, or as `ages` says."""
    made = [(name, (NOW - (ages or {}).get(one, HOUR), f"run{one}")) for one, name in enumerate(ids(of))]
    return {
        name: Known(made=when, run=run, past=dict(made[:one]))
        for one, (name, (when, run)) in enumerate(made)
        if one in which
    }


def chosen(of: Plan, layers: Mapping[str, Known], **wish: object) -> Plan:
    return reuse(of, Wish(**wish), layers.get, NOW)  # type: ignore[arg-type]


def said(of: Plan) -> list[str]:
    return [step.reason for step in of.steps]


THREE = plan("one", "two", "three")


def test_nothing_there_means_a_boot_and_every_step() -> None:
    found = chosen(THREE, {})
    assert (found.start, found.done) == (None, 0)
    assert said(found) == [NEW, AFTER, AFTER]


def test_the_provisioned_machine_is_where_all_steps_start() -> None:
    found = chosen(THREE, stored(THREE, 0))
    assert (found.start, found.done) == (THREE.root, 0)
    assert said(found) == [NEW, AFTER, AFTER]


def test_the_deepest_layer_wins_though_those_before_it_are_gone() -> None:
    found = chosen(THREE, stored(THREE, 0, 2))
    assert (found.start, found.done) == (THREE.steps[1].fingerprint, 2)
    assert said(found) == ["cached 1 h ago by run run1", "cached 1 h ago by run run2", NEW]
    assert [step.cached for step in found.steps] == [True, True, False]


def test_of_a_disk_alone_only_the_last_step_in_it_says_that_the_machine_boots() -> None:
    of = plan("a", "b", "c", "d")
    layers = {of.steps[1].fingerprint: Known(made=NOW - HOUR, run="r", boots=True)}
    found = chosen(of, layers)
    assert [step.cached for step in found.steps] == [True, True, False, False]
    assert [step.boots for step in found.steps] == [False, True, False, False]
    assert said(found)[2:] == ["runs: it comes after the restart that the build starts from", AFTER]
    assert not any(step.boots for step in chosen(of, stored(of, 0, 1)).steps)


def test_each_cached_step_tells_its_own_age_and_run() -> None:
    ages = {1: timedelta(days=2), 2: timedelta(minutes=5), 3: timedelta(seconds=8)}
    found = chosen(THREE, stored(THREE, 1, 2, 3, ages=ages))
    assert said(found) == [
        "cached 2 d ago by run run1", "cached 5 min ago by run run2", "cached 8 s ago by run run3",
    ]  # fmt: skip
    assert found.start == THREE.steps[2].fingerprint


def test_only_start_reasons_and_marks_change() -> None:
    found = chosen(THREE, stored(THREE, 0, 1))
    bare = [replace(step, reason="", cached=False) for step in found.steps]
    assert bare == [replace(step, reason="") for step in THREE.steps]
    assert replace(found, steps=THREE.steps, start=None) == THREE


def test_a_plan_without_steps_starts_from_the_provisioned_machine() -> None:
    none = plan()
    assert chosen(none, stored(none, 0)).start == none.root


# What is asked for


def test_without_the_cache_the_provisioned_machine_is_still_used() -> None:
    found = chosen(THREE, stored(THREE, 0, 1, 2, 3), cache=False)
    assert (found.start, found.done) == (THREE.root, 0)
    assert said(found) == ["runs: the cache is off", AFTER, AFTER]


def test_cold_starts_from_nothing() -> None:
    found = chosen(THREE, stored(THREE, 0, 1, 2, 3), cache=False, warm=False)
    assert (found.start, found.done) == (None, 0)


@pytest.mark.parametrize("text", ["c2", "2", "two", "TWO"])
def test_from_a_step_by_id_number_or_name(text: str) -> None:
    found = chosen(THREE, stored(THREE, 0, 1, 2, 3), from_step=text)
    assert found.start == THREE.steps[0].fingerprint
    assert said(found) == ["cached 1 h ago by run run1", "runs: asked for by --from", AFTER]


def test_from_the_first_step_is_from_the_provisioned_machine() -> None:
    found = chosen(THREE, stored(THREE, 0, 1, 2, 3), from_step="1")
    assert (found.start, said(found)[0]) == (THREE.root, "runs: asked for by --from")


def test_from_a_step_that_must_run_anyway_is_no_more_than_that() -> None:
    found = chosen(THREE, stored(THREE, 0), from_step="3")
    assert said(found) == [NEW, AFTER, "runs: asked for by --from"]


@pytest.mark.parametrize(("text", "why"), [("c9", "no such step"), ("0", "no such step"), ("four", "no such step")])
def test_an_unknown_step_is_refused_with_all_there_are(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"--from {text}: there is {why}") as caught:
        chosen(THREE, {}, from_step=text)
    assert list(caught.value.details) == ["c1  one", "c2  two", "c3  three"]


def test_a_name_that_two_steps_have_is_refused_but_a_number_is_not() -> None:
    twins = plan("same", "Same", "1")
    with pytest.raises(UsageError, match="there is more than one such step"):
        find_step(twins.steps, "same", "--from")
    assert find_step(twins.steps, "1", "--from") == 0  # the number before the name


def test_a_layer_that_is_too_old_is_not_used_and_the_plan_says_so() -> None:
    ages = {0: HOUR, 1: HOUR, 2: timedelta(days=3)}
    found = chosen(THREE, stored(THREE, 0, 1, 2, ages=ages), max_age=timedelta(days=2))
    assert found.start == THREE.steps[0].fingerprint
    assert said(found) == ["cached 1 h ago by run run1", "runs: its layer is older than 2 d", AFTER]


DAYS = {0: timedelta(days=13), 1: timedelta(days=13), 2: timedelta(days=5), 3: HOUR}


@pytest.mark.parametrize("there", [(0, 1, 2, 3), (0, 3), (3,)], ids=str)
def test_a_layer_is_as_old_as_the_oldest_step_in_it_whether_that_has_one_of_its_own_or_not(there: list[int]) -> None:
    layers = stored(THREE, *there, ages=DAYS)
    found = chosen(THREE, layers)
    assert said(found) == ["cached 13 d ago by run run1", "cached 5 d ago by run run2", "cached 1 h ago by run run3"]
    found = chosen(THREE, layers, max_age=timedelta(days=1))
    assert (found.start, found.done) == (None, 0)
    assert said(found) == ["runs: its layer is older than 1 d", AFTER, AFTER]


def test_what_is_too_old_by_default_is_so_under_a_young_step_too() -> None:
    ages = {0: HOUR, 1: timedelta(days=14, seconds=1), 2: HOUR}
    found = chosen(THREE, stored(THREE, 0, 1, 2, ages=ages))
    assert (found.start, said(found)[0]) == (THREE.root, "runs: its layer is older than 14 d")


def test_a_provisioned_machine_that_is_too_old_is_so_under_its_steps() -> None:
    layers = stored(THREE, 0, 1, ages={0: timedelta(days=15)})
    found = chosen(THREE, layers)
    assert (found.start, found.done) == (None, 0)
    assert said(found)[0] == "runs: its layer was made on one that is older than 14 d"


def test_a_step_that_was_made_anew_has_that_age_and_what_was_made_on_the_old_one_is_old() -> None:
    layers = stored(THREE, 0, 1, 2, ages=DAYS)
    layers |= stored(THREE, 0, 1)  # again, an hour ago
    found = chosen(THREE, layers, max_age=timedelta(days=6))
    assert found.start == THREE.steps[0].fingerprint
    assert said(found) == [
        "cached 1 h ago by run run1", "runs: its layer was made on one that is older than 6 d", AFTER,
    ]  # fmt: skip
    # Where that is no matter, the first step is what is in the layer of the second one.
    assert said(chosen(THREE, layers))[:2] == ["cached 13 d ago by run run1", "cached 5 d ago by run run2"]


def test_what_this_build_made_or_continues_from_counts_however_old_it_is() -> None:
    layers = stored(THREE, 0, 1, 2, 3, ages=DAYS)
    for age in (timedelta(days=1), timedelta(0)):
        found = chosen(THREE, layers, max_age=age, own=frozenset({"run0", "run1"}))
        assert found.start == THREE.steps[0].fingerprint
        # Nobody says that another run's layer was made on these.
        assert said(found)[0] == "cached 13 d ago by run run1"
        assert said(found)[1].startswith("runs: its layer ")
    found = chosen(THREE, layers, max_age=timedelta(0), own=frozenset({"run0"}))
    assert (found.start, found.done) == (THREE.root, 0)


def test_a_layer_of_the_same_id_that_another_run_made_since_is_not_its_own() -> None:
    layers = stored(THREE, 0, 1, ages={0: timedelta(days=10)})
    wanted = {"max_age": timedelta(hours=12), "own": frozenset({"run0"})}
    assert chosen(THREE, layers, **wanted).start == THREE.root
    assert chosen(THREE, layers, max_age=timedelta(hours=12)).start is None


def test_a_provisioned_machine_that_is_too_old_is_not_used_either() -> None:
    layers = stored(THREE, 0, ages={0: timedelta(days=3)})
    assert chosen(THREE, layers, max_age=timedelta(days=2)).start is None
    assert chosen(THREE, layers, max_age=timedelta(days=3)).start == THREE.root


# aibemu:nocache

MARKED = plan("one", "two aibemu:nocache", "three")


def test_a_step_that_says_so_is_never_cached_nor_is_what_follows() -> None:
    found = chosen(MARKED, stored(MARKED, 0, 1, 2, 3))
    assert found.start == MARKED.steps[0].fingerprint
    assert said(found) == ["cached 1 h ago by run run1", "runs: its name says aibemu:nocache", AFTER]


def test_the_first_reason_to_run_is_the_one_that_is_said() -> None:
    layers = stored(MARKED, 0, 1, 2, 3)
    assert said(chosen(MARKED, layers, from_step="1"))[0] == "runs: asked for by --from"
    assert said(chosen(MARKED, layers, from_step="3"))[1] == "runs: its name says aibemu:nocache"


def test_what_a_resumed_run_did_itself_counts_whatever_the_names_say() -> None:
    layers = stored(MARKED, 0, 1, 2)
    assert chosen(MARKED, layers, own=frozenset({"run2"})).start == MARKED.steps[1].fingerprint
    # The mark after it still holds, and one of other content was not done.
    again = plan("one aibemu:nocache", "two", "three aibemu:nocache")
    found = chosen(again, stored(again, 0, 1, 2, 3), own=frozenset({"run2"}))
    assert found.start == again.steps[1].fingerprint
    assert chosen(MARKED, layers, own=frozenset({"x", "run1"})).start == MARKED.steps[0].fingerprint


# Ids


def ids(of: Plan) -> list[str]:
    return [of.root, *(step.fingerprint for step in of.steps)]


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        (plan("one", "two", "three", contents={1: "d"}), 2),
        (plan("one", "two", "three", options={2: "echo more"}), 3),
        (plan("one", "two", "three", options={0: "echo more"}), 1),
        (plan("one", "two", "three", surroundings={"location": "northeurope"}), 1),
        (plan("one", "two", "three", vm_size="Standard_D4s_v3"), 0),
        (plan("one", "two", "three", disk_gb=30), 0),
        (plan("one", "two", "three", digest="b"), 0),
        (plan("one", "two", "three", hypervisor=("qemu", "8.0")), 0),
        (plan("one", "two", "three"), 4),
        (plan("other", "names", "here"), 4),
    ],
    ids=[
        "content", "last option", "first option", "surroundings", "vmSize", "disk", "image", "hypervisor", "nothing",
        "names",
    ],
)  # fmt: skip
def test_what_decides_a_steps_result_is_in_its_id_and_in_all_after_it(changed: Plan, same: int) -> None:
    pairs = list(zip(ids(THREE), ids(changed), strict=True))
    assert [old == new for old, new in pairs] == [True] * same + [False] * (4 - same)


def test_ids_are_all_different_and_the_same_step_twice_has_two() -> None:
    twice = plan("one", "one", "one")
    assert len({*ids(twice), *(step.fingerprint for step in twice.validators)} - set(ids(twice)[:2])) == 2
    assert len(set(ids(twice))) == 4


def test_parts_of_a_fingerprint_do_not_run_into_each_other() -> None:
    assert chain("p", "k", "a", ["bc"]) != chain("p", "k", "a", ["b", "c"])
    assert chain("pk", "", "a", []) != chain("p", "k", "a", [])
    assert chain("p", "k", {"a": 1, "b": 2}, []) == chain("p", "k", {"b": 2, "a": 1}, [])
    assert root("d", ["1", "23"]) != root("d", ["12", "3"])
    assert root("d", [1]) == root("d", ["1"])


# Whatever there is


@given(
    there=st.sets(st.integers(0, 3)), old=st.sets(st.integers(0, 3)), from_step=st.sampled_from([None, "1", "2", "3"]),
    warm=st.booleans(), cache=st.booleans(), marked=st.sets(st.integers(0, 2)),
)  # fmt: skip
def test_the_cached_steps_are_a_beginning_and_the_start_is_what_they_leave(
    there: set[int], old: set[int], from_step: str | None, warm: bool, cache: bool, marked: set[int]
) -> None:
    names = [f"s{number}{' aibemu:nocache' if number in marked else ''}" for number in range(3)]
    of = plan(*names)
    ages = dict.fromkeys(old, timedelta(days=100))
    layers = stored(of, *there, ages=ages)
    found = chosen(of, layers, from_step=from_step, warm=warm, cache=cache)
    assert [step.cached for step in found.steps] == [number < found.done for number in range(3)]
    good = {number for number in there if number < min(old, default=9) and number <= limit(from_step, cache, marked)}
    deepest = max(good - {0}, default=0)
    assert found.done == deepest
    assert found.start == (ids(of)[deepest] if deepest or (0 in good and warm) else None)
    assert all(step.reason.startswith("cached" if step.cached else "runs: ") for step in found.steps)


def limit(from_step: str | None, cache: bool, marked: set[int]) -> int:
    """How many steps may come from the cache."""
    return min([3 if cache else 0, *marked, *([int(from_step) - 1] if from_step else [])])


# Ages


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (86399, "23 h"), (86400, "1 d"),
     (-5, "0 s"), (40 * 86400, "40 d")],
)  # fmt: skip
def test_an_age_is_told_in_the_largest_unit_that_it_fills(seconds: float, words: str) -> None:
    assert age_words(timedelta(seconds=seconds)) == words


@given(st.integers(0, 999999), st.sampled_from("smhdw"), st.sampled_from(["", " ", "\n"]))
def test_what_is_typed_as_an_age_is_that_age(count: int, unit: str, space: str) -> None:
    names = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    assert parse_age(f"{space}{count}{unit}{space}") == timedelta(**{names[unit]: count})


@pytest.mark.parametrize("text", ["", "12", "h", "1.5h", "-1h", "1y", "1 h", "1h2m", "1234567s", "1H"])
def test_what_is_no_age_is_none(text: str) -> None:
    assert parse_age(text) is None


@given(st.timedeltas(timedelta(0), timedelta(days=3000)))
def test_the_words_of_an_age_are_never_more_than_it(age: timedelta) -> None:
    count, unit = age_words(age).split()
    least = parse_age(count + {"s": "s", "min": "m", "h": "h", "d": "d"}[unit])
    assert least is not None and least <= age < least + {
        "s": timedelta(seconds=1), "min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1),
    }[unit]  # fmt: skip
