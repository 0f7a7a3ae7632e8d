"""Who may have a machine now: nobody's memory is counted twice or not at all, and whoever waits goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.errors import BuildCancelled, BuildTimedOut, HostNotReady
from aibemu.events import Kind
from aibemu.files import FileLock, write_json
from aibemu.runs import admission as module
from aibemu.runs.admission import (
    FILE,
    Admission,
    Held,
    Verdict,
    admit,
    check_fits,
    decide,
    memory_in_use,
    memory_left,
    waiting_for_a_person,
)
from aibemu.runs.store import Run, RunStore
from aibemu.testing.clock import FakeClock
from tests.source import ROOT


@dataclass
class Host:
    """What the host has, and what the machines of each run have touched of it; None: no machine."""

    memory_mib: int = 16000
    others_mib: int = 2000
    machines: dict[str, int | None] | None = None

    def used(self, run: Run) -> int | None:
        return (self.machines or {}).get(run.id)

    @property
    def free_mib(self) -> int:
        return self.memory_mib - self.others_mib - sum(one or 0 for one in (self.machines or {}).values())


class Hall:
    """A folder of runs on one host, with a clock that is turned by hand."""

    def __init__(self, folder: Path) -> None:
        self.store = RunStore(folder / "runs")
        self.host = Host(machines={})
        self.clock = FakeClock()
        self.cancel = CancelToken()
        self.said: list[tuple[str, str]] = []
        self.locks: dict[str, FileLock] = {}

    def run(self) -> Run:
        run, self.locks[run.id] = self.store.create()
        return run

    def emit(self, kind: Kind, /, **fields: Any) -> None:
        assert kind is Kind.NOTICE
        self.said.append((fields["level"], fields["message"]))

    def ask(self, run: Run, need: int, ends: float = 1000.0, reserve: int = 0) -> Admission:
        deadline = Deadline(clock=self.clock, cancel=self.cancel, build_ends=self.clock.monotonic() + ends)
        return admit(
            self.store, run, need, capacity=lambda: self.host, deadline=deadline, emit=self.emit, reserve=reserve,
            used=self.host.used,
        )  # fmt: skip

    def machine(self, run: Run, mib: int | None) -> None:
        assert self.host.machines is not None
        self.host.machines[run.id] = mib

    def end(self, run: Run) -> None:
        """The process of a run ends, however."""
        self.locks[run.id].release()


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path)


def recorded(run: Run) -> Any:
    return json.loads((run.directory / FILE).read_text())


# The rule

MIB = st.integers(0, 1 << 20)


@given(
    total=MIB, others=MIB, reserve=st.integers(0, 4096),
    machines=st.lists(st.tuples(MIB, st.floats(0, 1), st.booleans()), max_size=5),
)  # fmt: skip
def test_what_is_left_is_the_same_however_much_of_their_memory_the_guests_have_touched(
    total: int, others: int, reserve: int, machines: list[tuple[int, float, bool]]
) -> None:
    held = [
        Held(run=str(number), memory_mib=mib, used_mib=int(mib * share), building=building)
        for number, (mib, share, building) in enumerate(machines)
    ]
    free = total - others - sum(one.used_mib for one in held)
    assert memory_left(free, reserve, held) == total - others - reserve - sum(one.memory_mib for one in held)


@given(free=MIB, mib=MIB, more=st.integers(0, 4096))
def test_a_hypervisor_that_takes_more_than_its_guest_gives_nothing_to_others(free: int, mib: int, more: int) -> None:
    assert memory_left(free, 0, [Held(run="a", memory_mib=mib, used_mib=mib + more)]) == free


@given(need=MIB, left=st.integers(-(1 << 20), 1 << 20), building=st.lists(st.booleans(), max_size=4))
def test_only_who_fits_goes_at_once_and_only_who_can_be_relieved_waits(
    need: int, left: int, building: list[bool]
) -> None:
    held = [Held(run="x", memory_mib=1, used_mib=0, building=one) for one in building]
    verdict = decide(need, left, held)
    assert (verdict is Verdict.FITS) == (need <= left)
    assert (verdict is Verdict.WAIT) == (need > left and any(building))


def test_what_can_never_fit_is_refused_with_the_numbers_and_the_remedy(hall: Hall) -> None:
    check_fits(15744, hall.host, 256)
    with pytest.raises(HostNotReady, match="needs 15745 MiB of memory, but this host has only 16000 MiB") as refused:
        check_fits(15745, hall.host, 256)
    assert "256 MiB are kept" in refused.value.message
    assert refused.value.hint == "set memory_cap_mib lower, or choose a smaller vmSize: at most 15744 MiB"
    run = hall.run()
    with pytest.raises(HostNotReady):
        hall.ask(run, 16000, reserve=1)
    assert not (run.directory / FILE).exists() and hall.said == []


# Asking


def test_what_a_run_takes_is_recorded_with_it_until_it_gives_it_back(hall: Hall) -> None:
    run = hall.run()
    with hall.ask(run, 4096) as admission:
        assert recorded(run) == {"memory_mib": 4096}
        assert (admission.memory_mib, admission.waited, hall.said) == (4096, 0.0, [])
    assert not (run.directory / FILE).exists()
    admission.release()


def test_a_second_run_gets_what_is_left_whether_it_was_touched_or_not(hall: Hall) -> None:
    first, second, third = hall.run(), hall.run(), hall.run()
    hall.ask(first, 8000)
    for touched in (0, 3000, 8000):
        hall.machine(first, touched)
        hall.ask(second, 6000)  # 16000 - 2000 - 8000
    assert hall.said == []
    with pytest.raises(BuildTimedOut):
        hall.ask(third, 1)


def test_a_run_that_waits_says_so_once_and_goes_on_when_the_other_one_is_over(hall: Hall) -> None:
    first, second = hall.run(), hall.run()
    admission = hall.ask(first, 8000)
    hall.machine(first, 100)

    def is_over() -> None:
        assert not (second.directory / FILE).exists()  # nobody counts on what it has not got
        hall.machine(first, None)
        admission.release()

    hall.clock.at(90, is_over)
    assert hall.ask(second, 6001).waited == pytest.approx(90, abs=module.LOOK_EVERY)
    assert hall.said == [
        ("note", f"waiting for memory: the machine needs 6001 MiB, 6000 MiB are left; run {first.id} holds 8000 MiB"),
        ("note", "there is memory for the machine now (6001 MiB): going on after 1m30s"),
    ]
    assert recorded(second) == {"memory_mib": 6001}


def test_the_record_of_a_run_that_died_counts_for_nothing(hall: Hall) -> None:
    first, second = hall.run(), hall.run()
    hall.ask(first, 14000)
    hall.clock.at(5, lambda: hall.end(first))
    assert hall.ask(second, 14000).waited >= 5
    assert recorded(first) == {"memory_mib": 14000}


def test_a_cancel_ends_the_wait_and_leaves_nothing(hall: Hall) -> None:
    first, second = hall.run(), hall.run()
    hall.ask(first, 8000)
    hall.clock.at(7, lambda: hall.cancel.cancel("cancelled by aibemu cancel"))
    with pytest.raises(BuildCancelled, match="aibemu cancel"):
        hall.ask(second, 8000)
    assert hall.clock.monotonic() == 7
    assert not (second.directory / FILE).exists()


def test_nobody_waits_for_a_run_that_waits_for_a_person(hall: Hall) -> None:
    """Who left a question on a terminal overnight would hold up every build."""
    first, second = hall.run(), hall.run()
    hall.ask(first, 12000)
    with waiting_for_a_person(first):
        hall.ask(second, 6000)
    ((level, message),) = hall.said
    assert level == "warning"
    assert f"run {first.id}, which waits for an answer, holds 12000 MiB (aibemu resume {first.id})" in message
    assert recorded(first) == {"memory_mib": 12000}


def test_a_question_of_a_run_that_holds_nothing_leaves_no_record(hall: Hall) -> None:
    run = hall.run()
    with waiting_for_a_person(run):
        assert not (run.directory / FILE).exists()
    assert not (run.directory / FILE).exists()


def test_a_kept_machine_counts_but_nobody_waits_for_it(hall: Hall) -> None:
    first, second = hall.run(), hall.run()
    with hall.ask(first, 8000):
        hall.machine(first, 1000)
    hall.end(first)
    assert recorded(first) == {"memory_mib": 8000}  # what it may still take
    hall.ask(second, 6000)
    assert hall.said == []
    hall.ask(second, 6001)
    ((level, message),) = hall.said
    assert level == "warning" and f"the kept machine of run {first.id} holds 8000 MiB (aibemu destroy" in message
    hall.machine(first, None)
    hall.ask(second, 14000)
    assert len(hall.said) == 1


def test_a_host_that_other_programs_have_filled_is_no_reason_to_wait_for_ever(hall: Hall) -> None:
    hall.host.others_mib = 15000
    run = hall.run()
    hall.ask(run, 4096)
    ((level, message),) = hall.said
    assert level == "warning"
    assert "needs 4096 MiB, 1000 MiB are left; other programs use the rest" in message
    assert "set memory_cap_mib lower" in message
    hall.host.others_mib = 16000
    hall.ask(run, 512, reserve=100)
    assert "0 MiB are left" in hall.said[-1][1]


def test_another_attempt_gives_back_what_the_first_one_had(hall: Hall) -> None:
    run = hall.run()
    hall.ask(run, 8000)
    assert hall.ask(run, 14000).waited == 0.0
    assert recorded(run) == {"memory_mib": 14000}


def test_two_that_both_want_more_do_not_wait_for_each_other_for_ever(hall: Hall) -> None:
    first, second = hall.run(), hall.run()
    hall.ask(first, 7000), hall.ask(second, 7000)
    with pytest.raises(BuildTimedOut):
        hall.ask(first, 8000)
    assert hall.ask(second, 8000).waited == 0.0


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"memory_mib": "x"}', '{"memory_mib": -5}', "\xff"])
def test_what_is_no_record_counts_for_nothing(hall: Hall, text: str) -> None:
    (hall.run().directory / FILE).write_bytes(text.encode("latin-1"))
    assert hall.ask(hall.run(), 14000).waited == 0.0


def test_another_one_that_looks_is_waited_for_without_a_word(hall: Hall) -> None:
    run = hall.run()
    other = FileLock(hall.store.directory / module.LOCK)
    other.acquire()
    hall.clock.at(1, other.release)
    assert hall.ask(run, 14000).waited == pytest.approx(1, abs=0.1)
    assert hall.said == []


# Processes


@contextmanager
def process(*words: str, mib: int = 64) -> Iterator[subprocess.Popen[str]]:
    """One that has these words in its command line and has touched so much memory."""
    code = f"held = b'x' * ({mib} << 20); print('held', flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        yield child
    finally:
        child.communicate("\n")


def test_what_a_machine_has_touched_is_what_its_process_holds(hall: Hall) -> None:
    run, other = hall.run(), hall.run()
    assert memory_in_use(run) is None
    with process("-name", f"aibemu-{run.id}-build"):
        used = memory_in_use(run)
        assert used is not None and 64 <= used < 128
        assert memory_in_use(other) is None
    assert memory_in_use(run) is None


WORKER = """
import sys
from dataclasses import dataclass
from pathlib import Path
from aibemu.clock import forever
from aibemu.runs import admission
from aibemu.runs.store import RunStore
@dataclass
class Host:
    memory_mib = 16000
    free_mib = 6000
