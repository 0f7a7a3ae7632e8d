"""The Instance Metadata Service that a machine finds at 169.254.169.254: which request gets which reply.

Sources: Microsoft's page on the service (parameters, route parameters, errors); answers of the real one quoted in
public issues; facts, guest-platform 1.3. What neither says is marked "not verified". Rate limits are not emulated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from aibemu.clock import Clock
from aibemu.fabric.http import Reply, Request, json_reply, text_reply
from aibemu.fabric.instance import FIRST_VERSION, instance_document
from aibemu.fabric.tokens import Tokens, identity_error
from aibemu.fabric.vm import VirtualMachine

VERSIONS = (
    "2017-03-01", "2017-04-02", "2017-08-01", "2017-10-01", "2017-12-01", "2018-02-01", "2018-04-02", "2018-10-01",
    "2019-02-01", "2019-03-11", "2019-04-30", "2019-06-01", "2019-06-04", "2019-08-01", "2019-08-15", "2019-11-01",
    "2020-06-01", "2020-07-15", "2020-09-01", "2020-10-01", "2020-12-01", "2021-01-01", "2021-02-01", "2021-03-01",
    "2021-05-01", "2021-08-01", "2021-10-01", "2021-11-01", "2021-11-15", "2021-12-13", "2023-07-01", "2023-11-15",
    "2024-03-15", "2024-07-17", "2025-04-07",
)  # fmt: skip
NEWEST = VERSIONS[:-4:-1]
# Scheduled events have versions of their own (Microsoft's page on them).
EVENT_VERSIONS = ("2017-03-01", "2017-08-01", "2017-11-01", "2019-01-01", "2019-04-01", "2019-08-01", "2020-07-01")
# "Endpoint categories": the version that each came with.
SINCE: Mapping[str, str] = {
    "instance": FIRST_VERSION, "identity": "2018-02-01", "attested": "2018-10-01", "loadbalancer": "2020-10-01",
}  # fmt: skip
FORMATS = ("", "json", "text")

_NO_HEADER = "Required metadata header not specified"
_NO_BALANCER = (
    "No load balancer metadata is found. Please check if your VM is using any non-basic SKU load balancer"
    " and retry later."
)


class Imds:
    """The metadata service of one machine. Pure but for the tokens, which know the time and may run a command."""

    name = "imds"
    banner = "IMDS/150.870.65.1854"

    def __init__(self, vm: VirtualMachine, clock: Clock) -> None:
        self._vm = vm
        self._tokens = Tokens(vm, clock)

    def handle(self, request: Request) -> Reply:
        # Paths do not mind case, as the names of fields do not; a slash at the end changes nothing.
        area = [part.lower() for part in request.path.split("/") if part]
        area = area[1:] if area[:1] == ["metadata"] else []
        if refused := _refused(request, area):
            return refused
        try:
            query = _query(request)
        except ValueError as error:
            return _bad(area, f"Bad request. {error}")
        match area:
            case ["versions"]:
                return json_reply(200, {"apiVersions": VERSIONS})
            case ["scheduledevents"]:
                return _scheduled_events(query)
            case ["instance", *_] | ["attested", "document"] | ["loadbalancer"]:
                return self._versioned(area, query) if _has_version(query, area[0]) else _wrong_version()
            case ["identity", "info"] | ["identity", "oauth2", "token"]:
                return _bad_identity_version(query) or self._identity(area, query)
        return _not_found()

    def _versioned(self, area: Sequence[str], query: Mapping[str, str]) -> Reply:
        if area[0] == "loadbalancer":
            return json_reply(404, {"error": _NO_BALANCER})
        if area[0] == "attested":
            # Only Microsoft can sign it: better none than one that fails every check.
            return json_reply(
                501, {"error": "Attested data is not emulated by aibemu: it needs Microsoft's signature."}
            )
        extended = query.get("extended", "").lower() == "true"
        return _part_of(instance_document(self._vm, query["api-version"], extended=extended), area[1:], query)

    def _identity(self, area: Sequence[str], query: Mapping[str, str]) -> Reply:
        if area[-1] == "info":
            return json_reply(200, {"tenantId": self._vm.tenant_id})
        return self._tokens.answer(query)


def _refused(request: Request, area: Sequence[str]) -> Reply | None:
    """The rules for every request, whatever it asks for: they keep out requests that somebody else made the guest send.

    SDKs probe for the service without the header and take a 400 for "it is there" (facts: 3).
    """
    if request.headers.get("metadata", "").strip().lower() != "true":
        # The odd colon is the real one's. The token endpoint says it in OAuth's form.
        return _bad(area, _NO_HEADER if area[:1] == ["identity"] else f"Bad request: . {_NO_HEADER}")
    if "x-forwarded-for" in request.headers:
        # Refused as documented; the words are not verified.
        return _bad(area, "Bad request: . X-Forwarded-For header is not allowed")
    if request.method != "GET":
        # "GET is supported"; acknowledging events by POST is not: there are none. The words are not verified.
        return replace(json_reply(405, {"error": "Method not allowed"}), headers=(("Allow", "GET"),))
    return None


def _query(request: Request) -> dict[str, str]:
    """The parameters; ValueError for one given twice: "Requests with duplicate query parameter names will be rejected".

    Blank values are kept: `api-version=` is not the same as none.
    """
    pairs = parse_qsl(request.target.partition("?")[2], keep_blank_values=True, max_num_fields=100)
    query = dict(pairs)
    if len(query) < len(pairs):
        raise ValueError("Query parameters must not be given more than once")
    return query


def _has_version(query: Mapping[str, str], category: str) -> bool:
    return query.get("api-version") in VERSIONS and query["api-version"] >= SINCE[category]


def _wrong_version() -> Reply:
    """Missing or unknown, in the words of "Versioning" on Microsoft's page."""
    words = "api-version is invalid or was not specified in the request. For more information refer to aka.ms/azureimds"
    return json_reply(400, {"error": f"Bad request. {words}", "newest-versions": NEWEST})


