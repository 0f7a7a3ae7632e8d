"""Access tokens for a machine's managed identities, as `/metadata/identity/oauth2/token` gives them out.

By default a token of our own: well-formed, with the right claims, worth nothing outside. With a command configured for
the identity, the real token that the command prints. Source of the answers' shape: facts, guest-platform 3; of the
error codes: IdentityErrorResponse in the service's published API description.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aibemu.clock import Clock, Deadline
from aibemu.errors import AibemuError, Expired, HostNotReady
from aibemu.fabric.http import Reply, json_reply
from aibemu.fabric.vm import ManagedIdentity, VirtualMachine
from aibemu.processes import ToolEndless, ToolFailed, run_tool
from aibemu.records import parse_json

LIFETIME = 86_399
# A token is good a little before it is made: clocks differ.
EARLIER = 300
# A real token is given out again until this many seconds before its end.
MARGIN = 300
REFUSED_FOR = 10
# The guest chooses the resources, so it must not choose how many are remembered.
MOST_REMEMBERED = 64
COMMAND_SECONDS = 60
# How long a token is taken to be good that does not say it itself: not worth remembering, here or in the guest.
UNKNOWN_LIFETIME = 300

# Which attribute of an identity each parameter names. Services and SDKs spell the resource id in two ways.
SELECTORS: Mapping[str, str] = {
    "client_id": "client_id", "object_id": "principal_id", "principal_id": "principal_id",
    "msi_res_id": "resource_id", "mi_res_id": "resource_id",
}  # fmt: skip

# A GUID, or a URI of the plain kind that audiences have. The guest's text becomes a word of a command on the host:
# it must not look like an option, and nothing in it may mean something to a shell that the command may start.
_RESOURCE = re.compile(
    r"(?:[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[A-Za-z][A-Za-z0-9+.-]*:[\w./:-]+)", re.A
)
_LONGEST_RESOURCE = 512
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Times in seconds since 1970."""

    text: str
    not_before: int
    expires_on: int


