"""The one door to people: every line that the program shows passes a `Screen`, whoever wrote what is in it.

It is cleaned for terminals always, and defused where a CI system reads along and obeys what it reads. Both happen here,
where the line is written, so that no other place has to think of it (tests/test_architecture.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TextIO

from aibemu.text import Painted, clean, clean_json, clean_xml, defused

LONGEST = 1024 * 1024  # bytes of a line that is held back until it is over
PIPELINES = ("CI", "TF_BUILD", "GITHUB_ACTIONS")  # of these a CI system sets at least one


def in_pipeline(environ: Mapping[str, str]) -> bool:
    """Whether a CI system reads what is shown, and may take foreign text for commands."""
    return any(environ.get(name) for name in PIPELINES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A stream that people or CI systems read. Nothing is held back: whoever gathers lines flushes."""

    stream: TextIO | None  # None: the program was started without it
    color: bool = False  # whether aibemu's own colours are shown
    pipeline: bool = False  # whether it is defused
    # Takes secrets out of what is said past the record: events passed their run's redactor before.
    mask: Callable[[str], str] = str

    def line(self, text: str, end: str = "\n") -> None:
        """One line; whatever would break it becomes a blank."""
        self._write(self.shown(text) + end)

    def lines(self, text: str) -> None:
        """As many lines as `text` has."""
        for one in (text,) if isinstance(text, Painted) else text.split("\n"):
            self.line(one)

    def shown(self, text: str) -> str:
        """What is shown of one line."""
        parts = text.parts if isinstance(text, Painted) else ((text, ""),)
        made = "".join(
            f"\x1b[{code}m{part}\x1b[0m" if code and self.color else part
            for part, code in ((clean(self.mask(part)), code) for part, code in parts)
        )
        return defused(made) if self.pipeline else made

    def json(self, text: str) -> None:
        """JSON, with all its lines: it stays the same value."""
        self._write(clean_json(text) + "\n")

    def xml(self, text: str) -> None:
        """A line of an XML document in ASCII."""
        self._write(clean_xml(text) + "\n")

    def command(self, text: str) -> None:
        """A workflow command that aibemu gives itself, made by `aibemu.reports.annotations`: it works, and no other one
        that its message holds."""
        head, body = text[:2], text[2:]
        self._write(head + defused(clean(body)) + "\n")

    def control(self, codes: str) -> None:
        """Codes of aibemu's own for a terminal."""
        self._write(codes)

    def flush(self) -> None:
        """Let the reader have it now."""
        if self.stream is not None:
            self.stream.flush()

    def _write(self, text: str) -> None:
        if self.stream is not None:
            encoding = getattr(self.stream, "encoding", None) or "utf-8"
            self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


class PassedOn:
    """Bytes that are passed on as they are, but defused, to `write`: of a guest's command, in a pipeline.

    Whole lines only, and the last gets an end: half a command must not become a whole one by what somebody else writes.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._rest = bytearray()

    def feed(self, data: bytes) -> None:
        """Pass on the lines that are over."""
        self._rest += data
        if (end := self._rest.rfind(b"\n") + 1) == 0 and len(self._rest) > LONGEST:
            self._rest += b"\n"
            end = len(self._rest)
        if end:
            self._pass_on(bytes(self._rest[:end]))
            del self._rest[:end]

    def close(self) -> None:
        """No more comes."""
        if self._rest:
            self.feed(b"\n")

    def _pass_on(self, data: bytes) -> None:
        self._write(defused(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape"))
