"""Serving the API: a socket chosen with care, uvicorn without its own signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import structlog
import uvicorn
from typing_extensions import override

from winnow.api.app import create_app
from winnow.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Generator

    from winnow.bootstrap import Winnow

log = structlog.get_logger(__name__)

DEFAULT_PORT = 8420
LOOPBACK = ("127.0.0.1", "::1", "localhost")
GRACE_SECONDS = 5


def listen(host: str, port: int | None) -> socket.socket:
    """A bound socket: the given port, or 8420, or any free one when nobody chose and 8420 is taken.

    Raises:
        InvalidSettings: the port is taken, or the address is not loopback.
    """
    if host not in LOOPBACK:
        raise InvalidSettings(
            f"the API listens on loopback only for now, and WINNOW_API_HOST is {host}; use 127.0.0.1, and for others a "
            "proxy with authentication in front of it, which sends Host: localhost"
        )
    try:
        return _bind(host, DEFAULT_PORT if port is None else port)
    except OSError as error:
        if port is None:
            return _bind(host, 0)
        raise InvalidSettings(
            f"port {port} on {host} cannot be had ({error.strerror}); choose another with WINNOW_API_PORT, or 0 for any"
        ) from error


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, for asyncio sets TCP_NODELAY only where it reads TCP; without that each answer waits 40 ms for an ACK.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def url_of(bound: socket.socket) -> str:
    """The address as a person types it."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    @override
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # whoever runs us listens for signals


async def serve_api(winnow: Winnow, bound: socket.socket, stop: asyncio.Event) -> None:
    """Answers requests until told to stop, then lets those in hand finish for a few seconds."""
    app = create_app(winnow)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=GRACE_SECONDS, ws="none"
    )
    server = _Server(config)
    bound.listen()  # from here on, who comes is served, if only in a moment
    log.info("api.listening", url=url_of(bound))
    serving = asyncio.create_task(server.serve(sockets=[bound]), name="api")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()
        await app.state.backfills.stop()
    log.info("api.stopped")
