"""Writing files so that a crash leaves the old or the new one, never half of one; and locks between processes."""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from aibemu.process_id import ProcessId
from aibemu.reading import open_file
from aibemu.records import read_json as read_json  # for plugins, which take it from here

# Temporary names end like this; `aibemu clean` and the sweep of dead runs may delete them.
PARTIAL = ".partial"
# `.NAME.WRITER.RANDOM.partial`. writer: a process's mark; what earlier versions made has its pid only.
_PARTIAL = re.compile(
    rf"(?:\..+\.)?(?P<writer>(?P<pid>\d+)(?:-[0-9a-f]+-[0-9a-f]+)?)\.[0-9a-f]{{6,8}}{re.escape(PARTIAL)}", re.DOTALL
)
_TEMPORARY = "aibemu"  # how names of folders in TMPDIR begin
_LONGEST = 200  # bytes of a name inside a temporary one, which may have 255
# Seconds by which a process must have started after a file was written to be another one than its writer, when nothing
# but the pid is known: clocks are set.
_LATER = 3600.0
# Bytes that the kernel copies before somebody is asked whether to go on.
_AT_ONCE = 64 << 20


def partial_name(name: str = "") -> str:
    """A new name for something that this process is making of `name`: `is_partial` and `is_being_written` know it."""
    head = f".{_shorten(name)}." if name else ""
    return f"{head}{ProcessId.mine().mark()}.{secrets.token_hex(3)}{PARTIAL}"


def partial_pattern(name: str, pid: int) -> str:
    """For `Path.glob`: what `partial_name(name)` gives in a process with this pid, and gave in earlier versions."""
    return f".{glob.escape(_shorten(name))}.{pid}[-.]*{PARTIAL}"


def is_partial(path: Path) -> bool:
    """Whether its name is one of `partial_name`. Others that end in `PARTIAL` may be continued by another process."""
    return _PARTIAL.fullmatch(path.name) is not None


def is_being_written(path: Path) -> bool:
    """Whether the process lives that gave it its name, one of `partial_name`; False for other names."""
    match = _PARTIAL.fullmatch(path.name)
    process = ProcessId.of(int(match["pid"])) if match else None
    if match is None or process is None:
        return False
    if match["writer"] != match["pid"]:
        return process.mark() == match["writer"]
    try:
        return process.started_at() <= path.stat().st_mtime + _LATER
    except FileNotFoundError:
        return False


