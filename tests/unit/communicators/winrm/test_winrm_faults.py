"""What may go wrong between aibemu and a guest's WinRM: each ends in bounded time, with one clear word, and no command
is ever started twice."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.clock import CancelToken, SystemClock
from aibemu.communicators import Access, LoginHopeless, Refusal, Stream, UploadFailed
from aibemu.communicators.factory import Watch
from aibemu.communicators.winrm.communicator import LONGEST_COMMAND, WinrmCommunicator
from aibemu.communicators.winrm.connector import WinrmConnector
from aibemu.communicators.winrm.trouble import CommandTooLong, WinrmFailed
from aibemu.errors import BuildCancelled, Expired, ProvisionFailed
from fixtures.guests.scripted import Call
from fixtures.guests.winrm import faults
from fixtures.guests.winrm.failures import Failure
from fixtures.guests.winrm.server import WinrmServer
from fixtures.guests.winrm.settings import Settings
from tests.winrm_guests import BRISK, Speaking, connected, serving, soon, with_password

# Far more seconds than any of the bounds of BRISK, on a busy host too.
LONG = 10.0


@pytest.fixture
def machine() -> Speaking:
    return Speaking()


@pytest.fixture
def place(tmp_path: Path, machine: Speaking) -> Iterator[tuple[WinrmServer, Access]]:
    with serving(tmp_path, machine, Settings(negotiate=False)) as served:
        yield served


@pytest.fixture
def server(place: tuple[WinrmServer, Access]) -> WinrmServer:
    return place[0]


@pytest.fixture
def access(place: tuple[WinrmServer, Access]) -> Access:
    return place[1]


@pytest.fixture
def guest(access: Access) -> Iterator[WinrmCommunicator]:
    made = connected(access)
    yield made
    made.close()


def begun(server: WinrmServer, command: str) -> int:
    """How often a command was sent."""
    return sum(seen.operation == "Command" and seen.command == command for seen in server.seen)


def receives(server: WinrmServer) -> int:
    """How often output was asked for."""
    return sum(seen.operation == "Receive" for seen in server.seen)


def all_closed(server: WinrmServer) -> bool:
    """Whether no shell is left, soon: on a busy host the end of one that is given up goes on beside the caller."""
    soon(3 * LONG).poll(lambda: not server.open_shells)
    return True


def meanwhile(server: WinrmServer, machine: Speaking, act: Callable[[], None]) -> threading.Thread:
    """Do it once a command's output was fetched for the first time."""

    def wait() -> None:
        server.wait_for("Receive")
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


class Timed:
    """Fails when what is inside takes long."""

    def __enter__(self) -> None:
        self.began = SystemClock().monotonic()

    def __exit__(self, *_: object) -> None:
        assert SystemClock().monotonic() - self.began < LONG


# Connections that break


def test_output_is_asked_for_again_after_a_reset(server: WinrmServer, guest: WinrmCommunicator) -> None:
    server.inject(Failure(kind="reset", operation="Receive", times=3))
    lines: list[str] = []
    status = guest.run("say x", deadline=soon(), on_line=lambda _, line: lines.append(line))
    assert (status.code, lines) == (0, ["x"])
    assert begun(server, "say x") == 1 and not server.pending and all_closed(server)


def test_an_end_that_was_lost_with_the_connection_is_a_lost_connection(
    server: WinrmServer, guest: WinrmCommunicator
) -> None:
    server.inject(Failure(kind="reset", operation="Receive", after=True))
    with Timed():
        status = guest.run("say x", deadline=soon())
    assert status.disconnected and status.code is None and begun(server, "say x") == 1
    assert guest.run("say y", deadline=soon()).ok


@pytest.mark.parametrize("after", [False, True])
def test_a_command_of_which_nobody_knows_whether_it_runs_is_not_sent_again(
    server: WinrmServer, guest: WinrmCommunicator, after: bool
) -> None:
    server.inject(Failure(kind="reset", operation="Command", after=after))
    with Timed():
        assert guest.run("say x", deadline=soon()).disconnected
    assert begun(server, "say x") == 1
    assert guest.run("say x", deadline=soon()).ok


