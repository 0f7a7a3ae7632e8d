"""An ext file system asked by `debugfs`, started once and asked many times: no root, no mount. Nothing is written."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.disks import Unreadable
from aibemu.disks.dialogue import MOST, Dialogue, NoAnswer
from aibemu.disks.nodes import DEVICE, FILE, FOLDER, LINK, kind_of
from aibemu.errors import AibemuError
from aibemu.files import temporary_folder
from aibemu.reading import read_bytes

# /inode/mode/uid/gid/name/size/ ; names may hold anything but a slash, even a newline
ENTRY = re.compile(r"^/(\d+)/(\d{6})/(\d+)/(\d+)/([^/]*)/(\d*)/$", re.MULTILINE)
TYPE = re.compile(r"Type: (\w+)")
FAST_LINK = re.compile(r'^Fast link dest: "(.*)"$', re.MULTILINE | re.DOTALL)
SIZE = re.compile(r"\bSize: (\d+)$", re.MULTILINE)
# debugfs's `dx_hash WORD` repeats the word: with a new one around each answer, no file can pass for the end of one.
_HASH = rb"Hash of %s is 0x[0-9a-f]+ \(minor 0x[0-9a-f]+\)\n"
_PROMPT = b"debugfs:  "
# Without readline: on a terminal without abilities (TERM=dumb, CI) that repeats a long question scrolled sideways.
_PLAIN_INPUT = {"SS_READLINE_PATH": ""}
# The most that follows the word that ends an answer: the rest of that line, and a prompt.
_TAIL = 512
# debugfs reads its input in pieces of C's BUFSIZ (8192, elsewhere 1024): the rest of a longer line would be a command
# of its own, and it has one that starts a shell. A guest's links can make a path as long as they like.
_LONGEST = 1000
# Seconds for one answer, before scaling, and for debugfs to end by itself.
_ASK_BOUND, _CLOSE_BOUND = 60.0, 3.0
_ROOT = 2
_LARGEST = 512 << 20  # bytes of a file of which some are wanted
_KINDS = {"regular": FILE, "directory": FOLDER, "symlink": LINK}


class DebugfsFailed(AibemuError):
    """debugfs ended or hung while a disk was read."""

    code = "TOOL_FAILED"
    category = "HOST"
    exit_code = 1


class Debugfs:
    """debugfs on the file system at byte `offset` of the file `raw`; for one thread. The first question starts it."""

    def __init__(self, raw: Path, offset: int, *, deadline: Deadline) -> None:
        self.raw = raw
        self.offset = offset
        self._deadline = deadline
        self._debugfs: Dialogue | None = None

    def close(self) -> None:
        if self._debugfs:
            self._debugfs.close()
            self._debugfs = None

    def ask(self, command: str) -> bytes:
        """What debugfs prints for one command; nothing when it fails, for then what it asks about is not there.

        Nor does it look for what cannot be asked for: a name with a line break in it, or a path of `_LONGEST` bytes.
        Raises `HostNotReady` when debugfs is missing, `DebugfsFailed`, and what the deadline does.
        """
        line = command.encode("utf-8", "surrogateescape")
        if b"\n" in line or len(line) > _LONGEST:
            return b""
        if self._debugfs is None:
            words = ["debugfs", f"{self.raw}?offset={self.offset}"]
            self._debugfs = Dialogue(words, patience=_CLOSE_BOUND, env=os.environ | _PLAIN_INPUT)
        before, after = (secrets.token_hex(16).encode() for _ in range(2))
        begin, end = (re.compile(_HASH % word) for word in (before, after))
        try:
            heard = self._debugfs.ask(
                b"dx_hash %s\n%s\ndx_hash %s\n" % (before, line, after),
                lambda heard: end.search(heard, max(0, len(heard) - _TAIL)) is not None,
                self._deadline.within(_ASK_BOUND),
            )
        except NoAnswer as error:
            raise DebugfsFailed(f"debugfs gave no answer about {self.raw}: {error}") from error
        first, last = begin.search(heard), end.search(heard, max(0, len(heard) - _TAIL))
        if first is None or last is None:
            raise DebugfsFailed(f"debugfs gave an answer about {self.raw} that is not understood")
        # A prompt stands before each answer: that of `command`, and that of the second dx_hash.
        return bytes(heard[first.end() : last.start()]).removeprefix(_PROMPT).removesuffix(_PROMPT)


class ExtFiles:
    """See `aibemu.disks.nodes`: one ext file system; nodes are numbers of inodes, so names may have any character."""

    def __init__(self, debugfs: Debugfs) -> None:
        self._debugfs = debugfs
        # Listings say what their entries are: most files are met in one before anything else is asked about them.
        self._kinds = {_ROOT: FOLDER}
        if self._text(f"stat <{_ROOT}>") == "":
            raise Unreadable("debugfs cannot open its ext file system")

    def root(self) -> int:
        return _ROOT

    def kind(self, node: int) -> str:
        if node not in self._kinds:
            found = TYPE.search(self._text(f"stat <{node}>"))
            self._kinds[node] = _KINDS.get(found[1], DEVICE) if found else DEVICE
        return self._kinds[node]

    def size(self, node: int) -> int:
        found = SIZE.search(self._text(f"stat <{node}>"))
        return int(found[1]) if found else 0

    def link(self, node: int) -> str:
        """A target of 60 bytes or more is the content of the link's own block."""
        fast = FAST_LINK.search(self._text(f"stat <{node}>"))
        return fast[1] if fast else self._text(f"cat <{node}>")

    def content(self, node: int, most: int) -> bytes:
        # debugfs writes all of it, or nothing.
        if (size := self.size(node)) < MOST:
            return self._debugfs.ask(f"cat <{node}>")[:most]
        if size > _LARGEST:
            raise Unreadable(f"it has {size} bytes, more than are read")
        with temporary_folder() as folder:
            self._debugfs.ask(f'dump <{node}> "{folder / "f"}"')
            return read_bytes(folder / "f", limit=_LARGEST)[:most]

    def entries(self, node: int) -> dict[str, int]:
        if self.kind(node) != FOLDER:
            return {}
        found: dict[str, int] = {}
        for inode, mode, _, _, name, _ in ENTRY.findall(self._text(f"ls -p <{node}>")):
            if inode != "0" and name not in (".", ".."):
                found[name] = int(inode)
                self._kinds[int(inode)] = kind_of(int(mode, 8))
        return found

    def _text(self, command: str) -> str:
        return self._debugfs.ask(command).decode("utf-8", "surrogateescape")
