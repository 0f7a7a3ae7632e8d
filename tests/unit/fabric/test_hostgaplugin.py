"""The host plugin's few routes."""

from __future__ import annotations

import json

import pytest

from aibemu.fabric.hostgaplugin import HostGaPlugin
from aibemu.fabric.http import Reply, Request


def ask(target: str, method: str = "GET", body: bytes = b"") -> Reply:
    return HostGaPlugin().handle(Request(method=method, target=target, body=body))


def test_service_looks_like_azures() -> None:
    assert HostGaPlugin().banner == "Microsoft-HTTPAPI/2.0"
    assert HostGaPlugin().name == "hostgaplugin"


def test_versions_are_a_json_list() -> None:
    reply = ask("/versions")
    assert reply.status == 200
    assert reply.content_type.startswith("application/json")
    assert json.loads(reply.body) == ["2015-09-01"]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/health", 200),
        ("PUT", "/status", 200),
        ("PUT", "/vmAgentLog", 200),
        ("PUT", "/aibemu/status", 201),
        ("GET", "/vmSettings", 404),
        ("GET", "/extensionArtifact", 404),
        ("GET", "/", 404),
        ("GET", "/status", 405),
        ("PUT", "/versions", 405),
        ("POST", "/health", 405),
    ],
)
def test_routes(method: str, target: str, status: int) -> None:
    reply = ask(target, method, b"{}")
    assert reply.status == status
    if status != 405:
        assert not reply.headers


def test_refused_method_names_the_right_one() -> None:
    assert ask("/vmAgentLog", "POST").headers == (("Allow", "PUT"),)
