"""The HTTP wire under the model servers: one reply for each request, or half of one, or none."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from typing_extensions import override


@dataclass(frozen=True)
class Reply:
    """What goes back; status 0: nothing does. `cut`: half of it, then the connection is closed."""

    status: int
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


def json_reply(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """A reply in JSON; NaN is written as Python does, which some servers do, too."""
    return Reply(status, json.dumps(body).encode(), headers={"content-type": "application/json"} | (headers or {}))


Handle = Callable[[str, str, Mapping[str, str], dict[str, Any]], Reply]
"""From method, path, headers (names in lower case) and JSON body to the reply."""


class Listener(ThreadingHTTPServer):
    """Serves on a thread for each connection; `cut_connections` ends them as a killed process would."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handle: Handle) -> None:
        self.handle = handle
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    @override
    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is no error here."""

    def cut_connections(self) -> None:
        """Closes every open connection, in the middle of a word if need be."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave together
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._handle({})

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        self._handle(json.loads(content or b"{}"))

    def _handle(self, body: dict[str, Any]) -> None:
        listener = cast("Listener", self.server)
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = listener.handle(self.command, self.path, headers, body)
        if not reply.status:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content[: len(reply.content) // 2] if reply.cut else reply.content)
        self.close_connection = self.close_connection or reply.cut

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Requests are recorded, not printed."""
