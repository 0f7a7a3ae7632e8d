"""What is lent to a guest is there once, under an address that nobody guesses, and gone afterwards."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from aibemu.clock import SystemClock
from aibemu.fabric.addresses import DEPOT_PORT, WIRE
from aibemu.fabric.depot import DepotService, LendingFolder
from aibemu.fabric.http import Request
from aibemu.fabric.journal import Journal
from aibemu.fabric.server import listen
from aibemu.records import read_json

CONTENT = bytes(range(256)) * 20_000


@pytest.fixture
def depot(tmp_path: Path) -> Iterator[LendingFolder]:
    """One that is served on the loopback."""
    journal = Journal(tmp_path / "journal", SystemClock())
    listener = listen(DepotService(tmp_path / "depot"), journal, SystemClock(), lambda client, server: True)
    yield LendingFolder(tmp_path / "depot", f"http://127.0.0.1:{listener.port}")
    listener.close()
    journal.close()


def get(address: str) -> bytes:
    """What is there."""
    with urllib.request.urlopen(address, timeout=10) as answer:
        content: bytes = answer.read()
        return content


def refused(address: str) -> bool:
    """Whether there is nothing."""
    try:
        get(address)
    except urllib.error.HTTPError as error:
        return error.code == 404
    return False


@pytest.mark.parametrize("content", [CONTENT, b""])
@pytest.mark.parametrize("as_file", [True, False])
def test_it_can_be_fetched_once(depot: LendingFolder, tmp_path: Path, content: bytes, as_file: bool) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with depot.lend(file if as_file else content) as address:
        assert get(address) == content
        assert refused(address)
    assert refused(address) and file.exists()
    assert list((tmp_path / "depot").iterdir()) == []


def test_what_nobody_fetched_is_gone_too(depot: LendingFolder, tmp_path: Path) -> None:
    with depot.lend(CONTENT) as address:
        pass
    assert refused(address) and list((tmp_path / "depot").iterdir()) == []


def test_of_many_who_ask_at_once_one_gets_it(depot: LendingFolder) -> None:
    results: list[bool] = []
    start = threading.Barrier(8)

    def ask(address: str) -> None:
        start.wait()
        results.append(not refused(address))

    with depot.lend(CONTENT) as address:
        threads = [threading.Thread(target=ask, args=(address,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results.count(True) == 1


def test_addresses_are_not_alike(depot: LendingFolder) -> None:
    with depot.lend(b"a") as first, depot.lend(b"b") as second:
        assert first != second and (get(second), get(first)) == (b"b", b"a")


@pytest.mark.parametrize(
    "target", ["/", "/..", "/../platform.json", f"/{'0' * 64}", f"/{'0' * 63}/", f"/{'0' * 64}?x", f"/{'%30' * 64}"]
)
def test_nothing_else_is_there(tmp_path: Path, target: str) -> None:
    (tmp_path / "platform.json").write_text('{"file": "/etc/passwd"}')
    (tmp_path / "depot").mkdir()
    assert DepotService(tmp_path / "depot").handle(Request(method="GET", target=target)).status == 404


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
def test_only_a_get_takes_it(depot: LendingFolder, tmp_path: Path, method: str) -> None:
    with depot.lend(CONTENT) as address:
        request = Request(method=method, target="/" + address.rpartition("/")[2])
        assert DepotService(tmp_path / "depot").handle(request).status == 404
        assert get(address) == CONTENT


def test_a_file_that_is_not_there_any_more_is_none(depot: LendingFolder, tmp_path: Path) -> None:
    with depot.lend(tmp_path / "nothing") as address:
        assert refused(address)


def test_the_guest_finds_it_beside_the_wire_server(tmp_path: Path) -> None:
    with LendingFolder(tmp_path / "depot").lend(b"x") as address:
        assert address.startswith(f"http://{WIRE}:{DEPOT_PORT}/") and len(address.rpartition("/")[2]) == 64
    assert (tmp_path / "depot").stat().st_mode & 0o777 == 0o700


def test_who_asks_too_late_takes_nothing_from_who_was_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "depot"
    service = DepotService(folder)
    late: list[int] = []

    def read(path: Path) -> object:
        if not late:
            late.append(0)
            late[0] = service.handle(request).status  # between the first one's two looks
        return read_json(path)

    monkeypatch.setattr("aibemu.fabric.depot.read_json", read)
    with LendingFolder(folder).lend(b"content") as address:
        request = Request(method="GET", target="/" + address.rpartition("/")[2])
        reply = service.handle(request)
        assert late == [404] and reply.status == 200 and reply.file is not None
        with reply.file as file:
            assert file.read() == b"content"
