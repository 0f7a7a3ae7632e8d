"""Targets: what a guest sends to its platform, and what servers say of files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests as http_library
from requests.structures import CaseInsensitiveDict

from aibemu import http_answers
from aibemu.clock import SystemClock
from aibemu.fabric.dns import Names
from aibemu.fabric.gateway import Gateway, ServicePorts
from aibemu.fabric.hostgaplugin import HostGaPlugin
from aibemu.fabric.http import Reply, Request, Service
from aibemu.fabric.imds import VERSIONS, Imds
from aibemu.fabric.journal import Journal
from aibemu.fabric.pump import Frames, Garbled
from aibemu.fabric.server import _Handler
from aibemu.fabric.wireserver import WireServer
from aibemu.text import harmless
from tests.campaigns.hunting import Target
from tests.unit.fabric import machines, packets

_JOURNAL = 1 << 20  # bytes of what was asked that are written


def _taken(_: bytes) -> None:
    """Somebody gets the frame."""


def frames(folder: Path) -> Target:
    """The stream of frames from a guest or from its network, cut, and each through the gateway: nothing may raise."""
    nic = machines.machine().nic
    gateways = [
        Gateway(
            nic, ServicePorts(imds=1001, wire=1002, plugin=1003, depot=1004), offline=offline,
            names=Names(host="pkrvm", domain="x.ax.internal.cloudapp.net"), to_guest=_taken, to_outside=_taken,
        ) for offline in (False, True)
    ]  # fmt: skip

    def run(content: bytes) -> None:
        kind = content[0] if content else 0
        gateway = gateways[kind & 1]
        handle = gateway.from_outside if kind & 2 else gateway.from_guest
        cutter, at, size = Frames(), 1, 1 + (kind >> 2)
        handle(content[1:])
        try:
            while at < len(content):
                for frame in cutter.cut(content[at : at + size * size]):
                    handle(frame)
                at += size * size
        except Garbled:
            return

    seeds = []
    for kind in range(0, 256, 9):
        whole = b"".join(len(frame).to_bytes(4, "big") + frame for frame in _frames())
        seeds.append(bytes([kind]) + whole)
    seeds += [bytes([kind]) + frame for kind in range(4) for frame in _frames()]
    return Target(name="frames", run=run, seeds=seeds, words=_FRAME_WORDS)


_FRAME_WORDS = (
    b"\x08\x00E\x00", b"\x08\x06", b"\x0a\x00\x00\x04", b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x03", b"\xa9\xfe\xa9\xfe",
    b"\xa8\x3f\x81\x10", b"\x00P", b"\x005", b"\x00C", b"\x7f\x00\x00\x01", b"\x4f", b"\x40", b"\x45", b"\x06", b"\x11",
    b"\x63\x82\x53\x63", b"\x35\x01\x01", b"\x35\x01\x03", b"\x32\x04", b"\x36\x04", b"\x37\xff", b"\x20\x00",
    b"\x1f\xff",
)  # fmt: skip


def _frames() -> list[bytes]:
    """One of each that the gateway treats in a way of its own."""
    guest, internet = packets.GUEST, "93.184.216.34"
    dhcp = b"\x01\x01\x06\0" + b"abcd" + bytes(20) + packets.GUEST_MAC + bytes(10) + bytes(192) + b"\x63\x82\x53\x63"
    found = [
        packets.tcp_frame(guest, target, (4000, port), flags)
        for target, port in ((packets.IMDS, 80), (packets.WIRE, 80), (packets.WIRE, 32526), (internet, 443))
        for flags in (packets.SYN, packets.ACK)
    ]
    found += [packets.tcp_frame(packets.GATEWAY, guest, (port, 4000), packets.ACK) for port in (1001, 1002, 22)]
    question = b"id\1\0\0\1\0\0\0\0\0\1\5pkrvm\x08internal\x08cloudapp\3net\0\0\1\0\1"
    found += [
        packets.udp_frame(guest, packets.WIRE, (5000, 53), b"q" * 20),
        packets.udp_frame(guest, packets.WIRE, (5000, 53), question + b"\0\0\x29\x10\0\0\0\0\0\0\0"),
        packets.udp_frame(packets.DNS, guest, (53, 5000), b"a" * 40),
        packets.ip(packets.DNS, guest, 17, b"f" * 40, fragment=0x2000),
        packets.ip(packets.DNS, guest, 17, b"f" * 40, fragment=7),
        packets.ip(guest, internet, 1, b"\x08" + bytes(11)),
        bytes(12) + b"\x08\x06" + bytes(28),
    ]
    return found + [
        packets.udp_frame("0.0.0.0", "255.255.255.255", (68, 67), dhcp + options)
        for options in (
            b"\x35\x01\x01\xff",
            b"\x35\x01\x03\x32\x04\x0a\0\0\x04\xff",
            b"\x35\x01\x08\x37\x02\x01\x03\xff",
        )
    ]


class _Watched:
    """A service whose bugs are kept: the server answers them with 500 and goes on."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.name, self.banner = service.name, service.banner
        self.bug: Exception | None = None

    def handle(self, request: Request) -> Reply:
        try:
            return self._service.handle(request)
        except ValueError:
            raise
        except Exception as error:
            self.bug = error
            raise


