from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.errors import ProvisionFailed
from aibemu.testing.contract import MIB, make_spec
from aibemu_drivers.qemu.own_files import copy_sticks, own_sticks


def test_each_stick_is_copied_for_the_machine(tmp_path: Path) -> None:
    shared = [tmp_path / "a.img", tmp_path / "b.img"]
    for number, path in enumerate(shared):
        path.write_bytes(f"stick {number}".encode().ljust(MIB, b"\0"))
    machine = tmp_path / "m"
    machine.mkdir()
    spec = replace(make_spec("m", machine, tmp_path / "base.img"), sticks=tuple(shared))
    copy_sticks(spec, machine)
    own = own_sticks(spec, machine)
    assert [path.read_bytes() for path in own] == [path.read_bytes() for path in shared]
    own[0].write_bytes(bytes(MIB))
    assert shared[0].read_bytes().startswith(b"stick 0")


@pytest.mark.parametrize(("content", "says"), [(None, "No such file"), (b"", "no disk image"), (b"x" * 513, "512")])
def test_a_stick_that_is_none_is_a_clear_error(tmp_path: Path, content: bytes | None, says: str) -> None:
    stick = tmp_path / "stick.img"
    if content is not None:
        stick.write_bytes(content)
    spec = replace(make_spec("m", tmp_path, tmp_path / "base.img"), sticks=(stick,))
    with pytest.raises(ProvisionFailed, match=says) as failed:
        copy_sticks(spec, tmp_path)
    assert str(stick) in failed.value.message
