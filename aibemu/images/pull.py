"""Downloading a distribution's cloud image that the catalogue names: resumable, checked, then imported.

The partial file lies in the download cache and survives an interrupted try; the next one asks only for the rest
(HTTP Range with If-Range, so that a file that changed meanwhile is fetched anew). Nothing enters the store before its
checksum is right.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aibemu.clock import Deadline
from aibemu.disks import convert
from aibemu.errors import HostNotReady, UsageError
from aibemu.files import FileLock, read_json, write_json
from aibemu.images.catalogue import Entry
from aibemu.images.importing import Imported, import_image
from aibemu.images.store import ImageStore
from aibemu.paths import safe_name

if TYPE_CHECKING:
    import requests

# Bytes so far, bytes in all (None: the server does not say).
Progress = Callable[[int, int | None], None]
Say = Callable[[str], None]

PUBLISHED = "published"  # label in the store: the published checksum of the file an image came from
_CHUNK = 1 << 16  # what is lost at most when a connection ends
_TRIES = 5
_TIMEOUT = (15, 60)  # seconds to connect, and between two pieces
_GNU = re.compile(r"^\\?([0-9a-fA-F]{64}|[0-9a-fA-F]{128})\s+[* ]?(\S+)$")
_BSD = re.compile(r"^SHA(?:256|512) \((.+)\) = ([0-9a-fA-F]{64}|[0-9a-fA-F]{128})$")


class DownloadFailed(HostNotReady):
    """A download did not end well; what came so far is kept, unless it was wrong."""

    code = "DOWNLOAD_FAILED"
    retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A finished, checked file. digest: `sha256:...` or `sha512:...`; published: YYYYMMDD of Last-Modified, or ""."""

    path: Path
    digest: str
    published: str


def pull(
    entry: Entry,
    store: ImageStore,
    *,
    cache: Path,
    deadline: Deadline,
    say: Say,
    progress: Progress = lambda done, total: None,
    version: str = "",
) -> Imported:
    """Bring the image of a catalogue entry into the store and give it its marketplace alias.

    version: alias of its own (`1.2.3`) instead of the one made from the day it was published. A file whose published
    checksum is in the store already is not downloaded again. Raises DownloadFailed; UsageError when it is not public.
    """
    if entry.url is None:
        raise UsageError(
            f"{entry.offer} cannot be downloaded: {entry.note}",
            commands=[f"aibemu images import FILE --alias {entry.offer}:{version or 'latest'}"],
        )
    expected = expected_digest(entry, deadline)
    if known := store.find_label(PUBLISHED, expected):
        say(f"{entry.os_name} is here already, and unchanged: image {known.short}")
        _name(store, entry, known.digest, version, _day(store))
        return Imported(image=known, known=True, notes=())
    say(f"downloading {entry.url}")
    file = download(entry.url, expected, cache, deadline=deadline, say=say, progress=progress)
    done = import_image(
        file.path, store, deadline=deadline, say=say, prefer=entry.generation, origin=f"pull {entry.url}",
        labels={PUBLISHED: expected},
    )  # fmt: skip
    _name(store, entry, done.image.digest, version, file.published or _day(store))
    file.path.unlink()
    return done


def expected_digest(entry: Entry, deadline: Deadline) -> str:
    """`sha256:...` or `sha512:...` of the entry's file, from the entry or the list its distribution publishes."""
    for name, value in (("sha256", entry.sha256), ("sha512", entry.sha512)):
        if value:
            return f"{name}:{value.lower()}"
    if entry.checksum_url is None or entry.url is None:
        raise UsageError(f"the catalogue has no checksum for {entry.offer}", hint="add sha256 or checksum_url to it")
    answer = _get(entry.checksum_url, {}, deadline)
    if answer.status_code != 200:
        raise _refused(entry.checksum_url, answer.status_code)
    name = Path(urlsplit(entry.url).path).name
    found = find_checksum(answer.text, name)
    if found is None:
        raise DownloadFailed(
            f"{entry.checksum_url} has no checksum for {name}", hint="was the image renamed or retired?"
        )
    return found


def find_checksum(text: str, name: str) -> str | None:
    """The digest of `name` in a list of checksums, in GNU's form (`HEX  NAME`) or BSD's (`SHA256 (NAME) = HEX`)."""
    lines = [line.strip() for line in text.splitlines()]
    pairs = [(match[2], match[1]) for line in lines if (match := _GNU.match(line))]
    pairs += [(match[1], match[2]) for line in lines if (match := _BSD.match(line))]
    for known, value in pairs:
        if known.removeprefix("./") == name:
            return f"sha{256 if len(value) == 64 else 512}:{value.lower()}"
    return None