class _Connection:
    """A socket that gives what there is, then its end."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.said = bytearray()

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._content))

    def sendall(self, data: bytes) -> None:
        self.said += data

    def setsockopt(self, *_: Any) -> None: ...

    def settimeout(self, *_: Any) -> None: ...


def requests(folder: Path) -> Target:
    """Bytes on a connection to one of the platform's services, which the first byte chooses: parsed, answered,
    recorded."""
    folder.mkdir(parents=True, exist_ok=True)
    vm = machines.machine(identities=(machines.identity(),))
    clock = SystemClock()
    services = [_Watched(Imds(vm, clock)), _Watched(WireServer(vm, _heard)), _Watched(HostGaPlugin())]
    journal = Journal(folder / "journal.ndjson", clock, ["known-secret"], largest=_JOURNAL)
    handlers = [
        type("Handler", (_Handler,), {"service": service, "journal": journal, "clock": clock}) for service in services
    ]

    def run(content: bytes) -> None:
        number = (content[0] if content else 0) % len(services)
        services[number].bug = None
        handlers[number](_Connection(content[1:]), ("127.0.0.1", 1), None)
        if bug := services[number].bug:
            raise bug

    return Target(name="requests", run=run, seeds=_requests(vm), words=_REQUEST_WORDS)


_REQUEST_WORDS = (
    b"\r\n", b"\r\n\r\n", b"GET ", b"POST ", b" HTTP/1.1\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n",
    b"Metadata: true\r\n", b"api-version=2021-02-01", b"&format=text", b"/metadata/instance", b"%00", b"%ff", b"?",
    b"&",
    b"resource=", b"client_id=", b"/machine?comp=health", b"<Health>", b"</Health>", b"<![CDATA[", b"<!DOCTYPE a [",
    b"http://", b"[::1", b"result=error|reason=", b"Expect: 100-continue\r\n", b"0\r\n", b"ffffffffffffffff\r\n",
)  # fmt: skip


def _heard(report: Any) -> None:
    """A report is shown, as the build does."""
    harmless(report.message)


def _requests(vm: Any) -> list[bytes]:
    def get(number: int, target: str, *headers: str) -> bytes:
        return bytes([number]) + "\r\n".join((f"GET {target} HTTP/1.1", "Host: x", *headers, "", "")).encode()

    def post(number: int, target: str, body: bytes, *headers: str) -> bytes:
        head = (f"POST {target} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", "")
        return bytes([number]) + "\r\n".join(head).encode() + body

    xml = (
        b'<?xml version="1.0"?><Health><GoalStateIncarnation>1</GoalStateIncarnation><Container><ContainerId>c'
        b"</ContainerId><RoleInstanceList><Role><InstanceId>i</InstanceId><Health><State>NotReady</State><Details>"
        b"<SubStatus>ProvisioningFailed</SubStatus><Description>result=error|reason='a b'|agent=Cloud-Init/24"
        b"</Description></Details></Health></Role></RoleInstanceList></Container></Health>"
    )
    said = json.dumps({"state": "Ready", "details": {"subStatus": "x", "description": "result=success|a=b"}}).encode()
    paths = (
        "instance", "instance/compute", "instance/compute/name", "instance/network/interface/0", "attested/document",
        "loadbalancer", "identity/oauth2/token", "identity/info", "scheduledevents", "versions",
    )  # fmt: skip
    queries = (f"api-version={VERSIONS[-1]}", "api-version=2021-02-01&format=text&extended=true")
    query = "api-version=2018-02-01&resource=https://vault.azure.net&client_id=x"
    found = [
        get(0, f"/metadata/{path}?{words}", "Metadata: true", "User-Agent: curl/8")
        for path in paths for words in (*queries, query)
    ]  # fmt: skip
    version = "x-ms-version: 2012-11-30"
    found += [get(1, target, version) for target in ("/?comp=versions", "/machine?comp=goalstate")]
    found += [
        post(1, "/machine?comp=health", xml, version, "User-Agent: cloud-init/24"),
        post(1, "/provisioning/health", said),
    ]
    found += [get(2, "/versions"), post(2, "/status", b"{}")]
    chunked = b"POST /machine?comp=health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<Heal\r\n0\r\n\r\n"
    return [*found, b"\x01" + chunked]


def answers(folder: Path) -> Target:
    """Status and headers of a server's answer, a line each: what is read from them, and what is said of them."""
    clock = SystemClock()
    reads: tuple[Callable[[Any], object], ...] = (
        http_answers.encoded, http_answers.packed, http_answers.content_range, http_answers.version,
        lambda answer: http_answers.is_of(answer, '"tag"'),
        lambda answer: http_answers.retry_after(answer.headers.get("Retry-After", ""), clock),
    )  # fmt: skip

    def run(content: bytes) -> None:
        head, *rest = content.decode("latin-1").split("\n")
        answer = http_library.Response()
        answer.status_code, answer.reason, answer.url = 200, head, "http://127.0.0.1/x"
        answer.headers = CaseInsensitiveDict(line.partition(":")[::2] for line in rest)
        for one in reads:
            one(answer)
        with http_answers.open_session(netrc=False) as session:
            if answer.is_redirect:
                session.get_redirect_target(answer)
        try:
            answer.status_code = 404
            answer.raise_for_status()
        except http_library.RequestException as error:
            harmless(http_answers.say(error))

    lines = (
        b"Not Found", b"Retry-After:Wed, 21 Oct 2026 07:28:00 GMT", b"Retry-After:120", b"Content-Encoding:gzip, br",
        b"Content-Range:bytes 0-5/10", b"ETag:\"x\"", b"Last-Modified:Wed, 21 Oct 2026 07:28:00 GMT",
        b"Location:http://[::1",
    )  # fmt: skip
    words = (
        b"Retry-After:",
        b"Content-Range:bytes ",
        b"*/",
        b"GMT",
        b" +9999",
        b"9" * 5000,
        b"Location:",
        b"//",
        b"\n",
    )
    return Target(name="answers", run=run, seeds=[b"\n".join(lines), *lines[1:]], words=words)
