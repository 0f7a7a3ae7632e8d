"""The SSH communicator against a real OpenSSH server: the host's own sshd, as the current user, on a loopback port."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.communicators import Credentials, ExitStatus, LoginHopeless, OnLine, Refusal, Stream, UploadFailed
from aibemu.communicators.login_shell import in_sh
from aibemu.communicators.ssh import communicator as communicator_module
from aibemu.communicators.ssh import pulse as pulse_module
from aibemu.communicators.ssh import session as session_module
from aibemu.communicators.ssh.communicator import AFTER_REFUSAL, SshCommunicator
from aibemu.communicators.ssh.keys import generate
from aibemu.communicators.ssh.transport import WINDOW
from aibemu.communicators.ssh.wait import wait_for_banner
from aibemu.customizers import StepSettings
from aibemu.customizers.shell import run_script
from aibemu.errors import BuildCancelled, Expired, HostNotReady, ProvisionFailed
from aibemu.events import Kind, Phase
from aibemu.redact import Redactor
from aibemu.systems.linux.boot_id import boot_id, boot_id_after_login
from aibemu.telemetry import Telemetry
from aibemu.views.customization_log import CustomizationLog
from aibemu.views.ndjson import NdjsonView
from aibemu.views.plain import PlainView
from aibemu.views.stream import releasable

SSHD = "/usr/sbin/sshd"
SETTINGS = StepSettings(rng=random.Random(1))
pytestmark = pytest.mark.skipif(
    not Path(SSHD).exists() or shutil.which("ssh-keygen") is None,
    reason="no /usr/sbin/sshd on this host (apt-get install openssh-server)",
)


@dataclass
class Server:
    """A running sshd; `authorized_keys` may be changed while it runs."""

    port: int
    login: Credentials
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def authorized_keys(self) -> Path:
        return self.folder / "authorized_keys"


def start_sshd(folder: Path, port: int, *settings: str) -> subprocess.Popen[bytes]:
    """An sshd with its own configuration and a fresh host key, listening on 127.0.0.1:`port`. settings: more lines."""
    host_key = folder / "host_key"
    for old in (host_key, folder / "host_key.pub"):
        old.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key)], check=True)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nPermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\nPrintMotd no\n"
        f"SetEnv HOME={folder}\n" + "".join(f"{line}\n" for line in settings)  # so that nobody's own .bashrc has a say
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    log = (folder / "sshd.log").open("ab")
    return subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log, stdin=subprocess.DEVNULL)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(30)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    pair = generate(tmp_path / "key")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    (tmp_path / "authorized_keys").write_text(pair.public_line + "\n")
    login = Credentials(user=pwd.getpwuid(os.getuid()).pw_name, key_file=pair.private)
    server = Server(port=port, login=login, folder=tmp_path, process=start_sshd(tmp_path, port))
    try:
        yield server
    finally:
        stop(server.process)


@pytest.fixture
def ssh(server: Server) -> Iterator[SshCommunicator]:
    communicator = SshCommunicator.connect("127.0.0.1", server.port, server.login, deadline=soon())
    yield communicator
    communicator.close()


def soon(seconds: float = 30, *, cancel: CancelToken | None = None) -> Deadline:
    return Deadline(clock=SystemClock(), cancel=cancel if cancel is not None else CancelToken()).within(seconds)


class UpAfterARefusal(SystemClock):
    """Time is up when somebody pauses for as long as after a refused login, however long that took to come."""

    passed = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.passed

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if seconds < AFTER_REFUSAL[0]:
            return super().wait(event, seconds)
        self.passed = 3600.0
        return event.is_set()


Seen = list[tuple[str, str]]


def lines_of(ssh: SshCommunicator, command: str, stdin: bytes | None = None) -> tuple[ExitStatus, Seen]:
    seen: Seen = []
    status = ssh.run(command, deadline=soon(), stdin=stdin, on_line=lambda stream, line: seen.append((stream, line)))
    return status, seen


def test_banner(server: Server) -> None:
    assert wait_for_banner("127.0.0.1", server.port, deadline=soon(), alive=lambda: None).startswith("SSH-2.0-OpenSSH")


@pytest.mark.parametrize("code", [0, 1, 2, 126, 127, 255])
def test_exit_codes(ssh: SshCommunicator, code: int) -> None:
    assert ssh.run(f"exit {code}", deadline=soon()) == ExitStatus(code=code)


def test_a_signal_is_told_apart_from_a_lost_connection(ssh: SshCommunicator) -> None:
    assert ssh.run("kill -TERM $$", deadline=soon()) == ExitStatus(code=None, signal="TERM")
    assert ssh.run("kill -KILL $$", deadline=soon()) == ExitStatus(code=None, signal="KILL")


# Says something on one stream, and nothing on the other one until sshd has taken it: it looks at both in turn.
TURNS = """
import fcntl, os, stat, struct, termios, time

