"""The platform as a process, with the test in the place of the hypervisor: sockets, reports, records, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.errors import ProvisionFailed
from aibemu.fabric import handle
from aibemu.fabric.handle import Platform
from aibemu.fabric.serve import Bounds
from aibemu.files import remove
from aibemu.process_id import ProcessId
from tests.unit.fabric.machines import identity, machine
from tests.unit.fabric.packets import ACK, GUEST, IMDS, SYN, WIRE, ip, read, tcp_frame, udp_frame
from tests.unit.fabric.test_dhcp import DISCOVER, ask
from tests.unit.fabric.test_dns import question, take_apart

SECRET = "a-secure-parameter"
READY = (
    "<Health><GoalStateIncarnation>1</GoalStateIncarnation><Container><ContainerId>c</ContainerId><RoleInstanceList>"
    "<Role><InstanceId>i</InstanceId><Health><State>Ready</State></Health></Role></RoleInstanceList></Container></Health>"
)


class Side:
    """One of the hypervisor's two connections."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.settimeout(10)
        self._heard = b""

    def send(self, frame: bytes) -> None:
        self.socket.sendall(len(frame).to_bytes(4, "big") + frame)

    def receive(self) -> bytes:
        """The next frame."""
        while len(self._heard) < 4 or len(self._heard) < 4 + int.from_bytes(self._heard[:4], "big"):
            more = self.socket.recv(70000)
            assert more, "hung up"
            self._heard += more
        end = 4 + int.from_bytes(self._heard[:4], "big")
        frame, self._heard = self._heard[4:end], self._heard[end:]
        return frame

    def hung_up(self) -> bool:
        """Whether the other end is gone; what it had not read makes that a reset."""
        try:
            return self.socket.recv(10) == b""
        except ConnectionResetError:
            return True

    def drain(self) -> None:
        """Forget what is there."""
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self.socket.recv(70000):
                pass
        self._heard = b""
        self.socket.settimeout(10)


