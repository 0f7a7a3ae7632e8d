"""Uploading a VHD as a page blob: only ranges that are not zero, several at a time, retried by Azure's own library.

The address holds a SAS token, which is a secret: nothing said, logged or raised here contains it. azure-storage-blob is
an optional extra and imported only here.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from aibemu.clock import Deadline
from aibemu.distributors.destinations import BlobDestination
from aibemu.distributors.sparse import read_chunks
from aibemu.distributors.vhd_format import SECTOR
from aibemu.errors import DistributeFailed, HostNotReady
from aibemu.interruptible import Interruptible

# Azure takes 4 MiB at once; less, so that a cancelled upload over a slow line ends soon.
CHUNK = 1024 * 1024
WORKERS = 4
_REPORT_EVERY = 15.0
_EXTRA = 'pip install "aibemu[blob]"'
# Loggers that would show the address: urllib3 writes each request's path and query at level debug.
_LOGGERS = ("urllib3.connectionpool", "azure.core.pipeline.policies.http_logging_policy")

Chunk = tuple[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """What an upload sent: requests that carried pages, and their bytes."""

    requests: int
    sent: int


def check_library() -> None:
    """`HostNotReady` when azure-storage-blob is not installed."""
    try:
        found = find_spec("azure.storage.blob") is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise HostNotReady(
            "uploading to a blob needs azure-storage-blob, which is not installed",
            hint=f"install it: {_EXTRA}; or give uri a local path",
            commands=[_EXTRA],
        )


def upload_page_blob(
    source: Path, destination: BlobDestination, *, deadline: Deadline, say: Callable[[str], None]
) -> Uploaded:
    """Write the file (a whole number of sectors) as a page blob, over an existing one; its end, the footer, comes last.

    Raises `DistributeFailed` and what `deadline` raises; the incomplete blob is then deleted if the token allows it.
    """
    secret = _Secret(destination.url)
    size = source.stat().st_size
    created = False
    failure: Exception
    with secret.kept_from_logs(), _client(destination, deadline) as client:
        calls = Interruptible(deadline, name="upload-request")
        try:
            calls.call(lambda: client.create_page_blob(size))
            created = True
            pages = _Pages(client, size)
            _send_all(read_chunks(source, chunk=CHUNK, unit=SECTOR), pages, destination, deadline, say)
            calls.call(pages.finish)
            return Uploaded(requests=pages.requests, sent=pages.sent)
        except _azure_errors() as error:
            failure = error
        except BaseException:
            if created:
                _discard(client)
            raise
        finally:
            calls.end()
        left = created and not _discard(client)
    # Raised outside of the handler: the library's error, which holds the address, must not travel along.
    raise _explain(failure, destination, secret, left=left)


class _Pages:
    """Sends chunks, and keeps the last sector back until all others are there: half a VHD has no footer."""

    def __init__(self, client: Any, size: int) -> None:
        self._client = client
        self._last = size - SECTOR
        self._footer = b""
        self._lock = threading.Lock()
        self.requests = 0
        self.sent = 0

    def send(self, chunk: Chunk) -> None:
        offset, content = chunk
        if offset + len(content) > self._last:
            self._footer, content = content[-SECTOR:], content[:-SECTOR]
        if content:
            self._put(offset, content)

    def finish(self) -> None:
        if self._footer:
            self._put(self._last, self._footer)

    def _put(self, offset: int, content: bytes) -> None:
        self._client.upload_page(content, offset=offset, length=len(content))
        with self._lock:
            self.requests += 1
            self.sent += len(content)


class _Crew:
    """A few threads that take chunks one by one and send them; all stop at the first failure of any."""

    def __init__(self, chunks: Generator[Chunk, None, None], pages: _Pages) -> None:
        self.failures: list[BaseException] = []
        self._chunks, self._pages = chunks, pages
        self._over, self._lock = threading.Event(), threading.Lock()
        names = (f"upload-{number}" for number in range(WORKERS))
        self._threads = [threading.Thread(target=self._work, daemon=True, name=name) for name in names]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def done(self) -> bool:
        return bool(self.failures) or not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        self._over.set()
        with self._lock:
            self._chunks.close()

    def _work(self) -> None:
        try:
            while not self._over.is_set():
                with self._lock:
                    chunk = next(self._chunks, None)
                if chunk is None:
                    return
                self._pages.send(chunk)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self.failures.append(error)
            self._over.set()


def _send_all(
    chunks: Generator[Chunk, None, None],
    pages: _Pages,
    destination: BlobDestination,
    deadline: Deadline,
    say: Callable[[str], None],
) -> None:
    """Send all chunks from a few threads; the first error of any ends all. The threads never outlive the program."""
    crew = _Crew(chunks, pages)
    told = deadline.clock.monotonic()

    def done() -> bool:
        nonlocal told
        if deadline.clock.monotonic() - told >= _REPORT_EVERY:
            told = deadline.clock.monotonic()
            say(f"{pages.sent >> 20} MiB sent to {destination.address}")
        return crew.done()

    crew.start()
    try:
        deadline.poll(done, every=0.05)
    finally:
        crew.stop()
    if crew.failures:
        raise crew.failures[0]


@contextmanager
def _client(destination: BlobDestination, deadline: Deadline) -> Iterator[Any]:
    from azure.core.pipeline.transport import RequestsTransport
    from azure.storage.blob import BlobClient, ExponentialRetry

    class Transport(RequestsTransport):  # type: ignore[misc]
        """Pauses between tries end with the build."""

        def sleep(self, duration: float) -> None:
            deadline.sleep(duration)

    with BlobClient.from_blob_url(
        destination.url,
        transport=Transport(connection_timeout=10, read_timeout=30),
        retry_policy=ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=5),
    ) as client:
        yield client


def _azure_errors() -> type[Exception]:
    from azure.core.exceptions import AzureError

    return AzureError


def _discard(client: Any) -> bool:
    """Delete the incomplete blob, without insisting: the token may not allow it and the network may be gone."""
    try:
        client.delete_blob(retry_total=0, connection_timeout=3, read_timeout=3)
    except _azure_errors():
        return False
    return True


class _Secret:
    """The query of an address, to be kept out of every text."""

    def __init__(self, url: str) -> None:
        query = urlsplit(url).query
        signatures = parse_qs(query).get("sig", [])
        raw = re.findall(r"(?:^|&)sig=([^&]+)", query)
        self._texts = sorted({query, *signatures, *raw, *map(unquote, raw)} - {""}, key=len, reverse=True)

    def hide(self, text: str) -> str:
        for secret in self._texts:
            text = text.replace(secret, "***")
        return re.sub(r"sig=[^&\s'\"]+", "sig=***", text)

    @contextmanager
    def kept_from_logs(self) -> Iterator[None]:
        """Rewrite what the libraries log meanwhile."""

        def clean(record: logging.LogRecord) -> bool:
            record.msg, record.args = self.hide(record.getMessage()), ()
            return True

        loggers = [logging.getLogger(name) for name in _LOGGERS]
        for logger in loggers:
            logger.addFilter(clean)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(clean)


_HINTS = {
    401: "make a new SAS token with the permissions create and write",
    403: "the SAS token is wrong, over, or lacks the permissions create and write: make a new one",
    404: "create the container first, and check the account's name",
    412: "the blob is leased: break the lease or give uri another name",
}


def _explain(error: Exception, destination: BlobDestination, secret: _Secret, *, left: bool) -> DistributeFailed:
    """The library's error in our words: status and code, never the request."""
    status = getattr(error, "status_code", None)
    details = []
    if status:
        code = getattr(error, "error_code", None)
        what = f"{status} {getattr(code, 'value', code) or getattr(error, 'reason', '')}".strip()
        hint = _HINTS.get(int(status), "check the address, its token and the storage account")
    else:
        what = type(error).__name__
        details.append(secret.hide(str(error).splitlines()[0] if str(error) else ""))
        hint = "check the account's name in uri and this host's network"
    if left:
        details.append("an incomplete blob without a footer is left there: the token may not delete it")
    return DistributeFailed(f"{destination.address} could not be written: {what}", details=details, hint=hint)
