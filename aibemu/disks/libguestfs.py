"""Reading files out of a disk image with any file system: one `guestfish` kept open, asked by its standard input.

libguestfs boots a small machine of its own, so that XFS, btrfs and LVM are read by Linux and nothing of the guest runs.
That takes 8 to 20 s without hardware acceleration (facts: guest-platform 4), so there is one launch a disk and every
question goes to it. guestfish ends at the end of its input, and its machine with it: also when aibemu is killed.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from aibemu.clock import Deadline
from aibemu.disks import Unreadable as Unreadable
from aibemu.disks import convert
from aibemu.disks.dialogue import Dialogue, NoAnswer
from aibemu.disks.fstab import is_inside
from aibemu.disks.tree import Missed

PROGRAM = "guestfish"
# Seconds with hardware acceleration; the first launch on a host also builds libguestfs's own machine.
LAUNCH_BOUND, ASK_BOUND = 60.0, 30.0
_CLOSE_BOUND = 3.0
# A file's beginning is enough for a look; libguestfs itself gives no more than 4 MiB at a time.
MOST = 1024 * 1024
NO_SYSTEM = "operating system"  # in what guestfish says when it works and finds none, or several
_NEEDS = "; it needs a kernel that it may read in /boot, or SUPERMIN_KERNEL and SUPERMIN_MODULES"
# Lines of a failed start that say why, the more telling first: supermin makes libguestfs's machine of this host's
# kernel, QEMU runs it, and Linux in it may not come up.
_TELLING = (
    re.compile(r"^(cp: .*)$", re.MULTILINE),
    re.compile(r"^(supermin: (?:error|exception|failed|.*command failed).*)$", re.MULTILINE),
    re.compile(r"^(qemu\S*: .*)$", re.MULTILINE),
    re.compile(r"^.*?(Kernel panic - not syncing: .*)$", re.MULTILINE),
)
_KVM = Path("/dev/kvm")


class LibguestfsFiles:
    """The file systems of a disk, mounted read-only as its own fstab says; for one thread.

    A context manager: leaving it ends guestfish.
    """

    @classmethod
    def open_disk(cls, disk: Path, format: str | None, deadline: Deadline) -> LibguestfsFiles:
        """Launch and mount; format None: by content. Raises `Unreadable`, `HostNotReady`, and what `deadline` does."""
        known = format or convert.info(disk, deadline=deadline).format
        # slowness above 1: no hardware acceleration worth the name, though /dev/kvm may open (facts: host).
        if deadline.slowness <= 1 and os.access(_KVM, os.R_OK | os.W_OK):
            try:
                return cls(disk, known, deadline, tcg=False)
            except Unreadable as error:
                if NO_SYSTEM in str(error):
                    raise
        try:
            return cls(disk, known, deadline, tcg=True)
        except _Ended as error:
            if NO_SYSTEM in str(error):
                raise
            raise Unreadable(_reason(disk, known, deadline) or error.message) from error

    def __init__(self, disk: Path, format: str, deadline: Deadline, *, tcg: bool, debug: bool = False) -> None:
        """debug: have it tell all that it does, on its standard error."""
        words = [PROGRAM, "--ro", f"--format={format}", "--add", str(disk.absolute()), "--inspector"]
        # Filled by whoever opens it: volumes and mounts of the guest that are not looked into.
        self.unread: tuple[Missed, ...] = ()
        self.missed: list[Missed] = []
        self._deadline = deadline
        self._end = f"{secrets.token_hex(16)}\n".encode()  # ends every answer; no file of the guest can hold it
        self._guestfish = Dialogue(words, patience=_CLOSE_BOUND, env=environment(os.environ, tcg=tcg, debug=debug))
        try:
            self._ask(bound=LAUNCH_BOUND)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._guestfish.close()

    def mounted(self) -> dict[str, str]:
        """The guest's mounts, place -> device: what is damaged or encrypted is not among them."""
        lines = self._ask("mountpoints").decode(errors="replace").splitlines()
        return {place: device for device, _, place in (line.partition(": ") for line in lines)}

    def __enter__(self) -> LibguestfsFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, path: str) -> str | None:
        """The text of the file at the absolute `path`, links followed, at most a MiB; None if there is no such file."""
        self._note(path)
        # Asked first: a pipe would never answer.
        return self._ask("pread", quote(path), str(MOST), "0").decode(errors="replace") if self._is_file(path) else None

    def copy(self, path: str, target: Path, *, most: int) -> bool:
        """Write the bytes of the file at `path` to the new file `target`; False if there is no such file, or it has
        more than `most` bytes."""
        size = self._ask("filesize", quote(path)).strip() if self._is_file(path) else b""
        if not size.isdigit() or int(size) > most:
            return False
        self._ask("download", quote(path), quote(str(target.absolute())), bound=LAUNCH_BOUND)
        return target.exists()

    def list(self, path: str) -> list[str] | None:
        """Sorted names in the folder `path`, without . and ..; None if there is no such folder."""
        self._note(path)
        if not self._is_folder(path):
            return None
        return sorted(self._ask("ls0", quote(path), "-").decode(errors="replace").split("\0")[:-1])

    def exists(self, path: str) -> bool:
        """True if there is a file or a folder at `path`, links followed."""
        return self._is_file(path) or self._is_folder(path)

    def _note(self, path: str) -> None:
        """What is below a mount that is not there is not looked at, whatever its folder holds."""
        self.missed += [one for one in self.unread if is_inside(path, one.what)]

    def _is_file(self, path: str) -> bool:
        return self._ask("is-file", quote(path), "followsymlinks:true") == b"true\n"

    def _is_folder(self, path: str) -> bool:
        return self._ask("is-dir", quote(path), "followsymlinks:true") == b"true\n"

    def _ask(self, *words: str, bound: float = ASK_BOUND) -> bytes:
        """The answer to one command; empty when it failed, for then what it asks about is not there."""
        # The leading - has guestfish go on after an error.
        command = f"-{' '.join(words)}\n".encode() if words else b""
        try:
            answer = self._guestfish.ask(
                command + b"-echo " + self._end, lambda heard: heard.endswith(self._end), self._deadline.within(bound)
            )
        except NoAnswer as error:
            if error.hung:
                raise Unreadable(f"it does not answer within {bound * self._deadline.slowness:g} s") from error
            raise _Ended(_why(error), error.last) from error
        return bytes(answer.removesuffix(self._end))


