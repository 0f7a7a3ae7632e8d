"""The marketplace catalogue: what is known of publisher:offer:sku, and where the same distribution can be had.

`catalogue.yaml` beside this file is the built-in part; the user's `catalogue.yaml` in the configuration folder has the
same form and its entries win. Nothing here touches the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin

from aibemu.errors import UsageError
from aibemu.images import Generation
from aibemu.paths import Home
from aibemu.suggestions import did_you_mean, nearest
from aibemu.yaml_places import compose, is_null, read_text, span_of

if TYPE_CHECKING:
    import yaml

BUILT_IN = Path(__file__).with_name("catalogue.yaml")
_OFFER = re.compile(r"[^:\s]+:[^:\s]+:[^:\s]+")
_REQUIRED = ("offer", "generation", "os_type", "os_name", "url")
_OPTIONAL = ("checksum_url", "sha256", "sha512", "version", "note", "build", "also", "size")
_BUILDS = ("azure", "generic")
_HEX = {"sha256": 64, "sha512": 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What is known of the file that a distribution publishes.

    build: `azure` for one that was built for Azure, `generic` for a cloud image without Azure's agent, "" if nothing is
    known of that. also: other names that it had. size: about its MiB, 0 if that is not known.
    """

    build: str = ""
    also: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One offer. url None: not public, `note` says why. version: form of the alias, with {date}."""

    offer: str
    generation: Generation
    os_type: str
    os_name: str
    url: str | None
    checksum_url: str | None = None
    sha256: str | None = None
    sha512: str | None = None
    version: str = "0.{date}.1"
    note: str = ""
    file: Published = Published()

    @property
    def urls(self) -> tuple[str, ...]:
        """Where it may be: `url`, and its other names beside it."""
        if self.url is None:
            return ()
        return (self.url, *(urljoin(self.url, quote(name)) for name in self.file.also))


class Catalogue:
    """Entries by publisher:offer:sku; case does not matter."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = {entry.offer.lower(): entry for entry in entries}

    @classmethod
    def load(cls, home: Home) -> Catalogue:
        """The built-in catalogue with the user's over it; UsageError naming file and line of a mistake."""
        own = home.config / "catalogue.yaml"
        return cls([*_built_in(), *(read(own) if own.exists() else ())])

    def entries(self) -> tuple[Entry, ...]:
        """All entries, sorted by offer."""
        return tuple(self._entries[key] for key in sorted(self._entries))

    def find(self, alias: str) -> Entry | None:
        """The entry for `publisher:offer:sku` or `publisher:offer:sku:version`."""
        return self._entries.get(":".join(alias.split(":")[:3]).lower())

    def near(self, alias: str) -> tuple[str, ...]:
        """Up to three offers with a similar name."""
        wanted = ":".join(alias.split(":")[:3]).lower()
        return tuple(self._entries[key].offer for key in nearest(wanted, self._entries, 3))


@cache
def _built_in() -> tuple[Entry, ...]:
    """Its own file does not change while aibemu runs, and takes a tenth of a second to parse."""
    return read(BUILT_IN)


def read(path: Path) -> tuple[Entry, ...]:
    """Parse one catalogue file. UsageError with file:line:column for the first thing that is wrong."""
    import yaml

    text = read_text(path, what="the catalogue")
    if text is None:
        raise UsageError(f"the catalogue {path} cannot be read: there is no such file")
    root = compose(text, str(path), what=f"the catalogue {path}")
    if root is None:
        return ()
    images = _pairs(root, path).get("images")
    if images is None or not isinstance(images, yaml.SequenceNode):
        raise _wrong(path, root, "a catalogue has one key, images, with a list of entries")
    return tuple(_entry(_pairs(node, path), node, path) for node in images.value)


def _entry(pairs: dict[str, yaml.Node], node: yaml.Node, path: Path) -> Entry:
    for key, value in pairs.items():
        if key not in (*_REQUIRED, *_OPTIONAL):
            raise _wrong(path, value, f"unknown key {key!r}", did_you_mean(key, (*_REQUIRED, *_OPTIONAL)))
    if missing := [key for key in _REQUIRED if key not in pairs]:
        raise _wrong(path, node, f"missing: {', '.join(missing)}")
    also = _names(pairs.pop("also"), path) if "also" in pairs else ()
    values = {key: _text(value, key, path) for key, value in pairs.items()}
    for key, ok, why in (
        ("offer", _OFFER.fullmatch(values["offer"] or ""), "is not publisher:offer:sku"),
        ("generation", values["generation"] in ("V1", "V2"), "is not V1 or V2"),
        ("os_type", values["os_type"] in ("Linux", "Windows"), "is not Linux or Windows"),
        ("url", _address(values["url"]), "is not an http or https address, or null"),
        ("build", values.get("build") in (None, *_BUILDS), "is not azure or generic"),
        ("size", re.fullmatch("[1-9][0-9]{0,6}", values.get("size") or "1"), "is not a number of MiB"),
        ("checksum_url", _address(values.get("checksum_url")), "is not an http or https address"),
        *((name, _digest(values.get(name), length), f"is not {length} hex digits") for name, length in _HEX.items()),
    ):
        if not ok:
            raise _wrong(path, pairs[key], f"{key}: {values[key]!r} {why}")
    if values["url"] is None and not values.get("note"):
        raise _wrong(path, pairs["url"], "an entry without url needs a note that says where the image is")
    file = Published(build=values.pop("build", None) or "", also=also, size=int(values.pop("size", None) or 0))
    arguments: dict[str, Any] = {key: value for key, value in values.items() if value is not None or key == "url"}
    return Entry(**arguments | {"generation": Generation(str(values["generation"])), "file": file})


def _pairs(node: yaml.Node, path: Path) -> dict[str, yaml.Node]:
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise _wrong(path, node, "expected keys and values here")
    return {str(key.value): value for key, value in node.value}


def _names(node: yaml.Node, path: Path) -> tuple[str, ...]:
    import yaml

    if not isinstance(node, yaml.SequenceNode):
        raise _wrong(path, node, "also must be a list of names")
    names = tuple(_text(item, "each name in also", path) or "" for item in node.value)
    for name, item in zip(names, node.value, strict=True):
        if not name or "/" in name:
            raise _wrong(path, item, f"also: {name!r} is not the name of a file")
    return names


def _text(node: yaml.Node, key: str, path: Path) -> str | None:
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        raise _wrong(path, node, f"{key} must be one text")
    return None if is_null(node) else str(node.value)


def _address(text: str | None) -> bool:
    return text is None or text.startswith(("https://", "http://"))


def _digest(text: str | None, length: int) -> bool:
    return text is None or re.fullmatch(f"[0-9a-fA-F]{{{length}}}", text) is not None


def _wrong(path: Path, node: yaml.Node, why: str, hint: str | None = None) -> UsageError:
    span = span_of(node, str(path))
    return UsageError(f"{span}: {why}", span=span, hint=hint)
