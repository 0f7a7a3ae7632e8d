"""Where a VHD goes: what the option `uri` means. Nothing is opened or asked here but the local file system."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from aibemu.distributors.vhd_format import FOOTER_SIZE
from aibemu.errors import Span, UsageError
from aibemu.paths import safe_name
from aibemu.reading import open_file


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDestination:
    """A file of this host, absolute."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobDestination:
    """A page blob. url: with the SAS token, secret; address: the same without it, to show; signed: it has a token."""

    url: str = field(repr=False)
    address: str
    signed: bool


# A file system's 255 bytes, less what the temporary name beside it has more.
_LONGEST_NAME = 220

Destination = LocalDestination | BlobDestination


def parse_destination(uri: str, *, directory: Path, name: str, span: Span | None) -> Destination | None:
    """Read `uri`: None when empty, a path relative to `directory`, a file URL, or a blob's address.

    A folder stands for `<name>.vhd` in it. `UsageError` at `span` for anything else; its text never holds the query.
    """
    if not uri:
        return None
    shown = uri.partition("?")[0]
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise UsageError(f"uri {shown!r} cannot be read: {error}", span=span) from None
    if parts.scheme in ("https", "http"):
        return _blob(uri, span)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise UsageError(
                f"uri {shown!r} is not a file of this host", hint="write file:///absolute/path.vhd", span=span
            )
        text = unquote(parts.path)
    elif "://" in uri:
        raise UsageError(
            f"uri with scheme {parts.scheme}: is not supported",
            hint="use a path, a file: URL or a blob's https address",
            span=span,
        )
    else:
        text = uri
    if "\0" in text:
        raise UsageError("uri holds a NUL character", span=span)
    try:
        path = Path(directory, Path(text).expanduser()).absolute()
        if text.endswith("/") or path.is_dir():
            path = path / f"{safe_name(name)}.vhd"
    except (OSError, RuntimeError) as error:  # a name that is too long; the home of a user that there is not
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"uri {shown[:200]!r} cannot be a path: {why}", span=span) from None
    return LocalDestination(path=path)


def check_local(path: Path, span: Span | None) -> None:
    """Refuse what cannot be written, and what is not a VHD: it is probably not meant to be overwritten. Least of all a
    device, which would be replaced by a file."""
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise UsageError(f"{path.name[:100]}... is too long for the name of a file", span=span)
    if path.exists() and not (path.is_file() and is_vhd(path)):
        raise UsageError(
            f"{path} exists and is not a VHD", hint="give uri another path, or remove the file first", span=span
        )
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path} cannot be written: {folder} is not a writable folder", span=span)


def is_vhd(path: Path) -> bool:
    """Whether a file ends like a VHD; an empty one passes too."""
    try:
        with open_file(path) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - FOOTER_SIZE))
            return size == 0 or stream.read(8) == b"conectix"
    except OSError:
        return False


def check_token(destination: BlobDestination, now: datetime, span: Span | None) -> None:
    """Refuse a SAS token that is over or may not write, as far as the token itself says."""
    query = parse_qs(urlsplit(destination.url).query)
    expiry = query.get("se", [""])[0]
    try:
        ends = datetime.fromisoformat(expiry) if expiry else None
    except ValueError:
        ends = None
    if ends is not None and ends.replace(tzinfo=ends.tzinfo or now.tzinfo) <= now:
        raise UsageError(
            f"the SAS token of {destination.address} ended at {expiry}",
            hint="make a new one with write permission",
            span=span,
        )
    allowed = query.get("sp", ["w"])[0]
    if "w" not in allowed:
        raise UsageError(
            f"the SAS token of {destination.address} may not write (sp={allowed})",
            hint="make one with the permissions create and write", span=span,
        )  # fmt: skip


def _blob(uri: str, span: Span | None) -> BlobDestination:
    parts = urlsplit(uri)
    try:
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    if not host or "@" in parts.netloc:
        raise UsageError(f"uri {address} has no usable host", span=span)
    if parts.scheme == "http" and not _is_loopback(host):
        raise UsageError(
            f"uri {address} is not encrypted, and its token is a secret", hint="use https (http only for this host)",
            span=span,
        )  # fmt: skip
    least = 3 if _is_address(host) or host == "localhost" else 2
    segments = parts.path.split("/")[1:]
    if len(segments) < least or not all(segments):
        raise UsageError(
            f"uri {address} does not name a blob",
            hint="write https://<account>.blob.core.windows.net/<container>/<name>.vhd?<SAS token>", span=span,
        )  # fmt: skip
    return BlobDestination(url=uri, address=address, signed=bool(parse_qs(parts.query).get("sig")))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