class Hypervisor:
    """The hypervisor's two connections, held by this very process."""

    def __init__(self, platform: Platform) -> None:
        self.nic, self.uplink = Side(platform.link.nic), Side(platform.link.uplink)

    def port(self, address: str, port: int) -> int:
        """Where on the host's loopback a connection of the guest's to the platform would go."""
        self.nic.send(tcp_frame(GUEST, address, (5000, port), SYN))
        return read(self.uplink.receive()).ports[1]

    def ask(self, port: int, method: str, target: str, body: str = "", **headers: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        connection.request(method, target, body or None, named)
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        return reply.status, text

    def close(self) -> None:
        self.nic.socket.close()
        self.uplink.socket.close()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    started = start(tmp_path / "run" / "platform" / "build", tmp_path / "journal.ndjson")
    yield started
    started.stop()


def start(directory: Path, journal: Path, bounds: Bounds | None = None) -> Platform:
    vm = machine(identities=(identity(),), tags={"team": "blue"})
    platform = Platform.start(directory, vm, journal=journal, offline=False, secrets=[SECRET], bounds=bounds)
    platform.await_listening(forever())
    return platform


@pytest.fixture
def hypervisor(platform: Platform) -> Iterator[Hypervisor]:
    made = Hypervisor(platform)
    yield made
    made.close()


def test_the_guest_is_served_and_its_words_are_heard(
    platform: Platform, hypervisor: Hypervisor, tmp_path: Path
) -> None:
    imds, wire = hypervisor.port(IMDS, 80), hypervisor.port(WIRE, 80)
    assert len({imds, wire, hypervisor.port(WIRE, 32526)}) == 3
    tags = "/metadata/instance/compute/tags?api-version=2021-02-01&format=text"
    assert hypervisor.ask(imds, "GET", tags, Metadata="true") == (200, "team:blue")
    assert hypervisor.ask(imds, "GET", f"{tags}&q={SECRET}", Metadata="true")[0] == 200
    token = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"
    status, text = hypervisor.ask(imds, "GET", token, Metadata="true")
    assert status == 200
    assert hypervisor.ask(wire, "POST", "/machine?comp=health", READY, x_ms_version="2012-11-30")[0] == 200
    report = platform.wait_for_verdict(forever().within(10), lambda: None)
    assert report.ready and platform.verdict == report
    failed = READY.replace(
        "<State>Ready</State>", "<State>NotReady</State><Details><SubStatus>ProvisioningFailed</SubStatus></Details>"
    )
    for _ in range(3):  # what comes after the verdict is recorded, no more
        assert hypervisor.ask(wire, "POST", "/machine?comp=health", failed, x_ms_version="2012-11-30")[0] == 200
    assert platform.verdict == report
    recorded = (tmp_path / "journal.ndjson").read_text()
    assert json.loads(text)["access_token"] not in recorded and SECRET not in recorded
    services = [json.loads(line)["service"] for line in recorded.splitlines()]
    assert services == ["imds"] * 3 + ["wireserver"] * 4
    assert (tmp_path / "journal.ndjson").stat().st_mode & 0o777 == 0o600


def test_what_is_lent_to_the_guest_reaches_it_once(platform: Platform, hypervisor: Hypervisor, tmp_path: Path) -> None:
    port = hypervisor.port(WIRE, 32527)
    with platform.depot.lend(b"for the guest") as address:
        place = address.removeprefix(f"http://{WIRE}:32527")
        assert hypervisor.ask(port, "GET", place) == (200, "for the guest")
        assert hypervisor.ask(port, "GET", place)[0] == 404
    assert "for the guest" not in (tmp_path / "journal.ndjson").read_text()
    assert list((platform.directory / "depot").iterdir()) == []


def test_frames_go_both_ways_and_the_host_stays_out_of_reach(hypervisor: Hypervisor) -> None:
    out = udp_frame(GUEST, "8.8.8.8", (5000, 53), b"question")
    hypervisor.nic.send(tcp_frame(GUEST, "10.0.0.1", (5000, 8080), SYN))
    hypervisor.nic.send(out)
    assert hypervisor.uplink.receive() == out  # and not the one before it
    back = udp_frame("8.8.8.8", GUEST, (53, 5000), b"answer")
    hypervisor.uplink.send(back)
    assert hypervisor.nic.receive() == back


def test_a_hypervisor_that_starts_anew_takes_the_place_of_the_old(platform: Platform, hypervisor: Hypervisor) -> None:
    hypervisor.nic.send(b"\0" * 60)
    second = Hypervisor(platform)
    assert second.port(IMDS, 80) == second.port(IMDS, 80)
    assert hypervisor.nic.hung_up()
    second.close()


def test_a_side_that_sends_no_frames_is_let_go(platform: Platform, hypervisor: Hypervisor) -> None:
    hypervisor.nic.socket.sendall(b"\xff" * 100)
    assert hypervisor.nic.hung_up()
    again = Hypervisor(platform)
    assert again.port(WIRE, 80)
    again.close()


def test_a_lease_is_given_without_the_user_network_and_the_owner_hears_that_it_was_asked_for(
    platform: Platform, hypervisor: Hypervisor
) -> None:
    hypervisor.port(WIRE, 80)
    assert not platform.asked_for_address
    for _ in range(2):
        hypervisor.nic.send(udp_frame("0.0.0.0", "255.255.255.255", (68, 67), ask(DISCOVER)))
        assert read(hypervisor.nic.receive()).ports == (67, 68)
    forever().within(20).poll(lambda: platform.asked_for_address)


def test_the_machines_name_is_looked_up_without_the_user_network(hypervisor: Hypervisor) -> None:
    vm = machine()
    for text in (vm.computer_name, f"{vm.computer_name}.{vm.dns_suffix}"):
        hypervisor.nic.send(udp_frame(GUEST, WIRE, (5353, 53), question(text)))
        found = read(hypervisor.nic.receive())
        assert (found.source, found.ports, take_apart(found.payload).addresses) == (WIRE, (53, 5353), [GUEST])


def test_only_the_process_that_the_frames_come_from_is_answered(hypervisor: Hypervisor) -> None:
    """Somebody else on this host, even of the same user, gets no token."""
    port = hypervisor.port(IMDS, 80)
    versions = "/metadata/versions"
    assert hypervisor.ask(port, "GET", versions, Metadata="true")[0] == 200
    code = (
        "import http.client, sys\n"
        f"c = http.client.HTTPConnection('127.0.0.1', {port}, timeout=10)\n"
        "try:\n"
        f"    c.request('GET', '{versions}', headers={{'Metadata': 'true'}}); print(c.getresponse().status)\n"
        "except (ConnectionError, http.client.HTTPException):\n"
        "    print('refused')\n"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == "refused"


def test_stop_leaves_the_journal_and_nothing_else(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / "platform" / "build"
    platform = start(deep, tmp_path / "journal.ndjson")
    sockets = platform.link.nic.parent
    assert sockets != deep and sockets.stat().st_mode & 0o777 == 0o700
    process = recorded_process(deep)
    assert process.is_alive() and platform.alive()
    platform.stop()
    platform.stop()
    assert not process.is_alive() and not platform.alive()
    assert not sockets.exists() and not deep.exists() and (tmp_path / "journal.ndjson").exists()


def test_another_process_finds_and_ends_it(tmp_path: Path) -> None:
    directory = tmp_path / "platform" / "build"
    start(directory, tmp_path / "j")
    process = recorded_process(directory)
    found = Platform.find(directory)
    assert found is not None and found.alive()
    found.stop()
    assert not process.is_alive()
    assert Platform.find(directory) is None


def test_one_that_was_started_but_not_noted_is_found_by_its_command_line(tmp_path: Path) -> None:
    directory = tmp_path / "platform" / "build"
    start(directory, tmp_path / "j")
    process = recorded_process(directory)
    record = json.loads((directory / "platform.json").read_text())
    (directory / "platform.json").write_text(json.dumps(record | {"process": None}))
    found = Platform.find(directory)
    assert found is not None
    found.stop()
    assert not process.is_alive()


def test_it_ends_by_itself_when_its_directory_is_gone(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 90) / "build"
    platform = start(directory, tmp_path / "j")
    process, sockets = recorded_process(directory), platform.link.nic.parent
    remove(directory)
    assert process.wait(20)
    assert not sockets.exists()
    platform.stop()


def test_a_process_that_only_names_the_directory_is_left_alone(tmp_path: Path) -> None:
    directory = tmp_path / "platform" / "build"
    start(directory, tmp_path / "j").stop()
    other = subprocess.Popen([sys.executable, "-c", "input()", str(directory), f"{directory}/x"], stdin=subprocess.PIPE)
    start(directory, tmp_path / "j").stop()
    platform = start(directory, tmp_path / "j")
    recorded_process(directory).send(signal.SIGKILL)
    platform.stop()
    assert other.poll() is None
    other.communicate(b"\n")


def test_a_record_that_cannot_be_read_is_no_platform(tmp_path: Path) -> None:
    for content in ("", "{}", '{"sockets": 3}', "[1]"):
        (tmp_path / "platform.json").write_text(content)
        assert Platform.find(tmp_path) is None


def test_one_that_dies_is_noticed(platform: Platform, tmp_path: Path) -> None:
    recorded_process(tmp_path / "run" / "platform" / "build").send(signal.SIGKILL)
    ends = time.monotonic() + 10
    while platform.alive():
        assert time.monotonic() < ends
        time.sleep(0.02)
    assert "platform" in platform.failure().message


def test_one_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handle, "record_of", lambda *_, **more: {"sockets": str(more["sockets"]), "process": None})
    with pytest.raises(ProvisionFailed) as caught:
        start(tmp_path / "platform" / "build", tmp_path / "j")
    assert any("KeyError" in line for line in caught.value.details)
    # Whoever started it owns it, from before it listens.
    (found,) = Platform.below(tmp_path / "platform")
    found.stop()
    assert not (tmp_path / "platform" / "build").exists()


def test_a_thousand_malformed_frames_requests_and_leases_neither_end_it_nor_fill_it(
    platform: Platform, hypervisor: Hypervisor, tmp_path: Path
) -> None:
    rng = random.Random(4)
    imds, wire = hypervisor.port(IMDS, 80), hypervisor.port(WIRE, 80)
    pid = recorded_process(tmp_path / "run" / "platform" / "build").pid

    def storm() -> None:
        lease = udp_frame("0.0.0.0", "255.255.255.255", (68, 67), ask(DISCOVER))
        whole = tcp_frame(GUEST, IMDS, (5000, 80), ACK, b"x" * 100)
        for number in range(1000):
            frame = bytearray((lease, whole, ip(GUEST, WIRE, 17, rng.randbytes(30)))[number % 3])
            for _ in range(rng.randrange(1, 12)):
                frame[rng.randrange(len(frame))] = rng.randrange(256)
            hypervisor.nic.send(bytes(frame[: rng.randrange(len(frame) + 1)]))
            hypervisor.nic.drain()
            hypervisor.uplink.drain()
        for number in range(1000):
            garbage(imds if number % 2 else wire, rng)

    storm()
    before = resident(pid)
    storm()
    assert resident(pid) - before < 4 << 20, "it grows"
    assert platform.alive()
    settle(hypervisor)
    assert hypervisor.ask(hypervisor.port(IMDS, 80), "GET", "/metadata/versions", Metadata="true")[0] == 200
    log = tmp_path / "run" / "platform" / "build" / handle.LOG
    assert log.read_text() == ""


def garbage(port: int, rng: random.Random) -> None:
    """One request that is none, or half of one."""
    head = b"POST /machine?comp=health HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\nMetadata: true\r\n\r\n"
    data = bytearray(head + READY.encode())
    for _ in range(rng.randrange(1, 20)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(bytes(data[: rng.randrange(len(data) + 1)]))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except ConnectionError:
            return


def settle(hypervisor: Hypervisor) -> None:
    """Wait until all that was sent has been dealt with."""
    mark = udp_frame(GUEST, "8.8.8.8", (5000, 53), b"the last one")
    hypervisor.nic.send(mark)
    while hypervisor.uplink.receive() != mark:
        pass


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def recorded_process(directory: Path) -> ProcessId:
    return ProcessId.from_json(json.loads((directory / "platform.json").read_text())["process"])


def test_what_it_writes_is_bounded_as_it_was_told(tmp_path: Path) -> None:
    journal = tmp_path / "journal.ndjson"
    started = start(tmp_path / "run" / "platform" / "build", journal, Bounds(journal=3000, console=1 << 20))
    hypervisor = Hypervisor(started)
    try:
        imds = hypervisor.port(IMDS, 80)
        for _ in range(20):
            hypervisor.ask(imds, "GET", "/metadata/instance?api-version=2021-02-01", Metadata="true")
    finally:
        hypervisor.close()
        started.stop()
    lines = journal.read_text().splitlines()
    assert len(lines) < 15 and "full" in json.loads(lines[-1])
