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

from aibemu.clock import Clock
from aibemu.guest.platform.http import Reply, Request
from aibemu.redact import MASK, Redactor

LONGEST = 4000  # characters of a body
LARGEST = 64 << 20  # bytes of the whole file; an agent that polls for a day writes a tenth of it
# Headers that say something; the rest is the same in every request.
_TELLING = ("metadata", "x-forwarded-for", "x-ms-agent-name", "x-ms-version", "x-ms-client-request-id", "content-type")
FULL = {"full": "the record has reached its largest size; later requests are answered but not recorded"}


class Journal:
    """Appends to `path`; may be called from several threads."""

    def __init__(self, path: Path, clock: Clock, secrets: Iterable[str] = (), *, largest: int = LARGEST) -> None:
        self._clock = clock
        self._redact = Redactor(secrets)
        self._lock = threading.Lock()
        self._left = largest - (path.stat().st_size if path.exists() else 0)
        self._stream = path.open("a", encoding="utf-8", errors="replace", buffering=1)

    def write(self, service: str, request: Request, reply: Reply, seconds: float) -> None:
        """Record one request with its answer."""
        entry: dict[str, Any] = {
            "at": self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "service": service, "method": request.method,
            "target": request.target[:LONGEST], "agent": request.headers.get("user-agent", ""),
            "headers": {name: request.headers[name] for name in _TELLING if name in request.headers},
            "body": _shown(request.body), "status": reply.status, "answer": _without(reply),
            "seconds": round(seconds, 4),
        }  # fmt: skip
        self._append(self._redact(entry))

    def close(self) -> None:
        with self._lock:
            self._stream.close()

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, ensure_ascii=True) + "\n"
        with self._lock:
            if self._left <= 0 or self._stream.closed:
                return
            self._left -= len(line)
            with contextlib.suppress(OSError):  # a full disk: answering counts for more than recording
                self._stream.write(line if self._left > 0 else json.dumps(FULL) + "\n")


def _shown(body: bytes) -> str:
    text = body[: 4 * LONGEST].decode("utf-8", "replace")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(body)} bytes)"


def _without(reply: Reply) -> str:
    """The answer's text without its secrets, which are masked before it is cut: half a token is one too."""
    body = reply.body
    for secret in reply.secrets:
        body = body.replace(secret.encode(), MASK.encode())
    return _shown(body)
