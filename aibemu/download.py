"""The one downloader: a file over http(s), as patient and as generous as the policy that its user hands in.

An answer is a file only when as many bytes came as the server had promised: urllib3 2 looks at that, 1.26 does not.
What goes wrong is told as a `Failure`; each user has words of its own for it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.clock import Deadline
from aibemu.errors import Expired
from aibemu.files import write_json
from aibemu.http_answers import (
    content_range,
    drop_body_of_redirect,
    encoded,
    first_words,
    hang_up,
    is_of,
    open_session,
    packed,
    retry_after,
    say,
    version,
)
from aibemu.interruptible import Interruptible
from aibemu.reading import in_words, open_writable
from aibemu.records import SHAPE_ERRORS, read_json

if TYPE_CHECKING:
    import requests

# Bytes that are read at once, and lost at most when a connection breaks.
PIECE = 64 * 1024
# Seconds in which a server must have answered, redirects included; and in which each piece must have come.
ANSWER_SECONDS, STALL_SECONDS = 120.0, 60.0
# What a compressed answer may unpack to, in lengths of what was sent, once it is longer than so many bytes.
MOST_UNPACKED, FROM = 200, 64 << 20
# Bytes that a file of a template may have, unless the settings say something else.
LARGEST = 16 << 30
# What a server says that can be had later. All of 500 and above are taken for that too.
_RETRIED = frozenset({408, 425, 429})
# Not compressed: the lengths that a server names are then those of the file.
_HEADERS: Mapping[str, str] = {"User-Agent": "aibemu", "Accept": "*/*", "Accept-Encoding": "identity"}
_CHANGED = "the file changed between two tries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient a download is, and how much it takes."""

    # How often the server is asked at most.
    tries: int
    # Seconds to wait after each failed try; the last one for all that follow.
    pauses: tuple[float, ...]
    # Seconds that a server's Retry-After counts at most.
    longest_pause: float = 60.0
    # Seconds to connect, and between two pieces of the answer.
    timeouts: tuple[float, float]
    # Bytes that the file may have.
    limit: int
    # Seconds for all tries together: a server may send its bytes one by one.
    seconds: float = 3600.0
    # Keep what came of a file and ask for the rest the next time, in another process too. Only for files that have a
    # checksum: two answers make one file then.
    resume: bool = False
    # Log in as this user's ~/.netrc says.
    netrc: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A try that failed. `reason`: one line without secrets."""

    attempt: int
    reason: str
    # HTTP status of an answer that is not the file; 0 if it was something else.
    status: int = 0
    # Name of the network's error (`ConnectionError`, `ReadTimeout`); empty if the server answered.
    network: str = ""
    # Another try would end the same way.
    final: bool = False
    # It is more, or takes longer, than the policy takes.
    bound: bool = False


class DownloadError(Exception):
    """The last try failed. Always caught, and said in the words of who wanted the file."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """An answer. `fresh` is False for 304: the copy we have is the latest. Validators as the server gave them."""

    fresh: bool
    attempts: int
    # Bytes of the file, or of the part that was asked for; and of the file that it is a part of, 0 if nobody said.
    size: int = 0
    etag: str = ""
    last_modified: str = ""
    whole: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who is told how it goes; called from the caller's thread. Any of them may raise, which ends the download."""

    # A failed try that is repeated after so many seconds.
    on_retry: Callable[[Failure, float], None] = lambda failure, pause: None
    # Bytes so far, bytes in all (None: the server does not say).
    progress: Callable[[int, int | None], None] = lambda done, total: None
    # Bytes that are still to be written, before the first of them.
    make_room: Callable[[int], None] = lambda size: None


