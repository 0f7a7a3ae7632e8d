"""Paths over several file systems: links, mounts, and what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aibemu.disks import Unreadable
from aibemu.disks.nodes import FILE, FOLDER, LINK
from aibemu.disks.tree import Tree


class Files:
    """A file system: folders are dictionaries, links begin with `-> `, and `!` cannot be read."""

    def __init__(self, contents: dict[str, Any]) -> None:
        self.contents = contents
        self.nodes: list[Any] = [contents]

    def root(self) -> int:
        return 0

    def kind(self, node: int) -> str:
        found = self.nodes[node]
        return FOLDER if isinstance(found, dict) else LINK if found.startswith("-> ") else FILE

    def size(self, node: int) -> int:
        return len(self.nodes[node])

    def link(self, node: int) -> str:
        return str(self.nodes[node][3:])

    def content(self, node: int, most: int) -> bytes:
        if self.nodes[node] == "!":
            raise Unreadable("it is damaged")
        return bytes(self.nodes[node].encode()[:most])

    def entries(self, node: int) -> dict[str, int]:
        found = self.nodes[node]
        if not isinstance(found, dict):
            return {}
        if "!" in found:
            raise Unreadable("its folder is damaged")
        first = len(self.nodes)
        self.nodes += found.values()
        return {name: first + number for number, name in enumerate(found)}


def tree(**words: Any) -> Tree:
    root = Files({
        "etc": {"os": "-> ../usr/lib/os", "far": "-> /var/log/messages", "up": "-> ../../../etc/x", "x": "x"},
        "lib": "-> usr/lib", "usr": {}, "var": {"log": {"below": "hidden"}, "cache": {"y": "y"}}, "loop": "-> loop",
        "a": "-> b", "b": "-> a/c", "bad": "!", "worse": {"!": ""}, "data": {"home": {"mary": "m"}}, "home": {},
        "self": "-> .", "empty": "-> ",
    })  # fmt: skip
    mounts = {
        "/usr": Files({"lib": {"os": "Linux"}}),
        "/var/log": Files({"messages": "hello", "back": "-> ../cache/y"}),
    }
    return Tree(root, mounts, **words)


def test_links_lead_over_mounts() -> None:
    files = tree(binds={"/home": "/data/home"})
    expected = {
        "/etc/os": "Linux", "/lib/os": "Linux", "/etc/far": "hello", "/etc/up": "x", "/var/log/back": "y",
        "/home/mary": "m", "//etc/./x": "x", "/etc/../../etc/x": "x", "/self/self/etc/x": "x",
        "/var/log/../log/messages": "hello",
    }  # fmt: skip
    assert {path: files.read(path) for path in expected} == expected
    for path in ("/loop", "/a", "/b/x", "/etc/x/y", "/etc", "/var/log/below", "/none/../etc/x", "/none"):
        assert files.read(path) is None, path
    assert files.list("/var/log") == ["back", "messages"] and files.list("/home") == ["mary"]
    assert files.list("/empty") is not None
    assert files.exists("/lib/os") and not files.exists("/loop") and files.missed == []


def test_what_cannot_be_read_is_missed_each_time() -> None:
    files = tree(closed={"/usr": "partition 2: it is encrypted (LUKS)", "/srv/x": "it is damaged"})
    assert files.read("/usr/lib/os") == "Linux", "it is mounted all the same"
    files = Tree(
        Files({"lib": "-> usr/lib", "usr": {}, "bad": "!", "worse": {"!": ""}, "srv": {}}), closed={"/usr": "w"}
    )
    assert files.read("/lib/os") is None and files.list("/usr") is None and not files.exists("/usr/x")
    assert [str(one) for one in files.missed] == ["/usr (w)"] * 3
    assert files.read("/bad") is None and files.list("/worse") is None
    assert [str(one) for one in files.missed[3:]] == ["/bad (it is damaged)", "/worse (its folder is damaged)"]
    assert files.list("/") == ["bad", "lib", "srv", "usr", "worse"]


def test_what_is_mounted_below_a_closed_place_is_read() -> None:
    files = Tree(Files({"var": {}}), {"/var/log": Files({"messages": "hello"})}, closed={"/var": "w"})
    assert files.read("/var/log/messages") == "hello" and files.missed == []


@pytest.mark.parametrize(("most", "done"), [(5, True), (4, False)])
def test_files_are_copied_up_to_a_size(most: int, done: bool, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    files = tree()
    assert files.copy("/etc/far", target, most=most) is done
    assert target.exists() is done and (not done or target.read_text() == "hello")
    assert not files.copy("/etc", target, most=10) and not files.copy("/bad", target, most=10)
    assert [one.what for one in files.missed] == ["/bad"]
