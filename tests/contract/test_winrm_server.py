"""What the WinRM server for tests promises beyond what clients see every day: limits, faults, failures on order,
restarts, and its own end. Requests are sent by pywinrm where it can send them."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from winrm.exceptions import InvalidCredentialsError, WinRMTransportError, WSManFaultError
from winrm.protocol import Protocol

from fixtures.guests.scripted import Answer, Call, Scripted
from fixtures.guests.winrm import Failure, Settings, WinrmServer, make_certificate
from fixtures.guests.winrm.faults import too_many_shells
from tests.winrm_clients import PASSWORD, USER

ROOT = Path(__file__).parents[2]
PLAIN = Settings(allow_unencrypted=True)


class Opened:
    """A server with plain HTTP and Basic, and pywinrm for it."""

    def __init__(self, settings: Settings = PLAIN) -> None:
        self.machine = Scripted()
        self.server = WinrmServer(self.machine, user=USER, password=PASSWORD, settings=settings)

    def client(self, read_timeout: int = 10) -> Protocol:
        return Protocol(
            self.server.url, transport="basic", username=USER, password=PASSWORD, message_encryption="never",
            operation_timeout_sec=read_timeout - 1, read_timeout_sec=read_timeout, proxy=None,
            ca_trust_path=cast(str, None),  # pywinrm's own type says less than it takes
        )  # fmt: skip

    def run(self, command: str) -> tuple[bytes, bytes, int]:
        """In a shell of its own, that stays open when anything fails."""
        client = self.client()
        shell = client.open_shell()
        result = client.get_command_output(shell, client.run_command(shell, command))
        client.close_shell(shell)
        return result

    def post(self, body: bytes, path: str = "/wsman", **headers: str) -> requests.Response:
        """A request by hand."""
        with requests.Session() as session:
            session.trust_env = False
            url = f"http://127.0.0.1:{self.server.port}{path}"
            return session.post(url, body, auth=(USER, PASSWORD), headers=headers, timeout=10)


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    made = Opened(getattr(request, "param", PLAIN))
    with made.server:
        yield made
    made.machine.check()


def settings(**words: Any) -> pytest.MarkDecorator:
    """The server's settings for one test."""
    return pytest.mark.parametrize("opened", [Settings(**{"allow_unencrypted": True, **words})], indirect=True)


# HTTP


def test_who_is_not_logged_in_hears_how_to(opened: Opened) -> None:
    answer = requests.post(opened.server.url, b"x", timeout=10, proxies={"http": ""})
    assert (answer.status_code, answer.content) == (401, b"")
    assert answer.headers["WWW-Authenticate"] == 'Negotiate, Basic realm="WSMAN"'


@settings(allow_unencrypted=False)
def test_plain_messages_on_plain_http_are_refused(opened: Opened) -> None:
    with pytest.raises(WinRMTransportError, match="Code 500"):
        opened.client().open_shell()


@settings(basic=False)
def test_a_way_to_log_in_that_is_not_offered(opened: Opened) -> None:
    with pytest.raises(InvalidCredentialsError):
        opened.client().open_shell()


def test_too_large_elsewhere_and_nonsense(opened: Opened) -> None:
    assert opened.post(b"x" * (500 * 1024 + 1)).status_code == 413
    assert opened.post(b"x", path="/other").status_code == 404
    answer = opened.post(b"<no xml")
    assert (answer.status_code, 'Code="2150858766"' in answer.text) == (500, True)


# Shells and commands


@settings(max_shells_per_user=2)
def test_the_quota_of_shells(opened: Opened) -> None:
    client = opened.client()
    first, _ = client.open_shell(), client.open_shell()
    with pytest.raises(WSManFaultError, match="maximum number of 2 concurrent shells") as caught:
        client.open_shell()
    assert caught.value.wsman_fault_code == 2150859173
    client.close_shell(first, close_session=False)
    client.open_shell()


@settings(max_operations_per_user=2)
def test_the_quota_of_operations_counts_commands_that_are_over(opened: Opened) -> None:
    opened.machine.on("x", exit_code=0)
    client = opened.client()
    shell = client.open_shell()
    for _ in range(2):
        running = client.run_command(shell, "x")
        client.get_command_output(shell, running)
        client.cleanup_command(shell, running)
    with pytest.raises(WSManFaultError, match="maximum number of 2 concurrent operations") as caught:
        client.run_command(shell, "x")
    assert (caught.value.wsman_fault_code, caught.value.wmierror_code) == (None, 2150859174)
    client.close_shell(shell, close_session=False)
    assert opened.run("x") == (b"", b"", 0)


@contextmanager
def _fault(shown: str) -> Iterator[None]:
    """Of invalid selectors, with this text in it. (pywinrm's own message has the general reason only.)"""
    with pytest.raises(WSManFaultError, match="invalid selectors") as caught:
        yield
    assert caught.value.wsman_fault_code == 2150858843
    assert shown in caught.value.response


