"""The metadata service: rules for every request, versions, route parameters, and what is not emulated."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.fabric.http import JSON, TEXT, Reply, Request, Service
from aibemu.fabric.imds import EVENT_VERSIONS, NEWEST, VERSIONS, Imds
from aibemu.testing.clock import FakeClock
from tests.unit.fabric.machines import TENANT, identity, machine

METADATA = {"metadata": "true"}
V = "api-version=2021-08-01"
TOKEN = "/metadata/identity/oauth2/token"


def get(target: str, headers: dict[str, str] | None = None, method: str = "GET", **changes: Any) -> Reply:
    request = Request(method=method, target=target, headers=METADATA if headers is None else headers)
    return Imds(machine(**changes), FakeClock()).handle(request)


def said(reply: Reply) -> Any:
    assert reply.content_type == JSON
    return json.loads(reply.body)


def text(reply: Reply) -> str:
    assert (reply.status, reply.content_type) == (200, TEXT)
    return reply.body.decode()


def test_is_a_service() -> None:
    service: Service = Imds(machine(), FakeClock())
    assert (service.name, service.banner) == ("imds", "IMDS/150.870.65.1854")


class TestEveryRequest:
    @pytest.mark.parametrize("path", ["/metadata/instance", "/metadata/versions", "/metadata/loadbalancer", "/", "/x"])
    @pytest.mark.parametrize("headers", [{}, {"metadata": "false"}, {"metadata": ""}])
    def test_needs_the_header(self, path: str, headers: dict[str, str]) -> None:
        reply = get(f"{path}?{V}", headers)
        assert (reply.status, said(reply)) == (400, {"error": "Bad request: . Required metadata header not specified"})

    @pytest.mark.parametrize("value", ["true", "True", " TRUE "])
    def test_the_header_may_be_written_in_any_case(self, value: str) -> None:
        assert get(f"/metadata/instance?{V}", {"metadata": value}).status == 200

    def test_the_token_endpoint_says_so_in_its_own_form(self) -> None:
        reply = get(TOKEN, {})
        assert reply.status == 400
        assert said(reply) == {
            "error": "invalid_request", "error_description": "Required metadata header not specified",
        }  # fmt: skip

    def test_must_not_come_through_a_proxy(self) -> None:
        reply = get(f"/metadata/instance?{V}", {**METADATA, "x-forwarded-for": ""})
        assert reply.status == 400
        assert "X-Forwarded-For" in said(reply)["error"]
        assert get(f"{TOKEN}?{V}", {**METADATA, "x-forwarded-for": "10.0.0.1"}, identities=(identity(),)).status == 400

    @pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "DELETE", "BREW"])
    @pytest.mark.parametrize("path", ["/metadata/instance", "/metadata/scheduledevents", TOKEN])
    def test_only_get(self, method: str, path: str) -> None:
        reply = get(f"{path}?{V}", method=method)
        assert (reply.status, reply.headers) == (405, (("Allow", "GET"),))

    @pytest.mark.parametrize(
        "path",
        [
            "/", "/latest/meta-data", "/metadata", "/metadata/nothing", "/metadata/attested", "/metadata/identity",
            "/metadata/identity/oauth2", "/metadata/identity/oauth2/token/x", "/metadata/versions/x", "/instance",
            "/metadata/scheduledevents/x", "/metadata/loadbalancer/x",
        ],
    )  # fmt: skip
    def test_unknown_path(self, path: str) -> None:
        reply = get(f"{path}?{V}")
        assert (reply.status, said(reply)) == (404, {"error": "Not found"})

    @pytest.mark.parametrize("path", ["/metadata/instance", TOKEN])
    def test_a_parameter_given_twice_is_refused(self, path: str) -> None:
        query = f"{V}&resource=api://a"
        assert get(f"{path}?{query}&x=", identities=(identity(),)).status == 200
        assert get(f"{path}?{query}&{V}", identities=(identity(),)).status == 400
        assert get(f"{path}?{query}&x=&x=", identities=(identity(),)).status == 400

    def test_too_many_parameters_are_refused(self) -> None:
        assert get(f"/metadata/instance?{V}&" + "&".join(f"p{number}=1" for number in range(200))).status == 400

    @pytest.mark.parametrize(
        "target",
        [
            f"/Metadata/INSTANCE/Compute/NAME?{V}&format=TEXT", f"/metadata/instance/compute/name/?{V}&format=text",
            f"http://169.254.169.254/metadata/instance/compute/name?{V}&format=text",
            f"//metadata//instance/compute/%6eame?{V}&format=text",
        ],
    )  # fmt: skip
    def test_spellings_of_a_path(self, target: str) -> None:
        assert text(get(target)) == "vm-build"


class TestVersions:
    def test_list_needs_no_version(self) -> None:
        assert said(get("/metadata/versions")) == {"apiVersions": list(VERSIONS)}
        assert list(VERSIONS) == sorted(set(VERSIONS))
        assert list(NEWEST) == ["2025-04-07", "2024-07-17", "2024-03-15"]

    @pytest.mark.parametrize("query", ["", "?api-version=", "?api-version=2021-08-02", "?api-version=latest", "?x=1"])
    @pytest.mark.parametrize("path", ["instance", "instance/compute", "loadbalancer", "attested/document"])
    def test_missing_or_unknown(self, path: str, query: str) -> None:
        reply = get(f"/metadata/{path}{query}")
        assert reply.status == 400
        assert said(reply) == {
            "error": "Bad request. api-version is invalid or was not specified in the request."
            " For more information refer to aka.ms/azureimds",
            "newest-versions": list(NEWEST),
        }

    @pytest.mark.parametrize(
        ("path", "before", "since", "status"),
        [
            ("instance", "2017-03-01", "2017-04-02", 200), ("identity/info", "2017-12-01", "2018-02-01", 200),
            ("attested/document", "2018-04-02", "2018-10-01", 501), ("loadbalancer", "2020-09-01", "2020-10-01", 404),
        ],
    )  # fmt: skip
    def test_categories_came_one_by_one(self, path: str, before: str, since: str, status: int) -> None:
        assert get(f"/metadata/{path}?api-version={before}").status == 400
        assert get(f"/metadata/{path}?api-version={since}").status == status

    @pytest.mark.parametrize("version", VERSIONS[1:])
    def test_instance_in_every_version(self, version: str) -> None:
        assert said(get(f"/metadata/instance?api-version={version}"))["compute"]["name"] == "vm-build"

    def test_the_document_is_that_of_the_version(self) -> None:
        assert get("/metadata/instance/compute/tagsList?api-version=2019-06-04").status == 200
        assert get("/metadata/instance/compute/tagsList?api-version=2019-06-01").status == 404


class TestRouteParameters:
    def test_whole_document(self) -> None:
        assert said(get(f"/metadata/instance?{V}")).keys() == {"compute", "network"}
        assert said(get(f"/metadata/instance?{V}&format=json")).keys() == {"compute", "network"}

    @pytest.mark.parametrize(("value", "there"), [("true", True), ("True", True), ("false", False), ("", False)])
    def test_extended(self, value: str, there: bool) -> None:
        assert ("extended" in said(get(f"/metadata/instance?{V}&extended={value}"))) is there

    def test_parts(self) -> None:
        assert said(get(f"/metadata/instance/compute/osProfile?{V}"))["adminUsername"] == "packer"
        assert said(get(f"/metadata/instance/network/interface/0/ipv4/subnet?{V}")) == [
            {"address": "10.0.0.0", "prefix": "24"}
        ]
        assert said(get(f"/metadata/instance/compute/storageProfile/dataDisks?{V}")) == []

    @pytest.mark.parametrize(
        "path",
        ["disk", "compute/x", "network/interface/1", "network/interface/-1", "network/interface/x", "compute/name/x",
         "network/interface/00", "compute/vmId/0"],
    )  # fmt: skip
    @pytest.mark.parametrize("shape", ["json", "text"])
    def test_what_is_not_there(self, path: str, shape: str) -> None:
        reply = get(f"/metadata/instance/{path}?{V}&format={shape}")
        assert (reply.status, said(reply)) == (404, {"error": "Not found"})

    def test_leaf_as_text(self) -> None:
        leaf = "/metadata/instance/network/interface/0/ipv4/ipAddress/0/privateIpAddress"
        assert text(get(f"{leaf}?{V}&format=text")) == "10.0.0.4"
        assert text(get(f"/metadata/instance/compute/zone?{V}&format=text")) == ""
        assert text(get(f"/metadata/instance/compute/userData?{V}&format=text", user_data="aGk=")) == "aGk="
        extended = f"/metadata/instance/extended/compute/hasCustomData?{V}&extended=true&format=text"
        assert text(get(extended)) == "false"

    @pytest.mark.parametrize("shape", ["", "&format=json", "&format="])
    def test_leaf_has_no_json(self, shape: str) -> None:
        assert get(f"/metadata/instance/compute/name?{V}{shape}").status == 400

    def test_listing_as_text(self) -> None:
        assert text(get(f"/metadata/instance?{V}&format=text")) == "compute/\nnetwork/"
        assert text(get(f"/metadata/instance/network/interface?{V}&format=text")) == "0/"
        listed = text(get(f"/metadata/instance/network/interface/0?{V}&format=text"))
        assert listed == "ipv4/\nipv6/\nmacAddress"

    def test_unknown_format(self) -> None:
        assert get(f"/metadata/instance?{V}&format=xml").status == 400


class TestScheduledEvents:
    @pytest.mark.parametrize("version", EVENT_VERSIONS)
    def test_none(self, version: str) -> None:
        reply = get(f"/metadata/scheduledevents?api-version={version}")
        assert (reply.status, said(reply)) == (200, {"DocumentIncarnation": 1, "Events": []})

    def test_versions_of_their_own(self) -> None:
        assert get("/metadata/scheduledevents?api-version=2021-12-13").status == 404
        assert get("/metadata/scheduledevents").status == 400


def test_load_balancer() -> None:
    reply = get("/metadata/loadbalancer?api-version=2020-10-01")
    words = "No load balancer metadata is found. Please check if your VM is using any non-basic SKU load balancer"
    assert (reply.status, said(reply)) == (404, {"error": f"{words} and retry later."})


def test_attested_data_is_honestly_refused() -> None:
    reply = get(f"/metadata/attested/document?{V}")
    assert reply.status == 501
    assert "not emulated" in said(reply)["error"]


class TestIdentity:
    def test_info(self) -> None:
        assert said(get("/metadata/identity/info?api-version=2018-02-01")) == {"tenantId": TENANT}

    def test_token(self) -> None:
        reply = get(f"{TOKEN}?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net", identities=(identity(),))
        assert reply.status == 200
        assert said(reply)["resource"] == "https://vault.azure.net"
        assert reply.secrets == (said(reply)["access_token"],)

    def test_needs_a_version(self) -> None:
        reply = get(f"{TOKEN}?resource=https://vault.azure.net", identities=(identity(),))
        assert reply.status == 400
        assert said(reply) == {
            "error": "invalid_request", "error_description": "Required query variable 'api-version' is missing",
        }  # fmt: skip

    @pytest.mark.parametrize("version", ["", "2017-12-01", "1.0"])
    def test_needs_a_version_that_it_has(self, version: str) -> None:
        reply = get(f"{TOKEN}?api-version={version}&resource=https://vault.azure.net", identities=(identity(),))
        assert (reply.status, said(reply)["error"]) == (400, "invalid_request")

    def test_keeps_one_key_for_the_machine(self) -> None:
        imds = Imds(machine(identities=(identity(),)), FakeClock())
        request = Request(method="GET", target=f"{TOKEN}?{V}&resource=api://a", headers=METADATA)
        assert imds.handle(request) == imds.handle(request)


SEGMENTS = ["metadata", "instance", "compute", "network", "interface", "0", "identity", "oauth2", "token", "info", "x"]
SEGMENTS += ["attested", "document", "scheduledevents", "loadbalancer", "versions", "extended", "%2f", "..", "\ud800"]
PARAMETERS = [
    V,
    "api-version=2020-07-01",
    "format=text",
    "format=json",
    "extended=true",
    "resource=api://x",
    "resource",
]
PARAMETERS += ["client_id=%00", "resource=%ff", "&", "=", "api-version", "resource=\ud800", "api-version=\ud800"]
TARGETS = st.builds(
    lambda path, query: "/" + "/".join(path) + "?" + "&".join(query),
    st.lists(st.sampled_from(SEGMENTS) | st.text(max_size=5), max_size=8),
    st.lists(st.sampled_from(PARAMETERS) | st.text(max_size=8), max_size=4),
)
LIKELY = st.builds("/metadata/{}".format, TARGETS.map(lambda target: target.lstrip("/")))
HEADERS = st.just(METADATA) | st.dictionaries(
    st.sampled_from(["metadata", "x-forwarded-for"]) | st.text(string.ascii_lowercase), st.just("true") | st.text()
)


@given(target=LIKELY | TARGETS | st.text(), headers=HEADERS, method=st.just("GET") | st.text(max_size=6))
def test_every_request_has_a_reply(target: str, headers: dict[str, str], method: str) -> None:
    reply = get(target, headers, method, identities=(identity(),))
    assert 200 <= reply.status < 600