def say(stream, text):
    os.write(stream, text)
    untaken = termios.TIOCOUTQ if stat.S_ISSOCK(os.fstat(stream).st_mode) else termios.FIONREAD
    while struct.unpack("i", fcntl.ioctl(stream, untaken, bytes(4)))[0]:
        time.sleep(0.01)

for number in range(1, 6):
    say(1, b"out %d\\n" % number)
    say(2, b"err %d\\n" % number)
say(1, b"no newline")
"""


def test_streams_are_separate_and_in_order(ssh: SshCommunicator) -> None:
    _, seen = lines_of(ssh, shlex.join([sys.executable, "-c", TURNS]))
    expected = [pair for i in range(1, 6) for pair in ((Stream.STDOUT, f"out {i}"), (Stream.STDERR, f"err {i}"))]
    assert seen == [*expected, (Stream.STDOUT, "no newline")]


def test_lines_come_while_the_command_runs(ssh: SshCommunicator, tmp_path: Path) -> None:
    seen: list[str] = []

    def go_on(stream: Stream, line: str) -> None:
        seen.append(line)
        (tmp_path / "go").touch()

    assert ssh.run(f"echo first; {until(tmp_path / 'go')}; echo last", deadline=soon(), on_line=go_on).ok
    assert seen == ["first", "last"]


def test_blank_lines_progress_bars_and_trailing_space(ssh: SshCommunicator) -> None:
    _, seen = lines_of(ssh, r"printf 'a  \n\n 10%%\r 50%%\r100%%\r\n'")
    assert [line for _, line in seen] == ["a", "", "100%"]


def test_large_output_on_both_streams(ssh: SshCommunicator) -> None:
    """More than SSH's window takes; few enough lines for a busy machine."""
    out, err = 5 * WINDOW // 4, WINDOW // 8
    size = {Stream.STDOUT: 0, Stream.STDERR: 0}

    def count(stream: Stream, line: str) -> None:
        size[stream] += len(line) + 1

    command = f"yes 0123456789012345678901234567890 | head -c {out} & yes e | head -c {err} >&2; wait"
    assert ssh.run(command, deadline=soon(60), on_line=count).ok
    assert abs(size[Stream.STDOUT] - out) <= 1
    assert size[Stream.STDERR] == err


def test_large_input_that_comes_back_does_not_deadlock(ssh: SshCommunicator) -> None:
    content = b"x" * 99 + b"\n"
    _, seen = lines_of(ssh, "cat", stdin=content * 100_000)
    assert len(seen) == 100_000


def test_a_command_that_ignores_its_input_ends(ssh: SshCommunicator) -> None:
    assert ssh.run("exit 3", deadline=soon(), stdin=b"x" * 30_000_000) == ExitStatus(code=3)
    assert ssh.run("true", deadline=soon()).ok


def test_stdin_is_given_then_ends(ssh: SshCommunicator) -> None:
    assert lines_of(ssh, "cat; echo end")[1] == [(Stream.STDOUT, "end")]
    assert lines_of(ssh, "cat; echo end", stdin=b"a\nb\n")[1] == [(Stream.STDOUT, line) for line in ("a", "b", "end")]


def test_there_is_no_terminal(ssh: SshCommunicator) -> None:
    assert lines_of(ssh, "test -t 0 || test -t 1 || test -t 2 || echo none; tty")[1][0] == (Stream.STDOUT, "none")