def test_what_is_over_or_was_never_there(opened: Opened) -> None:
    opened.machine.on("x", exit_code=3)
    client = opened.client()
    shell = client.open_shell()
    running = client.run_command(shell, "x")
    assert client.get_command_output(shell, running) == (b"", b"", 3)
    for command in (running, "11111111-2222-3333-4444-555555555555"):
        with _fault("a command identifier that does not exist"):
            client.get_command_output(shell, command)
    client.close_shell(shell, close_session=False)
    with _fault("the shell was not found on the server"):
        client.run_command(shell, "x")


def test_the_longest_line_of_cmd(opened: Opened) -> None:
    opened.machine.on(re.compile("^echo x+$"), stdout="x")
    assert opened.run("echo " + "x" * 8186) == (b"x", b"", 0)
    assert opened.run("echo " + "x" * 8187) == (b"", b"The command line is too long.\r\n", 1)
    assert len(opened.machine.calls) == 1


def test_a_program_without_cmd(opened: Opened) -> None:
    opened.machine.on("gone.exe", Answer(missing=True))
    client = opened.client()
    shell = client.open_shell()
    with pytest.raises(WSManFaultError, match="cannot find the file specified") as caught:
        client.run_command(shell, "gone.exe", skip_cmd_shell=True)
    assert caught.value.wsman_fault_code == 2147942402


def test_the_code_page_is_437_unless_chosen(opened: Opened) -> None:
    opened.machine.on("x", stdout="äß→")
    client = opened.client()
    shell = client.open_shell()
    assert client.get_command_output(shell, client.run_command(shell, "x"))[0] == "äß?".encode("cp437")


@settings(split_done=True)
def test_the_end_in_an_answer_of_its_own(opened: Opened) -> None:
    opened.machine.on("x", stdout="out", exit_code=5)
    client = opened.client()
    shell = client.open_shell()
    running = client.run_command(shell, "x")
    answers = [client.get_command_output_raw(shell, running) for _ in range(2)]
    assert answers == [(b"out", b"", -1, False), (b"", b"", 5, True)]


def _waits(call: Call) -> int:
    call.print("started\r\n")
    assert call.stopped.wait(20)
    return 0


@pytest.mark.parametrize("how", ["terminate", "delete"])
def test_a_command_that_is_ended_by_the_client(opened: Opened, how: str) -> None:
    opened.machine.on("waits", play=_waits)
    client, other = opened.client(), opened.client()
    shell = client.open_shell()
    running = client.run_command(shell, "waits")
    assert client.get_command_output_raw(shell, running)[0] == b"started\r\n"
    caught: list[BaseException] = []

    def receive() -> None:
        try:
            client.get_command_output_raw(shell, running)
        except WSManFaultError as error:
            caught.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    opened.server.wait_for("Receive", 2)
    if how == "terminate":
        other.cleanup_command(shell, running)
    else:
        other.close_shell(shell)
    thread.join(10)
    assert [error.wsman_fault_code for error in caught if isinstance(error, WSManFaultError)] == [995]
    assert opened.machine.calls[0].stopped.wait(10)


def test_a_command_that_prints_more_than_anybody_reads(opened: Opened) -> None:
    chunk, done = b"x" * 2**20, threading.Event()

    def floods(call: Call) -> int:
        for _ in range(6):
            call.output.put("stdout", chunk)
        done.set()
        return 0

    opened.machine.on("floods", play=floods)
    client = opened.client()
    shell = client.open_shell()
    running = client.run_command(shell, "floods")
    assert not done.wait(0.2), "the command went on although nobody reads its output"
    assert len(client.get_command_output(shell, running)[0]) == 6 * len(chunk)


# Failures on order


def test_a_fault(opened: Opened) -> None:
    opened.server.inject(Failure(kind="fault", operation="Create", skip=1, fault=too_many_shells(30)))
    client = opened.client()
    client.open_shell()
    with pytest.raises(WSManFaultError, match="maximum number of 30 concurrent shells"):
        client.open_shell()
    client.open_shell()
    assert opened.server.pending == []
    assert [seen.failure for seen in opened.server.seen] == ["", "fault", ""]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("kind", "raised"),
    [
        ("unauthorized", InvalidCredentialsError), ("unavailable", WinRMTransportError),
        ("reset", requests.exceptions.ConnectionError), ("silent", requests.exceptions.ReadTimeout),
    ],
)  # fmt: skip
def test_a_command_whose_answer_does_not_come(opened: Opened, kind: Any, raised: type[Exception], after: bool) -> None:
    opened.machine.on("hostname", stdout="WIN-1")
    opened.server.inject(Failure(kind=kind, operation="Command", command="host", after=after))
    client = opened.client()
    shell = client.open_shell()
    # Who waits for an answer that does not come waits briefly; a busy machine may need longer for one that comes.
    impatient = opened.client(read_timeout=2) if kind == "silent" else client
    with pytest.raises(raised) as caught:
        impatient.run_command(shell, "hostname")
    if kind == "reset":
        assert "Connection reset by peer" in str(caught.value)
    assert len(opened.machine.calls) == int(after), "whether the command was run"
    assert client.run_command(shell, "hostname")


