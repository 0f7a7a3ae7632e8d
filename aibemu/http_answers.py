"""What an HTTP answer says about the file in it, what an exception of requests says to a person, and the session that
asks."""

from __future__ import annotations

import re
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from aibemu.clock import Clock
from aibemu.redact import redact_url

if TYPE_CHECKING:
    import requests

# A few bytes of these may unpack to gigabytes at once, or nobody here can unpack them.
_PACKERS = frozenset({"br", "compress", "dcb", "dcz", "x-compress", "zstd"})
_UNPACKED = frozenset({"gzip", "x-gzip", "deflate"})
_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/([0-9]{1,18}|\*)")


def hang_up(answer: requests.Response) -> None:
    """Wake the thread that still reads. urllib3 before 2.3 cannot: it ends when the server is silent for too long."""
    with suppress(AttributeError, ValueError, RuntimeError, OSError):
        answer.raw.shutdown()


def encoded(answer: requests.Response) -> bool:
    """Some servers compress although they were asked not to; requests unpacks that."""
    return answer.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")


def packed(answer: requests.Response) -> str:
    """Name of a compression that is not unpacked here, as several in each other are not; empty if there is none. Some
    servers write other things into Content-Encoding (`utf-8`, `aws-chunked`) and send the file as it is."""
    names = [name.strip() for name in answer.headers.get("Content-Encoding", "").lower().split(",")]
    known = [name for name in names if name in _PACKERS | _UNPACKED]
    unknown = sorted(_PACKERS.intersection(known))
    return ", ".join(unknown or known) if unknown or len(known) > 1 else ""


def drop_body_of_redirect(answer: requests.Response, *_: object, **__: object) -> None:
    """A hook of requests, which would read the whole body before it goes on to where the answer leads."""
    if answer.is_redirect:
        answer.close()
        answer._content = b""
        answer._content_consumed = True  # type: ignore[attr-defined]


def content_range(answer: requests.Response) -> tuple[int | None, int | None]:
    """First byte of a part, and bytes of the whole file, as Content-Range says."""
    match = _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    first, total = match.groups() if match else (None, None)
    return int(first) if first else None, int(total) if total and total != "*" else None


def version(answer: requests.Response) -> str:
    """What If-Range may name: a strong ETag, or else the date."""
    tag: str = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def is_of(answer: requests.Response, tag: str) -> bool:
    """Whether the answer is of the version that `tag` names, where it says so: not every server obeys If-Range."""
    said: str = answer.headers.get("ETag" if tag.startswith('"') else "Last-Modified", "")
    return said in ("", tag)


def first_words(answer: requests.Response, beginning: bytes) -> str:
    """The code and first line of a storage account's XML error, or the first line of a plain text."""
    body = beginning.decode("utf-8", errors="replace")
    if code := re.search(r"<Code>([^<]{1,200})</Code>", body):
        message = re.search(r"<Message>([^<\n]{0,300})", body)
        return f"{code.group(1)}: {message.group(1).strip()}" if message else code.group(1)
    if answer.headers.get("Content-Type", "").startswith("text/plain"):
        return redact_url(body.strip().partition("\n")[0])[:200]
    return ""


def retry_after(text: str, clock: Clock) -> float:
    """Seconds, from a number of them or a date; 0 for anything else."""
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - clock.now()).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def say(error: Exception) -> str:
    """A person's words for an exception of requests, on one line: its innermost cause, without objects' addresses and
    secrets."""
    while error.args and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    reason = getattr(error, "reason", None)
    if isinstance(reason, Exception):
        return say(reason)
    text = re.sub(r"^<[^>]*>:\s*|^\w+\([^)]*\):\s*", "", str(error)) or type(error).__name__
    return redact_url(" ".join(text.split()))


def open_session(*, netrc: bool) -> requests.Session:
    """A session that logs in as the URL says, and as this user's ~/.netrc says only with `netrc`."""
    import requests

    if netrc:
        return requests.Session()

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
