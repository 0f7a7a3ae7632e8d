"""Functions on URIs and on percent escapes, as .NET's Uri does it: RFC 3986, with what cannot stand there escaped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import quote, unquote_plus, urljoin

from aibemu.arm.expressions.errors import CALLED, ExpressionError
from aibemu.arm.expressions.values import Value, azure_type, described
from aibemu.arm.functions.signature import Function, fn
from aibemu.arm.nodes import Node, NodeKind

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://([^/?#\\]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(?:([^@]*)@)?(\[[^\]]*\]|[^:]*)(?::([0-9]*))?")
_ESCAPE = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_STRAY = re.compile(r"%(?![0-9a-fA-F]{2})")
# What may not stand in a URI that is given as a base.
_NOT_WELL_FORMED = re.compile(r"""[\s{}|"<>^`\\\[\]]|%(?![0-9a-fA-F]{2})""")
_PORTS = {"http": 80, "https": 443, "ftp": 21, "ws": 80, "wss": 443}
_KEPT = "%!#$&'()*+,/:;=?@[]~"
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?")
_OTHER_SCHEME = re.compile(r"(?:data|mailto|urn|news|about|javascript):", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Uri:
    """One that has an authority. user: with the `@`, or nothing; port: None for the scheme's own; query and fragment
    with their mark."""

    scheme: str
    user: str
    host: str
    port: int | None
    path: str
    query: str
    fragment: str

    @property
    def text(self) -> str:
        port = f":{self.port}" if self.port is not None else ""
        return f"{self.scheme}://{self.user}{self.host}{port}{self.path}{self.query}{self.fragment}"


def _read(text: str) -> _Uri:
    """The URI, its scheme and host in lower case. Raises ValueError with .NET's words."""
    match = _URI.fullmatch(text.strip())
    if match is None:
        raise ValueError("Invalid URI: The format of the URI could not be determined.")
    scheme, authority, path, query, fragment = match.groups()
    parts = _AUTHORITY.fullmatch(authority)
    user, host, port = parts.groups() if parts else (None, "", None)
    if scheme.lower() != "file" and not _is_host(host):
        raise ValueError("Invalid URI: The hostname could not be parsed.")
    if port and (len(port) > 5 or int(port) > 65535):
        raise ValueError("Invalid URI: Invalid port specified.")
    number = int(port) if port else None
    return _Uri(
        scheme=scheme.lower(),
        user=f"{user}@" if user else "",
        host=_host(host),
        port=None if number == _PORTS.get(scheme.lower()) else number,
        path=_without_dots(_escaped(path.replace("\\", "/"))) or "/",
        query=_escaped(query or ""),
        fragment=_escaped(fragment or ""),
    )


def _is_host(host: str) -> bool:
    if host.startswith("["):
        return _ipv6(host) is not None
    return _HOST.fullmatch(host) is not None


def _ipv6(host: str) -> str | None:
    try:
        return str(IPv6Address(host[1:-1].partition("%")[0]))
    except AddressValueError:
        return None


def _host(host: str) -> str:
    return f"[{_ipv6(host)}]" if host.startswith("[") else host.lower()


def _without_dots(path: str) -> str:
    return urljoin("http://h/", path)[len("http://h") :] if "/." in path else path


def _escaped(text: str) -> str:
    """What cannot stand in a URI is escaped; escapes of what can are not needed, and go."""
    marked = _STRAY.sub("%25", text)
    return quote(_ESCAPE.sub(_normal, marked), safe=_KEPT)


def _normal(match: re.Match[str]) -> str:
    """Escapes: of letters, digits and `-._~` the character itself; of UTF-8 in capitals; others as they are."""
    data = bytes.fromhex(match.group().replace("%", ""))
    made = []
    for at, byte in enumerate(data):
        char = chr(byte)
        own = match.group()[3 * at : 3 * at + 3]
        unreserved = char.isascii() and (char.isalnum() or char in "-._~")
        made.append(char if unreserved else own.upper() if byte > 127 else own)
    return "".join(made)


def _uri(base: str, relative: str) -> str:
    """The second URI as seen from the first, by RFC 3986."""
    azure = (
        f"The template language function '{CALLED}' expects its first argument to be a uri string. "
        f"The provided value is '{base}'"
    )
    inside = base.strip()
    try:
        if _NOT_WELL_FORMED.search(re.sub(r"//\[[^\]]*\]", "//", inside, count=1)):
            raise ValueError("a character that has to be escaped")
        whole = _read(inside)
    except ValueError as error:
        raise ExpressionError(
            f"uri: '{base}' is no address with a scheme and a host: {error}",
            hint="like https://example.com/a/b",
            azure=azure,
        ) from None
    target = relative.strip().replace("\\", "/")
    if not target:
        return whole.text
    if _OTHER_SCHEME.match(target):
        return _escaped(target)
    try:
        joined = urljoin(whole.text.partition("#")[0] if target.startswith("#") else whole.text, target)
        return _read(joined).text
    except ValueError as error:
        azure = (
            f"Cannot construct valid uri from base uri '{base}' and string '{relative}', check if the base uri is empty"
        )
        raise ExpressionError(f"uri: '{base}' and '{relative}' make no URI: {error}", azure=azure) from None


def _parse_uri(text: str) -> Value:
    """`{scheme, host, port, path, query}`; without what is not there, a port that is the scheme's own is null."""
    try:
        if not text:
            raise ValueError("Invalid URI: The URI is empty.")
        uri = _read(text)
    except ValueError as error:
        azure = f"The specified URL '{text}' is not valid '{error}'"
        raise ExpressionError(f"'{text}' is no URI that aibemu can take apart: {error}", azure=azure) from None
    parsed: dict[str, Value] = {"scheme": uri.scheme, "host": uri.host, "port": uri.port}
    if uri.path != "/":
        parsed["path"] = uri.path
    if uri.query:
        parsed["query"] = uri.query
    return parsed


def _build_uri(parts: Node) -> str:
    """A URI of `{scheme, host, port, path, query}`; the last three may be missing."""
    texts = {name: _text_part(parts, name) for name in ("scheme", "host", "path", "query")}
    for name in ("scheme", "host"):
        if not texts[name]:
            azure = f"The input object to the '{CALLED}' function is missing the required property '{name}''"
            raise ExpressionError(f"buildUri is given no {name}", hint="it takes scheme and host at least", azure=azure)
    port = parts.find("port")
    number = port.value if port is not None and port.kind is NodeKind.NUMBER else None
    if port is not None and port.kind is not NodeKind.NULL and not (isinstance(number, int)):
        raise _wrong_part(port, "port", "a whole number", "Integer")
    scheme, host = texts["scheme"].lower(), texts["host"]
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    if not _SCHEME.fullmatch(scheme) or not _is_host(host) or (isinstance(number, int) and not -1 <= number <= 65535):
        raise ExpressionError(f"buildUri: scheme '{scheme}', host '{host}' and port {number} make no URI",
                              azure=f"An error occured while evaluating the '{CALLED}' function")  # fmt: skip
    shown = f":{number}" if isinstance(number, int) and number not in (-1, _PORTS.get(scheme)) else ""
    path = texts["path"].replace("?", "%3F").replace("#", "%23")
    query = texts["query"]
    path = _without_dots(path if path.startswith("/") else f"/{path}")
    return f"{scheme}://{_host(host)}{shown}{path}{query if query.startswith('?') or not query else f'?{query}'}"


def _text_part(parts: Node, name: str) -> str:
    node = parts.find(name)
    if node is None or node.kind is NodeKind.NULL:
        return ""
    if node.kind is not NodeKind.STRING:
        raise _wrong_part(node, name, "text", "String")
    return str(node.value)


def _wrong_part(node: Node, name: str, words: str, type_: str) -> ExpressionError:
    azure = (
        f"Evaluation result of language expression '{node.value}' is type '{azure_type(node)}', "
        f"expected type is '{type_}'"
    )
    return ExpressionError(f"the {name} of a URI is {words}, not {described(node)}", id_="X02", azure=azure)


TABLE: tuple[Function, ...] = (
    fn("buildUri", "object", _build_uri),
    fn("parseUri", "string", _parse_uri),
    fn("uri", "string string", _uri),
    fn("uriComponent", "string", lambda text: quote(text, safe="~")),
    fn("uriComponentToString", "string", unquote_plus),
)
