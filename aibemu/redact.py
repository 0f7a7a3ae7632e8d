"""Keeping secrets out of everything that is shown or stored: whole lines in, `***` where the secrets were.

Known secrets are registered as they become known; unknown ones are found by their shape: SAS signatures, Authorization
values, tokens, account keys, passwords in URLs, private keys. Redacting twice changes nothing more.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from aibemu.text import UNSEEN, clean, harmless, seen

MASK = "***"
# Shorter ones would black out half of every log.
SHORTEST = 4
# A secret of several lines shows up line by line; lines shorter than this are no secret (`{`, `"type":`).
SHORTEST_LINE = 8
# What stands where a text was cut.
_CUT = ("...", "\u2026")
_CUT_MARK = "|".join(map(re.escape, _CUT))
# A key that goes on for longer is none.
LONGEST_KEY_LINES = 200
# Characters of a line without an end that are looked at, and shown: more are looked at, for what comes before a word
# may tell that it is a secret.
LOOKED_AT, LONGEST_UNFINISHED = 4096, 1000
# Characters on both sides of a place where a text is cut that are looked at: a key of 8192 bits has 12000.
AROUND = 16 * 1024

# Query parameters whose value lets somebody in (Azure SAS, S3, GCS, GitHub and the like).
_PARAMETER = (
    r"(?:sig|signature|code|key|password|passwd|pwd|secret|sas|auth|"
    r"[\w.~-]{0,64}(?:token|secret|signature|credential|password|api[_-]?key|access[_-]?key)[\w.~-]{0,64})"
)
# An escape sequence that is not over yet.
_BEGUN = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*|[ -/]*)?\Z")
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
    # What was cut is known by less: it goes up to the mark of the cut.
    (
        ("://",),
        re.compile(rf"(\b[a-z][a-z0-9+.-]{{0,31}}://[^\s/:@'\"]*:)[^\s/@'\"]+?(?={_CUT_MARK})", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    (("bearer",), re.compile(rf"(\bbearer\s+)[A-Za-z0-9_~+/=-]+(?={_CUT_MARK})", re.IGNORECASE), rf"\1{MASK}"),
    (("eyj",), re.compile(rf"(?<![\w-])eyJ[\w-]{{5,}}+(?:\.[\w-]++){{0,2}}+\.?(?={_CUT_MARK})"), MASK),
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
        # First characters of all of them: a text without any is searched no further.
        self._firsts: frozenset[str] = frozenset()
        # The beginnings of long ones, for texts that were cut in the middle of a secret.
        self._heads: re.Pattern[str] | None = None
        # stream -> lines of a private key seen so far
        self._inside: dict[str, int] = {}
        self.learn(secrets)

    def add(self, secret: str) -> None:
        """Mask `secret` from now on, in each form that a text may have it in, and each of its lines when it has
        several."""
        self.learn([secret])

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask all of these from now on."""
        fresh = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
        with self._lock:
            if fresh <= self._secrets:
                return
            self._secrets |= fresh
            longest_first = sorted(self._secrets, key=lambda form: (-len(form), form))
            self._known = re.compile("|".join(map(_pattern, longest_first)))
            self._firsts = frozenset(form[:SHORTEST].lower() for form in longest_first)
            heads = dict.fromkeys(_pattern(form[:SHORTEST_LINE]) for form in longest_first if len(form) > SHORTEST_LINE)
            self._heads = re.compile("|".join(heads)) if heads else None

    def apart(self) -> Redactor:
        """One with the same secrets that has seen no line of any stream yet."""
        other = Redactor()
        with self._lock:
            other._secrets, other._known, other._heads = set(self._secrets), self._known, self._heads
            other._firsts = self._firsts
        return other

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

    def document(self, value: Any) -> Any:
        """Like a call, for JSON that a user wrote: there a key, and a number, can be a secret too."""
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.document(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return MASK if json.dumps(value) in self._secrets else value
        return self(value)

    def text(self, text: str) -> str:
        """`text` without secrets. What a terminal obeys may stand inside one (`grep --color`): such a line is given
        without what stands there."""
        if UNSEEN.search(text):
            lines = text.split("\n")
            plain = [clean(line) if UNSEEN.search(line) else line for line in lines]
            masked = list(map(self._masked, plain))
            return self._masked("\n".join(
                line if mask == bare else mask for line, bare, mask in zip(lines, plain, masked, strict=True)
            ))  # fmt: skip
        return self._masked(text)

    def _masked(self, text: str) -> str:
        """Repeated until nothing more is found, which is what makes it idempotent."""
        for _ in range(_MOST_PASSES):
            clean = _by_shape(text)
            if self._known is not None and self._may_hold_one(clean):
                clean = self._known.sub(MASK, clean)
                clean = "".join(self._without_cut(clean, self._heads)) if self._heads else clean
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
        # Colours may stand inside of half a secret, too.
        text = clean(_BEGUN.sub("", _last_words(text)))
        # Only the end of a long line is here.
        text = self.beheaded(text)
        cut = min((len(text) - _overlap(text, secret) for secret in secrets), default=len(text))
        return _HALF.sub("", self.text(text[:cut]))[-LONGEST_UNFINISHED:]

    def beheaded(self, text: str) -> str:
        """Without what a text, whose beginning is gone, begins with if that is the end of a known secret."""
        with self._lock:
            secrets = tuple(self._secrets)
        head = max((_overlap(secret, text) for secret in secrets), default=0)
        return MASK + text[head:] if head >= SHORTEST else text

    def cut(self, text: str, most: int) -> int:
        """Where `text` is to be cut: after `most` characters, or before the secret that stands there, for half a secret
        is not always known as one. Needs `AROUND` characters after that place, where there are so many. 0 if the secret
        is all that there is."""
        if len(text) <= most:
            return len(text)
        with self._lock:
            known, long = self._known, [form for form in self._secrets if len(form) > AROUND]
        start = max(0, most - max(map(len, long), default=AROUND))
        part, at = text[start : most + AROUND], most - start
        spans = [*_spans(part, known)]
        if UNSEEN.search(part):
            bare, places = seen(part)
            spans += [(places[first], places[min(last, len(places)) - 1] + 1) for first, last in _spans(bare, known)]
        # Of longer ones only the beginning can be there.
        spans += [(len(part) - size, len(part)) for form in long if (size := _overlap(part, form))]
        while inside := [first for first, last in spans if first < at < last]:
            at = min(inside)
        return start + at

    def _may_hold_one(self, text: str) -> bool:
        folded = text.lower()
        return any(folded[at : at + SHORTEST] in self._firsts for at in range(len(folded) - SHORTEST + 1))

    def _without_cut(self, text: str, heads: re.Pattern[str]) -> Iterator[str]:
        """Half a secret is one too: where a text was cut, what is left of a secret goes."""
        place = 0
        for match in heads.finditer(text):
            if match.start() < place:
                continue
            end = max((_common(form, text, match.start()) for form in self._secrets), default=0)
            # The dots of the cut may be those that the secret has at that place.
            if end == len(text) or any(text.startswith(_CUT, at) for at in range(end - 2, end + 1)):
                yield text[place : match.start()]
                yield MASK
                place = end
        yield text[place:]

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


def _spans(text: str, known: re.Pattern[str] | None) -> Iterator[tuple[int, int]]:
    """Where in `text` secrets stand, each with what tells that it is one: that may be the character after it."""
    for _, pattern, _ in _tried(text):
        yield from ((found.start(), found.end() + 1) for found in pattern.finditer(text))
    if known is not None:
        yield from (found.span() for found in known.finditer(text))


def _last_words(text: str) -> str:
    """So much of the end of a text as is looked at, from the beginning of a word on: half a secret is not known by its
    shape."""
    if len(text) <= LOOKED_AT:
        return text
    gap = re.search(r"\s", text[-LOOKED_AT:])
    return text[-LOOKED_AT:][gap.end() :] if gap else ""


def _overlap(text: str, secret: str) -> int:
    """How many of the last characters of `text` are the first ones of `secret`."""
    most = min(len(text), len(secret) - 1)
    # Long ones are looked for by their first characters: to try each length takes seconds for a long secret.
    tail, probe = text[len(text) - most :], secret[:SHORTEST_LINE]
    at = tail.find(probe)
    while at >= 0:
        if secret.startswith(tail[at:]):
            return most - at
        at = tail.find(probe, at + 1)
    return next((count for count in range(min(most, len(probe)), 0, -1) if secret.startswith(text[-count:])), 0)


def _forms(secret: str) -> Iterator[str]:
    """A secret as it shows up: as it is, in an address, in JSON, XML, Base64 or hexadecimal, quoted for a shell or by
    Python, on one line, without what a terminal obeys; and its lines."""
    yield secret
    yield from (line.strip() for line in secret.splitlines() if len(line.strip()) >= SHORTEST_LINE)
    raw = secret.encode("utf-8", "surrogatepass")
    for text in {secret, secret.strip()}:
        yield text
        for ascii in (True, False):
            yield (escaped := json.dumps(text, ensure_ascii=ascii)[1:-1])
            # So do Go and .NET, PowerShell's ConvertTo-Json among it.
            yield "".join(f"\\u{ord(letter):04x}" if letter in "<>&'+" else letter for letter in escaped)
            yield "".join(f"\\u{ord(letter):04x}" if letter in "<>&" else letter for letter in escaped)
        yield from (html.escape(text, quote=quotes) for quotes in (True, False))
        yield from (shlex.quote(text).removeprefix("'").removesuffix("'"), repr(text)[1:-1])
        yield from (harmless(text), " ".join(text.split()))
        yield "".join(character if character.isprintable() else "\ufffd" for character in text)
    yield from (quote(raw, safe=""), quote(raw), quote_plus(raw))
    for content in (raw, raw + b"\n"):
        yield from (encode(content).decode().rstrip("=") for encode in (base64.b64encode, base64.urlsafe_b64encode))
    for content in (raw, secret.encode("utf-16-le", "surrogatepass")):  # the other one is PowerShell's -EncodedCommand
        yield content.hex()
        yield from _inside_base64(content)


def _inside_base64(content: bytes) -> Iterator[str]:
    """What of the Base64 of a longer text is always the same wherever `content` stands in it."""
    for before, lost in ((0, 0), (1, 2), (2, 3)):
        padded = bytes(before) + content
        whole = padded[: len(padded) // 3 * 3]
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            if len(text := encode(whole).decode()[lost:]) >= SHORTEST_LINE:
                yield text


def _pattern(form: str) -> str:
    """A long secret is found in any case: names of hosts and ids are compared, and written, without regard to it."""
    return f"(?i:{re.escape(form)})" if len(form) >= SHORTEST_LINE else re.escape(form)


def _common(form: str, text: str, start: int) -> int:
    """Where in `text` the longest beginning of `form` ends that stands at `start`; 0 if it is too short for one."""
    end = start
    for one, other in zip(form, text[start : start + len(form)], strict=False):
        if one.lower() != other.lower():
            break
        end += 1
    return end if end - start >= SHORTEST_LINE else 0


def redact_url(url: str) -> str:
    """A URL fit to be shown: no password, no signature, no token. Other parts, the query's too, are kept."""
    for _ in range(_MOST_PASSES):
        previous, url = url, _by_shape(url)
        if previous == url:
            return url
    return MASK


def cut_by_shape(text: str, most: int) -> int:
    """`Redactor.cut` of one that knows no secret: only their shapes."""
    return Redactor().cut(text, most)


def _by_shape(text: str) -> str:
    for _, pattern, replacement in _tried(text):
        text = pattern.sub(replacement, text)
    return text


def _tried(text: str) -> Iterator[tuple[tuple[str, ...], re.Pattern[str], str]]:
    """The patterns that may find something."""
    # Without regard to case other letters stand for ASCII ones too (the Kelvin sign for k): then all are tried.
    lower = text.lower() if text.isascii() else ""
    return (one for one in _PATTERNS if not lower or any(word in lower for word in one[0]))