def download(
    url: str,
    target: Path,
    *,
    policy: Policy,
    deadline: Deadline,
    validators: Mapping[str, str] | None = None,
    watcher: Watcher | None = None,
    part: tuple[int, int] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Downloaded:
    """Write what `url` answers to `target`. `validators`: If-None-Match and If-Modified-Since. `part`: only the bytes
    from the first to before the second, all of them. `headers`: to be sent, too.

    Raises `DownloadError`, OSError when `target` cannot be written, and what `deadline` raises, also while the server
    is silent. Then nothing is left of the file, unless it can be continued: a JSON file beside it says of which version
    it is.
    """
    bound = deadline.within(policy.seconds, scaled=False)
    transfer = _Transfer(
        url=url, target=target, policy=policy, validators=validators or {}, deadline=bound,
        watcher=watcher or Watcher(), part=part, headers={**_HEADERS, **(headers or {})},
    )  # fmt: skip
    try:
        return transfer.run()
    except Expired:
        transfer.forget(unless_resumable=True)
        deadline.check()
        reason = f"it did not come within {policy.seconds:g} seconds, the most that is waited"
        raise DownloadError(Failure(attempt=transfer.number, reason=reason, final=True, bound=True)) from None
    except BaseException:
        transfer.forget(unless_resumable=True)
        raise


class _Fault(Exception):
    """A try that failed. pause: seconds that the server wants us to wait."""

    def __init__(
        self, reason: str, *, status: int = 0, network: str = "", final: bool = False, bound: bool = False,
        pause: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(reason)
        self.failure = Failure(
            attempt=0, reason=reason, status=status, network=network, final=final or bound, bound=bound
        )  # fmt: skip
        self.pause = pause


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What an earlier try left: bytes, and the ETag or date of the file that they are of. Nothing if size is 0."""

    size: int = 0
    tag: str = ""


@dataclass(slots=True, kw_only=True)
class _Transfer:
    """One URL on its way into one file, try after try."""

    url: str
    target: Path
    policy: Policy
    validators: Mapping[str, str]
    deadline: Deadline
    watcher: Watcher
    part: tuple[int, int] | None
    headers: Mapping[str, str]
    # Of the present try. The thread is its own: that of an earlier try may wait for its server for ever.
    number: int = 0
    calls: Interruptible = field(init=False)

    def run(self) -> Downloaded:
        """Try as often as the policy says. Raises `DownloadError`."""
        policy = self.policy
        for number in itertools.count(1):
            self.deadline.check()
            self.number, self.calls = number, Interruptible(self.deadline, name="download")
            try:
                return self.attempt(number)
            except _Fault as fault:
                failure = replace(fault.failure, attempt=number)
                asked = fault.pause
            finally:
                self.calls.end()
            if failure.final or number == policy.tries:
                raise DownloadError(failure)
            pause = max(policy.pauses[min(number, len(policy.pauses)) - 1], min(asked, policy.longest_pause))
            self.watcher.on_retry(failure, pause)
            self.deadline.sleep(pause)
        raise AssertionError("unreachable")

    def attempt(self, number: int) -> Downloaded:
        """One try. Raises `_Fault`."""
        kept = self._kept()
        headers = {"Range": f"bytes={kept.size}-", "If-Range": kept.tag} if kept.size else self.validators
        if self.part:
            headers = {"Range": f"bytes={self.part[0]}-{self.part[1] - 1}"}
        # A new one for each try: what a server sent beyond its promise must not be taken for the next answer.
        session = open_session(netrc=self.policy.netrc)
        answer = self._open(session, {**self.headers, **headers})
        try:
            if answer.status_code == 304 and headers is self.validators and self.validators:
                return Downloaded(fresh=False, attempts=number)
            size = self._take_part(answer, self.part) if self.part else self._take(answer, kept)
        except _Fault:
            raise
        except BaseException:
            hang_up(answer)
            raise
        finally:
            self.calls.later(answer.close)
            self.calls.later(session.close)
        if self.policy.resume:
            self._state.unlink(missing_ok=True)
        return Downloaded(
            fresh=True, attempts=number, size=size, etag=answer.headers.get("ETag", ""),
            last_modified=answer.headers.get("Last-Modified", ""), whole=content_range(answer)[1] or 0,
        )  # fmt: skip

    def forget(self, *, unless_resumable: bool = False) -> None:
        """Delete what came so far."""
        if unless_resumable and self._kept().size:
            return
        self.target.unlink(missing_ok=True)
        if self.policy.resume:
            self._state.unlink(missing_ok=True)

    def _take(self, answer: requests.Response, kept: _Kept) -> int:
        """Write the answer's bytes behind those that are kept, or anew; returns the file's size."""
        if answer.status_code == 200:
            return self._save(answer, 0)
        if kept.size and answer.status_code in (206, 416):
            start, total = content_range(answer)
            if answer.status_code == 206 and start == kept.size and not encoded(answer) and is_of(answer, kept.tag):
                return self._save(answer, start)
            if answer.status_code == 416 and total == kept.size and is_of(answer, kept.tag):
                return kept.size  # it was whole already
            self.forget()
            raise _Fault(_CHANGED)
        raise self._refusal(answer)

    def _take_part(self, answer: requests.Response, part: tuple[int, int]) -> int:
        """Write the part that was asked for."""
        if answer.status_code != 206:
            raise _Fault("the server gives no parts of it", final=True) if answer.ok else self._refusal(answer)
        if content_range(answer)[0] != part[0] or encoded(answer):
            raise _Fault("the server gave another part of it")
        if (size := self._save(answer, 0)) != part[1] - part[0]:
            raise _Fault(f"the server sent {size} of {part[1] - part[0]} bytes")
        return size

    def _save(self, answer: requests.Response, start: int) -> int:
        if unreadable := packed(answer):
            raise _Fault(f"the server compresses it as {unreadable}, though it was asked not to", final=True)
        promised = answer.raw.length_remaining  # None: not said. Of bytes as they are sent, which may be compressed.
        total = None if encoded(answer) else content_range(answer)[1] if start else promised
        size = start
        self._bound(max(total or 0, start + (promised or 0)))
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if start else os.O_TRUNC)
        with os.fdopen(open_writable(self.target, flags, mode=0o644), "wb") as file:
            if self.policy.resume and not start:  # only now: of the file that this tells of nothing is there yet
                write_json(self._state, {"tag": "" if encoded(answer) else version(answer)})
            if total is not None:
                self.watcher.make_room(total - start)
            for piece in self._pieces(answer):
                size += len(piece)
                self._bound(size)
                self._bound_unpacked(answer, size)
                file.write(piece)
                self.watcher.progress(size, total)
        came = answer.raw.tell()
        if promised is not None and came != promised:
            raise _Fault(f"the connection ended early: {start + came} of {start + promised} bytes came")
        if total is not None and size != total:
            if size > total:
                self.forget()
            raise _Fault(f"the server sent {size} of {total} bytes")
        return size

    def _bound(self, size: int) -> None:
        if size > self.policy.limit:
            self.forget()
            raise _Fault(f"the file is larger than {in_words(self.policy.limit)}, the most that is taken", bound=True)

    def _bound_unpacked(self, answer: requests.Response, size: int) -> None:
        if size > FROM and encoded(answer) and size > MOST_UNPACKED * answer.raw.tell():
            self.forget()
            reason = f"the server compresses it, and it unpacks to more than {MOST_UNPACKED} times of what was sent"
            raise _Fault(reason, bound=True)

    def _open(self, session: requests.Session, headers: Mapping[str, str]) -> requests.Response:
        from requests import exceptions
        from urllib3.exceptions import HTTPError

        def ask() -> requests.Response:
            hooks = {"response": drop_body_of_redirect}
            return session.get(
                self.url, headers=dict(headers), stream=True, timeout=self.policy.timeouts, hooks=hooks
            )  # fmt: skip

        try:
            answer = self.calls.call(ask, seconds=ANSWER_SECONDS)
        except Expired:
            self.deadline.check()
            raise _Fault(f"no answer came within {ANSWER_SECONDS:g} seconds", network="Timeout") from None
        except (
            exceptions.TooManyRedirects,
            exceptions.SSLError,
            exceptions.InvalidURL,
            exceptions.InvalidSchema,
            exceptions.MissingSchema,
        ) as error:
            raise _Fault(say(error), final=True) from None
        except exceptions.RequestException as error:
            raise _Fault(say(error), network=type(error).__name__) from None
        except ValueError as error:  # the address itself, or the one that it leads to, which requests does not look at
            raise _Fault(f"the address is not valid: {say(error)}", final=True) from None
        except HTTPError as error:
            raise _Fault(say(error), network=type(error).__name__) from None
        # One comparison for all versions of urllib3: ours.
        answer.raw.enforce_content_length = False
        return answer

    def _pieces(self, answer: requests.Response) -> Iterator[bytes]:
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError

        pieces = answer.iter_content(PIECE)
        try:
            while piece := self.calls.call(lambda: next(pieces, b""), seconds=STALL_SECONDS):
                yield piece
        except Expired:
            hang_up(answer)
            self.deadline.check()
            raise _Fault(
                f"less than {PIECE >> 10} KiB came within {STALL_SECONDS:g} seconds", network="Timeout"
            ) from None
        except (RequestException, HTTPError, ValueError) as error:  # ValueError: a chunk of less than no bytes
            raise _Fault(say(error), network=type(error).__name__) from None

    def _refusal(self, answer: requests.Response) -> _Fault:
        """What an answer without the file means: it may get better, or not."""
        status = answer.status_code
        reason = f"HTTP {status} {answer.reason or ''}".rstrip()
        words = self._first_words(answer)
        return _Fault(
            f"{reason}: {words}" if words else reason, status=status, final=status not in _RETRIED and status < 500,
            pause=retry_after(answer.headers.get("Retry-After", ""), self.deadline.clock),
        )  # fmt: skip

    def _first_words(self, answer: requests.Response) -> str:
        try:
            return "" if packed(answer) else first_words(answer, next(self._pieces(answer), b"")[:4096])
        except _Fault:
            return ""

    @property
    def _state(self) -> Path:
        return self.target.with_suffix(".json")

    def _kept(self) -> _Kept:
        if not self.policy.resume:
            return _Kept()
        try:
            tag = str(read_json(self._state)["tag"])
            return _Kept(size=self.target.stat().st_size, tag=tag) if tag else _Kept()
        except (OSError, *SHAPE_ERRORS):
            return _Kept()