def test_a_reset_of_a_tls_connection(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    with WinrmServer(Scripted(), user=USER, password=PASSWORD, certificate=made) as server:
        server.inject(Failure(kind="reset", operation="Create"))
        client = Protocol(
            server.url,
            transport="basic",
            username=USER,
            password=PASSWORD,
            ca_trust_path=str(made.certificate),
            proxy=None,
        )
        # Python's ssl takes a reset for the end of the stream.
        with pytest.raises(requests.exceptions.ConnectionError, match=r"reset by peer|without response"):
            client.open_shell()
        client.open_shell()


def test_a_slow_answer(opened: Opened) -> None:
    opened.server.inject(Failure(kind="slow", operation="Create", seconds=0.5))
    before = time.monotonic()
    opened.client().open_shell()
    assert time.monotonic() - before >= 0.5


def test_a_failure_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="needs `fault`"):
        Failure(kind="fault")
    with pytest.raises(ValueError, match="needs `seconds`"):
        Failure(kind="slow")


def test_modules_that_do_not_load_yet(opened: Opened) -> None:
    opened.machine.on("powershell -Command 1", stdout="1\r\n")
    opened.machine.on("hostname", stdout="WIN-1\r\n")
    opened.server.not_ready(b"The term 'Write-Output' is not recognized\r\n")
    assert opened.run("hostname")[2] == 0
    assert opened.run("powershell -Command 1") == (b"", b"The term 'Write-Output' is not recognized\r\n", 1)
    assert opened.run("powershell -Command 1") == (b"1\r\n", b"", 0)


def test_a_port_that_is_closed_and_opened(opened: Opened) -> None:
    client = opened.client()
    shell = client.open_shell()
    opened.server.close_port()
    with pytest.raises(requests.exceptions.ConnectionError, match="Connection refused"):
        opened.client().open_shell()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", opened.server.port))
    opened.server.open_port()
    client.close_shell(shell)


def test_a_port_that_is_closed_while_output_is_waited_for(opened: Opened) -> None:
    opened.machine.on("waits", play=_waits)
    client = opened.client()
    shell = client.open_shell()
    running = client.run_command(shell, "waits")
    client.get_command_output_raw(shell, running)

    def close() -> None:
        opened.server.wait_for("Receive", 2)
        opened.server.close_port()

    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(requests.exceptions.ConnectionError, match="reset by peer"):
        client.get_command_output_raw(shell, running)
    closer.join()
    opened.server.open_port()
    assert not opened.machine.calls[0].stopped.is_set(), "the command goes on"
    client.close_shell(shell)


def test_a_black_hole(opened: Opened) -> None:
    client = opened.client()
    shell = client.open_shell()
    opened.server.silence()
    with pytest.raises(requests.exceptions.ReadTimeout):
        opened.client(read_timeout=2).open_shell()
    with socket.create_connection(("127.0.0.1", opened.server.port)) as another, pytest.raises(TimeoutError):
        another.settimeout(0.2)
        another.sendall(b"GET / HTTP/1.1\r\n\r\n")
        another.recv(1)
    opened.server.speak()
    client.close_shell(shell)


def test_shells_that_are_lost(opened: Opened) -> None:
    client = opened.client()
    shell = client.open_shell()
    opened.server.lose_shells()
    with _fault("the shell was not found on the server"):
        client.run_command(shell, "x")


# Restarts


def test_a_restart(opened: Opened) -> None:
    opened.machine.on("shutdown /r /t 0", restart=3600)
    opened.machine.on("waits", play=_waits)
    other, caught = opened.client(), []
    shell = other.open_shell()
    running = other.run_command(shell, "waits")
    other.get_command_output_raw(shell, running)

    def receive() -> None:
        try:
            other.get_command_output_raw(shell, running)
        except requests.exceptions.ConnectionError as error:
            caught.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    opened.server.wait_for("Receive", 2)
    assert opened.run("shutdown /r /t 0") == (b"", b"", 0)
    thread.join(10)
    assert "Connection reset by peer" in str(caught)
    assert opened.machine.calls[0].stopped.wait(10)
    _until(lambda: not _answers(opened), "it never was away")
    opened.server.come_back()
    _until(lambda: _answers(opened), "it never came back")
    with _fault("the shell was not found on the server"):
        other.run_command(shell, "x")


