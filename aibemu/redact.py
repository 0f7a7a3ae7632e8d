"""Keeping secrets out of everything that is shown or stored: whole lines in, `***` where the secrets were.

Known secrets are registered; unknown ones are found by their shape: SAS signatures, Authorization values, tokens,
account keys, passwords in URLs, private keys. Redacting twice changes nothing more.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

MASK = "***"
# Shorter ones would black out half of every log.
SHORTEST = 4
# A secret of several lines shows up line by line; lines shorter than this are no secret (`{`, `"type":`).
SHORTEST_LINE = 8
# A key that goes on for longer is none.
LONGEST_KEY_LINES = 200
# Characters of a line without an end that are looked at, and shown.
LONGEST_UNFINISHED = 1000

# Query parameters whose value lets somebody in (Azure SAS, S3, GCS, GitHub and the like).
_PARAMETER = (
    r"(?:sig|signature|code|key|password|passwd|pwd|secret|sas|auth|"
    r"[\w.~-]{0,64}(?:token|secret|signature|credential|password|api[_-]?key|access[_-]?key)[\w.~-]{0,64})"
)
_KEY_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_KEY_END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINE = re.compile(r"[\sA-Za-z0-9+/=]*|(?:Proc-Type|DEK-Info|Version|Comment): .*|\*\*\*")
# How often a text is looked at again at most. What is still found then was made to be: nothing of it is shown.
_MOST_PASSES = 10
# Text of every guest goes through these, a line of a megabyte at worst. So each takes a time that grows with the text's
# length and no faster (no two parts in a row may share what they match, or what they match is bounded), and is tried
# only on a text that has one of the words that it begins with.
_PATTERNS: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (
        ("private key",),
        re.compile(rf"{_KEY_BEGIN.pattern}.*?(?:{_KEY_END.pattern}|\Z)", re.DOTALL), MASK,
    ),
    (
        ("://",),
        re.compile(r"(\b[a-z][a-z0-9+.-]{0,31}://[^\s/:@'\"]*:)[^\s/@'\"]+(?=@)", re.IGNORECASE), rf"\1{MASK}",
    ),
    (("://",), re.compile(r"(\bhttps?://)[^\s/:@'\"]+(?=@)", re.IGNORECASE), rf"\1{MASK}"),
    (("=",), re.compile(rf"([?&;]{_PARAMETER}=)[^&\s'\"<>#;]+", re.IGNORECASE), rf"\1{MASK}"),
    (("sig=", "sig%3d"), re.compile(r"(\bsig(?:=|%3D))[^&\s'\"<>;]+", re.IGNORECASE), rf"\1{MASK}"),
    (
        ("key=", "signature="),
        re.compile(r"(\b(?:AccountKey|SharedAccessKey|SharedAccessSignature)=)[^;\s'\"]+", re.IGNORECASE), rf"\1{MASK}",
    ),
    (
        ("authorization",),
        re.compile(
            r"(authorization['\"]?\s*[:=]\s*['\"]?)(?:(bearer|basic|token|digest|negotiate|sharedkey(?:lite)?)\s+)?"
            r"[^\s'\",;]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (("bearer",), re.compile(r"(\bbearer\s+)[A-Za-z0-9._~+/=-]{16,}", re.IGNORECASE), rf"\1{MASK}"),
    (
        ("eyj",),
        # The look ahead is at the beginning of a word only: a line of nothing but `-eyJ` would take minutes else.
        re.compile(r"(?<![\w-])(?=[\w-]{11,}+\.[\w-]{8})([\w-]*?)\beyJ[\w-]{8,}+\.[\w-]{8,}+(?:\.[\w-]*)?"),
        rf"\1{MASK}",
    ),
)  # fmt: skip
# What may become a secret by its shape with what comes next: an address, an assignment, a long word, a token's name.
_HALF = re.compile(
    r"(?:\b(?:authorization|bearer|basic|digest|negotiate|token)\b['\":=\s]*\S*|(?<!\S)(?![\d:/.%-]+\Z)\S*[:/=@?&]\S*"
    r"|[\w+.~-]{16,}|-----BEGIN.*)\Z",
    re.IGNORECASE,
)


class Redactor:
    """Call it with a string, list or dict: the same shape comes back without the secrets. Dict keys stay.

    A dict with `stream` and `line` (one `step.output` event) is a line of that stream: a private key that is printed
    line by line is masked to its end.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._secrets: set[str] = set()
        self._known: re.Pattern[str] | None = None
        # stream -> lines of a private key seen so far
        self._inside: dict[str, int] = {}
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Mask `secret` from now on, also percent-encoded, and each of its lines when it has several."""
        forms = {secret, secret.strip(), quote(secret, safe="")}
        if "\n" in secret:
            forms |= {line.strip() for line in secret.splitlines() if len(line.strip()) >= SHORTEST_LINE}
        with self._lock:
            self._secrets |= {form for form in forms if len(form) >= SHORTEST}
            longest_first = sorted(self._secrets, key=lambda form: (-len(form), form))
            self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            clean = {key: self(item) for key, item in value.items()}
            if isinstance(value.get("line"), str) and isinstance(value.get("stream"), str):
                clean["line"] = self._line(str(value["stream"]), value["line"], clean["line"])
            return clean
        if isinstance(value, list | tuple):
            return type(value)(map(self, value)) if type(value) in (list, tuple) else [self(item) for item in value]
        return value

    def text(self, text: str) -> str:
        """`text` without secrets; repeated until nothing more is found, which is what makes it idempotent."""
        for _ in range(_MOST_PASSES):
            clean = _by_shape(text)
            if self._known is not None and any(secret in clean for secret in tuple(self._secrets)):
                clean = self._known.sub(MASK, clean)
            if clean == text:
                return text
            text = clean
        return MASK

    def unfinished(self, text: str) -> str:
        """The beginning of a line whose end has not come yet: without secrets, and without an end that may be the
        beginning of one."""
        with self._lock:
            if self._inside:
                return ""
            secrets = tuple(self._secrets)
        text = text[-LONGEST_UNFINISHED:]
        cut = min((len(text) - _overlap(text, secret) for secret in secrets), default=len(text))
        return _HALF.sub("", self.text(text[:cut]))

    def _line(self, stream: str, line: str, clean: str) -> str:
        with self._lock:
            if _KEY_BEGIN.search(line) and not _KEY_END.search(line):
                self._inside[stream] = 0
                return clean
            seen = self._inside.get(stream)
            if seen is None:
                return clean
            if _KEY_END.search(line):
                del self._inside[stream]
                return MASK
            if seen >= LONGEST_KEY_LINES or not _KEY_LINE.fullmatch(line):
                del self._inside[stream]
                return clean
            self._inside[stream] = seen + 1
            return MASK


def _overlap(text: str, secret: str) -> int:
    """How many of the last characters of `text` are the first ones of `secret`."""
    most = min(len(text), len(secret) - 1)
    return next((count for count in range(most, 0, -1) if secret.startswith(text[-count:])), 0)


def redact_url(url: str) -> str:
    """A URL fit to be shown: no password, no signature, no token. Other parts, the query's too, are kept."""
    for _ in range(_MOST_PASSES):
        previous, url = url, _by_shape(url)
        if previous == url:
            return url
    return MASK


def _by_shape(text: str) -> str:
    # Without regard to case other letters stand for ASCII ones too (the Kelvin sign for k): then all are tried.
    lower = text.lower() if text.isascii() else ""
    for words, pattern, replacement in _PATTERNS:
        if not lower or any(word in lower for word in words):
            text = pattern.sub(replacement, text)
    return text
