"""The record of what a guest asked of its platform: one JSON object per line, tokens masked, bounded in size.

`{"at": "...Z", "service": "imds", "method": "GET", "target": "/metadata/instance?...", "agent": "curl/7.88", "headers":
{...}, "body": "...", "status": 200, "answer": "...", "seconds": 0.001}`. Long bodies are cut.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aibemu.append import LineFile
from aibemu.clock import Clock
from aibemu.fabric.http import Reply, Request
from aibemu.redact import MASK, Redactor

LONGEST = 4000  # characters of a body
LONGEST_HEADER = 500
READ = 4 * LONGEST  # characters that are looked at for secrets, before the text is cut: half a secret is one too
# Bytes of the whole file, where nothing else is said; an agent that polls for a day writes a tenth of it.
LARGEST = 64 << 20
# Headers that say something; the rest is the same in every request.
_TELLING = (
    "user-agent",
    "metadata",
    "x-forwarded-for",
    "x-ms-agent-name",
    "x-ms-version",
    "x-ms-client-request-id",
    "content-type",
)
FULL = {
    "full": "the record has reached its largest size (setting platform_log_limit); later requests are answered but not"
    " recorded"
}

MISSING = {"full": "requests are missing here: the disk was full"}


class Journal:
    """Appends to `path`; may be called from several threads. largest: bytes of the file, 0 for no bound."""

    def __init__(self, path: Path, clock: Clock, secrets: Iterable[str] = (), *, largest: int = LARGEST) -> None:
        self._clock = clock
        self._redact = Redactor(secrets)
        self._lock = threading.Lock()
        there = path.stat().st_size if path.exists() else 0
        self._left: float = largest - there if largest else float("inf")
        self._closed = False
        # A full disk: answering counts for more than recording.
        self._file = LineFile(path, missing=lambda count: json.dumps(MISSING | {"missing": count}) + "\n", mode=0o600)

    def write(self, service: str, request: Request, reply: Reply, seconds: float) -> None:
        """Record one request with its answer."""
        headers = {
            name: self._clean(text, LONGEST_HEADER) for name, text in request.headers.items() if name in _TELLING
        }
        entry: dict[str, Any] = {
            "at": self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "service": service, "method": request.method,
            "target": self._clean(request.target, LONGEST), "agent": headers.pop("user-agent", ""), "headers": headers,
            "body": self._clean(_text(request.body), LONGEST), "status": reply.status,
            "answer": self._clean(_without(reply), LONGEST), "seconds": round(seconds, 4),
        }  # fmt: skip
        self._append(entry)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._file.close()

    def _clean(self, text: str, longest: int) -> str:
        """Without secrets, then cut. What is not even looked at is not shown; the bound keeps a guest from making the
        search for secrets the platform's only work."""
        clean: str = self._redact(text[: self._redact.cut(text, min(READ, 4 * longest))])
        return clean if len(clean) <= longest else f"{clean[:longest]}... ({len(text)} characters)"

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, ensure_ascii=True) + "\n"
        with self._lock:
            if self._left <= 0 or self._closed:
                return
            self._left -= len(line)
            with contextlib.suppress(OSError):
                self._file.write(line if self._left > 0 else json.dumps(FULL) + "\n")


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _without(reply: Reply) -> str:
    body = reply.body
    for secret in reply.secrets:
        body = body.replace(secret.encode(), MASK.encode())
    return _text(body)
