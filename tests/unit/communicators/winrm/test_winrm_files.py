"""Files into a guest: fetched by the guest itself where it can, else sent piece by piece; never in a command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aibemu.clock import SystemClock
from aibemu.communicators import Access, UploadFailed
from aibemu.communicators.factory import Watch
from aibemu.communicators.winrm.files import BLOCK, SMALL
from aibemu.fabric.depot import DepotService, LendingFolder
from aibemu.fabric.journal import Journal
from aibemu.fabric.server import listen
from fixtures.guests.scripted import Call
from fixtures.guests.winrm.server import WinrmServer
from fixtures.guests.winrm.settings import Settings
from tests.winrm_guests import Speaking, connected, serving, soon

LARGE = bytes(range(256)) * 4000
LONGEST_LINE = 3000  # characters of a command line of ours: 8191 would be too many


@pytest.fixture
def machine() -> Speaking:
    return Speaking()


@pytest.fixture
def place(tmp_path: Path, machine: Speaking) -> Iterator[tuple[WinrmServer, Access]]:
    with serving(tmp_path, machine, Settings(negotiate=False)) as served:
        yield served


@pytest.fixture
def depot(tmp_path: Path) -> Iterator[LendingFolder]:
    journal = Journal(tmp_path / "journal", SystemClock())
    listener = listen(DepotService(tmp_path / "depot"), journal, SystemClock(), lambda client, server: True)
    yield LendingFolder(tmp_path / "depot", f"http://127.0.0.1:{listener.port}")
    listener.close()
    journal.close()


class Nowhere:
    """A depot that the guest does not reach."""

    def __init__(self) -> None:
        self.asked = 0

    @contextmanager
    def lend(self, content: Path | bytes) -> Iterator[str]:
        self.asked += 1
        yield "http://127.0.0.1:9/x"


class Full:
    """A depot without room."""

    @contextmanager
    def lend(self, content: Path | bytes) -> Iterator[str]:
        raise OSError("no space left on device")
        yield ""


def asked(server: WinrmServer, operation: str) -> int:
    return sum(seen.operation == operation for seen in server.seen)


def scripts(machine: Speaking) -> list[str]:
    """Whether each script stored or fetched."""
    return ["fetch" if "GetResponse" in text else "store" for text in machine.texts()]


@pytest.mark.parametrize("as_file", [True, False])
def test_a_large_file_is_fetched_by_the_guest(
    place: tuple[WinrmServer, Access], machine: Speaking, depot: LendingFolder, tmp_path: Path, as_file: bool
) -> None:
    server, access = place
    guest = connected(access, Watch(depot=depot))
    source, there = tmp_path / "source", tmp_path / "it's there"
    source.write_bytes(LARGE)
    if as_file:
        guest.upload(source, str(there), deadline=soon())
    else:
        guest.write(LARGE, str(there), deadline=soon())
    assert there.read_bytes() == LARGE and scripts(machine) == ["fetch"]
    assert asked(server, "Send") == 1  # the end of an input that is empty
    assert max(len(seen.command) for seen in server.seen) < LONGEST_LINE
    guest.close()


def test_a_small_file_is_sent(
    place: tuple[WinrmServer, Access], machine: Speaking, depot: LendingFolder, tmp_path: Path
) -> None:
    guest = connected(place[1], Watch(depot=depot))
    guest.write(LARGE[:SMALL], str(tmp_path / "there"), deadline=soon())
    assert (tmp_path / "there").read_bytes() == LARGE[:SMALL] and scripts(machine) == ["store"]
    guest.close()


def test_a_depot_that_is_out_of_reach_is_tried_once_for_each_connection(
    place: tuple[WinrmServer, Access], machine: Speaking, tmp_path: Path
) -> None:
    server, access = place
    nowhere, told = Nowhere(), list[tuple[str, int, int]]()
    guest = connected(access, Watch(depot=nowhere, on_transfer=lambda *what: told.append(what)))
    there = str(tmp_path / "there")
    for _ in range(2):
        guest.write(LARGE, there, deadline=soon())
        assert (tmp_path / "there").read_bytes() == LARGE
    assert scripts(machine) == ["fetch", "store", "store"] and nowhere.asked == 1
    blocks = -(-len(LARGE) // BLOCK)
    assert told[-1] == (there, len(LARGE), len(LARGE)) and len(told) == 2 * blocks
    assert max(len(seen.command) for seen in server.seen) < LONGEST_LINE
    guest.reconnect(soon())
    guest.write(LARGE, there, deadline=soon())
    assert nowhere.asked == 2
    guest.close()


def test_without_room_for_what_is_lent_it_is_sent(
    place: tuple[WinrmServer, Access], machine: Speaking, tmp_path: Path
) -> None:
    guest = connected(place[1], Watch(depot=Full()))
    guest.write(LARGE, str(tmp_path / "there"), deadline=soon())
    assert scripts(machine) == ["store"]
    guest.close()


def test_what_arrives_damaged_is_sent_again(
    place: tuple[WinrmServer, Access], machine: Speaking, depot: LendingFolder, tmp_path: Path
) -> None:
    def damage(call: Call) -> int:
        call.print("00-11\r\n")
        return 0

    machine.fetch = damage  # type: ignore[method-assign]
    machine.learn()
    guest = connected(place[1], Watch(depot=depot))
    guest.write(LARGE, str(tmp_path / "there"), deadline=soon())
    assert (tmp_path / "there").read_bytes() == LARGE and scripts(machine) == ["fetch", "store"]
    guest.close()


def test_a_folder_that_is_not_there_ends_it_at_once(
    place: tuple[WinrmServer, Access], machine: Speaking, depot: LendingFolder, tmp_path: Path
) -> None:
    guest = connected(place[1], Watch(depot=depot))
    with pytest.raises(UploadFailed, match="Could not find a part of the path"):
        guest.write(LARGE, str(tmp_path / "no" / "there"), deadline=soon())
    assert scripts(machine) == ["fetch"]
    guest.close()
