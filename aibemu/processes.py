"""Running the host's tools (qemu-img, mmdebstrap, debugfs): bounded, cancellable, stopped by their own pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.errors import AibemuError, HostNotReady

# Which Debian package brings a program; used in the text of `HostNotReady`.
PACKAGES: Mapping[str, str] = {
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "debugfs": "e2fsprogs",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "newuidmap": "uidmap",
    "guestfish": "libguestfs-tools",
    "sfdisk": "fdisk",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
}
# Runs its arguments if it is still the child of the process that it is told.
_IF_CHILD_OF = 'test "$PPID" = "$0" && exec "$@"'


class ToolFailed(AibemuError):
    """A host program ended with a non-zero status; `details` holds the end of what it said."""

    code = "TOOL_FAILED"
    category = "HOST"
    exit_code = 1

    def __init__(self, argv: Sequence[str], status: int, output: str) -> None:
        tail = output.strip().splitlines()[-12:]
        super().__init__(f"{argv[0]} failed with exit status {status}", details=[" ".join(argv), *tail])
        self.status = status
        self.output = output


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a program that ended well said."""

    stdout: str
    stderr: str


def find_program(name: str) -> str:
    """The path of `name` on PATH or in the sbin directories; `HostNotReady` naming the package if it is missing."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])
    if found := shutil.which(name, path=path):
        return found
    package = PACKAGES.get(name, name)
    raise HostNotReady(
        f"the program {name} is not installed",
        hint=f"install it: apt-get install {package}",
        commands=[f"sudo apt-get install --yes {package}"],
    )


def run_tool(
    argv: Sequence[str | Path],
    *,
    deadline: Deadline,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
) -> Finished:
    """Run a program to its end with no standard input. On cancel or timeout its whole process group is killed.

    Raises `HostNotReady` when it is not installed, `ToolFailed` when it fails and `check`, and what `deadline` raises.
    """
    words = _dying_with_us([find_program(str(argv[0])), *(str(word) for word in argv[1:])])
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, start_new_session=True,
            env=None if env is None else dict(env),
        )  # fmt: skip
        try:
            deadline.poll(lambda: _ended(process), every=0.05)
        except BaseException:
            stop_group(process)
            raise
        out.seek(0)
        err.seek(0)
        stdout, stderr = out.read().decode(errors="replace"), err.read().decode(errors="replace")
    if check and process.returncode != 0:
        raise ToolFailed([str(word) for word in argv], process.returncode, stderr or stdout)
    return Finished(stdout=stdout, stderr=stderr)


def _dying_with_us(words: list[str]) -> list[str]:
    """The same command, killed by the kernel when aibemu is: else a qemu-img would go on writing, unseen.

    Through util-linux's setpriv, for prctl in a `preexec_fn` is not safe beside threads. The kernel tells of no death
    that was before setpriv asked for it, so the shell after it looks whose child it is.
    (A variable of the environment whose name is none for a shell, like `a.b`, does not get through it.)
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return words
    return [setpriv, "--pdeathsig", "KILL", "--", "/bin/sh", "-c", _IF_CHILD_OF, str(os.getpid()), *words]


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(0.02)
    except subprocess.TimeoutExpired:
        return False
    return True


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process started with `start_new_session`, and what it started; kill after two seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(2)
            break
        except subprocess.TimeoutExpired:
            continue
    # What it started may not have listened. EPERM: only processes of a user namespace are left, beyond our reach.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
