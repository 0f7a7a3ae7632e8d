"""Getting one file into the cache: `files/<sha256>` (read-only) and, per URL, a note of what it last answered.

A URL whose declared sha256 we hold needs no network. Any other URL is asked again in each run (ETag, Last-Modified),
for branches move. What is in the cache is hashed again before it is used.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as StrMapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aibemu.artifacts.mapping import Mapping, find_file
from aibemu.artifacts.model import Artifact, FetchRequest
from aibemu.clock import Clock, Deadline
from aibemu.download import LARGEST, Downloaded, DownloadError, Failure, Policy, Watcher, download
from aibemu.errors import ArtifactError, HostNotReady
from aibemu.events import Emit, Kind
from aibemu.files import partial_name, write_json
from aibemu.reading import Unfit, blocks, hash_rest, in_words, open_file
from aibemu.records import SHAPE_ERRORS, read_json, text_of, whole_of
from aibemu.redact import redact_url

# The service's patience: 10 tries for a fault of the network or the server, none for an answer that will not change
# (facts: service 3). Each try starts anew, for a file without a checksum must be of one answer. The bound is ours: an
# answer without an end must not fill the disk.
POLICY = Policy(tries=10, pauses=(0.5, 1.0, 2.0, 4.0, 8.0, 15.0), timeouts=(10.0, 20.0), limit=LARGEST)
WITHOUT_NETWORK = "--map PREFIX=DIR takes local copies, --offline (run, plan) what was fetched before"
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:(?><!--.*?-->)\s*)*<(?:!doctype\s+html|html[\s>])", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    sha256: str
    size: int
    cached: bool = False
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """How the files of one template are fetched. `tell` may be called from any thread."""

    cache: Path
    clock: Clock
    base: Path
    mappings: Sequence[Mapping]
    deadline: Deadline
    offline: bool
    tell: Emit
    mask: Callable[[str], str]
    policy: Policy = POLICY
    # URI -> sha256 of files that are in the cache because somebody put them there.
    held: StrMapping[str, str] = field(default_factory=dict)
    # Files that are being written.
    partials: set[Path] = field(default_factory=set)

    def fetch(self, request: FetchRequest) -> Artifact:
        """Raises `ArtifactError`, `HostNotReady` when the cache cannot be written, and what the deadline raises."""
        start = self.clock.monotonic()
        try:
            found = self._found(request)
        except OSError as error:
            raise HostNotReady(
                f"the cache {self.cache} cannot be written: {error.strerror or error}",
                hint="free some space, or set AIBEMU_HOME to a folder on another disk",
            ) from error
        path = self._path(found.sha256)
        self.tell(
            Kind.ARTIFACT_FETCHED,
            uri=self.mask(request.uri),
            sha256=found.sha256,
            size=found.size,
            cached=found.cached,
            attempts=found.attempts,
            seconds=round(self.clock.monotonic() - start, 3),
            path=str(path),
        )
        return Artifact(uri=request.uri, path=path, sha256=found.sha256, size=found.size)

    def _found(self, request: FetchRequest) -> _Found:
        if sha256 := self.held.get(request.uri):
            return self._held_file(request, sha256)
        local = find_file(request.uri, base=self.base, mappings=self.mappings, span=request.span)
        return self._download(request) if local is None else self._copy(request, local)

    def _held_file(self, request: FetchRequest, sha256: str) -> _Found:
        path = self._path(sha256)
        try:
            with open_file(path) as file:
                whole = hash_rest(file, path, check=self.deadline.check) == sha256
        except FileNotFoundError:
            whole = False
        if not whole:
            raise ArtifactError(f"{self.mask(request.uri)} is not in the cache any more", span=request.span)
        return _Found(sha256=sha256, size=path.stat().st_size, cached=True)

    def _copy(self, request: FetchRequest, source: Path) -> _Found:
        try:
            reader = open_file(source, limit=self._limit(request))
        except FileNotFoundError:
            hint = f"relative paths start at the template's folder, {self.base}"
            raise ArtifactError(f"{request.uri}: {source} does not exist", hint=hint, span=request.span) from None
        except Unfit as error:
            raise self._unfit(request, error) from None
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ArtifactError(f"{request.uri}: {why}: {source}", span=request.span) from error
        digest = hashlib.sha256()
        size = 0
        with reader, self._incoming() as partial, partial.open("wb") as writer:
            chunks = blocks(reader, source, limit=self._limit(request), check=self.deadline.check)
            while chunk := self._next(request, chunks):
                digest.update(chunk)
                size += writer.write(chunk)
            writer.flush()
            _compare(request, digest.hexdigest())
            self._keep(partial, digest.hexdigest())
        return _Found(sha256=digest.hexdigest(), size=size)

    def _next(self, request: FetchRequest, chunks: Iterator[bytes]) -> bytes:
        try:
            return next(chunks, b"")
        except Unfit as error:
            raise self._unfit(request, error) from None

    def _unfit(self, request: FetchRequest, error: Unfit) -> ArtifactError:
        most = in_words(self._limit(request))
        hint = f"a script may have {most}" if request.limit else f"the setting download_size, {most}, is the most"
        if not error.too_large:
            hint = "name a file: it is copied into the guest as it is"
        return ArtifactError(f"{request.uri}: {error}", hint=hint, span=request.span)

    def _limit(self, request: FetchRequest) -> int:
        return min(self.policy.limit, request.limit or self.policy.limit)

    def _download(self, request: FetchRequest) -> _Found:
        note_path = self.cache / "urls" / f"{hashlib.sha256(request.uri.encode()).hexdigest()}.json"
        note = self._held(note_path)
        if note and (self.offline or note["sha256"] == request.sha256):
            return self._from_cache(request, note, attempts=0)
        if self.offline:
            raise ArtifactError(
                f"{self.mask(request.uri)} has not been fetched before, and aibemu is to work offline",
                hint="use a local copy with --map PREFIX=DIR, or fetch it once with network",
                span=request.span,
            )
        with self._incoming() as partial:
            got = self._ask(request, partial, _validators(note))
            if not got.fresh:
                return self._from_cache(request, note, attempts=got.attempts)
            sha256, html = self._examine(partial)
            self._warn(request, html=html)
            _compare(request, sha256)
            self._keep(partial, sha256)
        write_json(note_path, {
            "url": self.mask(request.uri), "sha256": sha256, "size": got.size, "etag": got.etag,
            "last_modified": got.last_modified, "html": html, "at": self.clock.now().isoformat(),
        })  # fmt: skip
        return _Found(sha256=sha256, size=got.size, attempts=got.attempts)

    def _ask(self, request: FetchRequest, partial: Path, validators: dict[str, str]) -> Downloaded:
        def words(failure: Failure) -> str:
            attempt = f"[attempt {failure.attempt} of {self.policy.tries}]"
            return f"Downloading external file ({self.mask(request.uri)}) {attempt} failed: {failure.reason}"

        def warn(failure: Failure, pause: float) -> None:
            message = f"{words(failure)}; next try in {pause:g} s"
            if failure.network and failure.attempt == 1:
                message += f"; without a network: {WITHOUT_NETWORK}"
            self.tell(Kind.NOTICE, level="warning", message=message)

        try:
            return download(
                request.uri, partial, policy=replace(self.policy, limit=self._limit(request)), validators=validators,
                deadline=self.deadline, watcher=Watcher(on_retry=warn),
            )  # fmt: skip
        except DownloadError as error:
            raise ArtifactError(words(error.failure), hint=_hint(error.failure), span=request.span) from None

    def _from_cache(self, request: FetchRequest, note: dict[str, Any], *, attempts: int) -> _Found:
        self._warn(request, html=bool(note.get("html")))
        _compare(request, note["sha256"])
        return _Found(sha256=note["sha256"], size=note["size"], cached=True, attempts=attempts)

    def _held(self, note_path: Path) -> dict[str, Any]:
        """What the URL last answered, if the file is still there and whole; else empty."""
        try:
            note = read_json(note_path)
            whole_of(note, "size")
            path = self._path(Path(text_of(note, "sha256")).name)
            with open_file(path) as file:
                return dict(note) if hash_rest(file, path, check=self.deadline.check) == note["sha256"] else {}
        except (OSError, *SHAPE_ERRORS):
            return {}

    def _examine(self, path: Path) -> tuple[str, bool]:
        """The file's sha256, and whether it looks like a web page."""
        with open_file(path) as file:
            html = _HTML.match(file.read(2048)) is not None
            file.seek(0)
            return hash_rest(file, path, check=self.deadline.check), html

    def _path(self, sha256: str) -> Path:
        return self.cache / "files" / sha256

    @contextmanager
    def _incoming(self) -> Iterator[Path]:
        folder = self.cache / "files"
        folder.mkdir(parents=True, exist_ok=True)
        # A name that the sweep of dead processes knows: this process may be killed, and daemon threads end like that.
        partial = folder / partial_name("incoming")
        self.partials.add(partial)
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)
            self.partials.discard(partial)

    def abandon(self) -> None:
        """Nobody waits any more: what threads are in the midst of goes, for the program may end before they do."""
        for partial in tuple(self.partials):
            partial.unlink(missing_ok=True)

    def _keep(self, partial: Path, sha256: str) -> None:
        partial.chmod(0o444)
        partial.replace(self._path(sha256))

    def _warn(self, request: FetchRequest, *, html: bool) -> None:
        path = urlsplit(request.uri).path.lower()
        if html and not path.endswith((".html", ".htm")):
            message = f"{self.mask(request.uri)} answers with a web page (HTML), not with a script or file (E28)"
            if raw := raw_address(request.uri):
                message += f"; did you mean {self.mask(raw)} ?"
            self.tell(Kind.NOTICE, level="warning", message=message)