class _Ended(Unreadable):
    """guestfish ended. said: the end of what it complained of."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


def _reason(disk: Path, format: str, deadline: Deadline) -> str:
    """Why guestfish does not start, "" if it does not say. By itself it only says that some program failed: what that
    said comes out with LIBGUESTFS_DEBUG."""
    try:
        LibguestfsFiles(disk, format, deadline, tcg=True, debug=True).close()
    except _Ended as error:
        for telling in _TELLING:
            if found := telling.findall(error.said):
                return f"{found[-1]}{_NEEDS if 'upermin' in error.said else ''}"
    except Unreadable:
        pass
    return ""


def _why(error: NoAnswer) -> str:
    """What guestfish said first; the rest is advice for its own users."""
    first = (error.said or error.why).splitlines()[0].rpartition("error: ")[2].removeprefix(f"{PROGRAM}: ")
    return first + _NEEDS if "supermin" in first else first


def environment(known: Mapping[str, str], *, tcg: bool, debug: bool = False) -> dict[str, str]:
    """`known` and what guestfish needs; what is set already stays, e.g. SUPERMIN_KERNEL where /boot has no kernel."""
    wanted = {"LIBGUESTFS_BACKEND": "direct"}  # else by libvirt, where that is installed
    if tcg:
        wanted["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
    return wanted | dict(known) | {"LC_ALL": "C"} | ({"LIBGUESTFS_DEBUG": "1"} if debug else {})


def quote(path: str) -> str:
    """`path` as one word of guestfish's own language, whatever characters it has."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'
