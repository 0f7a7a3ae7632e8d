"""The run's key pair is one that OpenSSH and paramiko accept, and only its owner can read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from aibemu.communicators.ssh.keys import generate
from aibemu.communicators.ssh.transport import load_key


def test_generate(tmp_path: Path) -> None:
    pair = generate(tmp_path / "deep" / "folder")
    assert pair.private.stat().st_mode & 0o777 == 0o600
    assert pair.private.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    kind, blob, comment = pair.public_line.split(" ")
    assert (kind, comment) == ("ssh-ed25519", "aibemu")
    assert load_key(pair.private).get_base64() == blob
    assert (pair.private.parent / "id_ed25519.pub").read_text() == pair.public_line + "\n"


def test_every_run_has_its_own(tmp_path: Path) -> None:
    assert generate(tmp_path / "a").public_line != generate(tmp_path / "b").public_line


def test_slow_libraries_are_not_imported_before_they_are_needed() -> None:
    code = (
        "import sys, aibemu.communicators.ssh.communicator, aibemu.communicators.ssh.wait\n"
        "import aibemu.communicators.ssh.keys, aibemu.artifacts\n"
        "print([name for name in ('paramiko', 'cryptography', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
