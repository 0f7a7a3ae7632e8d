from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, Stream, UploadFailed
from aibemu.errors import Expired, UsageError
from aibemu.systems.linux.boot_id import boot_id
from aibemu.testing.clock import FakeClock
from aibemu.testing.guest import ScriptedCommunicator
from aibemu.testing.script import Script


@pytest.fixture
def deadline() -> Deadline:
    return Deadline(clock=FakeClock())


def guest(*rules: dict[str, Any]) -> ScriptedCommunicator:
    return ScriptedCommunicator(Script.parse(list(rules)))


def lines_of(communicator: Communicator, command: str, deadline: Deadline, stdin: bytes = b"") -> list[tuple[str, str]]:
    said: list[tuple[str, str]] = []
    communicator.run(command, deadline=deadline, on_line=lambda s, line: said.append((s.value, line)), stdin=stdin)
    return said


def test_without_rules_everything_succeeds_silently(deadline: Deadline) -> None:
    communicator = guest()
    assert communicator.run("false", deadline=deadline).code == 0
    assert communicator.output("cat x", deadline=deadline)[1] == ""


def test_the_first_rule_that_matches_wins(deadline: Deadline) -> None:
    communicator = guest(
        {"match": "apt", "exit": 100, "stderr": ["E: no"], "stdout": "Reading\nDone"}, {"match": "apt-get", "exit": 1}
    )
    assert lines_of(communicator, "apt-get update", deadline) == [
        ("stdout", "Reading"),
        ("stdout", "Done"),
        ("stderr", "E: no"),
    ]
    assert communicator.run("apt-get update", deadline=deadline).code == 100


def test_a_rule_sees_the_script_on_standard_input_line_by_line(deadline: Deadline) -> None:
    communicator = guest({"match": "^exit 3$", "exit": 3})
    assert communicator.run("sh /tmp/x", deadline=deadline, stdin=b"echo a\nexit 3\n").code == 3
    assert communicator.run("sh /tmp/x", deadline=deadline, stdin=b"echo exit 3\n").code == 0


def test_a_rule_is_used_up_after_its_times(deadline: Deadline) -> None:
    communicator = guest({"match": "x", "exit": 1, "times": 2})
    assert [communicator.run("x", deadline=deadline).code for _ in range(3)] == [1, 1, 0]


def test_a_rule_may_be_for_one_machine_only(deadline: Deadline) -> None:
    communicator = guest({"match": "x", "machine": "-validate$", "exit": 1})
    assert communicator.run("x", deadline=deadline).code == 0


def test_the_started_marker_comes_first_if_the_command_asks_for_it(deadline: Deadline) -> None:
    command = "cat > /tmp/s && echo AIBEMU-STARTED-0f3a && { /tmp/s; }"
    rule = {"match": "/tmp/s", "stdout": ["hello"]}
    assert lines_of(guest(rule), command, deadline) == [("stdout", "AIBEMU-STARTED-0f3a"), ("stdout", "hello")]
    assert lines_of(guest(rule | {"started": False}), command, deadline) == [("stdout", "hello")]


def test_a_reboot_changes_the_boot_id_and_answers_the_stopping_marker(deadline: Deadline) -> None:
    communicator = guest({"match": "reboot", "reboot": True, "times": 1})
    before = boot_id(communicator, deadline)
    assert boot_id(communicator, deadline) == before
    said = lines_of(communicator, "reboot; echo AIBEMU-STOPPING-1f >&2", deadline)
    assert said == [("stderr", "AIBEMU-STOPPING-1f")]
    assert boot_id(communicator, deadline) != before


def test_a_lost_connection_is_data(deadline: Deadline) -> None:
    communicator = guest({"match": "x", "disconnect": True, "reboot": True, "stdout": ["one"]})
    lines: list[str] = []
    status = communicator.run("x", deadline=deadline, on_line=lambda stream, line: lines.append(line))
    assert (status.code, status.disconnected) == (None, True)
    assert lines == ["one"]
    communicator.reconnect(deadline)


