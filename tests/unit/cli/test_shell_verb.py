"""`aibemu shell`, as far as it goes without a machine; with one it is in tests/contract/test_shell_exec.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aibemu.communicators import Access, Credentials
from aibemu.communicators.ssh.connector import SshConnector


def test_the_command_line_is_the_one_that_a_person_is_told_and_more() -> None:
    who = Credentials(user="packer", key_file=Path("/a b/key"))
    access, ssh = Access(communicator="ssh", host="127.0.0.1", port=40022, credentials=who), SshConnector()
    words = ssh.shell_command(access, "/usr/bin/ssh", terminal=True, entered=Path("/tmp/100%"))
    assert ssh.describe(access).startswith("ssh -i '/a b/key' -p 40022 ")
    assert words[:5] == ["/usr/bin/ssh", "-i", "/a b/key", "-p", "40022"]
    assert {"IdentitiesOnly=yes", "StrictHostKeyChecking=no", "LogLevel=ERROR"} <= set(words)
    assert "LocalCommand=touch /tmp/100%%" in words
    assert words[-2:] == ["-t", "packer@127.0.0.1"]
    words = ssh.shell_command(access, "ssh", terminal=False, entered=Path("x"))
    assert words[-2:] == ["-T", "packer@127.0.0.1"]


def test_without_the_program_ssh(aibemu: Any, make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = make_run(kept=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = aibemu("shell", run.id)
    assert (said.code, said.out) == (4, "")
    assert said.err.splitlines() == [
        "error: the program ssh is not installed", "  hint: install it; aibemu exec does without", "  type next:",
        "    sudo apt-get install --yes openssh-client",
    ]  # fmt: skip


@pytest.fixture
def with_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This host may have none."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)


@pytest.mark.usefixtures("with_ssh")
def test_runs_without_a_machine(aibemu: Any, make_run: Any) -> None:
    assert "there are no runs yet" in aibemu("shell").err
    assert aibemu("shell", "zz").code == 2
    run, _ = make_run(kept=True)
    said = aibemu("shell")
    assert said.code == 2 and f"error: run {run.id} has guests that a script plays" in said.err


def test_a_shell_is_not_json(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    said = aibemu("shell", run.id, "-o", "json")
    assert (said.code, json.loads(said.out)["error"]["code"]) == (2, "USAGE")


@pytest.mark.parametrize("words", [("shell",), ("exec", "true")])
def test_dead_runs_are_swept_before_it_too(aibemu: Any, make_run: Any, words: tuple[str, ...]) -> None:
    """Their machines take memory, and nobody knows what state they are in."""
    run, _ = make_run(ended=None, kept=True)
    assert f"run {run.id} had died: cleaned up machine {run.id}-build" in aibemu(words[0], run.id, *words[1:]).err
    assert not run.machines.is_dir()


@pytest.mark.parametrize("verb", ["shell", "exec", "destroy"])
def test_only_runs_with_machines_complete(make_run: Any, home: Path, verb: str) -> None:
    plain, _ = make_run()
    kept, _ = make_run(kept=True)
    environ = {
        "AIBEMU_HOME": str(home), "_AIBEMU_COMPLETE": "bash_complete", "COMP_WORDS": f"aibemu {verb} ",
        "COMP_CWORD": "2", "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "aibemu"], env=environ, capture_output=True, text=True, check=False)
    assert kept.id in done.stdout and plain.id not in done.stdout
