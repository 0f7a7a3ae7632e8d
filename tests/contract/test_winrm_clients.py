"""The WinRM server for tests, used by clients that none of us wrote: pywinrm and pypsrp, with each login.

Both were made against Windows, and do not forgive what Windows would not do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.guests.scripted import Call, Scripted
from fixtures.guests.winrm import Certificate, WinrmServer, make_certificate
from tests.winrm_clients import PARTIES, PASSWORD, USER, Client, Party, Result


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def machine() -> Iterator[Scripted]:
    made = Scripted()
    yield made
    made.check()


@pytest.fixture(params=PARTIES, ids=str)
def party(request: pytest.FixtureRequest) -> Party:
    assert isinstance(request.param, Party)
    return request.param


@pytest.fixture
def server(party: Party, machine: Scripted, certificate: Certificate) -> Iterator[WinrmServer]:
    tls = certificate if party.scheme == "https" else None
    with WinrmServer(machine, user=USER, password=PASSWORD, certificate=tls) as running:
        yield running


@pytest.fixture
def client(party: Party, server: WinrmServer, certificate: Certificate) -> Client:
    return party.client(server.port, certificate if party.scheme == "https" else None, timeout=1)


def test_streams_and_a_32_bit_exit_code(client: Client, machine: Scripted, server: WinrmServer, party: Party) -> None:
    machine.on("tool.exe one two", stdout="out\r\n", stderr="err\r\n", exit_code=-1073741819)
    client.open()
    assert client.run("tool.exe", "one", "two") == Result(stdout=b"out\r\n", stderr=b"err\r\n", exit_code=3221225477)
    assert server.open_shells == 1
    client.close()
    assert server.open_shells == 0
    assert {seen.encrypted for seen in server.seen} == {party.scheme == "http"}
    assert {seen.user for seen in server.seen} == {USER}


def test_what_a_shell_is_given(client: Client, machine: Scripted) -> None:
    variables = {"ONE": 'it\'s $5 "q" <&>', "Zwei": "ä"}
    machine.on("set", stdout="ä€\r\n")
    client.open(environment=variables, directory=r"C:\Windows", code_page=65001)
    assert client.run("set").stdout.decode() == "ä€\r\n"
    [call] = machine.calls
    assert call.what.environment == variables
    assert (call.what.directory, call.what.code_page, call.what.user) == (r"C:\Windows", 65001, USER)
    assert not call.what.skip_cmd_shell


def test_output_that_does_not_fit_into_one_answer(client: Client, machine: Scripted, server: WinrmServer) -> None:
    text = "".join(f"line {number} of many\r\n" for number in range(20000))
    machine.on("many", stdout=text)
    client.open()
    assert client.run("many").stdout.decode() == text
    assert sum(seen.operation == "Receive" for seen in server.seen) > 3


def test_standard_input(client: Client, machine: Scripted) -> None:
    def upper(call: Call) -> int:
        assert call.stdin_ended.wait(10)
        call.print(bytes(call.stdin).upper())
        return 0

    machine.on(re.compile("^more$"), play=upper)
    client.open()
    assert client.run("more", stdin=b"hello\n").stdout == b"HELLO\n"


@pytest.mark.parametrize("party", [party for party in PARTIES if party.login == "basic"], ids=str, indirect=True)
def test_silence_is_longer_than_the_operation_timeout(client: Client, machine: Scripted, server: WinrmServer) -> None:
    def late(call: Call) -> int:
        server.wait_for("Receive", 2)
        call.print("late\r\n")
        return 7

    machine.on("slow", play=late)
    client.open()
    assert client.run("slow") == Result(stdout=b"late\r\n", stderr=b"", exit_code=7)


def test_a_wrong_password(party: Party, server: WinrmServer, certificate: Certificate) -> None:
    tls = certificate if party.scheme == "https" else None
    with pytest.raises(Exception, match=r"(?i)credentials|Failed to authenticate"):
        party.client(server.port, tls, password="wrong").open()
    assert server.seen == []


def test_its_own_certificate_only(tmp_path: Path, machine: Scripted, certificate: Certificate) -> None:
    with (
        WinrmServer(machine, user=USER, password=PASSWORD, certificate=make_certificate(tmp_path)) as server,
        pytest.raises(Exception, match="certificate verify failed"),
    ):
        Party("pywinrm", "basic", "https").client(server.port, certificate).open()