class TokenRefused(Exception):
    """Said to the guest in OAuth's words: a code and a description."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.reply = identity_error(error, description, status)


def identity_error(error: str, description: str, status: int = 400) -> Reply:
    return json_reply(status, {"error": error, "error_description": description})


class Tokens:
    """The token endpoint of one machine. `key` signs its own tokens; nobody can check them, as nobody else has it."""

    def __init__(self, vm: VirtualMachine, clock: Clock, key: bytes | None = None) -> None:
        self._vm = vm
        self._clock = clock
        self._key = key or secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._real: dict[tuple[str, str], Token] = {}
        self._refused: dict[tuple[str, str], tuple[int, TokenRefused]] = {}
        self._running = {one.resource_id.lower(): threading.Lock() for one in vm.identities}

    def answer(self, query: Mapping[str, str]) -> Reply:
        """The reply to a token request: 200 with the token, 400 or 500 with error and error_description."""
        try:
            resource = _resource(query)
            identity = select(self._vm.identities, query)
            token = self._real_token(identity, resource) if identity.command else self._own_token(identity, resource)
        except TokenRefused as refused:
            return refused.reply
        left = str(max(0, token.expires_on - self._now()))
        body = {
            "access_token": token.text, "client_id": identity.client_id, "expires_in": left,
            "expires_on": str(token.expires_on), "ext_expires_in": left, "not_before": str(token.not_before),
            "resource": resource, "token_type": "Bearer",
        }  # fmt: skip
        return json_reply(200, body, secrets=(token.text,))

    def _now(self) -> int:
        return int(self._clock.now().timestamp())

    def _own_token(self, identity: ManagedIdentity, resource: str) -> Token:
        now = self._now()
        issuer = f"https://sts.windows.net/{self._vm.tenant_id}/"
        starts, ends = now - EARLIER, now + LIFETIME
        claims = {
            "aud": resource, "iss": issuer, "iat": starts, "nbf": starts, "exp": ends, "appid": identity.client_id,
            "appidacr": "2", "idp": issuer, "idtyp": "app", "oid": identity.principal_id, "sub": identity.principal_id,
            "tid": self._vm.tenant_id, "ver": "1.0", "xms_mirid": identity.resource_id,
            "xms_az_rid": self._vm.resource_id,
        }  # fmt: skip
        signed = f"{_part({'typ': 'JWT', 'alg': 'HS256', 'kid': 'aibemu'})}.{_part(claims)}"
        signature = hmac.new(self._key, signed.encode(), hashlib.sha256).digest()
        return Token(text=f"{signed}.{_base64url(signature)}", not_before=starts, expires_on=ends)

    def _real_token(self, identity: ManagedIdentity, resource: str) -> Token:
        """Remembered, as the real service does; one command at a time for an identity. A refusal is remembered for a
        moment too: clients try again and again, and each time would run the command.
        """
        name = (identity.resource_id.lower(), resource)
        if known := self._remembered(name):
            return known
        with self._running[name[0]]:
            if known := self._remembered(name):  # by who was here before
                return known
            words = [word.replace("{resource}", resource) for word in identity.command]
            try:
                token = parse_token(_said_by(words, self._clock), self._now())
            except TokenRefused as refused:
                with self._lock:
                    self._refused[name] = (self._now() + REFUSED_FOR, refused)
                raise
            with self._lock:
                if len(self._real) >= MOST_REMEMBERED:
                    self._real.clear()
                    self._refused.clear()
                self._real[name] = token
            return token

    def _remembered(self, name: tuple[str, str]) -> Token | None:
        """A token that is good for a while yet; raises a refusal that is fresh."""
        with self._lock:
            until, refused = self._refused.get(name, (0, None))
            if refused is not None and self._now() < until:
                raise refused
            known = self._real.get(name)
            return known if known and known.expires_on - self._now() > MARGIN else None


def select(identities: Sequence[ManagedIdentity], query: Mapping[str, str]) -> ManagedIdentity:
    """The identity that the request means; `TokenRefused` with the service's own words if it means none or many.

    With one identity nothing need be named. Ids compare without case; a parameter without a value names nothing.
    """
    asked = [(SELECTORS[name], value.lower()) for name, value in query.items() if name in SELECTORS and value]
    found = [one for one in identities if all(getattr(one, field).lower() == value for field, value in asked)]
    if not found:
        raise TokenRefused("invalid_request", "Identity not found")
    if len(found) > 1 and not asked:
        raise TokenRefused(
            "invalid_request",
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity"
            " in the token request",
        )
    return found[0]


def _resource(query: Mapping[str, str]) -> str:
    resource = query.get("resource", "")
    if not resource:
        raise TokenRefused("invalid_request", "Required query variable 'resource' is missing")
    if len(resource) > _LONGEST_RESOURCE or not _RESOURCE.fullmatch(resource):
        raise TokenRefused("invalid_resource", "The resource of the token request is neither a plain URI nor a GUID")
    return resource


def _part(value: Mapping[str, object]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def parse_token(output: str, now: int) -> Token:
    """The token in a command's output: JSON of az (`accessToken`), azd (`token`) or OAuth (`access_token`), or bare.

    It ends when the JSON says, else when the token itself says. `TokenRefused` if there is no token or it has ended.
    """
    said: dict[str, Any] = {}
    text: object = output.strip()
    if output.lstrip().startswith("{"):
        try:
            said = parse_json(output)
        except ValueError as error:
            raise _failure("printed JSON that cannot be read") from error
        text = said.get("access_token") or said.get("accessToken") or said.get("token")
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        raise _failure("printed no token")
    claims = _claims(text)
    # az: expires_on counts from 1970, expiresOn is local time. expires_in: seconds from now.
    ends = _instant(said.get("expires_on")) or _instant(said.get("expiresOn"))
    if not ends and (left := _instant(said.get("expires_in"))):
        ends = now + left
    ends = ends or _instant(claims.get("exp")) or now + UNKNOWN_LIFETIME
    if ends <= now:
        raise _failure("printed a token that is no longer valid")
    return Token(text=text, not_before=_instant(claims.get("nbf")) or now, expires_on=ends)


def _said_by(words: Sequence[str], clock: Clock) -> str:
    """Run the command. The guest gets to know that it failed and how, never a word of what it printed."""
    try:
        return run_tool(words, deadline=Deadline(clock=clock).within(COMMAND_SECONDS)).stdout
    except ToolEndless as endless:
        raise _failure("did not stop printing") from endless
    except ToolFailed as failed:
        raise _failure(f"failed with exit status {failed.status}") from failed
    except Expired as late:
        raise _failure(f"did not end within {COMMAND_SECONDS} s") from late
    except HostNotReady as missing:
        raise _failure("is not installed on the host") from missing
    except (AibemuError, OSError, ValueError) as error:
        raise _failure("could not be run") from error


def _failure(what: str) -> TokenRefused:
    return TokenRefused("server_error", f"aibemu: the token command of this identity {what}", 500)


def _claims(token: str) -> dict[str, Any]:
    """What a JWT says of itself; nothing for any other token."""
    parts = token.split(".")
    try:
        claims = parse_json(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _instant(value: object) -> int:
    """Seconds, of a number or a date (without a zone: local time, as az has it); 0 if it is neither."""
    try:
        return int(float(str(value)))
    except (ValueError, OverflowError):
        pass
    try:
        return int(datetime.fromisoformat(str(value)).timestamp())
    except (ValueError, OverflowError, OSError):
        return 0