def policy_of(size: int | None = None, seconds: float | None = None) -> Policy:
    """`POLICY`, with other bounds where they are given."""
    return replace(POLICY, limit=size or POLICY.limit, seconds=seconds or POLICY.seconds)


def raw_address(url: str) -> str | None:
    """The address of the file itself for the address of GitHub's page about it; None for all others."""
    match = re.fullmatch(r"https?://(?:www\.)?github\.com/([^/?#]+/[^/?#]+)/blob/([^?#]+)(?:[?#].*)?", url)
    return f"https://raw.githubusercontent.com/{match.group(1)}/{match.group(2)}" if match else None


def _hint(failure: Failure) -> str:
    if failure.bound:
        return "the settings download_size and download_time (and 64 MiB for a script) are the most that is taken"
    if failure.status in (404, 410):
        return "check the address; a private repository or storage account also answers 404 to strangers"
    if failure.status in (401, 403):
        return "make the file public, use a SAS address, or test with --map PREFIX=DIR and a local copy"
    return f"check the network; without one: {WITHOUT_NETWORK}"


def _validators(note: dict[str, Any]) -> dict[str, str]:
    headers = {"If-None-Match": note.get("etag"), "If-Modified-Since": note.get("last_modified")}
    return {name: str(value) for name, value in headers.items() if value}


def _compare(request: FetchRequest, sha256: str) -> None:
    """The template's sha256Checksum is lower-case hex of the file's bytes (facts: service 3)."""
    if request.sha256 is None or request.sha256 == sha256:
        return
    hint = "write the checksum in lower case" if request.sha256.lower() == sha256 else (
        "the file has changed since the template was written, or the address is not the file's: look at it, then "
        f'set "sha256Checksum": "{sha256}"'
    )  # fmt: skip
    raise ArtifactError(
        f"{redact_url(request.uri)}: the file's sha256 is not the template's sha256Checksum",
        details=[f"template: {request.sha256}", f"file:     {sha256}"],
        hint=hint,
        span=request.span,
    )
