"""Downloading a disk that Azure gives access to: a page blob, of which only the pages that were written are fetched.

Azure lists those pages (Get Page Ranges) and gives parts of the blob; the rest is zeros, and stays a hole. The address
holds the signature of the access, which is a secret: it is shown by `redact_url` alone.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from aibemu.clock import Deadline
from aibemu.disks import convert
from aibemu.download import DownloadError, Failure, Policy, Watcher, download
from aibemu.errors import HostNotReady, UsageError
from aibemu.images.unpacking import Progress
from aibemu.reading import in_words, open_file, open_writable, read_text

Part = tuple[int, int]

PAGE = 512
# Bytes whose pages are listed at once, and that are fetched at once: a connection that breaks costs no more. How many
# parts are fetched at a time.
WINDOW, PIECE, WORKERS = 4 << 30, 16 << 20, 4
# A list of the pages of one window has at most so many bytes: half of them written, one by one, is what this is not.
_LIST_LIMIT = 64 << 20
_MOST_LISTS = 1000
_GRAIN = 64 * 1024
_RANGE = re.compile(r"<PageRange>\s*<Start>(\d{1,18})</Start>\s*<End>(\d{1,18})</End>")
_MARKER = re.compile(r"<NextMarker>([^<]{1,2000})</NextMarker>")
# Zeros between two parts that are fetched with them: a request takes longer than so many bytes.
_GAP = 512 * 1024
_POLICY = Policy(
    tries=5, pauses=(1.0, 2.0, 4.0, 8.0), timeouts=(15.0, 60.0), limit=_LIST_LIMIT, seconds=3600.0
)  # fmt: skip


class AccessEnded(HostNotReady):
    """Azure refuses access that it gave before: its time is over, or somebody revoked it."""

    code = "AZURE_ACCESS_ENDED"
    retryable = True


class BlobFailed(HostNotReady):
    """A disk could not be downloaded from Azure."""

    code = "AZURE_DOWNLOAD_FAILED"
    retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A blob that was downloaded. size: of the blob; fetched: of its pages that were written; both in bytes."""

    size: int
    fetched: int


def fetch_page_blob(
    url: str, target: Path, *, limit: int, deadline: Deadline, say: Callable[[str], None],
    progress: Progress = lambda done, total: None, window: int = WINDOW, piece: int = PIECE,
) -> Fetched:  # fmt: skip
    """Write the blob behind `url` as the sparse file `target`, which must not exist.

    limit: bytes that it may have. progress: bytes that were fetched, and that are to be. Raises AccessEnded and
    BlobFailed, UsageError for a blob that is too large, HostNotReady without room, and what `deadline` raises; then
    `target` may be unfinished.
    """
    blob = _Blob(url=url, folder=target.parent, deadline=deadline, say=say)
    size = blob.size()
    if size > limit:
        raise UsageError(
            f"the disk has {in_words(size)}, more than the {in_words(limit)} that are taken",
            hint="the setting image_size is the largest that is taken",
        )
    parts = list(pieces(blob.pages(size, window), piece))
    total = sum(end - start for start, end in parts)
    convert.ensure_space(target.parent, total, "downloading the disk")
    done = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(open_writable(target, flags), "wb") as file:
        # Azure gives one connection a part of what a line takes. All of them end with the deadline, and with a cancel.
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="pages") as pool:
            for count in pool.map(lambda part: blob.copy(part, file), parts):
                done += count
                progress(done, total)
        file.truncate(size)
    return Fetched(size=size, fetched=total)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blob:
    """What is asked of Azure; folder: for what was answered."""

    url: str
    folder: Path
    deadline: Deadline
    say: Callable[[str], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def size(self) -> int:
        """Bytes of the blob, by its first page."""
        return self._ask(self.url, part=(0, PAGE))

    def pages(self, size: int, window: int) -> Iterator[Part]:
        """The pages that were written, in order."""
        for start in range(0, size, window):
            end, marker = min(start + window, size), ""
            for _ in range(_MOST_LISTS):
                address = f"{self.url}&comp=pagelist" + (f"&marker={quote(marker, safe='')}" if marker else "")
                self._ask(address, headers={"x-ms-range": f"bytes={start}-{end - 1}"})
                found, marker = parsed(read_text(self._answer, limit=_LIST_LIMIT, errors="replace"))
                yield from checked(found, start, end)
                if not marker:
                    break
            else:
                raise BlobFailed(f"Azure's list of pages does not end after {_MOST_LISTS} parts")

    def copy(self, part: Part, file: BinaryIO) -> int:
        """Fetch a part, and write what is not zeros of it to its place; returns its bytes. By several threads."""
        self._ask(self.url, part=part)
        at, end = part
        with open_file(self._answer, limit=end - at) as answer:
            while grain := answer.read(_GRAIN):
                if grain.count(0) != len(grain):
                    with self._lock:
                        file.seek(at)
                        file.write(grain)
                at += len(grain)
        return end - part[0]

    @property
    def _answer(self) -> Path:
        """Each thread has one of its own."""
        return self.folder / f"answer-{threading.get_ident()}"

    def _ask(self, url: str, *, part: Part | None = None, headers: dict[str, str] | None = None) -> int:
        """Download to `_answer`; returns the bytes of the whole blob where Azure says them."""
        watcher = Watcher(on_retry=lambda failure, pause: self.say(f"{failure.reason}; trying again"))
        try:
            return download(
                url, self._answer, policy=_POLICY, deadline=self.deadline, watcher=watcher, part=part, headers=headers
            ).whole
        except DownloadError as error:
            failure = error.failure
        raise _told(failure)


def _told(failure: Failure) -> HostNotReady:
    if failure.status in (401, 403):
        return AccessEnded(
            "Azure gives no access to the disk any more: the time that it was given for is over, or it was revoked",
            details=[failure.reason],
            hint="try again, with more time (--hours) if it takes long",
        )
    return BlobFailed(
        f"the disk could not be downloaded from Azure: {failure.reason}", hint="look at this host's network, try again"
    )


def parsed(text: str) -> tuple[list[Part], str]:
    """Parts of the blob, and the mark of the next list. BlobFailed for what is no list of pages."""
    if "<PageList" not in text[:1000]:
        raise BlobFailed("Azure answered with something else than a list of pages")
    marker = _MARKER.search(text)
    found = [(int(match[1]), int(match[2]) + 1) for match in _RANGE.finditer(text)]
    return found, unescape(marker[1]) if marker else ""


def checked(parts: Iterable[Part], first: int, last: int) -> Iterator[Part]:
    """Those parts, inside of what was asked for; BlobFailed for what can be no list."""
    at = 0
    for start, end in parts:
        if not at <= start < end:
            raise BlobFailed("Azure's list of pages is not in order")
        at = end
        if max(start, first) < min(end, last):
            yield max(start, first), min(end, last)


def pieces(parts: Iterable[Part], most: int) -> Iterator[Part]:
    """The same bytes in parts of at most `most`; those that lie near each other are one, with what is between them."""
    begin = stop = 0
    for start, end in parts:
        if start - stop > _GAP:
            yield from _cut(begin, stop, most)
            begin = start
        stop = end
    yield from _cut(begin, stop, most)


def _cut(start: int, end: int, most: int) -> Iterator[Part]:
    while start < end:
        yield start, min(start + most, end)
        start += most
