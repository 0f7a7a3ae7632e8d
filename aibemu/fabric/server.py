"""HTTP on the host's loopback for one machine's platform: requests in, a service's replies out, everything recorded.

The guest is not trusted: it may send garbage, never end a request, or open connections without end. Each costs a
bounded amount of memory and time, and none ends the platform.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler
from socketserver import BaseRequestHandler, TCPServer, ThreadingMixIn
from typing import Any

from aibemu.clock import Clock
from aibemu.fabric.http import Reply, Request, Service, text_reply
from aibemu.fabric.journal import Journal
from aibemu.fabric.peers import Address

LOOPBACK = "127.0.0.1"
LARGEST_BODY = 16 << 20  # bytes that are read at all; agents upload their logs
KEPT_BODY = 256 << 10  # bytes of them that a service sees: no request that matters is longer
CONNECTIONS = 32  # per service, at once
LARGEST_HEAD = 64 << 10  # bytes of a request's line and headers
IDLE = 60.0  # seconds until a connection on which nothing comes is closed
Trusted = Callable[[Address, Address], bool]


class TooLarge(ValueError):
    """A request with more body than is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One service that listens. `close` ends it; connections that are open are let go."""

    port: int
    server: TCPServer

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def listen(service: Service, journal: Journal, clock: Clock, trusted: Trusted) -> Listener:
    """Serve on a free port of 127.0.0.1, in threads. trusted(client, server): whether a connection is the machine's."""
    handler = type("Handler", (_Handler,), {"service": service, "journal": journal, "clock": clock})
    server = _Server((LOOPBACK, 0), handler, trusted)
    threading.Thread(target=server.serve_forever, args=(0.2,), name=service.name, daemon=True).start()
    return Listener(port=int(server.server_address[1]), server=server)


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS

    def __init__(self, address: Address, handler: type[BaseRequestHandler], trusted: Trusted) -> None:
        super().__init__(address, handler)
        self._trusted = trusted
        self._free = threading.BoundedSemaphore(CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the connection's own thread: looking at the kernel's tables takes a moment.
        if self._trusted(client_address[:2], request.getsockname()[:2]):
            super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke: the guest's affair."""


class _Bounded:
    """What a guest sends, with a bound on the lines of a request's head: http.server takes a hundred of 64 KiB."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.left = LARGEST_HEAD

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._stream.readline(limit)
        self.left -= len(line)
        if self.left < 0:
            raise LineTooLong("head")  # answered with 431
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE
    service: Service
    journal: Journal
    clock: Clock

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().setup()
        self.rfile: Any = _Bounded(self.rfile)

    def handle_one_request(self) -> None:
        self.rfile.left = LARGEST_HEAD + 2  # http.server itself refuses a request's line of 64 KiB
        super().handle_one_request()

    def version_string(self) -> str:
        return self.service.banner

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing to standard error: the journal has it."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is no HTTP request: recorded and answered like one that makes no sense."""
        self.close_connection = True
        # What could not be read counts as HTTP/0.9, which has no status line.
        self.request_version = self.protocol_version
        line = getattr(self, "raw_requestline", b"").decode("latin-1").rstrip()
        self._finish(Request(method="?", target=line), text_reply(int(code), f"{message or 'Bad Request'}\n"), 0.0)

    def _serve(self) -> None:
        started = self.clock.monotonic()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(method=self.command, target=self.path, headers=headers)
        try:
            request = replace(request, body=self._read_body(headers))
            reply = self.service.handle(request)
        except ValueError as error:
            # What is left of a body that could not be understood would be taken for the next request.
            self.close_connection = True
            reply = text_reply(413 if isinstance(error, TooLarge) else 400, f"Bad Request: {error}\n")
        except OSError:
            raise  # the connection broke
        except Exception as error:  # noqa: BLE001 - a bug of ours: the guest's next request still gets its answer
            self.close_connection = True
            reply = text_reply(500, f"aibemu: {type(error).__name__}: {error}\n")
        self._finish(request, reply, self.clock.monotonic() - started)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = do_OPTIONS = _serve

    def _finish(self, request: Request, reply: Reply, seconds: float) -> None:
        with reply.file or nullcontext():
            self._answer(request, reply, seconds)

    def _answer(self, request: Request, reply: Reply, seconds: float) -> None:
        self.journal.write(self.service.name, request, reply, seconds)
        self.send_response(reply.status)
        for name, value in (("Content-Type", reply.content_type), *reply.headers):
            if value:
                self.send_header(name, value)
        length = os.fstat(reply.file.fileno()).st_size if reply.file else len(reply.body)
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if reply.file:
            self.wfile.flush()
            # A file that shrinks meanwhile: no other answer may come after half of one.
            self.close_connection |= self.connection.sendfile(reply.file, count=length or None) < length
        elif request.method != "HEAD":
            self.wfile.write(reply.body)

    def _read_body(self, headers: dict[str, str]) -> bytes:
        """The body's beginning; all of it is taken off the connection. `ValueError` when it is not one."""
        kept = bytearray()
        total = 0
        for piece in self._chunks() if "chunked" in headers.get("transfer-encoding", "").lower() else self._whole():
            total += len(piece)
            if total > LARGEST_BODY:
                raise TooLarge(f"more than {LARGEST_BODY} bytes")
            if len(kept) < KEPT_BODY:
                kept += piece[: KEPT_BODY - len(kept)]
        return bytes(kept)

    def _whole(self) -> Iterator[bytes]:
        text = self.headers.get("Content-Length") or "0"
        if not text.isascii() or not text.isdecimal():
            raise ValueError("the Content-Length is not a number")
        yield from self._pieces(int(text))

    def _chunks(self) -> Iterator[bytes]:
        while size := self._chunk_size():
            yield from self._pieces(size)
            if self.rfile.readline(8) not in (b"\r\n", b"\n"):
                raise ValueError("a chunk does not end where it should")
        for _ in range(100):  # trailers
            if self.rfile.readline(1024) in (b"\r\n", b"\n", b""):
                return
        raise ValueError("too many trailers")

    def _chunk_size(self) -> int:
        text = self.rfile.readline(64).split(b";")[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", text):
            raise ValueError("a chunk's size is not a number")
        return int(text, 16)

    def _pieces(self, size: int) -> Iterator[bytes]:
        if size > LARGEST_BODY:
            raise TooLarge(f"more than {LARGEST_BODY} bytes")
        while size:
            piece = self.rfile.read(min(size, 64 << 10))
            if not piece:
                raise ValueError("the body ends before its length")
            size -= len(piece)
            yield piece
