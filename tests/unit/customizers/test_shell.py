"""The Shell customizer against a real shell on this host: what Packer's provisioner promises to scripts."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import Deadline, forever
from aibemu.communicators import ExitStatus, OnLine, Stream
from aibemu.customizers import StepSettings
from aibemu.customizers.shell import CMD_DISCONNECT, Shell, _Marked, execute_command, inline_script
from aibemu.errors import Span
from aibemu.template.model import StepSpec


class HostShell:
    """Runs commands with this host's `sh`, as sshd runs them with the login shell."""

    def __init__(self) -> None:
        self.lost: ExitStatus | None = None
        self.commands: list[str] = []

    def run(
        self, command: str, *, deadline: Deadline, on_line: OnLine | None = None, stdin: bytes | None = None
    ) -> ExitStatus:
        self.commands.append(command)
        done = subprocess.run(["sh", "-c", command], input=stdin or b"", capture_output=True, check=False)
        for stream, text in ((Stream.STDOUT, done.stdout), (Stream.STDERR, done.stderr)):
            for line in text.decode().splitlines():
                if on_line:
                    on_line(stream, line)
        return self.lost or ExitStatus(code=done.returncode)


class HostGuest:
    """A guest that is this host; `did_reboot` is what the engine would find out after a disconnect."""

    def __init__(self, *, did_reboot: bool = False) -> None:
        self.communicator = HostShell()
        self.deadline = forever()
        self.lines: list[tuple[Stream, str]] = []
        self.did_reboot = did_reboot

    def on_line(self, stream: Stream, line: str) -> None:
        self.lines.append((stream, line))

    def rebooted(self) -> bool:
        return self.did_reboot

    def stdout(self) -> list[str]:
        return [line for stream, line in self.lines if stream is Stream.STDOUT]


def spec(**options: object) -> StepSpec:
    return StepSpec(kind="Shell", index=0, name="", options=options, span=Span(file="t.json", line=1, column=1))


def shell(*inline: str, **settings: object) -> Shell:
    return Shell(spec(inline=list(inline)), StepSettings(rng=random.Random(), **settings))  # type: ignore[arg-type]


@pytest.fixture
def guest() -> Iterator[HostGuest]:
    yield HostGuest()


def test_inline_entries_share_one_process(guest: HostGuest) -> None:
    outcome = shell("x=1", "cd /", 'echo "$x $(pwd)"').apply(guest, [])  # type: ignore[arg-type]
    assert (outcome.exit_code, outcome.error) == (0, None)
    assert guest.stdout() == ["1 /"]


def test_first_failing_line_ends_the_script_with_packers_words(guest: HostGuest) -> None:
    outcome = shell("echo one", "(exit 7)", "echo two").apply(guest, [])  # type: ignore[arg-type]
    assert guest.stdout() == ["one"]
    assert outcome.exit_code == 7
    assert outcome.error == "Script exited with non-zero exit status: 7. Allowed exit codes are: [0]"


def test_environment_is_packers(guest: HostGuest) -> None:
    shell("env | grep ^PACKER_ | sort").apply(guest, [])  # type: ignore[arg-type]
    assert guest.stdout() == ["PACKER_BUILDER_TYPE=azure-arm", "PACKER_BUILD_NAME=azure-arm"]


def test_standard_input_is_at_its_end_and_no_terminal(guest: HostGuest) -> None:
    shell("read line || echo eof", "tty || true").apply(guest, [])  # type: ignore[arg-type]
    assert guest.stdout() == ["eof", "not a tty"]


def test_command_is_the_one_in_the_services_logs() -> None:
    assert execute_command("/tmp/script_9178.sh", sudo=False) == (
        "chmod +x /tmp/script_9178.sh; "
        "PACKER_BUILDER_TYPE='azure-arm' PACKER_BUILD_NAME='azure-arm'  /tmp/script_9178.sh"
    )


def test_script_runs_from_its_remote_path_and_is_removed(guest: HostGuest) -> None:
    step = shell('echo "$0"')
    step.apply(guest, [])  # type: ignore[arg-type]
    assert guest.stdout() == [step.remote]
    assert step.remote.startswith("/tmp/script_")
    assert not Path(step.remote).exists()


