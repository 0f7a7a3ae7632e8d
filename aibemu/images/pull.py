"""Downloading a distribution's cloud image that the catalogue names: resumable, checked, then imported.

The partial file lies in the download cache and survives an interrupted try; the next one asks only for the rest (see
aibemu.download). Nothing is unpacked, and nothing enters the store, before its checksum is right. A whole file stays
in the cache until its image is in the store: what ended meanwhile does not fetch it again.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from aibemu.clock import Deadline
from aibemu.disks import convert
from aibemu.download import DownloadError, Failure, Policy, Watcher
from aibemu.download import download as download_file
from aibemu.errors import HostNotReady, UsageError
from aibemu.files import FileLock
from aibemu.images import BaseImage
from aibemu.images.catalogue import Entry
from aibemu.images.importing import LARGEST, Imported
from aibemu.images.inspect import generations_of
from aibemu.images.packed import import_file
from aibemu.images.store import ImageStore, offer_label
from aibemu.images.unpacking import Progress
from aibemu.paths import safe_name
from aibemu.processes import ToolFailed
from aibemu.reading import read_text
from aibemu.redact import redact_url

Say = Callable[[str], None]

# Labels in the store: the published checksum of the file an image came from, and the day it was published (YYYYMMDD).
PUBLISHED, DAY = "published", "published on"
LACKS = (
    "no build for Azure is known of {name}: this is the distribution's image for any cloud, without the Azure agent "
    "(waagent), so the service's own deprovision script ends with status 127 on it, at the end of the build; "
    "`aibemu images prepare {image} --agent` makes an image that has it, or a step of the template writes a "
    "/tmp/DeprovisioningScript.sh of its own"
)
# An image takes minutes, and its checksum is compared: it is continued where it was. The bounds are far above what
# distributions publish: an answer without an end must not fill the disk.
IMAGE = Policy(
    tries=5, pauses=(2.0, 4.0, 8.0, 16.0), timeouts=(15.0, 60.0), limit=64 << 30, seconds=86400.0, resume=True,
    netrc=True,
)  # fmt: skip
# A list of checksums comes first: without a network the user is to know soon.
LIST = Policy(
    tries=3, pauses=(1.0, 2.0), longest_pause=20.0, timeouts=(15.0, 60.0), limit=16 << 20, seconds=300.0, netrc=True
)  # fmt: skip
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
    limit: int = LARGEST,
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
    url, expected = published_file(entry, deadline, say=say)
    entry = replace(entry, url=url)
    if known := store.find_label(PUBLISHED, expected):
        return _known(entry, store, known, version, deadline, say)
    with _alone(url, cache, deadline, say) as partial:
        if known := store.find_label(PUBLISHED, expected):  # another process has brought it meanwhile
            return _known(entry, store, known, version, deadline, say)
        say(f"downloading {redact_url(url)}")
        file = download(url, expected, partial, deadline=deadline, say=say, progress=progress)
        try:
            done = _imported(entry, file, store, deadline=deadline, say=say, progress=progress, limit=limit)
        except (UsageError, ToolFailed):  # another try would end the same way
            file.path.unlink()
            raise
        file.path.unlink()
    return _named(entry, store, done, version, file.published or _day(store), deadline)


def _imported(
    entry: Entry, file: Downloaded, store: ImageStore, *, deadline: Deadline, say: Say, progress: Progress, limit: int
) -> Imported:
    address = redact_url(entry.url or "")
    labels = {PUBLISHED: file.digest} | ({DAY: file.published} if file.published else {})
    return import_file(
        file.path, store, digest=file.digest, deadline=deadline, say=say, progress=progress, called=address,
        prefer=entry.generation, origin=f"pull {address}", labels=labels, limit=limit,
    )  # fmt: skip


def _known(entry: Entry, store: ImageStore, known: BaseImage, version: str, deadline: Deadline, say: Say) -> Imported:
    say(f"{entry.os_name} is here already, and unchanged: image {known.short}")
    done = Imported(image=known, known=True, notes=())
    return _named(entry, store, done, version, store.labels(known.digest).get(DAY) or _day(store), deadline)


def _named(entry: Entry, store: ImageStore, done: Imported, version: str, day: str, deadline: Deadline) -> Imported:
    """Give it the alias of the offer, and under that name the offer's generation if its disk can boot so."""
    digest = done.image.digest
    notes = list(done.notes)
    able = generations_of(convert.info(done.image.path, deadline=deadline, format="qcow2"), deadline)
    if entry.generation in able:
        store.add_labels(digest, {offer_label(entry.offer): entry.generation})
    elif able:
        notes.append(
            f"{entry.offer} is generation {entry.generation} in Azure, and this disk boots only as {able[0]}: "
            f"the image is {done.image.info.generation} here"
        )
    linux = done.image.info.linux
    if entry.file.build == "generic" and not (linux and linux.has_waagent):
        notes.append(LACKS.format(name=entry.os_name, image=done.image.short))
    _name(store, entry, digest, version, day)
    return replace(done, image=store.as_offer(done.image, entry.offer), notes=tuple(notes))


def published_file(entry: Entry, deadline: Deadline, *, say: Say) -> tuple[str, str]:
    """The address of the entry's file, and `sha256:...` or `sha512:...`, from the entry or the list that its
    distribution publishes: of the names that the file may have, the first one in it."""
    for name, value in (("sha256", entry.sha256), ("sha512", entry.sha512)):
        if value:
            return entry.url or "", f"{name}:{value.lower()}"
    listed = _list(_checksums_of(entry), deadline, say)
    for url in entry.urls:
        if found := find_checksum(listed, _file_name(url)):
            return url, found
    names = " or ".join(map(_file_name, entry.urls))
    raise DownloadFailed(
        f"{redact_url(entry.checksum_url or '')} has no checksum for {names}", hint="was the image renamed or retired?"
    )