def _answers(opened: Opened) -> bool:
    """Whether a connection is taken."""
    try:
        socket.create_connection(("127.0.0.1", opened.server.port), 10).close()
    except ConnectionRefusedError:
        return False
    return True


def _until(true: Callable[[], bool], otherwise: str) -> None:
    ends = time.monotonic() + 30
    while not true():
        assert time.monotonic() < ends, otherwise
        threading.Event().wait(0.01)


@settings(away="silent")
def test_a_restart_with_the_network_gone(opened: Opened) -> None:
    opened.machine.on("shutdown /r /t 0", restart=3600)
    opened.machine.on("powershell -Command 1", stdout="1\r\n")
    opened.server.not_ready(b"not yet\r\n", after_restart=True)
    before = socket.create_connection(("127.0.0.1", opened.server.port))
    assert opened.run("powershell -Command 1") == (b"1\r\n", b"", 0)
    assert opened.run("shutdown /r /t 0") == (b"", b"", 0)
    with pytest.raises(ConnectionResetError):
        before.recv(1)
    before.close()
    _until(lambda: opened.server.open_connections == 0, "they are still there")
    # It takes the connection, says nothing, and breaks it when it is back.
    with socket.create_connection(("127.0.0.1", opened.server.port)) as meanwhile:
        meanwhile.sendall(b"POST /wsman HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        _until(lambda: opened.server.open_connections == 1, "it was not taken")
        opened.server.come_back()
        with pytest.raises(ConnectionResetError):
            meanwhile.recv(1)
    assert opened.run("powershell -Command 1") == (b"", b"not yet\r\n", 1)
    assert opened.run("powershell -Command 1") == (b"1\r\n", b"", 0)


def test_a_machine_that_turns_itself_off(opened: Opened) -> None:
    opened.machine.on("shutdown /s /t 0", off=True)
    client = opened.client()
    client.open_shell()
    assert opened.run("shutdown /s /t 0") == (b"", b"", 0)
    # urllib3 says "without response" when the reset meets it while it sends.
    with pytest.raises(requests.exceptions.ConnectionError, match=r"reset by peer|refused|without response"):
        for _ in range(25):
            client.open_shell()
    with pytest.raises(requests.exceptions.ConnectionError, match="refused"):
        opened.client().open_shell()


# Its own end


def test_it_ends_whatever_goes_on(tmp_path: Path) -> None:
    machine = Scripted()
    machine.on("waits", play=_waits)
    before = set(threading.enumerate())
    with WinrmServer(machine, user=USER, password=PASSWORD, certificate=make_certificate(tmp_path)) as server:
        # One that never says anything, one in its handshake, one in the midst of a request.
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
        silent[1].sendall(b"\x16\x03\x01")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        half = context.wrap_socket(socket.create_connection(("127.0.0.1", server.port)))
        half.sendall(b"POST /wsman HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
        server.power("restart", 3600)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    assert {thread for thread in threading.enumerate() if thread.name.startswith("winrm")} <= before
    for sock in (*silent, half):
        sock.close()


@settings(max_connections=3)
def test_more_connections_than_it_takes(opened: Opened) -> None:
    held = [socket.create_connection(("127.0.0.1", opened.server.port)) for _ in range(3)]
    with socket.create_connection(("127.0.0.1", opened.server.port), 10) as fourth:
        assert fourth.recv(1) == b""
    for sock in held:
        sock.close()


def test_a_machine_that_breaks_is_told_at_the_end() -> None:
    class Broken(Scripted):
        def start(self, what: Any, output: Any) -> Call:
            raise ZeroDivisionError("the machine's own fault")

    with (
        pytest.raises(ZeroDivisionError),
        WinrmServer(Broken(), user=USER, password=PASSWORD, settings=PLAIN) as server,
    ):
        client = Protocol(
            server.url, transport="basic", username=USER, password=PASSWORD, message_encryption="never", proxy=None,
            ca_trust_path=cast(str, None),
        )  # fmt: skip
        shell = client.open_shell()
        with pytest.raises(requests.exceptions.ConnectionError):
            client.run_command(shell, "x")


def test_as_a_program(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    command = [
        sys.executable, "-m", "fixtures.guests.winrm", "fixtures.guests.scripted:Scripted", "--port", "0",
        "--user", USER, "--password", PASSWORD, "--certificate", str(made.certificate), "--key", str(made.key),
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        client = Protocol(
            url, transport="basic", username=USER, password=PASSWORD, ca_trust_path=str(made.certificate), proxy=None
        )
        shell = client.open_shell()
        out, err, code = client.get_command_output(shell, client.run_command(shell, "hostname"))
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0
    assert (out, err, code) == (b"", b"the test's machine does not know this command: hostname\r\n", 1)