def test_a_character_that_comes_in_two_pieces(ssh: SshCommunicator) -> None:
    _, seen = lines_of(ssh, r"printf 'gr\303'; sleep 0.4; printf '\274n \377\n'")
    assert seen == [(Stream.STDOUT, "grün \ufffd")]


def test_output_keeps_bytes_and_streams_apart(ssh: SshCommunicator) -> None:
    status, text = ssh.output("printf 'a\\n b \\n'; echo err >&2; exit 4", deadline=soon())
    assert (status.code, text) == (4, "a\n b \n")


def test_gcm_nodelay_and_one_connection(ssh: SshCommunicator) -> None:
    transport = ssh._transport
    assert transport is not None
    ciphers = [getattr(transport, name) for name in ("local_cipher", "remote_cipher")]
    assert ciphers == ["aes128-gcm@openssh.com"] * 2
    assert isinstance(transport.sock, socket.socket)
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    first = ssh.output("echo $PPID", deadline=soon())[1]
    assert first == ssh.output("echo $PPID", deadline=soon())[1]


def test_upload_sets_content_and_mode(ssh: SshCommunicator, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_001))
    target = tmp_path / "it's a $(target)"
    ssh.upload(source, str(target), deadline=soon(), mode=0o751)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode & 0o7777 == 0o751
    ssh.write(b"short", str(target), deadline=soon(), mode=0o600)
    assert target.read_bytes() == b"short"
    assert target.stat().st_mode & 0o7777 == 0o600
    ssh.write(b"", str(target), deadline=soon())
    assert target.read_bytes() == b""


