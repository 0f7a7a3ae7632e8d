"""What the tests of Azure's platform share: `aibemu run` by any user, web servers of the host, questions of a guest."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.lab import BOUND, MEMORY_MIB, Event, read_events

GET = "curl --silent --show-error --max-time 60 --header Metadata:true"
INSTANCE = "http://169.254.169.254/metadata/instance"
TOKEN = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A run that is over."""

    status: int
    said: str
    home: Path
    directory: Path

    @property
    def events(self) -> list[Event]:
        return read_events(self.directory)

    def lines(self, step: str) -> list[str]:
        return [
            event["line"] for event in self.events if event["kind"] == "step.output" and event.get("step") == step
        ]  # fmt: skip

    def values(self, step: str) -> dict[str, str]:
        """Lines `name=value` of a step."""
        return dict(line.split("=", 1) for line in self.lines(step) if "=" in line)

    def journal(self, role: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / f"platform-{role}.ndjson").read_text().splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who runs aibemu. user: None for whoever runs the tests. python: one that this user may execute."""

    user: int | None = None
    python: str = sys.executable

    @property
    def argv(self) -> list[str]:
        if self.user is None:
            return [self.python]
        return [
            "setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", "--inh-caps=-all",
            "--bounding-set=-all", "--no-new-privs", self.python,
        ]  # fmt: skip


# Where aibemu and what it needs are, for a Python that does not know.
IMPORTS = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "drivers"), *sys.path[1:]])


def run(home: Path, *words: str | Path, caller: Caller = Caller()) -> Done:
    """`aibemu run`."""
    done = call(home, "run", *words, caller=caller)
    (directory,) = [path for path in (home / "runs").iterdir() if not path.name.startswith(".")]
    return Done(status=done.returncode, said=done.stdout + done.stderr, home=home, directory=directory)


def call(home: Path, *words: str | Path, caller: Caller) -> subprocess.CompletedProcess[str]:
    """aibemu, by whoever `caller` is."""
    own = {
        "AIBEMU_HOME": str(home), "AIBEMU_MEMORY_CAP_MIB": str(MEMORY_MIB), "HOME": str(home), "NO_COLOR": "1",
        "PYTHONPATH": IMPORTS,
    }  # fmt: skip
    return subprocess.run(
        [*caller.argv, "-P", "-m", "aibemu", *map(str, words)], env=os.environ | own, cwd=home,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND, check=False,
    )  # fmt: skip


@contextlib.contextmanager
def serving(address: str) -> Iterator[int]:
    """A web server of the host's; its port."""

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"hello\n")

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer((address, 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def own_address() -> str | None:
    """An address of this host that is not loopback; None if it has no network at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


def shell(name: str, *lines: str) -> dict[str, Any]:
    return {"type": "Shell", "name": name, "inline": list(lines)}


def leaf(path: str) -> str:
    """The command that asks for one value of `compute`."""
    return f"{GET} '{INSTANCE}/compute/{path}?api-version=2021-02-01&format=text'"