def is_left(path: Path) -> bool:
    """Whether a process that is gone left it half-written, under a name of `partial_name`."""
    return is_partial(path) and not is_being_written(path)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder in TMPDIR for this user only, which is gone afterwards. When this process is killed, `left_folders` of
    the next one finds it."""
    folder = Path(tempfile.gettempdir(), partial_name(_TEMPORARY))
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def left_folders() -> list[Path]:
    """Of `temporary_folder`, those of this user's processes that are gone."""
    try:
        with os.scandir(tempfile.gettempdir()) as entries:
            return [
                Path(entry.path) for entry in entries
                if entry.name.startswith(f".{_TEMPORARY}.") and is_left(Path(entry.path))
                and entry.is_dir(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
            ]  # fmt: skip
    except OSError:
        return []


def _shorten(name: str) -> str:
    return os.fsencode(name)[:_LONGEST].decode("utf-8", "ignore")


@contextmanager
def replacing(target: Path, *, sync: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `target` to write; on success fsync it and rename it over `target`.

    On any exception the temporary file is deleted and `target` is as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(partial_name(target.name))
    try:
        yield temporary
        if sync:
            fsync(temporary)
        temporary.replace(target)
        # Of two hard links to one file rename(2) makes none go, and says that all is well.
        temporary.unlink(missing_ok=True)
        if sync:
            fsync(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_folder(folder: Path, *, mode: int = 0o755) -> None:
    """Make it, and the folders above it that are missing, so that nobody else writes there whatever the umask is: who
    may write into a folder may put any file in the place of one of ours."""
    for missing in [parent for parent in reversed(folder.parents) if not parent.exists()]:
        _make_folder(missing, 0o755)
    _make_folder(folder, mode)


def _make_folder(folder: Path, mode: int) -> None:
    try:
        folder.mkdir(mode=mode, exist_ok=True)
    except FileNotFoundError:
        if not folder.parent.is_dir():
            raise
        # The kernel's own file systems (/proc) say so of each new name.
        raise OSError(errno.EROFS, "No folder can be made on this file system", str(folder)) from None


def write_bytes(target: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `target` by `content`, atomically."""
    with replacing(target) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)


def write_private(target: Path, content: bytes = b"") -> None:
    """Replace `target`, by what only this user may read or write: it holds a secret, or steers a run."""
    write_bytes(target, content, mode=0o600)


def write_json(target: Path, value: Any) -> None:
    """Replace `target` by `value` as indented JSON, atomically."""
    write_bytes(target, _json(value, indent=1))


def _json(value: Any, *, indent: int | None = None) -> bytes:
    """Names of files that are no text (bytes that are no UTF-8) can only be written by escapes."""
    try:
        return f"{json.dumps(value, indent=indent, ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:
        return f"{json.dumps(value, indent=indent)}\n".encode()


def write_private_json(target: Path, value: Any) -> None:
    """The same for what only this user may read."""
    write_private(target, _json(value))


def link_or_copy(source: Path, target: Path, *, check: Callable[[], object] = lambda: None) -> None:
    """Give the file a second name; on another file system, a copy of its own, holes and all. `target` must not exist.

    Whoever links must not write: it is one file. check: see `copy_sparse`.
    """
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP}:
            raise
        with replacing(target, sync=False) as temporary:
            copy_sparse(source, temporary, check=check)
            temporary.chmod(source.stat().st_mode & 0o777)


def data_ranges(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of what may hold data, in order; the rest of `size` bytes is zeros.

    A file system without holes answers with one range.
    """
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        if start >= size:
            return
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        yield start, end - start
        position = end


def copy_sparse(source: Path, target: Path, *, check: Callable[[], object] = lambda: None) -> None:
    """Copy what is allocated; holes stay holes. check: called again and again; what it raises ends it."""
    with open_file(source) as reader, target.open("wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        for at, length in data_ranges(reader.fileno(), size):
            os.lseek(writer.fileno(), at, os.SEEK_SET)
            end = at + length
            while at < end:
                check()
                moved = os.sendfile(writer.fileno(), reader.fileno(), at, min(end - at, _AT_ONCE))
                if not moved:  # it was cut meanwhile
                    raise OSError(errno.EIO, f"{source} changed while it was copied")
                at += moved


def remove(path: Path) -> None:
    """Delete a file or a whole folder; no error if it is gone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def mounted_below(path: Path) -> str | None:
    """Where something is mounted in a folder, so that deleting it would delete something else; None: nowhere."""
    begin = f"{os.path.realpath(path)}/"
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as stream:
        places = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split()[4]) for line in stream)
        return next((place for place in places if place.startswith(begin)), None)


def file_system(folder: Path) -> str:
    """The kind of file system that a folder is on, as the kernel calls it (`ext4`, `vfat`); "" when it does not say."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            mount, _, kind = line.partition(" - ")
            if mount.split()[2] == number:
                return kind.split()[0]
    return ""


class FileLock:
    """An flock: held by one process at a time, released by the kernel when the process dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self, *, blocking: bool = True, shared: bool = False) -> bool:
        """True once held; False if `blocking` is False and somebody else holds it. `shared` with others that do so."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # To read is enough for a shared lock, so another user's file will do.
        access = os.O_RDONLY if shared and self.path.exists() else os.O_RDWR | os.O_CREAT
        # A FIFO in its place must not make anybody wait.
        descriptor = os.open(self.path, access | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if blocking else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
