"""What steps said: written once, bounded, read one at a time, and never a reason to fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.layers import history as module
from aibemu.layers.history import History, encoded
from tests.unit.layers.conftest import said

FULL = OSError(28, "No space left on device")


def memory(folder: Path, name: str) -> Path:
    return folder / f"disk-{name}.memory"


def written(folder: Path, *names: str) -> dict[str, Path]:
    history, files = History(), dict[str, Path]()
    for name in names:
        history[name] = said(f"{name} was here")
        files = history.write(memory(folder, name))
    return files


def test_each_step_is_found_again_by_its_layer_and_no_other(tmp_path: Path) -> None:
    files = written(tmp_path, "a", "b")
    assert files == {"a": tmp_path / "disk-a.said", "b": tmp_path / "disk-b.said"}
    assert set(tmp_path.iterdir()) == set(files.values())
    assert History(files).get("a") == said("a was here") and History(files).get("b") == said("b was here")
    assert History(files).get("c") is None


def test_only_its_owner_may_read_what_a_step_said(tmp_path: Path) -> None:
    assert written(tmp_path, "a")["a"].stat().st_mode & 0o777 == 0o600


def test_what_was_said_by_others_is_named_and_not_written_again(tmp_path: Path) -> None:
    files = written(tmp_path, "a")
    before = files["a"].stat()
    history = History(files)
    history["b"] = said("b")
    assert set(history.write(memory(tmp_path, "b"))) == {"a", "b"}
    after = files["a"].stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_layer_before_which_no_step_ran_has_no_file(tmp_path: Path) -> None:
    assert History().write(memory(tmp_path, "root")) == {} and list(tmp_path.iterdir()) == []


def test_steps_without_a_layer_of_their_own_are_in_the_next_one(tmp_path: Path) -> None:
    history = History()
    for name in ("a", "b", "c"):
        history[name] = said(f"{name} was here")
    files = history.write(memory(tmp_path, "c"))
    assert list(files) == ["a", "b", "c"] and files["c"] == tmp_path / "disk-c.said"
    assert set(tmp_path.iterdir()) == set(files.values()) and len(set(files.values())) == 3
    assert [History(files).get(name) for name in files] == [said(f"{name} was here") for name in files]
    history["d"] = said("d")
    assert set(history.write(memory(tmp_path, "d"))) == {*files, "d"}


def test_what_the_last_step_said_is_known_before_it_is_written(tmp_path: Path) -> None:
    history = History()
    history["a"] = said("a", warnings=("careful",))
    assert history.get("a") == said("a", warnings=("careful",)) and history.warnings("a") == ["careful"]
    history["b"] = said("b")
    assert history.get("a") == said("a", warnings=("careful",))


def test_a_disk_that_is_full_leaves_no_half_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, content: bytes) -> int:
        with path.open("wb") as stream:
            stream.write(content[:5])
        raise FULL

    history = History()
    history["a"] = said("a")
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        history.write(memory(tmp_path, "a"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "3", "null", '"x"', '{"started": {}}', '{"warnings": 3}', '{"warnings": [3]}', "[" * 100_000,
        '{"started": [], "output": [], "finished": {}}', '{"started": {}, "output": [3], "finished": {}}',
        '{"started": {}, "output": {}, "finished": {}}', '{"started": {}, "output": [], "finished": 3}', "\xff",
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_a_file_that_holds_something_else_is_as_if_it_was_not_there(tmp_path: Path, text: str) -> None:
    files = written(tmp_path, "a")
    files["a"].write_bytes(text.encode("latin-1"))
    assert History(files).get("a") is None and History(files).warnings("a") == []


def test_a_file_that_is_gone_or_unreadable_or_huge_is_as_if_it_was_not_there(tmp_path: Path) -> None:
    files = written(tmp_path, "a", "b", "c")
    files["a"].unlink()
    files["b"].unlink()
    files["b"].mkdir()
    with files["c"].open("ab") as stream:
        stream.truncate(module.MOST_PER_STEP + 1)
    assert [History(files).get(name) for name in "abc"] == [None, None, None]


# Bounds

LINES = st.lists(st.text(st.characters(codec="utf-8") | st.just("\udc80"), max_size=30), max_size=30)


@given(lines=LINES, bound=st.integers(-10, 2000))
def test_it_takes_no_more_than_its_bound_and_has_the_first_lines(lines: list[str], bound: int) -> None:
    content = encoded(said(*lines), bound)
    if content is None:
        assert bound < len(encoded(said(), 10**6) or b"")
        return
    assert len(content) <= bound
    found = json.loads(content)
    texts = [one["line"] for one in found["output"]]
    whole = [line.replace("\udc80", "?") for line in lines]
    assert texts == whole[: len(texts)]
    assert found | {"output": []} == said()
    if len(texts) < len(lines):  # one more would not have fitted
        assert len(encoded(said(*lines[: len(texts) + 1]), 10**9) or b"") > bound - len(", ")


def test_what_is_no_step_has_no_output_added() -> None:
    assert encoded({"warnings": ["x"]}, 100) == b'{"warnings": ["x"]}'
    assert encoded({"warnings": ["x" * 100]}, 100) is None


def test_many_empty_lines_take_no_more_than_others(tmp_path: Path) -> None:
    history = History()
    history["a"] = said(*[""] * (module.MOST_PER_STEP // 20))
    (path,) = history.write(memory(tmp_path, "a")).values()
    assert module.MOST_PER_STEP - 100 < path.stat().st_size <= module.MOST_PER_STEP
    assert History({"a": path}).get("a") is not None


def test_all_files_of_a_layer_take_no_more_than_the_bound_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_PER_LAYER", 10_000)
    history, files = History(), dict[str, Path]()
    for name in "abcdef":
        history[name] = said(*["x" * 50] * 40)
        files = history.write(memory(tmp_path, name))
        assert sum(path.stat().st_size for path in files.values()) <= 10_000
    known: list[Any] = [History(files).get(name) for name in "abcdef"]
    assert [len(one["output"]) for one in known[:2]] == [40, 40] and 0 < len(known[2]["output"]) < 40
    assert known[-1] is None  # there is no room for even the beginning of more
