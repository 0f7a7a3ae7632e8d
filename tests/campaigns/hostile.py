"""Images, servers, names and home files of somebody who means harm, under the verbs that read them.

    python -m tests.campaigns.hostile [--rounds 200] [--seed N]

By turns: an image whose files and links lie is imported, listed and shown in a CI system; a server that drips, lies,
sends bombs and redirects to nonsense is asked for a script or a file; names, addresses and paths that are none stand in
a template; a file of the home is damaged. No traceback, no more memory than 500 MB, no command that a terminal or a
runner would take, and what does not end by itself ends within 10 s of Ctrl-C.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aibemu.processes import find_program
from tests.campaigns.counts import Counts
from tests.campaigns.programs import Ended, Place, command_line, managed_image, place, run_rounds, write_template
from tests.e2e.lab import left_over
from tests.runners import COMMANDS, disguises, taken
from tests.scenarios.test_damaged_home import Damage, files_of

# Seconds that a command may take before it is told to end: those that ask a server that drips take longer, and
# that is no fault. On a busy host the program needs some of them to begin.
PATIENCE = 15.0
# Exit codes: done, failed, wrong usage, invalid, not ready, time over, interrupted.
ENDINGS = frozenset({0, 1, 2, 3, 4, 5, 130})
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f]")
OWN = re.compile(r"^::(error|warning)( [^\n]*?)?::", re.MULTILINE)
RUNNERS: Sequence[Mapping[str, str]] = ({}, {"TF_BUILD": "True"}, {"CI": "true", "GITHUB_ACTIONS": "true"})


def judge(done: Ended, what: str, environ: Mapping[str, str]) -> list[str]:
    """What no command may do, and nothing in its output that is obeyed."""
    faults = done.faults(what)
    if not faults and done.code not in ENDINGS:
        faults.append(f"{what} ended with {done.code}: {done.err[-300:]}")
    text = done.out + done.err
    if hidden := CONTROLS.search(text):
        faults.append(f"{what} printed {hidden[0]!r}: {text[max(0, hidden.start() - 80) : hidden.end() + 40]!r}")
    if environ and (obeyed := taken(OWN.sub("(own)", text))):
        faults.append(f"{what} commands the runner: {obeyed[0]!r}")
    return faults


def call(root: Place, *words: str | Path, environ: Mapping[str, str]) -> list[str]:
    """One command, ended by Ctrl-C when it takes long; what was wrong."""
    program = root.start(*words, environ=environ)
    done, late = program.ended(PATIENCE), list[str]()
    if done is None:
        done, late = program.stop()
    return late + judge(done, f"`{' '.join(str(word) for word in words)[:200]}`", environ)


# Images.


def evil_text(chance: random.Random) -> str:
    """A line that a terminal, a runner or a reader of `os-release` could be led by."""
    return chance.choice(
        (
            chance.choice(list(disguises(chance.choice(COMMANDS)))), "\x1b]0;owned\x07\x1b[2J", "x" * 200_000,
            "\u202eevil", '"; rm -rf /; echo "', "$(touch /tmp/owned)`id`", "a\\nb\\r\\0", "\ud7ff\ufffe", "%s%n{0}",
        )
    )  # fmt: skip


def evil_files(root: Path, chance: random.Random) -> None:
    """The files that are read of an image, or links and folders instead of them."""
    wanted = ("etc/os-release", "usr/lib/os-release", "etc/passwd", "etc/machine-id", "etc/cloud/cloud.cfg")
    for name in wanted:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = chance.randrange(8)
        if kind == 0:
            path.symlink_to(
                chance.choice(("/etc/shadow", "os-release", "../" * 60 + "etc/passwd", "a" * 900, "/dev/zero"))
            )
        elif kind == 1:
            path.mkdir()
        elif kind == 2:
            with path.open("wb") as stream:
                stream.truncate(2**30)
        else:
            value = evil_text(chance).replace("\n", " ")
            path.write_text(f'PRETTY_NAME="{value}"\nNAME={value}\n{value}:x:1000:1000::/:/bin/sh\n', errors="replace")


def image(root: Place, number: int, chance: random.Random) -> list[str]:
    """Import it, and look at it."""
    folder = root.folder / f"image-{number}"
    evil_files(folder / "tree", chance)
    disk = folder / chance.choice(("disk.raw", "##vso[x y]disk.raw", "\x1b[31m.raw"))
    with disk.open("wb") as stream:
        stream.truncate(16 << 20)
    subprocess.run([find_program("mke2fs"), "-q", "-F", "-t", "ext4", "-d", folder / "tree", disk], check=True)
    if chance.random() < 0.4:
        content = bytearray(disk.read_bytes())
        for _ in range(chance.randrange(1, 200)):
            content[chance.randrange(1024, 2**20)] = chance.randrange(256)
        disk.write_bytes(content)
    environ = chance.choice(RUNNERS)
    faults = call(root, "images", "import", disk, "--alias", "evil", environ=environ)
    faults += call(root, "images", "list", environ=environ)
    faults += call(root, "images", "show", "evil", environ=environ)
    call(root, "images", "remove", "evil", "--yes", environ={})
    shutil.rmtree(folder)
    return faults


# Servers.

Serve = Callable[[socket.socket], None]
_HEAD = b"HTTP/1.1 200 OK\r\n"
_BOMB = gzip.compress(bytes(64 * 2**20))


def drip(client: socket.socket) -> None:
    """A byte now and then, of a header or of the body."""
    client.sendall(_HEAD + b"Content-Length: 100000\r\n\r\n")
    while True:
        client.sendall(b"x")
        time.sleep(0.2)


def drip_header(client: socket.socket) -> None:
    client.sendall(_HEAD)
    while True:
        client.sendall(b"X-More: x\r\n")
        time.sleep(0.05)


def endless(client: socket.socket) -> None:
    client.sendall(_HEAD + b"\r\n")
    while True:
        client.sendall(bytes(65536))


def bomb(client: socket.socket) -> None:
    client.sendall(_HEAD + b"Content-Encoding: gzip\r\n\r\n" + _BOMB * 16)


def silent(client: socket.socket) -> None:
    client.recv(1)


def redirect_chain(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")


def answer(head: bytes, body: bytes = b"") -> Serve:
    """Always the same."""
    return lambda client: client.sendall(head + b"\r\n\r\n" + body)


SERVERS: Mapping[str, Serve] = {
    "drip": drip, "drip-header": drip_header, "endless": endless, "bomb": bomb, "silent": silent,
    "redirects": redirect_chain,
    "to-nothing": answer(b"HTTP/1.1 302 Found\r\nLocation: http://[::1"),
    "to-file": answer(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd"),
    "to-port": answer(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:99999/"),
    "to-command": answer("HTTP/1.1 302 ##vso[x y]\x1b[2J\r\nLocation: ##vso[task.complete]\u202e".encode()),
    "reason": answer(b"HTTP/1.1 404 \x1b]0;t\x07::error::x ##vso[task.setvariable variable=x]y", b"::error::x"),
    "lying-length": answer(_HEAD + b"Content-Length: 999999999999999999999999"),
    "negative": answer(_HEAD + b"Content-Length: -1", b"x"),
    "short": answer(_HEAD + b"Content-Length: 10", b"x"),
    "chunks": answer(_HEAD + b"Transfer-Encoding: chunked", b"-1\r\nx\r\nffffffffffffffffffff\r\n"),
    "not-gzip": answer(_HEAD + b"Content-Encoding: gzip", b"no"),
    "retry": answer(b"HTTP/1.1 503 Busy\r\nRetry-After: 99999999999999999999"),
    "garbage": answer(bytes(range(256)) * 4),
    "forbidden": answer(
        b"HTTP/1.1 403 No\r\nContent-Type: application/xml",
        b"<Error><Code>##vso[x y]</Code><Message>\x1b[2J::error::no</Message></Error>",
    ),
}  # fmt: skip


@contextmanager
def serving(serve: Serve) -> Iterator[str]:
    """The address of a server that does this to each client."""

    def client_of(client: socket.socket) -> None:
        with client:
            try:
                client.recv(65536)
                serve(client)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=client_of, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/script.sh"
        listener.shutdown(socket.SHUT_RDWR)


def server(root: Place, number: int, chance: random.Random, name: str = "") -> list[str]:
    """A template that has it fetched from."""
    with serving(SERVERS[name or list(SERVERS)[number % len(SERVERS)]]) as address:
        step: dict[str, Any] = {"type": "Shell", "name": "S", "scriptUri": address}
        if chance.random() < 0.5:
            step = {"type": "File", "name": "F", "sourceUri": address, "destination": "/tmp/x"}
        template = write_template(root.folder / f"server-{number}.json", [step], [managed_image("x")])
        words = chance.choice((("run", template, "--driver", "scripted"), ("validate", template), ("plan", template)))
        return call(root, *words, environ=chance.choice(RUNNERS)) + [f"left: {what}" for what in left_over(root.home)]


# Names.

NAMES: Sequence[Any] = (
    ".", "..", "../../x", "a/b", "a\\b", "\0", "a\0b", "n" * 300, "", " ", "\n", "-rf", "--help", "~", "$(id)", "`id`",
    "a;b", "é" * 200, "\u202eevil", "\x1b[2J", "##vso[task.complete]x", "::error::x", "con", "a\r\nb", "%2e%2e",
    "file:///dev/zero", "file:///etc/passwd", "http://[::1", "/dev/zero", "/proc/self/mem", "\ud800", "[concat(",
    "[parameters('x')]", {}, [], None, 10**400, -1, 1e308, True,
)  # fmt: skip


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each holder and key of a value, at all depths."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, below in pairs:
        yield value, key
        yield from places(below)


def names(root: Place, number: int, chance: random.Random) -> list[str]:
    """One to three values or keys of a template are such a name."""
    path = root.folder / f"names-{number}.json"
    steps = [
        {"type": "Shell", "name": "A", "inline": ["true"], "validExitCodes": [0]},
        {"type": "File", "name": "B", "sourceUri": str(root.folder / "disk.qcow2"), "destination": "/tmp/x"},
    ]
    vhd = {"type": "VHD", "runOutputName": "disk", "artifactTags": {"a": "b"}}
    write_template(path, steps, [vhd, managed_image("x")], vmProfile={"vmSize": "Standard_DS1_v2", "osDiskSizeGB": 30})
    value = copy.deepcopy(json.loads(path.read_text()))
    for _ in range(chance.randrange(1, 4)):
        holder, key = chance.choice(list(places(value)))
        name = chance.choice(NAMES)
        if isinstance(holder, dict) and isinstance(name, str) and chance.random() < 0.2:
            holder[name] = holder.pop(key)
        else:
            holder[key] = name
    path.write_text(json.dumps(value))
    environ = chance.choice(RUNNERS)
    verb = chance.choice((("validate",), ("plan",), ("run", "--driver", "scripted")))
    faults = call(root, *verb, path, environ=environ)
    if faults:
        faults.append(f"the template: {base64.b64encode(path.read_bytes()).decode()}")
    return faults


# Files of a home.


def home_file(root: Place, number: int, chance: random.Random) -> list[str]:
    """One file of a home that has a build is damaged; one verb, and one after it that cleans."""
    folder = root.folder / f"home-{number}"
    shutil.copytree(root.home, folder, symlinks=True)
    own = Place(folder=root.folder, home=folder, installed=root.installed)
    damaged = chance.choice(files_of(folder))
    how = chance.choice(("content", "leaf", "cut", "flip", "folder", "loop", "nowhere", "fifo"))
    damage = Damage(how, chance.randrange(10**6), chance.randrange(256))
    damage.do(folder / damaged)
    run = next((path.name for path in (folder / "runs").iterdir() if path.is_dir()), "x")
    template = root.folder / "good.json"
    verb = chance.choice(
        (
            ("status",), ("status", run), ("logs", run), ("outputs", run), ("images", "list"), ("cache", "list"),
            ("clean", "--all", "--yes"), ("resume", run), ("run", template, "--driver", "scripted"), ("plan", template),
        )
    )  # fmt: skip
    faults = call(own, *verb, environ={}) + call(own, "status", environ={})
    shutil.rmtree(folder)
    return [f"{damaged}, {damage}: {fault}" for fault in faults]


KINDS: Mapping[str, Callable[[Place, int, random.Random], list[str]]] = {
    "image": image, "server": server, "names": names, "home": home_file,
}  # fmt: skip


def play(root: Place, number: int, chance: random.Random) -> tuple[str, str, list[str]]:
    """One of them."""
    kind = list(KINDS)[number % len(KINDS)]
    which = list(SERVERS)[number // len(KINDS) % len(SERVERS)] if kind == "server" else ""
    faults = server(root, number, chance, which) if which else KINDS[kind](root, number, chance)
    return f"{kind} {which}".strip(), "rounds", faults


def campaign(rounds: int, seed: int, first: int = 0) -> Counts:
    """So many rounds."""
    with place("hostile") as root:
        steps = [{"type": "Shell", "name": "A", "inline": ["true"]}]
        vhd = {"type": "VHD", "runOutputName": "disk"}
        good = write_template(root.folder / "good.json", steps, [vhd, managed_image("x")])
        done = root.aibemu("run", good, "--driver", "scripted")
        assert done.code == 0, done.err
        return run_rounds(lambda number, chance: play(root, number, chance), rounds, seed, first=first)


if __name__ == "__main__":
    sys.exit(command_line("hostile", __doc__ or "", campaign, rounds=200))
