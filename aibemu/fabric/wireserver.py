"""The wire server, 168.63.129.16:80: gives agents their goal state and hears from them that the machine is ready.

Methods, paths and replies are those of cloud-init, waagent and azure-init (facts: guest-platform 1.4). How Azure
refuses what no agent asks (the codes 400, 405 and 410 here) is not documented: they are the meanings that waagent's own
error handling gives them (common/utils/restutil.py), not seen on Azure.
"""

from __future__ import annotations

from collections.abc import Callable

from aibemu.fabric import goalstate
from aibemu.fabric.health import HealthReport, client_of, parse_json, parse_xml
from aibemu.fabric.http import XML, Reply, Request, text_reply
from aibemu.fabric.vm import VirtualMachine

CONFIGURATIONS = {
    "hostingenvironmentconfig": goalstate.hosting_environment,
    "sharedconfig": goalstate.shared_config,
    "extensionsconfig": goalstate.extensions_config,
}
# The reply to a health report says so (seen on Azure: gist.github.com/mdfranz/3260992).
LATEST = "x-ms-latest-goal-state-incarnation-number"

Action = Callable[[Request], Reply]


class WireServer:
    """The wire server of one machine. on_health: called with each report, before the reply, from the server's threads.

    `HealthService` is not there: waagent looks at no reply of it, and takes its 404.
    """

    name = "wireserver"
    banner = "Microsoft-IIS/10.0"

    def __init__(self, vm: VirtualMachine, on_health: Callable[[HealthReport], None], *, incarnation: int = 1) -> None:
        self.vm = vm
        self.incarnation = incarnation
        self._on_health = on_health
        # By path without a slash at the end and `comp`, both in lower case: IIS does not look at the case.
        self._routes: dict[tuple[str, str], tuple[str, Action]] = {
            ("", "versions"): ("GET", lambda _: text_reply(200, goalstate.versions(), XML)),
            ("/machine", "goalstate"): ("GET", self._goal_state),
            (goalstate.machine_path(vm).lower(), "config"): ("GET", self._configuration),
            ("/machine", "health"): ("POST", self._health),
            ("/machine", "telemetrydata"): ("POST", lambda _: Reply(status=200)),
            ("/machine", "roleproperties"): ("POST", lambda _: Reply(status=202)),  # waagent wants 202, no other
            ("/provisioning/health", ""): ("POST", self._provisioning_health),
        }  # fmt: skip

    def handle(self, request: Request) -> Reply:
        """The reply to one request. Raises ValueError for a health report that is none."""
        path, kind = request.path.rstrip("/").lower(), request.query.get("comp", "").lower()
        route = self._routes.get((path, kind))
        if route is None:
            # Another machine's documents: gone, so that an agent with an old goal state fetches a new one.
            gone = kind == "config" and path.startswith("/machine/")
            return Reply(status=410 if gone else 404)
        method, action = route
        if request.method != method:
            return Reply(status=405, headers=(("Allow", method),))
        return action(request)

    def _goal_state(self, request: Request) -> Reply:
        return _refusal(request) or text_reply(200, goalstate.goal_state(self.vm, self.incarnation), XML)

    def _configuration(self, request: Request) -> Reply:
        document = CONFIGURATIONS.get(request.query.get("type", "").lower())
        if document is None:
            return Reply(status=404)
        if request.query.get("incarnation", str(self.incarnation)) != str(self.incarnation):
            return Reply(status=410)
        return _refusal(request) or text_reply(200, document(self.vm, self.incarnation), XML)

    def _health(self, request: Request) -> Reply:
        """Without a look at `x-ms-version`: a script that says Ready is not to fail by a rule nobody has seen."""
        self._on_health(parse_xml(request.body, client_of(request.headers.get("user-agent", ""))))
        return Reply(status=200, content_type=XML, headers=((LATEST, str(self.incarnation)),))

    def _provisioning_health(self, request: Request) -> Reply:
        """azure-init's door; other agents' too that follow Microsoft's description of a machine without an agent."""
        self._on_health(parse_json(request.body, client_of(request.headers.get("user-agent", ""))))
        return Reply(status=201)


def _refusal(request: Request) -> Reply | None:
    """400 for a missing or unknown `x-ms-version`; all agents send 2012-11-30."""
    version = request.headers.get("x-ms-version", "")
    if version in goalstate.SUPPORTED:
        return None
    text = f"x-ms-version: {version}" if version else "x-ms-version is missing"
    error = f"<Error><Code>InvalidHeaderValue</Code><Message>{goalstate.xml(text)}</Message></Error>\n"
    return text_reply(400, goalstate.DECLARATION + error, XML)
