"""What a guest says of its own provisioning, by any of the agents, as one value.

cloud-init and waagent post XML to the wire server, azure-init posts JSON. The first Ready means provisioned. Only the
substatus ProvisioningFailed is a failure: waagent posts NotReady/Provisioning after cloud-init's Ready and then Ready
again (facts: guest-platform 1.4).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from xml.parsers import expat

from aibemu import records

READY = "Ready"
PROVISIONING_FAILED = "ProvisioningFailed"
# Bytes. The wire server takes no longer description (WALinuxAgent, protocol/wire.py); a report is little more.
LONGEST_DESCRIPTION = 4096
LONGEST_REPORT = 64 * 1024
DEEPEST_REPORT = 32

_HEALTH = ("Health", "Container", "RoleInstanceList", "Role", "Health")
_FIELDS = {
    (*_HEALTH, "State"): "state",
    (*_HEALTH, "Details", "SubStatus"): "substatus",
    (*_HEALTH, "Details", "Description"): "description",
}
# Fields of an encoded report that say nothing of the cause to a reader.
_CIRCUMSTANCES = frozenset(
    ("result", "reason", "agent", "pps_type", "vm_id", "timestamp", "documentation_url", "traceback_base64")
)
# Control characters, but tab and newline: a guest's text ends in a terminal. Surrogates can stand in JSON only.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Client(StrEnum):
    """Who reports. `other`: a script, or an agent that does not name itself."""

    CLOUD_INIT = "cloud-init"
    WAAGENT = "waagent"
    AZURE_INIT = "azure-init"
    OTHER = "other"


# How their User-Agent begins. `x-ms-agent-name` does not tell: cloud-init says WALinuxAgent there too.
_USER_AGENTS = {
    "cloud-init/": Client.CLOUD_INIT,
    "walinuxagent/": Client.WAAGENT,
    "azure-init ": Client.AZURE_INIT,
}


def client_of(user_agent: str) -> Client:
    """Which agent sends this User-Agent header."""
    return next((who for start, who in _USER_AGENTS.items() if user_agent.lower().startswith(start)), Client.OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """state: Ready or NotReady; substatus: empty, Provisioning, ProvisioningFailed; description: as sent, cut."""

    state: str
    substatus: str = ""
    description: str = ""
    by: Client = Client.OTHER

    @property
    def ready(self) -> bool:
        return self.state == READY

    @property
    def failed(self) -> bool:
        return not self.ready and self.substatus == PROVISIONING_FAILED

    @property
    def message(self) -> str:
        """The description for a reader: of an encoded report the reason and what supports it, else as it is."""
        fields = _decoded(self.description)
        if "reason" not in fields:
            return self.description
        support = ", ".join(f"{name}: {value}" for name, value in fields.items() if name not in _CIRCUMSTANCES)
        return f"{fields['reason']} ({support})" if support else fields["reason"]


def parse_xml(body: bytes, by: Client = Client.OTHER) -> HealthReport:
    """Read `POST /machine?comp=health`. Raises ValueError for what is not a health report in UTF-8."""
    # No agent takes control characters out of the texts it quotes; XML has no place for them.
    texts = _texts(_UNPRINTABLE.sub(" ", _bounded(body).decode()))
    if not texts.get("state"):
        raise ValueError("a health report without a state")
    return HealthReport(**texts, by=by)


def parse_json(body: bytes, by: Client = Client.OTHER) -> HealthReport:
    """Read azure-init's `POST /provisioning/health`: {state, details: {subStatus, description}}.

    Raises ValueError for anything else. Source: Azure/azure-init, libazureinit/src/health.rs.
    """
    value = records.parse_json(_bounded(body).decode("utf-8", "replace"), halves=True)
    report = value if isinstance(value, dict) else {}
    details = report.get("details")
    details = details if isinstance(details, dict) else {}
    state = _text(report.get("state"))
    if not state:
        raise ValueError("a health report without a state")
    substatus, description = _text(details.get("subStatus")), _text(details.get("description"))
    return HealthReport(state=state, substatus=substatus, description=description, by=by)


def _bounded(body: bytes) -> bytes:
    if len(body) > LONGEST_REPORT:
        raise ValueError(f"a health report of {len(body)} bytes")
    return body


def _text(value: Any) -> str:
    """A text that may be shown and kept: no control characters, stripped, at most LONGEST_DESCRIPTION bytes."""
    if not isinstance(value, str):
        return ""
    return _UNPRINTABLE.sub(" ", value).strip().encode()[:LONGEST_DESCRIPTION].decode(errors="ignore").rstrip()


def _texts(document: str) -> dict[str, str]:
    """The fields of a health document, of its first role. No entities: a document type is refused."""
    path: list[str] = []
    found: dict[str, list[str]] = {}
    closed: set[str] = set()

    def start(tag: str, _: object) -> None:
        path.append(tag)
        if len(path) > DEEPEST_REPORT:
            raise ValueError("a health report nested too deeply")

    def end(_: str) -> None:
        closed.add(_FIELDS.get(tuple(path), ""))
        path.pop()

    def characters(text: str) -> None:
        field = _FIELDS.get(tuple(path))
        if field and field not in closed:
            found.setdefault(field, []).append(text)

    def doctype(*_: object) -> None:
        raise ValueError("a health report with a document type")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = characters, doctype
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise ValueError(f"not XML: {error}") from error
    return {field: _text("".join(parts)) for field, parts in found.items()}


def _decoded(description: str) -> dict[str, str]:
    """The fields of an encoded report, `result=error|reason=...`; nothing if it is not one.

    One line of CSV with `|`; cloud-init quotes by ', azure-init by ". cloud-init cuts it after 512 characters, so the
    last field may have lost its end. Source: cloud-init, sources/azure/errors.py; azure-init, health.rs.
    """
    if not description.startswith("result="):
        return {}
    quote = '"' if "|agent=Azure-Init/" in description else "'"
    try:
        row = next(csv.reader([description], delimiter="|", quotechar=quote))
    except csv.Error:
        return {}
    return {name: value for name, sign, value in (field.partition("=") for field in row) if sign}
