"""Do the servers answer? Asked once a second at most, however many want to know."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from winnow.domain.jobs import Lane
from winnow.errors import WinnowError

if TYPE_CHECKING:
    from winnow.bootstrap import Winnow

KNOWN_SECONDS = 1.0


class Readiness:
    """What the database and NATS answered last."""

    def __init__(self, winnow: Winnow) -> None:
        self._winnow = winnow
        self._reason = ""
        self._asked_at = -KNOWN_SECONDS
        self._asking = asyncio.Lock()

    async def ask(self) -> str:
        """Why this process is not ready; empty when it is."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= KNOWN_SECONDS:
                self._reason = await self._ask_servers()
                self._asked_at = time.monotonic()
            return self._reason

    async def _ask_servers(self) -> str:
        try:
            await self._winnow.spaces.current()
            await self._winnow.overviewing().queue.depth(Lane.LIVE)
        except WinnowError as error:
            return str(error)
        return ""
