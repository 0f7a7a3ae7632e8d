"""Tokens of managed identities: who gets one, what is in it, and real ones from a command of the user's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.clock import SystemClock
from aibemu.fabric import tokens
from aibemu.fabric.http import Reply
from aibemu.fabric.tokens import MOST_REMEMBERED, TokenRefused, Tokens, parse_token
from aibemu.fabric.vm import ManagedIdentity
from aibemu.testing.clock import START, FakeClock
from tests.unit.fabric.machines import TENANT, identity, machine

STORAGE = "https://storage.azure.com/"
NOW = int(START.timestamp())
ONE, OTHER = identity("one"), identity("other")
FIELDS = st.sampled_from(["access_token", "accessToken", "token", "expires_on", "expiresOn", "expires_in"])
OUTPUTS = st.dictionaries(FIELDS, st.text() | st.integers() | st.floats() | st.none()).map(json.dumps)


def ask(*identities: ManagedIdentity, resource: str = STORAGE, **query: str) -> Reply:
    return Tokens(machine(identities=identities), FakeClock()).answer({"resource": resource, **query})


def body(reply: Reply) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(reply.body)
    return read


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def claims(reply: Reply) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(decoded(body(reply)["access_token"].split(".")[1]))
    return found


def jwt(**said: Any) -> str:
    return f"eyJhbGciOiJub25lIn0.{base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b'=').decode()}.c2ln"


def error(reply: Reply) -> tuple[int, str, str]:
    said = body(reply)
    assert reply.secrets == ()
    return reply.status, said["error"], said["error_description"]


def command(tmp_path: Path, text: str) -> ManagedIdentity:
    """An identity whose command is a Python script; it notes each call's words in `calls`, one line each."""
    script = tmp_path / "token.py"
    note = f"import json, sys\nopen({str(tmp_path / 'calls')!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
    script.write_text(note + text)
    return identity("real", (sys.executable, str(script), "--resource", "{resource}", "for={resource}!"))


def calls(tmp_path: Path) -> list[list[str]]:
    path = tmp_path / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class TestSelection:
    def test_no_identity(self) -> None:
        assert error(ask()) == (400, "invalid_request", "Identity not found")

    def test_the_only_one_need_not_be_named(self) -> None:
        assert body(ask(ONE))["client_id"] == ONE.client_id

    def test_several_and_none_named(self) -> None:
        words = (
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity"
            " in the token request"
        )
        assert error(ask(ONE, OTHER)) == (400, "invalid_request", words)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("client_id", OTHER.client_id), ("object_id", OTHER.principal_id), ("principal_id", OTHER.principal_id),
            ("msi_res_id", OTHER.resource_id), ("mi_res_id", OTHER.resource_id),
        ],
    )  # fmt: skip
    def test_named(self, name: str, value: str) -> None:
        for spelled in (value, value.upper()):
            assert claims(ask(ONE, OTHER, **{name: spelled}))["xms_mirid"] == OTHER.resource_id
        assert error(ask(ONE, **{name: value})) == (400, "invalid_request", "Identity not found")

    def test_two_names_must_agree(self) -> None:
        assert ask(ONE, OTHER, client_id=ONE.client_id, object_id=ONE.principal_id).status == 200
        assert ask(ONE, OTHER, client_id=ONE.client_id, object_id=OTHER.principal_id).status == 400
        assert ask(ONE, OTHER, msi_res_id=ONE.resource_id, mi_res_id=OTHER.resource_id).status == 400

    def test_an_empty_name_names_nothing(self) -> None:
        assert body(ask(ONE, client_id=""))["client_id"] == ONE.client_id
        assert ask(ONE, OTHER, client_id="").status == 400

    def test_one_listed_twice_can_still_be_named(self) -> None:
        assert body(ask(ONE, ONE, client_id=ONE.client_id))["client_id"] == ONE.client_id


class TestResource:
    def test_missing(self) -> None:
        words = "Required query variable 'resource' is missing"
        assert error(Tokens(machine(identities=(ONE,)), FakeClock()).answer({})) == (400, "invalid_request", words)
        assert error(ask(ONE, resource="")) == (400, "invalid_request", words)

    @pytest.mark.parametrize(
        "resource",
        [
            STORAGE, "https://vault.azure.net", "https://management.core.windows.net:443/", "urn:ms-drs:x",
            "api://11111111-2222-3333-4444-555555555555/app", "00000003-0000-0000-c000-000000000000",
        ],
    )  # fmt: skip
    def test_accepted_and_given_back_as_asked(self, resource: str) -> None:
        reply = ask(ONE, resource=resource)
        assert (body(reply)["resource"], claims(reply)["aud"]) == (resource, resource)

    @pytest.mark.parametrize(
        "resource",
        [
            "-https://x", "--query", "https://x\n", "https://x\0", "https://x y", "https://$(id)", "https://`id`",
            "https://x;id", "https://x&id", "https://x|id", "https://x'", 'https://x"', "storage", "https:", "@file",
            "https://x/{resource}", "https://ü", "https://" + "x" * 600,
        ],
    )  # fmt: skip
    def test_refused(self, resource: str, tmp_path: Path) -> None:
        for one in (ONE, command(tmp_path, "print('opaque')")):
            status, code, _ = error(ask(one, resource=resource))
            assert (status, code) == (400, "invalid_resource")
        assert calls(tmp_path) == []


