"""Answer files that a disk has itself: which of them Setup would take, and what is put in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from aibemu.disks import Unreadable
from aibemu.disks.hives import WindowsDisk
from aibemu.images.windows_answers import ANSWERS, has_unused_settings, used_up, waiting

UNUSED = b'<unattend><settings pass="specialize"/></unattend>'
USED = b'<unattend><settings pass="specialize" wasPassProcessed="true"/></unattend>'
NAMESPACE = "{urn:schemas-microsoft-com:unattend}"


class Disk:
    """A disk with these files, and a registry that names an answer file."""

    def __init__(self, named: str = "", files: Mapping[str, bytes | None] | None = None) -> None:
        self.named, self.files = named, files or {}

    def hive(self, name: str) -> Any:
        assert name == "SYSTEM"
        return self

    def text(self, key: str, name: str) -> str:
        assert (key, name) == ("Setup", "UnattendFile")
        return self.named

    def read(self, path: str) -> bytes | None:
        content = self.files.get(path, b"")
        if content is None:
            raise Unreadable(f"{path} is compressed or encrypted")
        return content or None


def found(disk: Disk) -> tuple[list[str], list[str]]:
    answers, notes = waiting(cast("WindowsDisk", disk))
    return [str(one) for one in answers], notes


@pytest.mark.parametrize("size", [10_000, 250, 200, 150, 68, 67, 40, 11])
def test_what_is_put_in_its_place_has_its_size_and_nothing_to_use(size: int) -> None:
    content = used_up(size)
    assert len(content) == size and not has_unused_settings(content)
    root = ElementTree.fromstring(content.decode("ascii"))
    passes = {one.get("pass"): one.get("wasPassProcessed") for one in root}
    assert passes in ({}, {"specialize": "true", "oobeSystem": "true"})
    if size >= 250:
        assert passes and root.tag == f"{NAMESPACE}unattend", "as Setup leaves it"


def test_files_are_found_in_setup_s_order() -> None:
    files = {
        ANSWERS[3]: UNUSED,
        ANSWERS[0]: UNUSED,
        ANSWERS[2]: USED,
        "Windows\\System32\\Sysprep\\Unattend.xml": UNUSED,
    }
    assert found(Disk(files=files)) == ([ANSWERS[0], ANSWERS[3]], [])
    assert found(Disk()) == ([], [])


@pytest.mark.parametrize(
    "named",
    ["C:\\answers.xml", "D:\\answers.xml", '"c:\\gone.xml"', "answers.xml", "%ProgramData%\\x.xml", "C:\\secret.xml"],
)
def test_what_the_registry_names_counts(named: str) -> None:
    """Also a file that is elsewhere, cannot be read, or is not there: who knows what it is when Setup looks."""
    disk = Disk(named, {"answers.xml": UNUSED, "secret.xml": None})
    assert found(disk) == ([f"{named} (HKLM\\SYSTEM\\Setup, UnattendFile)"], [])


@pytest.mark.parametrize(
    "named",
    [
        "C:\\Windows\\Panther\\used.xml",
        '"c:\\windows\\..\\Windows\\Panther\\used.xml"',
        "%WINDIR%\\Panther\\used.xml",
        "%systemdrive%\\Windows\\Panther\\used.xml",
    ],
)
def test_a_used_one_that_the_registry_names_is_in_nobody_s_way(named: str) -> None:
    class Folded(Disk):
        def read(self, path: str) -> bytes | None:
            return USED if path.lower() == "windows\\panther\\used.xml" else None

    assert found(Folded(named)) == ([], [])


def test_one_that_cannot_be_read_is_told() -> None:
    answers, notes = found(Disk(files={ANSWERS[2]: None}))
    assert answers == [] and "whether Setup has used" in notes[0] and "encrypted" in notes[0]


def test_a_long_value_is_cut_where_it_is_told() -> None:
    ((answer,), _) = found(Disk("D:\\" + "x" * 5000))
    assert len(answer) < 250