def test_a_reset_before_a_command_was_sent_costs_a_new_connection(
    server: WinrmServer, guest: WinrmCommunicator
) -> None:
    server.inject(Failure(kind="reset", operation="Create"))
    assert guest.run("say x", deadline=soon()).ok and begun(server, "say x") == 1


@pytest.mark.parametrize("operation", ["Signal", "Delete", "Send"])
def test_a_reset_of_what_is_not_the_commands_end_changes_nothing(
    server: WinrmServer, guest: WinrmCommunicator, operation: str
) -> None:
    server.inject(Failure(kind="reset", operation=operation))
    assert guest.run("fail 7", deadline=soon()).code == 7 and begun(server, "fail 7") == 1


def test_a_server_that_is_gone_for_long_is_a_lost_connection(
    server: WinrmServer, machine: Speaking, guest: WinrmCommunicator
) -> None:
    """Two minutes with a bound of two minutes, in the seconds of this test."""
    thread = meanwhile(server, machine, server.close_port)
    with Timed():
        assert guest.run("hang", deadline=soon()).disconnected
    thread.join()
    server.open_port()
    assert guest.run("say x", deadline=soon()).ok and begun(server, "hang") == 1


def test_a_server_that_is_soon_back_with_its_shells_is_asked_on(
    server: WinrmServer, machine: Speaking, guest: WinrmCommunicator
) -> None:
    over = threading.Event()

    def work(call: Call) -> int:
        call.print("working\r\n")
        assert over.wait(20)
        return 3

    machine.on("work", play=work)

    def blink() -> None:
        server.close_port()
        asked = receives(server)
        server.open_port()
        # What waited on the old connection must have given up, or it would get what the new one asks for.
        server.wait_for("Receive", asked + 4)
        over.set()

    thread = meanwhile(server, machine, blink)
    assert guest.run("work", deadline=soon()).code == 3 and begun(server, "work") == 1
    thread.join()


def test_a_server_that_is_soon_back_without_its_shells_has_restarted(
    server: WinrmServer, machine: Speaking, guest: WinrmCommunicator
) -> None:
    thread = meanwhile(server, machine, lambda: server.power("restart", 0.1))
    with Timed():
        assert guest.run("hang", deadline=soon()).disconnected
    thread.join()
    assert guest.run("say x", deadline=soon()).ok and begun(server, "hang") == 1


def test_a_lost_shell_is_a_lost_connection(server: WinrmServer, machine: Speaking, guest: WinrmCommunicator) -> None:
    thread = meanwhile(server, machine, server.lose_shells)
    with Timed():
        assert guest.run("hang", deadline=soon()).disconnected
    thread.join()


def test_a_black_hole_is_a_lost_connection_and_is_told_of(
    server: WinrmServer, machine: Speaking, access: Access
) -> None:
    told: list[tuple[float, str]] = []
    guest = connected(access, Watch(on_silence=lambda seconds, why: told.append((seconds, why))))
    thread = meanwhile(server, machine, server.silence)
    with Timed():
        assert guest.run("hang", deadline=soon()).disconnected
    thread.join()
    assert (0.0, "") in told and any(seconds > BRISK.operation and "does not answer" in why for seconds, why in told)
    server.speak()
    assert guest.run("say x", deadline=soon()).ok and begun(server, "hang") == 1


def test_a_machine_that_was_reset_drops_its_connection_at_once(
    server: WinrmServer, machine: Speaking, access: Access
) -> None:
    resets: list[str] = []
    guest = connected(access, Watch(generation=lambda: len(resets)), replace(BRISK, operation=300, give_up=300))
    thread = meanwhile(server, machine, lambda: resets.append("reset"))
    with Timed():
        assert guest.run("hang", deadline=soon(60)).disconnected
    thread.join()
    assert guest.run("say x", deadline=soon()).ok


def test_a_dead_machine_ends_a_command_and_then_the_wait(
    server: WinrmServer, machine: Speaking, access: Access
) -> None:
    dead: list[str] = []

    def alive() -> None:
        if dead:
            raise ProvisionFailed("the machine is off")

    guest = connected(access, Watch(alive=alive))
    thread = meanwhile(server, machine, lambda: dead.append("off"))
    with Timed():
        assert guest.run("hang", deadline=soon()).disconnected
    thread.join()
    with pytest.raises(ProvisionFailed, match="the machine is off"):
        guest.run("say x", deadline=soon())