class TestOwnToken:
    def test_reply(self) -> None:
        reply = ask(ONE)
        said = body(reply)
        token = said.pop("access_token")
        assert reply.status == 200
        assert reply.secrets == (token,)
        assert said == {
            "client_id": ONE.client_id, "expires_in": "86399", "expires_on": str(NOW + 86_399),
            "ext_expires_in": "86399", "not_before": str(NOW - 300), "resource": STORAGE, "token_type": "Bearer",
        }  # fmt: skip

    def test_claims(self) -> None:
        issuer = f"https://sts.windows.net/{TENANT}/"
        assert claims(ask(ONE)) == {
            "aud": STORAGE, "iss": issuer, "iat": NOW - 300, "nbf": NOW - 300, "exp": NOW + 86_399,
            "appid": ONE.client_id, "appidacr": "2", "idp": issuer, "idtyp": "app", "oid": ONE.principal_id,
            "sub": ONE.principal_id, "tid": TENANT, "ver": "1.0", "xms_mirid": ONE.resource_id,
            "xms_az_rid": machine().resource_id,
        }  # fmt: skip

    def test_is_signed_with_the_machines_key(self) -> None:
        token = body(Tokens(machine(identities=(ONE,)), FakeClock(), b"key").answer({"resource": STORAGE}))[
            "access_token"
        ]
        signed, _, signature = token.rpartition(".")
        assert json.loads(decoded(signed.split(".")[0])) == {"typ": "JWT", "alg": "HS256", "kid": "aibemu"}
        assert decoded(signature) == hmac.new(b"key", signed.encode(), hashlib.sha256).digest()

    def test_keys_are_random(self) -> None:
        one, other = (body(ask(ONE))["access_token"].rpartition(".") for _ in range(2))
        assert one[0] == other[0]
        assert one[2] != other[2]


class TestCommand:
    def test_words_are_passed_as_they_are(self, tmp_path: Path) -> None:
        one = command(tmp_path, "print('opaque')")
        reply = ask(one)
        assert body(reply)["access_token"] == "opaque"
        assert body(reply)["client_id"] == one.client_id
        assert reply.secrets == ("opaque",)
        assert calls(tmp_path) == [["--resource", STORAGE, f"for={STORAGE}!"]]

    def test_no_shell_reads_them(self, tmp_path: Path) -> None:
        one = identity("real", ("/bin/echo", "-n", "a;id"))
        status, code, words = error(ask(one))
        assert (status, code) == (500, "server_error")
        assert words.endswith("printed no token")

    def test_other_identities_keep_their_own_tokens(self, tmp_path: Path) -> None:
        real = command(tmp_path, "print('opaque')")
        assert body(ask(real, ONE, client_id=ONE.client_id))["access_token"] != "opaque"
        assert body(ask(real, ONE, client_id=real.client_id))["access_token"] == "opaque"

    def test_remembered_until_shortly_before_its_end(self, tmp_path: Path) -> None:
        clock = FakeClock()
        ends = NOW + 3600
        one = command(tmp_path, f'print(\'{{"access_token": "opaque", "expires_on": {ends}}}\')')
        served = Tokens(machine(identities=(one,)), clock)
        first = body(served.answer({"resource": STORAGE}))
        clock.advance(ends - 301 - clock.now().timestamp())
        later = body(served.answer({"resource": STORAGE}))
        assert len(calls(tmp_path)) == 1
        assert (first["expires_on"], later["expires_on"], later["expires_in"]) == (str(ends), str(ends), "301")
        served.answer({"resource": "https://vault.azure.net"})
        assert len(calls(tmp_path)) == 2
        clock.advance(2)
        served.answer({"resource": STORAGE})
        assert len(calls(tmp_path)) == 3

    def test_does_not_remember_without_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "run_tool", lambda *_, **__: type("Said", (), {"stdout": jwt(exp=NOW + 9999)}))
        served = Tokens(machine(identities=(identity("real", ("x",)),)), FakeClock())
        for number in range(3 * MOST_REMEMBERED):
            assert served.answer({"resource": f"api://{number}"}).status == 200
        assert len(served._real) <= MOST_REMEMBERED

    def test_one_command_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        running, most = threading.Semaphore(1), []

        def run(*_: Any, **__: Any) -> Any:
            most.append(running.acquire(blocking=False))
            SystemClock().wait(threading.Event(), 0.02)
            running.release()
            return type("Said", (), {"stdout": jwt(exp=NOW + 9999)})

        monkeypatch.setattr(tokens, "run_tool", run)
        served = Tokens(machine(identities=(identity("real", ("x",)),)), FakeClock())
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: served.answer({"resource": f"api://{number % 4}"}), range(8)))
        assert most == [True] * 4

    def test_a_failing_one_says_nothing_of_its_output(self, tmp_path: Path) -> None:
        one = command(tmp_path, "print('eyJsecret'); sys.stderr.write('password\\n'); sys.exit(3)")
        status, code, words = error(ask(one))
        assert (status, code) == (500, "server_error")
        assert words == "aibemu: the token command of this identity failed with exit status 3"

    def test_a_failure_is_remembered_for_a_moment_only(self, tmp_path: Path) -> None:
        one = command(tmp_path, "sys.exit(1)")
        clock = FakeClock()
        served = Tokens(machine(identities=(one,)), clock)
        assert [served.answer({"resource": STORAGE}).status for _ in range(3)] == [500] * 3
        assert len(calls(tmp_path)) == 1  # clients try again at once
        clock.advance(11)
        assert served.answer({"resource": STORAGE}).status == 500
        assert len(calls(tmp_path)) == 2

    def test_one_that_hangs_is_stopped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "COMMAND_SECONDS", 0.2)
        status, _, words = error(ask(identity("real", ("sleep", "600"))))
        assert (status, words) == (500, "aibemu: the token command of this identity did not end within 0.2 s")

    def test_one_that_is_not_there(self) -> None:
        status, _, words = error(ask(identity("real", ("/no/such/az",))))
        assert (status, words) == (500, "aibemu: the token command of this identity is not installed on the host")

    def test_one_that_cannot_be_run(self) -> None:
        status, _, words = error(ask(identity("real", ("true", "a\0b"))))
        assert (status, words) == (500, "aibemu: the token command of this identity could not be run")


