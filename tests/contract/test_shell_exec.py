"""`shell`, `exec` and `destroy` as processes, in a "machine" that is the host's own sshd.

The run is made up: its record says that the machine listens where the sshd does, and the machine's own record that the
sshd is its QEMU. So the driver finds it running, and destroys it by ending the sshd.
"""

from __future__ import annotations

import json
import os
import pty
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from aibemu.clock import SystemClock
from aibemu.communicators.ssh.keys import generate
from aibemu.events import Kind
from aibemu.hypervisor import Firmware, MachineSpec
from aibemu.paths import Home
from aibemu.process_id import ProcessId
from aibemu.runs.access import Unreachable, connect, find_machine
from aibemu.runs.store import Run, RunStore
from aibemu.telemetry import Telemetry
from aibemu.views.ndjson import NdjsonView
from aibemu_drivers.qemu.machine import QemuMachine
from aibemu_drivers.records import write_record
from tests.contract.test_ssh_sshd import SSHD, UpAfterARefusal, start_sshd, stop

pytestmark = [
    pytest.mark.skipif(
        not Path(SSHD).exists() or shutil.which("ssh-keygen") is None,
        reason="no /usr/sbin/sshd on this host (apt-get install openssh-server)",
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="pidfd"),
]
USER = pwd.getpwuid(os.getuid()).pw_name
TIMEOUT = 60
PROMPTS = (b"$ ", b"# ", b"% ")


@dataclass
class Kept:
    """A run that failed and whose build machine was kept; `guest` is that machine's home."""

    run: Run
    home: Home
    guest: Path
    environ: dict[str, str]
    sshd: subprocess.Popen[bytes]

    def words(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "aibemu", *arguments]

    def __call__(self, *arguments: str, stdin: Any = subprocess.DEVNULL, text: bytes | None = None) -> Said:
        given: dict[str, Any] = {"stdin": stdin} if text is None else {"input": text}
        done = subprocess.run(
            self.words(*arguments), capture_output=True, env=self.environ, timeout=TIMEOUT, check=False, **given
        )
        return Said(done.returncode, done.stdout, done.stderr.decode())

    def exec(self, *arguments: str, **how: Any) -> Said:
        return self("exec", self.run.id, *arguments, **how)


@dataclass
class Said:
    code: int
    out: bytes
    err: str


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    home, guest = Home.at(tmp_path / "home"), tmp_path / "guest"
    guest.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    run, lock = RunStore(home.runs).create()
    pair = generate(run.work / "build")
    (guest / "authorized_keys").write_text(pair.public_line + "\n")
    sshd = start_sshd(guest, port)
    tell_story(run, port, pair.private)
    lock.release()
    make_machine(run, sshd.pid)
    environ = {name: value for name, value in os.environ.items() if name not in {"CI", "FORCE_COLOR"}}
    environ["AIBEMU_HOME"] = str(tmp_path / "home")
    try:
        wait_until(lambda: answers(port))
        yield Kept(run, home, guest, environ, sshd)
    finally:
        stop(sshd)


def tell_story(run: Run, port: int, key: Path) -> None:
    chain = Telemetry(run.id, [NdjsonView(run.events_file)], SystemClock(), lambda value: value)
    machine = f"{run.id}-build"
    chain.emit(Kind.RUN_STARTED, template="demo", file="t.json", driver="qemu", steps=[], validators=[], targets=[])
    chain.emit(
        Kind.MACHINE_STARTED, machine=machine, role="build", cpus=1, memory_mib=1, firmware="bios", disk_bytes=1,
        endpoint=f"127.0.0.1:{port}", user=USER, key=str(key),
    )  # fmt: skip
    chain.emit(Kind.MACHINE_CONNECTED, machine=machine, banner="SSH-2.0-x", seconds=1.0)
    chain.emit(Kind.MACHINE_KEPT, machine=machine, command="ssh ...")
    error = {"code": "CUSTOMIZER_FAILED", "message": "m", "commands": []}
    chain.emit(Kind.RUN_FINISHED, state="Failed", sub_state="Customizing", message="m", seconds=2.0, error=error)
    chain.close()
    run.log("customization.log").write_text("one\n")


