"""Microsoft's own client of the token endpoint, azure-identity, against ours: what a customizer's script would use."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import SystemClock
from aibemu.fabric.http import Request
from aibemu.fabric.imds import Imds
from aibemu.fabric.vm import ManagedIdentity
from tests.unit.fabric.machines import identity, machine

sdk = pytest.importorskip("azure.identity", reason="azure-identity is not installed (the extra aibemu[test])")

SCOPE = "https://storage.azure.com/.default"
ONE, OTHER = identity("one"), identity("other")


class Guest:
    """Where the SDK runs: it finds an Imds on loopback. seen: the status of each answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.imds = Imds(machine(), SystemClock())
        self.seen: list[int] = []
        guest = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = guest.imds.handle(Request(method="GET", target=self.path, headers=headers))
                guest.seen.append(reply.status)
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{self.server.server_port}")

    def has(self, *identities: ManagedIdentity) -> None:
        self.imds = Imds(machine(identities=identities), SystemClock())


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch) -> Iterator[Guest]:
    for name in os.environ:
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Guest(monkeypatch)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def claims(token: str) -> dict[str, Any]:
    import jwt  # comes with azure-identity

    read: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return read


def test_the_only_identity(guest: Guest) -> None:
    guest.has(ONE)
    token = sdk.ManagedIdentityCredential().get_token(SCOPE)
    assert claims(token.token)["xms_mirid"] == ONE.resource_id
    assert claims(token.token)["aud"] == "https://storage.azure.com"
    assert token.expires_on == claims(token.token)["exp"]
    assert guest.seen == [200]


@pytest.mark.parametrize(
    "named",
    [
        {"client_id": OTHER.client_id},
        {"identity_config": {"resource_id": OTHER.resource_id}},
        {"identity_config": {"object_id": OTHER.principal_id}},
    ],
    ids=["client_id", "resource_id", "object_id"],
)
def test_a_named_identity(guest: Guest, named: dict[str, Any]) -> None:
    guest.has(ONE, OTHER)
    token = sdk.ManagedIdentityCredential(**named).get_token(SCOPE)
    assert claims(token.token)["oid"] == OTHER.principal_id


def test_default_credential(guest: Guest) -> None:
    guest.has(ONE)
    token = sdk.DefaultAzureCredential().get_token("https://vault.azure.net/.default")
    assert claims(token.token)["appid"] == ONE.client_id


def test_unknown_identity(guest: Guest) -> None:
    guest.has(ONE)
    with pytest.raises(sdk.CredentialUnavailableError, match="Identity not found"):
        sdk.ManagedIdentityCredential(client_id=OTHER.client_id).get_token(SCOPE)


def test_no_identity(guest: Guest) -> None:
    with pytest.raises(sdk.CredentialUnavailableError, match="Identity not found"):
        sdk.ManagedIdentityCredential().get_token(SCOPE)


def test_several_and_none_named(guest: Guest) -> None:
    guest.has(ONE, OTHER)
    with pytest.raises(sdk.CredentialUnavailableError, match="Multiple user assigned identities exist"):
        sdk.ManagedIdentityCredential().get_token(SCOPE)


def test_a_real_token_from_a_command_like_az(guest: Guest, tmp_path: Path) -> None:
    ends = int(SystemClock().now().timestamp()) + 3000
    az = tmp_path / "az.py"
    az.write_text(
        "import json, sys\n"
        "assert sys.argv[1:] == ['account', 'get-access-token', '--resource', 'https://storage.azure.com']\n"
        "print(json.dumps({'accessToken': 'the.real.one', 'expiresOn': '2001-01-01 00:00:00.000000',"
        f" 'expires_on': {ends}, 'tokenType': 'Bearer'}}, indent=2))\n"
    )
    guest.has(identity("real", (sys.executable, str(az), "account", "get-access-token", "--resource", "{resource}")))
    token = sdk.ManagedIdentityCredential().get_token(SCOPE)
    assert token.token == "the.real.one"
    assert abs(token.expires_on - ends) <= 2


def test_a_failing_command_is_said_without_its_output(guest: Guest, tmp_path: Path) -> None:
    from azure.core.exceptions import ClientAuthenticationError

    az = tmp_path / "az.py"
    az.write_text("import sys\nsys.exit('password=hunter2')\n")
    guest.has(identity("real", (sys.executable, str(az))))
    with pytest.raises(ClientAuthenticationError) as caught:
        sdk.ManagedIdentityCredential(retry_total=0, retry_status=0).get_token(SCOPE)
    assert "failed with exit status 1" in str(caught.value)
    assert "hunter2" not in str(caught.value)
