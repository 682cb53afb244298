"""Is the process of this container or machine well? `python -m winnow.health api|worker|sweeper`; exit code 0 or 1.

Without an argument it asks about process 1, as the image's health check does. It runs every few seconds beside every
process, so it loads the standard library only: a quarter of the time and half of the memory of loading NATS's client.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from winnow.queue.services import SWEEPER, WORKER

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICES: Final = {"worker": WORKER, "sweeper": SWEEPER}
ROLES: Final = ("api", *SERVICES)
API_PORT: Final = 8420
NATS_PORT: Final = 4222
TIMEOUT_SECONDS: Final = 3.0


class Unwell(Exception):
    """The process does not do its work; the sentence says what was seen."""


def check(role: str) -> str:
    """Asks the process of that role; returns what is well.

    Raises:
        Unwell: what is not.
    """
    if role == "api":
        return _check_api(int(os.environ.get("WINNOW_API_PORT") or API_PORT))
    url = os.environ.get("NATS_URL") or os.environ.get("WINNOW_NATS_URL")
    if not url:
        raise Unwell("NATS_URL is not set: embedded servers are watched by `winnow up` itself")
    return _check_service(url, SERVICES[role])


def _check_api(port: int) -> str:
    """Whether the API of this machine says that it is ready: its database and NATS answer it, too."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise Unwell(f"the API does not answer on port {port} ({_reason(error)})") from error
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise Unwell(f"the API is not ready: {answer.status} {body}")
    return f"the API on port {port} is ready"


def _check_service(nats_url: str, service: str) -> str:
    """Whether the process of this machine that serves as `service` answers over NATS: its event loop runs."""
    host, where = socket.gethostname(), _place(nats_url)
    try:
        for answer in _ping(nats_url, service):
            metadata = json.loads(answer)["metadata"]
            if metadata["host"] == host:
                return f"{service} {host}:{metadata['pid']} answers over NATS"
    except (OSError, ValueError) as error:
        raise Unwell(f"NATS at {where} does not answer ({_reason(error)})") from error
    raise Unwell(f"no {service} of {host} answers over NATS at {where} within {TIMEOUT_SECONDS:g} s")


def _ping(url: str, service: str) -> Iterator[bytes]:
    """The answers to one ping of a service, until the time is up. NATS's protocol is lines of text."""
    deadline, inbox = time.monotonic() + TIMEOUT_SECONDS, f"_INBOX.{secrets.token_hex(8)}"
    with _connected(url) as connection, connection.makefile("rwb") as stream:
        stream.write(f"SUB {inbox} 1\r\nPUB $SRV.PING.{service} {inbox} 0\r\n\r\n".encode())
        stream.flush()
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            try:
                line = stream.readline()
            except TimeoutError:
                return
            if line.startswith(b"MSG "):
                yield stream.read(int(line.split()[-1]) + 2)
            elif line.startswith(b"-ERR") or not line:
                raise ConnectionError(line.decode(errors="replace").strip() or "it closed the connection")


def _connected(url: str) -> socket.socket:
    """A connection that has said who we are."""
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    host = parts.hostname or "127.0.0.1"
    connection = socket.create_connection((host, parts.port or NATS_PORT), TIMEOUT_SECONDS)
    greeting = _greeting(connection)
    if parts.scheme == "tls" or greeting.get("tls_required"):
        connection = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
    names = ("auth_token",) if parts.password is None else ("user", "pass")
    who = dict(zip(names, (parts.username, parts.password), strict=False)) if parts.username else {}
    options = {"verbose": False, "pedantic": False, "lang": "python", "version": "1", "name": "winnow-health", **who}
    connection.sendall(f"CONNECT {json.dumps(options)}\r\n".encode())
    return connection


def _greeting(connection: socket.socket) -> dict[str, object]:
    """The server's INFO, read to the end of its line and not further: TLS may begin right after it."""
    line = b""
    while not line.endswith(b"\n"):
        if not (byte := connection.recv(1)):
            raise ConnectionError("it closed the connection")
        line += byte
    info: dict[str, object] = json.loads(line.removeprefix(b"INFO "))
    return info


def _place(url: str) -> str:
    """Host and port alone: what stands before them is secret."""
    return url.rpartition("@")[2].rpartition("/")[2]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def role_in(command_line: str) -> str | None:
    """The role that a command line such as `/sbin/docker-init -- winnow worker` names; None for other commands."""
    found = re.search(rf"(?:^|[\s/])winnow ({'|'.join(ROLES)})(?=\s|$)", command_line)
    return found[1] if found else None


def main(arguments: list[str]) -> int:
    """One sentence and an exit code: 0 well, 1 unwell, 2 a wrong argument."""
    role = arguments[0] if arguments else role_in(_command_line_of_process_1())
    if role is None:
        print("process 1 is no API, worker or sweeper: nothing to check")  # noqa: T201
        return 0
    if role not in ROLES:
        print(f"there is no {role!r} to check; choose from {', '.join(ROLES)}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        print(check(role))  # noqa: T201
    except Unwell as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _command_line_of_process_1() -> str:
    return Path("/proc/1/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
