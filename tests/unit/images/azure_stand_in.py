"""Azure for `images pull --azure`: a program `az` that answers as az does and notes what it was asked, and the page
blob that it gives access to."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SIGNATURE = "si=x&sig=s3cr3t%2Bs3cr3t%3D"
# Run as `az`: FOLDER, then its arguments. In FOLDER: settings.json; calls (a JSON list a line); disks.json.
PROGRAM = """
import json, sys, time
from pathlib import Path

folder, words = Path(sys.argv[1]), sys.argv[2:]
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
settings = json.loads((folder / "settings.json").read_text())
state = folder / "disks.json"
disks = json.loads(state.read_text()) if state.exists() else {}
verb_of = lambda words: " ".join(words[: next((at for at, word in enumerate(words) if word[0] == "-"), None)])
verb = verb_of(words)
option = lambda name: words[words.index(name) + 1] if name in words else None


def fail(text):
    print(f"ERROR: {text}", file=sys.stderr)
    sys.exit(1)


def save():
    state.write_text(json.dumps(disks))


asked = [verb_of(json.loads(line)) for line in (folder / "calls").read_text().splitlines()]
if asked.count(verb) <= settings.get("fails", {}).get(verb, 0):
    fail("(InternalServerError) something went wrong in Azure")
name = option("--name")
if verb == "account show":
    print(json.dumps({"id": "11111111-1111-1111-1111-111111111111", "name": "Mine", "state": "Enabled"}))
elif verb == "disk create":
    disks[name] = {"granted": False, "group": option("--resource-group")}
    save()
    if settings.get("hangs") == verb:
        while True:
            time.sleep(1)
    print(json.dumps({"name": name, "provisioningState": "Succeeded", **settings["disk"]}))
elif verb in ("disk grant-access", "disk revoke-access"):
    if name not in disks:
        fail(f"(ResourceNotFound) The Resource 'Microsoft.Compute/disks/{name}' was not found.")
    disks[name]["granted"] = verb == "disk grant-access"
    save()
    if disks[name]["granted"]:
        print(json.dumps({"accessSas": settings["address"]}))
elif verb == "disk delete":
    if disks.get(name, {}).get("granted"):
        fail("(OperationNotAllowed) Disk is being exported, revoke access to it first.")
    disks.pop(name, None)
    save()
elif verb in settings.get("shown", {}):
    print(json.dumps(settings["shown"][verb]))
else:
    fail(f"'{verb}' is misspelled or not recognized by the system.")
"""


@dataclass
class Blob:
    """A page blob on the loopback. cuts: end the connection after so many bytes, that many times; ends_after: parts
    that are given before access is over; asked: (start, end) of each part; listed: ranges whose pages were listed."""

    content: Path
    url: str = ""
    cuts: list[int] = field(default_factory=list)
    ends_after: int | None = None
    asked: list[tuple[int, int]] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    # (start, end) of the pages that were written
    pages: list[tuple[int, int]] = field(default_factory=list)
    # Pages that one list holds; then comes a marker.
    a_list: int = 100
    # called before each part
    before: Callable[[], None] = lambda: None


@contextmanager
def serving(blob: Blob) -> Iterator[Blob]:
    """A server that gives `blob`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if SIGNATURE not in self.path or (blob.ends_after is not None and len(blob.asked) >= blob.ends_after):
                self.answer(403, b"<?xml version='1.0'?><Error><Code>AuthenticationFailed</Code></Error>")
            elif "comp=pagelist" in self.path:
                self.list_pages()
            else:
                self.give_part()

        def list_pages(self) -> None:
            wanted = self.headers["x-ms-range"]
            blob.listed.append(wanted)
            first, last = map(int, wanted.removeprefix("bytes=").split("-"))
            inside = [(start, end) for start, end in blob.pages if start <= last and end > first]
            marked = re.search("marker=([0-9]+)", self.path)
            begin = int(marked[1]) if marked else 0
            ranges = "".join(
                f"<PageRange><Start>{start}</Start><End>{end - 1}</End></PageRange>"
                for start, end in inside[begin : begin + blob.a_list]
            )
            more = begin + blob.a_list
            marker = f"<NextMarker>{more}</NextMarker>" if more < len(inside) else "<NextMarker />"
            text = f"\ufeff<?xml version='1.0' encoding='utf-8'?><PageList>{ranges}{marker}</PageList>"
            self.answer(200, text.encode(), {"x-ms-blob-content-length": str(blob.content.stat().st_size)})

        def give_part(self) -> None:
            blob.before()
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            blob.asked.append((first, last + 1))
            size = blob.content.stat().st_size
            with blob.content.open("rb") as stream:
                stream.seek(first)
                body = stream.read(last + 1 - first)
            self.answer(206, body, {"Content-Range": f"bytes {first}-{last}/{size}"})

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if status == 206 and len(body) > 512 and blob.cuts:
                body = body[: blob.cuts.pop(0)]
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    blob.url = f"http://127.0.0.1:{server.server_port}/w2c3/abcd?sv=2018-03-28&sr=b&{SIGNATURE}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield blob
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Az:
    """The stand-in, in a folder that is on PATH."""

    folder: Path

    @classmethod
    def put(cls, folder: Path, address: str, **disk: Any) -> Az:
        """disk: what az says of the disk that it makes."""
        folder.mkdir()
        (folder / "program.py").write_text(PROGRAM)
        program = folder / "az"
        program.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{folder}/program.py' '{folder}' \"$@\"\n")
        program.chmod(0o755)
        az = cls(folder)
        az.set(address=address, disk=disk)
        return az

    def set(self, **more: Any) -> None:
        """Change how it answers."""
        file = self.folder / "settings.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(known | more))

    def calls(self) -> list[list[str]]:
        """What it was asked, in order."""
        file = self.folder / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def verbs(self) -> list[str]:
        return [" ".join(words[:2]) for words in self.calls()]

    def disks(self) -> dict[str, Any]:
        """Those that are there."""
        file = self.folder / "disks.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}
