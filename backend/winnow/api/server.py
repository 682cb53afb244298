"""Serving the API: a socket chosen with care, uvicorn without its own signals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from winnow.api.app import create_app
from winnow.errors import InvalidSettings
from winnow.storage.keys import KeyStore

if TYPE_CHECKING:
    from collections.abc import Generator

    from winnow.bootstrap import Winnow

log = structlog.get_logger(__name__)

DEFAULT_PORT = 8420
GRACE_SECONDS = 5
# A browser opens connections ahead of need and keeps them silent; they come again when they are closed.
HEAD_SECONDS = 15.0
READ_SECONDS = 30.0


def listen(host: str, port: int | None) -> socket.socket:
    """A bound socket: the given port, or 8420, or any free one when nobody chose and 8420 is taken.

    Raises:
        InvalidSettings: the port is taken, or the address is none of this machine's.
    """
    try:
        return _bind(host, DEFAULT_PORT if port is None else port)
    except OSError as error:
        taken = error.errno in {errno.EADDRINUSE, errno.EACCES}
        if port is None and taken:
            return _bind(host, 0)
        if taken:
            raise InvalidSettings(
                f"port {port} on {host} cannot be had ({error.strerror}); choose another with WINNOW_API_PORT, or 0 "
                "for any"
            ) from error
        raise InvalidSettings(
            f"the API cannot listen on {host} ({error.strerror}); WINNOW_API_HOST is an address of this machine, or "
            "0.0.0.0 for all it has"
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
    """The address as a person of this machine types it."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class PatientProtocol(H11Protocol):
    """HTTP that waits only so long for a request's head, and for a caller to read what it asked for.

    uvicorn's own timer ends with the first byte of a head, and it has none for readers.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._reader_deadline: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_hand():
            self._head_is_here()
        elif self._deadline is None:
            self._await_head()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        self._reader_is_back()
        super().connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        """The caller does not read; what waits for it is memory of ours."""
        super().pause_writing()
        self._reader_deadline = self.loop.call_later(READ_SECONDS, self.transport.abort)

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self._reader_is_back()

    def _reader_is_back(self) -> None:
        if self._reader_deadline is not None:
            self._reader_deadline.cancel()
            self._reader_deadline = None

    def _in_hand(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None until the first request
        return cycle is not None and not cycle.response_complete

    def _await_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _head_is_here(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self._in_hand():
            self.transport.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    @override
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # whoever runs us listens for signals


async def _say_who_can_call(winnow: Winnow) -> None:
    settings = winnow.settings
    if not settings.keys_required and not settings.on_loopback:
        log.warning("api.open", reason="WINNOW_API_KEYS=never: whoever reaches this address may read and change all")
    if settings.keys_required and not any(key.revoked_at is None for key in await KeyStore(winnow.database).all()):
        log.warning("api.no_keys", reason="nobody can call the API yet; make a key with: winnow keys create NAME")


async def serve_api(winnow: Winnow, bound: socket.socket, stop: asyncio.Event) -> None:
    """Answers requests until told to stop, then lets those in hand finish for a few seconds."""
    app = create_app(winnow)
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    bound.listen()  # from here on, who comes is served, if only in a moment
    log.info("api.listening", url=url_of(bound), keys=winnow.settings.keys_required)
    await _say_who_can_call(winnow)
    serving = asyncio.create_task(server.serve(sockets=[bound]), name="api")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()
        await app.state.backfills.stop()
        await app.state.telegram.close()
    log.info("api.stopped")
