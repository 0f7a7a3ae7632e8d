"""The WinRM server for tests beside real Windows: pypsrp's source distribution holds recorded exchanges of its client
with Windows Server 2008 R2, 2012 R2 and 2016. Each request is sent again, and the answer compared with Windows':
status, action, fault code and texts, and which elements and attributes there are.

The folder with the recordings (`tests/tests_pypsrp/responses`) is in AIBEMU_WINRM_RECORDINGS; ./test.sh fetches it.
"""

from __future__ import annotations

import base64
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from fixtures.guests.scripted import Answer, Call, Scripted
from fixtures.guests.winrm import WinrmServer
from fixtures.guests.winrm.settings import Settings
from fixtures.guests.winrm.soap import NAMES
from tests.winrm_clients import PASSWORD, USER

NAMED = os.environ.get("AIBEMU_WINRM_RECORDINGS", "")
# Windows of that time adds an id that nobody uses; a fault's envelope declares names only.
LEFT_OUT = {"ActivityId"}
_ID = re.compile(r"<rsp:(?:ShellId|CommandId)>([0-9A-Fa-f-]{36})<")
# What recordings are of; a distribution without one of them is not the one that these tests are about.
KNOWN = [
    "bad_cmd_id", "environment", "extra_opts", "fail_poll_process", "no_cmd_shell", "noprofile", "open_already_opened",
    "operation_timeout", "send", "standard", "stderr_rc", "unicode",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what Windows answered."""

    request: str
    response: str
    status: int

    @property
    def receives(self) -> bool:
        """Whether it asks for output."""
        return _action(self.request) == "Receive"


def exchanges(name: str) -> list[Exchange]:
    """A recording; the test is skipped where there are none."""
    if not (NAMED and Path(NAMED).is_dir()):
        pytest.skip("no folder AIBEMU_WINRM_RECORDINGS: ./test.sh fetches pypsrp's recordings of Windows and sets it")
    recorded: list[dict[str, Any]] = yaml.safe_load((Path(NAMED) / f"test_winrs_{name}.yml").read_text())["messages"]
    return [
        Exchange(message["request"], message["response"], message.get("transport_error", {}).get("code", 200))
        for message in recorded
    ]


@pytest.mark.parametrize("name", KNOWN)
def test_answers_as_windows_did(name: str) -> None:
    recorded, machine = exchanges(name), Scripted()
    settings = Settings(allow_unencrypted=True)
    with WinrmServer(machine, user=USER, password=PASSWORD, settings=settings) as server:
        machine.on(re.compile(""), *_outputs(recorded, server))
        ids: dict[str, str] = {}
        for exchange in recorded:
            answer = _send(server, _translated(exchange.request, ids))
            ids |= dict(zip(_ID.findall(exchange.response), _ID.findall(answer.text), strict=False))
            assert (answer.status_code, _told(answer.text)) == (exchange.status, _told(exchange.response))
            assert _shape(answer.text) == _shape(exchange.response)
    machine.check()


def _outputs(recorded: list[Exchange], server: WinrmServer) -> Iterator[Answer]:
    """What the commands of a recording print: its output, chunk by chunk, at the Receive at which Windows had it."""
    receives = [exchange for exchange in recorded if exchange.receives]
    for exchange in recorded:
        if _action(exchange.request) == "Command":
            if exchange.status == 500:
                yield Answer(missing=True)
            else:
                yield Answer(play=lambda call: _play(call, receives, server))


def _play(call: Call, receives: list[Exchange], server: WinrmServer) -> int:
    for number, exchange in enumerate(receives, 1):
        if exchange.status != 200:
            continue
        server.wait_for("Receive", number)
        for stream in _streams(exchange.response):
            call.output.put(
                "stdout" if stream.get("Name") == "stdout" else "stderr", base64.b64decode(stream.text or "")
            )
        if code := ET.fromstring(exchange.response).findtext(".//rsp:ExitCode", namespaces=NAMES):
            return int(code)
    return 0


def _streams(response: str) -> list[ET.Element]:
    return [stream for stream in ET.fromstring(response).findall(".//rsp:Stream", NAMES) if stream.text]


def _translated(request: str, ids: dict[str, str]) -> str:
    """The request with this server's ids, and a short time instead of the seconds after which Windows answered."""
    for theirs, ours in ids.items():
        request = re.sub(theirs, ours, request, flags=re.IGNORECASE)
    return re.sub(r"(OperationTimeout>)PT[0-9.]+S<", r"\1PT0.5S<", request)


def _send(server: WinrmServer, request: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Content-Type": "application/soap+xml;charset=UTF-8"}
        return session.post(server.url, request.encode(), headers=headers, auth=(USER, PASSWORD), timeout=20)


def _action(message: str) -> str:
    found = ET.fromstring(message).findtext(".//a:Action", "", NAMES)
    return found.rpartition("/")[2]


def _told(answer: str) -> dict[str, Any]:
    """What an answer says, without ids and addresses."""
    root = ET.fromstring(answer)
    fault = root.find(".//{*}WSManFault")
    return {
        "action": _action(answer),
        "fault": None if fault is None else (fault.get("Code"), "".join(fault.itertext())),
        "code": [found.text for found in root.iterfind(".//s:Code//s:Value", NAMES)],
        "reason": root.findtext(".//s:Reason/s:Text", namespaces=NAMES),
        "detail": root.findtext(".//w:FaultDetail", namespaces=NAMES),
        "state": [state.get("State") for state in root.iterfind(".//rsp:CommandState", NAMES)],
        "exit code": root.findtext(".//rsp:ExitCode", namespaces=NAMES),
        "streams": [(s.get("Name"), s.get("End"), s.text) for s in root.iterfind(".//rsp:Stream", NAMES)],
        "idle": root.findtext(".//rsp:IdleTimeOut", namespaces=NAMES),
    }


def _shape(answer: str) -> set[str]:
    """Where which elements and attributes are."""
    found: set[str] = set()

    def walk(element: ET.Element, path: str) -> None:
        path = f"{path}/{element.tag}"
        if element.tag.rpartition("}")[2] not in LEFT_OUT:
            found.update([path, *(f"{path}@{name}" for name in element.attrib)])
            for child in element:
                walk(child, path)

    walk(ET.fromstring(answer), "")
    return found