class TestParsing:
    @pytest.mark.parametrize(
        ("said", "ends"),
        [
            ({"accessToken": "t", "expires_on": NOW + 100, "expiresOn": "2001-01-01 00:00:00.000000"}, NOW + 100),
            ({"access_token": "t", "expires_in": "3599"}, NOW + 3599),
            ({"access_token": "t", "expires_in": 3599, "expires_on": str(NOW + 7)}, NOW + 7),
            ({"token": "t", "expiresOn": (START + timedelta(hours=1)).isoformat().replace("+00:00", "Z")}, NOW + 3600),
            (
                {"token": "t", "expiresOn": datetime.fromtimestamp(NOW + 9, timezone(timedelta(hours=5))).isoformat()},
                NOW + 9,
            ),
            ({"accessToken": "t", "expiresOn": f"{datetime.fromtimestamp(NOW + 60)}.000000"}, NOW + 60),
            ({"access_token": "t"}, NOW + 300),
            ({"access_token": "t", "expires_in": "soon", "expires_on": None}, NOW + 300),
            ({"access_token": "t", "expires_on": "1e999"}, NOW + 300),
        ],
    )
    def test_json(self, said: dict[str, Any], ends: int) -> None:
        token = parse_token(f"\n{json.dumps(said)}\n", NOW)
        assert (token.text, token.expires_on, token.not_before) == ("t", ends, NOW)

    def test_bare_jwt_says_itself_when_it_ends(self) -> None:
        text = jwt(exp=NOW + 4242, nbf=NOW - 5)
        token = parse_token(f"{text}\n", NOW)
        assert (token.text, token.expires_on, token.not_before) == (text, NOW + 4242, NOW - 5)

    @pytest.mark.parametrize("text", [f"a.{'W1tb' * 100_000}.c", "opaque", "a.b.c", "a.bnVsbA.c", "a.W10.c", "a.~.c"])
    def test_bare_token_that_says_nothing(self, text: str) -> None:
        assert parse_token(text, NOW).expires_on == NOW + 300

    @pytest.mark.parametrize(
        ("output", "words"),
        [
            ("", "printed no token"), ("two words", "printed no token"), ("a\nb", "printed no token"),
            ("{", "printed JSON that cannot be read"), ('{"a": 1} x', "printed JSON that cannot be read"),
            ('{"a":' * 100_000, "printed JSON that cannot be read"), ("{}", "printed no token"),
            ('{"access_token": 7}', "printed no token"), ('{"access_token": "a\\r\\nb"}', "printed no token"),
            (f'{{"access_token": "t", "expires_on": {NOW}}}', "printed a token that is no longer valid"),
            (jwt(exp=NOW - 1), "printed a token that is no longer valid"),
        ],
    )  # fmt: skip
    def test_refused(self, output: str, words: str) -> None:
        with pytest.raises(TokenRefused, match="token command") as caught:
            parse_token(output, NOW)
        assert str(caught.value).endswith(words)

    @given(st.text() | OUTPUTS)
    def test_any_output_is_a_token_or_refused(self, output: str) -> None:
        try:
            token = parse_token(output, NOW)
        except TokenRefused as refused:
            assert refused.reply.status == 500
        else:
            assert token.expires_on > NOW
