"""What a NATS connection tells of itself, as events: one line for each change, none for each try."""

from __future__ import annotations

import os
import time
from urllib.parse import urlsplit

import structlog

log = structlog.get_logger(__name__)


class ConnectionLog:
    """The callbacks of one nats-py client.

    `last_error` is the text of the latest error, and `refused` whether the credentials were, since the last success.
    Set `closing` before the connection is closed on purpose: that is no news.
    """

    def __init__(self, servers: str | list[str], lane: str) -> None:
        self._log = log.bind(servers=addresses(servers), queue=lane)
        self._lost_at: float | None = None
        self.last_error = ""
        self.refused = False
        self.closing = False

    def connected(self) -> None:
        """Forgets the errors of the tries that led here."""
        self.last_error, self.refused = "", False

    async def on_error(self, error: Exception) -> None:
        """Logs an error when it is news: a server that is down gives the same one every second."""
        text = _text(error)
        if text != self.last_error:
            self._log.warning("queue.error", error=text, kind=type(error).__name__)
        self.last_error = text
        self.refused = self.refused or "authorization" in text.lower()

    async def on_disconnected(self) -> None:
        """Logs that the server is gone; the client goes on trying."""
        if not self.closing:
            self._lost_at = time.monotonic()
            self._log.warning("queue.disconnected")

    async def on_reconnected(self) -> None:
        """Logs that the server is back, and after how long."""
        seconds = 0.0 if self._lost_at is None else time.monotonic() - self._lost_at
        self._lost_at = None
        self.connected()
        self._log.warning("queue.reconnected", seconds=round(seconds, 2))


def _text(error: Exception) -> str:
    """One short line: asyncio's own wording of a refused connection repeats the address."""
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def addresses(servers: str | list[str]) -> str:
    """The hosts and ports of NATS URLs, without the user, password or token in them."""
    urls = [servers] if isinstance(servers, str) else servers
    return ", ".join(_address(url) for url in urls)


def _address(url: str) -> str:
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    return f"{parts.hostname or ''}:{parts.port or 4222}"
