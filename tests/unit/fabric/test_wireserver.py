"""The wire server's routes, as the agents ask them."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from aibemu.fabric import goalstate
from aibemu.fabric.health import Client, HealthReport
from aibemu.fabric.http import XML, Reply, Request
from aibemu.fabric.wireserver import WireServer
from tests.unit.fabric.machines import machine

HEADERS = {"x-ms-agent-name": "WALinuxAgent", "x-ms-version": "2012-11-30"}
HEALTH = (
    b"<Health><GoalStateIncarnation>1</GoalStateIncarnation><Container><RoleInstanceList><Role><Health>"
    b"<State>Ready</State></Health></Role></RoleInstanceList></Container></Health>"
)


class Guest:
    """A wire server and what it heard."""

    def __init__(self, name: str = "vm-build", incarnation: int = 1) -> None:
        self.vm = machine(name=name)
        self.heard: list[HealthReport] = []
        self.server = WireServer(self.vm, self.heard.append, incarnation=incarnation)

    def ask(self, target: str, method: str = "GET", body: bytes = b"", headers: dict[str, str] | None = None) -> Reply:
        headers = HEADERS if headers is None else headers
        return self.server.handle(Request(method=method, target=target, headers=headers, body=body))


def test_service_looks_like_azures() -> None:
    assert Guest().server.banner == "Microsoft-IIS/10.0"
    assert Guest().server.name == "wireserver"


def test_versions_need_no_header() -> None:
    reply = Guest().ask("/?comp=versions", headers={})
    assert (reply.status, reply.content_type, reply.body.decode()) == (200, XML, goalstate.versions())


@pytest.mark.parametrize(
    "target",
    [
        "/machine/?comp=goalstate",
        "/machine?comp=goalstate",
        "/Machine/?comp=GoalState",
        "http://168.63.129.16/machine?comp=goalstate",
    ],
)
def test_goal_state(target: str) -> None:
    guest = Guest(incarnation=4)
    reply = guest.ask(target)
    assert (reply.status, reply.content_type) == (200, XML)
    assert reply.body.decode() == goalstate.goal_state(guest.vm, 4)


@pytest.mark.parametrize(
    ("tag", "root"),
    [
        ("HostingEnvironmentConfig", "HostingEnvironmentConfig"),
        ("SharedConfig", "SharedConfig"),
        ("ExtensionsConfig", "Extensions"),
    ],
)
def test_each_address_in_the_goal_state_is_served(tag: str, root: str) -> None:
    guest = Guest(name="Odd name&'<Ü", incarnation=2)
    state = ET.fromstring(guest.ask("/machine/?comp=goalstate").body)
    address = state.findtext(f"Container/RoleInstanceList/RoleInstance/Configuration/{tag}")
    assert address is not None
    target = address.removeprefix("http://168.63.129.16:80")
    reply = guest.ask(target)
    assert (reply.status, reply.content_type) == (200, XML)
    document = ET.fromstring(reply.body)
    assert (document.tag, document.attrib["goalStateIncarnation"]) == (root, "2")
    assert guest.ask(target.replace("incarnation=2", "incarnation=1")).status == 410
    assert guest.ask(target.replace(str(guest.vm.container_id), "other")).status == 410
    assert guest.ask(target, headers={}).status == 400


@pytest.mark.parametrize("kind", ["certificates", "fullConfig", "remoteAccessInfo", ""])
def test_other_configurations_are_not_there(kind: str) -> None:
    guest = Guest()
    assert guest.ask(f"{goalstate.machine_path(guest.vm)}?comp=config&type={kind}").status == 404


@pytest.mark.parametrize("headers", [{}, {"x-ms-version": "1999-01-01<"}])
def test_goal_state_wants_a_protocol_version(headers: dict[str, str]) -> None:
    reply = Guest().ask("/machine/?comp=goalstate", headers=headers)
    assert (reply.status, reply.content_type) == (400, XML)
    assert "x-ms-version" in (ET.fromstring(reply.body).findtext("Message") or "")


def test_health_is_heard_and_answered_as_azure_does() -> None:
    guest = Guest(incarnation=3)
    headers = HEADERS | {"user-agent": "Cloud-Init/22.4.2"}
    reply = guest.ask("/machine?comp=health", "POST", HEALTH, headers)
    assert guest.heard == [HealthReport(state="Ready", by=Client.CLOUD_INIT)]
    assert (reply.status, reply.body, reply.content_type) == (200, b"", XML)
    assert reply.headers == (("x-ms-latest-goal-state-incarnation-number", "3"),)


def test_health_of_a_script_without_headers_is_heard() -> None:
    guest = Guest()
    assert guest.ask("/machine/?comp=health", "POST", HEALTH, {}).status == 200
    assert [report.by for report in guest.heard] == [Client.OTHER]


def test_azure_init_is_heard() -> None:
    guest = Guest()
    headers = {"user-agent": "azure-init v0.1.1", "content-type": "application/json"}
    reply = guest.ask("/provisioning/health", "POST", b'{"state":"Ready"}', headers)
    assert (reply.status, reply.body) == (201, b"")
    assert guest.heard == [HealthReport(state="Ready", by=Client.AZURE_INIT)]


@pytest.mark.parametrize("target", ["/machine?comp=health", "/provisioning/health"])
def test_health_that_is_none_is_an_error_and_not_heard(target: str) -> None:
    guest = Guest()
    with pytest.raises(ValueError, match=r"not XML|Expecting"):
        guest.ask(target, "POST", b"<")
    assert not guest.heard


def test_telemetry_and_role_properties_are_taken() -> None:
    assert Guest().ask("/machine?comp=telemetrydata", "POST", b"<TelemetryData/>") == Reply(status=200)
    assert Guest().ask("/machine?comp=roleProperties", "POST", b"<RoleProperties/>") == Reply(status=202)


@pytest.mark.parametrize(
    "target", ["/HealthService", "/", "/machine", "/machine?comp=other", "/machine/a/b", "/a/b?comp=config"]
)
def test_other_paths_are_not_there(target: str) -> None:
    assert Guest().ask(target, "POST", b"{}").status == 404


@pytest.mark.parametrize(
    ("target", "method", "allowed"),
    [
        ("/?comp=versions", "POST", "GET"),
        ("/machine?comp=goalstate", "PUT", "GET"),
        ("/machine?comp=health", "GET", "POST"),
        ("/machine?comp=telemetrydata", "GET", "POST"),
        ("/machine?comp=roleproperties", "GET", "POST"),
        ("/provisioning/health", "GET", "POST"),
    ],
)
def test_other_methods_are_not_allowed(target: str, method: str, allowed: str) -> None:
    guest = Guest()
    reply = guest.ask(target, method, HEALTH)
    assert (reply.status, reply.headers) == (405, (("Allow", allowed),))
    assert not guest.heard
