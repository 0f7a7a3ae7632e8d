"""Where a URI leads: a local file (a path, a file URL, a mapped prefix) or the network.

`--map PREFIX=DIR` makes every URL below PREFIX a file below DIR, so that scripts can be tried before they are pushed.
A mapped URL never touches the network and never leaves its folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from aibemu.errors import ArtifactError, Span, UsageError
from aibemu.redact import redact_url
from aibemu.text import nth

_PREFIX = re.compile(r"https?://[^/?#\s@][^?#]*", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?=//|[^\\])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """`prefix`: an http(s) URL. `directory`: the folder (or, for one exact URL, the file) to take instead."""

    prefix: str
    directory: Path


def parse_mappings(texts: Sequence[str], base: Path) -> list[Mapping]:
    """Read each `PREFIX=DIR`, where DIR starts from the folder `base`.

    Raises `UsageError` unless PREFIX is an http(s) URL and DIR exists. It says which one is meant and repeats nothing
    of it: what was cut at the wrong `=` may be half of a signature."""
    return [_parsed(text, base, nth(number, texts)) for number, text in enumerate(texts, 1)]


def _parsed(text: str, base: Path, which: str) -> Mapping:
    prefix, separator, folder = text.partition("=")
    if not separator or not folder or not _PREFIX.fullmatch(prefix):
        raise UsageError(
            f"--map, or the setting mappings, is not PREFIX=DIR with an http(s) URL as PREFIX ({which})",
            hint="for example --map https://raw.githubusercontent.com/me/scripts/main=./scripts; no ? or # in PREFIX",
        )
    directory = _existing(base, folder)
    if directory is None:
        raise UsageError(
            f"--map, or the setting mappings: the DIR of PREFIX=DIR does not exist ({which})",
            hint=f"it is the folder that holds the files of the prefix; a relative one starts at {base}",
        )
    return Mapping(prefix=prefix, directory=directory)


def _existing(base: Path, folder: str) -> Path | None:
    try:
        directory = base / Path(folder).expanduser()
        return directory if directory.exists() else None
    except (OSError, RuntimeError, ValueError):  # a name that is too long, or with a NUL; the home of nobody
        return None


def find_file(uri: str, *, base: Path, mappings: Sequence[Mapping], span: Span | None = None) -> Path | None:
    """The local file that `uri` means, or None if it must be downloaded.

    Relative paths start at `base`. Raises `ArtifactError` for what cannot be fetched at all or leaves a mapped folder.
    """
    scheme = _scheme(uri)
    if scheme in ("http", "https"):
        return _find_mapped(uri, mappings, span)
    if scheme == "file":
        return base / _file_url_path(uri, span)
    if scheme is not None:
        raise ArtifactError(
            f"{redact_url(uri)}: aibemu cannot fetch {scheme}: addresses",
            hint="use http, https, file or a path; the service itself takes http and https only",
            span=span,
        )
    return base / _without_nul(uri, uri, span)


def _scheme(uri: str) -> str | None:
    if match := _SCHEME.match(uri):
        scheme = match.group(1).lower()
        return scheme if scheme == "file" or uri[match.end() :].startswith("//") else None
    return None


def _file_url_path(uri: str, span: Span | None) -> str:
    rest = uri.partition(":")[2]
    host = ""
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        rest = slash + rest
    if host.lower() not in ("", "localhost") or not rest:
        raise ArtifactError(f"{uri} is not the address of a file on this machine", hint="file:///PATH", span=span)
    return _without_nul(unquote(rest), uri, span)


def _find_mapped(uri: str, mappings: Sequence[Mapping], span: Span | None) -> Path | None:
    address = _normalise(re.split(r"[?#]", uri, maxsplit=1)[0])
    best: Mapping | None = None
    for mapping in mappings:
        if _is_below(address, _normalise(mapping.prefix)) and (best is None or len(mapping.prefix) > len(best.prefix)):
            best = mapping
    if best is None:
        return None
    inside = _without_nul(unquote(address[len(_normalise(best.prefix)) :]), uri, span).lstrip("/")
    try:
        folder = best.directory.resolve()
        path = (folder / inside).resolve() if inside else folder
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other
        why = error.strerror if isinstance(error, OSError) else "its symbolic links lead in a circle"
        raise ArtifactError(f"{redact_url(uri)} is mapped below {best.directory}: {why}", span=span) from None
    if not path.is_relative_to(folder):
        raise ArtifactError(
            f"{redact_url(uri)} is mapped to {path}, which is outside of {folder}",
            hint="a mapped address must stay in its folder; links that lead out of it count as leaving",
            span=span,
        )
    if not path.exists():
        raise ArtifactError(
            f"{redact_url(uri)} is mapped to {path}, which does not exist",
            hint=f"from --map {best.prefix}={best.directory}; a mapped address is never looked for on the network",
            span=span,
        )
    return path


def _is_below(address: str, prefix: str) -> bool:
    """Whole path segments only: `https://h/a` is not above `https://h/ab`."""
    rest = address[len(prefix) :]
    return address.startswith(prefix) and (not rest or prefix.endswith("/") or rest.startswith("/"))


def _normalise(url: str) -> str:
    """Scheme and host in lower case, as they are compared."""
    try:
        host = urlsplit(url).netloc
    except ValueError:
        return url
    head = len(url.partition("://")[0]) + 3 + len(host)
    return url[:head].lower() + url[head:]


def _without_nul(path: str, uri: str, span: Span | None) -> str:
    if "\0" in path:
        raise ArtifactError(f"{uri!r} is not the address of a file", span=span)
    return path
