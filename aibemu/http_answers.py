"""What an HTTP answer says about the file in it, and what an exception of requests says to a person."""

from __future__ import annotations

import re
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from aibemu.clock import Clock
from aibemu.redact import redact_url

if TYPE_CHECKING:
    import requests

_PACKERS = frozenset({"br", "compress", "dcb", "dcz", "x-compress", "zstd"})
_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/([0-9]{1,18}|\*)")


def hang_up(answer: requests.Response) -> None:
    """Wake the thread that still reads. urllib3 before 2.3 cannot: it ends when the server is silent for too long."""
    with suppress(AttributeError, ValueError, RuntimeError, OSError):
        answer.raw.shutdown()


def encoded(answer: requests.Response) -> bool:
    """Some servers compress although they were asked not to; requests unpacks that."""
    return answer.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")


def packed(answer: requests.Response) -> str:
    """Name of a compression that nobody here can unpack; empty if there is none. Some servers write other things into
    Content-Encoding (`utf-8`, `aws-chunked`) and send the file as it is."""
    names = {name.strip() for name in answer.headers.get("Content-Encoding", "").lower().split(",")}
    return ", ".join(sorted((names & _PACKERS) - set(answer.raw.CONTENT_DECODERS)))


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