# Answers that are none


def test_silence_of_a_command_is_not_its_end(server: WinrmServer, machine: Speaking, guest: WinrmCommunicator) -> None:
    """Several times the server says that there is nothing to say yet."""

    def ponder(call: Call) -> int:
        assert not call.stopped.wait(2.5 * BRISK.operation)
        call.print("42\r\n")
        return 0

    machine.on("ponder", play=ponder)
    lines: list[str] = []
    assert guest.run("ponder", deadline=soon(), on_line=lambda _, line: lines.append(line)).ok
    assert lines == ["42"] and sum(seen.operation == "Receive" for seen in server.seen) >= 3


@pytest.mark.parametrize("operation", ["Create", "Command", "Receive", "Signal"])
def test_a_slow_answer_is_waited_for(server: WinrmServer, guest: WinrmCommunicator, operation: str) -> None:
    server.inject(Failure(kind="slow", operation=operation, seconds=1.0))
    assert guest.run("fail 5", deadline=soon()).code == 5 and begun(server, "fail 5") == 1


@pytest.mark.parametrize("operation", ["Create", "Command", "Receive"])
def test_a_service_that_is_unavailable_for_a_moment_is_asked_again(
    server: WinrmServer, guest: WinrmCommunicator, operation: str
) -> None:
    server.inject(Failure(kind="unavailable", operation=operation))
    assert guest.run("fail 5", deadline=soon()).code == 5


def test_a_service_that_stays_unavailable_says_so(server: WinrmServer, guest: WinrmCommunicator) -> None:
    server.inject(Failure(kind="unavailable", times=10_000))
    with Timed(), pytest.raises(Expired):
        guest.run("say x", deadline=soon(2))
    with pytest.raises(Expired, match=r"WinRM is not ready: its WinRM service is not ready \(HTTP status 503\)"):
        guest.reconnect(soon(1))
    assert begun(server, "say x") == 0


def test_aborted_operations_are_asked_for_again(server: WinrmServer, guest: WinrmCommunicator) -> None:
    server.inject(Failure(kind="fault", operation="Receive", fault=faults.aborted()))
    assert guest.run("fail 5", deadline=soon()).code == 5 and begun(server, "fail 5") == 1


@pytest.mark.parametrize("operation", ["Create", "Command", "Receive"])
def test_another_fault_is_told_in_its_words(server: WinrmServer, guest: WinrmCommunicator, operation: str) -> None:
    server.inject(Failure(kind="fault", operation=operation, fault=faults.not_well_formed()))
    with Timed(), pytest.raises(WinrmFailed, match=r"refused a command: .*does not match.*fault 2150858766"):
        guest.run("say x", deadline=soon())
    assert begun(server, "say x") <= 1 and all_closed(server)


# Logins


def test_credentials_that_are_refused_later_end_as_the_engine_says(server: WinrmServer, access: Access) -> None:
    refusals: list[Refusal] = []

    def refused(refusal: Refusal) -> None:
        refusals.append(refusal)
        if refusal.count == 2:
            raise ProvisionFailed(f"nobody can log in: {refusal.answer}")

    guest = connected(access, Watch(on_refused=refused))
    server.inject(Failure(kind="unauthorized", times=10_000))
    with Timed(), pytest.raises(ProvisionFailed, match="nobody can log in: the guest refused the login of packer"):
        guest.run("say x", deadline=soon())
    assert [refusal.count for refusal in refusals] == [1, 2] and begun(server, "say x") == 0


def test_a_login_that_is_refused_while_a_command_runs_is_a_lost_connection(
    server: WinrmServer, guest: WinrmCommunicator
) -> None:
    server.inject(Failure(kind="unauthorized", operation="Receive"))
    with Timed():
        assert guest.run("say x", deadline=soon()).disconnected
    assert begun(server, "say x") == 1


@pytest.mark.parametrize("negotiate", [False, True])
def test_a_wrong_password_is_refused(tmp_path: Path, negotiate: bool) -> None:
    with serving(tmp_path, settings=Settings(basic=not negotiate, negotiate=negotiate)) as (_, access):
        told: list[Refusal] = []
        wrong = with_password(access, tmp_path / "other", "swordfish")
        guest = WinrmCommunicator(wrong, Watch(on_refused=told.append), BRISK)
        with pytest.raises(Expired, match="refused the login of packer: HTTP status 401"):
            guest.reconnect(soon(3))
        assert told and told[0].count == 1 and not told[0].for_now