def test_upload_errors_are_the_guests_words(ssh: SshCommunicator, tmp_path: Path) -> None:
    for destination, reason in (
        (tmp_path / "missing" / "file", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (Path("/proc/version"), "Permission denied|Input/output error"),
        (Path("/dev/full"), "No space left on device"),
    ):
        with pytest.raises(UploadFailed, match=reason) as caught:
            ssh.write(b"x" * 100_000, str(destination), deadline=soon())
        assert not caught.value.disconnected
    assert not (tmp_path / "missing").exists()
    with pytest.raises(UploadFailed, match="not a path"):
        ssh.write(b"x", "", deadline=soon())
    with pytest.raises(FileNotFoundError):  # a missing local file is not the guest's fault
        ssh.upload(tmp_path / "no-source", str(tmp_path / "target"), deadline=soon())


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_upload_without_permission(ssh: SshCommunicator, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(UploadFailed, match="Permission denied"):
        ssh.write(b"x", str(folder / "file"), deadline=soon())


def test_download(ssh: SshCommunicator, tmp_path: Path) -> None:
    source = tmp_path / "in the guest"
    source.write_bytes(os.urandom(3_000_001))
    ssh.download(str(source), tmp_path / "got", deadline=soon())
    assert (tmp_path / "got").read_bytes() == source.read_bytes()
    with pytest.raises(FileNotFoundError) as caught:
        ssh.download(str(tmp_path / "missing"), tmp_path / "got", deadline=soon())
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(UploadFailed, match="Is a directory"):
        ssh.download(str(tmp_path), tmp_path / "got", deadline=soon())
    assert (tmp_path / "got").read_bytes() == source.read_bytes()


def test_boot_id(ssh: SshCommunicator) -> None:
    assert boot_id(ssh, soon()) == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def session_pid(ssh: SshCommunicator) -> int:
    return int(ssh.output("echo $PPID", deadline=soon())[1])


def later(seconds: float, action: object, *arguments: object) -> None:
    timer = threading.Timer(seconds, action, arguments)  # type: ignore[arg-type]
    timer.daemon = True
    timer.start()


def until(path: Path) -> str:
    """A command that ends when there is a file at `path`."""
    return f"while [ ! -e '{path}' ]; do sleep 0.1; done"


# Half a line, and a whole one on the other stream when the half is on its way for sure.
HALF = "printf half; sleep 0.2; echo on its way >&2; sleep 20"


def at_half(seen: list[str], action: Callable[[], object]) -> OnLine:
    """Notes what comes of `HALF`, and calls `action` when the half has come."""

    def on_line(stream: Stream, line: str) -> None:
        if stream is Stream.STDERR:
            action()
        else:
            seen.append(line)

    return on_line


def test_a_killed_session_is_a_disconnect_and_the_next_command_connects_anew(ssh: SshCommunicator) -> None:
    pid = session_pid(ssh)
    seen: list[str] = []
    status = ssh.run(HALF, deadline=soon(), on_line=at_half(seen, lambda: os.kill(pid, signal.SIGKILL)))
    assert status == ExitStatus(code=None, disconnected=True)
    assert seen == ["half"]
    assert session_pid(ssh) != pid


def test_upload_over_a_lost_connection(ssh: SshCommunicator, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    pid = session_pid(ssh)

    def kill_session() -> None:
        with fifo.open("rb"):  # opens when the dd in the "guest" has it open; closed, it lets that end
            os.kill(pid, signal.SIGKILL)

    threading.Thread(target=kill_session, daemon=True).start()
    with pytest.raises(UploadFailed) as caught:
        ssh.write(b"x" * 1_000_000, str(fifo), deadline=soon())  # more than the FIFO takes: dd cannot have ended
    assert caught.value.disconnected


def test_closed_is_closed(ssh: SshCommunicator) -> None:
    ssh.close()
    assert ssh.run("true", deadline=soon()).disconnected
    with pytest.raises(ConnectionError):
        boot_id(ssh, soon())
    ssh.reconnect(soon())
    assert ssh.run("true", deadline=soon()).ok


def test_cancel_and_timeout_end_a_run(ssh: SshCommunicator) -> None:
    token = CancelToken()
    seen: list[str] = []
    start = time.monotonic()
    with pytest.raises(BuildCancelled):  # comes while nothing else does
        ssh.run(HALF, deadline=soon(cancel=token), on_line=at_half(seen, lambda: later(0.3, token.cancel, "stop")))
    assert time.monotonic() - start < 8
    assert seen == ["half"]
    with pytest.raises(Expired):
        ssh.run("sleep 20", deadline=soon(0.2))
    assert ssh.run("exit 5", deadline=soon()).code == 5  # the connection is still good


@pytest.mark.parametrize("stdin", [None, b"x" * 50_000_000], ids=["no-input", "input"])
def test_a_frozen_guest_does_not_hold_up_a_cancel(ssh: SshCommunicator, stdin: bytes | None) -> None:
    pid = session_pid(ssh)
    os.kill(pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        with pytest.raises(Expired):
            ssh.run("cat > /dev/null", deadline=soon(0.5), stdin=stdin)
        assert time.monotonic() - start < 8
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_reset_of_the_machine_ends_a_run_at_once(server: Server) -> None:
    resets: list[int] = []
    ssh = SshCommunicator.connect(
        "127.0.0.1", server.port, server.login, deadline=soon(), generation=lambda: len(resets)
    )
    start = time.monotonic()
    status = ssh.run("echo begun; sleep 20", deadline=soon(), on_line=lambda *_: later(0.3, resets.append, 1))
    assert status == ExitStatus(code=None, disconnected=True)
    assert time.monotonic() - start < 8
    assert ssh.run("true", deadline=soon()).ok  # a new connection
    ssh.close()


def test_a_reset_of_the_machine_ends_a_login_at_once(server: Server) -> None:
    """The server that greets goes down with the machine and never answers; the one of the next boot does."""
    resets: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as front:
        address: tuple[str, int] = front.getsockname()
        threading.Thread(target=goes_down_once, args=(front, server.port, resets), daemon=True).start()
        ssh = SshCommunicator.connect(*address, server.login, deadline=soon(), generation=lambda: len(resets))
    assert resets == [1]
    assert ssh.run("true", deadline=soon()).ok
    ssh.close()


def goes_down_once(front: socket.socket, port: int, resets: list[int]) -> None:
    """Greet the first client, hear it and be silent; hand the next one to the server on `port`."""
    silent, _ = front.accept()
    silent.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    silent.recv(1)
    resets.append(1)
    client, _ = front.accept()
    behind = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=pass_on, args=(behind, client), daemon=True).start()
    pass_on(client, behind)
    silent.close()


def pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_a_dead_machine_ends_a_run_and_refuses_the_next(server: Server) -> None:
    dead: list[int] = []

    def alive() -> None:
        if dead:
            raise ProvisionFailed("kernel panic")

    ssh = SshCommunicator.connect("127.0.0.1", server.port, server.login, deadline=soon(), alive=alive)
    assert ssh.run("echo begun; sleep 20", deadline=soon(), on_line=lambda *_: later(0.3, dead.append, 1)).disconnected
    with pytest.raises(ProvisionFailed, match="kernel panic"):
        ssh.run("true", deadline=soon())
    ssh.close()


def test_a_background_process_holds_the_run(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "HELD_AFTER", 0.3)
    seen: list[str] = []

    def told() -> None:
        seen.append("told")
        (tmp_path / "told").touch()

    ssh = SshCommunicator.connect("127.0.0.1", server.port, server.login, deadline=soon(), on_held=told)
    command = f"({until(tmp_path / 'told')}; sleep 1; echo late) & exit 7"  # long enough to be told a second time
    assert ssh.run(command, deadline=soon(), on_line=lambda _, line: seen.append(line)).code == 7
    assert seen == ["told", "late"]
    with pytest.raises(Expired):
        ssh.run("sleep 20 & exit 0", deadline=soon(0.5))
    ssh.close()


def test_closed_streams_with_a_command_still_running(ssh: SshCommunicator) -> None:
    start = time.process_time()
    assert ssh.run("exec >&- 2>&-; sleep 1; exit 6", deadline=soon()).code == 6
    assert time.process_time() - start < 0.2  # waited, not spun


def test_login_is_tried_until_first_boot_has_made_the_user(server: Server) -> None:
    line = server.authorized_keys.read_text()
    server.authorized_keys.write_text("")
    later(0.6, server.authorized_keys.write_text, line)
    ssh = SshCommunicator.connect("127.0.0.1", server.port, server.login, deadline=soon())
    assert ssh.run("true", deadline=soon()).ok
    ssh.close()


def test_a_login_that_is_never_accepted(server: Server) -> None:
    server.authorized_keys.write_text("")
    with pytest.raises(Expired, match="refused the login"):
        SshCommunicator.connect(
            "127.0.0.1", server.port, server.login, deadline=Deadline(clock=UpAfterARefusal()).within(30)
        )


@pytest.mark.parametrize(
    "setting",
    [
        "KexAlgorithms curve25519-sha256",
        "KexAlgorithms curve25519-sha256@libssh.org",
        "KexAlgorithms diffie-hellman-group16-sha512",
        # No MAC in common: AES-GCM needs none.
        "MACs umac-128-etm@openssh.com",
        # What a system in FIPS mode has, but for its signatures.
        "KexAlgorithms ecdh-sha2-nistp256\nCiphers aes256-ctr\nMACs hmac-sha2-512-etm@openssh.com",
        "DisableForwarding yes\nAllowTcpForwarding no\nPermitOpen none\nPermitTTY no\nPermitUserEnvironment no",
        "MaxStartups 1:100:1\nMaxAuthTries 1\nLoginGraceTime 30\nClientAliveInterval 1\nClientAliveCountMax 0",
    ],
)
def test_a_hardened_server_can_be_logged_in_to(server: Server, setting: str) -> None:
    stop(server.process)
    server.process = start_sshd(server.folder, server.port, setting)
    ssh = SshCommunicator.connect("127.0.0.1", server.port, server.login, deadline=soon())
    assert ssh.run("exit 3", deadline=soon()).code == 3
    ssh.close()


@pytest.mark.parametrize(
    ("settings", "title", "offered"),
    [
        (["KexAlgorithms sntrup761x25519-sha512@openssh.com"], "key exchange method", "sntrup761x25519-sha512"),
        (["Ciphers chacha20-poly1305@openssh.com"], "cipher", "chacha20-poly1305@openssh.com"),
        (["Ciphers aes128-ctr", "MACs umac-64@openssh.com"], "MAC", "umac-64@openssh.com"),
    ],
)
def test_a_server_with_which_nothing_is_in_common_is_told_at_once(
    server: Server, settings: list[str], title: str, offered: str
) -> None:
    stop(server.process)
    server.process = start_sshd(server.folder, server.port, *settings)
    with pytest.raises(LoginHopeless, match=f"have no {title} in common") as caught:
        SshCommunicator.connect("127.0.0.1", server.port, server.login, deadline=soon(600))
    assert offered in caught.value.details[0] and "aibemu knows: " in caught.value.details[1]
    assert settings[-1].split()[0] in str(caught.value.hint)


def restarted(server: Server, *settings: str) -> SshCommunicator:
    """A login to the server with more settings."""
    stop(server.process)
    server.process = start_sshd(server.folder, server.port, *settings)
    return SshCommunicator.connect("127.0.0.1", server.port, server.login, deadline=soon())


def test_one_session_at_a_time_is_enough(server: Server) -> None:
    """The server notices a moment later that the last command's channel is closed, and refuses the next until then."""
    ssh = restarted(server, "MaxSessions 1")
    assert [ssh.run("exit 3", deadline=soon()).code for _ in range(40)] == [3] * 40
    ssh.close()


def test_a_server_that_allows_other_users_says_so_of_this_one(server: Server) -> None:
    stop(server.process)
    server.process = start_sshd(server.folder, server.port, "AllowUsers nobody-else")

    def judge(refusal: Refusal) -> None:
        assert (refusal.count, refusal.for_now) == (1, False)
        raise ProvisionFailed(refusal.answer)

    with pytest.raises(ProvisionFailed, match=f"refused the login of {server.login.user}"):
        SshCommunicator.connect("127.0.0.1", server.port, server.login, deadline=soon(600), on_refused=judge)


class OnHost:
    """The guest of a step, which is the server's host."""

    def __init__(self, communicator: SshCommunicator) -> None:
        self.communicator, self.deadline = communicator, soon(60)
        self.lines: list[str] = []

    def on_line(self, stream: Stream, line: str) -> None:
        self.lines.append(line)

    def rebooted(self) -> bool:
        return False


@pytest.mark.parametrize("shell", ["dash", "bash", "zsh", "fish", "tcsh"])
def test_a_step_ends_as_its_script_does_whatever_the_login_shell_is(server: Server, shell: str) -> None:
    if (program := shutil.which(shell)) is None:
        pytest.skip(f"no {shell} on this host")
    ssh = restarted(server, f'ForceCommand {program} -c "$SSH_ORIGINAL_COMMAND"')
    script = server.folder / "script.sh"
    for code in (0, 3):
        guest = OnHost(ssh)
        text = f"#!/bin/sh\necho $PACKER_BUILD_NAME\nexit {code}\n".encode()
        outcome = run_script(guest, text, remote=str(script), sudo=False, settings=SETTINGS)  # type: ignore[arg-type]
        assert (outcome.exit_code, bool(outcome.error), guest.lines) == (code, bool(code), ["azure-arm"])
        assert not script.exists()
    assert session_pid_by_sh(ssh) == ssh.session(deadline=soon())
    for words in ("echo it\\'s '!' '\\\\n'\nif [ ! -e /no ]; then echo two 2>&1; fi", "x='a b'; echo \"$x\" it\\'s"):
        expected = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=True).stdout.splitlines()
        assert [line for _, line in lines_of(ssh, in_sh(words))[1]] == expected
    ssh.close()


def session_pid_by_sh(ssh: SshCommunicator) -> int:
    return int(ssh.output("exec sh -c 'echo $PPID'", deadline=soon())[1])


def test_a_strict_umask_changes_no_mode_that_is_asked_for(server: Server, tmp_path: Path) -> None:
    ssh = restarted(server, 'ForceCommand umask 0777; sh -c "$SSH_ORIGINAL_COMMAND"')
    ssh.write(b"x", str(tmp_path / "file"), deadline=soon(), mode=0o644)
    assert (tmp_path / "file").stat().st_mode & 0o7777 == 0o644
    guest = OnHost(ssh)
    remote = str(tmp_path / "script.sh")
    run_script(guest, f"#!/bin/sh\nstat -c %a {remote}\n".encode(), remote=remote, sudo=False, settings=SETTINGS)  # type: ignore[arg-type]
    assert guest.lines == ["755"]
    ssh.close()


@pytest.mark.parametrize(("forced", "said"), [("echo no shell for you; exit 1", ("no shell for you",)), ("false", ())])
def test_a_user_that_may_run_nothing_is_told_with_what_the_guest_says(
    server: Server, forced: str, said: tuple[str, ...]
) -> None:
    ssh = restarted(server, f"ForceCommand {forced}")
    with pytest.raises(ProvisionFailed, match="runs none of its commands") as caught:
        boot_id_after_login(ssh, soon())
    assert caught.value.details == said and "login shell" in str(caught.value.hint)
    ssh.close()


def test_who_knows_more_ends_the_wait_for_a_login(server: Server) -> None:
    server.authorized_keys.write_text("")
    heard: list[Refusal] = []

    def judge(refusal: Refusal) -> None:
        heard.append(refusal)
        if refusal.count == 2:
            raise ProvisionFailed("enough")

    with pytest.raises(ProvisionFailed, match="enough"):
        SshCommunicator.connect("127.0.0.1", server.port, server.login, deadline=soon(600), on_refused=judge)
    assert [refusal.count for refusal in heard] == [1, 2]
    assert heard[1].seconds >= AFTER_REFUSAL[0] and not heard[1].for_now
    assert server.login.user in heard[0].answer


def test_a_server_that_wants_more_than_a_key_refuses(server: Server) -> None:
    stop(server.process)
    config = server.folder / "sshd_config"
    text = config.read_text().replace("PasswordAuthentication no\n", "PasswordAuthentication yes\n")
    config.write_text(f"{text}AuthenticationMethods publickey,password\n")
    server.process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL)
    heard: list[Refusal] = []

    def judge(refusal: Refusal) -> None:
        heard.append(refusal)
        raise ProvisionFailed("enough")

    with pytest.raises(ProvisionFailed, match="enough"):
        SshCommunicator.connect("127.0.0.1", server.port, server.login, deadline=soon(600), on_refused=judge)
    assert "it wants more than a key: password" in heard[0].answer


def test_a_line_without_its_end_is_told_while_it_stands(ssh: SshCommunicator, tmp_path: Path) -> None:
    class Hears:
        lines: list[str] = []  # noqa: RUF012 - of this test alone
        shown: list[str] = []  # noqa: RUF012

        def __call__(self, stream: Stream, line: str) -> None:
            self.lines.append(line)

        def unfinished(self, stream: Stream, text: str) -> None:
            self.shown.append(text)
            if text == "50%":
                (tmp_path / "seen").touch()

    hears = Hears()
    command = f"printf '10%%\\r50%%'; {until(tmp_path / 'seen')}; echo"
    assert ssh.run(command, deadline=soon(), on_line=hears).ok  # else the command would not end
    assert hears.lines == ["50%"] and hears.shown[-1] == ""


def test_a_guest_that_answers_no_more_is_told_while_its_command_runs(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse_module, "EVERY", 0.1)
    silences: list[float] = []
    pid = 0

    def hear(seconds: float, why: str) -> None:
        silences.append(seconds)
        if seconds > 1.0 and pid:
            os.kill(pid, signal.SIGCONT)

    ssh = SshCommunicator.connect("127.0.0.1", server.port, server.login, deadline=soon(), on_silence=hear)
    pid = session_pid(ssh)
    silences.clear()
    done = server.folder / "done"
    later(0.3, os.kill, pid, signal.SIGSTOP)
    later(8.0, done.touch)
    assert ssh.run(until(done), deadline=soon()).ok  # it goes on when it is let go on, which takes a silence
    assert max(silences) > 1.0, "a guest that was stopped was not missed"
    assert silences[-1] < 1.0, "a guest that answers again is still missed"
    ssh.close()


def test_a_guest_that_does_not_start_a_command_is_told(server: Server) -> None:
    heard: list[tuple[float, str]] = []
    ssh = SshCommunicator.connect(
        "127.0.0.1", server.port, server.login, deadline=soon(), on_silence=lambda *said: heard.append(said)
    )
    pid = session_pid(ssh)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(Expired):
            ssh.run("true", deadline=soon(1.5))
    finally:
        os.kill(pid, signal.SIGKILL)
    seconds, why = heard[-1]
    assert seconds > 1.0 and why == "it does not start the command"


def test_no_server(server: Server) -> None:
    stop(server.process)
    with pytest.raises(Expired, match="no SSH server answered"):
        SshCommunicator.connect("127.0.0.1", server.port, server.login, deadline=soon(0.5))


def test_a_useless_key_is_said_at_once(server: Server, tmp_path: Path) -> None:
    (tmp_path / "nonsense").write_text("nonsense")
    for path in (tmp_path / "nonsense", tmp_path / "missing"):
        with pytest.raises(HostNotReady, match="private key"):
            SshCommunicator.connect(
                "127.0.0.1", server.port, Credentials(user=server.login.user, key_file=path), deadline=soon()
            )


def test_a_changed_host_key_is_refused_unless_allowed(server: Server, ssh: SshCommunicator) -> None:
    pid = session_pid(ssh)
    stop(server.process)
    os.kill(pid, signal.SIGKILL)
    server.process = start_sshd(server.folder, server.port)
    with pytest.raises(ProvisionFailed, match="host key") as caught:
        ssh.reconnect(soon())
    assert all("SHA256:" in line for line in caught.value.details)
    ssh.accept_new_host_key = True
    ssh.reconnect(soon())
    assert ssh.run("true", deadline=soon()).ok


def test_describe_can_be_typed(ssh: SshCommunicator) -> None:
    command = f"{ssh.describe()} -o LogLevel=ERROR echo hello"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)
    assert done.stdout == "hello\n"


