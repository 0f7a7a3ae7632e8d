"""`aibemu destroy`: machines, platforms and keys go, what the run said and made stays."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibemu.errors import ProvisionFailed
from aibemu.hypervisor import MachineState


def test_destroy_frees_kept_machines_and_keeps_the_rest(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run(kept=True)
    for left in (run.work / "build" / "id_ed25519", run.platform / "build" / "platform.json"):
        left.parent.mkdir(parents=True)
        left.write_text("{}")
    said = aibemu("destroy", run.id[:5], "--yes")
    assert (said.code, said.out, said.err) == (0, f"destroyed machine {run.id}-build\n", "")
    assert not run.machines.exists() and not run.work.exists() and not run.platform.exists()
    assert aibemu("logs", run.id).out == "one\ntwo\n"
    assert "8 KiB on disk" in aibemu("outputs", run.id).out
    assert "kept machine" not in aibemu("status").out


def test_destroy_with_nothing_to_destroy(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    said = aibemu("destroy", run.id)
    assert (said.code, said.out) == (0, f"run {run.id} has no machine: nothing to destroy\n")
    value = json.loads(aibemu("destroy", run.id, "-o", "json").out)
    assert (value["status"], value["data"]) == ("success", {"run": run.id, "dryRun": False, "destroyed": []})


def test_destroy_refuses_while_the_run_builds(aibemu: Any, make_run: Any) -> None:
    run, lock = make_run(alive=True, ended=None, kept=True)
    said = aibemu("destroy", run.id)
    assert said.code == 2
    assert said.err.splitlines() == [
        f"error: run {run.id} is building", "  hint: stop it first", "  type next:", f"    aibemu cancel {run.id}",
    ]  # fmt: skip
    assert run.machines.is_dir()
    lock.release()


def test_destroy_wants_to_be_told_which_run(aibemu: Any, make_run: Any) -> None:
    make_run(kept=True)
    assert aibemu("destroy").code == 2
    assert "no run 'zz'" in aibemu("destroy", "zz").err


def test_what_a_dead_run_left_is_swept_first(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run(ended=None, kept=True)
    said = aibemu("destroy", run.id)
    assert f"run {run.id} had died: cleaned up machine {run.id}-build" in said.err
    assert "nothing to destroy" in said.out


def test_a_machine_that_does_not_go_stays_for_another_try(
    aibemu: Any, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aibemu import plugins

    class Stubborn:
        def state(self) -> MachineState:
            return MachineState.RUNNING

        def destroy(self) -> None:
            raise ProvisionFailed("the QEMU process 4 does not end")

    class Driver:
        def find(self, directory: Any) -> Stubborn:
            return Stubborn()

        def list(self, owner: str) -> list[Stubborn]:
            return []

    monkeypatch.setattr(plugins, "load", lambda group, name: lambda options, folders: Driver())
    run, _ = make_run(kept=True)
    said = aibemu("destroy", run.id, "--yes")
    assert said.code == 1 and "error: the QEMU process 4 does not end" in said.err
    assert (run.machines / "build").is_dir() and not run.alive()