def _bad_identity_version(query: Mapping[str, str]) -> Reply | None:
    """None if it is there and known. For a version that does not exist the words are not verified."""
    if "api-version" not in query:
        return identity_error("invalid_request", "Required query variable 'api-version' is missing")
    if not _has_version(query, "identity"):
        return identity_error("invalid_request", "The api-version is not supported by the identity endpoint")
    return None


def _scheduled_events(query: Mapping[str, str]) -> Reply:
    """Never any. A version of another category is "Not found" (an answer of the real service, seen in public)."""
    if "api-version" not in query:
        return _wrong_version()
    if query["api-version"] not in EVENT_VERSIONS:
        return _not_found()
    return json_reply(200, {"DocumentIncarnation": 1, "Events": []})


def _part_of(document: Any, keys: Sequence[str], query: Mapping[str, str]) -> Reply:
    """What the route parameters lead to, as JSON or text.

    "When filtering to a leaf node, format=json doesn't work", nor does naming no format: 400, in the page's table of
    errors and in MicrosoftDocs/azure-docs issue 15283. The words of it are not verified.
    """
    wanted = query.get("format", "").lower()
    if wanted not in FORMATS:
        return json_reply(400, {"error": "Bad request. The format must be json or text."})
    for key in keys:
        if (document := _child(document, key)) is None:
            return _not_found()
    if wanted == "text":
        return text_reply(200, _as_text(document))
    if not isinstance(document, dict | list):
        return json_reply(400, {"error": "Bad request. A leaf node has no json format: ask for format=text."})
    return json_reply(200, document)


def _child(node: Any, key: str) -> Any:
    """A field by its name (in lower case), an element by its index; None if there is none."""
    if isinstance(node, list):
        return dict(zip(map(str, range(len(node))), node, strict=True)).get(key)
    if isinstance(node, dict):
        return {name.lower(): value for name, value in node.items()}.get(key)
    return None


def _as_text(node: Any) -> str:
    """A leaf as it is; of the others the names of what is in them, a slash behind those that hold more."""
    if isinstance(node, dict | list):
        names = enumerate(node) if isinstance(node, list) else node.items()
        return "\n".join(f"{name}/" if isinstance(value, dict | list) else str(name) for name, value in names)
    return str(node).lower() if isinstance(node, bool) else str(node)


def _bad(area: Sequence[str], why: str) -> Reply:
    if area[:1] == ["identity"]:
        return identity_error("invalid_request", why)
    return json_reply(400, {"error": why})


def _not_found() -> Reply:
    return json_reply(404, {"error": "Not found"})
