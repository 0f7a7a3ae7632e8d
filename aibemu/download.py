"""One download over http(s), with the service's patience: 10 tries for a fault of the network or the server, none for
an answer that will not change (facts: service 3)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.clock import Deadline
from aibemu.errors import ArtifactError, Span
from aibemu.redact import redact_url

if TYPE_CHECKING:
    import requests

ATTEMPTS = 10
# Seconds after each failed try; the last one for all that follow. What the server asks for counts up to a minute.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
LONGEST_PAUSE = 60.0
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
# Seconds to connect, and between two pieces of the answer.
TIMEOUTS = (10.0, 20.0)
CHUNK = 256 * 1024
_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html[\s>])", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """An answer. `fresh` is False for 304: the copy we have is the latest. Validators as the server gave them."""

    fresh: bool
    attempts: int
    sha256: str = ""
    size: int = 0
    etag: str = ""
    last_modified: str = ""
    html: bool = False


class _TryAgain(Exception):
    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


def download(
    url: str,
    target: Path,
    *,
    validators: dict[str, str],
    deadline: Deadline,
    on_failure: Callable[[str], None],
    span: Span | None = None,
) -> Downloaded:
    """Write what `url` answers to `target`. `validators`: If-None-Match and If-Modified-Since, may be empty.

    on_failure: told of each failed try that will be repeated, in the service's words. Raises `ArtifactError`.
    """
    with _open_session() as session:
        for attempt in range(1, ATTEMPTS + 1):
            deadline.check()
            words = f"Downloading external file ({redact_url(url)}) [attempt {attempt} of {ATTEMPTS}] failed"
            try:
                return _attempt(session, url, target, validators, deadline, attempt)
            except _TryAgain as fault:
                if attempt == ATTEMPTS:
                    raise ArtifactError(f"{words}: {fault}", hint=_hint(str(fault)), span=span) from None
                pause = max(PAUSES[min(attempt, len(PAUSES)) - 1], min(fault.pause, LONGEST_PAUSE))
                on_failure(f"{words}: {fault}; next try in {pause:g} s")
                deadline.sleep(pause)
            except ArtifactError as refusal:
                raise ArtifactError(f"{words}: {refusal.message}", hint=refusal.hint, span=span) from None
    raise AssertionError("unreachable")


def _open_session() -> requests.Session:
    """A session that logs in as the URL says and never with this user's ~/.netrc, which the service has not."""
    import requests

    class Session(requests.Session):
        def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
            if self.should_strip_auth(response.request.url, prepared_request.url):  # type: ignore[no-untyped-call]
                prepared_request.headers.pop("Authorization", None)

    def log_in(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        user, password = requests.utils.get_auth_from_url(prepared.url or "")
        return requests.auth.HTTPBasicAuth(user, password)(prepared) if user or password else prepared

    session = Session()
    session.auth = log_in
    return session


def _attempt(
    session: requests.Session, url: str, target: Path, validators: dict[str, str], deadline: Deadline, attempt: int
) -> Downloaded:
    import requests

    headers = {"User-Agent": "aibemu", "Accept": "*/*", "Accept-Encoding": "identity", **validators}
    try:
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUTS) as answer:
            if answer.status_code == requests.codes.not_modified and validators:
                return Downloaded(fresh=False, attempts=attempt)
            if answer.status_code != requests.codes.ok:
                _refuse(answer)
            return _save(answer, target, deadline, attempt)
    except (
        requests.exceptions.TooManyRedirects,
        requests.exceptions.SSLError,
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
    ) as error:
        raise ArtifactError(_say(error), hint=_hint(_say(error))) from None
    except requests.exceptions.RequestException as error:
        raise _TryAgain(_say(error)) from None
    except UnicodeError as error:  # a host name that cannot be encoded
        raise ArtifactError(f"the address is not valid: {error}") from None


def _save(answer: requests.Response, target: Path, deadline: Deadline, attempt: int) -> Downloaded:
    digest = hashlib.sha256()
    size = 0
    head = b""
    with target.open("wb") as file:
        for chunk in answer.iter_content(CHUNK):
            deadline.check()
            head = head or chunk[:2048]
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
    return Downloaded(
        fresh=True,
        attempts=attempt,
        sha256=digest.hexdigest(),
        size=size,
        etag=answer.headers.get("ETag", ""),
        last_modified=answer.headers.get("Last-Modified", ""),
        html=_HTML.match(head) is not None,
    )


def _refuse(answer: requests.Response) -> None:
    """Raise for an answer without the file: `_TryAgain` if it may get better, else `ArtifactError`."""
    reason = f"HTTP {answer.status_code} {answer.reason or ''}".rstrip()
    said = _first_words(answer)
    text = f"{reason}: {said}" if said else reason
    if answer.status_code in RETRIED or answer.status_code >= 500:
        after = answer.headers.get("Retry-After", "")
        raise _TryAgain(text, float(after) if after.isascii() and after.isdigit() else 0.0)
    raise ArtifactError(text, hint=_hint(text))


def _first_words(answer: requests.Response) -> str:
    """The code and first line of a storage account's XML error, or the first line of a plain text."""
    import requests

    try:
        body = next(answer.iter_content(4096), b"").decode("utf-8", errors="replace")
    except requests.exceptions.RequestException:
        return ""
    if code := re.search(r"<Code>([^<]{1,200})</Code>", body):
        message = re.search(r"<Message>([^<\n]{0,300})", body)
        return f"{code.group(1)}: {message.group(1).strip()}" if message else code.group(1)
    if answer.headers.get("Content-Type", "").startswith("text/plain"):
        return redact_url(body.strip().partition("\n")[0][:200])
    return ""


def _say(error: Exception) -> str:
    """A person's words for an exception of requests: its innermost cause, without objects' addresses and secrets."""
    while error.args and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    reason = getattr(error, "reason", None)
    if isinstance(reason, Exception):
        return _say(reason)
    text = re.sub(r"^<[^>]*>:\s*|^\w+\([^)]*\):\s*", "", str(error)) or type(error).__name__
    return redact_url(text)


def _hint(text: str) -> str:
    if "HTTP 404" in text or "HTTP 410" in text:
        return "check the address; a private repository or storage account also answers 404 to strangers"
    if "HTTP 401" in text or "HTTP 403" in text:
        return "make the file public, use a SAS address, or test with --map PREFIX=DIR and a local copy"
    return "check the network, or use a local copy with --map PREFIX=DIR"
