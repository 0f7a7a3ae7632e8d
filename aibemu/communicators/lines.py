"""Bytes of a stream into the lines that Packer would show (facts: provisioners 0).

A line ends at `\\n`; white space at its end is dropped; of a progress bar only the text after the last `\\r` is kept;
blank lines count. Lines are cut before they are decoded, so a character that arrives in two pieces stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from aibemu.redact import cut_by_shape

# What Go's unicode.IsSpace says; Python's own idea of white space has more (U+001C to U+001F).
_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
# Something that never ends its line (a dump of a device) must not fill the memory: it is cut here.
LONGEST = 1024 * 1024
# It is cut when there is this part of it more: what comes next may be the rest of a secret.
AHEAD = 1 / 64
# Bytes at the end of a line without an end that are worth a look: so many that a token, and what names it before it,
# are mostly in it as a whole. A word that is cut is left out: half a token is not known by its shape.
SHOWN = 2048
_GAP = re.compile(rb"\s")


class Lines:
    """Cuts what `feed` gets into lines for `emit`; `close` gives what is left.

    unfinished: gets what stands after the last newline, as a terminal would show it, whenever that may have changed.
    cut: where a text is cut that is too long, so that no secret becomes two halves (`aibemu.redact.Redactor.cut`).
    """

    def __init__(
        self, emit: Callable[[str], None], unfinished: Callable[[str], None] | None = None, *,
        cut: Callable[[str, int], int] = cut_by_shape,
    ) -> None:  # fmt: skip
        self._emit = emit
        self._unfinished = unfinished
        self._cut = cut
        self._shows = False
        self._rest = bytearray()

    def feed(self, data: bytes) -> None:
        first, *others = data.split(b"\n")
        self._rest += first
        for other in others:
            line, self._rest = self._rest, bytearray(other)
            self._emit(clean(line))
        if len(self._rest) > _most():
            self._shorten()
        self._show()

    def close(self) -> None:
        if self._rest:
            line, self._rest = self._rest, bytearray()
            self._emit(clean(line))
        self._show()

    def _show(self) -> None:
        if self._unfinished is not None and (self._rest or self._shows):
            self._shows = bool(self._rest)
            self._unfinished(clean(_last_words(self._rest)))

    def _shorten(self) -> None:
        """Forget what a progress bar has overwritten; if that is not enough, end the line here."""
        start = self._rest.rstrip().rfind(b"\r") + 1
        del self._rest[:start]
        while len(self._rest) > _most():
            end = self._piece()
            line = self._rest[:end]
            del self._rest[:end]
            self._emit(clean(line))

    def _piece(self) -> int:
        """How many bytes are a line of their own."""
        end = LONGEST
        while end > LONGEST - 4 and self._rest[end] & 0xC0 == 0x80:  # not inside a character
            end -= 1
        text = self._rest[: _most()].decode("utf-8", "surrogateescape")
        at = self._cut(text, len(self._rest[:end].decode("utf-8", "surrogateescape")))
        return len(text[:at].encode("utf-8", "surrogateescape")) or end


def _most() -> int:
    return LONGEST + int(LONGEST * AHEAD)


def _last_words(rest: bytearray) -> bytes | bytearray:
    if len(rest) <= SHOWN:
        return rest
    end = rest[-SHOWN:]
    gap = _GAP.search(end)
    return end[gap.end() :] if gap else b""


def clean(line: bytes | bytearray) -> str:
    """One line as Packer shows it; undecodable bytes become U+FFFD."""
    return line.decode("utf-8", errors="replace").rstrip(_SPACE).rpartition("\r")[2]