def test_another_certificate_is_hopeless_and_gets_no_password(tmp_path: Path) -> None:
    with serving(tmp_path) as (server, access):
        wrong = replace(access, credentials=replace(access.credentials, certificate="0" * 64))
        with Timed(), pytest.raises(LoginHopeless, match="another certificate") as error:
            WinrmConnector().connect(wrong, deadline=soon(), watch=Watch())
        assert access.credentials.certificate in error.value.details[1]
        assert not any(seen.user for seen in server.seen)


def test_a_server_that_takes_neither_ntlm_nor_basic_is_hopeless(tmp_path: Path) -> None:
    with (
        serving(tmp_path, settings=Settings(basic=False, negotiate=False)) as (_, access),
        pytest.raises(LoginHopeless, match="neither NTLM nor Basic"),
    ):
        WinrmConnector().connect(access, deadline=soon(), watch=Watch())


def test_the_environment_of_this_process_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, access: Access
) -> None:
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "empty.pem"))
    guest = connected(access)
    assert guest.run("say x", deadline=soon()).ok
    guest.close()


# Limits


def test_a_full_server_is_asked_again(server: WinrmServer, guest: WinrmCommunicator) -> None:
    server.inject(Failure(kind="fault", operation="Create", times=3, fault=faults.too_many_shells(30)))
    server.inject(Failure(kind="fault", operation="Command", times=3, fault=faults.too_many_operations(1500)))
    assert guest.run("fail 4", deadline=soon()).code == 4 and not server.pending


@pytest.mark.parametrize(
    ("operation", "fault"), [("Create", faults.too_many_shells(30)), ("Command", faults.too_many_operations(1500))]
)
def test_a_server_that_stays_full_is_told_in_its_words(
    server: WinrmServer, guest: WinrmCommunicator, operation: str, fault: faults.Fault
) -> None:
    server.inject(Failure(kind="fault", operation=operation, times=10_000, fault=fault))
    with Timed(), pytest.raises(WinrmFailed, match=r"no room for another command: .*maximum number of .* concurrent"):
        guest.run("say x", deadline=soon())
    assert all_closed(server)


def test_forty_commands_need_no_more_than_one_shell_at_a_time(tmp_path: Path) -> None:
    with serving(tmp_path, settings=Settings(negotiate=False, max_shells_per_user=1)) as (server, access):
        guest = connected(access)
        for number in range(40):
            assert guest.run(f"fail {number}", deadline=soon()).code == number
        guest.close()
        assert all_closed(server)


def test_a_long_command_is_refused_before_it_is_sent(server: WinrmServer, guest: WinrmCommunicator) -> None:
    fits = "say " + "x" * (LONGEST_COMMAND - 4)
    assert guest.run(fits, deadline=soon()).ok
    asked = len(server.seen)
    with pytest.raises(CommandTooLong, match="8192 characters; Windows runs 8191"):
        guest.run(fits + "x", deadline=soon())
    with pytest.raises(CommandTooLong):
        guest.run("say " + "\U0001f600" * 4096, deadline=soon())
    assert len(server.seen) == asked


@pytest.mark.parametrize("character", ["\0", "\x1b", "\ud83d", "\ufffe"])
def test_a_character_that_xml_cannot_hold_is_named(guest: WinrmCommunicator, character: str) -> None:
    with pytest.raises(WinrmFailed, match=rf"U\+{ord(character):04X}"):
        guest.run(f"say {character}", deadline=soon())


def test_input_comes_in_pieces_that_the_server_takes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 2000
    with serving(tmp_path, settings=Settings(negotiate=False, max_envelope_kb=150)) as (_, access):
        guest = connected(access)
        guest.write(content, str(tmp_path / "there"), deadline=soon())
        assert (tmp_path / "there").read_bytes() == content
        guest.close()


def test_exit_codes_have_32_bits(machine: Speaking, guest: WinrmCommunicator) -> None:
    for code in (3010, 3221225477, -1):
        machine.on(f"end {code}", exit_code=code)
        assert guest.run(f"end {code}", deadline=soon()).code == code & 0xFFFFFFFF