admission.LOOK_EVERY = 0.02
store = RunStore(Path(sys.argv[1]))
run, lock = store.create()
print("ready", flush=True)
sys.stdin.readline()
def emit(kind, /, **fields):
    print(fields["message"], flush=True)
with admission.admit(store, run, 4000, capacity=Host, deadline=forever(), emit=emit):
    print("admitted", flush=True)
    sys.stdin.readline()
print("over", flush=True)
lock.release()
"""


def test_of_two_processes_that_ask_at_once_one_waits_for_the_other(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path / "runs")], cwd=ROOT, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    try:
        assert [read(worker) for worker in workers] == ["ready", "ready"]
        for worker in workers:
            go_on(worker)
        said = {read(worker): worker for worker in workers}
        assert set(said) - {"admitted"} == {one for one in said if one.startswith("waiting for memory")}
        assert len(said) == 2, said
        first = said.pop("admitted")
        (second,) = said.values()
        go_on(first)
        assert read(second).startswith("there is memory for the machine now")
        assert (read(first), read(second)) == ("over", "admitted")
        go_on(second)
        assert read(second) == "over"
    finally:
        for worker in workers:
            worker.communicate(timeout=60)


def read(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().rstrip()


def go_on(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.write("\n")
    worker.stdin.flush()


def test_nobody_looks_while_another_one_decides(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOCK_EVERY", 0.001)
    write_json(hall.run().directory / FILE, {"memory_mib": 1})
    together, met = threading.Barrier(2), list[bool]()

    def used(_: Run) -> int:
        with suppress(threading.BrokenBarrierError):  # each comes alone, and finds nobody here
            together.wait(0.3)
            met.append(True)
        return 1

    def ask(run: Run) -> None:
        deadline = Deadline(clock=SystemClock())
        admit(hall.store, run, 1, capacity=lambda: hall.host, deadline=deadline, emit=hall.emit, used=used)

    threads = [threading.Thread(target=ask, args=(hall.run(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert together.broken and not met


def test_many_threads_at_once_never_hold_more_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(module, "_LOCK_EVERY", 0.001)
    store, host, barrier = RunStore(tmp_path), Host(memory_mib=10000, others_mib=0), threading.Barrier(8)
    holding, most, mutex = set[str](), list[int](), threading.Lock()
    errors: list[BaseException] = []

    def build() -> None:
        run, lock = store.create()
        barrier.wait(30)
        try:
            for _ in range(3):
                with admit(
                    store, run, 4000, capacity=lambda: host, deadline=Deadline(clock=SystemClock()),
                    emit=lambda *_, **__: None, used=lambda _: None,
                ):  # fmt: skip
                    with mutex:
                        holding.add(run.id)
                        most.append(len(holding))
                    with mutex:
                        holding.discard(run.id)
        except BaseException as error:  # noqa: BLE001 - told by the test itself
            errors.append(error)
        lock.release()

    threads = [threading.Thread(target=build) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == [] and len(most) == 24 and max(most) <= 2