def make_machine(run: Run, pid: int) -> None:
    """What the driver finds: a machine whose process is `pid`."""
    directory = (run.machines / "build").resolve()
    directory.mkdir(parents=True)
    spec = MachineSpec(
        id=f"{run.id}-build", owner=run.id, directory=directory, base=Path("/base.qcow2"), base_format="qcow2",
        disk_bytes=1, firmware=Firmware.BIOS, cpus=1, memory_mib=1, uuid=UUID(int=1), mac="00:0d:3a:00:00:01",
    )  # fmt: skip
    process = ProcessId.of(pid)
    assert process is not None
    record = QemuMachine.first_record(spec, directory) | {"booted": True, "process": process.as_json()}
    write_record(directory, record)


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wait_until(done: Callable[[], bool], seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < ends, "it did not come to it"
        time.sleep(0.05)


def test_status_and_streams_are_the_commands_own(kept: Kept) -> None:
    said = kept.exec("--", r"printf 'a \r\n\377 no newline'; echo err >&2; exit 7")
    assert (said.code, said.out, said.err) == (7, b"a \r\n\xff no newline", "err\n")
    assert kept.exec("true").code == 0
    assert kept.exec("kill -TERM $$").code == 128 + signal.SIGTERM


def test_several_words_are_words_and_one_is_for_the_shell(kept: Kept) -> None:
    words = ["a b", "$HOME", "*", "it's", "-o", "json", ""]
    for separator in (["--"], []):
        said = kept.exec(*separator, "printf", "%s|", *words)
        assert said.out.decode() == "".join(f"{word}|" for word in words)
    assert kept.exec("echo $((6 * 7)) | tr 0-9 a-z; echo $HOME").out.decode() == f"ec\n{kept.guest}\n"


def test_standard_input_is_passed_on_when_it_is_a_pipe_or_a_file(kept: Kept, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    assert kept.exec("cat", text=content).out == content
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb") as file:
        assert kept.exec("cat", stdin=file).out == content
    assert kept.exec("cat; echo end").out == b"end\n"
    closed = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *kept.words("exec", kept.run.id, "cat; echo end")], capture_output=True,
        env=kept.environ, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert (closed.returncode, closed.stdout) == (0, b"end\n")


def test_input_that_never_ends_does_not_hold_up_the_end(kept: Kept) -> None:
    words = kept.words("exec", kept.run.id, "read line; echo got $line")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=kept.environ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"hello\n")
        process.stdin.flush()
        assert process.stdout.read() == b"got hello\n"
        assert process.wait(TIMEOUT) == 0


def test_output_comes_as_it_is_made(kept: Kept) -> None:
    words = kept.words("exec", kept.run.id, f"echo first; while [ ! -e {kept.guest}/go ]; do sleep 0.1; done; exit 3")
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=kept.environ
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        (kept.guest / "go").touch()
        assert process.wait(TIMEOUT) == 3


def test_ctrl_c_ends_it(kept: Kept) -> None:
    words = kept.words("exec", kept.run.id, "echo in; sleep 5")
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=kept.environ
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 130
        assert process.stderr.read().strip() == b"interrupted"


def test_whoever_reads_may_leave(kept: Kept) -> None:
    words = ["sh", "-c", '{ "$@"; echo $? >&2; } | head -n 1', "sh", *kept.words("exec", kept.run.id, "yes")]
    done = subprocess.run(
        words, capture_output=True, stdin=subprocess.DEVNULL, env=kept.environ, timeout=TIMEOUT, check=False
    )
    assert (done.stdout, done.stderr) == (b"y\n", b"141\n")


def test_json(kept: Kept) -> None:
    said = kept.exec("--output", "json", "--", "echo out; echo err >&2; exit 4")
    value = json.loads(said.out)
    assert (said.code, said.err) == (4, "")
    assert (value["command"], value["status"]) == ("exec", "success")
    assert value["data"] == {"exitCode": 4, "stdout": "out\n", "stderr": "err\n"}


def test_the_run_is_known_by_the_beginning_of_its_id(kept: Kept) -> None:
    assert kept("exec", kept.run.id[:3], "--role", "build", "--", "echo", "hi").out == b"hi\n"
    said = kept("exec", "zz", "--", "id")
    assert said.code == 2 and "no run 'zz'" in said.err
    said = kept("exec", kept.run.id, "--role", "validate", "--", "id")
    assert said.code == 2 and "--role build" in said.err


