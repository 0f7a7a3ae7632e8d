"""The root of a file's repository, from which CI names files."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibemu.repository import VARIABLES, base_of, from_root, root_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "checkout" / "images" / "web" / "web.json"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_it_is_found_from_the_file_upward_wherever_one_stands(file: Path, kind: str, tmp_path: Path) -> None:
    git = tmp_path / "checkout" / ".git"
    if kind == "folder":
        git.mkdir()
    else:
        git.write_text("gitdir: elsewhere\n")  # a worktree
    assert root_of(file, {}) == tmp_path / "checkout"
    for here, name in (
        (file.parent, "web.json"),
        (file.parent.parent, "./web/../web/web.json"),
        (Path("/"), str(file)),
    ):
        assert from_root(name, here, {}) == "images/web/web.json"
        assert base_of(name, here, {}) == tmp_path / "checkout"


@pytest.mark.parametrize("variable", VARIABLES)
def test_ci_says_where_it_is(file: Path, variable: str, tmp_path: Path) -> None:
    assert from_root("web.json", file.parent, {variable: f"{tmp_path}/checkout/"}) == "images/web/web.json"
    elsewhere = {variable: str(tmp_path / "other")}
    assert from_root("web.json", file.parent, elsewhere) == "web.json"
    assert base_of("web.json", file.parent, elsewhere) == file.parent


def test_the_nearest_one_is_meant(file: Path, tmp_path: Path) -> None:
    (tmp_path / "checkout" / "images" / ".git").mkdir()
    assert from_root("web.json", file.parent, {"GITHUB_WORKSPACE": str(tmp_path)}) == "web/web.json"


def test_an_address_is_no_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "checkout" / ".git").mkdir()
    assert from_root("https://example.org/a.sh", file.parent, {}) == "https://example.org/a.sh"