def _checksums_of(entry: Entry) -> str:
    if entry.checksum_url is None or entry.url is None:
        raise UsageError(f"the catalogue has no checksum for {entry.offer}", hint="add sha256 or checksum_url to it")
    return entry.checksum_url


def _file_name(url: str) -> str:
    return Path(urlsplit(url).path).name


def _list(url: str, deadline: Deadline, say: Say) -> str:
    """The text of a list of checksums."""
    with TemporaryDirectory(prefix="aibemu-") as folder:
        target = Path(folder) / "list"
        try:
            download_file(url, target, policy=LIST, deadline=deadline, watcher=Watcher(on_retry=_retry(LIST, say)))
        except DownloadError as error:
            failure = error.failure
            if not failure.network:
                raise _failed(url, failure) from None
            raise DownloadFailed(
                f"cannot reach {urlsplit(url).hostname}",
                hint="check the network (and HTTPS_PROXY), or download the file elsewhere and use "
                "`aibemu images import`",
                details=[redact_url(url)],
            ) from None
        return read_text(target, limit=LIST.limit, errors="replace")


def find_checksum(text: str, name: str) -> str | None:
    """The digest of `name` in a list of checksums, in GNU's form (`HEX  NAME`) or BSD's (`SHA256 (NAME) = HEX`)."""
    lines = [line.strip() for line in text.splitlines()]
    pairs = [(match[2], match[1]) for line in lines if (match := _GNU.match(line))]
    pairs += [(match[1], match[2]) for line in lines if (match := _BSD.match(line))]
    for known, value in pairs:
        if known.removeprefix("./") == name:
            return f"sha{256 if len(value) == 64 else 512}:{value.lower()}"
    return None


@contextmanager
def _alone(url: str, cache: Path, deadline: Deadline, say: Say) -> Iterator[Path]:
    """The path of what came of `url` so far, for one process at a time."""
    cache.mkdir(parents=True, exist_ok=True)
    name = safe_name(Path(urlsplit(url).path).name)
    partial = cache / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}.partial"
    lock = FileLock(partial.with_suffix(".lock"))
    if not lock.acquire(blocking=False):
        say("waiting for another download of the same file")
        deadline.poll(lambda: lock.acquire(blocking=False), every=0.5)
    try:
        yield partial
    finally:
        lock.release()


def download(
    url: str, expected: str, partial: Path, *, deadline: Deadline, say: Say, progress: Progress
) -> Downloaded:  # fmt: skip
    """Fetch `url`, going on with `partial`, and check it against `expected`; the file is beside `partial` then. One
    that is there already is taken."""
    target = partial.with_suffix("")
    method, _, wanted = expected.partition(":")
    if target.exists():
        if convert.hash_file(target, method, deadline) == wanted:
            say("it was downloaded before")
            return Downloaded(path=target, digest=expected, published=f"{_changed(target):%Y%m%d}")
        target.unlink()
    watcher = Watcher(
        on_retry=_retry(IMAGE, say), progress=progress,
        make_room=lambda size: convert.ensure_space(partial.parent, size, f"downloading {partial.name}"),
    )  # fmt: skip
    try:
        got = download_file(url, partial, policy=IMAGE, deadline=deadline, watcher=watcher)
    except DownloadError as error:
        raise _failed(url, error.failure, kept=partial.exists()) from None
    actual = convert.hash_file(partial, method, deadline)
    if actual != wanted:
        partial.unlink()
        raise DownloadFailed(
            f"the file from {redact_url(url)} is not the one that was published",
            details=[f"{method} expected {wanted}", f"{method} found    {actual}"],
            hint="it was deleted: try again; if that does not help, look up the distribution's address",
        )
    published = _published(got.last_modified)
    if published:
        os.utime(partial, (published.timestamp(),) * 2)
    partial.replace(target)
    return Downloaded(path=target, digest=expected, published=f"{published:%Y%m%d}" if published else "")


def _retry(policy: Policy, say: Say) -> Callable[[Failure, float], None]:
    def on_retry(failure: Failure, pause: float) -> None:
        say(f"{_why(failure)}; trying again ({failure.attempt + 1} of {policy.tries})")

    return on_retry


def _why(failure: Failure) -> str:
    return f"the connection failed ({failure.network})" if failure.network else failure.reason


def _failed(url: str, failure: Failure, *, kept: bool = False) -> DownloadFailed:
    if failure.final and failure.status:
        return DownloadFailed(
            f"{redact_url(url)} answered with status {failure.status}",
            hint="the distribution may have moved it: put the new address into catalogue.yaml, or import a file",
        )
    hint = "try again later, or download the file elsewhere and use `aibemu images import`"
    if failure.final:
        hint = "look at the address in catalogue.yaml, or download the file elsewhere and use `aibemu images import`"
    elif kept:
        hint = "what came so far is kept: the same command goes on from there"
    return DownloadFailed(f"could not download {redact_url(url)}: {_why(failure)}", hint=hint)


def _published(last_modified: str) -> datetime | None:
    try:
        return parsedate_to_datetime(last_modified)
    except ValueError:
        return None


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _name(store: ImageStore, entry: Entry, digest: str, version: str, day: str) -> None:
    """The alias publisher:offer:sku:version; nothing to do if the image has one for the offer already."""
    mine = [alias for alias, known in store.aliases().items() if known == digest]
    if version or not any(alias.lower().startswith(f"{entry.offer.lower()}:") for alias in mine):
        store.set_alias(f"{entry.offer}:{version or entry.version.format(date=day)}", digest)


def _day(store: ImageStore) -> str:
    return f"{store.clock.now():%Y%m%d}"
