"""Running the host's tools (qemu-img, bicep, shellcheck): bounded in time and output, cancellable, stopped by their own
pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from aibemu.clock import Deadline
from aibemu.errors import AibemuError, Expired, HostNotReady

# Bytes that a tool may print: what it says is held in memory in the end.
MOST_PRINTED = 64 * 1024 * 1024
# Which Debian package brings a program; used in the text of `HostNotReady`.
PACKAGES: Mapping[str, str] = {
    "az": "azure-cli",
    "qemu-img": "qemu-utils",
    "qemu-nbd": "qemu-utils",
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


class ToolEndless(ToolFailed):
    """A host program did not end in its time, or printed without end, and was stopped."""

    def __init__(self, argv: Sequence[str], why: str, output: str) -> None:
        super().__init__(argv, -signal.SIGKILL, output)
        self.message = f"{argv[0]} {why}, and was stopped"
        self.args = (self.message,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a program that ended said, and its exit status."""

    stdout: str
    stderr: str
    status: int = 0


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
    seconds: float | None = None,
) -> Finished:
    """Run a program to its end with no standard input. On cancel or timeout its whole process group is killed.

    seconds: for a program that is only asked something, what it may take for its answer. Raises `HostNotReady` when it
    is not installed, `ToolFailed` when it fails and `check`, `ToolEndless` when it takes too long or prints too much,
    and what `deadline` raises.
    """
    with RunningTool(argv, env=env, cwd=cwd) as tool:
        done = tool.finish(deadline, seconds=seconds)
    if check and done.status != 0:
        raise ToolFailed([str(word) for word in argv], done.status, done.stderr or done.stdout)
    return done


class RunningTool:
    """A program that was started, and given all of its input; leaving it kills what still runs of it."""

    def __init__(
        self, argv: Sequence[str | Path], *, stdin: bytes = b"", env: Mapping[str, str] | None = None,
        cwd: Path | None = None, goes_on: bool = False,
    ) -> None:  # fmt: skip
        """goes_on: its input does not end after `stdin` (4 KiB at most), or it would end, too. Raises `HostNotReady`
        when it is not installed."""
        self.argv = [str(word) for word in argv]
        words = _dying_with_us([find_program(self.argv[0]), *self.argv[1:]])
        with contextlib.ExitStack() as opened:
            # Files, not pipes: whatever it prints or does not read, nobody waits for the other.
            self._out, self._err = (opened.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            given: IO[bytes] | int
            given = opened.enter_context(_pipe_of(stdin)) if goes_on else opened.enter_context(_file_of(stdin))
            self._process = subprocess.Popen(
                words, stdin=given if stdin else subprocess.DEVNULL, stdout=self._out, stderr=self._err, cwd=cwd,
                start_new_session=True, env=None if env is None else dict(env),
            )  # fmt: skip
            self._opened = opened.pop_all()

    def finish(self, deadline: Deadline, *, seconds: float | None = None) -> Finished:
        """Wait for its end. Raises `ToolEndless` and what `deadline` raises."""
        bound = deadline if seconds is None else deadline.within(seconds, scaled=False)
        try:
            bound.poll(self._has_ended, every=0.05)
        except Expired:
            deadline.check()
            raise self._endless(f"did not end within {seconds:g} seconds") from None
        return Finished(stdout=_text(self._out), stderr=_text(self._err), status=self._process.returncode)

    def until(self, enough: Callable[[str], bool], deadline: Deadline, *, seconds: float) -> str:
        """What it has printed when that is `enough`, or when it has ended. Raises as `finish`."""

        def printed() -> str:
            # Not by seek: the program writes where this file is.
            return os.pread(self._out.fileno(), MOST_PRINTED, 0).decode(errors="replace")

        def done() -> bool:
            return self._has_ended() or enough(printed())

        try:
            deadline.within(seconds, scaled=False).poll(done, every=0.05)
        except Expired:
            deadline.check()
            raise self._endless(f"did not answer within {seconds:g} seconds") from None
        return printed()

    def ended(self) -> Finished | None:
        """What it said, if it has ended; it is not waited for."""
        if self._process.poll() is None:
            return None
        return Finished(stdout=_text(self._out), stderr=_text(self._err), status=self._process.returncode)

    def _has_ended(self) -> bool:
        ended = _ended(self._process)
        if sum(os.fstat(file.fileno()).st_size for file in (self._out, self._err)) > MOST_PRINTED:
            raise self._endless(f"printed more than {MOST_PRINTED >> 20} MiB")
        return ended

    def _endless(self, why: str) -> ToolEndless:
        stop_group(self._process)
        return ToolEndless(self.argv, why, os.pread(self._err.fileno(), 4096, 0).decode(errors="replace"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._opened:
            if self._process.returncode is None:
                stop_group(self._process)


def _file_of(stdin: bytes) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever asks closes it
    file.write(stdin)
    file.seek(0)
    return file


@contextlib.contextmanager
def _pipe_of(stdin: bytes) -> Iterator[int]:
    """The end to read from; the other is held open meanwhile. What is written fits into any pipe."""
    reader, writer = os.pipe()
    try:
        os.write(writer, stdin)
        yield reader
    finally:
        os.close(reader)
        os.close(writer)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


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