def test_nothing_reaches_standard_error(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    server.authorized_keys.write_text("")
    with pytest.raises(Expired):
        SshCommunicator.connect("127.0.0.1", server.port, server.login, deadline=soon(0.5))
    assert capfd.readouterr() == ("", "")


FLOODS = {
    "lines": "yes",
    "empty-lines": "tr '\\0' '\\n' </dev/zero",
    "one-line": "tr '\\0' x </dev/zero",
    "both-streams": "yes & exec tr '\\0' x </dev/zero >&2",
    # What costs most to look for secrets in.
    "like-tokens": "yes -- -eyJ | tr -d '\\n'",
}


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize("flood", FLOODS)
def test_a_cancel_is_obeyed_while_the_guest_prints_as_fast_as_it_can(
    ssh: SshCommunicator, tmp_path: Path, flood: str, attempt: int
) -> None:
    """Ten of ten. Each line goes the whole way: masked, into record and log, to a reader that does not read."""
    reader, writer = os.pipe()
    cancel, clock = CancelToken(), SystemClock()
    pulled: list[float] = []
    seen = 0

    with (
        os.fdopen(writer, "w", encoding="utf-8") as pipe,
        releasable(pipe) as stream,
        pytest.raises(BuildCancelled, match="enough"),
    ):
        telemetry = Telemetry(
            "r", [NdjsonView(tmp_path / "events.ndjson"), CustomizationLog(tmp_path / "log")], clock,
            Redactor(["hunter2"]), shown=[PlainView(stream)],
        )  # fmt: skip
        with telemetry.phase(Phase.CUSTOMIZE):
            telemetry.emit(Kind.PHASE_STARTED)
            telemetry.emit(Kind.STEP_STARTED, step_kind="Shell", label="flood", index=0, total=1)

            def on_line(stream: Stream, line: str) -> None:
                nonlocal seen
                telemetry.emit(Kind.STEP_OUTPUT, stream=stream.value, line=line)
                seen += len(line) + 300
                if seen > 3_000_000 and not pulled:
                    pulled.append(time.monotonic())
                    cancel.cancel("enough")

            try:
                ssh.run(FLOODS[flood], deadline=soon(120, cancel=cancel), on_line=on_line)
            finally:
                telemetry.close(soon=True)
                ssh.close()
    assert time.monotonic() - pulled[0] < 10
    os.close(reader)


def test_what_the_guest_says_to_a_short_question_is_bounded(
    ssh: SshCommunicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(communicator_module, "MOST_HEARD", 1000)
    status, text = ssh.output("yes | head -c 5000000", deadline=soon())
    assert (status, len(text)) == (ExitStatus(code=0), 1000)