def test_script_uri_runs_as_root_through_sudo_unless_switched_off() -> None:
    made = Shell(spec(scriptUri="https://x/y.sh"), StepSettings())
    assert " sudo -E /tmp/script_" in made.describe().command
    plain = Shell(spec(scriptUri="https://x/y.sh"), StepSettings(script_uri_sudo=False))
    assert "sudo" not in plain.describe().command


def test_script_file_keeps_its_shebang_and_loses_carriage_returns(guest: HostGuest, tmp_path: Path) -> None:
    script = tmp_path / "s.sh"
    script.write_bytes(b"#!/bin/sh\r\nfalse\r\necho still here\r\n")
    made = Shell(spec(scriptUri=str(script)), StepSettings(script_uri_sudo=False))
    outcome = made.apply(guest, [script])  # type: ignore[arg-type]
    assert guest.stdout() == ["still here"]
    assert outcome.error is None


def test_own_shebang_in_the_first_inline_entry_is_honoured() -> None:
    assert inline_script(["#!/bin/bash", "echo"]) == b"#!/bin/bash\necho\n"
    assert inline_script(["echo"]) == b"#!/bin/sh -e\necho\n"


def test_marker_never_reaches_the_log(guest: HostGuest) -> None:
    shell("echo out").apply(guest, [])  # type: ignore[arg-type]
    assert guest.lines == [(Stream.STDOUT, "out")]


def test_upload_failure_is_told_from_script_failure() -> None:
    guest = HostGuest()
    step = shell("exit 3")
    step.remote = "/nonexistent-folder/script_1.sh"
    outcome = step.apply(guest, [])  # type: ignore[arg-type]
    assert outcome.exit_code is None
    assert outcome.error is not None
    assert outcome.error.startswith("Error uploading script:")
    assert "/nonexistent-folder" in outcome.error


def test_disconnect_without_reboot_is_packers_error_and_runs_once() -> None:
    guest = HostGuest(did_reboot=False)
    guest.communicator.lost = ExitStatus(code=None, disconnected=True)
    outcome = shell("true").apply(guest, [])  # type: ignore[arg-type]
    assert outcome.exit_code == CMD_DISCONNECT
    assert outcome.error is not None
    assert outcome.error.startswith("Script disconnected unexpectedly.")
    assert len(guest.communicator.commands) == 1


def test_disconnect_with_reboot_counts_as_done_with_a_warning_or_fails_when_strict() -> None:
    guest = HostGuest(did_reboot=True)
    guest.communicator.lost = ExitStatus(code=None, disconnected=True)
    accepted = shell("true").apply(guest, [])  # type: ignore[arg-type]
    assert accepted.error is None
    assert accepted.rebooted
    assert "Script disconnected unexpectedly" in accepted.warnings[0]
    strict = shell("true", reboot_in_shell="fail").apply(guest, [])  # type: ignore[arg-type]
    assert strict.exit_code == CMD_DISCONNECT
    assert len(guest.communicator.commands) == 2


def test_what_the_login_shell_says_first_neither_hides_the_script_nor_is_lost(guest: HostGuest) -> None:
    run = guest.communicator.run

    def chatty(command: str, **how: Any) -> ExitStatus:
        return run(f"echo from the profile; printf no-newline; {command}", **how)

    guest.communicator.run = chatty  # type: ignore[method-assign]
    outcome = shell("echo mine", "exit 3").apply(guest, ())  # type: ignore[arg-type]
    assert outcome.exit_code == 3
    assert guest.stdout() == ["from the profile", "no-newline", "mine"]


class Shown:
    """Takes lines, and what has no end yet."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.unfinished_lines: list[str] = []

    def __call__(self, stream: Stream, line: str) -> None:
        self.lines.append(line)

    def unfinished(self, stream: Stream, text: str) -> None:
        self.unfinished_lines.append(text)


def test_what_the_script_has_not_ended_is_passed_on_and_marks_are_not() -> None:
    shown = Shown()
    marked = _Marked(shown)
    marked.unfinished(Stream.STDOUT, "from a start-up file")
    marked(Stream.STDOUT, marked.started_by)
    marked.unfinished(Stream.STDOUT, "45%")
    marked.unfinished(Stream.STDERR, marked.stopping_by[:9])
    marked.unfinished(Stream.STDERR, "")
    assert shown.unfinished_lines == ["45%", ""] and shown.lines == []
    _Marked(shown.lines.append).unfinished(Stream.STDOUT, "to one who does not want it")  # type: ignore[arg-type]
