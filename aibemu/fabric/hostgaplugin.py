"""The host's agent plugin, 168.63.129.16:32526: waagent's other door, for its status and logs.

Says that it is there and takes what comes; nothing is kept (facts: guest-platform 1.4). No `/vmSettings`: 404 tells
waagent that the host has no fast track, so the wire server's goal state counts. No `/extensionArtifact`: there are no
extensions to fetch.
"""

from __future__ import annotations

from collections.abc import Callable

from aibemu.fabric.goalstate import STATUS_BLOB
from aibemu.fabric.http import Reply, Request, json_reply

API_VERSIONS = ["2015-09-01"]

# 201 for the blob itself: waagent takes no other reply there for a success.
ROUTES: dict[str, tuple[str, Callable[[], Reply]]] = {
    "/versions": ("GET", lambda: json_reply(200, API_VERSIONS)),
    "/health": ("GET", lambda: Reply(status=200)),
    "/status": ("PUT", lambda: Reply(status=200)),
    "/vmagentlog": ("PUT", lambda: Reply(status=200)),
    STATUS_BLOB: ("PUT", lambda: Reply(status=201)),
}  # fmt: skip


class HostGaPlugin:
    """The same for every machine. Paths without a look at the case, as Windows' HTTP API has them."""

    name = "hostgaplugin"
    banner = "Microsoft-HTTPAPI/2.0"

    def handle(self, request: Request) -> Reply:
        """The reply to one request: 404 for other paths, 405 for other methods."""
        route = ROUTES.get(request.path.rstrip("/").lower())
        if route is None:
            return Reply(status=404)
        method, reply = route
        if request.method != method:
            return Reply(status=405, headers=(("Allow", method),))
        return reply()