def test_a_lost_connection_is_told_from_a_status(kept: Kept) -> None:
    words = kept.words(
        "exec", kept.run.id, f"echo before; while [ ! -e {kept.guest}/go ]; do sleep 0.1; done; kill -9 $PPID; sleep 5"
    )
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=kept.environ
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"before\n"
        (kept.guest / "go").touch()
        out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out) == (255, b"")
    assert f"the connection to the build machine of run {kept.run.id} was lost" in err.decode()
    assert kept.exec("exit 255").err == ""


def test_nothing_listens(kept: Kept) -> None:
    stop(kept.sshd)
    make_other_machine(kept, os.getpid())
    for verb in (("exec",), ("exec", "-o", "json"), ("shell",)):
        said = kept(*verb, kept.run.id, *(["id"] if "exec" in verb else []))
        assert said.code == 255
        assert "cannot be logged in to: nothing listens on 127.0.0.1 port" in said.err + said.out.decode()


def make_other_machine(kept: Kept, pid: int) -> None:
    shutil.rmtree(kept.run.machines)
    make_machine(kept.run, pid)


def test_a_login_that_is_refused(kept: Kept) -> None:
    (kept.guest / "authorized_keys").write_text("")
    said = kept("shell", kept.run.id)
    assert said.code == 255 and "Permission denied" in said.err
    assert f"the build machine of run {kept.run.id} cannot be logged in to" in said.err
    home = Home.discover(kept.environ)
    with pytest.raises(Unreachable, match=f"refused the login of {USER}"):
        connect(find_machine(home, kept.run), clock=UpAfterARefusal(), tell=lambda text: None, on_held=lambda: None)


ssh_client = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh (apt-get install openssh-client)")


@ssh_client
def test_a_shell_without_a_terminal_runs_what_it_is_told(kept: Kept) -> None:
    said = kept("shell", kept.run.id, text=b"echo hi; tty; echo err >&2; exit 9\n")
    assert said.code == 0 and said.err.endswith("err\n")
    assert said.out.endswith(b"hi\nnot a tty\n")
    assert kept("shell", text=b"exit 255\n").code == 0


@ssh_client
def test_a_shell_on_a_terminal(kept: Kept) -> None:
    said = on_a_terminal(kept.words("shell", kept.run.id[:4]), kept.environ, b"tty; echo $((6 * 7)) times; exit 255\n")
    assert said.code == 0
    text = said.out.decode()
    assert f"the build machine of run {kept.run.id}, as {USER}\r\n" in text
    assert "/dev/pts/" in text and "42 times" in text
    assert text.rstrip().endswith(f"it still runs; aibemu destroy {kept.run.id} ends it")


def test_a_guest_cannot_command_a_terminal(kept: Kept) -> None:
    words = kept.words("exec", kept.run.id, r"printf '\033[2Jred\033[31m\n10%%\r20%%\n'; exit 2")
    said = on_a_terminal(words, kept.environ, b"")
    assert (said.code, said.out) == (2, b"red\r\n20%\r\n")


def on_a_terminal(words: list[str], environ: dict[str, str], typed: bytes) -> Said:
    """What comes of `words` on a terminal of its own, on which `typed` is typed once somebody prompts for it."""
    pid, master = pty.fork()
    if pid == 0:
        os.execve(words[0], words, environ)
    heard, ends, waited = b"", time.monotonic() + TIMEOUT, typed
    try:
        while select.select([master], [], [], max(0.0, ends - time.monotonic()))[0]:
            try:
                block = os.read(master, 65536)
            except OSError:  # EIO: the last process that had it open has ended
                break
            if not block:
                break
            heard += block
            if waited and any(prompt in heard for prompt in PROMPTS):
                os.write(master, waited)
                waited = b""
    finally:
        os.close(master)
    return Said(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), heard, "")


def test_destroy_ends_the_machine_and_keeps_what_it_said(kept: Kept) -> None:
    said = kept("destroy", kept.run.id[:4], "--yes")
    assert (said.code, said.out.decode(), said.err) == (0, f"destroyed machine {kept.run.id}-build\n", "")
    assert kept.sshd.wait(5) is not None
    assert not kept.run.machines.exists() and not kept.run.work.exists()
    assert kept("logs", kept.run.id).out == b"one\n"
    assert b"nothing to destroy" in kept("destroy", kept.run.id).out
    said = kept.exec("id")
    assert said.code == 2 and "was kept, and has been destroyed since" in said.err
    assert f"    aibemu resume {kept.run.id}" in said.err.splitlines()