def download(url: str, expected: str, cache: Path, *, deadline: Deadline, say: Say, progress: Progress) -> Downloaded:
    """Fetch `url` into `cache`, resuming what an earlier try left; check it against `expected`."""
    cache.mkdir(parents=True, exist_ok=True)
    name = safe_name(Path(urlsplit(url).path).name)
    partial = cache / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}.partial"
    lock = FileLock(partial.with_suffix(".lock"))
    if not lock.acquire(blocking=False):
        say("waiting for another download of the same file")
        deadline.poll(lambda: lock.acquire(blocking=False), every=0.5)
    try:
        published = _fetch_all(url, partial, deadline, say, progress)
        method, _, wanted = expected.partition(":")
        actual = convert.hash_file(partial, method, deadline)
        if actual != wanted:
            partial.unlink()
            raise DownloadFailed(
                f"the file from {url} is not the one that was published",
                details=[f"{method} expected {wanted}", f"{method} found    {actual}"],
                hint="it was deleted: try again; if that does not help, look up the distribution's address",
            )
        target = cache / name
        partial.replace(target)
    finally:
        lock.release()
    return Downloaded(path=target, digest=expected, published=published)


def _fetch_all(url: str, partial: Path, deadline: Deadline, say: Say, progress: Progress) -> str:
    """Try until the file is whole; returns YYYYMMDD of its Last-Modified or ""."""
    import requests

    state_file = partial.with_suffix(".json")
    why = ""
    for attempt in range(_TRIES):
        if attempt:
            say(f"{why}; trying again ({attempt + 1} of {_TRIES})")
            deadline.sleep(min(2.0**attempt, 20.0))
        try:
            published = _fetch(url, partial, state_file, deadline, progress)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            why = f"the connection failed ({type(error).__name__})"
            continue
        if published is not None:
            state_file.unlink(missing_ok=True)
            return published
        why = "the connection ended early"
    raise DownloadFailed(
        f"could not download {url}: {why}", hint="what came so far is kept: the same command goes on from there"
    )


def _fetch(url: str, partial: Path, state_file: Path, deadline: Deadline, progress: Progress) -> str | None:
    """One try. None: it ended early and can go on from where it is."""
    state = read_json(state_file) or {}
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have and (tag := state.get("tag")):
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    else:
        have = 0
    answer = _get(url, headers, deadline, stream=True)
    with answer:
        if answer.status_code == 416 and have and _total(answer) == have:
            return _published(answer.headers)  # it was whole already
        if answer.status_code not in (200, 206):
            if answer.status_code == 416:
                partial.unlink()
                return None
            raise _refused(url, answer.status_code)
        if answer.status_code == 200:
            have = 0
        tag = answer.headers.get("ETag", "")
        # A weak tag may not be used with If-Range; the date may.
        write_json(state_file, {"tag": tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")})
        total = _total(answer)
        if total is not None:
            convert.ensure_space(partial.parent, total - have, f"downloading {partial.name}")
        with partial.open("ab" if have else "wb") as stream:
            for piece in answer.iter_content(_CHUNK):
                stream.write(piece)
                have += len(piece)
                progress(have, total)
                deadline.check()
        return _published(answer.headers) if total is None or have == total else None


def _get(url: str, headers: Mapping[str, str], deadline: Deadline, *, stream: bool = False) -> requests.Response:
    import requests

    deadline.check()
    try:
        return requests.get(url, headers=dict(headers), stream=stream, timeout=_TIMEOUT)
    except (requests.ConnectionError, requests.Timeout):
        if stream:
            raise  # the caller tries again
        raise DownloadFailed(
            f"cannot reach {urlsplit(url).hostname}",
            hint="check the network (and HTTPS_PROXY), or download the file elsewhere and use `aibemu images import`",
            details=[url],
        ) from None


def _total(answer: requests.Response) -> int | None:
    """The size of the whole file, from Content-Range or Content-Length."""
    ranged = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if ranged.isdecimal():
        return int(ranged)
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and answer.status_code == 200 else None


def _published(headers: Mapping[str, str]) -> str:
    try:
        return f"{parsedate_to_datetime(headers['Last-Modified']):%Y%m%d}"
    except (KeyError, ValueError):
        return ""


def _refused(url: str, status: int) -> DownloadFailed:
    return DownloadFailed(
        f"{url} answered with status {status}",
        hint="the distribution may have moved it: put the new address into catalogue.yaml, or import a file",
    )


def _name(store: ImageStore, entry: Entry, digest: str, version: str, day: str) -> None:
    """The alias publisher:offer:sku:version; nothing to do if the image has one for the offer already."""
    mine = [alias for alias, known in store.aliases().items() if known == digest]
    if version or not any(alias.lower().startswith(f"{entry.offer.lower()}:") for alias in mine):
        store.set_alias(f"{entry.offer}:{version or entry.version.format(date=day)}", digest)


def _day(store: ImageStore) -> str:
    return f"{store.clock.now():%Y%m%d}"
