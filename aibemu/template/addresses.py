"""What is odd about the text of a scriptUri or sourceUri: no address, an address with arguments, a signature that is
over. Nothing is fetched or looked for here."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

HTTP = re.compile(r"https?://", re.IGNORECASE)
_SCRIPT = r"\.(?:sh|bash|ps1|psm1|py|cmd|bat|pl|rb)"
# A blank, and what a command line has after the name of a script.
_ARGUMENTS = re.compile(
    rf"(?P<address>\S+?(?:{_SCRIPT}(?:[?#]\S*)?))\s+(?P<rest>\S.*)|(?P<other>\S+)\s+(?P<options>-.*)", re.DOTALL
)
_HOST = re.compile(r"(?:[a-z0-9-]+\.)+(?P<top>[a-z]{2,24})(?::\d+)?/.+", re.IGNORECASE)
_NO_TOP = frozenset({"sh", "ps1", "py", "d", "bash", "cmd", "bat", "pl", "rb", "json", "yaml", "yml", "git", "local"})
# `http:/x`, `http//x`, `htps://x`, `//x`
_BROKEN = re.compile(r"(?:h?tt?ps?:/(?!/)|https?//|(?:htt?ps?|htpp?s?|ttps?)://|//)(?=[a-z0-9])", re.IGNORECASE)
_PERMISSION = "r"


def arguments(uri: str) -> tuple[str, str] | None:
    """(address, arguments) of a text that has arguments after the address, as a command line has them."""
    match = _ARGUMENTS.fullmatch(uri.strip())
    if match is None:
        return None
    return match["address"] or match["other"], match["rest"] or match["options"]


def inline_for(address: str, rest: str, *, windows: bool) -> str:
    """How a script with arguments is run inline."""
    if windows:
        return f'["Invoke-WebRequest {address} -OutFile C:\\\\script.ps1", "C:\\\\script.ps1 {rest}"]'
    return f'["curl -fsSLo /tmp/script.sh {shlex.quote(address)}", "bash /tmp/script.sh {rest}"]'


def no_scheme(uri: str) -> str | None:
    """The address with its scheme, of a text that has none, and seems to be an address."""
    if HTTP.match(uri):
        return None
    if broken := _BROKEN.match(uri):
        return f"https://{uri[broken.end() :]}"
    host = _HOST.fullmatch(uri)
    if host and host["top"].casefold() not in _NO_TOP:
        return f"https://{uri}"
    return None


def signature_problem(uri: str, now: datetime) -> str | None:
    """What keeps the SAS token of an address from working: it is over, it is not valid yet, it does not let one read.
    None where there is nothing wrong with it, or there is none."""
    if not HTTP.match(uri) or "sig=" not in uri:
        return None
    try:
        query = parse_qs(urlsplit(uri).query)
    except ValueError:  # whoever opens it says what is wrong
        return None
    if "sig" not in query or "sv" not in query:
        return None
    expiry, start = _time(query.get("se", [""])[0]), _time(query.get("st", [""])[0])
    if expiry and expiry <= now:
        return f"its SAS token expired on {expiry:%Y-%m-%d %H:%M} UTC"
    if start and start > now:
        return f"its SAS token is valid from {start:%Y-%m-%d %H:%M} UTC on, not before"
    granted = query.get("sp", [""])[0]
    if granted and _PERMISSION not in granted:
        return f"its SAS token does not allow reading (sp={granted[:20]})"
    return None


def _time(text: str) -> datetime | None:
    """A time as a SAS token has it, in ISO 8601; a day alone is its beginning."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
