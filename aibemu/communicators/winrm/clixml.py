"""CLIXML, the XML in which PowerShell writes its streams to standard error, back into what a console would show.

A PowerShell that was started with -EncodedCommand writes errors, warnings and progress so: a line `#< CLIXML`, then a
document `<Objs ...>` of records, each on one of its streams. What programs print themselves stands raw around the
document, between its records, and even between that line and `<Objs`. Nobody promises that a document has an end.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# A record that is longer is passed on as it stands: something that never ends must not fill the memory.
LONGEST = 1024 * 1024
_NAMESPACE = rb'"http://schemas\.microsoft\.com/powershell/2004/04"'
_BEGIN = re.compile(rb"#< CLIXML\r?\n|<Objs [^<>]{0,200}" + _NAMESPACE + rb"[^<>]{0,200}>")
# A record says on which stream it is; nothing that a program prints looks like that by chance.
_RECORD = re.compile(
    rb'<(\w{1,20})(?: [^<>]{0,200}?)? S="(Error|Warning|Verbose|Debug|Progress|Information|Output)"[^<>]{0,200}?(/?)>'
    rb"|</Objs>",
    re.IGNORECASE,
)
# What may yet become one of the two when more has come.
_HALF_BEGIN = re.compile(
    rb"(?:#(?:<(?: (?:C(?:L(?:I(?:X(?:M(?:L\r?)?)?)?)?)?)?)?)?|<(?:O(?:b(?:j(?:s(?: [^<>]{0,500})?)?)?)?)?)\Z"
)
_HALF_RECORD = re.compile(rb"<(?:/[Objs]{0,4}|\w{1,20}(?: [^<>]{0,500})?)?\Z")
_ENTITY = re.compile("&(?:#([0-9]{1,7})|#x([0-9a-fA-F]{1,6})|(lt|gt|amp|quot|apos));")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_ESCAPE = re.compile("_[xX]([0-9a-fA-F]{4})_")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_LONE = re.compile("[\ud800-\udfff]")
_TEXT = re.compile(rb"<ToString>(.*?)</ToString>", re.DOTALL)
# What a console writes before the text. Progress is not for a log, and what Write-Host says is on standard output, too.
_SHOWN = {"error": "", "output": "", "warning": "WARNING: ", "verbose": "VERBOSE: ", "debug": "DEBUG: "}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a document."""

    # As the document has it: `Error`, `warning`, `progress` ...
    stream: str
    # The XML element: S for a text, Obj for an object.
    element: str
    # The text, or an object's own text; None if it has none. May hold half of a surrogate pair.
    text: str | None

    def shown(self) -> str:
        """What a console shows of it, with its newline; "" for what it does not show."""
        prefix = _SHOWN.get(self.stream.lower())
        if prefix is None or self.text is None:
            return ""
        text = _LONE.sub("\ufffd", prefix + self.text)
        return text if text.endswith("\n") else text + "\n"


class Unwrapper:
    """Gives what `feed` gets without CLIXML: raw bytes as they are, records by `record`; `close` gives what is left."""

    def __init__(self, give: Callable[[bytes], None], record: Callable[[Record], None] | None = None) -> None:
        """record: gets each record; without it what a console shows of it is given, in UTF-8."""
        self._give = give
        self._record = record or (lambda found: give(found.shown().encode()))
        self._rest = bytearray()
        self._inside = False

    def feed(self, data: bytes) -> None:
        self._rest += data
        while self._step():
            pass

    def close(self) -> None:
        """The end of the stream: what was held back because it might be the begin of something was none."""
        rest, self._rest = bytes(self._rest), bytearray()
        if rest:
            self._give(rest)

    def _step(self) -> bool:
        """Take off what is whole at the begin of what is there; False when more has to come."""
        found = (_RECORD if self._inside else _BEGIN).search(self._rest)
        if found is None:
            half = (_HALF_RECORD if self._inside else _HALF_BEGIN).search(self._rest, max(0, len(self._rest) - 600))
            self._pass(half.start() if half else len(self._rest))
            return False
        whole, start, end = bytes(found[0]), found.start(), found.end()
        if not self._inside:
            self._inside = whole.startswith(b"<") and not whole.endswith(b"/>")
        elif whole == b"</Objs>":
            self._inside = False
        else:
            return self._take_record(found)
        self._pass(start, end)
        return True

    def _take_record(self, found: re.Match[bytes]) -> bool:
        element, stream, start = found[1].decode(), found[2].decode(), found.start()
        end = _end_of(self._rest, found)
        if end is None:
            self._pass(start)
            if len(self._rest) > LONGEST:
                self._pass(len(self._rest))
            return False
        text = _text_of(element, bytes(self._rest[start:end]))
        self._pass(start, end)
        self._record(Record(stream=stream, element=element, text=text))
        return True

    def _pass(self, size: int, upto: int | None = None) -> None:
        """Give the first bytes; forget what stands between them and `upto`."""
        if size:
            self._give(bytes(self._rest[:size]))
        del self._rest[: upto or size]


def records(document: str) -> Iterator[Record]:
    """All records of one document or of a stream with some."""
    found: list[Record] = []
    unwrapper = Unwrapper(lambda raw: None, found.append)
    unwrapper.feed(document.encode("utf-8", "surrogatepass"))
    unwrapper.close()
    yield from found


def decoded(text: str) -> str:
    """A text of a document without its escapes: `_x000D_` and the like, and those of XML before it."""
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    return _PAIR.sub(lambda found: found[0].encode("utf-16", "surrogatepass").decode("utf-16"), plain)


def _end_of(rest: bytearray, start: re.Match[bytes]) -> int | None:
    """Where the element that begins there ends; None when its end has not come yet."""
    if start[3]:
        return start.end()
    name = re.escape(start[1])
    depth = 1
    for tag in re.compile(rb"<" + name + rb"(?: [^<>]*?)?(/?)>|</" + name + rb">").finditer(rest, start.end()):
        depth += -1 if tag[0].startswith(b"</") else not tag[1]
        if not depth:
            return tag.end()
    return None


def _text_of(element: str, xml: bytes) -> str | None:
    if element != "Obj":
        inner = xml[xml.index(b">") + 1 : xml.rindex(b"<")] if b"</" in xml else b""
        text = decoded(_plain(inner))
        if element == "C" and text.isdecimal():  # a character is written as its number
            return chr(int(text) & 0xFFFF)
        return None if element == "Nil" else text
    try:
        own = ET.fromstring(xml).find("ToString")  # noqa: S314 - expat bounds what entities may grow to
    except (ET.ParseError, ValueError):
        found = _TEXT.search(xml)  # a program wrote into the midst of it
        return decoded(_plain(found[1])) if found else None
    return None if own is None else decoded(own.text or "")


def _plain(xml: bytes) -> str:
    """Without the escapes of XML itself."""

    def character(found: re.Match[str]) -> str:
        number = int(found[1]) if found[1] else int(found[2], 16) if found[2] else -1
        return _NAMED[found[3]] if found[3] else chr(number) if number <= 0x10FFFF else "\ufffd"

    return _ENTITY.sub(character, xml.decode("utf-8", "replace"))
