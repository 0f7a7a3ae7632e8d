"""The host's tools end with whoever called them, however that one ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from aibemu import processes
from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.errors import BuildCancelled, Expired, HostNotReady
from aibemu.processes import RunningTool, ToolEndless, ToolFailed, run_tool

BOUND = 30.0  # seconds, for a busy host; it takes milliseconds


def is_running(marker: str) -> bool:
    """Whether a process with this argument lives (a zombie has no arguments)."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in path.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def wait_until(done: bool, marker: str) -> None:
    ends = time.monotonic() + BOUND
    while is_running(marker) is not done:
        assert time.monotonic() < ends
        time.sleep(0.02)


def wait_for(path: Path) -> None:
    ends = time.monotonic() + BOUND
    while not path.exists():
        assert time.monotonic() < ends
        time.sleep(0.02)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed (util-linux)")
def test_a_tool_dies_with_its_caller(tmp_path: Path) -> None:
    marker = f"4040{os.getpid()}"
    code = (
        "from aibemu.clock import forever\n"
        "from aibemu.processes import run_tool\n"
        f"run_tool(['sleep', '{marker}'], deadline=forever())\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_until(True, marker)  # the caller has it only inside of a longer argument
    finally:
        caller.kill()
        caller.wait()
    wait_until(False, marker)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed (util-linux)")
def test_a_tool_does_not_start_when_its_caller_died_before_the_kernel_was_asked(tmp_path: Path) -> None:
    slow, let_go, ran = (tmp_path / name for name in ("setpriv", "let-go", "ran"))
    slow.write_text(
        f"#!/bin/sh\ntouch {tmp_path}/started\nwhile ! test -e {let_go}; do sleep 0.01; done\n"
        f'exec {shutil.which("setpriv")} "$@"\n'
    )
    slow.chmod(0o755)
    code = (
        "from aibemu.clock import forever\n"
        "from aibemu.processes import run_tool\n"
        f"run_tool(['touch', '{ran}'], deadline=forever())\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    caller = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PATH": path})
    try:
        wait_for(tmp_path / "started")
    finally:
        caller.kill()
        caller.wait()
        let_go.touch()
    wait_until(False, str(ran))
    assert not ran.exists()


def test_a_tool_is_stopped_by_a_cancel_and_by_a_bound() -> None:
    marker = f"4141{os.getpid()}"
    token = CancelToken()
    token.cancel("enough")
    with pytest.raises(BuildCancelled):
        run_tool(["sleep", marker], deadline=Deadline(clock=SystemClock(), cancel=token))
    with pytest.raises(Expired):
        run_tool(["sleep", marker], deadline=forever().within(0.1))
    wait_until(False, marker)


def test_what_a_tool_says_and_how_it_fails() -> None:
    said = run_tool(["sh", "-c", "echo out; echo err >&2"], deadline=forever())
    assert (said.stdout, said.stderr) == ("out\n", "err\n")
    with pytest.raises(ToolFailed) as caught:
        run_tool(["sh", "-c", "echo why >&2; exit 3"], deadline=forever())
    assert (caught.value.status, caught.value.message) == (3, "sh failed with exit status 3")
    assert "why" in caught.value.details
    assert run_tool(["sh", "-c", "echo all the same; exit 3"], deadline=forever(), check=False).stdout
    with pytest.raises(HostNotReady, match="no-such-tool"):
        run_tool(["no-such-tool"], deadline=forever())


def test_what_a_tool_started_goes_too_even_if_it_does_not_listen() -> None:
    marker = f"4242{os.getpid()}"
    token = CancelToken()
    deadline = Deadline(clock=SystemClock(), cancel=token)

    def cancel() -> None:
        wait_until(True, marker)
        token.cancel("stop")

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    script = f"(trap '' TERM; exec sleep {marker}) & trap 'exit 0' TERM; wait"
    with pytest.raises(BuildCancelled):
        run_tool(["sh", "-c", script], deadline=deadline.within(2 * BOUND))
    cancelling.join()
    wait_until(False, marker)


def test_a_tool_that_does_not_answer_in_its_time_is_stopped() -> None:
    marker = f"4343{os.getpid()}"
    with pytest.raises(ToolEndless, match=r"sleep did not end within 0.2 seconds, and was stopped"):
        run_tool(["sleep", marker], deadline=forever(), seconds=0.2)
    wait_until(False, marker)
    with pytest.raises(Expired):  # the caller's own bound is not the tool's fault
        run_tool(["sleep", marker], deadline=forever().within(0.1), seconds=30)


@pytest.mark.parametrize("stream", ["", ">&2"])
def test_a_tool_that_prints_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    monkeypatch.setattr(processes, "MOST_PRINTED", 1 << 20)
    marker = f"4444{os.getpid()}"
    with pytest.raises(ToolEndless, match="sh printed more than 1 MiB, and was stopped"):
        run_tool(["sh", "-c", f"yes {marker} {stream}"], deadline=forever())
    wait_until(False, marker)


def test_a_tool_that_does_not_read_what_it_is_given() -> None:
    with RunningTool(["true"], stdin=bytes(1 << 20)) as tool:
        assert tool.finish(forever()).status == 0
    with RunningTool(["cat"], stdin=b"given") as tool:
        assert tool.finish(forever()).stdout == "given"


def test_a_program_that_answers_and_goes_on() -> None:
    """Its input stays open: what ends with it would end before it has answered."""
    words = ["sh", "-c", "read line; echo answer to $line; cat >&2; echo the end"]
    with RunningTool(words, stdin=b"it\n", goes_on=True) as tool:
        assert tool.until(lambda text: "\n" in text, forever(), seconds=BOUND) == "answer to it\n"
        assert tool.ended() is None
    with RunningTool(["sh", "-c", "echo half"], stdin=b"it\n", goes_on=True) as tool:
        assert tool.until(lambda text: False, forever(), seconds=BOUND) == "half\n"
    with (
        RunningTool(["cat"], stdin=b"it\n", goes_on=True) as tool,
        pytest.raises(ToolEndless, match=r"did not answer within 0\.1 seconds"),
    ):
        tool.until(lambda text: False, forever(), seconds=0.1)
