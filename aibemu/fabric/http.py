"""Requests and replies as values: what the services are written in, and tested by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol
from urllib.parse import parse_qs, unquote

JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
XML = "text/xml; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """method in upper case; target as the client sent it; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        """Decoded, without the query; of an absolute URL (as clients of a proxy send) what comes after the host."""
        path = self.target.partition("?")[0]
        if "://" in path:
            path = "/" + path.partition("://")[2].partition("/")[2]
        return unquote(path)

    @property
    def query(self) -> dict[str, str]:
        """The first value of each parameter; one without a value is an empty text."""
        pairs = parse_qs(self.target.partition("?")[2], keep_blank_values=True, max_num_fields=100)
        return {name: values[0] for name, values in pairs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """secrets: texts in the body that no record may show. file: what is sent as the body instead, and closed then."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    file: BinaryIO | None = None


def json_reply(status: int, value: Any, secrets: tuple[str, ...] = ()) -> Reply:
    """Compact JSON, as the metadata service writes it."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Reply(status=status, body=body, content_type=JSON, secrets=secrets)


def text_reply(status: int, text: str, content_type: str = TEXT) -> Reply:
    return Reply(status=status, body=text.encode(), content_type=content_type)


class Service(Protocol):
    """One of the platform's services: a pure function from request to reply. `banner` is its `Server` header.

    `handle` may be called from several threads. It may raise ValueError for a request that makes no sense: the server
    answers 400.
    """

    @property
    def name(self) -> str: ...

    @property
    def banner(self) -> str: ...

    def handle(self, request: Request) -> Reply: ...
