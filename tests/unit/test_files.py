"""Replacing files: the old or the new one, and nothing beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibemu.files import replacing


def test_a_hard_link_over_a_link_to_the_same_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    source, target = tmp_path / "store", tmp_path / "out"
    source.write_text("image")
    for _ in range(2):
        with replacing(target, sync=False) as temporary:
            temporary.hardlink_to(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]
    assert target.samefile(source)


def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert target.read_text() == "old"
