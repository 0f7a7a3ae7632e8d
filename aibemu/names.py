"""What can be a name, and what can be an address or a path: one check for all that comes from outside.

A name becomes part of a path on this host, of a resource id and of lines that people read. So it has to be one part of
a path on every file system, and to be what it looks like. This is less than Azure asks of names; its rules for one kind
of resource belong here too, as another `Form`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from urllib.parse import unquote, urlsplit

LONGEST = 255  # bytes: what file systems allow
# Control characters, those without a width or that turn the direction of a line, half characters, ends of lines.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# What Azure refuses in names of resources; and what stands for a name that is still to be put in.
_RESERVED = re.compile(r"[<>%&?#]")
_PLACEHOLDER = re.compile(r"<[^<>]+>")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_FILE = re.compile(r"file:", re.IGNORECASE)


class Form(StrEnum):
    """What a text is to be."""

    # One part of a path or of a resource id.
    NAME = "name"
    # A resource id: names between slashes.
    ID = "id"
    # Where a file is: a web address, a file: address or a path of this host; its last part is the file's name.
    ADDRESS = "address"
    # Where a file goes: the same, but an address is of a blob.
    TARGET = "target"
    # A path in the guest, Linux or Windows.
    GUEST_PATH = "guest path"
    # What people call something.
    LABEL = "label"


def problem(form: Form, text: str) -> str | None:
    """Why `text` cannot be that, as the rest of a sentence that begins with it; None when it can. An empty text is
    none: whether there must be one is a question of its own."""
    return _CHECKS[form](text) if text.strip(" ") else None


def name_problem(text: str) -> str | None:
    """The same for a name, which cannot be empty."""
    if not text.strip():
        return "is empty"
    if text in {".", ".."}:
        return "is a folder, not a name"
    for character in text:
        if character in "/\\":
            return f"holds a {'slash' if character == '/' else 'backslash'}"
    if why := _unseen(text) or _length(text):
        return why
    if text != text.strip() or text.endswith("."):
        return "ends in a dot" if text.endswith(".") else "begins or ends in a space"
    return None


def _id(text: str) -> str | None:
    parts = [part for part in text.removeprefix("/").removesuffix("/").split("/") if part]
    return _first(name_problem(part) or reserved(_PLACEHOLDER.sub("x", part)) for part in parts)


def reserved(name: str) -> str | None:
    """Why a name cannot stand in a resource id, besides what no name can have."""
    found = _RESERVED.search(name)
    return f"holds `{found[0]}`, which Azure has in no name of a resource" if found else None


def _address(text: str) -> str | None:
    """In a path, and in an address, `..` may stand for a folder; the file itself has a name."""
    if why := _unseen(text):
        return why
    parts = list(_parts(text))
    if why := _first(_part(part) for part in parts):
        return why
    return "ends in a folder, not in the name of a file" if parts and parts[-1] in {".", ".."} else None


def _target(text: str) -> str | None:
    if why := _address(text):
        return why
    if _WEB.match(text) and {".", ".."} & set(_parts(text)):
        return "holds `.` or `..`, which is no name in a storage account"
    return None


def _parts(text: str) -> Iterator[str]:
    """The parts of the path, as they are meant: `%2e%2e` is `..`."""
    if _WEB.match(text) or _FILE.match(text):
        try:
            path = urlsplit(text).path
        except ValueError:  # whoever opens it says what is wrong with the host
            return
        yield from map(unquote, path.split("/"))
    else:
        yield from text.split("/")


def _part(part: str) -> str | None:
    if "/" in part or "\\" in part:
        return f"holds a {'slash' if '/' in part else 'backslash'} inside a name"
    return _unseen(part) or _length(part)


def _guest_path(text: str) -> str | None:
    return _unseen(text) or _first(_length(part) for part in re.split(r"[/\\]", text))


def _unseen(text: str) -> str | None:
    for character in text:
        if unicodedata.category(character) in _UNSEEN:
            return f"holds the character U+{ord(character):04X}, which cannot be seen"
    return None


def _length(text: str) -> str | None:
    size = len(text.encode("utf-8", "surrogatepass"))
    return f"has a name of {size} bytes in it, and {LONGEST} is the most" if size > LONGEST else None


def _first(found: Iterator[str | None]) -> str | None:
    return next((why for why in found if why), None)


_CHECKS: Mapping[Form, Callable[[str], str | None]] = {
    Form.NAME: name_problem, Form.ID: _id, Form.ADDRESS: _address, Form.TARGET: _target,
    Form.GUEST_PATH: _guest_path, Form.LABEL: _unseen,
}  # fmt: skip
