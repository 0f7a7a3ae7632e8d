"""Freezing a build's machine: what becomes of the build, of the files and of the layers when something goes wrong."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from aibemu.clock import Deadline
from aibemu.communicators import Credentials
from aibemu.engine.machines import freezing as module
from aibemu.engine.machines.freezing import Freezer, LayerUseless, restore
from aibemu.engine.machines.saving import RestartSaver
from aibemu.engine.phases.provision import provision
from aibemu.errors import BuildCancelled, BuildTimedOut, Expired, FreezeFailed, ProvisionFailed
from aibemu.events import Kind
from aibemu.fabric.identity import Identity
from aibemu.hypervisor import Frozen, FrozenRefused, Media
from aibemu.images import Provisioning
from aibemu.layers import Layer
from aibemu.layers.history import History
from aibemu.layers.store import LayerStore
from aibemu.plan.model import DevicePlan
from aibemu.settings import Settings
from aibemu.systems.linux.system import LinuxSystem
from aibemu.systems.windows.login import fresh_credentials
from aibemu.systems.windows.system import WindowsSystem
from aibemu.testing.clock import FakeClock
from tests.unit.layers.conftest import said

FULL = OSError(errno.ENOSPC, "No space left on device")
GOES_ON = "goes on without making layers"


class FakeMachine:
    """Each freeze makes one disk more. `does` is called in it, while the guest stands still."""

    def __init__(self) -> None:
        self.does: Callable[[], None] = lambda: None
        self.deadlines: list[Deadline] = []
        self.disks: tuple[Path, ...] = ()
        # Raised in place of a disk that is put aside.
        self.fails: Exception | None = None

    def freeze(self, folder: Path, deadline: Deadline) -> Frozen:
        frozen = self.saved_disk(folder, deadline)
        memory = frozen.disks[-1].with_suffix(".memory")
        memory.write_text(memory.stem)
        return Frozen(disks=frozen.disks, memory=memory)

    def saved_disk(self, folder: Path, deadline: Deadline) -> Frozen:
        self.deadlines.append(deadline)
        self.does()
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"disk-{len(self.disks):016x}"
        self.disks = (*self.disks, folder / f"{stem}.qcow2")
        self.disks[-1].write_text(stem)
        return Frozen(disks=self.disks, memory=None)

    @contextmanager
    def saving_at_reset(self, deadline: Deadline) -> Iterator[Callable[[], bool]]:
        def look() -> bool:
            if self.fails:
                raise self.fails
            return True

        yield look


class Run:
    """A build with a booted machine that can be frozen."""

    def __init__(
        self, folder: Path, *, on: bool = True, freezes: bool = True, saves: bool = False, always: bool = False
    ) -> None:
        self.clock = FakeClock()
        self.deadline = Deadline(clock=self.clock)
        self.store = LayerStore(folder / "layers")
        self.said: list[tuple[Kind, dict[str, Any]]] = []
        self.told: list[str] = []
        self.machine = FakeMachine()
        work = folder / "work"
        (work / "build").mkdir(parents=True)
        (work / "build/id_ed25519").write_text("key")
        self.services: Any = _some(
            clock=self.clock, stores=_some(layers=self.store), settings=Settings(),
            run=SimpleNamespace(id="run1", work=work, entered_file=folder / "entered"),
            rng=random.Random(1), emit=lambda kind, **fields: self.said.append((kind, fields)),
            driver=SimpleNamespace(
                capabilities=lambda: SimpleNamespace(freezes=freezes, saves_disks=saves, boots_guests=True)
            ),
            accelerator=SimpleNamespace(slowness=1.0),
        )  # fmt: skip
        self.plan: Any = _some(
            root="root", start=None, template=SimpleNamespace(name="t", build_timeout_minutes=0), staging_group="/g",
            source=SimpleNamespace(image=SimpleNamespace(digest="d", path=folder)), source_validation_only=False,
        )  # fmt: skip
        self.planned: Any = _some(plan=self.plan, identities=(), secrets=frozenset())
        self.booted: Any = SimpleNamespace(
            machine=self.machine,
            system=LinuxSystem(),
            credentials=Credentials(user="u", key_file=work / "build/id_ed25519", public_key="public"),
            identity=Identity(hostname="h", user="u", vm_id=UUID(int=1), mac="00:0d:3a:00:00:01"),
            communicator=SimpleNamespace(
                session=lambda deadline: 1, run=lambda command, deadline: self.told.append(command)
            ),
            boot_id="boot 1",
        )
        self.freezer = Freezer(self.services, on=on, always=always)

    def freeze(
        self, name: str = "root", deadline: Deadline | None = None, *, saver: RestartSaver | None = None
    ) -> None:
        self.freezer.freeze(self.plan, self.booted, name, name, deadline or self.deadline, saver)
        self.freezer.settle()

    def becomes_windows(self) -> None:
        """The machine is one of Windows."""
        self.booted.system = WindowsSystem()
        folder = self.services.run.work / "build"
        self.booted.credentials = fresh_credentials(folder, "u")

    def restart(self, step: Any, *, fails: Exception | None = None) -> RestartSaver | None:
        """A step restarts the machine."""
        saver = self.freezer.saver(self.booted, step)
        if saver:
            self.machine.fails = fails
            with saver.during_restart(self.deadline) as look:
                look()
            self.booted.boot_id = f"boot {len(self.machine.disks) + 2}"
            saver.restarted(self.booted.boot_id)
        return saver

    def layer(self, name: str = "root") -> Layer:
        layer = self.store.get(name)
        assert layer is not None
        return layer

    def warnings(self) -> list[str]:
        return [fields["message"] for kind, fields in self.said if kind is Kind.NOTICE]

    def files(self) -> list[str]:
        return sorted(path.name for path in self.store.files.glob("*"))


# A step that goes on after its restart.
RESTART: Any = SimpleNamespace(after_restart=lambda guest: None)
NOBODY: Any = SimpleNamespace(machine_made=lambda *_: None, machine_started=lambda *_: None)


def _some(**fields: Any) -> Any:
    return SimpleNamespace(**fields)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def fail(error: BaseException) -> Callable[..., Any]:
    def does(*_: object, **__: object) -> None:
        raise error

    return does


def test_a_frozen_machine_is_published_with_what_it_was_made_on(run: Run) -> None:
    run.freeze("root")
    run.freeze("one")
    assert [layer.id for layer in run.store.layers()] == ["one", "root"]
    assert list(run.layer("one").past) == ["root"]
    assert run.warnings() == [] and run.told == []


def test_the_builds_deadline_goes_down_to_the_machine(run: Run) -> None:
    mine = replace(run.deadline, build_ends=1000.0)
    run.freeze(deadline=mine)
    assert run.machine.deadlines == [mine]


@pytest.mark.parametrize("error", [FreezeFailed("no"), Expired("took too long"), FULL], ids=repr)
def test_what_cannot_be_frozen_is_said_once_and_the_build_goes_on(run: Run, error: Exception) -> None:
    run.machine.does = fail(error)
    for name in ("root", "one"):
        run.freeze(name)
    (warning,) = run.warnings()
    assert GOES_ON in warning
    assert len(run.machine.deadlines) == 1 and not run.freezer.on


@pytest.mark.parametrize("error", [BuildCancelled("x"), BuildTimedOut("x"), ProvisionFailed("it stands still")])
def test_the_builds_end_and_a_lost_machine_end_it(run: Run, error: Exception) -> None:
    run.machine.does = fail(error)
    with pytest.raises(type(error)):
        run.freeze()
    assert run.warnings() == []


@pytest.mark.parametrize("error", [None, FreezeFailed("no")])
def test_a_guest_that_stood_still_for_long_is_told_the_time(run: Run, error: Exception | None) -> None:
    def take_long() -> None:
        run.clock.advance(600)
        if error:
            raise error

    run.machine.does = take_long
    run.freeze()
    assert len(run.told) == 1 and str(int(run.clock.now().timestamp())) in run.told[0]


# Files


def test_without_a_history_the_files_of_this_freeze_go_and_no_others(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.freeze("root")
    before = run.files()
    run.freezer.history["one"] = said()
    monkeypatch.setattr("aibemu.layers.history.replacing", fail(FULL))
    run.freeze("one")
    assert run.files() == before and len(run.machine.disks) == 2
    assert GOES_ON in run.warnings()[0]
    assert run.layer("root").files


def test_what_a_step_said_is_written_once_however_many_layers_have_it(run: Run) -> None:
    known, sizes = set[str](), []
    names = ["one", "two", "three", "four"]
    for name in names:
        run.freezer.history[name] = said(*[f"{name:10} line {number:5}" for number in range(1000)])
        run.freeze(name)
        new = {path for path in run.store.files.iterdir() if path.name not in known}
        known |= {path.name for path in new}
        sizes.append(sum(path.stat().st_size for path in new if path.suffix not in (".qcow2", ".memory")))
    assert len(set(sizes)) == 1 and sizes[0] > 1000 * 20
    history = History(run.layer("four").said)
    for name in names:
        known_of_it = history.get(name)
        assert known_of_it and known_of_it["output"][999]["line"] == f"{name:10} line   999"


def test_a_step_of_which_nothing_is_known_any_more_is_no_failure(run: Run, tmp_path: Path) -> None:
    run.freezer.begin(run.plan, "degraded")
    run.freeze("root")
    run.freezer.history["one"] = said("hello")
    run.freeze("one")
    for path in run.layer("one").said.values():
        path.unlink()
    later = Run(tmp_path / "later")
    later.freezer.recall(run.plan, run.layer("one"))
    assert later.warnings() == [] and later.freezer.history.get("one") is None


def test_without_its_keys_the_files_go_too(run: Run) -> None:
    (run.services.run.work / "build/id_ed25519").unlink()
    run.freeze()
    assert run.files() == [] and GOES_ON in run.warnings()[0]


def test_a_record_that_cannot_be_written_leaves_no_memory_behind(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aibemu.layers.store.write_private_json", fail(FULL))
    run.freeze()
    assert run.files() == ["disk-0000000000000000.qcow2"]  # the machine's own, by its other name
    assert GOES_ON in run.warnings()[0]
    assert run.freezer.layer("root") is None


@pytest.mark.parametrize("how", ["made one", "took one up", "could have made one", "neither"])
def test_the_store_is_kept_within_its_bounds_by_each_build_that_uses_it(tmp_path: Path, how: str) -> None:
    other = Run(tmp_path / "other")
    other.freeze()
    run = Run(tmp_path / "run", on=how in ("made one", "could have made one"))
    run.services.stores.layers, run.services.settings = other.store, replace(Settings(), cache_size=0)
    if how == "made one":
        run.freeze("one")
    elif how == "took one up":
        run.freezer.recall(run.plan, other.layer())
    run.freezer.prune()
    assert [layer.id for layer in other.store.layers()] == (["root"] if how == "neither" else [])


def test_a_driver_that_cannot_freeze_has_no_store(tmp_path: Path) -> None:
    run = Run(tmp_path, freezes=False)
    run.freeze()
    run.freezer.prune()
    assert not run.store.directory.exists() and run.machine.deadlines == []


# The first boot


def test_the_builds_deadline_goes_down_to_the_machine_that_is_restored(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.freeze()
    heard: list[Deadline] = []
    machine: Any = SimpleNamespace(start=heard.append, id="m", endpoint=lambda port: ("127.0.0.1", 9))
    monkeypatch.setattr(
        "aibemu.engine.machines.starting.describe_vm",
        lambda *_, **__: _some(smbios_uuid=UUID(int=1), nic=_some(mac="m")),
    )
    monkeypatch.setattr("aibemu.engine.machines.starting._platform", lambda *_: None)
    monkeypatch.setattr(LinuxSystem, "discs", lambda *_: Media())
    monkeypatch.setattr("aibemu.engine.machines.starting._create", lambda *_: machine)
    monkeypatch.setattr(module, "_renew", lambda *_: None)
    run.services.run.machines = run.store.directory
    run.plan.source.image.info = _some(provisioning=Provisioning.NONE, os_type="Linux", linux=None)
    run.plan.machine = _some(firmware="bios", cpus=1, memory_mib=512, disk_bytes=1, devices=DevicePlan())
    restored(run, run.layer())
    assert heard == [run.deadline]


def test_a_failed_first_boot_is_not_frozen_nor_what_is_made_on_it(run: Run) -> None:
    run.freezer.begin(run.plan, "error")
    for name in ("root", "one"):
        run.freeze(name)
    assert list(run.store.layers()) == []
    (warning,) = run.warnings()
    assert "first boot failed" in warning


def test_a_system_whose_guests_are_not_frozen_says_so_once(run: Run) -> None:
    run.booted.system = WindowsSystem()
    for name in ("root", "one", "two"):
        run.freeze(name)
    assert list(run.store.layers()) == [] and run.told == []
    (note,) = run.warnings()
    assert "guests of this system are not saved as layers" in note


def test_a_restart_that_a_step_ends_with_is_a_layer_of_the_disk_alone(tmp_path: Path) -> None:
    run = Run(tmp_path, saves=True)
    run.becomes_windows()
    run.freezer.history["one"] = said("one was here")
    run.freeze("one")
    assert list(run.store.layers()) == [] and run.warnings() == []
    saver = run.restart(RESTART)
    run.freezer.history["two"] = said("two was here")
    run.freeze("two", saver=saver)
    layer = run.layer("two")
    assert layer.boots and layer.frozen.memory is None and len(layer.frozen.disks) == 1 and run.told == []
    assert set(layer.said) == {"one", "two"}, "what the steps before it said, too"
    assert layer.state.system["password"] == run.booted.credentials.password()
    (record,) = (run.store.directory / "records").iterdir()
    assert record.stat().st_mode & 0o777 == 0o600
    (told,) = [fields for kind, fields in run.said if kind is Kind.LAYER_FROZEN]
    assert told["memory"] is False


def test_a_step_that_cannot_go_on_after_its_restart_and_one_that_did_not_restart_make_no_layer(tmp_path: Path) -> None:
    run = Run(tmp_path, saves=True)
    run.becomes_windows()
    nothing: Any = object()
    assert run.freezer.saver(run.booted, nothing) is None
    saver = run.freezer.saver(run.booted, RESTART)
    assert saver is not None
    run.freeze("one", saver=saver)
    assert list(run.store.layers()) == []


def test_a_machine_that_has_restarted_once_more_since_is_not_what_was_put_aside(tmp_path: Path) -> None:
    run = Run(tmp_path, saves=True)
    run.becomes_windows()
    saver = run.restart(RESTART)
    run.booted.boot_id = "boot 99"
    run.freeze("one", saver=saver)
    assert list(run.store.layers()) == []


def test_a_disk_that_cannot_be_put_aside_is_said_once_and_the_build_goes_on(tmp_path: Path) -> None:
    run = Run(tmp_path, saves=True)
    run.becomes_windows()
    run.freeze("one", saver=run.restart(RESTART, fails=FreezeFailed("no")))
    (warning,) = run.warnings()
    assert GOES_ON in warning and list(run.store.layers()) == []
    assert run.freezer.saver(run.booted, RESTART) is None


def test_a_machine_that_somebody_was_in_makes_no_disk_a_layer(tmp_path: Path) -> None:
    run = Run(tmp_path, saves=True)
    run.becomes_windows()
    saver = run.restart(RESTART)
    run.services.run.entered_file.touch()
    run.freeze("one", saver=saver)
    assert list(run.store.layers()) == [] and run.freezer.saver(run.booted, RESTART) is None


def test_a_run_that_makes_no_layers_puts_nothing_aside(tmp_path: Path) -> None:
    run = Run(tmp_path, saves=True, on=False)
    run.becomes_windows()
    assert run.freezer.saver(run.booted, RESTART) is None
    run.freezer.note_restarts(run.booted, [])
    assert run.warnings() == []


def test_a_template_that_restarts_nowhere_is_told_that_nothing_is_saved(tmp_path: Path) -> None:
    run = Run(tmp_path, saves=True)
    run.freezer.note_restarts(run.booted, [])  # of Linux memory is frozen
    run.becomes_windows()
    nothing: Any = object()
    run.freezer.note_restarts(run.booted, [nothing, RESTART])
    assert run.warnings() == []
    run.freezer.note_restarts(run.booted, [nothing])
    (note,) = run.warnings()
    assert "here none does" in note


@pytest.mark.parametrize(("always", "freezes"), [(True, True), (True, False), (False, True)])
def test_memory_of_windows_is_frozen_only_where_it_is_asked_for(tmp_path: Path, always: bool, freezes: bool) -> None:
    run = Run(tmp_path, saves=True, always=always, freezes=freezes)
    run.becomes_windows()
    run.freeze("root")
    memory = always and freezes
    assert [layer.boots for layer in run.store.layers()] == [False] * memory
    assert (run.freezer.saver(run.booted, RESTART) is None) is memory
    assert run.warnings() == (["the driver cannot freeze memory, which --freeze always asks for"] * (not freezes))


def test_a_driver_without_memory_saves_the_disks_of_linux(tmp_path: Path) -> None:
    run = Run(tmp_path, saves=True, freezes=False)
    run.freeze("one", saver=run.restart(RESTART))
    assert run.layer("one").boots and run.layer("one").state.system["private_key"] == "key"


def test_a_degraded_first_boot_is_told_of_wherever_it_is_restored(run: Run, tmp_path: Path) -> None:
    run.freezer.begin(run.plan, "degraded")
    run.freeze("root")
    run.freeze("one")
    assert run.warnings() == []
    for name in ("root", "one"):
        later = Run(tmp_path / name)
        later.freezer.recall(run.plan, run.layer(name))
        (warning,) = later.warnings()
        assert "first boot ended degraded, in run run1" in warning
    run.freezer.begin(run.plan, "done")  # and not of a boot that had nothing to do with it
    run.freeze("root")
    again = Run(tmp_path / "again")
    again.freezer.recall(run.plan, run.layer("root"))
    assert again.warnings() == []


# Restoring


def restored(run: Run, layer: Layer) -> None:
    restore(run.services, layer, planned=run.planned, base=run.store.directory, deadline=run.deadline, owner=NOBODY)


@pytest.mark.parametrize(
    ("error", "useless"),
    [
        (FrozenRefused("QEMU does not go on", details=["load of migration failed"]), True),
        (ProvisionFailed("the host has no free memory"), False), (Expired("took too long"), False), (FULL, False),
    ],
    ids=repr,
)  # fmt: skip
def test_a_layer_is_useless_only_if_it_is_its_own_fault(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, useless: bool
) -> None:
    run.freeze()
    monkeypatch.setattr(module, "start", fail(error))
    with pytest.raises(FreezeFailed) as failed:
        restored(run, run.layer())
    assert isinstance(failed.value, LayerUseless) is useless
    if useless:
        assert "load of migration failed" in failed.value.message


@pytest.mark.parametrize("error", [BuildCancelled("x"), BuildTimedOut("x")])
def test_the_builds_end_is_no_fault_of_a_layer(run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    run.freeze()
    monkeypatch.setattr(module, "start", fail(error))
    with pytest.raises(type(error)):
        restored(run, run.layer())


def test_a_layer_with_a_file_missing_is_useless(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.freeze()
    layer = run.layer()
    monkeypatch.setattr(module, "start", fail(FileNotFoundError("gone")))
    layer.frozen.disks[0].unlink()
    with pytest.raises(LayerUseless):
        restored(run, layer)


def test_memory_may_take_its_time_to_load_and_the_guest_its_own_to_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.freeze()
    bounds: list[float] = []

    def start(*_: object, deadline: Deadline, **__: object) -> None:
        assert deadline == run.deadline
        run.clock.advance(300)

    monkeypatch.setattr(module, "start", start)
    monkeypatch.setattr(module, "_renew", lambda *args: bounds.append(args[4].remaining()))
    restored(run, run.layer())
    assert bounds == [module.RESTORE_BOUND]


def as_disk(layer: Layer) -> Layer:
    """The same, without memory."""
    return replace(layer, frozen=Frozen(disks=layer.frozen.disks, memory=None))


def test_a_disk_that_boots_has_as_long_as_a_first_boot_and_is_useless_when_it_does_not_come_up(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.freeze()
    bounds: list[float] = []
    started: Any = _some(system=WindowsSystem())
    monkeypatch.setattr(module, "start", lambda *_, **__: started)
    monkeypatch.setattr(module, "_renew", lambda *args: bounds.append(args[4].remaining()))
    restored(run, as_disk(run.layer()))
    assert bounds == [run.services.settings.boot_timeout * WindowsSystem.booting.patience]
    monkeypatch.setattr(module, "_renew", fail(ProvisionFailed("the machine did not become ready in time")))
    with pytest.raises(LayerUseless):
        restored(run, as_disk(run.layer()))
    monkeypatch.setattr(module, "start", fail(ProvisionFailed("the host has no free memory")))
    with pytest.raises(FreezeFailed) as failed:
        restored(run, as_disk(run.layer()))
    assert not isinstance(failed.value, LayerUseless)


class Attempt:
    """A build whose plan starts from `root`; restoring the machine fails by `error`. It is its own fleet."""

    def __init__(self, run: Run, error: Exception) -> None:
        self.services, self.freezer, self.deadline = run.services, run.freezer, run.deadline
        self.fleet = self
        self.planned = _some(plan=_some(**vars(run.plan) | {"start": "root"}))
        self.error, self.emit = error, run.services.emit
        self.meanwhile: Callable[[], None] = lambda: None
        self.left_out: set[str] = set()

    def phase(self, *_: object) -> Any:
        return FullStop()

    @property
    def plan(self) -> Any:
        return self.planned.plan

    def restore(self, layer: Layer, *_: object) -> None:
        self.meanwhile()
        raise self.error

    def choose(self, planned: Any, left_out: set[str]) -> Any:
        self.left_out = set(left_out)
        return _some(plan=_some(**vars(planned.plan) | {"start": None}))

    def boot(self, *_: object) -> None:
        raise BuildCancelled("far enough")


class FullStop:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


@pytest.mark.parametrize(("error", "left"), [(FreezeFailed("busy"), ["root"]), (LayerUseless("damaged"), [])])
def test_only_a_useless_layer_is_deleted_but_any_is_left_out_of_this_run(
    run: Run, error: Exception, left: list[str]
) -> None:
    run.freeze()
    attempt: Any = Attempt(run, error)
    with pytest.raises(BuildCancelled, match="far enough"):
        provision(attempt)
    assert [layer.id for layer in run.store.layers()] == left
    assert attempt.left_out == {"root"}


def test_one_that_somebody_published_anew_meanwhile_is_not_deleted(run: Run) -> None:
    run.freeze()
    attempt: Any = Attempt(run, LayerUseless("damaged"))
    attempt.meanwhile = run.freeze
    old = run.layer()
    run.freezer.made.clear()
    with pytest.raises(BuildCancelled, match="far enough"):
        provision(attempt)
    assert run.layer().frozen.memory != old.frozen.memory