def test_a_machine_that_went_off_answers_nothing(deadline: Deadline) -> None:
    communicator = guest({"match": "poweroff", "poweroff": True, "disconnect": True})
    communicator.run("poweroff", deadline=deadline)
    assert communicator.run("true", deadline=deadline).disconnected
    with pytest.raises(ConnectionError):
        boot_id(communicator, deadline)
    with pytest.raises(UploadFailed) as failed:
        communicator.write(b"", "/x", deadline=deadline)
    assert failed.value.disconnected


def test_a_delay_passes_through_the_deadline() -> None:
    clock = FakeClock()
    communicator = guest({"match": "sleep", "delay": 90})
    communicator.run("sleep 90", deadline=Deadline(clock=clock))
    assert clock.monotonic() == 90
    with pytest.raises(Expired):
        communicator.run("sleep 90", deadline=Deadline(clock=clock).within(30))
    assert clock.monotonic() == 120


def test_uploads_are_recorded_kept_and_may_fail(deadline: Deadline, tmp_path: Path) -> None:
    communicator = guest(
        {"match": "^upload:/root/", "exit": 1, "stderr": ["Permission denied"]},
        {"match": "^upload:/lost", "disconnect": True},
    )
    source = tmp_path / "a.txt"
    source.write_text("content")
    communicator.upload(source, "/tmp/a.txt", deadline=deadline, mode=0o755)
    communicator.download("/tmp/a.txt", tmp_path / "back", deadline=deadline)
    assert (tmp_path / "back").read_text() == "content"
    with pytest.raises(UploadFailed, match="Permission denied"):
        communicator.write(b"x", "/root/x", deadline=deadline)
    with pytest.raises(UploadFailed) as failed:
        communicator.write(b"x", "/lost", deadline=deadline)
    assert failed.value.disconnected
    assert [(entry["op"], entry.get("destination"), entry["exit"]) for entry in communicator.transcript] == [
        ("upload", "/tmp/a.txt", 0),
        ("download", None, 0),
        ("upload", "/root/x", 1),
        ("upload", "/lost", None),
    ]
    assert communicator.transcript[0]["text"] == "content"
    assert communicator.transcript[0]["mode"] == "0755"
    assert "/root/x" not in communicator.files


def test_downloads_come_from_a_rule_or_are_missing(deadline: Deadline, tmp_path: Path) -> None:
    communicator = guest({"match": "^download:/etc/os-release$", "stdout": ["ID=debian"]})
    communicator.download("/etc/os-release", tmp_path / "x", deadline=deadline)
    assert (tmp_path / "x").read_text() == "ID=debian\n"
    with pytest.raises(FileNotFoundError):
        communicator.download("/etc/motd", tmp_path / "y", deadline=deadline)
    assert not (tmp_path / "y").exists()


def test_output_is_standard_output_only(deadline: Deadline) -> None:
    communicator = guest({"match": "x", "stdout": ["a", "b"], "stderr": ["c"]})
    assert communicator.output("x", deadline=deadline)[1] == "a\nb\n"
    assert Stream.STDOUT.value == "stdout"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- {match: '('}", r"rules\[0\].match is no regular expression"),
        ("- {exit: 1}", r"rules\[0\] has no match"),
        ("- {match: a, exitt: 1}", "unknown keys: exitt"),
        ("- {match: a, exit: one}", r"rules\[0\].exit has a wrong value"),
        ("- {match: a, exit: true}", r"rules\[0\].exit has a wrong value"),
        ("- {match: a, reboot: 1}", r"rules\[0\].reboot has a wrong value"),
        ("- {match: a, stdout: 3}", r"rules\[0\].stdout must be a list"),
        ("boot: {fail: fire}", "boot.fail is 'fire'"),
        ("boots: {}", "unknown keys: boots"),
        ("just words", "must be a mapping"),
        ("- [", "cannot be read"),
    ],
)
def test_a_bad_script_is_a_usage_error_that_names_the_place(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "guest.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=says):
        Script.load(file)


def test_an_empty_script_is_one_without_rules(tmp_path: Path) -> None:
    file = tmp_path / "guest.yaml"
    file.write_text("# nothing\n")
    assert list(Script.load(file).rules) == []