# Giving up


@pytest.mark.parametrize("command", ["hang", "flood"])
def test_a_cancelled_command_is_ended_in_the_guest(
    server: WinrmServer, machine: Speaking, guest: WinrmCommunicator, command: str
) -> None:
    cancel = CancelToken()
    thread = meanwhile(server, machine, lambda: cancel.cancel("enough"))
    with Timed(), pytest.raises(BuildCancelled, match="enough"):
        guest.run(command, deadline=soon(60, cancel))
    thread.join()
    assert machine.calls[-1].stopped.wait(3 * LONG) and all_closed(server)
    assert guest.run("say x", deadline=soon()).ok


def test_a_cancel_is_obeyed_in_a_black_hole(server: WinrmServer, machine: Speaking, access: Access) -> None:
    guest = connected(access, pace=replace(BRISK, operation=300, give_up=300))
    cancel = CancelToken()

    def vanish() -> None:
        server.silence()
        cancel.cancel("enough")

    thread = meanwhile(server, machine, vanish)
    with Timed(), pytest.raises(BuildCancelled, match="enough"):
        guest.run("hang", deadline=soon(60, cancel))
    thread.join()
    with Timed(), pytest.raises(Expired, match=r"does not answer|nothing answered"):
        guest.reconnect(soon(1))
    server.speak()


def test_a_cancel_while_a_shell_is_made_leaves_none(server: WinrmServer, guest: WinrmCommunicator) -> None:
    cancel = CancelToken()
    server.inject(Failure(kind="slow", operation="Create", seconds=1.0))
    threading.Timer(0.3, cancel.cancel, ["enough"]).start()
    with Timed(), pytest.raises(BuildCancelled, match="enough"):
        guest.run("hang", deadline=soon(60, cancel))
    assert all_closed(server) and begun(server, "hang") == 0


def test_what_a_sink_raises_ends_the_command(server: WinrmServer, guest: WinrmCommunicator) -> None:
    def full(stream: Stream, data: bytes) -> None:
        raise OSError("the disk is full")

    with Timed(), pytest.raises(OSError, match="the disk is full"):
        guest.exchange("flood", stdin=(), sink=full, deadline=soon())
    assert all_closed(server)


# Files


def test_a_folder_that_is_not_there_is_told_in_the_guests_words(guest: WinrmCommunicator, tmp_path: Path) -> None:
    with pytest.raises(UploadFailed, match="Could not find a part of the path") as error:
        guest.write(b"x", str(tmp_path / "no" / "x"), deadline=soon())
    assert not error.value.disconnected


def test_an_upload_into_a_lost_shell_is_a_lost_connection(
    server: WinrmServer, guest: WinrmCommunicator, tmp_path: Path
) -> None:
    server.inject(Failure(kind="fault", operation="Receive", fault=faults.no_shell("X")))
    with Timed(), pytest.raises(UploadFailed) as error:
        guest.write(b"x", str(tmp_path / "x"), deadline=soon())
    assert error.value.disconnected


def test_a_file_that_is_another_in_the_guest_is_told(
    machine: Speaking, guest: WinrmCommunicator, tmp_path: Path
) -> None:
    machine.on(re.compile("Create"), stdout="00-11\r\n")
    with pytest.raises(UploadFailed, match="is damaged: its SHA-256 in the guest is 0011"):
        guest.write(b"x", str(tmp_path / "x"), deadline=soon())
    machine.on(re.compile("Exists"), stdout="aGFsZg==\r\n")
    with pytest.raises(UploadFailed, match="another SHA-256"):
        guest.download(str(tmp_path / "x"), tmp_path / "back", deadline=soon())
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("error", [ValueError("closed"), KeyError("x"), OSError("gone"), ProvisionFailed("no")])
def test_input_that_fails_here_ends_the_command_with_its_reason(guest: WinrmCommunicator, error: Exception) -> None:
    """Whatever it is: a command whose input has no end would wait for ever."""

    def blocks() -> Iterator[bytes]:
        yield b"first"
        raise error

    with Timed(), pytest.raises(type(error)):
        guest.exchange("echo", stdin=blocks(), sink=lambda stream, data: None, deadline=soon())
